"""Records of arrays in a JSON document of any size, as they come by: only what is asked for is ever built."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Final

import ijson

from service.errors import InvalidInput

# What is asked for is flat, but for a box.
_MAX_ITEMS: Final = 16
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_CHUNK: Final = 32_768
# The parser gathers a text as a whole, also one that nobody asks for: some tools put pictures into their files.
MAX_TEXT_BYTES: Final = 4_000_000
_OPENING: Final = frozenset({"start_map", "start_array"})
_CLOSING: Final = frozenset({"end_map", "end_array"})

# ijson gives (kind, value) pairs, from its C backend some millions a second.
Event = tuple[str, Any]
Events = Iterator[Event]
Found = tuple[str, str, dict[str, Any]]


def read_records(path: Path, wanted: Mapping[str, frozenset[str]], *, bare_list: str | None = None) -> Iterator[Found]:
    """For each object in one of the `wanted` arrays: the array, the JSON path, and its wanted members.

    Arrays within an object are kept up to 16 scalars, anything deeper is passed over. `bare_list`: what a document that
    is an array itself stands for. Raises InvalidInput where the document is not JSON or not of that shape.
    """
    with path.open("rb") as file:
        if file.read(len(_BYTE_ORDER_MARK)) != _BYTE_ORDER_MARK:
            file.seek(0)
        try:
            yield from _document(chain.from_iterable(_parsed(file, path)), path, wanted, bare_list)
        except ijson.JSONError as error:
            raise InvalidInput(
                f"{path} is not JSON that can be read: {_sentence(error)}. Nothing was written."
            ) from None


def _parsed(file: BinaryIO, path: Path) -> Iterator[list[Event]]:
    """The events of each chunk. Raises InvalidInput where too many chunks have none: memory would grow with them."""
    events: list[Event] = ijson.sendable_list()
    # Not `items`: it keeps the path of every level, and 100 kB of brackets make it take gigabytes.
    parser = ijson.basic_parse_coro(events, use_float=True)
    silent = 0
    while chunk := file.read(_CHUNK):
        parser.send(chunk)
        silent = 0 if events else silent + len(chunk)
        if silent > MAX_TEXT_BYTES:
            raise InvalidInput(
                f"{path} has a text of more than {MAX_TEXT_BYTES:,} bytes: take it out. Nothing was written."
            )
        yield events.copy()
        events.clear()
    try:
        parser.send(b"")
    except StopIteration:
        yield events


def _sentence(error: ijson.JSONError) -> str:
    # The C backend draws an arrow below an excerpt, and sometimes gives the repr of bytes.
    text = error.args[0] if error.args else ""
    lines = (text.decode(errors="replace") if isinstance(text, bytes) else str(text)).splitlines()
    return " near ".join(part for part in (line.strip() for line in lines[:2]) if part)


def _document(
    events: Events, path: Path, wanted: Mapping[str, frozenset[str]], bare_list: str | None
) -> Iterator[Found]:
    kind, _ = next(events)
    if kind == "start_array" and bare_list is not None:
        yield from _array(events, bare_list, "", wanted[bare_list])
    elif kind == "start_array":
        raise InvalidInput(
            f"{path} is a list, as COCO results are, without pictures and categories: say with --images which file has "
            "them. Nothing was written."
        )
    elif kind == "start_map":
        for kind, name in events:
            if kind == "end_map":
                break
            opening, _ = next(events)
            if name in wanted and opening == "start_array":
                yield from _array(events, name, name, wanted[name])
            elif name in wanted:
                raise InvalidInput(f"{path}: `{name}` is not an array. Nothing was written.")
            else:
                _pass_over(events, opening)
    else:
        raise InvalidInput(f"{path} is not a COCO file: at its top must be an object. Nothing was written.")
    # So that what follows the document is noticed.
    for _ in events:
        pass


def _array(events: Events, section: str, prefix: str, wanted: frozenset[str]) -> Iterator[Found]:
    for index, (kind, _) in enumerate(events):
        if kind == "end_array":
            return
        place = f"{prefix}[{index}]"
        if kind != "start_map":
            raise InvalidInput(f"{place} is not an object. Nothing was written.")
        yield section, place, _object(events, wanted)


def _object(events: Events, wanted: frozenset[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for kind, name in events:
        if kind == "end_map":
            break
        opening, value = next(events)
        if name not in wanted:
            _pass_over(events, opening)
        elif opening == "start_array":
            found[name] = _scalars(events)
        else:
            # A map where a scalar belongs: whoever asked for it sees that it is none.
            found[name] = {} if opening == "start_map" else value
            _pass_over(events, opening)
    return found


def _scalars(events: Events) -> list[Any]:
    values: list[Any] = []
    for kind, value in events:
        if kind == "end_array":
            break
        _pass_over(events, kind)
        if len(values) <= _MAX_ITEMS:
            values.append({} if kind in _OPENING else value)
    return values


def _pass_over(events: Events, opening: str) -> None:
    """Go on to behind the value that began with `opening`."""
    depth = 1 if opening in _OPENING else 0
    while depth:
        kind, _ = next(events)
        if kind in _OPENING:
            depth += 1
        elif kind in _CLOSING:
            depth -= 1
