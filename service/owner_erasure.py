"""Erasing an account: nothing of it can be changed any more, all of its media go, and one certificate says so.

Every step may be repeated, and whoever dies is followed by the sweeper or by another call of the command.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Final, Protocol, runtime_checkable
from uuid import UUID

import structlog

from service.annotation_request import USER_SOURCE
from service.annotation_writes import replace_annotations
from service.audit import SERVICE_ACTOR
from service.deletion import DELETION_FIELDS, hide
from service.errors import InvalidInput, MediaServiceError, NotFound
from service.models import DeletionStage
from service.stores import Stores
from service.stores.erasures import ErasureDocument, entry_of
from service.stores.holds import owners_of

log = structlog.get_logger(__name__)

# Requests that were let in before an erasure began have ended by then.
SETTLES: Final = timedelta(minutes=1)
PAGE: Final = 200
_ROUNDS: Final = 5
_AT_ONCE: Final = 8
_SHOWN: Final = 100
_AT_A_TIME: Final = 10


@runtime_checkable
class Forgetful(Protocol):
    """A store that keeps something under an owner's name, or a name made from it, beside media and their deletions."""

    async def forget_owner(self, owner_id: str) -> None:
        """Remove it. Repeats are free."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A media whose deletion waits: `until` a moment, or for as long as there is the hold `hold_id`."""

    media_id: UUID
    until: datetime | None
    hold_id: UUID | None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an erasure has come. `erasure`: None where none was asked for. `media`, `deletions`: numbers by status
    and stage. `waiting`: up to 100 media that are kept. `holds`: those on the owner. `annotated`: others' media that
    have annotations by the owner, up to PAGE. `not_before`: until then one that was begun cannot be over, whatever
    workers do; None if nothing but them is waited for.
    """

    erasure: ErasureDocument | None
    media: Mapping[str, int]
    deletions: Mapping[str, int]
    waiting: Sequence[Waiting]
    holds: Sequence[UUID]
    annotated: int
    not_before: datetime | None = None

    @property
    def is_of_nobody(self) -> bool:
        """Whether nothing is stored that such an owner would have, nor was their erasure ever asked for."""
        return self.erasure is None and not (self.media or self.deletions or self.holds or self.annotated)

    @property
    def is_over(self) -> bool:
        return self.erasure is not None and "open" not in self.erasure


async def begin_erasure(owner_id: str, *, by: str, stores: Stores) -> ErasureDocument:
    """From now on every mutation by an owner is refused; the erasure, which was there already if it was asked for.

    Raises InvalidInput for what is nobody's id.
    """
    if not owner_id.strip():
        raise InvalidInput("Name an owner by the id that tokens name them by.")
    erasure = await stores.erasures.begin(owner_id, by=by)
    await stores.audit.settle("erasures", [erasure["_id"]])
    return erasure


async def look_at_erasure(owner_id: str, *, stores: Stores) -> Progress:
    """How far it has come; before it has begun, what there is to erase. Changes nothing."""
    blocked = await stores.owner_data.blocked_deletions(owner_id, limit=_SHOWN)
    erasure = await stores.erasures.of_owner(owner_id)
    return Progress(
        erasure,
        await stores.owner_data.count_media(owner_id),
        await stores.owner_data.count_deletions(owner_id),
        [Waiting(each["_id"], each.get("blocked_until"), each.get("blocked_by")) for each in blocked],
        await _holds_on(owner_id, stores),
        len(await _annotated(owner_id, stores)),
        await _not_before(owner_id, erasure, stores),
    )


async def _not_before(owner_id: str, erasure: ErasureDocument | None, stores: Stores) -> datetime | None:
    if erasure is None or "open" not in erasure:
        return None
    verifiable = await stores.owner_data.verifiable_from(owner_id)
    moments = [erasure["requested_at"] + SETTLES, *([] if verifiable is None else [verifiable])]
    return max(moments) if max(moments) > await stores.media.server_time() else None


async def _holds_on(owner_id: str, stores: Stores) -> list[UUID]:
    return await stores.holds.of_owner(owner_id)


async def _annotated(owner_id: str, stores: Stores) -> dict[UUID, str]:
    media = await stores.owner_data.annotated_by(f"{USER_SOURCE}{owner_id}", limit=PAGE)
    return owners_of(each for each in media if each["owner_id"] != owner_id)


async def carry_on_erasures(*, stores: Stores, media_bucket: str) -> None:
    """Bring those erasures a step further whose turn it is; for the sweeper. None keeps another from going on."""
    for erasure in await stores.erasures.take_due(limit=_AT_A_TIME):
        try:
            await advance(erasure, stores=stores, media_bucket=media_bucket)
        except MediaServiceError as error:
            log.warning(
                "an erasure could not go on; the next sweep does", erasure=str(erasure["_id"]), reason=error.message
            )
        except Exception:
            log.exception("an erasure was interrupted; the next sweep goes on", erasure=str(erasure["_id"]))


async def advance(
    erasure: ErasureDocument, *, stores: Stores, media_bucket: str, settles: timedelta = SETTLES
) -> ErasureDocument:
    """Do all that can be done now, up to a thousand media at a time; the erasure as it is then.

    It is sealed once every deletion is verified, nothing is held, and `settles` has passed since it began. Raises
    TemporarilyUnavailable.
    """
    owner_id = erasure.get("owner_id")
    if owner_id is not None:
        if not await _clear(owner_id, erasure, media_bucket, stores):
            return erasure
        if await stores.media.server_time() < erasure["requested_at"] + settles:
            return erasure
        await _seal(owner_id, erasure, stores)
    return await _certify(erasure["_id"], stores)


async def _clear(owner_id: str, erasure: ErasureDocument, media_bucket: str, stores: Stores) -> bool:
    """Whether nothing is left of an owner, but what says that it was there."""
    is_all_hidden = await _hide_media(owner_id, media_bucket, stores)
    is_all_withdrawn = await _withdraw_annotations(owner_id, stores)
    await stores.owner_data.rename_decisions(owner_id, erasure["pseudonym"])
    for store in _forgetful(stores):
        await store.forget_owner(owner_id)
    # Whoever slept through the end of an earlier round may have given what came up since the other name.
    names = (owner_id, erasure["pseudonym"])
    stages = {stage for name in names for stage in await stores.owner_data.count_deletions(name)}
    is_all_gone = stages <= {DeletionStage.VERIFIED.value}
    return is_all_hidden and is_all_withdrawn and is_all_gone and not await _holds_on(owner_id, stores)


async def _hide_media(owner_id: str, media_bucket: str, stores: Stores) -> bool:
    places = asyncio.Semaphore(_AT_ONCE)

    async def hide_in_turn(media_id: UUID) -> None:
        async with places:
            await hide(page[media_id], SERVICE_ACTOR, stores, media_bucket)

    for _ in range(_ROUNDS):
        found = await stores.owner_data.live_media(owner_id, limit=PAGE, fields=DELETION_FIELDS)
        page = {media["_id"]: media for media in found}
        if not page:
            return True
        await asyncio.gather(*map(hide_in_turn, page))
        await stores.audit.settle("deletions", page)
    return False


async def _withdraw_annotations(owner_id: str, stores: Stores) -> bool:
    """Take back what a moderator has said of others' media, unless these are held."""
    annotated = await _annotated(owner_id, stores)
    for media_id, holder in annotated.items():
        async with stores.holds.removal(media_id, holder) as hold_id:
            if hold_id is None:
                await replace_annotations(media_id, f"{USER_SOURCE}{owner_id}".__eq__, [], stores=stores)
    return not annotated


def _forgetful(stores: Stores) -> Iterator[Forgetful]:
    for field in fields(stores):
        store = getattr(stores, field.name)
        if isinstance(store, Forgetful):
            yield store


async def _seal(owner_id: str, erasure: ErasureDocument, stores: Stores) -> None:
    # What was noted under the name leaves for its chain before the name goes.
    await stores.audit.settle_all()
    # Those that waited for it.
    await stores.holds.forget_owner(owner_id)
    deletions, digest = await stores.owner_data.sum_up([owner_id, erasure["pseudonym"]])
    await stores.owner_data.rename(owner_id, erasure["pseudonym"])
    await stores.erasures.seal(erasure, deletions=deletions, certificates_sha256=digest)


async def _certify(row_id: UUID, stores: Stores) -> ErasureDocument:
    await stores.audit.settle("erasures", [row_id])
    erasure = await stores.erasures.get(row_id)
    if erasure is None:
        raise NotFound("There is no such erasure.")
    if "open" not in erasure:
        return erasure
    entry = await stores.certificates.find_anywhere(entry_of(erasure))
    return erasure if entry is None else await stores.erasures.close(erasure, certificate=entry.hash)
