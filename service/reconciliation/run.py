"""One run, step after step, each by pages; a run that was killed goes on after the last page it had finished."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from service.multipart import PendingMultipart
from service.object_store import ObjectStore
from service.reconciliation.contents import examine_contents
from service.reconciliation.context import Context
from service.reconciliation.findings import Finding, Tally
from service.reconciliation.media import MEDIA_FIELDS, STATUSES, examine_media
from service.reconciliation.multiparts import examine_multiparts
from service.reconciliation.objects import examine_originals, examine_renditions
from service.stores import Stores
from service.stores.database import Database
from service.stores.reconciliations import ReconciliationDocument, ReconciliationStore
from service.stores.scans import ScanStore

MEDIA_PAGE = 50
CONTENT_PAGE = 200
MULTIPART_PAGE = 1_000

# What a run had dealt with before this may well differ again: it is no longer gone on with.
MAX_RUN_AGE = timedelta(hours=24)

# What a step yields with each page: how many were examined, the findings, and where to go on after a kill.
Page = tuple[int, AsyncIterator[Finding], str | None]
Step = Callable[[Context, str | None], AsyncIterator[Page]]
OnFinding = Callable[[Finding], None]


@dataclass(frozen=True, slots=True)
class Interruption:
    """An earlier run that did not come to its end. `goes_on`: now it does; else it is too old, and all begins anew."""

    begun_at: datetime
    goes_on: bool


OnInterruption = Callable[[Interruption], None]


@dataclass(frozen=True, slots=True)
class RunOptions:
    """`older_than`: what was written or changed since is left alone. `buckets`: only these; empty for everything.

    `restart`: forget how far an interrupted run had come.
    """

    apply: bool = False
    older_than: timedelta = timedelta(hours=24)
    buckets: frozenset[str] = field(default_factory=frozenset)
    restart: bool = False

    def run_id(self) -> str:
        """Runs that do different work do not go on for one another."""
        scope = ",".join(sorted(self.buckets)) or "everything"
        return f"{'apply' if self.apply else 'check'}:{scope}"


async def reconcile(
    options: RunOptions,
    *,
    database: Database,
    stores: Stores,
    object_store: ObjectStore,
    on_finding: OnFinding,
    on_interruption: OnInterruption,
) -> Tally:
    """Compare, repair if told to, and tell each finding; the tally of the whole run, interruptions included.

    Tells first if an earlier run was interrupted, and whether this one goes on with it. Raises TemporarilyUnavailable
    when storage or the database is away: the same call then goes on where it stopped.
    """
    runs, scans = ReconciliationStore(database), ScanStore(database)
    run_id = options.run_id()
    if options.restart:
        await runs.end(run_id)
    # Anew for a run that goes on: what was at rest when it began may be in motion now.
    now = await stores.media.server_time()
    run = await _begin(run_id, now, runs, on_interruption)
    tally = Tally.restored(run["counts"])
    context = Context(stores, scans, object_store, now, now - options.older_than, options.apply)
    for number, (name, step) in enumerate(_steps(options, object_store)):
        if number < run["step"]:
            continue
        after = run["after"] if number == run["step"] else None
        async for examined, findings, reached in step(context, after):
            await _take(findings, tally, on_finding)
            tally.examined(name, examined)
            if reached is not None:
                await runs.advance(run_id, step=number, after=reached, counts=tally.counts)
        await runs.advance(run_id, step=number + 1, after=None, counts=tally.counts)
    await runs.end(run_id)
    return tally


async def _begin(
    run_id: str, now: datetime, runs: ReconciliationStore, on_interruption: OnInterruption
) -> ReconciliationDocument:
    run = await runs.begin(run_id)
    goes_on = now - run["started_at"] <= MAX_RUN_AGE
    if run["step"] or run["after"] is not None:
        on_interruption(Interruption(run["started_at"], goes_on))
    if goes_on:
        return run
    await runs.end(run_id)
    return await runs.begin(run_id)


async def _take(findings: AsyncIterator[Finding], tally: Tally, on_finding: OnFinding) -> None:
    async for finding in findings:
        tally.add([finding])
        on_finding(finding)


def _steps(options: RunOptions, object_store: ObjectStore) -> list[tuple[str, Step]]:
    """Documents first: they let go of objects that are then found to be needed by nobody, in the same run."""
    steps: list[tuple[str, Step]] = [] if options.buckets else [("media", _media), ("contents", _contents)]
    if not options.buckets or object_store.upload_bucket in options.buckets:
        steps += [("originals", _originals), ("multipart_uploads", _multiparts)]
    if not options.buckets or object_store.media_bucket in options.buckets:
        steps += [("renditions", _renditions)]
    return steps


async def _media(context: Context, after: str | None) -> AsyncIterator[Page]:
    last = UUID(after) if after else None
    while page := await context.scans.media_page(last, limit=MEDIA_PAGE, fields=MEDIA_FIELDS, statuses=STATUSES):
        last = page[-1]["_id"]
        yield len(page), examine_media(page, context), str(last)


async def _contents(context: Context, after: str | None) -> AsyncIterator[Page]:
    while page := await context.scans.content_page(after, limit=CONTENT_PAGE):
        after = page[-1]["_id"]
        yield len(page), examine_contents(page, context), after


async def _originals(context: Context, after: str | None) -> AsyncIterator[Page]:
    async for page in context.object_store.list_pages(context.object_store.upload_bucket, after=after or ""):
        yield len(page), examine_originals(page, context), page[-1].key if page else None


async def _renditions(context: Context, after: str | None) -> AsyncIterator[Page]:
    async for page in context.object_store.list_pages(context.object_store.media_bucket, after=after or ""):
        yield len(page), examine_renditions(page, context), page[-1].key if page else None


async def _multiparts(context: Context, _after: str | None) -> AsyncIterator[Page]:
    # Few at any time: an interrupted look begins anew.
    page: list[PendingMultipart] = []
    async for pending in context.object_store.multipart.list_pending():
        page.append(pending)
        if len(page) == MULTIPART_PAGE:
            yield len(page), examine_multiparts(page, context), None
            page = []
    yield len(page), examine_multiparts(page, context), None
