from __future__ import annotations

import asyncio

from service.cancellation import end


async def test_a_task_that_loses_a_cancellation_ends_all_the_same() -> None:
    lost = 0

    async def deaf() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                lost += 1
                if lost > 1:
                    raise

    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    await end(task)
    assert task.cancelled()
    assert lost == 2


async def test_what_a_task_ended_with_is_nobodys_concern() -> None:
    async def failing() -> None:
        raise ValueError

    await end(asyncio.create_task(failing()))
