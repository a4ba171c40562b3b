"""Queries beside the load, and whether any of them shows what was deleted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final

from service.change_feed import MAX_LAG_S
from tests.chaos import client as api
from tests.chaos.client import Caller
from tests.chaos.ledger import Ledger, Life

READS_EVERY_S: Final = 0.5
# Pages in memory may be as old as the change stream is late, and are not served where it is later than this. Other
# answers come from the primary.
_HIDDEN_AFTER_S: Final = {api.FEED: MAX_LAG_S, api.OWN: 0.0}


async def read_on(callers: Callable[[str], Sequence[Caller]], owners: int, ledger: Ledger, random: Random) -> None:
    """Until it is cancelled: somebody reads a feed or their own media, of each of the APIs in turn.

    `callers`: those of an owner, one an API.
    """
    while True:
        owner, document = f"owner-{random.randrange(owners)}", random.choice((api.FEED, api.OWN))
        for caller in callers(owner):
            await read_page(caller, document, ledger)
        await asyncio.sleep(READS_EVERY_S)


async def read_page(caller: Caller, document: str, ledger: Ledger) -> None:
    """Note in the ledger whatever a page shows that was deleted before it was asked for."""
    hidden_by = time.monotonic() - _HIDDEN_AFTER_S[document]
    answer = await caller.read(document)
    if answer is None:
        return
    shown = {node["id"] for page in answer.values() for node in page["nodes"] if node.get("status") != "DELETED"}
    for life in ledger.lives:
        if life.deleted_at is not None and life.deleted_at < hidden_by and shown & life.media_ids:
            life.shown_after_deletion += 1


async def look_for(life: Life, callers: Sequence[Caller]) -> None:
    """The same of one media that was just deleted, by its id, of each of the APIs: hidden is what it is everywhere."""
    for caller in callers:
        answer: dict[str, Any] | None = await caller.read(api.MEDIA, id=life.media_id)
        shown = (answer or {}).get("media")
        life.shown_after_deletion += shown is not None and shown["status"] != "DELETED"
