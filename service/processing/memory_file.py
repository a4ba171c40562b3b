"""Files in memory: one that another process can open, and one for a writer that wants to read what it wrote."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def nameless_memory(content: bytes) -> Iterator[Path]:
    """A file that holds `content` and is in memory only, reached through this process while the block lasts."""
    with os.fdopen(os.memfd_create("media-pixels"), "wb", buffering=0) as file:
        left = memoryview(content)
        while left:
            left = left[file.write(left) :]
        yield Path(f"/proc/self/fd/{file.fileno()}")


class RereadableFile(io.BytesIO):
    """A file in memory that can be read at one place while it is written at another.

    libav reads what it wrote to put an MP4's index first.
    """

    def reader(self) -> _Reader:
        """Reads this file, from its beginning, without moving the place where it is written."""
        return _Reader(self)

    def close(self) -> None:
        """Stays open: its contents are wanted after libav is done with it."""


class _Reader:
    def __init__(self, file: RereadableFile) -> None:
        self._file = file
        self._position = 0

    def read(self, size: int) -> bytes:
        writing_at = self._file.seek(0, io.SEEK_CUR)
        self._file.seek(self._position)
        chunk = self._file.read(size)
        self._position += len(chunk)
        self._file.seek(writing_at)
        return chunk

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: len(self._file.getbuffer())}[whence]
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def close(self) -> None:
        """Nothing is held."""
