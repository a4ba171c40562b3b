"""What owners have stored, held against what is counted of it; counted anew where that differs.

Uploads of releases that counted nothing are counted by this alone, and what somebody has done to the database by hand.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID

from service.errors import TemporarilyUnavailable
from service.lifecycle import MediaStatus
from service.models import Holding
from service.quotas import count, due, look_after
from service.stores import Stores
from service.stores.quotas import Counted, OwnedUpload, QuotaDocument, counted_of, entry_key

_AT_ONCE = 200
_MOST_TRIES = 5


@dataclass(frozen=True, slots=True)
class Recount:
    """Of one owner: bytes that are `counted` as stored, and those that media have; `uncounted` media differ."""

    owner_id: str
    counted: int
    stored: int
    uncounted: int

    @property
    def is_right(self) -> bool:
        return self.counted == self.stored and not self.uncounted


async def recount_owners(*, repair: bool, owner_id: str | None = None, stores: Stores) -> AsyncIterator[Recount]:
    """One owner after the other, as they were found; with `repair` each is right afterwards.

    Others may go on meanwhile: what is under way differs for a moment. Raises TemporarilyUnavailable.
    """
    if owner_id is not None:
        yield await _recount(owner_id, repair=repair, stores=stores)
        return
    after: str | None = None
    while (found := await stores.quotas.next_owner(after)) is not None:
        after = found
        yield await _recount(found, repair=repair, stores=stores)


async def _recount(owner_id: str, *, repair: bool, stores: Stores) -> Recount:
    found = await _compare(owner_id, stores=stores)
    tries = 0
    now = found
    while repair and not now.recount.is_right:
        tries += 1
        if tries > _MOST_TRIES:
            raise TemporarilyUnavailable(f"The uploads of {owner_id} change too fast to be counted; run it again.")
        for media_id in now.uncounted:
            await count(owner_id, media_id, stores=stores)
        await look_after(owner_id, stores=stores)
        now = await _compare(owner_id, stores=stores)
        if not now.uncounted and now.sums is not None and now.recount.counted != now.recount.stored:
            await stores.quotas.correct(owner_id, now.sums, stored=now.recount.stored)
            now = await _compare(owner_id, stores=stores)
    return found.recount


@dataclass(frozen=True, slots=True)
class _Compared:
    recount: Recount
    uncounted: list[UUID]
    sums: QuotaDocument | None


async def _compare(owner_id: str, *, stores: Stores) -> _Compared:
    # First the sums: a correction is refused if they have changed since.
    sums = await stores.quotas.get(owner_id, None)
    stored, uncounted, chunk = 0, list[UUID](), list[OwnedUpload]()

    async def look() -> int:
        marks = await stores.quotas.marks([each.media_id for each in chunk])
        return sum(_look_at(each, sums, marks[each.media_id], uncounted) for each in chunk)

    async for upload in stores.quotas.uploads_of(owner_id):
        chunk.append(upload)
        if len(chunk) == _AT_ONCE:
            stored += await look()
            chunk.clear()
    if chunk:
        stored += await look()
    counted = 0 if sums is None else sums["stored"]
    return _Compared(Recount(owner_id, counted, stored, len(uncounted)), uncounted, sums)


def _look_at(upload: OwnedUpload, sums: QuotaDocument | None, mark: Counted, uncounted: list[UUID]) -> int:
    """The bytes that a media has stored; noted in `uncounted` if something else is counted of it."""
    entry = None if sums is None else sums["entries"].get(entry_key(upload.media_id))
    counted = mark if entry is None else counted_of(entry)
    should_be = due(MediaStatus(upload.status), upload.bytes)
    if (should_be.held, should_be.bytes) != (counted.held, counted.bytes):
        uncounted.append(upload.media_id)
    return should_be.bytes if should_be.held is Holding.STORED else 0
