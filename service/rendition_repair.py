"""Making the renditions of a READY media again from its original, while it stays READY."""

from __future__ import annotations

import tempfile
from pathlib import Path

from service.lifecycle import MediaStatus
from service.media_processing import PIPELINE_FIELDS, processing_request, store_renditions, withdraw_if_deleted
from service.models import Job
from service.object_store import ObjectStore
from service.original_content import fetch_original
from service.processing.jail import Jail
from service.stores import Stores


async def repair_renditions(job: Job, *, stores: Stores, object_store: ObjectStore, jail: Jail) -> None:
    """Write every rendition anew and let the document list what storage confirms; nothing unless the media is READY.

    The same original gives the same keys, so that running twice, or beside another worker, ends the same. Raises
    ProcessingFailed or TemporarilyUnavailable; the media stays as it is then.
    """
    media = await stores.media.get(job.media_id, fields=PIPELINE_FIELDS)
    if media is None or media["status"] != MediaStatus.READY:
        return
    with tempfile.TemporaryDirectory(prefix="media-original-") as folder:
        path = Path(folder, "original")
        sha256 = await fetch_original(media, path, object_store)
        image = await jail.process(path, processing_request(media))
    renditions = await store_renditions(media, image, sha256, object_store)
    if not await stores.media.replace_renditions(media, renditions):
        await withdraw_if_deleted(job.media_id, media, stores, object_store)
