"""A receiver of webhooks on loopback, and what a worker does for it, one step at a time."""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
import uvicorn
from pydantic import SecretStr
from standardwebhooks.webhooks import Webhook
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.lifecycle import MediaStatus
from service.settings import ReceiverSettings, WebhookSettings
from service.stores import Stores, bind_stores
from service.stores.database import Database
from service.telemetry import Metrics
from service.webhooks.courier import Courier
from service.webhooks.gathering import gather_events
from service.webhooks.sending import Sender
from tests.documents import ready_media

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def new_secret() -> str:
    return f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Return once `condition` holds; AssertionError after ten seconds."""
    for _ in range(1_000):
        if await condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it has not come about")


@dataclass(frozen=True)
class Arrival:
    """A request as it came in: verified with somebody else's library if `secret` was given."""

    id: str
    timestamp: int
    signature: str
    event: dict[str, Any]
    text: str

    @property
    def type(self) -> str:
        return str(self.event["type"])

    @property
    def sequence(self) -> int:
        return int(self.event["data"]["sequence"])

    @property
    def media(self) -> str:
        return str(self.event["data"]["mediaId"])


Answering = Callable[[Arrival], Awaitable[Response]]


async def accept(_: Arrival) -> Response:
    return Response(status_code=204)


def answering(status: int, **headers: str) -> Answering:
    async def answer(_: Arrival) -> Response:
        return Response(status_code=status, headers={name.replace("_", "-"): value for name, value in headers.items()})

    return answer


@dataclass
class ReceiverStand:
    """`arrivals`: every request; `accepted`: those that were answered with 2xx. `answer` may be replaced."""

    name: str
    url: str = ""
    secret: str = field(default_factory=new_secret)
    answer: Answering = accept
    arrivals: list[Arrival] = field(default_factory=list)
    accepted: list[Arrival] = field(default_factory=list)
    others: int = 0

    def settings(self, **changed: Any) -> ReceiverSettings:
        whole: dict[str, Any] = {"name": self.name, "url": self.url, "secrets": (SecretStr(self.secret),)}
        return ReceiverSettings(**{**whole, **changed})

    async def receive(self, request: Request) -> Response:
        if request.method != "POST" or request.url.path != "/hook":
            self.others += 1
            return Response(status_code=204)
        body = await request.body()
        Webhook(self.secret).verify(body, dict(request.headers))
        headers = request.headers
        arrival = Arrival(
            headers["webhook-id"],
            int(headers["webhook-timestamp"]),
            headers["webhook-signature"],
            orjson.loads(body),
            body.decode(),
        )
        self.arrivals.append(arrival)
        response = await self.answer(arrival)
        if 200 <= response.status_code < 300:
            self.accepted.append(arrival)
        return response


@asynccontextmanager
async def receiving(port: int, name: str) -> AsyncIterator[ReceiverStand]:
    """A receiver that accepts everything, until the block ends."""
    stand = ReceiverStand(name, f"http://127.0.0.1:{port}/hook")
    app = Starlette(routes=[Route("/{path:path}", stand.receive, methods=["GET", "POST"])])
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None, access_log=False, lifespan="off")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server._serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn tells nobody
        await asyncio.sleep(0.01)
    try:
        yield stand
    finally:
        server.force_exit = server.should_exit = True
        await serving


class Post:
    """Workers' part, without their clocks: what is `gathered` and `delivered` when, says the test."""

    def __init__(self, database: Database, **changed: Any) -> None:
        self.database = database
        self.stores: Stores = bind_stores(database, notes_events=True)
        self.settings = WebhookSettings(**{"timeout_s": 2.0, "connect_timeout_s": 1.0, **changed})
        self.metrics = Metrics()
        self._senders: list[Sender] = []

    async def register(self, receiver: ReceiverSettings) -> None:
        await self.stores.webhooks.receivers.register(
            receiver.name, events=receiver.events, purposes=receiver.purposes, address=receiver.url
        )

    def courier(self, receiver: ReceiverSettings, *, only_public: bool = False) -> Courier:
        sender = Sender(receiver, self.settings, only_public=only_public)
        self._senders.append(sender)
        return Courier(receiver.name, self.settings, sender=sender, webhooks=self.stores.webhooks, metrics=self.metrics)

    async def gather(self) -> None:
        while await gather_events(self.stores.webhooks, holder="test", lease_s=60, metrics=self.metrics):
            pass

    async def deliver(self, receiver: ReceiverSettings) -> None:
        await self.gather()
        await self.courier(receiver).deliver_due()

    async def let_time_pass(self, *, probes: bool = True) -> None:
        """What waits for its next attempt is due; so are probes, unless they are not to be."""
        await self.database.handle["webhook_streams"].update_many({}, {"$set": {"due_at": LONG_AGO}})
        if probes:
            await self.database.handle["webhook_receivers"].update_many(
                {"shut_until": {"$exists": True}}, {"$set": {"shut_until": LONG_AGO}}
            )

    async def rows(self, receiver: str, **query: Any) -> list[dict[str, Any]]:
        found = self.database.handle["webhook_deliveries"].find({"receiver": receiver, **query})
        rows: list[dict[str, Any]] = await found.sort([("media_id", 1), ("sequence", 1)]).to_list(None)
        return rows

    async def close(self) -> None:
        for sender in self._senders:
            await sender.close()


async def initiated(post: Post, **changed: Any) -> UUID:
    """A media that has just been announced, but for what is `changed`."""
    media = ready_media(**changed)
    await post.stores.media.insert_initiated([media])
    return media["_id"]


async def ready(post: Post, media_id: UUID) -> None:
    for status in (MediaStatus.UPLOADED, MediaStatus.PROCESSING, MediaStatus.READY):
        assert await post.stores.media.transition(media_id, status) is not None
