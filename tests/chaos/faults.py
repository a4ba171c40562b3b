"""How each fault is done to a world, and undone."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from tests.chaos.event_relay import Delivery
from tests.chaos.fault_proxy import ANYONE, FAIR, Conditions
from tests.chaos.ledger import Failover, Ledger
from tests.chaos.plan import Fault, Kind
from tests.chaos.proxies import Proxy
from tests.chaos.replica_set import Member
from tests.chaos.world import World

_DONE = {Kind.LOSE: Delivery.NEVER, Kind.REPEAT: Delivery.OFTEN}


async def play(
    plan: Sequence[Fault], world: World, ledger: Ledger, *, report: Callable[[str], None] = lambda _: None
) -> None:
    """Do everything of `plan` at its time, counted from now; returns once all of it is undone.

    Whatever ends a primary has the world to itself: how soon writes are back is measured there, and no set of three
    has to survive the loss of two. What comes after begins later by as much as the database took to recover.
    """
    began = time.monotonic()
    running: set[asyncio.Task[None]] = set()
    for fault in plan:
        if fault.is_failover:
            await _all_of(running)
            await world.database.whole()
        began = max(began, time.monotonic() - fault.at_s)
        await asyncio.sleep(began + fault.at_s - time.monotonic())
        report(f"{fault}")
        task = asyncio.create_task(_play_one(fault, world, ledger))
        running.add(task)
        if fault.is_failover:
            await task
    await _all_of(running)


async def _all_of(tasks: set[asyncio.Task[None]]) -> None:
    await asyncio.gather(*tasks)
    tasks.clear()


async def _play_one(fault: Fault, world: World, ledger: Ledger) -> None:
    if fault.is_failover:
        await _lose_primary(fault, world, ledger)
        ledger.done[fault.name] += 1
        return
    if fault.kind is Kind.SKEW and world.processes[fault.target].clock is None:
        # Without a C compiler there is nothing that could make it go wrong.
        return
    async with _doing(fault, world):
        await asyncio.sleep(fault.lasts_s)
    ledger.done[fault.name] += 1


async def _lose_primary(fault: Fault, world: World, ledger: Ledger) -> None:
    primary = await world.database.primary()
    assert primary.child is not None
    ends = signal.SIGKILL if fault.kind is Kind.KILL else signal.SIGSTOP
    primary.is_down = fault.kind is Kind.KILL
    primary.child.process.send_signal(ends)
    failover = Failover(fault.name, time.monotonic())
    ledger.failovers.append(failover)
    noting = asyncio.create_task(_note_election(failover, primary, world))
    await asyncio.sleep(fault.lasts_s)
    if fault.kind is Kind.KILL:
        await world.database.revive(primary)
    else:
        primary.child.process.send_signal(signal.SIGCONT)
    await world.database.whole()
    # Where the lost one was back before another was elected, there may be no other.
    noting.cancel()
    await asyncio.wait([noting])


async def _note_election(failover: Failover, lost: Member, world: World) -> None:
    await world.database.primary(besides=lost, within_s=float("inf"))
    failover.elected_after_s = time.monotonic() - failover.began


def _doing(fault: Fault, world: World) -> AbstractAsyncContextManager[None]:
    if fault.kind in _DONE:
        return _events(fault, world)
    if " to " in fault.target:
        return _connections(fault, world)
    return _process(fault, world)


@asynccontextmanager
async def _process(fault: Fault, world: World) -> AsyncIterator[None]:
    process = world.processes[fault.target]
    async with process.turn:
        match fault.kind:
            case Kind.KILL:
                process.kill()
            case Kind.PAUSE:
                process.signal(signal.SIGSTOP)
            case Kind.SKEW if process.clock is not None:
                process.clock.skew(fault.amount)
        try:
            yield
        finally:
            if fault.kind is Kind.PAUSE:
                process.signal(signal.SIGCONT)
            if fault.kind is Kind.SKEW and process.clock is not None:
                process.clock.skew(0)
        if fault.kind is Kind.KILL:
            await process.start(world.children)


@asynccontextmanager
async def _connections(fault: Fault, world: World) -> AsyncIterator[None]:
    proxies, caller = _between(fault.target, world)
    conditions = {
        Kind.CUT: Conditions(refuses=True),
        Kind.SILENCE: Conditions(is_silent=True),
        Kind.DELAY: Conditions(delay_s=fault.amount),
        Kind.THROTTLE: Conditions(bytes_per_s=fault.amount),
        Kind.ANSWER_503: Conditions(answers_503=True),
    }[fault.kind]
    for proxy in proxies:
        proxy.change(conditions, caller=caller)
        if fault.kind in {Kind.CUT, Kind.ANSWER_503}:
            proxy.cut(caller=caller)
    try:
        yield
    finally:
        for proxy in proxies:
            proxy.change(FAIR, caller=caller)


def _between(target: str, world: World) -> tuple[list[Proxy], str]:
    """The proxies between two, and as whom they know the caller."""
    caller, _, to = target.partition(" to ")
    if to == "database":
        return [member.proxy for member in world.database.members], caller
    return [world.storage[caller]], ANYONE


@asynccontextmanager
async def _events(fault: Fault, world: World) -> AsyncIterator[None]:
    world.events.delivery = _DONE[fault.kind]
    try:
        yield
    finally:
        world.events.delivery = Delivery.ONCE
