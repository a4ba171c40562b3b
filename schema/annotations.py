"""What was found in a media: shown like its title, but for what tells of another media of its owner."""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

import strawberry

from schema.global_id import encode_id
from schema.node import Node
from schema.stored import stored
from schema.values import BoundingBox, PageInfo
from service.annotation_places import place_of
from service.annotation_reads import moved_page
from service.documents import AnnotationDocument, MediaDocument
from service.errors import InvalidInput
from service.models import NEAR_DUPLICATE
from service.stores import Stores
from service.stores.annotation_rows import Wanted

MAX_PAGE = 100
_MARK = b"a1"
_PLACE = struct.Struct(">d16s")

# Where an annotation stands among those of its media: the surest first.
Place = tuple[float, bytes]


@strawberry.type(description="Something that was found in a media, by a person or a model.")
class Annotation(Node):
    document: strawberry.Private[AnnotationDocument]

    label: str = stored(
        "label", description="What it is: `text`, `nutrition:fat_g`, `near-duplicate`, or whatever its source says."
    )
    confidence: float = stored("confidence", description="From 0 to 1.")
    bounding_box: BoundingBox | None = stored("bounding_box", lambda value: BoundingBox(**value))
    source: str = stored("source", description="Who or what made it: `user:<id>`, or `model:<name>@<version>`.")
    created_at: datetime = stored("created_at")

    @strawberry.field(description="Recognised text; for a near-duplicate the id of the media that was there first.")
    def text(self) -> str | None:
        text = self.document["text"]
        return _media_named(text) if text and self.document["label"] == NEAR_DUPLICATE else text


@strawberry.type
class AnnotationEdge:
    cursor: str
    node: Annotation


@strawberry.type(description="A page of annotations, the surest first.")
class AnnotationConnection:
    edges: list[AnnotationEdge]
    page_info: PageInfo

    @strawberry.field
    def nodes(self) -> list[Annotation]:
        return [edge.node for edge in self.edges]


def _media_named(text: str) -> str:
    try:
        return encode_id("Media", UUID(text))
    except ValueError:
        # Others may use the label for what they like.
        return text


def annotation_of(document: AnnotationDocument) -> Annotation:
    return Annotation(id=encode_id("Annotation", document["id"]), document=document)


def annotations_of(media: MediaDocument, wanted: Wanted, *, first: int, after: str | None, stores: Stores) -> Any:
    """One page of a media's annotations: an AnnotationConnection, or where they have moved one to be awaited.

    Raises InvalidInput for a page size or cursor that cannot be.
    """
    if media.get("annotation_segments"):
        return _moved_page(media, wanted, first=first, after=after, stores=stores)
    return annotation_page(filter(wanted.admits, media.get("annotations", ())), first=first, after=after)


async def _moved_page(
    media: MediaDocument, wanted: Wanted, *, first: int, after: str | None, stores: Stores
) -> AnnotationConnection:
    _check_size(first)
    beginning = None if after is None else _stored_place(decode_cursor(after))
    annotations = await moved_page(media, wanted, after=beginning, limit=first + 1, stores=stores)
    return annotation_page(annotations, first=first, after=after)


def _stored_place(place: Place) -> bytes:
    surety, identity = place
    return place_of(-surety, UUID(bytes=identity))


def annotation_page(
    annotations: Iterable[AnnotationDocument], *, first: int, after: str | None
) -> AnnotationConnection:
    """One page, the surest first. Raises InvalidInput for a page size or cursor that cannot be."""
    _check_size(first)
    beginning = None if after is None else decode_cursor(after)
    ordered = sorted(annotations, key=_place)
    rest = [each for each in ordered if beginning is None or _place(each) > beginning]
    edges = [AnnotationEdge(cursor=encode_cursor(each), node=annotation_of(each)) for each in rest[:first]]
    page_info = PageInfo(
        has_next_page=len(rest) > first,
        has_previous_page=after is not None,
        start_cursor=edges[0].cursor if edges else None,
        end_cursor=edges[-1].cursor if edges else None,
    )
    return AnnotationConnection(edges=edges, page_info=page_info)


def _check_size(first: int) -> None:
    if not 1 <= first <= MAX_PAGE:
        raise InvalidInput(f"`first` must be 1 to {MAX_PAGE}.", field=["first"])


def _place(annotation: AnnotationDocument) -> Place:
    return -annotation["confidence"], annotation["id"].bytes


def encode_cursor(annotation: AnnotationDocument) -> str:
    return base64.urlsafe_b64encode(_MARK + _PLACE.pack(*_place(annotation))).decode()


def decode_cursor(cursor: str) -> Place:
    """The place to continue after. Raises InvalidInput for anything that is not a cursor of ours."""
    try:
        raw = base64.b64decode(cursor, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) == len(_MARK) + _PLACE.size and raw.startswith(_MARK):
        surety, identity = _PLACE.unpack(raw[len(_MARK) :])
        if -1 <= surety <= 0:
            return surety, identity
    raise InvalidInput("`after` is not a cursor of this list; leave it out to begin at the surest.", field=["after"])
