"""A ledger of what is committed for media, kept apart from what the service itself says of it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection
from typing import Any
from uuid import UUID

from pymongo.collection import Collection as MongoCollection


class CommitLedger(threading.Thread):
    """Counts, from the database's own change stream, what is written for each media: READY, renditions, rounds of them.

    `rounds`: how often all of its renditions were settled, also where they were what they had been.
    """

    def __init__(self, media: MongoCollection[dict[str, Any]]) -> None:
        super().__init__(daemon=True)
        self.ready: Counter[UUID] = Counter()
        self.renditions: Counter[UUID] = Counter()
        self.rounds: Counter[UUID] = Counter()
        self._stream = media.watch([{"$match": {"operationType": "update"}}], max_await_time_ms=200)
        # The server's cursor is open only after the first look.
        self._stream.try_next()
        self._ended = threading.Event()
        self.start()

    def run(self) -> None:
        while True:
            is_last = self._ended.is_set()
            change = self._stream.try_next()
            if change is not None:
                self._count(change["documentKey"]["_id"], change["updateDescription"]["updatedFields"])
            elif is_last:
                return

    def _count(self, media_id: UUID, updated: dict[str, Any]) -> None:
        # What is written anew as it was does not show up.
        self.ready[media_id] += updated.get("status") == "READY"
        self.rounds[media_id] += "processing.renders" in updated
        self.renditions[media_id] += any(name.split(".")[0] == "renditions" for name in updated)

    def close(self) -> None:
        """Read to the end of what has happened."""
        self._ended.set()
        self.join()
        self._stream.close()

    def doubled(self, media_ids: Collection[UUID]) -> list[UUID]:
        """Those that became READY, were given their first renditions, or the others, more than once.

        None of them was changed by its owner or by a release.
        """
        return [
            each for each in media_ids if self.ready[each] > 1 or self.renditions[each] > 2 or self.rounds[each] > 1
        ]

    def missed(self, media_ids: Collection[UUID]) -> list[UUID]:
        """Those of which it saw less than that."""
        return [
            each for each in media_ids if self.ready[each] < 1 or self.renditions[each] < 2 or self.rounds[each] < 1
        ]
