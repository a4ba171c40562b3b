"""Embeddings from and to JSON Lines: `{"mediaId", "model", "dimensions", "vector", "createdAt"}`, one a line."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Final
from uuid import UUID, uuid4

import orjson

from service.access import SERVICE_ROLE, Viewer
from service.annotation_exchange.identity import find_id, global_id
from service.annotation_exchange.new_files import new_file
from service.annotation_exchange.records import told
from service.embeddings import embed_media
from service.errors import InvalidInput, MediaServiceError
from service.lifecycle import MediaStatus
from service.stores import Stores
from service.stores.embeddings import packed, row_id, unpacked

# Whom jobs' rules apply to: any live media, and new models.
_IMPORTER: Final = Viewer("annotations-import", frozenset({SERVICE_ROLE}))
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

    def tell(self, number: int, sentence: str) -> None:
        """Note why a line was not taken, if there is still room for it."""
        if len(self.problems) < MAX_TOLD:
            self.problems.append(f"line {number}: {told(sentence)}")


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
    lines that speak of the same, the last of a page counts. Raises OSError, and what says that the database is away.
    """
    report = EmbeddingsImport()
    with path.open("rb") as file:
        numbered = enumerate(_lines(file), start=1)
        while page := list(islice(numbered, _PAGE)):
            await _take(page, report, dry_run=dry_run, stores=stores)
            on_page(report)
    return report


def _lines(file: BinaryIO) -> Iterator[bytes]:
    while line := file.readline(_LONGEST_LINE):
        yield line


async def _take(page: list[tuple[int, bytes]], report: EmbeddingsImport, *, dry_run: bool, stores: Stores) -> None:
    lines: dict[UUID, _Line] = {}
    for number, raw in page:
        if not raw.strip():
            continue
        report.lines += 1
        try:
            line = _read(number, raw)
        except (InvalidInput, ValueError, OverflowError) as error:
            report.invalid += 1
            report.tell(number, str(error))
            continue
        lines[row_id(line.media_id, line.model)] = line
    media = await stores.media.get_many({each.media_id for each in lines.values()}, fields=())
    held = {row["_id"]: bytes(row["vector"]) for row in await stores.embeddings.by_ids(lines)}
    slots = asyncio.Semaphore(_AT_ONCE)

    async def write(key: UUID, line: _Line) -> None:
        if media.get(line.media_id, {"status": MediaStatus.DELETED})["status"] == MediaStatus.DELETED:
            report.unknown += 1
            report.tell(line.number, "there is no such media")
        elif held.get(key) == line.stored:
            report.unchanged += 1
        else:
            async with slots:
                await _write(line, report, dry_run=dry_run, stores=stores)

    async with asyncio.TaskGroup() as group:
        for key, line in lines.items():
            group.create_task(write(key, line))


async def _write(line: _Line, report: EmbeddingsImport, *, dry_run: bool, stores: Stores) -> None:
    given = {"idempotency_key": uuid4().hex, "model": line.model, "vector": line.vector}
    try:
        if not dry_run:
            await embed_media(_IMPORTER, line.media_id, given, stores=stores)
    except MediaServiceError as error:
        if error.retryable:
            raise
        report.invalid += 1
        report.tell(line.number, error.message)
    else:
        report.written += 1


def _read(number: int, raw: bytes) -> _Line:
    """Raises InvalidInput, and ValueError or OverflowError for what cannot be read at all."""
    value: Any = orjson.loads(raw)
    if not isinstance(value, dict):
        raise InvalidInput("it is no object")
    media_id, model, vector = value.get("mediaId"), value.get("model"), value.get("vector")
    found = find_id(media_id) if isinstance(media_id, str) else None
    if found is None:
        raise InvalidInput("mediaId is none of this service")
    if not isinstance(model, str):
        raise InvalidInput("model is no text")
    if not isinstance(vector, list) or not all(isinstance(each, float | int) for each in vector):
        raise InvalidInput("vector is no list of numbers")
    if value.get("dimensions", len(vector)) != len(vector):
        raise InvalidInput(f"it says {value['dimensions']} dimensions, and has {len(vector)} numbers")
    return _Line(number, found, model, vector, bytes(packed(vector)))
