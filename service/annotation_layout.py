"""How a media's annotations are stored: in its document while they are few, beyond that in segments of rows. Pure.

A segment holds annotations of one source. Appending takes up the segments at the end that are not much larger, as a
binary counter carries: so there are few, and each row is written anew a logarithmic number of times.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from uuid6 import uuid7

from service.documents import AnnotationDocument, LabelDocument, SegmentDocument
from service.errors import InvalidInput

# Of one media. Its document holds them up to the first of these.
MAX_EMBEDDED: Final = 100
MAX_ANNOTATIONS: Final = 10_000
MAX_LABELS: Final = 200
MAX_SOURCES: Final = 100

# Rows that one write may have to write anew.
MAX_SEGMENT: Final = 1_000
# MongoDB merges up to 200 ranges of an index in order, and sorts beyond (internalQueryMaxScansToExplode). More of them
# take many sources that each append little by little: then all are written anew, one segment a source.
MAX_SEGMENTS: Final = 150


def _nobody(_source: str) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Revision:
    """What a write does: it adds `fresh`, and takes away those with `ids` and all by sources that `withdraws` names."""

    fresh: Sequence[AnnotationDocument] = ()
    withdraws: Callable[[str], bool] = _nobody
    ids: frozenset[UUID] = frozenset()

    def applied_to(self, annotations: Iterable[AnnotationDocument]) -> list[AnnotationDocument]:
        """What becomes of all annotations of a media."""
        left = [each for each in annotations if each["id"] not in self.ids and not self.withdraws(each["source"])]
        return [*left, *self.fresh]


@dataclass(frozen=True, slots=True)
class Contents:
    """What a media's document says of its annotations: all of them if there are no `segments`, else only these."""

    count: int
    labels: list[LabelDocument]
    embedded: list[AnnotationDocument]
    segments: list[SegmentDocument]


@dataclass(frozen=True, slots=True)
class Layout:
    """What becomes of segments: some stay, the rows of others are written anew, the rest goes with all its rows."""

    kept: list[SegmentDocument]
    rewritten: list[SegmentDocument]
    withdrawn: list[SegmentDocument]


def lay_out(segments: Sequence[SegmentDocument], revision: Revision, holders: Collection[UUID]) -> Layout:
    """How `revision` changes these segments; `holders` are those that hold any of its `ids`."""
    layout = Layout([], [], [])
    for segment in segments:
        if revision.withdraws(segment["source"]):
            layout.withdrawn.append(segment)
        else:
            (layout.rewritten if segment["id"] in holders else layout.kept).append(segment)
    added = by_source(revision.fresh)
    for source, fresh in added.items():
        _take_up(layout, source, len(fresh))
    if len(layout.kept) + len(layout.rewritten) + len(added) > MAX_SEGMENTS:
        layout.rewritten.extend(layout.kept)
        layout.kept.clear()
    return layout


def _take_up(layout: Layout, source: str, size: int) -> None:
    for segment in reversed([each for each in layout.kept if each["source"] == source]):
        if segment["count"] > 2 * size or segment["count"] + size > MAX_SEGMENT:
            return
        layout.kept.remove(segment)
        layout.rewritten.append(segment)
        size += segment["count"]


def cut(annotations: Iterable[AnnotationDocument]) -> list[tuple[SegmentDocument, list[AnnotationDocument]]]:
    """New segments that hold these annotations, each with its own."""
    return [
        (SegmentDocument(id=uuid7(), source=source, count=len(part)), part)
        for source, group in by_source(annotations).items()
        for part in (group[start : start + MAX_SEGMENT] for start in range(0, len(group), MAX_SEGMENT))
    ]


def by_source(annotations: Iterable[AnnotationDocument]) -> dict[str, list[AnnotationDocument]]:
    """The same, apart by who said it."""
    groups: dict[str, list[AnnotationDocument]] = {}
    for each in annotations:
        groups.setdefault(each["source"], []).append(each)
    return groups


def check_bounds(count: int, labels: Collection[str], sources: Collection[str]) -> None:
    """Raises InvalidInput where a media would have more annotations, distinct labels or sources than it may."""
    for number, most, what in (
        (count, MAX_ANNOTATIONS, "annotations"),
        (len(labels), MAX_LABELS, "different labels"),
        (len(sources), MAX_SOURCES, "sources of annotations"),
    ):
        if number > most:
            raise InvalidInput(
                f"A media holds up to {most:,} {what}, and with these it would have {number:,}. Delete some of its "
                "annotations first, or replace those of this source.",
                field=["annotations"],
            )
