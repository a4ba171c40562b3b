"""The worker process: opens what jobs need, and runs worker, sweeper, event consumer and operator port side by side."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import structlog
import uvicorn
from starlette.applications import Starlette

from service.annotation_jobs import enqueue_annotators, run_annotator
from service.annotators import Annotators
from service.annotators.registry import open_annotators
from service.base_pictures import BasePictures
from service.blocked_deletions import remove_unless_kept
from service.cancellation import end
from service.capacity import children_at_once
from service.deletion_verification import verify_deletion
from service.edge_inspection import open_edge_inspection
from service.errors import ConfigurationError, ProcessingFailed
from service.event_consumer import EventConsumer
from service.event_intake import handle_notification
from service.hinted_jobs import HintedJobs
from service.invalidation.cloudfront import open_cloudfront
from service.invalidation.dispatch import InvalidationDispatch
from service.job_source import JobSource, PolledJobs
from service.media_processing import fail_media, process_media
from service.message_queue import MessageQueue
from service.models import Job, JobKind
from service.processing.jail import Jail, places_for_clips
from service.processing.process_control import deny_inspection
from service.rendering import leave_as_it_is, render_media
from service.rendition_retirement import retire_renditions
from service.runtime import Runtime, open_runtime
from service.scanner import open_scanner
from service.settings import Settings, WorkerSettings
from service.stores.distributions import DistributionStore
from service.stores.invalidation_batches import InvalidationBatchStore
from service.telemetry import Metrics
from service.transport.operator_routes import operator_routes
from service.upkeep import sweep_forever
from service.webhooks.dispatch import WebhookDispatch
from service.worker import Handler, Worker

log = structlog.get_logger(__name__)


def concurrency_of(settings: WorkerSettings) -> int:
    """Jobs of every lane at once: what the settings say, or as many as this machine can take."""
    return settings.concurrency or children_at_once(settings.jail_memory_bytes)


def build_jail(settings: WorkerSettings) -> Jail:
    """The jail of the settings; not started yet."""
    return Jail(
        memory_bytes=settings.jail_memory_bytes,
        cpu_s=settings.jail_cpu_s,
        clip_cpu_s=settings.jail_clip_cpu_s,
        concurrency=concurrency_of(settings),
    )


def build_worker(runtime: Runtime, jail: Jail, annotators: Annotators | None = None) -> Worker:
    """A worker for every kind of job, with these annotators (None: it has none)."""
    settings, stores = runtime.settings.worker, runtime.stores
    name = f"{socket.gethostname()}:{os.getpid()}"
    return Worker(
        settings,
        source=_source(runtime, name),
        jobs=stores.jobs,
        handlers=_handlers(runtime, jail, annotators or {}),
        end=partial(_end, runtime),
        metrics=runtime.metrics,
        concurrency=concurrency_of(settings),
        clips_at_once=places_for_clips(concurrency_of(settings)),
    )


def _source(runtime: Runtime, worker: str) -> JobSource:
    settings, stores = runtime.settings, runtime.stores
    if runtime.hints is None:
        return PolledJobs(settings.worker, jobs=stores.jobs, database=runtime.database, worker=worker)
    return HintedJobs(
        settings.jobs,
        settings.worker,
        hints=runtime.hints,
        jobs=stores.jobs,
        inspection=stores.job_inspection,
        worker=worker,
    )


def _handlers(runtime: Runtime, jail: Jail, annotators: Annotators) -> dict[JobKind, Handler]:
    stores, object_store, metrics = runtime.stores, runtime.object_store, runtime.metrics
    settings = runtime.settings
    scanner, bases = open_scanner(settings.scanner), BasePictures(settings.worker.base_cache_bytes)

    async def process(job: Job) -> None:
        viewable = await process_media(
            job, stores=stores, object_store=object_store, jail=jail, scanner=scanner, bases=bases
        )
        if viewable is not None:
            metrics.observe_first_viewable(viewable.purpose, viewable.seconds)
            await enqueue_annotators(job.media_id, stores=stores, annotators=annotators)

    async def render(job: Job) -> None:
        await render_media(job, stores=stores, object_store=object_store, jail=jail, bases=bases)
        # Again: for another focus, and where a death came between READY and its annotators.
        await enqueue_annotators(job.media_id, stores=stores, annotators=annotators, lane=job.lane)

    return {
        JobKind.PROCESS: process,
        JobKind.RENDER: render,
        JobKind.ANNOTATE: partial(
            run_annotator, stores=stores, object_store=object_store, jail=jail, annotators=annotators
        ),
        JobKind.RETIRE: partial(retire_renditions, stores=stores, object_store=object_store),
        JobKind.DELETE: partial(remove_unless_kept, stores=stores, object_store=object_store),
        JobKind.VERIFY: partial(
            verify_deletion,
            stores=stores,
            object_store=object_store,
            edges=open_edge_inspection(settings, object_store),
            count=metrics.count_deletion_check,
        ),
    }


async def _end(runtime: Runtime, job: Job, failure: ProcessingFailed) -> None:
    """A job has failed for good: say so where its media's owner, or the sweeper, will look."""
    if job.kind is JobKind.PROCESS:
        await fail_media(job, failure, stores=runtime.stores, object_store=runtime.object_store)
    elif job.kind is JobKind.RENDER:
        await leave_as_it_is(job, stores=runtime.stores)


