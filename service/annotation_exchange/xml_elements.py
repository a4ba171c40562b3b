"""Small XML files as elements that know their line. No document type, hence no entities, and bounds on size.

Expat itself, by its handlers: ElementTree tells no lines, and what else wraps it refuses entities in this same way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NoReturn
from xml.parsers import expat

from service.annotation_exchange.records import Unreadable

MAX_DEPTH: Final = 32
# Ten thousand objects have less.
MAX_ELEMENTS: Final = 200_000


@dataclass(slots=True)
class Element:
    tag: str
    place: str
    children: list[Element] = field(default_factory=list)
    _text: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """What stands directly in it, without spaces around it."""
        return "".join(self._text).strip()

    def all(self, tag: str) -> Iterator[Element]:
        return (child for child in self.children if child.tag == tag)

    def first(self, tag: str) -> Element | None:
        return next(self.all(tag), None)


class _Builder:
    def __init__(self, name: str) -> None:
        self._name = name
        self._open: list[Element] = []
        self._count = 0
        self.root = Element("", name)
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._characters
        self.parser.StartDoctypeDeclHandler = self._refuse_type

    @property
    def place(self) -> str:
        return f"{self._name}:{self.parser.CurrentLineNumber}"

    def _start(self, tag: str, _attributes: Mapping[str, str]) -> None:
        self._count += 1
        if len(self._open) >= MAX_DEPTH or self._count > MAX_ELEMENTS:
            raise Unreadable(self.place, f"more than {MAX_DEPTH} elements within each other, or {MAX_ELEMENTS} in all")
        element = Element(tag, self.place)
        if self._open:
            self._open[-1].children.append(element)
        else:
            self.root = element
        self._open.append(element)

    def _end(self, _tag: str) -> None:
        self._open.pop()

    def _characters(self, data: str) -> None:
        self._open[-1]._text.append(data)

    def _refuse_type(self, *_: object) -> NoReturn:
        raise Unreadable(self.place, "a document type is not taken: it may define entities")


def parse_xml(name: str, body: bytes) -> Element:
    """The root of a document. Raises Unreadable with the line for one that is broken, too large or has a DOCTYPE."""
    builder = _Builder(name)
    try:
        builder.parser.Parse(body, True)  # noqa: FBT003
    # An encoding that expat does not know is a LookupError or a ValueError.
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise Unreadable(builder.place, f"it is not XML that can be read: {error}") from None
    return builder.root
