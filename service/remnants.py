"""What storage holds of a deleted media, and removing what came back after nothing was left of it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from itertools import product
from uuid import UUID

import structlog

from service.documents import UploadDocument
from service.models import MediaPurpose, RenditionName, UploadMethod, Visibility
from service.object_keys import media_of_original, originals_prefix, rendition_prefix
from service.object_store import ObjectStore
from service.removal import remove_for_good
from service.stores import Stores

log = structlog.get_logger(__name__)

Keys = frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class StorageReport:
    """`present`: what is there and should not be (bucket, key). `listed`: how many prefixes were listed.

    `unfinished`: multipart uploads that were dropped only now.
    """

    present: Keys
    listed: int
    unfinished: int


async def inspect_storage(
    media_id: UUID,
    purpose: MediaPurpose,
    keys: Collection[tuple[str, str]],
    upload: UploadDocument | None,
    *,
    stores: Stores,
    object_store: ObjectStore,
) -> StorageReport:
    """HEAD every one of `keys` (bucket, key) and list all versions of them, and of whatever the media may have besides.

    That is every rendition of every generation, also such as no policy makes any more, and every original. An original
    that another media needs does not count. Raises TemporarilyUnavailable.
    """
    prefixes = _prefixes(media_id, purpose, object_store)
    apart = [
        each for each in keys if not any(each[0] == bucket and each[1].startswith(own) for bucket, own in prefixes)
    ]
    listings = await asyncio.gather(*(object_store.versioned_keys(*each) for each in (*prefixes, *apart)))
    found = {
        (bucket, key)
        for (bucket, prefix), listed in zip((*prefixes, *apart), listings, strict=True)
        for key in listed
        if (bucket, prefix) in prefixes or key == prefix
    }
    ordered = sorted(keys)
    heads = await asyncio.gather(*(object_store.head(*each) for each in ordered))
    found |= {each for each, head in zip(ordered, heads, strict=True) if head is not None}
    present = [each for each in sorted(found) if not await is_needed(each[1], stores)]
    unfinished = 0
    if upload is not None and upload["method"] == UploadMethod.MULTIPART and not upload.get("linked"):
        unfinished = await object_store.multipart.abort_all(upload["key"])
    return StorageReport(frozenset(present), len(listings), unfinished)


def _prefixes(media_id: UUID, purpose: MediaPurpose, object_store: ObjectStore) -> list[tuple[str, str]]:
    renditions = [
        (object_store.media_bucket, rendition_prefix(purpose, visibility, name, media_id))
        for name, visibility in product(RenditionName, Visibility)
    ]
    return [*renditions, (object_store.upload_bucket, originals_prefix(purpose, media_id))]


async def is_needed(key: str, stores: Stores) -> bool:
    """Whether the object is an original that is the content of some media."""
    return media_of_original(key) is not None and not await stores.contents.is_free(key)


async def remove_and_forget(
    media_id: UUID, keys: Collection[tuple[str, str]], *, stores: Stores, object_store: ObjectStore
) -> None:
    """Remove `keys` (bucket, key), and have edges forget them. Raises TemporarilyUnavailable, StorageRefused."""
    request_id = None
    if stores.invalidations is not None:
        request_id = await stores.invalidations.plan_apart(media_id, {key for _, key in keys})
    await remove_for_good(keys, object_store)
    if stores.invalidations is not None and request_id is not None:
        await stores.invalidations.release(request_id)


async def remove_remnants(
    media_id: UUID, keys: Collection[tuple[str, str]], *, stores: Stores, object_store: ObjectStore
) -> bool:
    """Remove what was written for a media after its deletion was verified, and put that on record.

    False, and nothing done, for any other media, and where there is nothing to remove. Raises TemporarilyUnavailable,
    StorageRefused; what is left is written down then.
    """
    noted = await stores.deletion_proofs.note_remnants(media_id, keys)
    if not noted:
        return False
    log.warning(
        "something was written for a media that is verified to be gone", media_id=str(media_id), objects=len(noted)
    )
    await remove_and_forget(media_id, noted, stores=stores, object_store=object_store)
    details = {"objects": len(noted), "keys_sha256": digest_of(noted)}
    await stores.deletion_proofs.mark_remnants_removed(media_id, noted, details)
    await stores.audit.settle("deletions", [media_id])
    return True


def digest_of(keys: Collection[tuple[str, str]]) -> str:
    """SHA-256, in hex, of a line `bucket/key` for each of them, in the order of their bytes."""
    lines = sorted(f"{bucket}/{key}\n".encode() for bucket, key in keys)
    return hashlib.sha256(b"".join(lines)).hexdigest()
