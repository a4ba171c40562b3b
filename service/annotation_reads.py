"""Reading annotations wherever they are: in their media's document, or in rows once they have moved."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final
from uuid import UUID

from service.access import Action, Viewer, granted_filters, may
from service.documents import AnnotationDocument, MediaDocument
from service.errors import TemporarilyUnavailable
from service.models import NEAR_DUPLICATE
from service.stores import Stores
from service.stores.annotation_rows import Wanted, annotation_of_row

# What a page is read from; it takes no more than this of a document.
PLACE_FIELDS = ("annotations", "annotation_segments")

# A page is read again where what it was read from was written anew meanwhile.
_TRIES: Final = 10


async def moved_page(
    media: MediaDocument, wanted: Wanted, *, after: bytes | None, limit: int, stores: Stores
) -> list[AnnotationDocument]:
    """Up to `limit` annotations of a media that are wanted, in order, from behind the place `after`.

    If they are in its document after all, all that are wanted, in any order. Raises TemporarilyUnavailable if they are
    written anew all the time.
    """
    current: MediaDocument | None = media
    for _ in range(_TRIES):
        if current is None:
            return []
        if not (listed := current.get("annotation_segments", [])):
            return [each for each in current.get("annotations", ()) if wanted.admits(each)]
        segments = {each["id"] for each in listed if wanted.source is None or each["source"] == wanted.source}
        rows = await stores.annotation_rows.page(media["_id"], segments, wanted, after=after, limit=limit)
        # The rows of a segment go only after it is listed no more: if all still are, none was missing.
        current = await stores.media.get(media["_id"], fields=PLACE_FIELDS)
        if segments <= _listed(current):
            return rows
    raise TemporarilyUnavailable("The annotations of this media are being replaced; ask again.")


async def find_annotations(
    viewer: Viewer, annotation_ids: Collection[UUID], *, stores: Stores
) -> dict[UUID, AnnotationDocument]:
    """Annotations by id, of media that the viewer may see, as far as they are for this viewer."""
    found = {
        each["id"]: each
        for media, annotations in await find_with_media(
            annotation_ids, access=granted_filters(viewer, Action.READ), stores=stores
        )
        for each in annotations
        if is_shown(viewer, media, each)
    }
    return {each: found[each] for each in annotation_ids if each in found}


def is_shown(viewer: Viewer, media: MediaDocument, annotation: AnnotationDocument) -> bool:
    """Whether somebody who may see a media is also shown this annotation of it."""
    # It tells of another media of the owner.
    return annotation["label"] != NEAR_DUPLICATE or may(viewer, Action.READ_DETAILS, media)


async def find_with_media(
    annotation_ids: Collection[UUID], *, access: list[dict[str, Any]], stores: Stores
) -> list[tuple[MediaDocument, list[AnnotationDocument]]]:
    """Those of some annotations that are of media which `access` lets through, by media.

    Of the media nothing but who may do what with it is to be relied on.
    """
    wanted = set(annotation_ids)
    # In this order: they move from documents to rows, which are there before.
    holders = await stores.annotations.find_holders(wanted, access=access)
    found = [(media, media["annotations"]) for media in holders]
    missing = wanted - {each["id"] for _, annotations in found for each in annotations}
    return found if not missing else [*found, *await _find_moved(missing, access, stores)]


async def _find_moved(
    annotation_ids: Collection[UUID], access: list[dict[str, Any]], stores: Stores
) -> list[tuple[MediaDocument, list[AnnotationDocument]]]:
    for _ in range(_TRIES):
        rows = await stores.annotation_rows.find(annotation_ids)
        by_id = await stores.media.get_many(
            {row["media_id"] for row in rows}, fields=("annotation_segments",), access=access
        )
        found: dict[UUID, list[AnnotationDocument]] = {media_id: [] for media_id in by_id}
        counting = [row for row in rows if row["segment"] in _listed(by_id.get(row["media_id"]))]
        for row in counting:
            found[row["media_id"]].append(annotation_of_row(row))
        stale = {row["annotation_id"] for row in rows if row["media_id"] in by_id}
        # One of which only rows were there that do not count may just have been written anew.
        if not stale - {row["annotation_id"] for row in counting}:
            break
    return [(by_id[media_id], annotations) for media_id, annotations in found.items() if annotations]


async def of_media(media_id: UUID, annotation_ids: Iterable[UUID], *, stores: Stores) -> list[AnnotationDocument]:
    """Those of some annotations that a media has, in the order asked for."""
    ids = list(annotation_ids)
    found: Mapping[UUID, AnnotationDocument] = {}
    for _ in range(_TRIES):
        media = await stores.media.get(media_id, fields=PLACE_FIELDS)
        listed = _listed(media)
        if media is None or not listed:
            held = () if media is None else media.get("annotations", ())
        else:
            rows = await stores.annotation_rows.find(ids, media_id=media_id)
            held = [annotation_of_row(row) for row in rows if row["segment"] in listed]
        found = {each["id"]: each for each in held}
        if not listed or listed <= _listed(await stores.media.get(media_id, fields=PLACE_FIELDS)):
            break
    return [found[each] for each in ids if each in found]


def _listed(media: MediaDocument | None) -> set[UUID]:
    return set() if media is None else {each["id"] for each in media.get("annotation_segments", ())}
