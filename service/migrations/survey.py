"""How much there is to be migrated, found cheaply: what `migrate --check` and `doctor` tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from service.migrations.steps import LATEST
from service.stores.migrations import MigrationStore, ProgressDocument

# Counting further would read as many keys of the index.
COUNTED_TO: Final = 100_000


@dataclass(frozen=True, slots=True)
class Survey:
    """`pending`: media of earlier versions, up to COUNTED_TO; None where the index that knows them is missing.

    `total`: about how many media there are. `runs`: those under way or interrupted.
    """

    pending: int | None
    total: int
    runs: Sequence[ProgressDocument]

    @property
    def counted(self) -> str:
        """`pending` in words."""
        if self.pending is None:
            return "unknown"
        return f"more than {COUNTED_TO:,}" if self.pending > COUNTED_TO else f"{self.pending:,}"


async def survey(store: MigrationStore, *, to: int = LATEST) -> Survey:
    """Ask the database; a fraction of a second, however many media there are."""
    pending = await store.count_below(to, limit=COUNTED_TO + 1)
    return Survey(pending, await store.count_all(), await store.interrupted())
