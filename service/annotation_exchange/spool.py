"""What a file says, gathered picture by picture in a SQLite file: no format has it in that order, and memory is small.

The file is scratch: made anew for each import, without a name, never synced.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from uuid import UUID

from service.annotation_exchange.records import (
    BoxRecord,
    CategoryRecord,
    LeftOutRecord,
    PictureRecord,
    Record,
    Unreadable,
    UnreadableRecord,
    told,
)
from service.annotation_layout import MAX_ANNOTATIONS
from service.errors import InvalidInput

_TABLES: Final = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA locking_mode = EXCLUSIVE;
CREATE TABLE categories (key TEXT PRIMARY KEY, label TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE pictures (
    number INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, names TEXT NOT NULL, place TEXT NOT NULL,
    width REAL NOT NULL, height REAL NOT NULL, media_id TEXT, sha256 TEXT,
    boxes INTEGER DEFAULT 0, media BLOB, is_spoilt INTEGER DEFAULT 0
);
CREATE TABLE boxes (
    picture TEXT NOT NULL, category TEXT NOT NULL, x REAL, y REAL, width REAL, height REAL,
    confidence REAL NOT NULL, text TEXT, place TEXT NOT NULL
);
CREATE TABLE problems (at INTEGER NOT NULL, picture TEXT, place TEXT NOT NULL, message TEXT NOT NULL);
"""
# Pictures, boxes and problems have the number of their record in the file.
_INSERT: Final = {
    CategoryRecord: "INSERT INTO categories VALUES (?, ?) ON CONFLICT DO NOTHING",
    PictureRecord: "INSERT INTO pictures (number, key, names, place, width, height, media_id, sha256) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    BoxRecord: "INSERT INTO boxes (rowid, picture, category, x, y, width, height, confidence, text, place) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    UnreadableRecord: "INSERT INTO problems VALUES (?, ?, ?, ?)",
}
_BATCH: Final = 500


@dataclass(frozen=True, slots=True)
class SpooledPicture:
    """A picture with what was found out of it since. `media`: which one it is, once that is known."""

    number: int
    record: PictureRecord
    boxes: int
    media: UUID | None


@dataclass(frozen=True, slots=True)
class LabelledBox:
    record: BoxRecord
    label: str


def _tell_nobody(_taken: int) -> None:
    return


