"""Carrying out deletions unless their media is kept, and going on with those whose media is kept no longer."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from service.deletion import remove_objects
from service.documents import MediaDocument
from service.errors import NotFound
from service.kept_media import KEPT_FIELDS, Kept, block, what_keeps
from service.kept_renditions import put_out_of_reach
from service.lifecycle import MediaStatus
from service.models import DeletionStage, Job, MediaPurpose
from service.object_store import ObjectStore
from service.quotas import count_if_possible
from service.stored_renditions import stored_renditions
from service.stores import Stores
from service.stores.deletions import DeletionDocument
from service.stores.holds import owners_of

PAGE: Final = 500

_WAITS_OR_BEGINS: Final = frozenset({DeletionStage.HIDDEN, DeletionStage.BLOCKED_BY_RETENTION})


async def remove_unless_kept(job: Job, *, stores: Stores, object_store: ObjectStore) -> None:
    """A deletion job: `remove_objects`, unless a hold or a minimum retention keeps the media's bytes.

    Then what it was shown with is kept where no address leads, the deletion waits, and `resume_deletions` comes back to
    it. Raises as `remove_objects`.
    """
    deletion = (await stores.deletions.get_many([job.media_id])).get(job.media_id)
    media = await stores.media.get(job.media_id, fields=(*KEPT_FIELDS, "status_history.status"))
    if deletion is None or media is None or deletion["stage"] not in _WAITS_OR_BEGINS:
        await remove_objects(job, stores=stores, object_store=object_store)
        return
    await stores.media.transition(job.media_id, MediaStatus.DELETED)
    await count_if_possible(media["owner_id"], [job.media_id], stores=stores)
    async with stores.holds.removal(job.media_id, media["owner_id"]) as hold_id:
        kept = await what_keeps(media, hold_id=hold_id, stores=stores)
        if kept is None:
            await stores.blocked_deletions.resume(job.media_id)
            await remove_objects(job, stores=stores, object_store=object_store)
            return
    await _wait(job, media, deletion, kept, stores, object_store)


async def _wait(
    job: Job,
    media: MediaDocument,
    deletion: DeletionDocument,
    kept: Kept,
    stores: Stores,
    object_store: ObjectStore,
) -> None:
    if MediaStatus.PROCESSING not in {change["status"] for change in media["status_history"]}:
        # No worker has taken it out of the rule by which storage expires what was abandoned.
        for each in deletion["objects"]:
            if each["bucket"] == object_store.upload_bucket:
                with suppress(NotFound):
                    await object_store.mark_kept(each["bucket"], each["key"])
    bucket = object_store.media_bucket
    listed = {each["key"] for each in deletion["objects"] if each["bucket"] == bucket}
    stored = await stored_renditions(job.media_id, MediaPurpose(deletion["purpose"]), object_store)
    await put_out_of_reach(job.media_id, listed.union(stored), stores=stores, object_store=object_store)
    await block(job.media_id, kept, stores=stores)
    await stores.audit.settle("deletions", [job.media_id])


async def resume_deletions(*, stores: Stores) -> int:
    """Let deletions go on whose media is kept no longer; how many. For the sweeper, before it looks after deletions.

    At most PAGE are looked at: those of a hold that was lifted from an owner with more take several rounds.
    """
    due = await stores.blocked_deletions.list_due(limit=PAGE)
    media = await stores.media.get_many([deletion["_id"] for deletion in due], fields=KEPT_FIELDS)
    held = await stores.holds.on_many(owners_of(media.values()))
    resumed = 0
    for media_id, each in media.items():
        kept = await what_keeps(each, hold_id=held.get(media_id), stores=stores)
        if kept is None:
            await stores.blocked_deletions.resume(media_id)
            resumed += 1
        else:
            # It may wait for something else by now.
            await block(media_id, kept, stores=stores)
    return resumed
