"""Reads text with Tesseract, as a process that can be killed, on a picture that the jail has made.

What it prints are tab-separated rows (https://tesseract-ocr.github.io/tessdoc/Command-Line-Usage.html): level, page,
block, paragraph, line, word, left, top, width, height, confidence (0 to 100, -1 for none), text. Rows of level 5 are
words.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from service.errors import ConfigurationError, FailureCode, ProcessingFailed
from service.models import ViewImage
from service.processing.fork_client import bare_environment

_WORD_LEVEL: Final = "5"
_COLUMNS: Final = 12

# "A single column of text of variable sizes": unlike the default it keeps the cells of a table's row on one line.
_PAGE_SEGMENTATION: Final = "4"

_MEMORY_BYTES: Final = 1024**3
_LIST_S: Final = 10


@dataclass(frozen=True, slots=True)
class Word:
    """One word. `confidence` from 0 to 1; sides in pixels of the picture it was read from."""

    text: str
    confidence: float
    left: int
    top: int
    width: int
    height: int


Line = tuple[Word, ...]


class Tesseract:
    """Use `find_tesseract`."""

    def __init__(self, program: str, languages: Sequence[str], timeout_s: float) -> None:
        self._program = program
        self._languages = "+".join(languages)
        self._timeout_s = timeout_s

    async def read(self, image: ViewImage) -> list[Line]:
        """The lines of text in `image`, top to bottom. Raises ProcessingFailed, retryable, if it cannot be read."""
        arguments = ("-", "-", "-l", self._languages, "--psm", _PAGE_SEGMENTATION, "tsv")
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                confined(self._program, *arguments, cpu_s=int(self._timeout_s) + 1) as process,
            ):
                printed, complaints = await process.communicate(portable_anymap(image))
        except TimeoutError:
            raise _unreadable(f"text was not recognised within {self._timeout_s:g} seconds") from None
        if process.returncode != 0:
            said = complaints.decode(errors="replace")[-500:]
            raise _unreadable(f"tesseract ended with {process.returncode}: {said}")
        return parse_tsv(printed.decode(errors="replace"))


async def find_tesseract(languages: Sequence[str], *, timeout_s: float) -> Tesseract | None:
    """Tesseract for `languages`; None if it is not installed. ConfigurationError where one of them is missing."""
    program = shutil.which("tesseract")
    if program is None:
        return None
    async with asyncio.timeout(_LIST_S), confined(program, "--list-langs", cpu_s=_LIST_S) as process:
        printed, _ = await process.communicate()
    installed = printed.decode(errors="replace").splitlines()[1:]
    if missing := sorted(set(languages) - set(installed)):
        packages = " ".join(f"tesseract-ocr-{language.replace('_', '-')}" for language in missing)
        raise ConfigurationError(
            f"MEDIA_ANNOTATORS__LANGUAGES names {', '.join(missing)}, which Tesseract does not have. Install it "
            f"(Debian, Ubuntu: apt-get install {packages}) or take it out."
        )
    return Tesseract(program, languages, timeout_s)


def portable_anymap(image: ViewImage) -> bytes:
    """`image` as binary PGM or PPM (https://netpbm.sourceforge.net/doc/ppm.html).

    Tesseract goes by the first bytes: behind a header of ours, no decoder of compressed files is reached.
    """
    kind = {"L": "P5", "RGB": "P6"}[image.mode]
    return f"{kind}\n{image.width} {image.height}\n255\n".encode() + image.body


def parse_tsv(printed: str) -> list[Line]:
    """The words of Tesseract's rows, line by line; rows that are no words are passed over."""
    rows = [row for line in printed.splitlines() if len(row := line.split("\t")) == _COLUMNS and row[0] == _WORD_LEVEL]
    lines = (_words(group) for _, group in groupby(rows, key=lambda row: row[1:5]))
    return [line for line in lines if line]


def _words(rows: Iterable[list[str]]) -> Line:
    return tuple(
        Word(row[11].strip(), max(0.0, min(1.0, float(row[10]) / 100)), *map(int, row[6:10]))
        for row in rows
        if row[11].strip()
    )


@contextlib.asynccontextmanager
async def confined(program: str, *arguments: str, cpu_s: int) -> AsyncIterator[Process]:
    """A confined process with pipes, nothing of ours in its environment; killed and reaped if it outlives the block."""
    # One thread: jobs run side by side, and Tesseract's own threads cost more than they gain.
    environment = {**bare_environment(), "OMP_THREAD_LIMIT": "1"}
    if (data := os.environ.get("TESSDATA_PREFIX")) is not None:
        environment["TESSDATA_PREFIX"] = data
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-s", "-m", "service.processing.confined_program"),
        *(str(_MEMORY_BYTES), str(cpu_s), program, *arguments),
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        env=environment,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def _unreadable(detail: str) -> ProcessingFailed:
    return ProcessingFailed(FailureCode.INTERNAL, f"The picture could not be read: {detail}.", retryable=True)
