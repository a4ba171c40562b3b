"""Moderators take media out of sight, and let them be processed again; each decision is made once and kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final
from uuid import UUID

from pydantic import Field, ValidationError
from uuid6 import uuid7

from service.access import Action, Viewer, granted_filters
from service.audit import AuditAction, Deed, Note
from service.documents import MediaDocument
from service.errors import (
    FailureCode,
    NotFound,
    NotPermitted,
    ProcessingFailed,
    StateConflict,
    TemporarilyUnavailable,
    VersionConflict,
)
from service.lifecycle import MediaStatus
from service.models import ModerationDecision
from service.processing_jobs import PROCESSING_FIELDS, enqueue_processing, processing_generation
from service.quarantine import enqueue_removal, failure_values
from service.stores import Stores
from service.stores.idempotency import Remembered
from service.stores.moderation import KEPT_DECISIONS
from service.upload_request import IdempotencyKey, Request, Text, invalid_input

PAGE: Final = 200
_AT_ONCE: Final = 16

# What a decision takes that leaves no place for the oldest one.
_MADE = ("status_sequence", "moderation.id", "moderation.record", "moderation.sequence")
_FIELDS = (*PROCESSING_FIELDS, *_MADE, "renditions.key")

_FAILURE: Final[Mapping[str, Any]] = failure_values(
    ProcessingFailed(FailureCode.MODERATED, "It was taken out of sight by a moderator.")
)["failure"]

_SOURCES: Final[Mapping[ModerationDecision, MediaStatus]] = {
    ModerationDecision.QUARANTINE: MediaStatus.READY,
    ModerationDecision.RELEASE: MediaStatus.QUARANTINED,
}


class ModerationRequest(Request):
    """What a moderator decides of a media. `reason`: for other moderators, never for its owner."""

    idempotency_key: IdempotencyKey
    decision: ModerationDecision
    reason: Annotated[Text, Field(min_length=1, max_length=1_000)]


def parse_moderation(raw: Mapping[str, Any]) -> ModerationRequest:
    """Check what was given. Raises InvalidInput naming the field."""
    try:
        return ModerationRequest.model_validate(raw)
    except ValidationError as error:
        raise invalid_input(error) from None


async def moderate_media(viewer: Viewer, media_id: UUID | None, raw: Mapping[str, Any], *, stores: Stores) -> UUID:
    """Quarantine a READY media or release a QUARANTINED one, once for each request; the id of the media.

    A released one is processed again, and scanned again where there is a scanner. Raises NotPermitted, NotFound,
    InvalidInput, IdempotencyKeyReused, StateConflict where its status does not allow the decision or a hold keeps what
    was shown of it, VersionConflict if somebody else was faster, and TemporarilyUnavailable while that is still being
    removed.
    """
    if viewer.id is None:
        raise NotPermitted("Sign in to moderate.")
    request = parse_moderation(raw)
    media = await _find(viewer, media_id, stores)
    record = await _recall(viewer.id, media["_id"], request, _decide(media, request.decision), stores)
    if "refused" in record.plan:
        raise StateConflict(record.plan["refused"], field=["id"])
    await _carry_out(media["_id"], request, record, viewer.id, stores)
    return media["_id"]


async def _recall(
    viewer_id: str, media_id: UUID, request: ModerationRequest, plan: Mapping[str, Any], stores: Stores
) -> Remembered:
    return await stores.idempotency.recall(
        owner_id=viewer_id,
        operation="moderateMedia",
        key=request.idempotency_key,
        content={**request.model_dump(mode="json", exclude={"idempotency_key"}), "id": str(media_id)},
        plan=plan,
    )


async def _find(viewer: Viewer, media_id: UUID | None, stores: Stores) -> MediaDocument:
    """The media, if it is the viewer's to moderate; what they see besides is not, and what they do not is not there."""
    if media_id is not None:
        for action in (Action.MODERATE, Action.READ):
            found = await stores.media.get(media_id, fields=_FIELDS, access=granted_filters(viewer, action))
            if found is not None and action is Action.MODERATE:
                return found
            if found is not None:
                raise NotPermitted("Only moderators decide what is shown.", field=["id"])
    raise NotFound("There is no such media.", field=["id"])


def _decide(media: MediaDocument, decision: ModerationDecision) -> dict[str, Any]:
    """The plan: the decision's id and the place in the media's history that it is made at, or why it cannot be."""
    source = _SOURCES[decision]
    if media["status"] != source:
        return {"refused": f"{decision} takes a media that is {source}; this one is {media['status']}."}
    return {"id": str(uuid7()), "sequence": media["status_sequence"]}


