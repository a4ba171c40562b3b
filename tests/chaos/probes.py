"""Small writes at short intervals all through a round: they tell when writes are back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Final

from tests.chaos import client as api
from tests.chaos.client import Caller
from tests.chaos.ledger import Ledger, Life

PROBES_EVERY_S: Final = 0.15
# Writes at once of those that wait for nothing else; one media each, so that none waits for another.
SLOTS: Final = 5


class Probes:
    """`lives`: a media for each slot, anew for each fault that ends a primary.

    What was begun before such a fault says nothing of how soon writes are back, whenever it is answered; and what waits
    for an answer must keep nothing from being begun. So those slots are left as they are, and new ones are taken.
    """

    def __init__(
        self, lives: Collection[Life], caller: Caller, ledger: Ledger, *, every_s: float = PROBES_EVERY_S
    ) -> None:
        self._lives, self._caller, self._ledger = list(lives), caller, ledger
        self._every_s, self._slots = every_s, list[Life]()
        self._faults_seen = -1
        self.under_way: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until it is cancelled; what is `under_way` then goes on."""
        number = 0
        while True:
            self._look_for_faults()
            if self._slots:
                number += 1
                self._begin(self._slots.pop(0), number)
            await asyncio.sleep(self._every_s)

    def _look_for_faults(self) -> None:
        if len(self._ledger.failovers) > self._faults_seen:
            self._faults_seen = len(self._ledger.failovers)
            self._slots = self._lives[self._faults_seen * SLOTS :][:SLOTS]

    def _begin(self, life: Life, number: int) -> None:
        slots = self._slots
        task = asyncio.create_task(self._write(life, number))
        self.under_way.add(task)

        def end(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and task.exception() is None:
                self.under_way.discard(task)
            slots.append(life)

        task.add_done_callback(end)

    async def _write(self, life: Life, position: int) -> None:
        life.positions.tried.append(str(position))
        if await change(life, self._caller, {"position": position, "idempotencyKey": f"probe-{position}"}):
            life.positions.acknowledged.append(str(position))


async def change(life: Life, caller: Caller, given: dict[str, object]) -> bool:
    """Whether a call of updateMedia was acknowledged; it is counted."""
    life.changes_tried += 1
    is_made = await caller.write(api.UPDATE, "updateMedia", {"id": life.media_id, **given}) is not None
    life.changes += is_made
    return is_made


async def open_slots(count: int, create: Callable[[int], Awaitable[Life]]) -> list[Life]:
    """A media for each slot of a round with so many faults that end a primary; `create` makes one by its number."""
    return [await create(number) for number in range(SLOTS * (count + 1))]