@asynccontextmanager
async def open_consumer(runtime: Runtime) -> AsyncIterator[EventConsumer | None]:
    """A consumer of the settings' queue; None where they name none."""
    settings = runtime.settings
    if settings.events.queue_url is None:
        yield None
        return
    handle = partial(
        handle_notification,
        stores=runtime.stores,
        object_store=runtime.object_store,
        count=runtime.metrics.count_storage_event,
    )
    queue = MessageQueue(settings.events.queue_url, settings.events, settings.storage)
    try:
        yield EventConsumer(
            settings.events, queue=queue, handle=handle, metrics=runtime.metrics, drain_s=settings.worker.drain_s
        )
    finally:
        await queue.close()


def open_dispatch(runtime: Runtime) -> InvalidationDispatch | None:
    """What carries invalidations on, with CloudFront not contacted yet; None where there is no CDN to tell."""
    settings, stores = runtime.settings, runtime.stores
    cloudfront = open_cloudfront(settings.cdn, settings.storage)
    if cloudfront is None or stores.invalidations is None:
        return None
    return InvalidationDispatch(
        cloudfront,
        invalidations=stores.invalidations,
        batches=InvalidationBatchStore(runtime.database),
        deletions=stores.deletions,
        distributions=DistributionStore(runtime.database),
        jobs=stores.job_inspection,
        metrics=runtime.metrics,
        poll_s=settings.cdn.poll_s,
    )


def _open_webhooks(runtime: Runtime) -> WebhookDispatch:
    holder = f"{socket.gethostname()}:{os.getpid()}"
    webhooks, metrics = runtime.stores.webhooks, runtime.metrics
    return WebhookDispatch(runtime.settings, webhooks=webhooks, metrics=metrics, holder=holder)


async def dispatch_forever(dispatch: InvalidationDispatch, *, poll_s: float) -> None:
    """Carry invalidations on every `poll_s` seconds until cancelled; an outage costs rounds, and no request."""
    while True:
        try:
            await dispatch.advance()
        except Exception:
            log.exception("invalidations interrupted; the next round goes on")
        await asyncio.sleep(poll_s)


@asynccontextmanager
async def _operator_port(runtime: Runtime) -> AsyncIterator[None]:
    port = runtime.settings.worker.metrics_port
    if port is None:
        yield
        return
    app = Starlette(routes=operator_routes())
    app.state.runtime = runtime
    config = uvicorn.Config(app, host=runtime.settings.http.host, port=port, log_config=None, access_log=False)
    server = uvicorn.Server(config)
    # Without `serve`'s signal handlers: the worker decides when this process ends.
    serving = asyncio.create_task(server._serve())
    try:
        yield
    finally:
        server.should_exit = True
        await serving


def _on_stop_signals(*stops: Callable[[], None]) -> None:
    def stop() -> None:
        for each in stops:
            each()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)


async def run_worker(settings: Settings) -> None:
    """Work until SIGTERM or SIGINT; jobs that outlast the drain time are given back, and so are messages."""
    # Its secrets are in its environment and memory, and it starts programs that hostile files are shown to.
    deny_inspection()
    async with (
        open_runtime(settings, Metrics()) as runtime,
        build_jail(settings.worker) as jail,
        open_consumer(runtime) as consumer,
    ):
        await runtime.database.require_replica_set()
        await runtime.stores.jobs.give_places()
        annotators = await open_annotators(settings.annotators, stores=runtime.stores)
        running: list[Worker | EventConsumer] = [build_worker(runtime, jail, annotators)]
        if consumer is not None:
            running.append(consumer)
        _on_stop_signals(*(each.stop for each in running))
        background = [asyncio.create_task(sweep_forever(runtime))]
        dispatch = open_dispatch(runtime)
        if dispatch is not None:
            background.append(asyncio.create_task(dispatch_forever(dispatch, poll_s=settings.cdn.poll_s)))
        if settings.webhooks.notes_events:
            background.append(asyncio.create_task(_open_webhooks(runtime).run()))
        try:
            # Not before: a worker that could not start, and ends, must not have said that it is there.
            async with _operator_port(runtime):
                await asyncio.gather(*(each.run() for each in running))
        finally:
            await end(*background)


async def run_consumer(settings: Settings) -> None:
    """Only take in storage events, until SIGTERM or SIGINT. Raises ConfigurationError if no queue is named."""
    async with (
        open_runtime(settings, Metrics()) as runtime,
        open_consumer(runtime) as consumer,
        _operator_port(runtime),
    ):
        if consumer is None:
            raise ConfigurationError("MEDIA_EVENTS__QUEUE_URL names no queue to read storage events from.")
        await runtime.database.require_replica_set()
        _on_stop_signals(consumer.stop)
        await consumer.run()
