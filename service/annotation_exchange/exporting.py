"""Handing annotations out, media after media, to whatever writes them down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol
from uuid import UUID

from service.annotation_exchange.scope import Scope
from service.annotation_layout import MAX_ANNOTATIONS
from service.annotation_places import place_of
from service.annotation_reads import PLACE_FIELDS, moved_page
from service.documents import AnnotationDocument, MediaDocument
from service.stores import Stores
from service.stores.annotated_media import AnnotatedMediaScan
from service.stores.annotation_rows import Wanted
from service.stores.database import Database

# About so many annotations are written between two words on how far it has come.
_TOLD_EVERY: Final = 10_000


@dataclass(frozen=True, slots=True)
class ExportedPicture:
    """A media as it is written down; `width`, `height` in pixels, upright, which boxes are fractions of."""

    media_id: UUID
    width: int
    height: int
    annotations: list[AnnotationDocument]

    @property
    def file_name(self) -> str:
        """What tools may look for beside the annotations; by it an import knows the media again."""
        return f"{self.media_id}.jpg"


class Writer(Protocol):
    def write(self, picture: ExportedPicture) -> int:
        """Write down a picture; how many of its annotations this format cannot hold."""


@dataclass(slots=True)
class ExportReport:
    """`left_out`: annotations that the format cannot hold."""

    media: int = 0
    annotations: int = 0
    left_out: int = 0


async def export_annotations(
    scope: Scope, writer: Writer, *, database: Database, stores: Stores, on_page: Callable[[ExportReport], None]
) -> ExportReport:
    """Give `writer` every READY media that has annotations in `scope`, in the order of their ids.

    Each media as it is at one moment; those that become READY meanwhile may be there or not.
    """
    report, told = ExportReport(), 0
    scan = AnnotatedMediaScan(database)
    async for media in scan.media(scope.query, scope.labels, fields=(*PLACE_FIELDS, "content.width", "content.height")):
        annotations = await _annotations(media, scope, stores)
        if not annotations:
            continue
        content = media["content"]
        left_out = writer.write(ExportedPicture(media["_id"], content["width"], content["height"], annotations))
        report.media += left_out < len(annotations)
        report.annotations += len(annotations) - left_out
        report.left_out += left_out
        if (report.annotations + report.left_out) // _TOLD_EVERY > told:
            told = (report.annotations + report.left_out) // _TOLD_EVERY
            on_page(report)
    return report


async def _annotations(media: MediaDocument, scope: Scope, stores: Stores) -> list[AnnotationDocument]:
    source = next(iter(scope.sources)) if len(scope.sources) == 1 else None
    wanted = Wanted(source=source, min_confidence=scope.min_confidence or None)
    found = await moved_page(media, wanted, after=None, limit=MAX_ANNOTATIONS, stores=stores)
    return sorted(filter(scope.admits, found), key=lambda each: place_of(each["confidence"], each["id"]))
