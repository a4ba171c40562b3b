"""The audit chains as a whole: anchoring in object storage where they end, verifying and exporting what they hold."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import groupby

from service.audit import (
    BUCKETS,
    Anchor,
    ChainVerifier,
    Finding,
    Head,
    UnreadableFile,
    entry_line,
    heads_line,
    moment,
    read_heads,
)
from service.object_keys import anchor_prefix, day_of_anchor
from service.object_store import ObjectStore
from service.settings.audit import AuditSettings
from service.stores import Stores
from service.stores.audit import AuditStore


async def anchor_heads(
    *, stores: Stores, object_store: ObjectStore, database: str, settings: AuditSettings | None = None
) -> bool:
    """Write down where the chains end, once a day (in UTC), by whoever comes first; whether it was now.

    What lies before these heads cannot be changed in `database` any more without contradicting storage, which keeps
    what was written there first; where `settings` name a bucket that locks, whatever rights somebody has. Also on days
    on which nothing was appended: a day without an anchor is one on which nobody could write it.
    """
    settings = settings or AuditSettings()
    now = await stores.media.server_time()
    bucket, key = settings.anchor_bucket or object_store.media_bucket, f"{anchor_prefix(database)}{now:%Y-%m-%d}.json"
    if await object_store.head(bucket, key) is not None:
        return False
    heads = await stores.audit.heads()
    if not heads:
        return False
    body, kind = heads_line(heads, moment(now)), "application/json"
    if settings.anchor_bucket and await object_store.locked.locks(bucket):
        until = now + timedelta(days=settings.anchor_days)
        return await object_store.locked.create(bucket, key, body, content_type=kind, until=until)
    return await object_store.create(bucket, key, body, content_type=kind)


@dataclass(frozen=True, slots=True)
class Anchors:
    """What storage holds of heads: `keys` (objects), what could not be read as such, and which days (UTC) have any."""

    heads: Sequence[Anchor]
    keys: int
    problems: Sequence[str]
    days: Collection[date]

    @property
    def newest(self) -> date | None:
        return max(self.days, default=None)


async def read_anchors(*, object_store: ObjectStore, database: str, settings: AuditSettings | None = None) -> Anchors:
    """All heads that were ever anchored, also in versions of an anchor that were overwritten or deleted since.

    Where anchors have a bucket of their own, those from before it are in the media bucket.
    """
    heads: list[Anchor] = []
    problems: list[str] = []
    days: set[date] = set()
    own = (settings or AuditSettings()).anchor_bucket
    versions = [
        version
        for bucket in dict.fromkeys((object_store.media_bucket, own or object_store.media_bucket))
        for version in await object_store.versions(bucket, anchor_prefix(database))
    ]
    for version in versions:
        try:
            found = read_heads(version.body, f"the anchor {version.key}")
        except UnreadableFile as error:
            problems.append(str(error))
            continue
        heads += found
        # None is written without a head.
        if found and (day := day_of_anchor(version.key)) is not None:
            days.add(day)
    return Anchors(heads, len({version.key for version in versions}), problems, days)


def days_without_anchor(anchors: Anchors, begun: datetime | None, now: datetime) -> Iterator[str]:
    """What is to be said of the days that nothing was anchored on since `begun`, when the first entry was made.

    Not of that day and of today, which may still have theirs to come; of both if there is no anchor after 24 hours.
    """
    if begun is None:
        return
    if not anchors.days:
        if now - begun > timedelta(days=1):
            yield f"There are entries since {begun:%Y-%m-%d}, and no anchor at all: chains may have been made anew."
        return
    days = [begun.date() + timedelta(days=number) for number in range(1, (now.date() - begun.date()).days)]
    for is_anchored, run in groupby(days, key=anchors.days.__contains__):
        if not is_anchored:
            first, *_, last = [*run] * 2
            named = f"{first}" if first == last else f"{first} to {last}"
            yield f"There is no anchor of {named}: no worker could write it, or it was removed."


async def verify_chains(audit: AuditStore, anchors: Sequence[Anchor]) -> AsyncIterator[Finding | Head]:
    """What is wrong with the chains of the database, held against `anchors` that were read before; and their heads."""
    for bucket in range(BUCKETS):
        chain = ChainVerifier(bucket, anchors)
        async for entry, stored_hash in audit.entries(bucket):
            for finding in chain.take(entry, stored_hash):
                yield finding
        for finding in chain.end():
            yield finding
        if chain.head.sequence:
            yield chain.head


async def export_lines(*, stores: Stores) -> AsyncIterator[bytes]:
    """The lines of an export: what is stored, as it is stored, and last the heads of what came before.

    Raises ValueError for an entry that is no entry any more: `verify_chains` says which.
    """
    heads: list[Head] = []
    for bucket in range(BUCKETS):
        head = Head(bucket)
        async for entry, stored_hash in stores.audit.entries(bucket):
            head = Head(bucket, entry.get("sequence", 0), str(stored_hash))
            yield entry_line(entry, head.hash)
        if head.sequence:
            heads.append(head)
    yield heads_line(heads, moment(await stores.media.server_time()))
