"""Which models an import of embeddings may write, and how many numbers their vectors have."""

from __future__ import annotations

from service.embeddings import wrong_dimensions
from service.stores import Stores


class Models:
    """What is known of a file's models, and becomes known by their first lines. `dry_run`: to this run alone."""

    def __init__(self, stores: Stores, *, dry_run: bool) -> None:
        self._stores = stores
        self.dry_run = dry_run
        self._dimensions: dict[str, int] = {}

    async def check(self, model: str, dimensions: int) -> None:
        """Raise InvalidInput if vectors of the model do not have so many numbers; of a new one they do from now on."""
        known = self._dimensions.get(model)
        if known is None:
            known = self._dimensions[model] = await self._known(model, dimensions)
        if known != dimensions:
            raise wrong_dimensions(model, known, dimensions)

    async def _known(self, model: str, dimensions: int) -> int:
        if not self.dry_run:
            return await self._stores.embeddings.introduce(model, dimensions)
        return await self._stores.embeddings.dimensions_of(model) or dimensions
