"""How many bytes each owner may send a day and have stored: reserved with the session, settled, and given back.

What is counted of an upload follows from the status of its media and from nothing else, so that every step may be
repeated, come late, or be left to upkeep: whoever looks at an upload brings the sums to what they should be.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
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
from service.stores.quota_marks import Counted
from service.stores.quotas import ByteLimits, EntryDocument, Move, QuotaDocument, counted_of, entry_id, entry_key

log = structlog.get_logger(__name__)

# Sessions that one owner may have open, and uploads of which an entry is kept: all in one document, 105 bytes each.
MOST_OPEN = 10_000
MOST_LISTED = 20_000
# With so many entries, whoever adds one of an upload at rest drops it as well.
_CROWDED = 1_000
# How often others may be faster.
_MOST_TRIES = 50
# A request that reserved so long ago and has not written its media since is dead.
_UNWRITTEN = timedelta(hours=1)
_AT_ONCE = 100
_OWNERS_A_ROUND = 200
_WAITING_PAUSE_S = 300

# A FAILED media is tried again by somebody or deleted, and counts when it is; until then its owner has nothing of it.
_HOLDS_NOTHING = frozenset({MediaStatus.FAILED, MediaStatus.EXPIRED, MediaStatus.DELETED})

_MANY = "Too many uploads of yours are being processed; send this file once some are through."
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
        elif sums["listed"] + len(fitting) >= MOST_LISTED:
            problems[each.media_id] = TemporarilyUnavailable(_MANY, retry_after_ms=60_000).problem()
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
    await count_all(owner_id, [media_id], stores=stores)


async def count_if_possible(owner_id: str, media_ids: Collection[UUID], *, stores: Stores) -> None:
    """The same for what must not wait for it; what cannot be counted is left to upkeep, or at last to a recount."""
    try:
        await count_all(owner_id, media_ids, stores=stores)
    except TemporarilyUnavailable as error:
        log.warning("uploads cannot be counted for their owner", uploads=len(media_ids), why=str(error))


async def count_all(owner_id: str, media_ids: Collection[UUID], *, drops: bool = False, stores: Stores) -> None:
    """Bring the sums to what they should be of some hundred uploads at most, in one write.

    `drops`: of what has come to rest no entry is left, as in a document with many. Raises TemporarilyUnavailable.
    """
    for _ in range(_MOST_TRIES):
        # In this order: what is read of the uploads is at least as new as what is read of the sums.
        sums = await stores.quotas.get(owner_id, media_ids)
        if sums is None:
            await stores.quotas.open(owner_id)
            continue
        entries = {entry_id(key): entry for key, entry in sums["entries"].items()}
        marks = await stores.quotas.marks.read([each for each in media_ids if each not in entries])
        media = await stores.media.get_many(media_ids, fields=("content.bytes",))
        moves = {each: _move(media.get(each), entries.get(each), marks.get(each)) for each in media_ids}
        changes = {each: move for each, move in moves.items() if not move.before.is_same_as(move.after)}
        if not changes or await stores.quotas.move(owner_id, changes, generation=sums["generation"]):
            break
    else:
        raise TemporarilyUnavailable(_BUSY)
    if drops or sums["listed"] > _CROWDED:
        listed = {each: moves[each].after for each in media_ids if each in changes or each in entries}
        resting = {each: after for each, after in listed.items() if _is_at_rest(media.get(each), after)}
        if resting:
            await stores.quotas.drop(owner_id, resting)


def _move(media: MediaDocument | None, entry: EntryDocument | None, mark: Counted | None) -> Move:
    before = counted_of(entry) if entry is not None else mark or Counted()
    due_now = _what_is_due(media, before, entry)
    is_same = before.is_same_as(due_now)
    after = Counted(due_now.held, due_now.bytes, before.step + (not is_same))
    return Move(entry, before, after, gives_back=media is None or media["status"] == MediaStatus.EXPIRED)


def _is_at_rest(media: MediaDocument | None, counted: Counted) -> bool:
    return counted.held is Holding.NOTHING or (media is not None and media["status"] in TERMINAL)


async def watch(owner_id: str, media_id: UUID, *, stores: Stores) -> None:
    """Have upkeep look at an upload that is about to leave a status it could stay in, should nobody else come to it."""
    for _ in range(_MOST_TRIES):
        sums = await stores.quotas.get(owner_id, [media_id])
        if sums is None:
            await stores.quotas.open(owner_id)
            continue
        if entry_key(media_id) in sums["entries"]:
            return
        now = (await stores.quotas.marks.read([media_id]))[media_id]
        listed = Move(None, now, Counted(now.held, now.bytes, now.step + 1))
        if await stores.quotas.move(owner_id, {media_id: listed}, generation=sums["generation"]):
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
        is_dead = (
            before.held is not Holding.RESERVED
            or entry is None
            or datetime.now(UTC) - entry.get("at", datetime.now(UTC)) > _UNWRITTEN
        )
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
    listed = [] if sums is None else [entry_id(key) for key in sums["entries"]]
    for chunk in batched(listed):
        await count_all(owner_id, chunk, drops=True, stores=stores)
    await stores.quotas.look_again(owner_id, after_s=_WAITING_PAUSE_S)


def batched(media_ids: Sequence[UUID]) -> Iterator[Sequence[UUID]]:
    """As many at once as `count_all` takes."""
    for start in range(0, len(media_ids), _AT_ONCE):
        yield media_ids[start : start + _AT_ONCE]
