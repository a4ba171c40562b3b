"""What people and models say of a media: said once a request, taken back once, whatever is said in between."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, Final
from uuid import UUID

from uuid6 import uuid7

from service.access import Action, Viewer, granted_filters, may
from service.annotation_layout import Revision
from service.annotation_reads import find_with_media, is_shown, of_media
from service.annotation_request import MODEL_SOURCE, USER_SOURCE, AnnotateRequest, check_deletion, parse_annotate
from service.annotation_writes import WRITE_FIELDS, Turn, made, write_annotations
from service.documents import AnnotationDocument, MediaDocument
from service.errors import NotFound, NotPermitted
from service.lifecycle import MediaStatus
from service.stores import Stores
from service.stores.idempotency import Remembered

# Media that one request takes annotations from at a time.
_AT_ONCE: Final = 8
# Annotations that are looked up at a time: each may have a text of kilobytes.
_LOOKED_UP_AT_ONCE: Final = 100
_DELETION: Final = "deleteAnnotations"


async def annotate_media(
    viewer: Viewer, media_id: UUID | None, raw: dict[str, Any], *, stores: Stores
) -> tuple[UUID, list[AnnotationDocument]]:
    """Write what `raw` says of a media, unless the same request did so before; the media's id and what was written.

    Of a request that is repeated, what is still there of that. Raises NotPermitted, InvalidInput, NotFound,
    IdempotencyKeyReused, and TemporarilyUnavailable if others write to the same media all the time.
    """
    if viewer.id is None:
        raise NotPermitted("Sign in to annotate.")
    author, request = viewer.id, parse_annotate(raw)
    if media_id is None:
        raise _unknown()
    made_at = await stores.media.server_time()
    fresh: list[AnnotationDocument] = []

    async def look() -> Turn | None:
        nonlocal fresh
        # In this order: a write that is not the media's last at this moment has been noted in its record by now.
        media = await _find(viewer, media_id, request.source, stores)
        record = await _recall_annotating(author, media_id, request, stores)
        fresh = made(request.documents(UUID(record.plan["change"])), made_at)
        withdrawn = {request.source} if request.replace else set()
        return _turn(media, record, Revision(fresh, withdrawn.__contains__), author)

    if not await write_annotations(media_id, look, stores=stores):
        fresh = await of_media(media_id, [each["id"] for each in fresh], stores=stores)
    await stores.audit.settle("media", [media_id])
    return media_id, fresh


async def delete_annotations(
    viewer: Viewer, annotation_ids: Sequence[UUID | None], *, idempotency_key: str, stores: Stores
) -> set[UUID]:
    """Take annotations back, up to 1,000 of whatever media; those that this request takes back.

    Ids that are unknown or not the viewer's to take back are left out. Raises NotPermitted, InvalidInput,
    IdempotencyKeyReused, and TemporarilyUnavailable if others write to the same media all the time.
    """
    if viewer.id is None:
        raise NotPermitted("Sign in to delete annotations.")
    check_deletion(idempotency_key, len(annotation_ids))
    content = sorted(map(str, annotation_ids))
    planned = await _find_own(viewer, [each for each in annotation_ids if each is not None], stores)
    plan: dict[str, list[str]] = await stores.idempotency.remember(
        owner_id=viewer.id, operation=_DELETION, key=idempotency_key, content=content, plan=planned
    )
    places = asyncio.Semaphore(_AT_ONCE)

    async def take_back(author: str, media_id: UUID, ids: Iterable[str]) -> None:
        revision = Revision(ids=frozenset(map(UUID, ids)))

        async def look() -> Turn | None:
            media = await stores.media.get(media_id, fields=WRITE_FIELDS)
            if media is None or media["status"] == MediaStatus.DELETED:
                return None
            # Each media by itself has been changed by this request, or has not.
            record = await _recall(author, f"{_DELETION} {media_id}", idempotency_key, content, stores)
            return _turn(media, record, revision, author)

        async with places:
            await write_annotations(media_id, look, stores=stores)

    writes = (take_back(viewer.id, UUID(media_id), ids) for media_id, ids in plan.items())
    # Whoever is told of an error is told once nothing is written any more.
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    await stores.audit.settle("media", list(map(UUID, plan)))
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return {UUID(each) for ids in plan.values() for each in ids}


async def _find_own(viewer: Viewer, annotation_ids: Sequence[UUID], stores: Stores) -> dict[str, list[str]]:
    """Those of some annotations that the viewer may take back, by media."""
    own: dict[str, list[str]] = {}
    access = granted_filters(viewer, Action.ANNOTATE)
    for start in range(0, len(annotation_ids), _LOOKED_UP_AT_ONCE):
        asked = annotation_ids[start : start + _LOOKED_UP_AT_ONCE]
        for media, found in await find_with_media(asked, access=access, stores=stores):
            for each in found:
                if _may_take_back(viewer, media, each):
                    own.setdefault(str(media["_id"]), []).append(str(each["id"]))
    return own


def _unknown() -> NotFound:
    return NotFound("There is no such media.", field=["mediaId"])


async def _find(viewer: Viewer, media_id: UUID, source: str, stores: Stores) -> MediaDocument:
    """The media, as far as a write needs it. Raises NotFound, and NotPermitted for what may only be looked at."""
    seen = [filters for action in (Action.ANNOTATE, Action.READ) for filters in granted_filters(viewer, action)]
    media = await stores.media.get(media_id, fields=WRITE_FIELDS, access=seen)
    if media is None:
        raise _unknown()
    if not _may_say(viewer, media, source):
        raise NotPermitted(
            "You may not annotate this media as this source: its owner may as themselves and as any model, moderators "
            "as themselves, services as any model.",
            field=["source"],
        )
    return media


def _may_say(viewer: Viewer, media: MediaDocument, source: str) -> bool:
    """Whether the viewer may annotate a media in the name of `source`."""
    if not may(viewer, Action.ANNOTATE, media):
        return False
    is_owner = media["owner_id"] == viewer.id
    if source.startswith(MODEL_SOURCE):
        return is_owner or viewer.is_service
    return source == f"{USER_SOURCE}{viewer.id}" and (is_owner or viewer.is_moderator)


def _may_take_back(viewer: Viewer, media: MediaDocument, annotation: AnnotationDocument) -> bool:
    # Who is not shown it would learn from the answer that it was there.
    if not may(viewer, Action.ANNOTATE, media) or not is_shown(viewer, media, annotation):
        return False
    return media["owner_id"] == viewer.id or viewer.is_moderator or annotation["source"].startswith(MODEL_SOURCE)


async def _recall_annotating(author: str, media_id: UUID, request: AnnotateRequest, stores: Stores) -> Remembered:
    given = request.model_dump(mode="json", exclude={"idempotency_key"})
    return await _recall(author, "annotateMedia", request.idempotency_key, {**given, "id": str(media_id)}, stores)


async def _recall(author: str, operation: str, key: str, content: Any, stores: Stores) -> Remembered:
    return await stores.idempotency.recall(
        owner_id=author, operation=operation, key=key, content=content, plan={"change": str(uuid7())}
    )


def _turn(media: MediaDocument, record: Remembered, revision: Revision, author: str) -> Turn | None:
    """The write to make next; None if it has been made."""
    mark = {"id": record.plan["change"], "record": record.id}
    return None if record.applied or mark == media.get("last_annotating") else Turn(media, mark, revision, author)
