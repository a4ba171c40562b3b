"""How many bytes each owner may send a day and have stored: reserved with the session, settled, and given back.

What is counted of an upload follows from the status of its media and from nothing else, so that every step may be
repeated, come late, or be left to upkeep: whoever looks at an upload brings the sums to what they should be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog

from service.access import Viewer
from service.documents import MediaDocument
from service.errors import Problem, QuotaExceeded, TemporarilyUnavailable
from service.lifecycle import AWAITING_BYTES, TERMINAL, MediaStatus
from service.models import Holding
from service.settings import LimitsSettings, PerOwner
from service.stores import Stores
from service.stores.quotas import ByteLimits, Counted, EntryDocument, QuotaDocument, counted_of, entry_id, entry_key

log = structlog.get_logger(__name__)

# Sessions that one owner may have open: their entries are in one document.
MOST_OPEN = 10_000
# How often others may be faster.
_MOST_TRIES = 50
# A request that reserved so long ago and has not written its media since is dead.
_UNWRITTEN = timedelta(hours=1)
_AT_ONCE = 100
_OWNERS_A_ROUND = 200
_WAITING_PAUSE_S = 300

# A FAILED media is tried again by somebody or deleted, and counts when it is; until then its owner has nothing of it.
_HOLDS_NOTHING = frozenset({MediaStatus.FAILED, MediaStatus.EXPIRED, MediaStatus.DELETED})

_BUSY = "Too many uploads of yours begin or end at the same moment; send the same request again."


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file of a request, and under which id its media would be. `is_sent`: storage does not have its bytes yet."""

    media_id: UUID
    bytes: int
    position: int
    is_sent: bool = True


def byte_limits(viewer: Viewer, settings: LimitsSettings) -> ByteLimits:
    """What a signed-in viewer may send and have stored: the widest limit that one of their roles has."""
    return ByteLimits(_widest(settings.daily_bytes, viewer), _widest(settings.total_bytes, viewer))


def _widest(limits: PerOwner, viewer: Viewer) -> int | None:
    theirs = [limits.user]
    if viewer.is_moderator:
        theirs.append(limits.moderator)
    if viewer.is_service:
        theirs.append(limits.service)
    return max(theirs) if all(theirs) else None


async def reserve(
    owner_id: str, wanted: Sequence[Wanted], *, limits: ByteLimits, is_repeat: bool, stores: Stores
) -> dict[UUID, Problem]:
    """Reserve what fits, in order; the problems of the files that do not, by the id their media would have had.

    Content that storage has already counts in full in what is stored, and not at all in what is sent. `is_repeat`: the
    request was carried out before, at least in part: what has its media is counted already. Raises
    TemporarilyUnavailable.
    """
    for _ in range(_MOST_TRIES if wanted else 0):
        sums = await stores.quotas.get(owner_id, [each.media_id for each in wanted])
        if sums is None:
            await stores.quotas.open(owner_id)
            continue
        written = await stores.media.get_many([each.media_id for each in wanted], fields=()) if is_repeat else {}
        new = [each for each in wanted if entry_key(each.media_id) not in sums["entries"]]
        fitting, problems = _choose([each for each in new if each.media_id not in written], sums, limits)
        if not fitting or await stores.quotas.reserve(owner_id, fitting, generation=sums["generation"], limits=limits):
            return problems
    if wanted:
        raise TemporarilyUnavailable(_BUSY)
    return {}


def _choose(
    wanted: Sequence[Wanted], sums: QuotaDocument, limits: ByteLimits
) -> tuple[dict[UUID, tuple[int, int]], dict[UUID, Problem]]:
    fitting: dict[UUID, tuple[int, int]] = {}
    problems: dict[UUID, Problem] = {}
    total, sent = sums["stored"] + sums["reserved"], sums["sent"]
    for each in wanted:
        part = each.bytes if each.is_sent else 0
        if limits.daily is not None and part and sent + part > limits.daily:
            message = f"You may send {limits.daily} bytes a day, and have {max(0, limits.daily - sent)} left; days "
            problems[each.media_id] = _exceeded(each, message + "begin at 00:00 UTC. Send this file tomorrow.")
        elif limits.total is not None and total + each.bytes > limits.total:
            message = f"You may have {limits.total} bytes stored, and have {max(0, limits.total - total)} left. "
            problems[each.media_id] = _exceeded(each, message + "Delete what you need no longer, then send this file.")
        elif sums["open"] + len(fitting) >= MOST_OPEN:
            message = f"You have {MOST_OPEN} uploads under way. Complete or abort some, then send this file."
            problems[each.media_id] = _exceeded(each, message)
        else:
            fitting[each.media_id] = (each.bytes, part)
            total, sent = total + each.bytes, sent + part
    return fitting, problems


