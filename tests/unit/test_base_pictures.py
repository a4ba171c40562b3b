"""What workers keep of pictures between two jobs is bounded in bytes and in time, and is handed out once."""

from __future__ import annotations

import asyncio

from service.base_pictures import BasePictures
from service.models import BasePicture


def picture(size: int) -> BasePicture:
    return BasePicture("RGB", size, 1, bytes(3 * size), (size, 1))


async def test_a_picture_is_handed_out_once_and_for_its_own_original_only() -> None:
    bases, kept = BasePictures(1_000), picture(10)
    bases.keep("a", kept)
    assert bases.take("b") is None
    assert bases.take("a") is kept
    assert bases.take("a") is None
    assert bases.held_bytes == 0


async def test_what_was_kept_longest_makes_room() -> None:
    bases = BasePictures(100)
    for name in ("a", "b", "c", "d"):
        bases.keep(name, picture(10))
    assert bases.held_bytes == 90
    assert bases.take("a") is None
    assert bases.take("b") is not None
    # Again, with other pixels: counted once, and the last to go.
    bases.keep("c", picture(20))
    bases.keep("e", picture(3))
    assert bases.held_bytes == 99
    bases.keep("f", picture(1))
    assert bases.take("d") is None
    assert bases.take("c") == picture(20)


async def test_nothing_is_kept_beyond_the_limit_or_with_none() -> None:
    bases = BasePictures(100)
    bases.keep("a", picture(33))
    bases.keep("a", picture(34))
    assert bases.take("a") is None
    assert bases.held_bytes == 0
    off = BasePictures(0)
    assert not off.keeps_any
    off.keep("a", picture(1))
    assert off.held_bytes == 0


async def test_what_nobody_asks_for_goes_by_itself() -> None:
    bases = BasePictures(100, keep_s=0.01)
    bases.keep("a", picture(10))
    is_over = asyncio.Event()
    # Timers fire in the order of their times.
    asyncio.get_running_loop().call_later(0.02, is_over.set)
    await is_over.wait()
    assert bases.held_bytes == 0
    assert bases.take("a") is None
