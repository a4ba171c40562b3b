"""Planning uploads: check a batch, decide once what becomes of each file, and write the sessions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from uuid6 import uuid7

from service.access import Viewer
from service.documents import ContentDocument, MediaDocument, UploadDocument
from service.errors import ErrorCode, MediaServiceError, NotPermitted, Problem
from service.failpoints import Failpoint, reach
from service.finalisation import finalise
from service.known_content import KnownContent, find_known_content, link_content
from service.lifecycle import MediaStatus
from service.models import NetworkQuality, UploadMethod
from service.object_keys import original_key
from service.object_store import ObjectStore
from service.original_content import give_up_unless_kept
from service.part_plan import plan_parts
from service.policies import POLICIES, kind_of
from service.quotas import Wanted, reserve
from service.stores import Stores
from service.stores.quotas import ByteLimits
from service.upload_policy import UPLOAD_POLICIES
from service.upload_request import BatchRequest, FileRequest, parse_batch, parse_file


@dataclass(frozen=True, slots=True)
class PlannedUpload:
    """What became of one file of a batch: a session to upload to, a media that makes one needless, or a problem."""

    upload_id: UUID | None = None
    duplicate_id: UUID | None = None
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class _Opening:
    """A file for which a media is to be written, under the id that was decided.

    `is_known`: its content was in storage then; `content`: it still is, and the media refers to it.
    """

    file: FileRequest
    media_id: UUID
    position: int
    is_known: bool = False
    content: ContentDocument | None = None


async def create_uploads(
    viewer: Viewer,
    raw: dict[str, Any],
    *,
    stores: Stores,
    object_store: ObjectStore,
    largest_file: int | None = None,
    limits: ByteLimits = ByteLimits(),  # noqa: B008 - frozen
) -> list[PlannedUpload]:
    """Write the media of a batch as INITIATED, with the keys they are to use; one outcome a file, in order.

    Content that the viewer already has is not asked for again: the file's outcome is the media that has it. No file may
    have more bytes than `largest_file` (None: than its purpose takes), and what passes the viewer's byte `limits` is
    refused. Raises NotPermitted without a signed-in viewer, InvalidInput for the batch as a whole,
    IdempotencyKeyReused, TemporarilyUnavailable.
    """
    if viewer.id is None:
        raise NotPermitted("Sign in to upload.")
    batch = parse_batch(raw)
    files = [parse_file(file, batch.purpose, position, largest_file) for position, file in enumerate(batch.files)]
    known = await find_known_content(
        viewer.id, [file for file in files if isinstance(file, FileRequest)], stores=stores
    )
    proposed = {"capture_id": batch.capture_id or str(uuid7()), "files": _decide(batch, files, known)}
    plan = await stores.idempotency.remember(
        owner_id=viewer.id,
        operation="createUploads",
        key=batch.idempotency_key,
        # Where a request comes from may change between its repeats: a phone leaves its wireless network.
        content=batch.model_dump(mode="json", exclude={"idempotency_key", "client"}),
        plan=proposed,
    )
    reach(Failpoint.UPLOADS_PLANNED)
    openings = _openings(files, plan)
    refused = await reserve(
        viewer.id,
        [Wanted(each.media_id, each.file.byte_size, each.position, is_sent=not each.is_known) for each in openings],
        limits=limits,
        is_repeat=plan != proposed,
        stores=stores,
    )
    reach(Failpoint.QUOTA_RESERVED)
    openings = [each for each in openings if each.media_id not in refused]
    linked = await _carry_out(viewer.id, batch, openings, plan, stores=stores, object_store=object_store)
    return [_outcome(decision, linked, refused) for decision in plan["files"]]


def _decide(
    batch: BatchRequest, files: Sequence[FileRequest | MediaServiceError], known: KnownContent
) -> list[dict[str, Any]]:
    decisions: list[dict[str, Any]] = []
    in_this_batch: dict[tuple[str, int], str] = {}
    for file in files:
        if isinstance(file, MediaServiceError):
            decisions.append({"problem": asdict(file.problem())})
            continue
        same = (file.sha256 or "", file.byte_size)
        if (twin := in_this_batch.get(same)) is not None:
            decisions.append({"duplicate": twin})
            continue
        decision = _decide_file(batch, file, known)
        decisions.append(decision)
        if file.sha256 is not None:
            in_this_batch[same] = next(decision[what] for what in ("duplicate", "session", "id") if what in decision)
    return decisions


def _decide_file(batch: BatchRequest, file: FileRequest, known: KnownContent) -> dict[str, Any]:
    existing = known.media_for(batch, file)
    if existing is not None:
        return {"duplicate": str(existing)}
    if (session := known.session_for(batch, file)) is not None:
        return {"session": str(session)}
    return {"id": str(uuid7()), "link": known.is_stored(file)}


def _openings(files: Sequence[FileRequest | MediaServiceError], plan: dict[str, Any]) -> list[_Opening]:
    return [
        _Opening(file, UUID(decision["id"]), position, is_known=decision.get("link", False))
        # A repeat follows the remembered plan, even where a policy has changed since.
        for position, (file, decision) in enumerate(zip(files, plan["files"], strict=True))
        if isinstance(file, FileRequest) and "id" in decision
    ]


async def _carry_out(
    owner_id: str,
    batch: BatchRequest,
    openings: list[_Opening],
    plan: dict[str, Any],
    *,
    stores: Stores,
    object_store: ObjectStore,
) -> set[UUID]:
    """Do what was decided; the ids of those for which nothing is to be sent.

    Doing it again changes nothing more, so twins and repeats after a crash converge.
    """
    # The media comes first: whatever is left of a batch that ends half-way, the sweeper finds by it.
    bucket = object_store.upload_bucket
    await stores.media.insert_initiated(
        [
            _initiated(_session(owner_id, batch, opening, bucket), batch, opening, capture_id=plan["capture_id"])
            for opening in openings
        ]
    )
    reach(Failpoint.MEDIA_INITIATED)
    openings = [
        await _linked(owner_id, opening, stores=stores, object_store=object_store) if opening.is_known else opening
        for opening in openings
    ]
    await stores.uploads.insert([_session(owner_id, batch, opening, bucket) for opening in openings])
    reach(Failpoint.SESSIONS_WRITTEN)
    known = [opening for opening in openings if opening.is_known]
    linked = await _finalise_linked(known, stores=stores, object_store=object_store) if known else set()
    await stores.audit.settle("media", [opening.media_id for opening in openings])
    return linked


async def _linked(owner_id: str, opening: _Opening, *, stores: Stores, object_store: ObjectStore) -> _Opening:
    media = await stores.media.get(opening.media_id, fields=())
    if media is None or media["status"] != MediaStatus.INITIATED:
        # Done before. A media that was deleted since must not take up its reference again.
        return opening
    content = await link_content(owner_id, opening.file, opening.media_id, stores=stores, object_store=object_store)
    reach(Failpoint.CONTENT_LINKED)
    now = await stores.media.get(opening.media_id, fields=())
    if now is None or now["status"] in {MediaStatus.EXPIRED, MediaStatus.DELETED}:
        # Ended in between: whoever did it may have given up the references before this one was taken.
        await give_up_unless_kept(opening.media_id, stores=stores, object_store=object_store)
        return opening
    return replace(opening, content=content)


async def _finalise_linked(openings: Sequence[_Opening], *, stores: Stores, object_store: ObjectStore) -> set[UUID]:
    """The ids of those for which nothing is to be sent."""
    sessions = await stores.uploads.get_many([opening.media_id for opening in openings])
    linked = {upload_id for upload_id, session in sessions.items() if session.get("linked")}
    for upload_id in linked:
        # One that has ended since shows it by its media, and one that storage does not answer for is left to the
        # sweeper: neither must keep the other files of the batch from their outcome.
        with suppress(MediaServiceError):
            session = sessions[upload_id]
            await finalise(session, actor=session["owner_id"], stores=stores, object_store=object_store)
    return linked


def _outcome(decision: dict[str, Any], linked: set[UUID], refused: Mapping[UUID, Problem]) -> PlannedUpload:
    # The twin of a file that is refused is refused with it.
    decided = decision.get("id") or decision.get("duplicate")
    if decided is not None and (problem := refused.get(UUID(decided))) is not None:
        return PlannedUpload(problem=problem)
    if "id" in decision:
        media_id = UUID(decision["id"])
        return PlannedUpload(duplicate_id=media_id) if media_id in linked else PlannedUpload(upload_id=media_id)
    if "session" in decision:
        return PlannedUpload(upload_id=UUID(decision["session"]))
    if "duplicate" in decision:
        return PlannedUpload(duplicate_id=UUID(decision["duplicate"]))
    problem = decision["problem"]
    field = None if problem["field"] is None else tuple(problem["field"])
    return PlannedUpload(problem=Problem(**{**problem, "code": ErrorCode(problem["code"]), "field": field}))


def _session(owner_id: str, batch: BatchRequest, opening: _Opening, bucket: str) -> UploadDocument:
    file, policy, now = opening.file, POLICIES[batch.purpose], datetime.now(UTC)
    client = {} if batch.client is None else batch.client.model_dump(mode="json", exclude_none=True)
    is_multipart = file.byte_size > policy.multipart_threshold
    session = UploadDocument(
        _id=opening.media_id,
        owner_id=owner_id,
        purpose=batch.purpose.value,
        method=(UploadMethod.MULTIPART if is_multipart else UploadMethod.SINGLE).value,
        bucket=bucket,
        key=original_key(batch.purpose, opening.media_id, file.content_type),
        content_type=file.content_type,
        bytes=file.byte_size,
        sha256=file.sha256 or "",
        client=client if file.file_name is None else {**client, "file_name": file.file_name},
        created_at=now,
        expires_at=now + timedelta(seconds=policy.multipart_expires_s if is_multipart else policy.upload_expires_s),
    )
    if opening.content is not None:
        session.update({"bucket": opening.content["bucket"], "key": opening.content["key"], "linked": True})
    elif is_multipart:
        network = NetworkQuality.UNKNOWN if batch.client is None else batch.client.network or NetworkQuality.UNKNOWN
        pace = UPLOAD_POLICIES[batch.purpose, network].pace
        part_size, part_count = plan_parts(file.byte_size, pace.part_size)
        session.update({"part_size": part_size, "part_count": part_count})
    return session


def _initiated(upload: UploadDocument, batch: BatchRequest, opening: _Opening, *, capture_id: str) -> MediaDocument:
    file = opening.file
    return MediaDocument(
        _id=upload["_id"],
        owner_id=upload["owner_id"],
        kind=kind_of(file.content_type).value,
        purpose=batch.purpose.value,
        visibility=batch.effective_visibility.value,
        capture_id=capture_id,
        position=opening.position,
        subject=None if batch.subject is None else batch.subject.model_dump(),
        album_ids=file.album_ids,
        title=file.title,
        alt_text=file.alt_text,
        tags=file.tags,
        focus=None if file.focus is None else file.focus.model_dump(),
        location=None if file.location is None else file.location.as_point(),
        captured_at=file.captured_at,
        metadata_choice=[field.value for field in file.metadata_choice(POLICIES[batch.purpose])],
        content=_content(upload),
        original={"bucket": upload["bucket"], "key": upload["key"]},
        renditions=[],
    )


def _content(upload: UploadDocument) -> dict[str, Any]:
    # Storage holds a single upload to its SHA-256. Of one in parts it is only what the client said, until the worker
    # has read the whole: it must not stand for content that is known.
    announced = upload["sha256"] or None
    return {
        "type": upload["content_type"],
        "bytes": upload["bytes"],
        "sha256": announced if upload["method"] == UploadMethod.SINGLE else None,
        "announced_sha256": announced,
    }
