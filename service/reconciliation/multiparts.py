"""Storage against the database: multipart uploads that no open session goes on with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import partial

from service.lifecycle import AWAITING_BYTES
from service.multipart import PendingMultipart
from service.object_keys import parse_key
from service.reconciliation.context import Context
from service.reconciliation.findings import Finding, FindingKind, Outcome


async def examine_multiparts(page: Sequence[PendingMultipart], context: Context) -> AsyncIterator[Finding]:
    """Multipart uploads of the upload bucket, begun before the cutoff, whose session has ended or knows another."""
    bucket = context.object_store.upload_bucket
    for pending in page:
        if pending.begun_at >= context.cutoff:
            continue
        media_id = parse_key(pending.key)
        what = f"{bucket}/{pending.key}?uploadId={pending.storage_upload_id}"
        if media_id is None:
            yield Finding(FindingKind.UNKNOWN_OBJECT, what, "this service makes no such key", Outcome.KEPT)
        elif (why := await _reason(pending, context)) is not None:
            outcome = await context.settle(partial(_abort, pending, context))
            yield Finding(FindingKind.ABANDONED_MULTIPART, what, why, outcome, str(media_id))


async def _reason(pending: PendingMultipart, context: Context) -> str | None:
    """Why nobody goes on with it, or None."""
    media_id = parse_key(pending.key)
    if media_id is None:
        return None
    upload = await context.stores.uploads.get(media_id)
    media = await context.stores.media.get(media_id, fields=())
    if upload is None or media is None:
        return "no session has this id"
    if media["status"] not in AWAITING_BYTES:
        return f"its media is {media['status']}"
    is_bound = upload.get("storage_upload_id") == pending.storage_upload_id
    return None if is_bound else "its session goes on with another"


async def _abort(pending: PendingMultipart, context: Context) -> Outcome:
    if await _reason(pending, context) is None:
        return Outcome.GONE
    await context.object_store.multipart.abort(pending.key, pending.storage_upload_id)
    return Outcome.REPAIRED
