"""Files, folders and zip archives that are there once they are complete, and not before."""

from __future__ import annotations

import os
import secrets
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from service.errors import InvalidInput

# Writes an entry: its path within the folder or archive, and its bytes.
EntryWriter = Callable[[str, bytes], None]

# The earliest moment that zip archives know: the same annotations make the same archive.
_NO_TIME: Final = (1980, 1, 1, 0, 0, 0)


def _unfinished(path: Path) -> Path:
    if not path.parent.is_dir():
        raise InvalidInput(f"There is no folder {path.parent}; make it first.")
    return path.parent / f".{path.name}.{secrets.token_hex(4)}.part"


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `path`, synced, at the end of the block; if it fails, nothing is left of it."""
    if path.is_dir():
        raise InvalidInput(f"{path} is a folder; name a file.")
    unfinished = _unfinished(path)
    try:
        with unfinished.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def new_container(path: Path) -> Iterator[EntryWriter]:
    """A zip archive, if that is how the name ends, else a folder, complete at the end of the block or not there.

    Raises InvalidInput where there is such a folder with anything in it: annotations of two exports would be mixed.
    """
    with _new_archive(path) if path.suffix.lower() == ".zip" else _new_folder(path) as write:
        yield write


@contextmanager
def _new_archive(path: Path) -> Iterator[EntryWriter]:
    with new_file(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:

        def write(name: str, body: bytes) -> None:
            archive.writestr(zipfile.ZipInfo(name, _NO_TIME), body, zipfile.ZIP_DEFLATED)

        yield write


@contextmanager
def _new_folder(path: Path) -> Iterator[EntryWriter]:
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InvalidInput(f"{path} is there already; name a new folder, or one that is empty.")
    unfinished = _unfinished(path)
    unfinished.mkdir()

    def write(name: str, body: bytes) -> None:
        target = unfinished / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(body)

    try:
        yield write
        unfinished.replace(path)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
