"""What an owner already has: recognised before a byte is sent, and never told about another's."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from service.access import Viewer
from service.errors import InvalidInput, NotPermitted
from service.lifecycle import MediaStatus
from service.models import ContentDocument, MediaDocument
from service.object_store import ObjectStore
from service.original_content import give_up_content
from service.stores import Stores
from service.upload_request import BatchRequest, FileRequest

MAX_HASHES = 100

# Their bytes are in storage and nothing is known against them.
_SOUND = frozenset({MediaStatus.UPLOADED, MediaStatus.PROCESSING, MediaStatus.READY})
_FIELDS = ("purpose", "visibility", "subject", "capture_id", "album_ids", "content")
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
    media = await stores.media.find_by_content(owner_id, hashes, statuses=_SOUND, fields=_FIELDS)
    return KnownContent(
        media, await _open_sessions(owner_id, hashes, stores), await stores.contents.find(owner_id, hashes)
    )


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
    subject = None if batch.subject is None else batch.subject.model_dump()
    content = media["content"]
    return (
        file.sha256 in (content.get("sha256"), content.get("announced_sha256"))
        and content.get("bytes") == file.byte_size
        and content.get("type") == file.content_type
        and media["purpose"] == batch.purpose
        and media["visibility"] == batch.effective_visibility
        # A photo that is posted again elsewhere is another media of the same content.
        and subject in (None, media.get("subject"))
        and batch.capture_id in (None, media.get("capture_id"))
        and set(file.album_ids) <= set(media.get("album_ids", ()))
    )


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
    await give_up_content(media_id, stores=stores, object_store=object_store)
    return None


async def find_duplicates(viewer: Viewer, sha256s: Collection[str], *, stores: Stores) -> dict[str, UUID]:
    """The viewer's own oldest media of each of these contents, by SHA-256 in hex; what they do not have is absent.

    Raises NotPermitted without a signed-in viewer, InvalidInput for more than MAX_HASHES.
    """
    if viewer.id is None:
        raise NotPermitted("Sign in to look for duplicates.")
    if len(sha256s) > MAX_HASHES:
        raise InvalidInput(f"Ask for at most {MAX_HASHES} hashes at once.", field=["sha256"])
    found = await stores.media.find_by_content(viewer.id, sha256s, statuses=_SOUND, fields=("content.sha256",))
    oldest: dict[str, UUID] = {}
    for media in found:
        oldest.setdefault(media["content"]["sha256"], media["_id"])
    return oldest
