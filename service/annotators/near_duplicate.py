"""Near-duplicates: pictures of one owner that look the same, by the perceptual hashes that processing has stored."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from service.annotators import ViewWish
from service.documents import MediaDocument
from service.lifecycle import MediaStatus
from service.models import NEAR_DUPLICATE, AnnotationDraft, ViewImage
from service.perceptual_hash import DUPLICATE_DISTANCE, distance, is_telling
from service.stores import Stores

# So many of the owner's media that look the same are compared.
MAX_COMPARED: Final = 1_000

# So many of the nearest are told of.
MAX_TOLD: Final = 5
_MAX_LOOKED_AT: Final = 20


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
        own = media["hashes"]["phash"]
        near = await self._stores.look_alikes.hashes_near([own], DUPLICATE_DISTANCE)
        theirs = await self._stores.look_alikes.of_owner_with(media["owner_id"], near, limit=MAX_COMPARED)
        like = sorted(
            (distance(own, phash), media_id) for media_id, phash in theirs.items() if media_id != media["_id"]
        )
        like = like[:_MAX_LOOKED_AT]
        found = await self._stores.media.get_many([media_id for _, media_id in like], fields=("status_history",))
        return [
            AnnotationDraft(NEAR_DUPLICATE, confidence=1 - apart / 64, text=str(media_id))
            for apart, media_id in like
            if media_id in found and _was_there_first(found[media_id], media)
        ][:MAX_TOLD]


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
