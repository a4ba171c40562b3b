"""Changing what a media says of itself: only what is given, once a request, and never over a newer change."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field, ValidationError, field_validator
from uuid6 import uuid7

from service.access import Action, Viewer, granted_filters
from service.documents import MediaDocument
from service.errors import InvalidInput, NotFound, NotPermitted, TemporarilyUnavailable, VersionConflict
from service.lifecycle import MediaStatus
from service.models import MediaPurpose, Visibility
from service.processing_jobs import RENDERING_FIELDS, enqueue_rendering
from service.stores import Stores
from service.stores.idempotency import Remembered
from service.upload_request import (
    AlbumIds,
    AltText,
    BoxRequest,
    IdempotencyKey,
    LocationRequest,
    Request,
    SubjectRequest,
    Tags,
    Title,
    check_visibility,
    invalid_input,
)

# Each round that is lost was won by another change of the same media.
_ROUNDS = 50

# What renditions are made for: the crop, the Cache-Control, the keys.
_REVISING = ("focus", "visibility")

_FIELDS = ("purpose", "updated_at", "last_change", "has_embeddings", *_REVISING)


class ChangeRequest(Request):
    """What to change: only the fields that were given; None clears them."""

    idempotency_key: IdempotencyKey
    if_unchanged_since: datetime | None = None
    title: Title | None = None
    alt_text: AltText | None = None
    tags: Tags | None = None
    album_ids: AlbumIds | None = None
    focus: BoxRequest | None = None
    location: LocationRequest | None = None
    visibility: Visibility | None = None
    subject: SubjectRequest | None = None
    position: Annotated[int, Field(ge=0)] | None = None

    @field_validator("visibility")
    @classmethod
    def _one_or_the_other(cls, visibility: Visibility | None) -> Visibility | None:
        if visibility is None:
            # Guessing what an empty one means could publish a private picture.
            raise ValueError("it cannot be cleared; give PUBLIC or PRIVATE")
        return visibility

    def changes(self) -> dict[str, Any]:
        """The fields that were given, as they are stored."""
        given = self.model_dump(
            mode="json", exclude_unset=True, exclude={"idempotency_key", "if_unchanged_since", "location"}
        )
        for name in given.keys() & {"tags", "album_ids"}:
            given[name] = given[name] or []
        if "location" in self.model_fields_set:
            given["location"] = None if self.location is None else self.location.as_point()
            # From now on it is what the owner says, also if the file is still being read.
            given |= {"embedded.location": None, "is_location_settled": True}
        return given


def parse_change(raw: dict[str, Any]) -> ChangeRequest:
    """Check what was given. Raises InvalidInput naming the field."""
    try:
        request = ChangeRequest.model_validate(raw)
    except ValidationError as error:
        raise invalid_input(error) from None
    if not request.changes():
        raise InvalidInput("Nothing to change was given: give at least one field, or null to clear it.")
    return request


async def update_media(viewer: Viewer, media_id: UUID | None, raw: dict[str, Any], *, stores: Stores) -> UUID:
    """Change what `raw` gives of a media, unless the same request did so before; the id of the media.

    Raises NotPermitted without a signed-in viewer, InvalidInput, NotFound, IdempotencyKeyReused, VersionConflict, and
    TemporarilyUnavailable if others change the same media all the time.
    """
    if viewer.id is None:
        raise NotPermitted("Sign in to change media.")
    request = parse_change(raw)
    for _ in range(_ROUNDS):
        # In this order: a change that is not the media's last at this moment has been noted in its record by now.
        media = await _find(viewer, media_id, stores)
        if media is not None and request.visibility is not None:
            check_visibility(request.visibility, MediaPurpose(media["purpose"]))
        record = await _recall(viewer.id, media_id, request, stores)
        if media is None:
            raise NotFound("There is no such media.", field=["id"])
        if (
            record.applied
            or _mark(record) == media.get("last_change")
            or await _apply(media, request, record, viewer.id, stores)
        ):
            return media["_id"]
    raise TemporarilyUnavailable("Others are changing this media; send the same request again.")


async def _find(viewer: Viewer, media_id: UUID | None, stores: Stores) -> MediaDocument | None:
    if media_id is None:
        return None
    return await stores.media.get(media_id, fields=_FIELDS, access=granted_filters(viewer, Action.CHANGE))


async def _recall(owner_id: str, media_id: UUID | None, request: ChangeRequest, stores: Stores) -> Remembered:
    given = request.model_dump(mode="json", exclude_unset=True, exclude={"idempotency_key"})
    return await stores.idempotency.recall(
        owner_id=owner_id,
        operation="updateMedia",
        key=request.idempotency_key,
        content={**given, "id": str(media_id)},
        plan={"change": str(uuid7())},
    )


def _mark(record: Remembered) -> dict[str, str]:
    return {"id": record.plan["change"], "record": record.id}


async def _apply(
    media: MediaDocument, request: ChangeRequest, record: Remembered, viewer_id: str, stores: Stores
) -> bool:
    """One attempt to be the next change of a media; False if another came first."""
    since = request.if_unchanged_since
    if since is not None and media["updated_at"] > since:
        raise VersionConflict(
            "The media was changed in the meantime. Read it again, then decide anew.", field=["ifUnchangedSince"]
        )
    last: Mapping[str, str] | None = media.get("last_change")
    if last is not None:
        # The mark is about to be overwritten: from now on the record says that this change has been made.
        await stores.idempotency.mark_applied(last["record"], {"change": last["id"]})
    changes = request.changes()
    revise = any(name in changes and changes[name] != media.get(name) for name in _REVISING)
    made = await stores.media.change(
        media["_id"],
        changes,
        mark=_mark(record),
        replacing=last,
        unchanged_since=since,
        revise=revise,
        actor=viewer_id,
    )
    # Should what follows not be reached, the sweeper sees that it is due.
    if made and "visibility" in changes and media.get("has_embeddings"):
        await stores.embeddings.settle_if_due(media["_id"])
    if made and revise:
        await _remake_renditions(media["_id"], stores)
    if made:
        await stores.audit.settle("media", [media["_id"]])
    return made


async def _remake_renditions(media_id: UUID, stores: Stores) -> None:
    media = await stores.media.get(media_id, fields=RENDERING_FIELDS)
    if media is not None and media["status"] == MediaStatus.READY:
        await enqueue_rendering(media, stores.jobs)
