"""What owners have stored and reserved, held against what is counted of it; counted anew where that differs.

Uploads of releases that counted nothing are counted by this alone, and what somebody has done to the database by hand.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from service.errors import TemporarilyUnavailable
from service.lifecycle import MediaStatus
from service.models import Holding
from service.quotas import batched, count_all, due, look_after
from service.stores import Stores
from service.stores.quota_marks import Counted
from service.stores.quotas import EntryDocument, OwnedUpload, QuotaDocument, counted_of, entry_id

_AT_ONCE = 200
_MOST_TRIES = 5


@dataclass(frozen=True, slots=True)
class Recount:
    """Of one owner: bytes that are `counted` as stored, and those that media have; `uncounted` media differ.

    `reserved`: the bytes that are counted so, and `awaited` those of uploads that wait for them. `is_right`: nothing
    differs, nor how many uploads there are said to be.
    """

    owner_id: str
    counted: int
    stored: int
    uncounted: int
    reserved: int
    awaited: int
    is_right: bool


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
        for chunk in batched(now.uncounted):
            await count_all(owner_id, chunk, drops=True, stores=stores)
        await look_after(owner_id, stores=stores)
        now = await _compare(owner_id, stores=stores)
        if not now.uncounted and now.sums is not None and not now.recount.is_right:
            await stores.quotas.correct(owner_id, now.sums, now.right)
            now = await _compare(owner_id, stores=stores)
    return found.recount


@dataclass(frozen=True, slots=True)
class _Compared:
    """`right`: what each of `sums` should be, if nothing is `uncounted`."""

    recount: Recount
    uncounted: list[UUID]
    sums: QuotaDocument | None
    right: dict[str, int]


async def _compare(owner_id: str, *, stores: Stores) -> _Compared:
    # First the sums: a correction is refused if they have changed since.
    sums = await stores.quotas.get(owner_id, None)
    entries = {} if sums is None else {entry_id(key): entry for key, entry in sums["entries"].items()}
    stored, uncounted, chunk = 0, list[UUID](), list[OwnedUpload]()

    async def look() -> int:
        marks = await stores.quotas.marks.read([each.media_id for each in chunk if each.media_id not in entries])
        return sum(_look_at(each, entries.get(each.media_id), marks.get(each.media_id), uncounted) for each in chunk)

    async for upload in stores.quotas.uploads_of(owner_id):
        chunk.append(upload)
        if len(chunk) == _AT_ONCE:
            stored += await look()
            chunk.clear()
    if chunk:
        stored += await look()
    waiting = [entry["bytes"] for entry in entries.values() if entry["held"] == Holding.RESERVED]
    right = {"stored": stored, "reserved": sum(waiting), "open": len(waiting), "listed": len(entries)}
    counted: dict[str, int] = {name: dict[str, Any](sums or {}).get(name, 0) for name in right}
    is_right = counted == right and not uncounted
    recount = Recount(
        owner_id, counted["stored"], stored, len(uncounted), counted["reserved"], right["reserved"], is_right
    )
    return _Compared(recount, uncounted, sums, right)


def _look_at(upload: OwnedUpload, entry: EntryDocument | None, mark: Counted | None, uncounted: list[UUID]) -> int:
    """The bytes that a media has stored; noted in `uncounted` if something else is counted of it."""
    counted = mark or Counted() if entry is None else counted_of(entry)
    should_be = due(MediaStatus(upload.status), upload.bytes)
    if not should_be.is_same_as(counted):
        uncounted.append(upload.media_id)
    return should_be.bytes if should_be.held is Holding.STORED else 0
