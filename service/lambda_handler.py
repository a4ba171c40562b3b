"""AWS Lambda: storage events, jobs and sweeps without a process that waits for them.

The handlers are `service.lambda_handler.handler`, `.process_jobs` and `.sweep_storage`.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import cache
from typing import Any, Protocol, TypeVar

import structlog

from service.annotators.registry import open_annotators
from service.event_intake import handle_notification
from service.job_hints import read_hint
from service.log_lines import configure_logging
from service.models import Role
from service.processing.process_control import deny_inspection
from service.production import load_settings
from service.runtime import Runtime, open_runtime
from service.telemetry import Metrics
from service.upkeep import sweep_once
from service.worker import Worker
from service.worker_process import build_jail, build_worker, concurrency_of, open_dispatch

T = TypeVar("T")

# Kept back from the invocation's time, to say what was not handled rather than be killed without a word.
RESERVE_S = 2.0
# Of a job's time besides, to write what becomes of it where it does not end.
GIVING_UP_S = 1.0
CONCURRENCY = 10

log = structlog.get_logger(__name__)


class LambdaContext(Protocol):
    """What is used of Lambda's context object."""

    def get_remaining_time_in_millis(self) -> int: ...


class Container:
    """What lives as long as Lambda's container: an event loop, and the runtime that is bound to it."""

    def __init__(self) -> None:
        settings = load_settings(Role.WORKER)
        configure_logging(settings.log_level)
        self._runner = asyncio.Runner()
        self._opened = AsyncExitStack()
        self.runtime: Runtime = self.run(self._opened.enter_async_context(open_runtime(settings, Metrics())))
        self.dispatch = open_dispatch(self.runtime)
        self._worker: Worker | None = None

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` on the container's loop."""
        return self._runner.run(work)

    async def worker(self) -> Worker:
        """A worker, with the jail that it decodes in: opened once. ConfigurationError where nothing can be confined."""
        if self._worker is None:
            deny_inspection()
            annotators = await open_annotators(self.runtime.settings.annotators, stores=self.runtime.stores)
            jail = await self._opened.enter_async_context(build_jail(self.runtime.settings.worker))
            self._worker = build_worker(self.runtime, jail, annotators)
        return self._worker

    def close(self) -> None:
        """Close the jail, the runtime and the loop. Lambda never calls it: its containers just end."""
        self.run(self._opened.aclose())
        self._runner.close()


@cache
def container() -> Container:
    """The container of this process, opened by its first invocation. Raises ConfigurationError."""
    return Container()


def handler(event: Mapping[str, Any], context: LambdaContext) -> dict[str, Any] | None:
    """Handle an invocation by SQS (of S3's notifications), or by S3, SNS or EventBridge themselves.

    For SQS the answer names the messages to deliver again, which needs `ReportBatchItemFailures` in the event source
    mapping: https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html. For the others the invocation
    fails as a whole and Lambda repeats it: the error is raised.
    """
    opened = container()
    records = event.get("Records")
    if not records or any(record.get("eventSource") != "aws:sqs" for record in records):
        opened.run(_handle(_as_sent(event), opened.runtime))
        return None

    async def attempt(record: Mapping[str, Any]) -> bool:
        return await _attempt(record, opened.runtime)

    return _failures(opened.run(_each(records, attempt, timeout_s=_seconds_left(context))))


def process_jobs(event: Mapping[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Handle an invocation by SQS with hints at jobs: claim each that may be begun, and do it.

    The answer names the messages to deliver again, as that of `handler` does. A job that outlasts the invocation has
    failed, and is tried again as often as any other; one that was not begun is delivered again at no cost. Raises
    ConfigurationError, which fails the whole invocation, where the decoders cannot be confined.
    """
    opened = container()
    return _failures(opened.run(_process_batch(event["Records"], opened, timeout_s=_seconds_left(context))))


def sweep_storage(_event: Mapping[str, Any], _context: LambdaContext) -> None:
    """Handle an invocation by a schedule: do once what a worker does at intervals, sweep and tell the CDN."""
    opened = container()
    opened.run(sweep_once(opened.runtime))
    if opened.dispatch is not None:
        opened.run(opened.dispatch.advance())


def _seconds_left(context: LambdaContext) -> float:
    return context.get_remaining_time_in_millis() / 1000 - RESERVE_S


def _failures(message_ids: Sequence[str]) -> dict[str, Any]:
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in message_ids]}


def _as_sent(event: Mapping[str, Any]) -> Mapping[str, Any]:
    # SNS calls Lambda with its notification one level down, one for each invocation.
    match event:
        case {"Records": [{"EventSource": "aws:sns", "Sns": dict(notification)}]}:
            return notification
        case _:
            return event


async def _handle(notification: str | Mapping[str, Any], runtime: Runtime) -> None:
    await handle_notification(
        notification,
        stores=runtime.stores,
        object_store=runtime.object_store,
        count=runtime.metrics.count_storage_event,
    )


async def _each(
    records: Sequence[Mapping[str, Any]],
    attempt: Callable[[Mapping[str, Any]], Awaitable[bool]],
    *,
    timeout_s: float,
    at_once: int = CONCURRENCY,
) -> list[str]:
    """The ids of the messages that are to be delivered again: `attempt` said no, or there was no time for them."""
    slots = asyncio.Semaphore(at_once)

    async def attempt_in_turn(record: Mapping[str, Any]) -> bool:
        async with slots:
            return await attempt(record)

    tasks = {asyncio.create_task(attempt_in_turn(record)): record["messageId"] for record in records}
    _, late = await asyncio.wait(tasks, timeout=max(timeout_s, 0))
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)
    return [message_id for task, message_id in tasks.items() if task.cancelled() or not task.result()]


async def _attempt(record: Mapping[str, Any], runtime: Runtime) -> bool:
    try:
        await _handle(record["body"], runtime)
    except Exception:
        # Whatever it was, only this message is delivered again; its queue's redrive policy ends that.
        log.exception("a storage event was not handled", message_id=record["messageId"])
        return False
    return True


async def _process_batch(records: Sequence[Mapping[str, Any]], opened: Container, *, timeout_s: float) -> list[str]:
    clock = asyncio.get_running_loop().time
    end = clock() + timeout_s
    worker, runtime = await opened.worker(), opened.runtime

    async def attempt(record: Mapping[str, Any]) -> bool:
        left = end - clock() - GIVING_UP_S
        try:
            return left > 0 and await _do_job(record, worker, runtime, within_s=left)
        except Exception:
            log.exception("a hint was not followed", message_id=record["messageId"])
            return False

    failed = await _each(records, attempt, timeout_s=end - clock(), at_once=concurrency_of(runtime.settings.worker))
    if runtime.hints is not None:
        # The container stands still from the answer on.
        await runtime.hints.flush()
    return failed


async def _do_job(record: Mapping[str, Any], worker: Worker, runtime: Runtime, *, within_s: float) -> bool:
    """Whether the message has done its duty: its job is over, or another hint at it will come."""
    job_id = read_hint(record["body"])
    if job_id is None:
        log.error("a message is no hint at a job", message_id=record["messageId"])
        return False
    stores, name = runtime.stores, f"{socket.gethostname()}:{os.getpid()}"
    job = await stores.jobs.claim(lease_s=runtime.settings.worker.lease_s, worker=name, job_id=job_id)
    if job is not None:
        await worker.work(job, within_s=within_s)
    standing = await stores.job_inspection.standing(job_id)
    if standing is None:
        return True
    if job is None and standing.due_in_s > 0 and runtime.hints is not None:
        # Somebody is at it and may yet die, or it waits for its time. Those given back just now were announced.
        runtime.hints.announce(job_id, standing.lane, standing.due_in_s)
    return standing.due_in_s > 0
