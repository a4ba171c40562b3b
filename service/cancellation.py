"""Ending tasks for certain."""

from __future__ import annotations

import asyncio
from typing import Any

# How long a task may take over its end before it is told again.
_PATIENCE_S = 0.5


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and return once they are over, whatever they ended with.

    Once is not enough: `asyncio.wait_for` of Python 3.11, which the driver waits with, may lose a cancellation that
    comes in the moment in which what it waits for is there. https://github.com/python/cpython/issues/86296
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_PATIENCE_S)
    # Nothing is left to be complained of as never retrieved.
    await asyncio.gather(*tasks, return_exceptions=True)
