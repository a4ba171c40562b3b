"""Making the renditions of a READY media again from its original, while it stays READY."""

from __future__ import annotations

from collections.abc import Sequence

from service.lifecycle import MediaStatus
from service.media_processing import PIPELINE_FIELDS, processing_request, store_renditions, withdraw_if_deleted
from service.models import Job, MediaDocument, RenditionDocument, Visibility
from service.object_store import ObjectStore
from service.original_content import fetch_original, nameless_file
from service.processing.jail import Jail
from service.stores import Stores


async def repair_renditions(job: Job, *, stores: Stores, object_store: ObjectStore, jail: Jail) -> None:
    """Write every rendition anew and let the document list what storage confirms; nothing unless the media is READY.

    The same original and revision give the same keys, so that running twice, or beside another worker, ends the same.
    Raises ProcessingFailed or TemporarilyUnavailable; the media stays as it is then.
    """
    media = await stores.media.get(job.media_id, fields=(*PIPELINE_FIELDS, "renditions.key"))
    if media is None or media["status"] != MediaStatus.READY:
        return
    with nameless_file() as path:
        sha256 = await fetch_original(media, path, object_store)
        image = await jail.process(path, processing_request(media))
    renditions = await store_renditions(media, image, sha256, object_store)
    if not await stores.media.replace_renditions(media, renditions):
        await withdraw_if_deleted(job.media_id, media, stores, object_store)
    elif media["visibility"] == Visibility.PRIVATE:
        # What may have been public must not be had any longer by an address given out then. Otherwise those go on
        # working, and what nobody lists is removed when storage is reconciled.
        await object_store.delete(object_store.media_bucket, _replaced(media, renditions))


def _replaced(media: MediaDocument, renditions: Sequence[RenditionDocument]) -> list[str]:
    kept = {rendition["key"] for rendition in renditions}
    return [rendition["key"] for rendition in media.get("renditions", []) if rendition["key"] not in kept]


async def leave_unrepaired(job: Job, *, stores: Stores) -> None:
    """The repair has failed for good: the media keeps what it has, and the sweeper need not look at it again."""
    await stores.media.look_again(job.media_id, MediaStatus.READY, at=None)
