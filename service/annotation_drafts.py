"""Rows that a writer of annotations has written and that its media does not list yet.

A round that is lost to another writer leaves them: the next one takes up those that say the same, so that whoever
writes much is hardly slower in the next round than whoever writes little.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from uuid import UUID

from uuid6 import uuid7

from service.annotation_layout import cut
from service.documents import AnnotationDocument, AnnotationRoundDocument, SegmentDocument
from service.stores import Stores

Part = tuple[SegmentDocument, list[AnnotationDocument]]


class Drafts:
    """Of one write to one media. Whatever becomes of the writer, a note in the database names its segments."""

    def __init__(self, media_id: UUID, stores: Stores) -> None:
        self._media_id = media_id
        self._rows = stores.annotation_rows
        self._note: UUID | None = None
        self._held: list[Part] = []

    async def hold(
        self, annotations: Sequence[AnnotationDocument], replaced: Collection[UUID]
    ) -> list[SegmentDocument]:
        """Segments that hold these annotations, with all their rows; call it after the media has been read.

        `replaced`: the segments that go once these are listed.
        """
        anew = cut(annotations)
        parts = [self._held_already(part) or (segment, part) for segment, part in anew]
        if self._note is None or not await self._rows.extend(self._note, _ids(parts) | set(replaced)):
            # Somebody clears up after this writer and may have removed any of its rows.
            await self.discard()
            parts, self._note = anew, uuid7()
            noted = sorted(_ids(parts) | set(replaced))
            await self._rows.begin(AnnotationRoundDocument(_id=self._note, media_id=self._media_id, segments=noted))
        held = _ids(self._held)
        new = [part for part in parts if part[0]["id"] not in held]
        await self._rows.insert(self._media_id, new)
        self._held += new
        return [segment for segment, _ in parts]

    def _held_already(self, part: list[AnnotationDocument]) -> Part | None:
        return next((held for held in self._held if held[1] == part), None)

    async def settle(self, listed: Sequence[SegmentDocument], replaced: Collection[UUID]) -> None:
        """Remove the rows that were `replaced`, and those of its own that are not `listed` by the media."""
        kept = {segment["id"] for segment in listed}
        self._held = [held for held in self._held if held[0]["id"] not in kept]
        await self._remove(_ids(self._held) | set(replaced))

    async def discard(self) -> None:
        """Remove all rows of its own, none of which is listed."""
        await self._remove(_ids(self._held))

    async def _remove(self, segments: set[UUID]) -> None:
        if self._note is None:
            return
        await self._rows.remove(self._media_id, segments)
        await self._rows.finish(self._note)
        self._note, self._held = None, []


def _ids(parts: Sequence[Part]) -> set[UUID]:
    return {segment["id"] for segment, _ in parts}
