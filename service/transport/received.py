"""Garbage that what was received leaves behind, cleared by its bytes and not only by its number of objects.

What runs an operation refers to itself and to the variables, so that both wait for the garbage collector. It comes by
after so many objects, of which a request leaves a few dozen, whether they hold a hundred bytes or a hundred thousand.
"""

from __future__ import annotations

import gc

# A pass over what is young takes up to 5 ms; ordinary requests of a kilobyte have it once in thousands.
COLLECT_AFTER_BYTES = 16 * 1024 * 1024


class ReceivedBytes:
    """Bytes that this process has been sent since garbage was last looked for on their account."""

    def __init__(self) -> None:
        self._count = 0

    def add(self, size: int) -> None:
        """Count a body or message of `size` bytes, and look for garbage now and then."""
        self._count += size
        if self._count >= COLLECT_AFTER_BYTES:
            self._count = 0
            gc.collect(1)


# The collector, too, is one for the whole process.
received_bytes = ReceivedBytes()
