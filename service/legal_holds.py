"""Legal holds: whatever is asked for, the bytes of what is held stay until the last hold on it is lifted."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from uuid6 import uuid7

from service.errors import InvalidInput, NotFound
from service.lifecycle import MediaStatus
from service.models import DeletionStage
from service.stores import Stores
from service.stores.holds import HoldDocument, subject_of

MAX_TEXT: Final = 1_000
_POLL_S: Final = 0.1
_WITHOUT_BYTES: Final = frozenset({MediaStatus.EXPIRED, MediaStatus.DELETED})
_BYTES_STAY: Final = frozenset({DeletionStage.HIDDEN, DeletionStage.BLOCKED_BY_RETENTION})


@dataclass(frozen=True, slots=True)
class Placed:
    """A new hold, and the media of which something was being removed before it was there, and still is.

    `keeps_nothing`: there are no bytes that it could keep, or not yet: they are gone, or nobody has such an owner's id.
    """

    hold: HoldDocument
    being_removed: Collection[UUID]
    keeps_nothing: bool


async def place_hold(
    *,
    media_id: UUID | None = None,
    owner_id: str | None = None,
    by: str,
    reason: str,
    stores: Stores,
    patience_s: float = 30,
) -> Placed:
    """Keep the bytes of one media, or of all media of an owner, also of those to come.

    From then on no removal of them begins. One that had begun is waited for, up to `patience_s` seconds, and told if it
    has not ended by then. Raises InvalidInput, NotFound for an unknown media.
    """
    _check(by, reason)
    subject = subject_of(media_id=media_id, owner_id=owner_id)
    if owner_id is None:
        media = None if media_id is None else await stores.media.get(media_id, fields=("owner_id",))
        if media is None:
            raise NotFound("There is no such media.")
        holder = media["owner_id"]
    else:
        holder = owner_id
    hold = await stores.holds.place(uuid7(), subject, owner_id=holder, by=by, reason=reason)
    await stores.audit.settle("holds", [hold["_id"]])
    being_removed = await _removals_seen_out(subject, patience_s, stores)
    is_kept = await (_is_left_of_owner(holder, stores) if media_id is None else _is_left(media_id, stores))
    return Placed(hold, being_removed, keeps_nothing=not is_kept)


async def _is_left(media_id: UUID, stores: Stores) -> bool:
    deletion = (await stores.deletions.get_many([media_id])).get(media_id)
    if deletion is not None:
        return deletion["stage"] in _BYTES_STAY
    media = await stores.media.get(media_id, fields=())
    return media is not None and media["status"] not in _WITHOUT_BYTES


async def _is_left_of_owner(owner_id: str, stores: Stores) -> bool:
    media = await stores.owner_data.count_media(owner_id)
    if media.keys() - _WITHOUT_BYTES:
        return True
    return bool(_BYTES_STAY & (await stores.owner_data.count_deletions(owner_id)).keys())


def _check(by: str, reason: str) -> None:
    for name, text in (("--by", by), ("--reason", reason)):
        if not 1 <= len(text.strip()) <= MAX_TEXT:
            raise InvalidInput(f"{name} takes 1 to {MAX_TEXT} characters.")


async def _removals_seen_out(subject: str, patience_s: float, stores: Stores) -> set[UUID]:
    # Only those that are there now: whatever begins from here on finds the hold.
    under_way = await stores.holds.removals_of(subject)
    ends_at = asyncio.get_running_loop().time() + patience_s
    while under_way and asyncio.get_running_loop().time() < ends_at:
        await asyncio.sleep(_POLL_S)
        under_way = await stores.holds.removals_of(subject, among=under_way.keys())
    return set(under_way.values())


async def lift_hold(hold_id: UUID, *, by: str, stores: Stores) -> HoldDocument:
    """End a hold. Deletions that waited for it alone go on by themselves. Raises InvalidInput, NotFound."""
    _check(by, "lifted")
    hold = await stores.holds.lift(hold_id, by=by)
    if hold is None:
        raise NotFound("There is no such hold: `hold list` shows them.")
    await stores.blocked_deletions.look_soon(hold_id)
    await stores.audit.settle("holds", [hold_id])
    return hold
