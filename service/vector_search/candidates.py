"""What is asked of a vector search, and what it answers with."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from service.stores.media_reads import AccessFilters


@dataclass(frozen=True, slots=True)
class Candidate:
    """A media whose embedding is near. `similarity`: the cosine of the angle between the two, -1 to 1."""

    media_id: UUID
    similarity: float


class VectorSearch(Protocol):
    """Finds the nearest embeddings by one model, of those media that somebody may see."""

    def nearest(
        self, model: str, vector: bytes, *, access: AccessFilters, limit: int
    ) -> AsyncGenerator[list[Candidate], None]:
        """Those that `access` lets through, each once, `limit` or more at a time, for as long as they are taken.

        Each batch is in order, nearest first; an approximate engine finds near ones late, so sort what was taken.

        `vector`: 32-bit floats, little-endian, not all 0, as many as the model's vectors have. `access` is asked of
        what the embeddings say of their media, which may be late: ask the media before anything is shown.
        Raises StateConflict where this engine cannot search so many.
        """
        ...

    async def check(self) -> None:
        """Raise ConfigurationError if the database cannot be searched in this way."""

    async def close(self) -> None:
        """End what runs in the background."""
