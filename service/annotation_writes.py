"""Writing annotations of a media: each write is one compare-and-set on its document, however many rows it takes.

Rows are written first, under the ids of new segments, then the document lists these, then the rows of segments that it
lists no more are removed. So nobody sees half a write, and of two writers at once one begins anew.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID
from weakref import WeakValueDictionary

from uuid6 import uuid7

from service.annotation_drafts import Drafts
from service.annotation_layout import MAX_EMBEDDED, Contents, Layout, Revision, check_bounds, lay_out
from service.audit import SERVICE_ACTOR, AuditAction, Note
from service.documents import AnnotationDocument, MediaDocument
from service.errors import MediaServiceError, TemporarilyUnavailable
from service.labels import labels_of, strongest
from service.lifecycle import MediaStatus
from service.processing_jobs import revision_of
from service.stores import Stores

# Each round that is lost was won by another write to the same media.
ROUNDS: Final = 50
# Writers of other processes are let by for a while after a round that was lost: up to the first, doubled each time up
# to the second, in seconds.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.002, 0.05

# Who writes to the same media in this process waits for those before: else the quickest would always win.
_queues: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()

# What a write reads of a media.
WRITE_FIELDS = ("annotations", "annotation_segments", "annotation_count", "labels", "last_annotating")

# `id`, never used twice, and `record`: that of the idempotency key which says whether it was made, or none.
Mark = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Turn:
    """A media as it was read, and the write that is to be its next, with its mark; `actor`: whose, as is on record."""

    media: MediaDocument
    mark: Mark
    revision: Revision
    actor: str

    def note(self) -> Note:
        """What goes on record: whose words they are and how many, not what they say."""
        fresh, ids = self.revision.fresh, self.revision.ids
        if ids and not fresh:
            return Note(AuditAction.ANNOTATIONS_DELETED, actor=self.actor, details={"asked": len(ids)})
        sources = sorted({each["source"] for each in fresh})
        return Note(AuditAction.ANNOTATIONS_WRITTEN, self.actor, {"sources": sources, "written": len(fresh)})


def mark_without_record() -> Mark:
    """The mark of a write that nobody repeats by a key."""
    return {"id": str(uuid7()), "record": ""}


async def write_annotations(
    media_id: UUID,
    look: Callable[[], Awaitable[Turn | None]],
    *,
    stores: Stores,
    in_revision: int | None = None,
) -> bool:
    """Write what `look` says after it has read the media of that id; False if that is None: there is nothing to do.

    `in_revision`: only while the media is READY and in that one. Raises InvalidInput if the media would have more than
    it may, and TemporarilyUnavailable if others write to it all the time.
    """
    drafts = Drafts(media_id, stores)
    try:
        async with _queues.setdefault(media_id, asyncio.Lock()):
            is_written = await _write_in_turn(look, drafts, in_revision, stores)
    except MediaServiceError:
        # Said before anything was listed. After other errors nobody knows; that is cleared up later.
        await drafts.discard()
        raise
    await drafts.discard()
    return is_written


async def _write_in_turn(
    look: Callable[[], Awaitable[Turn | None]], drafts: Drafts, in_revision: int | None, stores: Stores
) -> bool:
    for lost in range(ROUNDS):
        turn = await look()
        if turn is None:
            return False
        if await _write_next(turn, drafts, in_revision, stores):
            return True
        longest = min(_FIRST_PAUSE_S * 2**lost, _LONGEST_PAUSE_S)
        await asyncio.sleep(random.uniform(0, longest))  # noqa: S311 - spreads writers, no secret
    raise TemporarilyUnavailable("Others are annotating this media; send the same request again.")


async def replace_annotations(
    media_id: UUID,
    withdraws: Callable[[str], bool],
    fresh: Sequence[AnnotationDocument],
    *,
    actor: str = SERVICE_ACTOR,
    stores: Stores,
    in_revision: int | None = None,
) -> bool:
    """Let `fresh` take the place of all annotations of a media by sources that `withdraws` names; `created_at` is now.

    `actor`: who does so, as goes on record. False if the media is unknown or deleted, or not READY `in_revision` where
    that is given. Raises as `write_annotations`.
    """
    mark = mark_without_record()
    revision = Revision(made(fresh, await stores.media.server_time()), withdraws=withdraws)

    async def look() -> Turn | None:
        media = await stores.media.get(media_id, fields=(*WRITE_FIELDS, "processing.revision"))
        if media is None or media["status"] == MediaStatus.DELETED:
            return None
        if in_revision is not None and (media["status"], revision_of(media)) != (MediaStatus.READY, in_revision):
            return None
        return Turn(media, mark, revision, actor)

    return await write_annotations(media_id, look, stores=stores, in_revision=in_revision)


def made(annotations: Iterable[AnnotationDocument], moment: datetime) -> list[AnnotationDocument]:
    """The same annotations, made at a moment."""
    return [AnnotationDocument(**{**each, "created_at": moment}) for each in annotations]


async def note_last(media: MediaDocument, *, stores: Stores) -> Mark | None:
    """The mark that is about to be overwritten: from now on its record says that this write has been made."""
    last: Mark | None = media.get("last_annotating")
    if last is not None and last["record"]:
        await stores.idempotency.mark_applied(last["record"], {"change": last["id"]})
    return last


async def _write_next(turn: Turn, drafts: Drafts, in_revision: int | None, stores: Stores) -> bool:
    """One attempt to be the next write to a media; False if another came first."""
    round_ = _Round(turn, await note_last(turn.media, stores=stores), drafts, in_revision, stores)
    if turn.media.get("annotation_segments"):
        return await round_.revise_segments()
    annotations = turn.revision.applied_to(turn.media.get("annotations", ()))
    if len(annotations) <= MAX_EMBEDDED:
        return await round_.embed(annotations)
    return await round_.store(Layout([], [], []), annotations, strongest(annotations))


@dataclass(frozen=True, slots=True)
class _Round:
    turn: Turn
    last: Mark | None
    drafts: Drafts
    in_revision: int | None
    stores: Stores

    @property
    def media_id(self) -> UUID:
        return self.turn.media["_id"]

    async def embed(self, annotations: list[AnnotationDocument]) -> bool:
        """Let the document hold them all."""
        greatest = strongest(annotations)
        self._check(len(annotations), greatest, {each["source"] for each in annotations})
        return await self._set(Contents(len(annotations), labels_of(greatest), annotations, []))

    async def revise_segments(self) -> bool:
        """The same for annotations that have moved: only the segments that have to be are read and written anew."""
        rows, segments = self.stores.annotation_rows, self.turn.media["annotation_segments"]
        holders = {row["segment"] for row in await rows.find(self.turn.revision.ids, media_id=self.media_id)}
        layout = lay_out(segments, self.turn.revision, holders)
        read = await rows.read(self.media_id, [segment["id"] for segment in layout.rewritten])
        annotations = self.turn.revision.applied_to(read)
        greatest = strongest(annotations)
        if layout.withdrawn or holders:
            others = await rows.strongest(self.media_id, [segment["id"] for segment in layout.kept])
        else:
            others = {each["label"]: each["confidence"] for each in self.turn.media["labels"]}
        for label, confidence in others.items():
            greatest[label] = max(confidence, greatest.get(label, 0.0))
        return await self.store(layout, annotations, greatest)

    async def store(self, layout: Layout, annotations: list[AnnotationDocument], greatest: dict[str, float]) -> bool:
        """Write `annotations` in new segments beside those that are kept. `greatest`: of each label among them all."""
        count = len(annotations) + sum(segment["count"] for segment in layout.kept)
        sources = {each["source"] for each in (*layout.kept, *annotations)}
        self._check(count, greatest, sources)
        replaced = [segment["id"] for segment in (*layout.rewritten, *layout.withdrawn)]
        segments = [*layout.kept, *await self.drafts.hold(annotations, replaced)]
        # Where this is not heard of, nobody knows which rows are the ones that count; that is cleared up later.
        is_next = await self._set(Contents(count, labels_of(greatest), [], segments))
        if is_next:
            await self.drafts.settle(segments, replaced)
        return is_next

    def _check(self, count: int, labels: Mapping[str, float], sources: set[str]) -> None:
        # What takes away must work also where there is too much.
        if self.turn.revision.fresh:
            check_bounds(count, labels.keys(), sources)

    async def _set(self, contents: Contents) -> bool:
        return await self.stores.annotations.write(
            self.media_id,
            contents,
            mark=self.turn.mark,
            replacing=self.last,
            revision=self.in_revision,
            note=self.turn.note(),
        )