def _exceeded(file: Wanted, message: str) -> Problem:
    return QuotaExceeded(message, field=["files", file.position, "byteSize"]).problem()


async def settle(owner_id: str, media_id: UUID, *, stores: Stores) -> None:
    """The bytes of an upload have arrived: what was reserved for them is stored."""
    if not await stores.quotas.settle(owner_id, media_id):
        await count(owner_id, media_id, stores=stores)


async def count(owner_id: str, media_id: UUID, *, stores: Stores) -> None:
    """Bring the sums to what they should be of one upload. Raises TemporarilyUnavailable."""
    for _ in range(_MOST_TRIES):
        # In this order: what is read of the upload is at least as new as what is read of the sums.
        sums = await stores.quotas.get(owner_id, [media_id])
        if sums is None:
            await stores.quotas.open(owner_id)
            continue
        entry = sums["entries"].get(entry_key(media_id))
        marks = await stores.quotas.marks([media_id]) if entry is None else {}
        media = await stores.media.get(media_id, fields=("content.bytes",))
        before = marks[media_id] if entry is None else counted_of(entry)
        after = _what_is_due(media, before, entry)
        if (after.held, after.bytes) == (before.held, before.bytes) or await stores.quotas.move(
            owner_id,
            media_id,
            entry=entry,
            before=before,
            after=after,
            generation=sums["generation"],
            gives_back=media is None or media["status"] == MediaStatus.EXPIRED,
        ):
            return
    raise TemporarilyUnavailable(_BUSY)


async def watch(owner_id: str, media_id: UUID, *, stores: Stores) -> None:
    """Have upkeep look at an upload that is about to leave a status it could stay in, should nobody else come to it."""
    for _ in range(_MOST_TRIES):
        sums = await stores.quotas.get(owner_id, [media_id])
        if sums is None:
            await stores.quotas.open(owner_id)
            continue
        if entry_key(media_id) in sums["entries"]:
            return
        now = (await stores.quotas.marks([media_id]))[media_id]
        if await stores.quotas.move(
            owner_id, media_id, entry=None, before=now, after=now, generation=sums["generation"]
        ):
            return
    raise TemporarilyUnavailable(_BUSY)


def due(status: MediaStatus, size: int) -> Counted:
    """What should be counted of the upload of a media in that status, of so many bytes."""
    if status in _HOLDS_NOTHING:
        return Counted()
    return Counted(Holding.RESERVED if status in AWAITING_BYTES else Holding.STORED, size)


def _what_is_due(media: MediaDocument | None, before: Counted, entry: EntryDocument | None) -> Counted:
    if media is None:
        # Reserved a moment ago, by a request that is about to write its media; or by one that died first.
        is_dead = entry is None or datetime.now(UTC) - entry.get("at", datetime.now(UTC)) > _UNWRITTEN
        return Counted() if is_dead else before
    return due(MediaStatus(media["status"]), media.get("content", {}).get("bytes", before.bytes))


async def look_after_quotas(*, stores: Stores) -> int:
    """Settle what its own requests and jobs did not, and drop the entries of what has come to rest; owners seen."""
    owners = await stores.quotas.list_due(limit=_OWNERS_A_ROUND)
    for owner_id in owners:
        try:
            await look_after(owner_id, stores=stores)
        except TemporarilyUnavailable:
            log.info("an owner's uploads change too fast to be settled; the next round looks again")
    return len(owners)


async def look_after(owner_id: str, *, stores: Stores) -> None:
    """The same for one owner. Raises TemporarilyUnavailable."""
    sums = await stores.quotas.get(owner_id, None)
    entries = [] if sums is None else list(sums["entries"].items())
    for start in range(0, len(entries), _AT_ONCE):
        chunk: Mapping[UUID, EntryDocument] = {entry_id(key): entry for key, entry in entries[start : start + _AT_ONCE]}
        media = await stores.media.get_many(list(chunk), fields=("content.bytes",))
        resting: dict[UUID, Counted] = {}
        for media_id, entry in chunk.items():
            counted, found = counted_of(entry), media.get(media_id)
            should_be = _what_is_due(found, counted, entry)
            if (should_be.held, should_be.bytes) != (counted.held, counted.bytes):
                await count(owner_id, media_id, stores=stores)
            elif counted.held is Holding.NOTHING or (found is not None and found["status"] in TERMINAL):
                resting[media_id] = counted
        if resting:
            await stores.quotas.drop(owner_id, resting)
    await stores.quotas.look_again(owner_id, after_s=_WAITING_PAUSE_S)
