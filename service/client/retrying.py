"""Trying again, at a pace that lets the other side recover."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import TypeVar

from service.client.errors import ClientError

T = TypeVar("T")

DELAYS_S = (1.0, 2.0, 4.0, 8.0, 16.0)
MAX_WAIT_S = 60.0
# So that clients which one outage has stopped do not come back in step.
JITTER = 0.25


async def retrying(
    attempt: Callable[[], Awaitable[T]], delays_s: Sequence[float], *, unless: Collection[str] = ()
) -> T:
    """The result of `attempt`, repeated after each of `delays_s` (seconds) while it raises a retryable ClientError.

    `unless`: codes that this caller has a better answer to than trying again.
    """
    for delay in delays_s:
        try:
            return await attempt()
        except ClientError as error:
            if not error.retryable or error.code in unless:
                raise
            await pause(error, delay)
    return await attempt()


async def pause(error: ClientError, delay_s: float) -> None:
    """Wait as long as `pause_s` says, and up to a quarter longer."""
    await asyncio.sleep(pause_s(error, delay_s) * random.uniform(1, 1 + JITTER))  # noqa: S311 - spreads load, no secret


def pause_s(error: ClientError, delay_s: float) -> float:
    """How long to wait after `error`: what the other side asked for, within reason, but no less than `delay_s`."""
    return max(delay_s, min(error.retry_after_s, MAX_WAIT_S))
