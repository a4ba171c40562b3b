"""Trying again, at a pace that lets the other side recover."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from service.client.errors import ClientError

T = TypeVar("T")

DELAYS_S = (1.0, 2.0, 4.0, 8.0, 16.0)
MAX_WAIT_S = 60.0


async def retrying(attempt: Callable[[], Awaitable[T]], delays_s: Sequence[float]) -> T:
    """The result of `attempt`, repeated after each of `delays_s` (seconds) while it raises a retryable ClientError."""
    for delay in delays_s:
        try:
            return await attempt()
        except ClientError as error:
            if not error.retryable:
                raise
            await asyncio.sleep(pause_s(error, delay))
    return await attempt()


def pause_s(error: ClientError, delay_s: float) -> float:
    """How long to wait after `error`: what the other side asked for, within reason, but no less than `delay_s`."""
    return max(delay_s, min(error.retry_after_s, MAX_WAIT_S))
