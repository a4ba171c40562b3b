"""What looks at media once they are READY: text recognition, near-duplicates, and whatever else is added.

An annotator is a name, a version and one method; it is told what the media is and shown a picture of it, and answers
with what it found. It cannot harm the media: its job runs after READY, and its failures end in a dead letter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from service.documents import MediaDocument
from service.models import AnnotationDraft, ViewImage


@dataclass(frozen=True, slots=True)
class ViewWish:
    """How an annotator wants to see a picture: its longest side in pixels, and whether cut to the media's focus."""

    max_side: int
    cut_to_focus: bool = True


class Annotator(Protocol):
    """`fields`: the document paths that `wants` and `annotate` read. `view`: None if no picture is needed.

    A new `version` says that other results are to be expected: its annotations take the place of the earlier ones'.
    """

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    @property
    def fields(self) -> Sequence[str]: ...

    @property
    def view(self) -> ViewWish | None: ...

    def wants(self, media: MediaDocument) -> bool:
        """Whether there is anything to be found in such a media."""

    async def annotate(self, media: MediaDocument, image: ViewImage | None) -> Sequence[AnnotationDraft]:
        """What there is to say of `media`; `image` shows it as `view` wished, boxes are fractions of the whole."""


Annotators = Mapping[str, Annotator]


def source_of(annotator: Annotator) -> str:
    """Whose annotations these are, as clients see it: `model:<name>@<version>`."""
    return f"model:{annotator.name}@{annotator.version}"
