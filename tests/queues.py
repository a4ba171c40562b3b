"""A queue on MiniStack that a bucket notifies, and its dead letters; as an operator would set them up."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import uuid4

import boto3

from service.settings import EventsSettings, StorageSettings
from tests.servers import StorageServer


async def eventually(condition: Callable[[], Awaitable[bool]], *, within_s: float = 15) -> None:
    """Return as soon as `condition` holds; fail if it does not in time."""
    deadline = time.monotonic() + within_s
    while not await condition():
        assert time.monotonic() < deadline, "it did not come to that"
        await asyncio.sleep(0.05)


@dataclass(frozen=True)
class Queues:
    """A queue with or without a redrive policy, and the queue of its dead letters."""

    sqs: Any
    s3: Any
    server: StorageServer
    url: str
    dead_url: str

    def settings(self, **changed: Any) -> EventsSettings:
        """Settings for a consumer of the queue; short times, so that tests are."""
        quick: dict[str, Any] = {"wait_s": 1, "visibility_s": 1, "retry_s": (0,)}
        return EventsSettings(**{"queue_url": self.url, "endpoint": self.server.endpoint, **quick, **changed})

    async def send(self, *bodies: str) -> None:
        for body in bodies:
            await asyncio.to_thread(partial(self.sqs.send_message, QueueUrl=self.url, MessageBody=body))

    async def waiting(self, url: str | None = None) -> tuple[int, int]:
        """How many messages are visible, and how many are hidden while somebody works on them."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        work = partial(self.sqs.get_queue_attributes, QueueUrl=url or self.url, AttributeNames=names)
        counts = (await asyncio.to_thread(work))["Attributes"]
        return int(counts[names[0]]), int(counts[names[1]])

    async def is_empty(self) -> bool:
        return await self.waiting() == (0, 0)

    async def drain(self, url: str | None = None) -> list[str]:
        """Take every visible message out; their bodies."""
        bodies: list[str] = []
        receive = partial(self.sqs.receive_message, QueueUrl=url or self.url, MaxNumberOfMessages=10)
        while received := (await asyncio.to_thread(receive)).get("Messages"):
            for message in received:
                bodies.append(message["Body"])
                handle = message["ReceiptHandle"]
                await asyncio.to_thread(
                    partial(self.sqs.delete_message, QueueUrl=url or self.url, ReceiptHandle=handle)
                )
        return bodies

    async def notify_of(self, storage: StorageSettings) -> None:
        """Have the upload bucket notify the queue, as docs/operations.md says; S3's test event comes first."""
        queue = {
            "Id": "uploads",
            "QueueArn": _arn(self.sqs, self.url),
            "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*", "s3:LifecycleExpiration:*"],
        }
        put = partial(
            self.s3.put_bucket_notification_configuration,
            Bucket=storage.upload_bucket,
            NotificationConfiguration={"QueueConfigurations": [queue]},
        )
        await asyncio.to_thread(put)


@contextmanager
def open_queues(server: StorageServer, *, max_receive_count: int | None = None) -> Iterator[Queues]:
    """Two fresh queues; the first has a redrive policy to the second if `max_receive_count` is given."""
    session = boto3.session.Session(server.access_key, server.secret_key, region_name="us-east-1")
    sqs, s3 = (session.client(name, endpoint_url=server.endpoint) for name in ("sqs", "s3"))
    name = f"events-{uuid4().hex[:12]}"
    dead_url = sqs.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
    anybody_from_s3 = {
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": "*",
    }
    attributes = {"Policy": json.dumps({"Version": "2012-10-17", "Statement": [anybody_from_s3]})}
    if max_receive_count is not None:
        redrive = {"deadLetterTargetArn": _arn(sqs, dead_url), "maxReceiveCount": max_receive_count}
        attributes["RedrivePolicy"] = json.dumps(redrive)
    url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
    yield Queues(sqs, s3, server, url, dead_url)
    for each in (url, dead_url):
        sqs.delete_queue(QueueUrl=each)
    sqs.close()
    s3.close()


def _arn(sqs: Any, url: str) -> str:
    arn: str = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    return arn
