"""Verifying a deletion: storage and edges are asked for all that a media had, and the answer goes on record.

It is done once nothing can be written any more that was asked for before the deletion: the window is over, and so is
the time in which the upload's presigned requests hold.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog

from service.audit import moment
from service.deletion import removal_moments
from service.edge_inspection import EdgeInspection, EdgeReport
from service.errors import TemporarilyUnavailable
from service.failpoints import Failpoint, reach
from service.models import DeletionStage, Job, JobKind, Lane, MediaPurpose
from service.object_keys import media_of_rendition
from service.object_store import ObjectStore
from service.remnants import (
    StorageReport,
    digest_of,
    inspect_storage,
    is_needed,
    remove_and_forget,
    remove_remnants,
)
from service.stores import Stores
from service.stores.deletion_proofs import certificate_id
from service.stores.deletions import DeletionDocument

# Ages at which a verified deletion is looked at again: a worker that slept through all of it may still write. So what
# comes back is gone again after a time that is a few times its delay at most.
WATCHED_S = (120, 600, 3_600, 6 * 3_600, 86_400, 7 * 86_400, 30 * 86_400)
_SHORTEST_PAUSE_S = 2.0
_LONGEST_PAUSE_S = 900.0

CheckCounter = Callable[[str], None]

log = structlog.get_logger(__name__)


async def verify_deletion(
    job: Job, *, stores: Stores, object_store: ObjectStore, edges: EdgeInspection | None, count: CheckCounter
) -> None:
    """See that nothing is left of a deleted media, and certify it; or remove what is left, and come back.

    One that is certified is looked at once more, in case something was written since. May be run any number of times,
    and cut off anywhere. `edges`: None where there is no CDN, which the certificate says. `count` hears what came of
    it. Raises TemporarilyUnavailable.
    """
    deletion = (await stores.deletions.get_many([job.media_id])).get(job.media_id)
    if deletion is None or deletion["stage"] in {DeletionStage.HIDDEN, DeletionStage.BLOCKED_BY_RETENTION}:
        return
    now = await stores.media.server_time()
    if deletion["stage"] == DeletionStage.VERIFIED:
        await _watch(deletion, now, stores, object_store, count)
        return
    if "verified_at" not in deletion:
        pause_s = await _verify(deletion, now, stores, object_store, edges, count)
        if pause_s is not None:
            await enqueue_verification(job.media_id, stores, generation=job.generation + 1, delay_s=pause_s)
            return
        reach(Failpoint.VERIFICATION_WRITTEN)
    await _certify(deletion, stores)
    count("verified")


async def enqueue_verification(media_id: UUID, stores: Stores, *, generation: int, delay_s: float) -> None:
    """Have a deletion verified in `delay_s` seconds."""
    await stores.jobs.enqueue(
        media_id, JobKind.VERIFY, lane=Lane.STANDARD, generation=generation, delay_s=max(delay_s, 0.0)
    )


async def _verify(
    deletion: DeletionDocument,
    now: datetime,
    stores: Stores,
    object_store: ObjectStore,
    edges: EdgeInspection | None,
    count: CheckCounter,
) -> float | None:
    """None once it is written down that nothing is left; else in how many seconds to look again."""
    media_id = deletion["_id"]
    upload = await stores.uploads.get(media_id)
    if (due := max(removal_moments(deletion, upload))) > now:
        return (due - now).total_seconds()
    pause_s = _pause(deletion, due, now)
    if await _is_being_forgotten(deletion, stores):
        count("awaits_cdn")
        return pause_s
    keys = await _keys_of(deletion, stores, object_store)
    storage = await inspect_storage(
        media_id, MediaPurpose(deletion["purpose"]), keys, upload, stores=stores, object_store=object_store
    )
    if storage.present or storage.unfinished:
        await remove_and_forget(media_id, storage.present, stores=stores, object_store=object_store)
        return await _not_yet(deletion, "stored", pause_s, stores, count, objects=len(storage.present))
    report = None if edges is None else await edges.ask({key for _, key in keys})
    if report is not None and report.served:
        again = {each for each in keys if each[1] in report.served}
        await remove_and_forget(media_id, again, stores=stores, object_store=object_store)
        return await _not_yet(deletion, "served", pause_s, stores, count, objects=len(again))
    if report is not None and report.unclear:
        why = "no_key" if edges is not None and not edges.can_ask else "refused" if report.refused else "unclear"
        return await _not_yet(deletion, why, pause_s, stores, count, objects=report.unclear)
    await stores.deletion_proofs.mark_verified(media_id, _details(deletion, keys, storage, report))
    return None


def _pause(deletion: DeletionDocument, due: datetime, now: datetime) -> float:
    """The longer it lasts, the longer until the next look."""
    since = max(due, deletion.get("cdn_invalidated_at", due), deletion.get("objects_removed_at", due))
    return min(max((now - since).total_seconds() / 2, _SHORTEST_PAUSE_S), _LONGEST_PAUSE_S)


async def _is_being_forgotten(deletion: DeletionDocument, stores: Stores) -> bool:
    if stores.invalidations is None:
        return False
    awaits_cdn = deletion["stage"] == DeletionStage.OBJECTS_REMOVED and deletion.get("awaits_cdn", False)
    return awaits_cdn or bool(await stores.invalidations.with_open([deletion["_id"]]))


async def _keys_of(deletion: DeletionDocument, stores: Stores, object_store: ObjectStore) -> set[tuple[str, str]]:
    """All that was removed of a media, also before its deletion, as far as that is known; nothing that others need."""
    keys = {(each["bucket"], each["key"]) for each in deletion["objects"]}
    if stores.invalidations is not None:
        known = {key for _, key in keys}
        requests = await stores.invalidations.list_of_media(deletion["_id"])
        earlier = {key for each in requests for key in each["keys"]} - known
        keys |= {(object_store.media_bucket, key) for key in earlier if media_of_rendition(key) is not None}
    return {each for each in keys if not await is_needed(each[1], stores)}


async def _not_yet(
    deletion: DeletionDocument, why: str, pause_s: float, stores: Stores, count: CheckCounter, *, objects: int
) -> float:
    checks = await stores.deletion_proofs.note_check(deletion["_id"])
    log.warning("a deletion cannot be verified yet", why=why, objects=objects, checks=checks)
    count(why)
    return pause_s


def _details(
    deletion: DeletionDocument, keys: set[tuple[str, str]], storage: StorageReport, report: EdgeReport | None
) -> dict[str, Any]:
    """What the certificate says: counts, hashes and moments, and nothing of anybody else."""
    stages = {
        name: moment(deletion[name])
        for name in ("requested_at", "objects_removed_at", "cdn_invalidated_at")
        if name in deletion
    }
    edges: dict[str, Any] = {"told": report is not None}
    if report is not None:
        edges |= {"asked": len(keys), "statuses": {str(each): n for each, n in sorted(report.statuses.items())}}
    return {
        "objects": deletion["objects_removed"],
        "keys_sha256": digest_of({(each["bucket"], each["key"]) for each in deletion["objects"]}),
        "original": "kept for another media" if deletion.get("keeps_original") else "removed",
        "storage": {"heads": len(keys), "listings": storage.listed, "found": 0},
        "edges": edges,
        "stages": stages,
        "earlier_checks": deletion.get("checks", 0),
    }


async def _certify(deletion: DeletionDocument, stores: Stores) -> None:
    media_id = deletion["_id"]
    await stores.audit.settle("deletions", [media_id])
    reach(Failpoint.CERTIFICATE_APPENDED)
    stored = await stores.certificates.find(deletion["owner_id"], certificate_id(media_id))
    if stored is None:
        raise TemporarilyUnavailable("The certificate is not in the audit chain yet; it waits in its outbox.")
    await stores.deletion_proofs.certify(media_id, stored.hash, look_again_s=WATCHED_S[0])
    reach(Failpoint.CERTIFICATE_WRITTEN)


async def _watch(
    deletion: DeletionDocument, now: datetime, stores: Stores, object_store: ObjectStore, count: CheckCounter
) -> None:
    media_id, upload = deletion["_id"], await stores.uploads.get(deletion["_id"])
    keys = {(each["bucket"], each["key"]) for each in deletion["objects"]}
    storage = await inspect_storage(
        media_id, MediaPurpose(deletion["purpose"]), keys, upload, stores=stores, object_store=object_store
    )
    # Also what was found before, by a process that died while it removed it.
    if storage.present or deletion.get("remnants"):
        await remove_remnants(media_id, storage.present, stores=stores, object_store=object_store)
        count("came_back")
        await stores.deletion_proofs.look_again(media_id, WATCHED_S[0])
        return
    age_s = (now - deletion["verified_at"]).total_seconds()
    later = [each - age_s for each in WATCHED_S if each > age_s]
    await stores.deletion_proofs.look_again(media_id, min(later, default=None))
