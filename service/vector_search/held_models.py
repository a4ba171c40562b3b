"""Which models' vectors are in memory, and how much of it they take."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Final
from uuid import UUID
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from service.vector_search.held_vectors import HeldVectors

# Of a vector besides its numbers: two ids, where it is, and what is known of its media (measured: 350 to 400).
_BYTES_A_ROW: Final = 400
# Room for what will be written, besides a quarter of what there is.
_SPARE: Final = 256
# How long those are waited for that searches are comparing with, and between two looks at them.
_FREED_WITHIN_S: Final = 2.0
_LOOK_S: Final = 0.01


def size_of(dimensions: int, capacity: int) -> int:
    """The bytes of a `HeldVectors` that is full."""
    return capacity * (4 * dimensions + _BYTES_A_ROW)


def capacity_for(count: int) -> int:
    """Room for `count` vectors, and for as many changes of them as make reading them anew worth it."""
    return count + count // 4 + _SPARE


class HeldModels:
    """Never more than `memory_bytes` over all models, those included that are being read or no longer kept."""

    def __init__(self, memory_bytes: int) -> None:
        self._memory_bytes = memory_bytes
        self._kept: OrderedDict[str, HeldVectors] = OrderedDict()
        # Bytes of all that has not been freed: what was forgotten is so when the last search has compared with it.
        self._sizes: WeakKeyDictionary[HeldVectors, int] = WeakKeyDictionary()

    def get(self, model: str) -> HeldVectors | None:
        """The vectors of a model, which is now the one that was searched last."""
        held = self._kept.get(model)
        if held is not None:
            self._kept.move_to_end(model)
        return held

    def holds(self, model: str, row_id: UUID) -> bool:
        """Whether this row is one of those that are kept of a model."""
        held = self._kept.get(model)
        return held is not None and row_id in held

    def most(self, dimensions: int) -> int:
        """How many vectors of so many dimensions may be kept, if they are alone."""
        rows = self._memory_bytes // size_of(dimensions, 1)
        return max(0, (rows - _SPARE) * 4 // 5)

    async def make_room(self, size: int) -> bool:
        """Forget those that were searched longest ago until `size` more bytes may be taken; False if they may not."""
        while self._kept and self._kept_size() + size > self._memory_bytes:
            self.forget(next(iter(self._kept)))
        waited = 0.0
        while sum(self._sizes.values()) + size > self._memory_bytes:
            if waited > _FREED_WITHIN_S:
                return False
            await asyncio.sleep(_LOOK_S)
            waited += _LOOK_S
        return True

    def _kept_size(self) -> int:
        return sum(self._sizes[each] for each in self._kept.values())

    def count(self, held: HeldVectors, size: int) -> None:
        """Take its bytes into account until it is freed."""
        self._sizes[held] = size

    def keep(self, model: str, held: HeldVectors) -> None:
        """Keep the vectors of a model, which have been counted."""
        self._kept[model] = held

    def forget(self, model: str) -> None:
        """Keep them no longer."""
        self._kept.pop(model, None)
