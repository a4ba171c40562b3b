"""Embeddings from and to JSON Lines: `{"mediaId", "model", "dimensions", "vector", "createdAt"}`, one a line."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Final
from uuid import UUID

import orjson

from service.annotation_exchange.identity import find_id, global_id
from service.annotation_exchange.models import Models
from service.annotation_exchange.new_files import new_file
from service.embedding_request import EmbeddingRequest, parsed
from service.embeddings import check_place, replace_embedding
from service.errors import InvalidInput, MediaServiceError
from service.lifecycle import MediaStatus
from service.stores import Stores
from service.stores.embeddings import packed, row_id, unpacked

# Longer than 4,096 numbers of 25 characters are.
_LONGEST_LINE: Final = 262_144
_PAGE: Final = 200
_AT_ONCE: Final = 8
MAX_TOLD: Final = 20


@dataclass(slots=True)
class EmbeddingsImport:
    """What came of the lines of a file. `problems`: the first of those that were not taken, in a sentence each."""

    lines: int = 0
    written: int = 0
    unchanged: int = 0
    unknown: int = 0
    invalid: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Page:
    """Some lines of the file by their numbers, and why some of them are not taken."""

    raw: list[tuple[int, bytes]]
    report: EmbeddingsImport
    problems: dict[int, str] = field(default_factory=dict)

    def refuse(self, number: int, sentence: str) -> None:
        """Count a line that is not taken for what it says, and note why."""
        self.report.invalid += 1
        self.problems[number] = sentence

    def tell(self) -> None:
        """Report why lines were not taken, in the order of the file, as far as there is still room."""
        told = self.report.problems
        told += [f"line {number}: {self.problems[number]}" for number in sorted(self.problems)][: MAX_TOLD - len(told)]


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    media_id: UUID
    model: str
    vector: list[float]
    stored: bytes


async def export_embeddings(path: Path, *, model: str | None, stores: Stores, on_page: Callable[[int], None]) -> int:
    """Write the embeddings of all media, or those by one model, to a file that is there once it is complete; how many.

    Raises InvalidInput and OSError for a place that cannot be written to.
    """
    count, after = 0, None
    with new_file(path) as file:
        while rows := await stores.embeddings.page(after, model=model, limit=_PAGE):
            for row in rows:
                line = {
                    "mediaId": global_id(row["media_id"]),
                    "model": row["model"],
                    "dimensions": row["dimensions"],
                    "vector": unpacked(row["vector"]),
                    "createdAt": row["created_at"],
                }
                file.write(orjson.dumps(line, option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE))
            count, after = count + len(rows), rows[-1]["_id"]
            on_page(count)
    return count


async def import_embeddings(
    path: Path, *, dry_run: bool, stores: Stores, on_page: Callable[[EmbeddingsImport], None]
) -> EmbeddingsImport:
    """Let the embeddings of a file take the place of those that their media have by the same models.

    What a media has already is not written again, so a run that was interrupted is gone on with by running it anew; of
    lines that speak of the same, the last of a page counts. Raises InvalidInput for a
    folder, OSError, and what says that the database is away.
    """
    report, models = EmbeddingsImport(), Models(stores, dry_run=dry_run)
    with _opened(path) as file:
        numbered = enumerate(_lines(file), start=1)
        while raw := list(islice(numbered, _PAGE)):
            page = _Page(raw, report)
            await _take(page, models, stores=stores)
            page.tell()
            on_page(report)
    return report


def _opened(path: Path) -> BinaryIO:
    if path.is_dir():
        raise InvalidInput(f"{path} is a folder, and embeddings are a file of JSON Lines: give that.")
    return path.open("rb")


def _lines(file: BinaryIO) -> Iterator[bytes]:
    while line := file.readline(_LONGEST_LINE):
        yield line
        # The rest of one that is too long is no line of its own.
        while line and not line.endswith(b"\n"):
            line = file.readline(_LONGEST_LINE)


async def _take(page: _Page, models: Models, *, stores: Stores) -> None:
    lines = _read_page(page)
    media = await stores.media.get_many({each.media_id for each in lines.values()}, fields=())
    held = {row["_id"]: bytes(row["vector"]) for row in await stores.embeddings.by_ids(lines)}
    writes = []
    # In the order of the file: the first that is written decides how many numbers the others of its model must have.
    for key, line in lines.items():
        if media.get(line.media_id, {"status": MediaStatus.DELETED})["status"] == MediaStatus.DELETED:
            page.report.unknown += 1
            page.problems[line.number] = "there is no such media"
        elif held.get(key) == line.stored:
            page.report.unchanged += 1
        elif await _is_possible(line, models, page):
            writes.append(line)
    slots = asyncio.Semaphore(_AT_ONCE)

    async def write(line: _Line) -> None:
        async with slots:
            await _write(line, page, dry_run=models.dry_run, stores=stores)

    # All come to their end before one that failed is told.
    outcomes = await asyncio.gather(*map(write, writes), return_exceptions=True)
    if not models.dry_run:
        await stores.audit.settle("embeddings", list(lines))
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome


async def _is_possible(line: _Line, models: Models, page: _Page) -> bool:
    try:
        await models.check(line.model, len(line.vector))
    except InvalidInput as error:
        page.refuse(line.number, error.message)
        return False
    return True


async def _write(line: _Line, page: _Page, *, dry_run: bool, stores: Stores) -> None:
    try:
        if dry_run:
            await check_place(line.media_id, line.model, stores=stores)
        else:
            await replace_embedding(line.media_id, line.model, line.vector, stores=stores)
    except MediaServiceError as error:
        if error.retryable:
            raise
        page.refuse(line.number, error.message)
    else:
        page.report.written += 1


def _read_page(page: _Page) -> dict[UUID, _Line]:
    """Those that make sense, by the row that they are for, in the order of the file."""
    lines: dict[UUID, _Line] = {}
    for number, raw in page.raw:
        if not raw.strip():
            continue
        page.report.lines += 1
        try:
            line = _read(number, raw)
        except InvalidInput as error:
            page.refuse(number, error.message)
        except ValueError as error:
            page.refuse(number, f"it is not JSON: {error}")
        else:
            key = row_id(line.media_id, line.model)
            # The last one counts, where it stands.
            lines.pop(key, None)
            lines[key] = line
    return lines


def _read(number: int, raw: bytes) -> _Line:
    """Raises InvalidInput, and ValueError for what is not JSON."""
    value: Any = orjson.loads(raw)
    if not isinstance(value, dict):
        raise InvalidInput("it is no object")
    media_id, vector = value.get("mediaId"), value.get("vector")
    found = find_id(media_id) if isinstance(media_id, str) else None
    if found is None:
        raise InvalidInput("mediaId is none of this service")
    # To Python true is a 1.
    if not isinstance(vector, list) or not all(type(each) in {float, int} for each in vector):
        raise InvalidInput("vector is no list of numbers")
    if value.get("dimensions", len(vector)) != len(vector):
        raise InvalidInput(f"its vector has {len(vector)} numbers, and `dimensions` says otherwise")
    given = parsed(EmbeddingRequest, {"model": value.get("model"), "vector": vector})
    return _Line(number, found, given.model, given.vector, bytes(packed(given.vector)))
