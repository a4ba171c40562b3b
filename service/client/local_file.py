"""A file on this machine: what it is, and its bytes in pieces. Never in memory as a whole."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TypeVar

from anyio import to_thread

from service.client.errors import FileChanged, UnusableFile
from service.processing.detect import HEAD_BYTES, sniff

T = TypeVar("T")

CHUNK_BYTES = 256 * 1024
UNKNOWN_TYPE = "application/octet-stream"
MAX_TITLE = 200


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file as it was when it was read: `sha256` in hex, `content_type` told from its bytes, not from its name.

    `modified_ns`: when it was last written to then, as `st_mtime_ns`; None if nobody looked.
    """

    path: Path
    byte_size: int
    sha256: str
    content_type: str
    modified_ns: int | None = field(default=None, compare=False)

    async def chunks(self, offset: int = 0, length: int | None = None) -> AsyncGenerator[bytes]:
        """The announced bytes, or `length` of them from `offset`. Raises UnusableFile if they are no longer there."""
        end = self.byte_size if length is None else offset + length
        while offset < end:
            # Opened for each chunk: whoever is cancelled in between leaves no open file.
            chunk = await self._in_thread(self._read, offset, min(CHUNK_BYTES, end - offset))
            offset += len(chunk)
            yield chunk

    async def part_sha256(self, offset: int, length: int) -> str:
        """SHA-256, in hex, of `length` bytes from `offset`. Raises UnusableFile as `chunks` does."""
        return await self._in_thread(self._digest, offset, length)

    def is_unchanged(self) -> bool:
        """Whether the file still has the size and the time of its last change that it was read with."""
        try:
            found = self.path.stat()
        except OSError:
            return False
        return self._matches(found)

    async def _in_thread(self, work: Callable[[int, int], T], offset: int, length: int) -> T:
        try:
            return await to_thread.run_sync(work, offset, length)
        except OSError as error:
            raise _unreadable(self.path, error) from error

    def _read(self, offset: int, length: int) -> bytes:
        with self.path.open("rb") as file:
            file.seek(offset)
            chunk = file.read(length)
            self._check_unchanged(file)
        return chunk

    def _digest(self, offset: int, length: int) -> str:
        digest = hashlib.sha256()
        for start in range(offset, offset + length, CHUNK_BYTES):
            digest.update(self._read(start, min(CHUNK_BYTES, offset + length - start)))
        return digest.hexdigest()

    def _check_unchanged(self, file: IO[bytes]) -> None:
        if not self._matches(os.fstat(file.fileno())):
            raise self._changed()

    def _matches(self, found: os.stat_result) -> bool:
        same_time = self.modified_ns is None or found.st_mtime_ns == self.modified_ns
        return same_time and found.st_size == self.byte_size

    def _changed(self) -> FileChanged:
        return FileChanged(f"{shown(self.path)} changed while it was being uploaded; upload it again.")


async def inspect_file(path: Path) -> LocalFile:
    """Read a file once, for its size, type and SHA-256. Raises UnusableFile, with a sentence for people."""
    try:
        return await to_thread.run_sync(_inspect, path)
    except OSError as error:
        raise _unreadable(path, error) from error


def shown(path: Path | str) -> str:
    """A path as text that can be sent and printed: file names may hold any bytes."""
    text = os.fsencode(path).decode("utf-8", "replace")
    return "".join(character if character.isprintable() else "?" for character in text)


def title_of(path: Path) -> str:
    """A photo's name for people: its file's, without the extension, no longer than the API takes."""
    return shown(path.stem)[:MAX_TITLE].strip()


def _inspect(path: Path) -> LocalFile:
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise UnusableFile(f"{shown(path)} is a folder; name the photos in it.")
    # Opening a pipe would wait for its writer, and a device may never end.
    if not stat.S_ISREG(mode):
        raise UnusableFile(f"{shown(path)} is not a file.")
    digest, size, head = hashlib.sha256(), 0, b""
    with path.open("rb") as file:
        # Before the first byte: what is written from here on shows as a change.
        modified_ns = os.fstat(file.fileno()).st_mtime_ns
        while chunk := file.read(CHUNK_BYTES):
            head = head or chunk[:HEAD_BYTES]
            digest.update(chunk)
            size += len(chunk)
    if not size:
        raise UnusableFile(f"{shown(path)} is empty.")
    return LocalFile(path, size, digest.hexdigest(), sniff(head) or UNKNOWN_TYPE, modified_ns)


def _unreadable(path: Path, error: OSError) -> UnusableFile:
    match error:
        case FileNotFoundError():
            return UnusableFile(f"There is no file {shown(path)}.")
        case PermissionError():
            return UnusableFile(f"{shown(path)} may not be read by this user.")
        case _:
            return UnusableFile(f"{shown(path)} cannot be read: {error.strerror}.")
