"""What a food label says: its lines of text, and the nutrition facts they declare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final, Protocol

from service.annotators import ViewWish
from service.annotators.nutrition import parse_nutrition
from service.annotators.tesseract import Line
from service.documents import MediaDocument
from service.models import AnnotationDraft, BoundingBox, MediaKind, MediaPurpose, ViewImage

TEXT: Final = "text"

# A label that fills the picture then has letters of 20 pixels and more, which is where recognition is best.
_VIEW_SIDE: Final = 2_400

_LEAST_CONFIDENCE: Final = 0.3
# With the facts within what a media holds of annotations.
_MAX_LINES: Final = 60
_MAX_FACTS: Final = 40
_MAX_TEXT: Final = 500


class TextReader(Protocol):
    """Recognises text; `Tesseract` is one."""

    async def read(self, image: ViewImage) -> list[Line]:
        """The lines of text in `image`, top to bottom."""


@dataclass(frozen=True, slots=True)
class _ReadLine:
    text: str
    confidence: float
    box: BoundingBox


class FoodLabelReader:
    """Lines are labelled `text`, facts `nutrition:...`; a fact's box is that of its line."""

    name = "food-label"
    version = "1"
    fields: Sequence[str] = ("purpose", "kind")
    view: ViewWish | None = ViewWish(max_side=_VIEW_SIDE)

    def __init__(self, reader: TextReader) -> None:
        self._reader = reader

    def wants(self, media: MediaDocument) -> bool:
        """Pictures of food labels."""
        return media["purpose"] == MediaPurpose.FOOD_LABEL and media["kind"] == MediaKind.IMAGE

    async def annotate(self, media: MediaDocument, image: ViewImage | None) -> Sequence[AnnotationDraft]:
        """The surest lines in reading order, then the facts. Raises ProcessingFailed if text cannot be recognised."""
        del media
        if image is None:
            return []
        lines = [_read_line(words, image) for words in await self._reader.read(image)]
        legible = sorted(
            (line for line in lines if line.confidence >= _LEAST_CONFIDENCE and any(map(str.isalnum, line.text))),
            key=lambda line: line.confidence,
            reverse=True,
        )[:_MAX_LINES]
        texts = [AnnotationDraft(TEXT, line.confidence, line.box, line.text) for line in lines if line in legible]
        return [*texts, *_facts(lines)]


def _facts(lines: Sequence[_ReadLine]) -> list[AnnotationDraft]:
    drafts = [
        AnnotationDraft(fact.label, lines[fact.line].confidence * fact.certainty, lines[fact.line].box, fact.text)
        for fact in parse_nutrition([line.text for line in lines])
    ]
    return drafts[:_MAX_FACTS]


def _read_line(words: Line, image: ViewImage) -> _ReadLine:
    return _ReadLine(
        text=" ".join(word.text for word in words)[:_MAX_TEXT],
        confidence=round(fmean(word.confidence for word in words), 4),
        box=_on_the_whole(words, image),
    )


def _on_the_whole(words: Line, image: ViewImage) -> BoundingBox:
    """Where `words` are on the whole picture, of which `image` may show a part."""
    left, top = min(word.left for word in words), min(word.top for word in words)
    right = max(word.left + word.width for word in words)
    bottom = max(word.top + word.height for word in words)
    return BoundingBox(
        x=image.box.x + image.box.width * left / image.width,
        y=image.box.y + image.box.height * top / image.height,
        width=image.box.width * (right - left) / image.width,
        height=image.box.height * (bottom - top) / image.height,
    )
