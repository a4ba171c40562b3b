"""A file on this machine: what it is, and its bytes in pieces. Never in memory as a whole."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import anyio
from anyio import to_thread

from service.client.errors import UnusableFile
from service.processing.detect import HEAD_BYTES, sniff

CHUNK_BYTES = 256 * 1024
UNKNOWN_TYPE = "application/octet-stream"
MAX_TITLE = 200


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file as it was when it was read: `sha256` in hex, `content_type` told from its bytes, not from its name."""

    path: Path
    byte_size: int
    sha256: str
    content_type: str

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes that were announced. Raises UnusableFile if they can no longer be read."""
        left = self.byte_size
        try:
            async with await anyio.open_file(self.path, "rb") as file:
                while left and (chunk := await file.read(min(CHUNK_BYTES, left))):
                    left -= len(chunk)
                    yield chunk
        except OSError as error:
            raise _unreadable(self.path, error) from error
        if left:
            raise UnusableFile(f"{shown(self.path)} became shorter while it was being sent; upload it again.")


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
        while chunk := file.read(CHUNK_BYTES):
            head = head or chunk[:HEAD_BYTES]
            digest.update(chunk)
            size += len(chunk)
    if not size:
        raise UnusableFile(f"{shown(path)} is empty.")
    return LocalFile(path, size, digest.hexdigest(), sniff(head) or UNKNOWN_TYPE)


def _unreadable(path: Path, error: OSError) -> UnusableFile:
    match error:
        case FileNotFoundError():
            return UnusableFile(f"There is no file {shown(path)}.")
        case PermissionError():
            return UnusableFile(f"{shown(path)} may not be read by this user.")
        case _:
            return UnusableFile(f"{shown(path)} cannot be read: {error.strerror}.")