async def _carry_out(media_id: UUID, request: ModerationRequest, record: Remembered, by: str, stores: Stores) -> None:
    # Read anew: the plan may be a twin's, made and carried out after this request read the media.
    media = await _read(media_id, stores)
    if media["status_sequence"] == record.plan["sequence"]:
        await _write(media, request, record, by, stores)
        media = await _read(media_id, stores)
    made = record.plan["id"] in {each["id"] for each in media.get("moderation", [])}
    # In this order: a decision that the media keeps no more at this moment has been noted in its record by now.
    if not made and not (await _recall(by, media_id, request, record.plan, stores)).applied:
        raise VersionConflict("Its status changed in the meantime. Read it again, then decide anew.", field=["id"])
    # Also where an earlier attempt died after it wrote.
    if media["status"] == MediaStatus.QUARANTINED:
        await enqueue_removal(media, media["status_sequence"], stores)
    elif media["status"] == MediaStatus.UPLOADED:
        await enqueue_processing(media, stores.jobs)
    await stores.audit.settle("media", [media_id])


async def _read(media_id: UUID, stores: Stores) -> MediaDocument:
    media = await stores.media.get(media_id, fields=_FIELDS)
    if media is None or media["status"] == MediaStatus.DELETED:
        raise NotFound("There is no such media.", field=["id"])
    return media


async def _write(media: MediaDocument, request: ModerationRequest, record: Remembered, by: str, stores: Stores) -> None:
    sequence = record.plan["sequence"]
    decision = {**record.plan, "by": by, "reason": request.reason, "record": record.id}
    await _note_oldest(media, stores)
    if request.decision is ModerationDecision.QUARANTINE:
        await stores.moderation.quarantine(media["_id"], decision, failure=_FAILURE, sequence=sequence)
        return
    if media.get("renditions"):
        hold_id = await stores.holds.on(media["_id"], media["owner_id"])
        if hold_id is not None:
            # Their removal, which has to end first, waits for as long as the hold lasts: to ask again would not help.
            message = f"Hold {hold_id} keeps what was shown of it. Have it lifted, then decide anew."
            raise StateConflict(message, field=["id"])
        raise TemporarilyUnavailable("What was shown of it is still being removed; send the same request again.")
    generation = processing_generation(media) + 1
    await stores.moderation.release(media["_id"], decision, sequence=sequence, generation=generation)


async def _note_oldest(media: MediaDocument, stores: Stores) -> None:
    """Before another decision takes the place of a media's oldest: from now on its record says that it was made."""
    decisions = media.get("moderation", [])
    for each in decisions[: max(len(decisions) - KEPT_DECISIONS + 1, 0)]:
        if "record" in each:
            plan = {"id": each["id"], "sequence": each["sequence"]}
            await stores.idempotency.mark_applied(each["record"], plan)


async def quarantine_owner(
    owner_id: str, *, by: str, reason: str, stores: Stores, on_page: Callable[[int], None]
) -> int:
    """Quarantine every READY media of one owner, a page at a time; how many there were.

    May be stopped at any time: what was taken is not found again, so another run goes on. Each run is on record before
    it takes the first. `on_page` is told how many it has taken so far. Raises InvalidInput for a reason that
    `moderateMedia` would not take, and TemporarilyUnavailable if nothing can be put on record.
    """
    request = parse_moderation({"idempotency_key": "none", "decision": ModerationDecision.QUARANTINE, "reason": reason})
    note = Note(AuditAction.OWNER_QUARANTINED, actor=by)
    await stores.audit.record([Deed(f"owner-quarantined:{uuid7()}", note, owner=owner_id, subject=owner_id)])
    taken = 0
    slots = asyncio.Semaphore(_AT_ONCE)

    async def take(media: MediaDocument) -> bool:
        async with slots:
            decision = {"id": str(uuid7()), "by": by, "reason": request.reason}
            await _note_oldest(media, stores)
            sequence = media["status_sequence"]
            written = await stores.moderation.quarantine(media["_id"], decision, failure=_FAILURE, sequence=sequence)
            if written is not None:
                await enqueue_removal(media, written.sequence, stores)
            return written is not None

    while page := await stores.moderation.ready_of(owner_id, limit=PAGE, fields=(*_MADE, "renditions.key")):
        taken += sum(await asyncio.gather(*map(take, page)))
        await stores.audit.settle("media", [media["_id"] for media in page])
        on_page(taken)
    return taken
