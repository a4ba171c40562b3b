"""Keeps the service's own processes running: a crash is reported and followed by a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import httpx

from service.dev.processes import Child, Children, StartFailed

STEADY_S = 60.0
MAX_PAUSE_S = 30.0


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One process of the service: how to start it, and the URL that answers below 500 once it is up.

    `health_header` is what only this part answers with, where another server might take the same URL.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(repr=False)
    health_url: str
    health_header: tuple[str, str] | None = None
    grace_s: float = 5


async def start_part(children: Children, part: Part) -> Child:
    """Start it and wait until it answers; StartFailed with the end of its log otherwise."""
    child = await children.start(part.name, part.argv, env=part.env, grace_s=part.grace_s)
    await children.wait_until(child, partial(_answers, part), timeout_s=60)
    return child


async def keep_running(children: Children, part: Part, child: Child, report: Callable[[str], None]) -> None:
    """Restart `part` whenever it ends, after a pause that doubles (1 s to 30 s) until it has run for a minute."""
    loop, pause = asyncio.get_running_loop(), 1.0
    while True:
        started = loop.time()
        code = await child.process.wait()
        await children.stop(child)
        if loop.time() - started > STEADY_S:
            pause = 1.0
        report(f"{part.name} ended with code {code}; starting it again in {pause:.0f} s. {child.last_words()}")
        await asyncio.sleep(pause)
        pause = min(pause * 2, MAX_PAUSE_S)
        child = await children.start(part.name, part.argv, env=part.env, grace_s=part.grace_s)


async def expect_to_live(child: Child) -> None:
    """Wait for the end of a part that must not end; StartFailed when it does."""
    code = await child.process.wait()
    raise StartFailed(
        f"{child.name} ended unexpectedly with code {code}, so all was stopped. Your data is kept: start again. "
        f"{child.last_words()}"
    )


async def _answers(part: Part) -> bool:
    async with httpx.AsyncClient(timeout=2) as client:
        try:
            response = await client.get(part.health_url)
        except httpx.HTTPError:
            return False
    # Two parts on one port: the other must not be taken for this one.
    ours = part.health_header is None or part.health_header in response.headers.items()
    return response.status_code < 500 and ours
