"""The load of chaos tells what it is to tell: by seed, soon after a fault, of each API, and whatever was deleted."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from tests.chaos import client as api
from tests.chaos.fate import draw_fate, stream
from tests.chaos.ledger import Failover, Ledger, Life
from tests.chaos.probes import SLOTS, Probes
from tests.chaos.reading import look_for, read_page


class Answering:
    """Stands for a `Caller`: reads are answered with `page`, writes once they are `let`."""

    def __init__(self, ledger: Ledger, page: Any = None) -> None:
        self.ledger, self.page, self.let, self.given = ledger, page, asyncio.Event(), list[dict[str, Any]]()

    async def read(self, document: str, **variables: Any) -> Any:
        return self.page

    async def write(self, document: str, field: str, given: dict[str, Any]) -> Any:
        began = time.monotonic()
        self.given.append(given)
        await self.let.wait()
        self.ledger.note(field, began)
        return {}


def test_what_a_life_does_follows_from_the_seed_and_its_number_alone() -> None:
    fates = [draw_fate(7, number) for number in range(400)]
    assert fates == [draw_fate(7, number) for number in reversed(range(400))][::-1]
    assert fates != [draw_fate(8, number) for number in range(400)]
    assert stream(7, "reads").random() != stream(7, "events").random()
    assert len({fate.pixels for fate in fates}) == 400
    # Each way of living is there; what goes up in parts only its client can complete.
    assert {fate.created for fate in fates} == {1, 2}
    assert {fate.completed for fate in fates} == {0, 1, 2}
    assert all(fate.completed for fate in fates if fate.in_parts)
    for name in ("in_parts", "is_sent", "is_deleted_early", "is_deleted"):
        assert {getattr(fate, name) for fate in fates} == {True, False}


async def test_probes_that_wait_keep_none_from_being_begun_after_a_fault() -> None:
    ledger = Ledger()
    caller: Any = Answering(ledger)
    lives = [Life("prober", str(number), {str(number)}) for number in range(2 * SLOTS)]
    probes = Probes(lives, caller, ledger, every_s=0.001)
    running = asyncio.create_task(probes.run())
    while len(caller.given) < SLOTS:  # noqa: ASYNC110 - it is what is waited for
        await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    assert len(caller.given) == SLOTS, "each has a media of its own, and none is written twice at once"
    ledger.failovers.append(Failover("kill primary", time.monotonic()))
    while len(caller.given) < 2 * SLOTS:  # noqa: ASYNC110 - as above
        await asyncio.sleep(0)
    assert [given["id"] for given in caller.given] == [str(number) for number in range(2 * SLOTS)]
    caller.let.set()
    while ledger.failovers[0].back_after_s is None:  # noqa: ASYNC110 - as above
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, *probes.under_way, return_exceptions=True)
    # What was written of each media, and in which order, is known to whoever looks for it afterwards.
    assert all(life.positions.acknowledged == life.positions.tried for life in lives)


async def test_whatever_shows_a_deleted_media_is_noted() -> None:
    gone = Life("anna", "gone", {"M"}, deletion_tried=True, deleted_at=time.monotonic() - 60)
    kept, ledger = Life("anna", "kept", {"N"}), Ledger()
    ledger.lives += [gone, kept]
    feed: Any = Answering(ledger, {"feed": {"nodes": [{"id": "N"}, {"id": "M"}]}})
    await read_page(feed, api.FEED, ledger)
    assert (gone.shown_after_deletion, kept.shown_after_deletion) == (1, 0)
    own: Any = Answering(ledger, {"mediaList": {"nodes": [{"id": "M", "status": "READY"}]}})
    await read_page(own, api.OWN, ledger)
    assert gone.shown_after_deletion == 2
    deleted: Any = Answering(ledger, {"mediaList": {"nodes": [{"id": "M", "status": "DELETED"}]}})
    await read_page(deleted, api.OWN, ledger)
    # A feed may be as old as memory is allowed to be.
    gone.deleted_at = time.monotonic()
    await read_page(feed, api.FEED, ledger)
    assert gone.shown_after_deletion == 2
    one, other = Answering(ledger, {"media": None}), Answering(ledger, {"media": {"status": "READY"}})
    callers: Any = [one, other]
    await look_for(gone, callers)
    assert gone.shown_after_deletion == 3
