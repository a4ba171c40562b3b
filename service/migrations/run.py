"""One run over all media that are to be migrated, by pages; a run that was killed goes on where it was."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from service.errors import ConfigurationError
from service.migrations.migration import Edit
from service.migrations.steps import LATEST, READS, downgraded, read_of, rechecked, upgraded
from service.stores.migrations import MigrationStore, Write

LEASE_S: Final = 30.0
_ASK_AGAIN_S: Final = 1.0
# A page takes no longer than this by its rate, so that the lease is renewed in time.
_PAGE_S: Final = 5.0
# Documents that others write at the same moment are tried again: soon, but not at once.
_CONTENDED_PAUSE_S: Final = 0.2
# So many passes one after the other may find documents and write none.
_MOST_IN_VAIN: Final = 20

# What documents do to a migration that were never written by any release.
_MALFORMED: Final = (LookupError, TypeError, ValueError, AttributeError)


class Superseded(Exception):
    """The lease ran out and another run has it: this one has stopped, and nothing is lost."""


@dataclass(frozen=True, slots=True)
class MigrationOptions:
    """`to`: the version to end at. `down`: from later versions rather than from earlier ones.

    `recheck`: look at documents that say they are of that version as well, and write what they lack. `rate`: documents
    a second, at most; `batch`: so many are read and written together.
    """

    to: int = LATEST
    down: bool = False
    recheck: bool = False
    rate: float = 1_000
    batch: int = 500

    def run_id(self) -> str:
        """Runs that do different work do not go on for one another."""
        return f"{'down' if self.down else 'recheck' if self.recheck else 'up'}:{self.to}"


@dataclass(frozen=True, slots=True)
class Progress:
    """`migrated` and `refused` documents so far, interruptions included, and the last one looked at."""

    migrated: int = 0
    refused: int = 0
    after: UUID | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A document that no migration understands; it stays as it is."""

    media_id: UUID
    reason: str


@dataclass(frozen=True, slots=True)
class Observer:
    """Who is told of each page that is done, each document that is left, and of who holds the lease meanwhile."""

    on_page: Callable[[Progress], None]
    on_refusal: Callable[[Refusal], None]
    on_wait: Callable[[str], None]


async def migrate(options: MigrationOptions, *, name: str, store: MigrationStore, observer: Observer) -> Progress:
    """Bring every media to version `options.to`, while others read and write; the tally, interruptions included.

    Each document is written once, on condition that it still is what was read; one that was written meanwhile is read
    again. Waits while another run holds the lease, which is `name`'s then. Raises ConfigurationError where the index
    of pending media is missing, and Superseded. Refused documents are left as they are, and counted.
    """
    await _hold(name, store, observer)
    try:
        if not options.down and await store.count_below(options.to, limit=1) is None:
            raise ConfigurationError(
                "The index of media that are to be migrated is missing. Run `python -m service indexes --apply`, then "
                "this command again."
            )
        return await _Run(options, name, store, observer).to_the_end()
    finally:
        await store.let_go(name)


async def _hold(name: str, store: MigrationStore, observer: Observer) -> None:
    told: str | None = None
    while (holder := await store.hold(name, lease_s=LEASE_S)) is not None:
        if holder.name != told:
            told = holder.name
            observer.on_wait(told)
        await asyncio.sleep(_ASK_AGAIN_S)


class _Run:
    def __init__(self, options: MigrationOptions, name: str, store: MigrationStore, observer: Observer) -> None:
        self._options, self._name, self._store, self._observer = options, name, store, observer
        self._progress = Progress()
        # Of this pass: documents that were to be written, and those that were.
        self._found = self._written = 0
        self._limit = max(1, min(options.batch, int(options.rate * _PAGE_S)))

    async def to_the_end(self) -> Progress:
        run_id = self._options.run_id()
        kept = await self._store.begin(run_id)
        self._progress = Progress(kept["migrated"], kept["refused"], kept["after"])
        in_vain = 0
        # Documents that were written while they were looked at are left to another pass, as are those that a process
        # of the earlier release has written behind this one. None is left once a whole pass finds none.
        while not await self._is_complete(goes_on=self._progress.after is not None) and in_vain < _MOST_IN_VAIN:
            in_vain = 0 if self._written else in_vain + 1
            self._progress = Progress(self._progress.migrated, 0, None)
            await asyncio.sleep(_CONTENDED_PAUSE_S)
        await self._store.end(run_id)
        return Progress(self._progress.migrated, self._progress.refused + self._found - self._written)

    async def _is_complete(self, *, goes_on: bool) -> bool:
        self._found = self._written = 0
        await self._pass()
        if self._options.recheck:
            # Nothing that was looked at can lack anything again, unless a process of the earlier release writes it.
            return self._found == self._written
        return not self._found and not goes_on

    async def _pass(self) -> None:
        """Look at all that are to be, from where the progress is."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            if await self._store.hold(self._name, lease_s=LEASE_S) is not None:
                raise Superseded
            documents = await self._page()
            if not documents:
                return
            await self._migrate(documents)
            self._observer.on_page(self._progress)
            await asyncio.sleep(max(0.0, len(documents) / self._options.rate - (loop.time() - began)))

    def _page(self) -> Awaitable[list[dict[str, Any]]]:
        options, after = self._options, self._progress.after
        if options.down:
            return self._store.page_from(options.to + 1, after, limit=self._limit, fields=READS)
        if options.recheck:
            return self._store.page_from(0, after, limit=self._limit, fields=READS)
        return self._store.page_below(options.to, after, limit=self._limit, fields=READS)

    async def _migrate(self, documents: list[dict[str, Any]]) -> None:
        writes, refused = [], 0
        for document in documents:
            try:
                write = self._write(document)
            except _MALFORMED as error:
                refused += 1
                self._observer.on_refusal(Refusal(document["_id"], str(error) or repr(error)))
                continue
            if write is not None:
                writes.append(write)
        written = await self._store.write(writes)
        self._found, self._written = self._found + len(writes), self._written + written
        self._progress = Progress(
            self._progress.migrated + written, self._progress.refused + refused, documents[-1]["_id"]
        )
        await self._store.advance(
            self._options.run_id(),
            after=self._progress.after,
            migrated=self._progress.migrated,
            refused=self._progress.refused,
        )

    def _write(self, document: Mapping[str, Any]) -> Write | None:
        options, version = self._options, document["schema_version"]
        if options.down:
            edit, to = downgraded(document, options.to), options.to
        elif options.recheck:
            edit, to = rechecked(document, options.to), max(version, options.to)
        else:
            edit, to = upgraded(document, options.to), options.to
        if to == version and not edit.alters(document):
            return None
        return _guarded(document, version, to, edit)


def _guarded(document: Mapping[str, Any], version: int, to: int, edit: Edit) -> Write:
    return Write(document["_id"], version, to, READS, read_of(document), edit.values, edit.removed)
