"""What a media's annotations say in short."""

from __future__ import annotations

from uuid import uuid4

import pytest

from service.documents import AnnotationDocument
from service.labels import step_of, summarise


def an_annotation(label: str, confidence: float) -> AnnotationDocument:
    return AnnotationDocument(
        id=uuid4(), label=label, confidence=confidence, bounding_box=None, text=None, source="user:ann"
    )


def test_each_label_once_with_its_greatest_confidence() -> None:
    annotations = [an_annotation("dog", 0.5), an_annotation("cat", 0.91), an_annotation("dog", 0.83)]
    assert summarise(annotations) == [
        {"label": "cat", "step": 9, "confidence": 0.91},
        {"label": "dog", "step": 8, "confidence": 0.83},
    ]


def test_nothing_said_is_no_label() -> None:
    assert summarise([]) == []


def test_a_label_without_any_confidence_is_a_label() -> None:
    assert summarise([an_annotation("dog", 0.0)]) == [{"label": "dog", "step": 0, "confidence": 0.0}]


@pytest.mark.parametrize(
    ("confidence", "step"), [(0.0, 0), (0.05, 0), (0.1, 1), (0.3, 3), (0.7, 7), (0.999, 9), (1.0, 9)]
)
def test_steps_are_tenths_and_one_is_of_the_last(confidence: float, step: int) -> None:
    assert step_of(confidence) == step
