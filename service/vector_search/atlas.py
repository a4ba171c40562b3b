"""Approximate search by MongoDB's own vector index: `$vectorSearch`, of Atlas and of deployments with `mongot`.

The stage and its limits: https://www.mongodb.com/docs/atlas/atlas-vector-search/vector-search-stage/
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final
from uuid import UUID

from service.errors import ConfigurationError
from service.stores.media_reads import AccessFilters
from service.stores.vector_index import NoVectorSearch, VectorIndex
from service.vector_search.candidates import Candidate

# The stage answers with no more.
MOST: Final = 10_000
_FEWEST: Final = 50


class AtlasSearch:
    """Asks for more where all that came was used up, from the beginning: the stage knows no pages."""

    def __init__(self, index: VectorIndex) -> None:
        self._index = index

    async def check(self) -> None:
        """Raise ConfigurationError if the server knows no `$vectorSearch`."""
        try:
            await self._index.list_names()
        except NoVectorSearch as error:
            raise ConfigurationError(
                "MEDIA_VECTORS__ENGINE is atlas, but this MongoDB knows no $vectorSearch. Use an Atlas cluster, or one "
                "with mongot, of version 6.0.11, 7.0.2 or later; or set MEDIA_VECTORS__ENGINE=scan."
            ) from error

    async def close(self) -> None:
        """Nothing runs in the background."""

    async def nearest(
        self, model: str, vector: bytes, *, access: AccessFilters, limit: int
    ) -> AsyncGenerator[list[Candidate], None]:
        """See `VectorSearch.nearest`: approximate, so that later batches may hold nearer ones; ends after 10,000."""
        if not access:
            return
        seen: set[UUID] = set()
        limit = min(max(limit, _FEWEST), MOST)
        while True:
            found = [Candidate(*each) for each in await self._index.nearest(model, vector, access=access, limit=limit)]
            yield [each for each in found if each.media_id not in seen]
            if len(found) < limit or limit == MOST:
                return
            seen.update(each.media_id for each in found)
            limit = min(4 * limit, MOST)
