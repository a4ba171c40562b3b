"""The original of a media: fetched, checked, stored once however often it was sent, and given up at the end."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from service.documents import ContentDocument, MediaDocument
from service.errors import FailureCode, NotFound, ProcessingFailed, StorageRefused, TooLarge
from service.failpoints import Failpoint, reach
from service.kept_media import removal_of
from service.models import Job
from service.object_store import ObjectStore
from service.stores import Stores


@contextmanager
def nameless_file() -> Iterator[Path]:
    """A file on disk without a name, reached through this process: however it dies, nothing stays on the disk."""
    with tempfile.TemporaryFile(prefix="media-original-") as file:
        yield Path(f"/proc/self/fd/{file.fileno()}")


async def fetch_original(media: MediaDocument, path: Path, object_store: ObjectStore) -> str:
    """Stream the original into `path`; its SHA-256 in hex, equal to the announced one where there is one.

    Raises ProcessingFailed if it is gone or another, TemporarilyUnavailable.
    """
    original, content = media["original"], media["content"]
    try:
        sha256 = await object_store.download(original["bucket"], original["key"], path, max_bytes=content["bytes"])
    except NotFound:
        raise ProcessingFailed(FailureCode.ORIGINAL_MISSING, "The uploaded file is gone. Upload it again.") from None
    except TooLarge:
        sha256 = ""
    announced = content.get("announced_sha256") or content.get("sha256")
    if not sha256 or (announced and sha256 != announced):
        raise ProcessingFailed(
            FailureCode.CHECKSUM_MISMATCH, "The stored file is not the one that was announced. Upload it again."
        )
    reach(Failpoint.ORIGINAL_FETCHED)
    return sha256


async def store_once(job: Job, media: MediaDocument, sha256: str, *, stores: Stores, object_store: ObjectStore) -> bool:
    """Register the content of a media that `job` holds; if its owner has the same bytes elsewhere, point to those.

    The copy that was sent is removed then. False if the media is no longer held.
    """
    original = media["original"]
    content = await stores.contents.register(
        media["owner_id"],
        sha256,
        media["_id"],
        bucket=original["bucket"],
        key=original["key"],
        byte_size=media["content"]["bytes"],
    )
    reach(Failpoint.CONTENT_REGISTERED)
    if content["key"] != original["key"]:
        if not await _point_to(job, media, content, stores=stores, object_store=object_store):
            return False
        reach(Failpoint.ORIGINAL_LINKED)
    await _remove_copy(media, content, stores=stores, object_store=object_store)
    return True


async def _point_to(
    job: Job, media: MediaDocument, content: ContentDocument, *, stores: Stores, object_store: ObjectStore
) -> bool:
    stored = await object_store.head(content["bucket"], content["key"])
    if (
        stored is not None
        and stored.bytes == media["content"]["bytes"]
        # Storage keeps the checksum of what was sent in one piece.
        and stored.sha256 in {None, content["sha256"]}
    ):
        return await stores.media.point_to(media["_id"], job.fence, bucket=content["bucket"], key=content["key"])
    # What was known of it is lost: from now on these bytes are the content.
    original = media["original"]
    if not await stores.contents.move(content, media["_id"], bucket=original["bucket"], key=original["key"]):
        raise StorageRefused("The same content is being stored by another upload; this one will be tried again.")
    content.update({"bucket": original["bucket"], "key": original["key"]})
    return True


async def _remove_copy(
    media: MediaDocument, content: ContentDocument, *, stores: Stores, object_store: ObjectStore
) -> None:
    # Asked of the session, not of the media: an earlier attempt may have died right after it changed the media.
    upload = await stores.uploads.get(media["_id"])
    if upload is None or upload.get("linked") or upload["key"] == content["key"]:
        return
    if await stores.contents.is_free(upload["key"]):
        await object_store.delete(upload["bucket"], [upload["key"]])
    reach(Failpoint.COPY_REMOVED)


async def give_up_content(media_id: UUID, *, stores: Stores, object_store: ObjectStore) -> None:
    """Take back what `media_id` refers to, and remove the objects that nobody else needs."""
    for content in await stores.contents.release(media_id):
        if await stores.contents.is_free(content["key"]):
            await object_store.delete(content["bucket"], [content["key"]])


async def give_up_unless_kept(media_id: UUID, *, stores: Stores, object_store: ObjectStore) -> None:
    """The same for a media that has ended without a deletion, unless it is held."""
    async with removal_of(media_id, stores=stores) as kept:
        if kept is None:
            await give_up_content(media_id, stores=stores, object_store=object_store)
