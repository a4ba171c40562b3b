"""What a media's annotations say in short: each label once, with the greatest confidence it was given. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from typing import Final

from service.documents import AnnotationDocument, LabelDocument

# Confidences are told apart in tenths; 1 belongs to the last of them.
STEPS: Final = 10


def composed(text: str) -> str:
    """A label, or the source of a model, as it is stored: in Unicode's NFC (UAX 15) and without space around it, so
    that equal looks are equal.
    """
    return unicodedata.normalize("NFC", text.strip())


def step_of(confidence: float) -> int:
    """The tenth that a confidence of 0 to 1 lies in: 0 to 9, `min(floor(10 confidence), 9)`."""
    return min(int(confidence * STEPS), STEPS - 1)


def strongest(annotations: Iterable[AnnotationDocument]) -> dict[str, float]:
    """The greatest confidence of each label among `annotations`."""
    greatest: dict[str, float] = {}
    for each in annotations:
        greatest[each["label"]] = max(each["confidence"], greatest.get(each["label"], 0.0))
    return greatest


def labels_of(greatest: Mapping[str, float]) -> list[LabelDocument]:
    """The `labels` of a media document, from the greatest confidence of each label; in the order of the labels."""
    return [
        LabelDocument(label=label, step=step_of(confidence), confidence=confidence)
        for label, confidence in sorted(greatest.items())
    ]


def summarise(annotations: Iterable[AnnotationDocument]) -> list[LabelDocument]:
    """The `labels` of a media document that has exactly these annotations."""
    return labels_of(strongest(annotations))
