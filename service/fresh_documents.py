"""Documents on their way to one reader, judged again where it takes its time."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection
from uuid import UUID

from service.coalesced_reads import FRESH_S
from service.documents import MediaDocument

Look = Callable[[Collection[UUID]], Awaitable[Collection[MediaDocument]]]


class FreshDocuments:
    """Those of some media that a reader may be shown, one after the other, none judged longer ago than `FRESH_S`.

    `look` reads and judges: given ids, it answers the documents of those that may be shown, in order.
    """

    __slots__ = ("_documents", "_look", "_looked_at")

    def __init__(self, look: Look) -> None:
        self._look = look
        self._documents: deque[MediaDocument] = deque()
        self._looked_at = 0.0

    async def load(self, media_ids: Collection[UUID]) -> None:
        """Look at these. Raises what `look` raises."""
        self._documents = deque(await self._look(media_ids))
        self._looked_at = time.monotonic()

    async def foremost(self) -> MediaDocument | None:
        """The one whose turn it is, as it is now; the same again until it is dropped. Raises what `look` raises."""
        if self._documents and time.monotonic() - self._looked_at > FRESH_S:
            await self.load([media["_id"] for media in self._documents])
        return self._documents[0] if self._documents else None

    def drop(self) -> None:
        """Let the next have its turn."""
        self._documents.popleft()
