"""How annotations are laid out in segments, and in what order they stand."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from service.annotation_layout import (
    MAX_ANNOTATIONS,
    MAX_LABELS,
    MAX_SEGMENT,
    MAX_SEGMENTS,
    MAX_SOURCES,
    Layout,
    Revision,
    check_bounds,
    cut,
    lay_out,
)
from service.annotation_places import last_place, place_of
from service.documents import AnnotationDocument, SegmentDocument
from service.errors import InvalidInput

CONFIDENCES = st.floats(0, 1) | st.sampled_from([0.0, -0.0, 0.5, 1.0, 5e-324])


def annotations(count: int, source: str = "user:ann") -> list[AnnotationDocument]:
    made = AnnotationDocument(id=uuid4(), label="x", confidence=1.0, bounding_box=None, text=None, source=source)
    return [made] * count


def appended(segments: list[SegmentDocument], count: int, source: str) -> tuple[list[SegmentDocument], Layout]:
    fresh = annotations(count, source)
    layout = lay_out(segments, Revision(fresh), ())
    rewritten = [each for segment in layout.rewritten for each in annotations(segment["count"], segment["source"])]
    return [*layout.kept, *(segment for segment, _ in cut([*rewritten, *fresh]))], layout


def test_a_thousand_small_appends_leave_few_segments_and_write_each_row_seldom() -> None:
    segments: list[SegmentDocument] = []
    written = 0
    for _ in range(1_000):
        segments, layout = appended(segments, 10, "user:ann")
        written += 10 + sum(segment["count"] for segment in layout.rewritten)
    assert sum(segment["count"] for segment in segments) == 10_000
    assert len(segments) <= 30
    assert written <= 10 * 10_000


@examples(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, MAX_SEGMENT), st.integers(0, MAX_SOURCES - 1)), max_size=300))
def test_whatever_is_appended_stays_within_bounds(appends: list[tuple[int, int]]) -> None:
    segments: list[SegmentDocument] = []
    total = 0
    for count, source in appends:
        if (total := total + count) > MAX_ANNOTATIONS:
            break
        segments, _ = appended(segments, count, f"model:m@{source}")
        assert sum(segment["count"] for segment in segments) == total
        assert all(1 <= segment["count"] <= MAX_SEGMENT for segment in segments)
        assert len(segments) <= MAX_SEGMENTS


def test_many_sources_that_append_one_by_one_are_put_together() -> None:
    segments: list[SegmentDocument] = []
    for size in (60, 20, 8, 3, 1):
        for source in range(MAX_SOURCES):
            segments, _ = appended(segments, size, f"model:m@{source}")
            assert len(segments) <= MAX_SEGMENTS
    assert sum(segment["count"] for segment in segments) == 9_200


def test_only_what_has_to_be_is_written_anew() -> None:
    first, second, other = (
        SegmentDocument(id=uuid4(), source=source, count=900) for source in ("user:ann", "user:ann", "user:bob")
    )
    layout = lay_out([first, other, second], Revision(ids=frozenset({uuid4()})), {second["id"]})
    assert layout == Layout(kept=[first, other], rewritten=[second], withdrawn=[])
    replaced = lay_out([first, other, second], Revision(annotations(5), withdraws="user:ann".__eq__), ())
    assert replaced == Layout(kept=[other], rewritten=[], withdrawn=[first, second])


@given(CONFIDENCES, CONFIDENCES, st.uuids(), st.uuids())
def test_places_sort_by_falling_confidence_and_then_by_id(one: float, other: float, first: UUID, second: UUID) -> None:
    assert (place_of(one, first) < place_of(other, second)) == ((-one, first.bytes) < (-other, second.bytes))


@given(CONFIDENCES, CONFIDENCES, st.uuids())
def test_the_last_place_bounds_a_confidence(bound: float, confidence: float, annotation_id: UUID) -> None:
    assert (place_of(confidence, annotation_id) <= last_place(bound)) == (confidence >= bound)


@pytest.mark.parametrize(
    ("count", "labels", "sources", "said"),
    [
        (MAX_ANNOTATIONS + 1, 1, 1, "up to 10,000 annotations, and with these it would have 10,001"),
        (1, MAX_LABELS + 1, 1, "up to 200 different labels, and with these it would have 201"),
        (1, 1, MAX_SOURCES + 1, "up to 100 sources of annotations, and with these it would have 101"),
    ],
)
def test_bounds_are_told(count: int, labels: int, sources: int, said: str) -> None:
    with pytest.raises(InvalidInput, match=said) as refused:
        check_bounds(count, [f"{n}" for n in range(labels)], [f"{n}" for n in range(sources)])
    assert refused.value.field == ("annotations",)
    check_bounds(MAX_ANNOTATIONS, [f"{n}" for n in range(MAX_LABELS)], [f"{n}" for n in range(MAX_SOURCES)])
