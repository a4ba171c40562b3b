"""The audit chains: do entries reach them, and is it written down elsewhere where they end?"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from service.audit import Finding as Fault
from service.audit import Head
from service.audit_upkeep import read_anchors
from service.doctor.findings import Finding, ok, problem, warning
from service.errors import ConfigurationError, TemporarilyUnavailable
from service.object_store import ObjectStore
from service.settings import Settings
from service.stores import Stores, bind_stores
from service.stores.database import open_database
from service.stores.inspection import DatabaseUnusable, explained

_CHECK = "audit"
# Several sweeps: whoever noted an entry appends it at once, or a sweep does.
_LATE = timedelta(minutes=10)
_NO_SWEEP = "See whether a worker runs, and what it logs of `_settle_audit`; nothing is lost meanwhile."
_NO_ANCHOR = "See whether a worker runs, and what it logs of `_anchor`; it needs s3:PutObject for audit/*."
_CUT = "Run `python -m service audit verify`, keep what it says, and find out who may write to the database."
_LOCK = "Make it anew with Object Lock, or leave MEDIA_AUDIT__ANCHOR_BUCKET empty."


async def check_audit(settings: Settings) -> list[Finding]:
    """What waits to be appended, the newest anchor against the chains, and whether its bucket locks."""
    try:
        object_store = ObjectStore(settings.storage)
    except ConfigurationError:
        # The check of storage says it.
        return []
    try:
        with explained():
            async with open_database(settings.mongo) as database:
                stores = bind_stores(database)
                waiting = await _check_backlog(stores)
                anchored = await _check_anchors(settings, stores, object_store)
        return [waiting, anchored, *await _check_bucket(settings, object_store)]
    except DatabaseUnusable:
        # Which has a check of its own, as storage has.
        return []
    except TemporarilyUnavailable as error:
        return [problem(_CHECK, f"Anchors cannot be read: {error.__cause__ or error}.", _NO_ANCHOR)]
    finally:
        await object_store.close()


async def _check_backlog(stores: Stores) -> Finding:
    backlog = await stores.audit_reads.backlog()
    if not backlog.number:
        return ok(_CHECK, "Every entry is in its chain.")
    if backlog.oldest is None:
        return warning(
            _CHECK, f"{backlog.number} documents hold what is no entry, and stays out of the chains.", _NO_SWEEP
        )
    waited = await stores.media.server_time() - backlog.oldest
    text = f"{backlog.number} documents hold entries for their chains, the oldest for {waited.total_seconds():.0f} s."
    return warning(_CHECK, text, _NO_SWEEP) if waited > _LATE else ok(_CHECK, text)


async def _check_anchors(settings: Settings, stores: Stores, object_store: ObjectStore) -> Finding:
    anchors = await read_anchors(object_store=object_store, database=settings.mongo.database, settings=settings.audit)
    # Afterwards: what was anchored is in the chains by then.
    heads = {head.bucket: head for head in await stores.audit.heads()}
    if not heads and not anchors.heads:
        return ok(_CHECK, "Nothing is on record yet.")
    if anchors.newest is None:
        begun, now = await stores.audit_reads.begun(), await stores.media.server_time()
        if begun is not None and now - begun < _LATE:
            return ok(_CHECK, "The chains have just begun; where they end is written down with the next sweep.")
        return warning(_CHECK, "Where the chains end is written down nowhere yet.", _NO_ANCHOR)
    for anchor in anchors.heads:
        if anchor.head.sequence > heads.get(anchor.head.bucket, Head(anchor.head.bucket)).sequence:
            fault = Fault(anchor.head.bucket, anchor.head.sequence, f"it was there according to {anchor.source}")
            return problem(_CHECK, str(fault), _CUT)
    age = (await stores.media.server_time()).date() - anchors.newest
    text = f"The newest anchor is of {anchors.newest:%Y-%m-%d}; the chains hold at least what it says."
    return warning(_CHECK, text, _NO_ANCHOR) if age > timedelta(days=1) else ok(_CHECK, text)


async def _check_bucket(settings: Settings, object_store: ObjectStore) -> Sequence[Finding]:
    bucket = settings.audit.anchor_bucket
    if not bucket:
        return []
    if await object_store.locked.locks(bucket):
        return [ok(_CHECK, f"{bucket} locks anchors for {settings.audit.anchor_days} days.")]
    return [problem(_CHECK, f"{bucket} does not lock what is in it: anchors can be removed there.", _LOCK)]
