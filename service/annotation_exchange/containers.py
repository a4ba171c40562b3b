"""Folders and zip archives as sources of many small files. Nothing is ever unpacked to disk."""

from __future__ import annotations

import codecs
import lzma
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from service.annotation_exchange.records import Unreadable, told
from service.errors import InvalidInput

# One picture's annotations, or the names of all classes; also what a small archive may swell to.
MAX_ENTRY_BYTES: Final = 16_000_000
# Enough to tell what a file is.
_BEGINNING: Final = 256

# How zipfile and what it expands with say that an archive is broken (EOFError, ValueError, OverflowError: of offsets
# and names), encrypted (RuntimeError) or beyond them (NotImplementedError).
_BROKEN: Final[tuple[type[Exception], ...]] = (
    OSError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    ValueError,
    OverflowError,
    RuntimeError,
)


@dataclass(frozen=True, slots=True)
class Entry:
    """A file within a folder or archive. `name`: its path there, with slashes."""

    name: str
    _read: Callable[[int], bytes]

    def read(self, *, most: int = MAX_ENTRY_BYTES) -> bytes:
        """All of it. Raises Unreadable for what has more than `most` bytes or cannot be read."""
        try:
            body = self._read(most + 1)
        except _BROKEN as error:
            raise Unreadable(self.name, f"it cannot be read: {error}") from None
        if len(body) > most:
            raise Unreadable(self.name, f"it is larger than {most} bytes")
        return body

    def text(self, *, most: int = MAX_ENTRY_BYTES) -> str:
        """All of it as UTF-8. Raises Unreadable as `read` does, and for what is no such text."""
        try:
            return self.read(most=most).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise Unreadable(self.name, f"it is not UTF-8 text (byte {error.start})") from None


def is_container(path: Path) -> bool:
    """Whether `path` is a folder or seems to be a zip archive."""
    return path.is_dir() or zipfile.is_zipfile(path)


def _may_be_json(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(_BEGINNING).removeprefix(codecs.BOM_UTF8).lstrip().startswith((b"{", b"["))
    except OSError:
        return False


class Container:
    """A folder or a zip archive; `entries` may be asked for more than once. Raises InvalidInput for neither."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._archive: zipfile.ZipFile | None = None
        if path.is_dir():
            return
        try:
            self._archive = zipfile.ZipFile(path)
        except _BROKEN as error:
            remedy = " It looks like JSON: COCO's files are taken with --format coco." if _may_be_json(path) else ""
            raise InvalidInput(
                f"{path} is neither a folder nor a zip archive that can be read: {error}.{remedy}"
            ) from None

    def close(self) -> None:
        if self._archive is not None:
            self._archive.close()

    def entries(self) -> Iterator[Entry]:
        """Every file, in no order. Links are not followed. Raises InvalidInput for names that leave the archive."""
        return _folder_entries(self._path) if self._archive is None else _archive_entries(self._archive)


def _folder_entries(root: Path) -> Iterator[Entry]:
    folders = [root]
    while folders:
        with os.scandir(folders.pop()) as found:
            for each in found:
                if each.is_dir(follow_symlinks=False):
                    folders.append(Path(each.path))
                elif each.is_file(follow_symlinks=False):
                    path = Path(each.path)
                    yield Entry(_readable(path.relative_to(root)), _beginning_of(path))


def _readable(path: Path) -> str:
    # Names are bytes; those that are no text may not break what they are written down in.
    return os.fsencode(path.as_posix()).decode(errors="replace")


def _beginning_of(path: Path) -> Callable[[int], bytes]:
    def read(most: int) -> bytes:
        with path.open("rb") as file:
            return file.read(most)

    return read


def _archive_entries(archive: zipfile.ZipFile) -> Iterator[Entry]:
    for info in archive.infolist():
        name = PurePosixPath(info.filename.replace("\\", "/"))
        if not info.filename or name.is_absolute() or ".." in name.parts:
            raise InvalidInput(f"The archive has an entry {told(info.filename)} outside of itself; nothing was read.")
        if not info.is_dir():
            yield Entry(str(name), _beginning_of_entry(archive, info))


def _beginning_of_entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Callable[[int], bytes]:
    def read(most: int) -> bytes:
        with archive.open(info) as file:
            return file.read(most)

    return read
