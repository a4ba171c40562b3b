"""Pictures that were just decoded, kept for whoever makes the rest of their renditions; in memory, and not for long."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from service.models import BasePicture

# The job that makes the rest follows at once, unless all places are taken.
KEEP_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class _Kept:
    picture: BasePicture
    expiry: asyncio.TimerHandle


class BasePictures:
    """Bases by the SHA-256 of their originals, `limit_bytes` of pixels at most, each for `keep_s` seconds at most.

    What was kept longest goes first. A base depends on nothing else: it does not outlive the process, and so not the
    pipeline that made it. Use it on an event loop.
    """

    def __init__(self, limit_bytes: int, *, keep_s: float = KEEP_S) -> None:
        self._limit_bytes = limit_bytes
        self._keep_s = keep_s
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._held_bytes = 0

    @property
    def held_bytes(self) -> int:
        """Bytes of pixels that are kept."""
        return self._held_bytes

    @property
    def keeps_any(self) -> bool:
        """Whether it is worth handing bases out."""
        return self._limit_bytes > 0

    def keep(self, sha256: str, picture: BasePicture) -> None:
        """Keep the base of the original with this SHA-256, unless it alone exceeds the limit."""
        self.take(sha256)
        if len(picture.pixels) > self._limit_bytes:
            return
        expiry = asyncio.get_running_loop().call_later(self._keep_s, self.take, sha256)
        self._kept[sha256] = _Kept(picture, expiry)
        self._held_bytes += len(picture.pixels)
        while self._held_bytes > self._limit_bytes:
            self.take(next(iter(self._kept)))

    def take(self, sha256: str) -> BasePicture | None:
        """The base of the original with this SHA-256, which is not kept any longer; None if there is none."""
        kept = self._kept.pop(sha256, None)
        if kept is None:
            return None
        kept.expiry.cancel()
        self._held_bytes -= len(kept.picture.pixels)
        return kept.picture
