"""What an owner already has: recognised before a byte is sent, and never told about another's."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from service.access import Viewer
from service.documents import ContentDocument, MediaDocument
from service.errors import InvalidInput, NotPermitted
from service.lifecycle import MediaStatus
from service.object_store import ObjectStore
from service.original_content import give_up_unless_kept
from service.policies import POLICIES
from service.stores import Stores
from service.upload_request import BatchRequest, FileRequest

MAX_HASHES = 100

# Their bytes are in storage and nothing is known against them.
_SOUND = frozenset({MediaStatus.UPLOADED, MediaStatus.PROCESSING, MediaStatus.READY})
_FIELDS = (
    "purpose", "visibility", "subject", "capture_id", "album_ids", "content",
    "title", "alt_text", "tags", "focus", "location", "captured_at", "metadata_choice",
)  # fmt: skip
# A session with less time left than this is better opened anew.
_WORTH_JOINING = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class KnownContent:
    """What there is of the files of one batch: media that could stand for them, open sessions, contents by SHA-256."""

    media: Sequence[MediaDocument] = ()
    awaited: Sequence[MediaDocument] = ()
    contents: Mapping[str, ContentDocument] = field(default_factory=dict)

    def media_for(self, batch: BatchRequest, file: FileRequest) -> UUID | None:
        """The oldest media that already is what `file` asks for: same content, purpose, visibility and place."""
        return next((each["_id"] for each in self.media if _is_the_same(each, batch, file)), None)

    def session_for(self, batch: BatchRequest, file: FileRequest) -> UUID | None:
        """The session that is open for just this file: from a tap before this one, or an app that was killed."""
        return next((each["_id"] for each in self.awaited if _is_the_same(each, batch, file)), None)

    def is_stored(self, file: FileRequest) -> bool:
        """Whether storage has the bytes of `file`, if only for a media that was deleted a moment ago."""
        content = self.contents.get(file.sha256 or "")
        return content is not None and content["bytes"] == file.byte_size


async def find_known_content(owner_id: str, files: Iterable[FileRequest], *, stores: Stores) -> KnownContent:
    """Look all files of a batch up at once."""
    hashes = {file.sha256 for file in files if file.sha256 is not None}
    if not hashes:
        return KnownContent()
    return KnownContent(
        *await asyncio.gather(
            _find_sound(owner_id, hashes, fields=_FIELDS, stores=stores),
            _open_sessions(owner_id, hashes, stores),
            stores.contents.find(owner_id, hashes),
        )
    )


async def _find_sound(
    owner_id: str, hashes: Collection[str], *, fields: Collection[str], stores: Stores
) -> list[MediaDocument]:
    """Media that may stand for one of these contents, oldest first."""
    found = await stores.media.find_by_content(
        owner_id, hashes, statuses=_SOUND | {MediaStatus.QUARANTINED}, fields={*fields, "content.sha256"}
    )
    # An older media may be READY from a time when its content was not known as hostile. The next one asks again.
    hostile = {media["content"]["sha256"] for media in found if media["status"] == MediaStatus.QUARANTINED}
    return [media for media in found if media["content"]["sha256"] not in hostile]


async def _open_sessions(owner_id: str, hashes: Collection[str], stores: Stores) -> list[MediaDocument]:
    awaited = await stores.media.find_awaited(owner_id, hashes, fields=_FIELDS)
    if not awaited:
        return []
    sessions = await stores.uploads.get_many([media["_id"] for media in awaited])
    latest = datetime.now(UTC) + _WORTH_JOINING
    worth_joining = {
        upload_id
        for upload_id, session in sessions.items()
        if session["expires_at"] > latest and not session.get("linked")
    }
    return [media for media in awaited if media["_id"] in worth_joining]


def _is_the_same(media: MediaDocument, batch: BatchRequest, file: FileRequest) -> bool:
    content = media["content"]
    return (
        file.sha256 in (content.get("sha256"), content.get("announced_sha256"))
        and content.get("bytes") == file.byte_size
        and content.get("type") == file.content_type
        and media["purpose"] == batch.purpose
        and media["visibility"] == batch.effective_visibility
        and _has_what_is_given(media, batch, file)
    )


def _has_what_is_given(media: MediaDocument, batch: BatchRequest, file: FileRequest) -> bool:
    """Whether nothing that the request says would be lost. A photo posted again elsewhere is another media."""
    given = {
        "subject": None if batch.subject is None else batch.subject.model_dump(),
        "capture_id": batch.capture_id,
        "title": file.title,
        "alt_text": file.alt_text,
        "tags": file.tags or None,
        "focus": None if file.focus is None else file.focus.model_dump(),
        "location": None if file.location is None else file.location.as_point(),
        "captured_at": None if file.captured_at is None else _as_stored(file.captured_at),
    }
    has_all = all(media.get(name) == value for name, value in given.items() if value is not None)
    choice = file.metadata_choice(POLICIES[batch.purpose])
    keeps_all = set(choice) <= set(media.get("metadata_choice", ()))
    return has_all and keeps_all and set(file.album_ids) <= set(media.get("album_ids", ()))


def _as_stored(moment: datetime) -> datetime:
    """MongoDB keeps milliseconds."""
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return aware.replace(microsecond=aware.microsecond // 1000 * 1000)


async def link_content(
    owner_id: str, file: FileRequest, media_id: UUID, *, stores: Stores, object_store: ObjectStore
) -> ContentDocument | None:
    """Let `media_id` refer to the stored content of `file`; None if there is none (any more): it has to be sent."""
    content = await stores.contents.link(owner_id, file.sha256 or "", media_id)
    if content is None:
        return None
    stored = await object_store.head(content["bucket"], content["key"])
    if stored is not None and stored.bytes == file.byte_size:
        return content
    await give_up_unless_kept(media_id, stores=stores, object_store=object_store)
    return None


async def find_duplicates(viewer: Viewer, sha256s: Collection[str], *, stores: Stores) -> dict[str, UUID]:
    """The viewer's own oldest media of each of these contents, by SHA-256 in hex; what they do not have is absent.

    Raises NotPermitted without a signed-in viewer, InvalidInput for more than MAX_HASHES.
    """
    if viewer.id is None:
        raise NotPermitted("Sign in to look for duplicates.")
    if len(sha256s) > MAX_HASHES:
        raise InvalidInput(f"Ask for at most {MAX_HASHES} hashes at once.", field=["sha256"])
    found = await _find_sound(viewer.id, sha256s, fields=(), stores=stores)
    oldest: dict[str, UUID] = {}
    for media in found:
        oldest.setdefault(media["content"]["sha256"], media["_id"])
    return oldest
