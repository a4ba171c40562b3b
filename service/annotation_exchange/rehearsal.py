"""What a write of annotations would be refused for, found out without writing."""

from __future__ import annotations

from collections.abc import Sequence

from service.annotation_layout import check_bounds
from service.documents import AnnotationDocument, MediaDocument
from service.stores import Stores


async def check_room(media: MediaDocument, source: str, fresh: Sequence[AnnotationDocument], *, stores: Stores) -> None:
    """Raise InvalidInput where a media cannot hold `fresh` instead of what `source` has said of it.

    `media`: as `service.annotation_reads.PLACE_FIELDS` have it.
    """
    if not fresh:
        # What takes away works also where there is too much.
        return
    others = [each for each in media.get("annotations", ()) if each["source"] != source]
    segments = [each for each in media.get("annotation_segments", ()) if each["source"] != source]
    moved = await stores.annotation_rows.strongest(media["_id"], [each["id"] for each in segments])
    check_bounds(
        len(fresh) + len(others) + sum(each["count"] for each in segments),
        {*moved, *(each["label"] for each in (*others, *fresh))},
        {each["source"] for each in (*others, *segments, *fresh)},
    )
