"""Near-duplicates: pictures of one owner that look the same, by the perceptual hashes that processing has stored."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import groupby
from typing import Final
from uuid import UUID

from service.annotators import ViewWish
from service.documents import MediaDocument
from service.lifecycle import MediaStatus
from service.models import NEAR_DUPLICATE, AnnotationDraft, ViewImage
from service.perceptual_hash import DUPLICATE_DISTANCE, distance, is_telling, within
from service.stores import Stores

# So many of the nearest are told of, and so many looked at: some were there later.
MAX_TOLD: Final = 5
_MAX_LOOKED_AT: Final = 20

# The version of documents since which hashes have bands.
_SINCE_BANDS: Final = 2


class NearDuplicateFinder:
    """Marks whichever of two like media became READY later; its text is the other one's id."""

    name = "near-duplicate"
    version = "2"
    fields: Sequence[str] = ("hashes.phash", "status_history")
    view: ViewWish | None = None

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    def wants(self, media: MediaDocument) -> bool:
        """Whether there is a hash and it tells anything: those of flat pictures are all alike."""
        phash = media.get("hashes", {}).get("phash")
        return phash is not None and is_telling(phash)

    async def annotate(self, media: MediaDocument, image: ViewImage | None) -> Sequence[AnnotationDraft]:
        """The nearest of the owner's media that were there first."""
        del image
        own, owner_id = media["hashes"]["phash"], media["owner_id"]
        nearest = await self._nearest(owner_id, own, await self._hashes_near(owner_id, own), besides=media["_id"])
        found = await self._stores.media.get_many(nearest, fields=("status_history",))
        return [
            AnnotationDraft(NEAR_DUPLICATE, confidence=1 - distance(own, phash) / 64, text=str(media_id))
            for media_id, phash in nearest.items()
            if media_id in found and _was_there_first(found[media_id], media)
        ][:MAX_TOLD]

    async def _hashes_near(self, owner_id: str, own: int) -> Collection[int]:
        """The near hashes that there are, or those of this owner alone."""
        look_alikes = self._stores.look_alikes
        if await self._stores.migrations.count_below(_SINCE_BANDS, limit=1) == 0:
            return await look_alikes.hashes_near([own], DUPLICATE_DISTANCE)
        # Media of earlier releases are not found by bands, and this looks for them only once.
        pages = look_alikes.all_hashes(of_owner=owner_id)
        return {value async for page in pages for value in within(DUPLICATE_DISTANCE, of=own, among=page)}

    async def _nearest(self, owner_id: str, own: int, near: Collection[int], *, besides: UUID) -> Mapping[UUID, int]:
        """The owner's media with these hashes: the nearest, and of those equally near the oldest; with their hash."""
        nearest: dict[UUID, int] = {}
        for _, equally_far in groupby(sorted(near, key=partial(distance, own)), partial(distance, own)):
            wanted = _MAX_LOOKED_AT - len(nearest)
            found = await self._stores.look_alikes.oldest_of_owner_with(owner_id, list(equally_far), limit=wanted + 1)
            found.pop(besides, None)
            nearest.update(list(found.items())[:wanted])
            if len(nearest) >= _MAX_LOOKED_AT:
                break
        return nearest


def _was_there_first(other: MediaDocument, media: MediaDocument) -> bool:
    """Whether `other` was READY before `media`.

    By that and not by age: when this runs, everything that was READY before is there to be compared with, so each pair
    is told of once, whatever the order in which their jobs run.
    """
    theirs, ours = _ready_at(other), _ready_at(media)
    return theirs is not None and ours is not None and (theirs, other["_id"]) < (ours, media["_id"])


def _ready_at(media: MediaDocument) -> datetime | None:
    moments = [change["at"] for change in media["status_history"] if change["status"] == MediaStatus.READY]
    return moments[-1] if moments else None
