"""SQS: the queues that bring S3's notifications and hints at jobs. Standard queues only, as S3 knows no others."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import boto3
import structlog
from anyio import CapacityLimiter, to_thread
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from service.errors import TemporarilyUnavailable

if TYPE_CHECKING:
    from types_boto3_sqs.client import SQSClient
    from types_boto3_sqs.type_defs import BatchResultErrorEntryTypeDef, MessageTypeDef

    from service.settings import QueueSettings, StorageSettings

# Most that SQS takes or gives in one call.
BATCH = 10
LONGEST_DELAY_S = 900
LONGEST_HIDDEN_S = 43_200

T = TypeVar("T")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class QueueMessage:
    """A message received: `receives` counts its deliveries, this one included; `sent_at` by the clock of SQS."""

    id: str
    receipt: str = field(repr=False)
    body: str = field(repr=False)
    receives: int
    sent_at: datetime


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """A message to send; nobody receives it before `delay_s` (at most LONGEST_DELAY_S) are over."""

    body: str
    delay_s: int = 0


class MessageQueue:
    """One queue, over boto3 in threads. Every method raises TemporarilyUnavailable when SQS does not do as asked."""

    def __init__(self, queue_url: str, settings: QueueSettings, storage: StorageSettings) -> None:
        self._url = queue_url
        self._settings = settings
        session = boto3.session.Session(
            aws_access_key_id=storage.access_key or None,
            aws_secret_access_key=storage.secret_key.get_secret_value() or None,
            region_name=storage.region,
        )
        config = Config(
            connect_timeout=3,
            # A long poll is silent for as long as it waits.
            read_timeout=settings.wait_s + 10,
            retries={"mode": "standard", "total_max_attempts": 2},
            max_pool_connections=BATCH,
        )
        self._client: SQSClient = session.client("sqs", endpoint_url=settings.endpoint, config=config)
        self._limiter = CapacityLimiter(BATCH)

    async def receive(self, limit: int, *, wait_s: int | None = None) -> list[QueueMessage]:
        """Up to `limit` (1-10) messages, waiting for the first; each is hidden from others for `visibility_s`.

        `wait_s` takes the place of the settings'; 0 asks only some of SQS's servers and may overlook a message.

        May be cancelled. The poll itself goes on, as no call can be taken back: what it still brings is given back at
        once if this process lives, else it becomes visible after `visibility_s`.
        """
        cancelled = threading.Event()
        try:
            return await _told_apart(
                _in_daemon_thread(
                    partial(self._receive, limit, self._settings.wait_s if wait_s is None else wait_s, cancelled)
                )
            )
        except asyncio.CancelledError:
            cancelled.set()
            raise

    def _receive(self, limit: int, wait_s: int, cancelled: threading.Event) -> list[QueueMessage]:
        answer = self._client.receive_message(
            QueueUrl=self._url,
            MaxNumberOfMessages=limit,
            WaitTimeSeconds=wait_s,
            VisibilityTimeout=self._settings.visibility_s,
            MessageSystemAttributeNames=["ApproximateReceiveCount", "SentTimestamp"],
        )
        messages = [_message(received) for received in answer.get("Messages", [])]
        if messages and cancelled.is_set():
            self._hide(dict.fromkeys(messages, 0))
        return messages

    async def send(self, messages: Sequence[OutgoingMessage]) -> None:
        """Send up to 10 messages; one that SQS does not take is lost, and is logged."""
        await self._call(partial(self._send, messages))

    def _send(self, messages: Sequence[OutgoingMessage]) -> None:
        answer = self._client.send_message_batch(
            QueueUrl=self._url,
            Entries=[
                {"Id": str(index), "MessageBody": message.body, "DelaySeconds": message.delay_s}
                for index, message in enumerate(messages)
            ],
        )
        for failure in answer.get("Failed", []):
            log.warning("a message was not sent", body=messages[int(failure["Id"])].body, reason=failure["Code"])

    async def delete(self, messages: Sequence[QueueMessage]) -> None:
        """Acknowledge up to 10 messages; one that SQS keeps all the same is delivered again, and is logged."""
        await self._call(partial(self._delete, messages))

    def _delete(self, messages: Sequence[QueueMessage]) -> None:
        answer = self._client.delete_message_batch(
            QueueUrl=self._url,
            Entries=[{"Id": str(index), "ReceiptHandle": message.receipt} for index, message in enumerate(messages)],
        )
        _log_failures("a message was not deleted", messages, answer.get("Failed", []))

    async def hide(self, messages: Mapping[QueueMessage, int]) -> None:
        """Keep up to 10 messages from being delivered again for so many seconds from now; 0 delivers at once."""
        await self._call(partial(self._hide, messages))

    def _hide(self, messages: Mapping[QueueMessage, int]) -> None:
        answer = self._client.change_message_visibility_batch(
            QueueUrl=self._url,
            Entries=[
                {"Id": str(index), "ReceiptHandle": message.receipt, "VisibilityTimeout": seconds}
                for index, (message, seconds) in enumerate(messages.items())
            ],
        )
        _log_failures("a message was not hidden", [*messages], answer.get("Failed", []))

    async def moves_dead_letters(self) -> bool:
        """Whether the queue has a redrive policy of its own."""
        work = partial(self._client.get_queue_attributes, QueueUrl=self._url, AttributeNames=["RedrivePolicy"])
        return "RedrivePolicy" in (await self._call(work)).get("Attributes", {})

    async def dead_letter(self, message: QueueMessage, target_url: str) -> None:
        """Move a message to the queue at `target_url`; it is there twice if this is interrupted, but never lost."""
        await self._call(partial(self._client.send_message, QueueUrl=target_url, MessageBody=message.body))
        await self.delete([message])

    async def close(self) -> None:
        """Give the connections back."""
        await to_thread.run_sync(self._client.close)

    async def _call(self, work: Callable[[], T]) -> T:
        return await _told_apart(to_thread.run_sync(work, limiter=self._limiter))


async def _told_apart(answer: Awaitable[T]) -> T:
    try:
        return await answer
    except (ClientError, BotoCoreError) as error:
        raise TemporarilyUnavailable("The queue did not answer as expected.") from error


def _in_daemon_thread(work: Callable[[], T]) -> asyncio.Future[T]:
    # The threads of anyio and asyncio hold up the end of the process: a long poll would by up to 20 s.
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except Exception as error:  # noqa: BLE001 - raised again where it is awaited
            outcome.set_exception(error)

    outcome.set_running_or_notify_cancel()
    threading.Thread(target=run, name="sqs-long-poll", daemon=True).start()
    return asyncio.wrap_future(outcome)


def _message(received: MessageTypeDef) -> QueueMessage:
    attributes = received["Attributes"]
    return QueueMessage(
        id=received["MessageId"],
        receipt=received["ReceiptHandle"],
        body=received["Body"],
        receives=int(attributes["ApproximateReceiveCount"]),
        sent_at=datetime.fromtimestamp(int(attributes["SentTimestamp"]) / 1000, UTC),
    )


def _log_failures(
    what: str, messages: Sequence[QueueMessage], failures: Sequence[BatchResultErrorEntryTypeDef]
) -> None:
    for failure in failures:
        log.warning(what, message_id=messages[int(failure["Id"])].id, reason=failure["Code"])
