"""Following media: a snapshot first, then every change, ordered by sequence, resumable by cursor."""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from service.access import Action, Viewer, granted_filters, may
from service.change_feed import ChangeFeed, Topic
from service.documents import MediaDocument
from service.errors import InvalidInput, NotFound
from service.fresh_documents import FreshDocuments
from service.lifecycle import TERMINAL, MediaStatus
from service.stores import Stores

MAX_FOLLOWED = 100

PROGRESS: Mapping[MediaStatus, float] = {
    MediaStatus.INITIATED: 0.0,
    MediaStatus.UPLOADING: 0.1,
    MediaStatus.UPLOADED: 0.5,
    MediaStatus.PROCESSING: 0.7,
    MediaStatus.READY: 1.0,
}

_FIELDS = frozenset({"status_sequence", "status_history", "capture_id"})


@dataclass(frozen=True, slots=True)
class StatusEvent:
    """One entry of a media's status history. `cursor` resumes all followed media after it."""

    media: MediaDocument
    status: MediaStatus
    sequence: int
    cursor: str


def encode_cursor(seen: Mapping[UUID, int]) -> str:
    """Opaque text for the last sequence seen of each media."""
    raw = b"".join(media_id.bytes + sequence.to_bytes(4, "big") for media_id, sequence in seen.items())
    return base64.urlsafe_b64encode(raw).decode()


