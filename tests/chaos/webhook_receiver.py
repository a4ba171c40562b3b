"""The back end that is told by webhooks: it takes every event, and writes down in which order each came first."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import orjson
import uvicorn

from tests.chaos.ledger import Ledger


class WebhookReceiver:
    """`start` it first; it listens on a loopback `port` of its own. It takes any event again, and counts it once."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._seen: set[str] = set()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._server = uvicorn.Server(
            uvicorn.Config(self._app, interface="asgi3", log_config=None, access_log=False, lifespan="off")
        )
        self.port: int = self._socket.getsockname()[1]

    async def start(self) -> None:
        self._serving = asyncio.create_task(self._server._serve(sockets=[self._socket]))
        while not self._server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)

    async def close(self) -> None:
        self._server.should_exit = True
        await self._serving

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        self._take(dict(scope["headers"]), body)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    def _take(self, headers: dict[bytes, bytes], body: bytes) -> None:
        event_id = headers[b"webhook-id"].decode()
        if event_id not in self._seen:
            self._seen.add(event_id)
            event = orjson.loads(body)
            self._ledger.delivered.append((event["data"]["mediaId"], event["data"]["sequence"], event["type"]))
