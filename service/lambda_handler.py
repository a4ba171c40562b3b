"""AWS Lambda: storage events without a process that waits for them. The handler is `service.lambda_handler.handler`."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import cache
from typing import Any, Protocol, TypeVar

import structlog

from service.event_intake import handle_notification
from service.production import Role, load_settings
from service.runtime import Runtime, open_runtime
from service.telemetry import Metrics, configure_logging

T = TypeVar("T")

# Kept back from the invocation's time, to say what was not handled rather than be killed without a word.
RESERVE_S = 2.0
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

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` on the container's loop."""
        return self._runner.run(work)

    def close(self) -> None:
        """Close the runtime and the loop. Lambda never calls it: its containers just end."""
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
    seconds = context.get_remaining_time_in_millis() / 1000 - RESERVE_S
    failed = opened.run(_handle_batch(records, opened.runtime, timeout_s=seconds))
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}


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


async def _handle_batch(records: Sequence[Mapping[str, Any]], runtime: Runtime, *, timeout_s: float) -> list[str]:
    """The ids of the messages that are to be delivered again."""
    slots = asyncio.Semaphore(CONCURRENCY)

    async def attempt(record: Mapping[str, Any]) -> bool:
        async with slots:
            return await _attempt(record, runtime)

    tasks = {asyncio.create_task(attempt(record)): record["messageId"] for record in records}
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