def decode_cursor(cursor: str) -> dict[UUID, int]:
    """The inverse of `encode_cursor`. Raises InvalidInput for anything else."""
    try:
        raw = base64.b64decode(cursor, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b"?"
    if len(raw) % 20 or len(raw) > 20 * MAX_FOLLOWED:
        raise InvalidInput(
            "This cursor was not issued by this subscription; leave `after` out to begin anew.", field=["after"]
        )
    records = (raw[start : start + 20] for start in range(0, len(raw), 20))
    return {UUID(bytes=record[:16]): int.from_bytes(record[16:], "big") for record in records}


class _Course:
    """How far one subscriber has come with each media."""

    __slots__ = ("ended", "seen")

    def __init__(self, after: str | None) -> None:
        self.seen: dict[UUID, int] = {} if after is None else decode_cursor(after)
        self.ended: set[UUID] = set()

    def next_event(self, media: MediaDocument) -> StatusEvent | None:
        """The first that the subscriber has not seen: of a media it has never seen, the present status."""
        media_id, history = media["_id"], media["status_history"]
        last = self.seen.get(media_id)
        unseen = history[-1:] if last is None else [entry for entry in history if entry["sequence"] > last]
        if not unseen:
            if media["status"] in TERMINAL:
                self.ended.add(media_id)
            return None
        sequence = self.seen[media_id] = unseen[0]["sequence"]
        return StatusEvent(media, MediaStatus(unseen[0]["status"]), sequence, encode_cursor(self.seen))

    async def tell(self, documents: FreshDocuments) -> AsyncIterator[StatusEvent]:
        """What the subscriber has not seen of these."""
        while (media := await documents.foremost()) is not None:
            event = self.next_event(media)
            if event is None:
                documents.drop()
            else:
                yield event

    def keep_only(self, media_ids: Collection[UUID]) -> None:
        """Forget what the cursor said of other media: they are not of this subscription."""
        self.seen = {media_id: sequence for media_id, sequence in self.seen.items() if media_id in media_ids}


async def follow_media(
    viewer: Viewer, media_ids: Sequence[UUID], *, after: str | None, fields: Collection[str], change_feed: ChangeFeed
) -> AsyncIterator[StatusEvent]:
    """Events of `media_ids` until each has reached a terminal status. `fields` is what to load of each media.

    Without `after`, first the present status of each; with it, every change since. Raises InvalidInput, and NotFound
    if an id is unknown or not for this viewer.
    """
    if not 1 <= len(media_ids) <= MAX_FOLLOWED:
        raise InvalidInput(f"Give 1 to {MAX_FOLLOWED} ids.", field=["ids"])
    course, wanted = _Course(after), _FIELDS.union(fields)
    course.keep_only(media_ids)

    async def look(pending: Collection[UUID]) -> list[MediaDocument]:
        documents = await change_feed.read(pending, wanted)
        visible = [media for each in pending if (media := documents.get(each)) and may(viewer, Action.FOLLOW, media)]
        if len(visible) < len(pending):
            raise NotFound("There is no such media.", field=["ids"])
        return visible

    shown = FreshDocuments(look)
    with change_feed.follow(_statuses(media_ids)) as follower:
        await change_feed.ready()
        changed: set[UUID] | None = None
        while True:
            pending = [each for each in media_ids if each not in course.ended and (changed is None or each in changed)]
            await shown.load(pending)
            async for event in course.tell(shown):
                yield event
            if len(course.ended) == len(media_ids):
                return
            changed = await follower.changes()


async def follow_capture(
    viewer: Viewer,
    capture_id: str,
    *,
    after: str | None,
    fields: Collection[str],
    stores: Stores,
    change_feed: ChangeFeed,
) -> AsyncIterator[StatusEvent]:
    """The same for the media of one capture that `viewer` may follow, those that join it meanwhile included.

    Raises NotFound if there are none, and InvalidInput if there are more than `MAX_FOLLOWED`.
    """
    members = _Members(viewer, capture_id, _Course(after))
    wanted = _FIELDS.union(fields)

    async def look(media_ids: Collection[UUID]) -> list[MediaDocument]:
        return members.look(media_ids, await change_feed.read(media_ids, wanted))

    shown = FreshDocuments(look)
    with change_feed.follow([Topic("capture", capture_id)]) as follower:
        await change_feed.ready()
        changed: set[UUID] | None = None
        while True:
            if changed is None:
                changed = members.known | await _list_capture(viewer, capture_id, stores)
            changed -= members.course.ended
            change_feed.follow_also(follower, _statuses(changed))
            await shown.load(changed)
            async for event in members.course.tell(shown):
                yield event
            if members.known <= members.course.ended:
                return
            changed = await follower.changes()


class _Members:
    """The media of one capture, as one subscriber comes to know them."""

    __slots__ = ("_capture_id", "_viewer", "course", "known")

    def __init__(self, viewer: Viewer, capture_id: str, course: _Course) -> None:
        self._viewer = viewer
        self._capture_id = capture_id
        self.course = course
        self.known = set(course.seen)

    def look(self, media_ids: Collection[UUID], documents: Mapping[UUID, MediaDocument]) -> list[MediaDocument]:
        """Those of `media_ids` that are of the capture, in the order in which they were announced.

        Raises as `follow_capture` does.
        """
        members = [documents[each] for each in sorted(media_ids) if each in documents and self._has(documents[each])]
        self.known -= set(media_ids)
        self.known.update(media["_id"] for media in members)
        self.course.keep_only(self.known)
        if not self.known:
            raise NotFound("There is no such capture.", field=["captureId"])
        if len(self.known) > MAX_FOLLOWED:
            raise _too_many()
        return members

    def _has(self, media: MediaDocument) -> bool:
        # A deleted media no longer says which capture it was of.
        was_member = media["status"] == MediaStatus.DELETED and media["_id"] in self.known
        is_member = media.get("capture_id") == self._capture_id or was_member
        return is_member and may(self._viewer, Action.FOLLOW, media)


async def _list_capture(viewer: Viewer, capture_id: str, stores: Stores) -> set[UUID]:
    listed = await stores.media.list_page(
        {"capture_id": capture_id},
        access=granted_filters(viewer, Action.FOLLOW),
        before=None,
        limit=MAX_FOLLOWED + 1,
        fields=(),
    )
    if len(listed) > MAX_FOLLOWED:
        raise _too_many()
    return {media["_id"] for media in listed}


def _too_many() -> InvalidInput:
    text = f"This capture has more than {MAX_FOLLOWED} media: follow them by their ids, {MAX_FOLLOWED} at a time."
    return InvalidInput(text, field=["captureId"])


def _statuses(media_ids: Iterable[UUID]) -> Iterator[Topic]:
    return (Topic("status", media_id) for media_id in media_ids)
