"""One run over all media that are to be migrated, by pages; a run that was killed goes on where it was."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import UUID

from service.errors import ConfigurationError
from service.migrations.steps import LATEST, READS, downgraded, read_of, rechecked, unversioned, upgraded, version_of
from service.stores.migrations import MigrationStore, Span, Write

LEASE_S: Final = 30.0
ASK_AGAIN_S: Final = 1.0
# A page takes no longer than this by its rate, so that the lease is renewed in time.
_PAGE_S: Final = 5.0
# What others write at the same moment is looked at again: soon, but not at once.
PAUSE_S: Final = 0.2
# Where something is still found after so many passes, it goes on being written, and a migration would never end.
_MOST_PASSES: Final = 20

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
    """`migrated` and `refused` documents so far, interruptions included, and the last one looked at.

    `missed` ones were written by others at that moment: they are looked at once more. `is_settled`: the last look
    found nothing that was still to be done.
    """

    migrated: int = 0
    refused: int = 0
    missed: int = 0
    after: UUID | None = None
    is_settled: bool = True


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
    again. Where media go on being written in another version it ends all the same, not settled. Waits while another
    run holds the lease, which is `name`'s then. Raises ConfigurationError where the index of pending media is missing,
    and Superseded. Refused documents are left as they are, and counted.
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
        await asyncio.sleep(ASK_AGAIN_S)


class _Run:
    def __init__(self, options: MigrationOptions, name: str, store: MigrationStore, observer: Observer) -> None:
        self._options, self._name, self._store, self._observer = options, name, store, observer
        self._progress = Progress()
        # Documents of this pass that were to be written.
        self._found = 0
        self._limit = max(1, min(options.batch, int(options.rate * _PAGE_S)))

    async def to_the_end(self) -> Progress:
        run_id = self._options.run_id()
        kept = await self._store.begin(run_id)
        self._progress = Progress(kept["migrated"], kept["refused"], kept["missed"], kept["after"])
        for _ in range(_MOST_PASSES):
            since, until = self._progress.after, await self._store.newest()
            await self._pass(until)
            again = self._next(since, until)
            if again is None:
                break
            self._progress = again
            await asyncio.sleep(PAUSE_S)
        else:
            self._progress = replace(self._progress, is_settled=False)
        if not self._options.down and not self._options.recheck:
            await self._refuse_unversioned()
        await self._store.end(run_id)
        return self._progress

    def _next(self, since: UUID | None, until: UUID | None) -> Progress | None:
        """Where another pass is to begin, given what the last one looked at and found; None if nothing is left."""
        from_the_start = replace(self._progress, refused=0, missed=0, after=None)
        if self._progress.missed:
            return from_the_start
        if self._options.recheck:
            # Nothing that was looked at can lack anything again, unless a process of the earlier release writes it.
            return None
        if self._options.down:
            # What processes of this release have written since, which is all newer.
            return replace(self._progress, after=until) if self._found else None
        # A process of the earlier release may have written behind this one. Once all are migrated, the look is free.
        return from_the_start if self._found or since is not None else None

    async def _pass(self, until: UUID | None) -> None:
        """Look at all that are to be, from where the progress is to `until`, the newest one at this moment."""
        self._found = 0
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            if await self._store.hold(self._name, lease_s=LEASE_S) is not None:
                raise Superseded
            documents = await self._page(Span(self._progress.after, until))
            if not documents:
                return
            await self._migrate(documents)
            self._observer.on_page(self._progress)
            await asyncio.sleep(max(0.0, len(documents) / self._options.rate - (loop.time() - began)))

    def _page(self, span: Span) -> Awaitable[list[dict[str, Any]]]:
        if self._options.down or self._options.recheck:
            return self._store.page(span, limit=self._limit, fields=READS)
        return self._store.page_below(self._options.to, span, limit=self._limit, fields=READS)

    async def _refuse_unversioned(self) -> None:
        """Name those that are of no version: they lie in no range of versions, and every other look passes them."""
        for document in await self._store.unversioned(limit=self._limit):
            self._observer.on_refusal(Refusal(document["_id"], unversioned(document.get("schema_version"))))
            self._progress = replace(self._progress, refused=self._progress.refused + 1)

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
        self._found += len(writes)
        self._progress = Progress(
            self._progress.migrated + written,
            self._progress.refused + refused,
            self._progress.missed + len(writes) - written,
            documents[-1]["_id"],
        )
        await self._store.advance(
            self._options.run_id(),
            after=self._progress.after,
            migrated=self._progress.migrated,
            refused=self._progress.refused,
            missed=self._progress.missed,
        )

    def _write(self, document: Mapping[str, Any]) -> Write | None:
        options, version = self._options, version_of(document)
        if options.down:
            edit, to = downgraded(document, options.to), min(version, options.to)
        elif options.recheck:
            edit, to = rechecked(document, options.to), max(version, options.to)
        else:
            edit, to = upgraded(document, options.to), options.to
        if to == version and not edit.alters(document):
            return None
        return Write(document["_id"], version, to, READS, read_of(document), edit.values, edit.removed)