class Spool:
    def __init__(self, connection: sqlite3.Connection) -> None:
        connection.executescript(_TABLES)
        self._connection = connection
        self.left_out = 0

    def fill(self, records: Iterable[Record], *, on_batch: Callable[[int], None] = _tell_nobody) -> None:
        """Take in all records of a file, then see which do not belong together. `on_batch` is told how many so far.

        Raises InvalidInput where two pictures or two categories go by the same name: nobody knows which is meant.
        """
        batch: list[Record] = []
        taken = 0
        self._connection.execute("BEGIN")
        for record in records:
            if isinstance(record, LeftOutRecord):
                self.left_out += 1
                continue
            batch.append(record)
            if len(batch) == _BATCH:
                self._insert(batch, taken)
                taken += len(batch)
                on_batch(taken)
                batch.clear()
        self._insert(batch, taken)
        self._settle()

    def _insert(self, batch: Sequence[Record], taken: int) -> None:
        for kind, statement in _INSERT.items():
            rows = [_row(at, record) for at, record in enumerate(batch, taken + 1) if isinstance(record, kind)]
            try:
                self._connection.executemany(statement, rows)
            except sqlite3.IntegrityError:
                raise InvalidInput(f"{self._twice(rows)} Nothing was written.") from None
        self._check_categories([record for record in batch if isinstance(record, CategoryRecord)])

    def _twice(self, rows: Sequence[Sequence[object]]) -> str:
        seen: set[object] = set()
        for row in rows:
            known = self._connection.execute("SELECT place FROM pictures WHERE key = ?", (row[1],)).fetchone()
            if row[1] in seen or (known is not None and known[0] != row[3]):
                break
            seen.add(row[1])
        return f"{row[3]}: another picture has the id {told(str(row[1]))} already."

    def _check_categories(self, categories: Sequence[CategoryRecord]) -> None:
        for each in categories:
            [label] = self._connection.execute("SELECT label FROM categories WHERE key = ?", (each.key,)).fetchone()
            if label != each.label:
                raise InvalidInput(
                    f"{each.place}: the category {told(each.key)} is {told(label)} already. Nothing was written."
                )

    def _settle(self) -> None:
        self._connection.commit()
        self._connection.executescript("""
            CREATE INDEX boxes_of ON boxes (picture);
            CREATE INDEX problems_of ON problems (picture);
            INSERT INTO problems SELECT rowid, picture, place, 'there is no picture ' || substr(picture, 1, 60)
                FROM boxes WHERE picture NOT IN (SELECT key FROM pictures)
                AND picture NOT IN (SELECT picture FROM problems WHERE picture IS NOT NULL);
            INSERT INTO problems SELECT rowid, picture, place, 'there is no category ' || substr(category, 1, 60)
                FROM boxes WHERE category NOT IN (SELECT key FROM categories);
            UPDATE pictures SET boxes = (SELECT count(*) FROM boxes WHERE picture = key);
        """)
        # Here and not once they have been built: one picture may have all the boxes of a file.
        self._connection.execute(
            "INSERT INTO problems SELECT number, key, place, ? || boxes FROM pictures WHERE boxes > ?",
            (f"a media holds up to {MAX_ANNOTATIONS:,} annotations, and this picture has ", MAX_ANNOTATIONS),
        )
        self._connection.execute("UPDATE pictures SET is_spoilt = 1 WHERE key IN (SELECT picture FROM problems)")

    def counts(self) -> tuple[int, int, int]:
        """How many pictures there are, how many of them are not taken for what is wrong in them, and all boxes."""
        [pictures, spoilt] = self._connection.execute(
            "SELECT count(*), coalesce(sum(is_spoilt), 0) FROM pictures"
        ).fetchone()
        [boxes] = self._connection.execute("SELECT count(*) FROM boxes").fetchone()
        return pictures, spoilt, boxes

    def note(self, problems: Iterable[tuple[int, Unreadable]]) -> None:
        """Write down what was found to be wrong with pictures, given by their numbers, once the file had been read."""
        self._connection.executemany(
            """INSERT INTO problems SELECT
                coalesce((SELECT min(rowid) FROM boxes WHERE picture = key AND place = ?1), number), key, ?1, ?2
                FROM pictures WHERE number = ?3""",
            [(problem.place, problem.message, number) for number, problem in problems],
        )

    def problems(self, limit: int) -> list[str]:
        """The first of what is wrong, with its place, in the order of the file."""
        rows = self._connection.execute("SELECT place, message FROM problems ORDER BY at, rowid LIMIT ?", (limit,))
        return [f"{place}: {message}" for place, message in rows]

    def stray_count(self) -> int:
        """How many records make no sense and are of no picture that there is."""
        [count] = self._connection.execute("""SELECT count(*) FROM problems
            WHERE picture IS NULL OR picture NOT IN (SELECT key FROM pictures)""").fetchone()
        return int(count)

    def pages(self, size: int) -> Iterator[list[SpooledPicture]]:
        """All pictures that nothing is wrong with, `size` at a time."""
        last = 0
        while rows := self._connection.execute(
            "SELECT * FROM pictures WHERE number > ? AND NOT is_spoilt ORDER BY number LIMIT ?", (last, size)
        ).fetchall():
            yield [_picture(row) for row in rows]
            last = rows[-1][0]

    def settle_media(self, found: Iterable[tuple[int, UUID]]) -> None:
        """Write down which media pictures, given by their numbers, are."""
        rows = [(media.bytes, number) for number, media in found]
        self._connection.executemany("UPDATE pictures SET media = ? WHERE number = ?", rows)

    def same_media(self) -> list[tuple[int, str, str]]:
        """Pictures that are the same media as another: number, place, that media's id. They are not taken any more."""
        self._connection.execute("CREATE INDEX pictures_of ON pictures (media)")
        self._connection.execute("""UPDATE pictures SET is_spoilt = 1 WHERE media IN
            (SELECT media FROM pictures WHERE media IS NOT NULL GROUP BY media HAVING count(*) > 1)""")
        rows = self._connection.execute(
            "SELECT number, place, media FROM pictures WHERE is_spoilt AND media IS NOT NULL ORDER BY number"
        )
        return [(number, place, str(UUID(bytes=media))) for number, place, media in rows]

    def boxes_of(self, picture: PictureRecord) -> Iterator[LabelledBox]:
        """All that is said of a picture, in the order of the file."""
        rows = self._connection.execute(
            "SELECT boxes.*, label FROM boxes JOIN categories ON key = category WHERE picture = ? ORDER BY boxes.rowid",
            (picture.key,),
        )
        return map(_box, rows)


def _row(at: int, record: Record) -> tuple[object, ...]:
    match record:
        case CategoryRecord():
            return (record.key, record.label)
        case PictureRecord():
            names = json.dumps(record.names)
            size = (record.width, record.height)
            return (at, record.key, names, record.place, *size, record.media_id, record.sha256)
        case BoxRecord():
            box = (None, None, None, None) if record.box is None else record.box
            return (at, record.picture, record.category, *box, record.confidence, record.text, record.place)
        case UnreadableRecord():
            return (at, record.picture, record.place, record.message)
        case LeftOutRecord():
            return ()


def _picture(row: tuple[object, ...]) -> SpooledPicture:
    number, key, names, place, width, height, media_id, sha256, boxes, media, _ = row
    record = PictureRecord(key, tuple(json.loads(names)), place, width, height, media_id, sha256)  # type: ignore[arg-type]
    return SpooledPicture(number, record, boxes, None if media is None else UUID(bytes=media))  # type: ignore[arg-type]


def _box(row: tuple[object, ...]) -> LabelledBox:
    picture, category, x, y, width, height, confidence, text, place, label = row
    box = None if x is None else (x, y, width, height)
    return LabelledBox(BoxRecord(picture, category, box, confidence, place, text), label)  # type: ignore[arg-type]


@contextmanager
def open_spool(folder: Path | None = None) -> Iterator[Spool]:
    """A spool within `folder` (TMPDIR without one) for as long as the block lasts; about as large as the file read."""
    with TemporaryDirectory(prefix="annotations-", dir=folder) as scratch:
        path = Path(scratch) / "spool.sqlite"
        # Used by one thread at a time: one reads the file, another goes on with what it says.
        connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    # Its name is gone by now: whatever ends this process, nothing is left behind.
    try:
        yield Spool(connection)
    finally:
        connection.close()
