"""Between storage and the service: its events arrive once, not at all, or several times and in another order."""

from __future__ import annotations

import asyncio
import enum
import socket
from contextlib import suppress
from random import Random
from typing import Any

import httpx
import uvicorn

_TRIES = 5
_PAUSE_S = 0.5
_COPIES = 3
_LATEST_S = 3.0


class Delivery(enum.StrEnum):
    ONCE = "once"
    NEVER = "never"
    OFTEN = "often"


class EventRelay:
    """Takes every event at once, as a queue does, and passes it on to `target` as `delivery` says."""

    def __init__(self, token: str, random: Random) -> None:
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._random, self._http = random, httpx.AsyncClient(timeout=30)
        self._passing: set[asyncio.Task[None]] = set()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._server = uvicorn.Server(
            uvicorn.Config(self._app, interface="asgi3", log_config=None, access_log=False, lifespan="off")
        )
        self.port: int = self._socket.getsockname()[1]
        self.target = ""
        self.delivery = Delivery.ONCE
        self.taken = self.lost = self.passed_on = 0

    async def start(self) -> None:
        self._serving = asyncio.create_task(self._server._serve(sockets=[self._socket]))
        while not self._server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)

    async def close(self) -> None:
        for task in self._passing:
            task.cancel()
        await asyncio.gather(*self._passing, return_exceptions=True)
        self._server.should_exit = True
        await self._serving
        await self._http.aclose()

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        self._take(body)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    def _take(self, body: bytes) -> None:
        self.taken += 1
        if self.delivery is Delivery.NEVER:
            self.lost += 1
            return
        often = self.delivery is Delivery.OFTEN
        for _ in range(_COPIES if often else 1):
            task = asyncio.create_task(self._pass_on(body, self._random.random() * _LATEST_S if often else 0))
            self._passing.add(task)
            task.add_done_callback(self._passing.discard)

    async def _pass_on(self, body: bytes, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        for _ in range(_TRIES):
            with suppress(httpx.HTTPError):
                answer = await self._http.post(self.target, content=body, headers=self._headers)
                if answer.status_code < 500:
                    self.passed_on += 1
                    return
            await asyncio.sleep(_PAUSE_S)
        self.lost += 1
