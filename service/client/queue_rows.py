"""The rows of an upload queue: one SQLite file, where every step is on disk before the next one begins."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from pydantic import BaseModel, ConfigDict

from service.client.answers import FileDetails
from service.client.errors import ClientError
from service.client.local_file import LocalFile

VERSION = 2
# How long to wait for another process that is writing.
BUSY_TIMEOUT_S = 30
# SENT: confirmed, and kept for whoever wants to know what became of it.
QUEUED, FAILED, SENT = "QUEUED", "FAILED", "SENT"

_TABLE = """CREATE TABLE IF NOT EXISTS entries (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  path BLOB NOT NULL,
  wish TEXT NOT NULL,
  idempotency_key TEXT NOT NULL UNIQUE,
  state TEXT NOT NULL DEFAULT 'QUEUED',
  byte_size INTEGER, sha256 TEXT, content_type TEXT, modified_ns INTEGER,
  upload_id TEXT,
  failures INTEGER NOT NULL DEFAULT 0,
  restarts INTEGER NOT NULL DEFAULT 0,
  not_before REAL NOT NULL DEFAULT 0,
  leased_by TEXT,
  leased_until REAL NOT NULL DEFAULT 0,
  error_code TEXT, error_message TEXT,
  media_id TEXT,
  UNIQUE (path, wish)
) STRICT"""


class Wish(BaseModel):
    """What a file is to become. Two wishes for one file are two entries; the same wish twice is one."""

    model_config = ConfigDict(frozen=True)

    purpose: str
    visibility: str | None
    capture_id: str | None = None
    details: FileDetails
    titles_from_names: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """One file to upload. `file`: as it was when its session was asked for; None before that."""

    id: int
    path: Path
    wish: Wish
    idempotency_key: str
    state: str
    file: LocalFile | None
    upload_id: str | None
    failures: int
    restarts: int
    is_leased: bool
    error_code: str | None
    error_message: str | None
    media_id: str | None


class QueueRows:
    """Blocking calls on one connection; any number of processes may have one. Times are this machine's clock."""

    def __init__(self, path: Path) -> None:
        """Opens or makes the file. Raises sqlite3.Error where that cannot be done."""
        self._database = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        self._database.row_factory = sqlite3.Row
        self._database.execute("PRAGMA journal_mode = WAL")
        # A key must outlast the power, or what was begun under it would be begun again.
        self._database.execute("PRAGMA synchronous = FULL")
        try:
            with self._database:
                self._database.execute("BEGIN IMMEDIATE")
                self._prepare()
        except sqlite3.Error:
            self._database.close()
            raise

    def _prepare(self) -> None:
        [version] = self._database.execute("PRAGMA user_version").fetchone()
        if version not in {0, 1, VERSION}:
            raise sqlite3.DatabaseError(f"this queue was written by another version of the client ({version})")
        self._database.execute(_TABLE)
        if version == 1:
            self._database.execute("ALTER TABLE entries ADD COLUMN media_id TEXT")
        self._database.execute(f"PRAGMA user_version = {VERSION}")

    def close(self) -> None:
        """Nothing is lost by not calling this."""
        self._database.close()

    def add(self, paths: Sequence[Path], wish: Wish) -> None:
        """Add each path, or put it back if it failed; what waits is left as it is, what was sent begins anew."""
        statement = (
            "INSERT INTO entries (path, wish, idempotency_key) VALUES (?, ?, ?) ON CONFLICT (path, wish) DO UPDATE "
            "SET state = 'QUEUED', failures = 0, not_before = 0, error_code = NULL, error_message = NULL, "
            "media_id = NULL, "
            "idempotency_key = iif(state = 'SENT', excluded.idempotency_key, idempotency_key), "
            "sha256 = iif(state = 'SENT', NULL, sha256), upload_id = iif(state = 'SENT', NULL, upload_id) "
            "WHERE state IN ('FAILED', 'SENT')"
        )
        said = wish.model_dump_json()
        with self._database:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.executemany(statement, [(os.fsencode(path), said, uuid4().hex) for path in paths])

    def entries(self) -> list[Entry]:
        """All of them, oldest first."""
        rows = self._database.execute("SELECT *, leased_until > ? AS is_leased FROM entries ORDER BY id", [time.time()])
        return [_entry(row) for row in rows]

    def claim(self, owner: str, lease_s: float) -> Entry | None:
        """The oldest entry that is due and nobody's, now `owner`'s; None if there is none."""
        now = time.time()
        found = self._database.execute(
            """UPDATE entries SET leased_by = :owner, leased_until = :until WHERE id = (
              SELECT id FROM entries WHERE state = 'QUEUED' AND not_before <= :now AND leased_until <= :now
              ORDER BY failures, id LIMIT 1
            ) RETURNING *, 1 AS is_leased""",
            {"owner": owner, "until": now + lease_s, "now": now},
        ).fetchall()
        return _entry(found[0]) if found else None

    def renew(self, owner: str, lease_s: float) -> set[int]:
        """Keep `owner`'s entries for `lease_s` more seconds; the ids of those that are still its own."""
        rows = self._database.execute(
            "UPDATE entries SET leased_until = ? WHERE leased_by = ? RETURNING id", [time.time() + lease_s, owner]
        ).fetchall()
        return {row["id"] for row in rows}

    def due_in(self, owner: str) -> float | None:
        """Seconds until an entry that is not `owner`'s may be claimed, at most; None if there is none."""
        [due] = self._database.execute(
            "SELECT MIN(MAX(not_before, leased_until)) FROM entries WHERE state = 'QUEUED' AND leased_by IS NOT ?",
            [owner],
        ).fetchone()
        return None if due is None else max(0.0, due - time.time())

    def note_file(self, entry_id: int, file: LocalFile) -> None:
        """What the file is, before a session is asked for."""
        self._database.execute(
            "UPDATE entries SET byte_size = ?, sha256 = ?, content_type = ?, modified_ns = ? WHERE id = ?",
            [file.byte_size, file.sha256, file.content_type, file.modified_ns, entry_id],
        )

    def note_session(self, entry_id: int, upload_id: str) -> None:
        """The session that its key has opened."""
        self._database.execute("UPDATE entries SET upload_id = ? WHERE id = ?", [upload_id, entry_id])

    def remove(self, entry_id: int, owner: str) -> None:
        """It is done."""
        self._database.execute("DELETE FROM entries WHERE id = ? AND leased_by = ?", [entry_id, owner])

    def keep_sent(self, entry_id: int, owner: str, media_id: str | None) -> None:
        """It is done, as `media_id`; somebody wants to know what becomes of that."""
        self._database.execute(
            """UPDATE entries SET state = 'SENT', media_id = ?, leased_by = NULL, leased_until = 0
            WHERE id = ? AND leased_by = ?""",
            [media_id, entry_id, owner],
        )

    def postpone(self, entry_id: int, owner: str, pause_s: float) -> None:
        """It could not be done just now."""
        self._database.execute(
            """UPDATE entries SET failures = failures + 1, not_before = ?, leased_by = NULL, leased_until = 0
            WHERE id = ? AND leased_by = ?""",
            [time.time() + pause_s, entry_id, owner],
        )

    def release(self, owner: str) -> None:
        """Leave all that `owner` has to whoever comes next."""
        self._database.execute("UPDATE entries SET leased_by = NULL, leased_until = 0 WHERE leased_by = ?", [owner])

    def begin_anew(self, entry_id: int, owner: str) -> None:
        """Its session is over: another key, for another session."""
        self._database.execute(
            """UPDATE entries SET restarts = restarts + 1, idempotency_key = ?, upload_id = NULL,
            leased_by = NULL, leased_until = 0 WHERE id = ? AND leased_by = ?""",
            [uuid4().hex, entry_id, owner],
        )

    def fail(self, entry_id: int, owner: str, error: ClientError) -> None:
        """It cannot be done as it is."""
        self._database.execute(
            """UPDATE entries SET state = 'FAILED', error_code = ?, error_message = ?,
            leased_by = NULL, leased_until = 0 WHERE id = ? AND leased_by = ?""",
            [error.code, error.message, entry_id, owner],
        )

    def renew_request(self, entry_id: int, owner: str) -> None:
        """Another try, if there is one, will be a new request for the file as it will be then."""
        self._database.execute(
            """UPDATE entries SET restarts = 0, idempotency_key = ?, upload_id = NULL,
            byte_size = NULL, sha256 = NULL, content_type = NULL, modified_ns = NULL WHERE id = ? AND leased_by = ?""",
            [uuid4().hex, entry_id, owner],
        )

    def retry(self, entry_ids: Sequence[int] | None) -> int:
        """Put failed entries back, all of them if None; how many that were."""
        return self._database.execute(
            """UPDATE entries SET state = 'QUEUED', failures = 0, not_before = 0, error_code = NULL,
            error_message = NULL
            WHERE state = 'FAILED' AND (:ids IS NULL OR id IN (SELECT value FROM json_each(:ids)))""",
            {"ids": None if entry_ids is None else json.dumps(list(entry_ids))},
        ).rowcount

    def forget(self, entry_ids: Sequence[int]) -> int:
        """Remove entries that nobody is sending; how many that were."""
        return self._database.execute(
            "DELETE FROM entries WHERE leased_until <= ? AND id IN (SELECT value FROM json_each(?))",
            [time.time(), json.dumps(list(entry_ids))],
        ).rowcount


def _entry(row: sqlite3.Row) -> Entry:
    path = Path(os.fsdecode(row["path"]))
    file = None
    if row["sha256"] is not None:
        file = LocalFile(path, row["byte_size"], row["sha256"], row["content_type"], row["modified_ns"])
    return Entry(
        id=row["id"],
        path=path,
        wish=Wish.model_validate_json(row["wish"]),
        idempotency_key=row["idempotency_key"],
        state=row["state"],
        file=file,
        upload_id=row["upload_id"],
        failures=row["failures"],
        restarts=row["restarts"],
        is_leased=bool(row["is_leased"]),
        error_code=row["error_code"],
        error_message=row["error_message"],
        media_id=row["media_id"],
    )
