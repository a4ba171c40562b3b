"""An HTTP proxy between a browser and storage: it counts what storage took, holds requests back, and breaks them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

METHODS = ["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS"]
# They are about one connection, not about the message.
HOP_BY_HOP = {"connection", "transfer-encoding", "keep-alive", "proxy-connection"}


@dataclass(frozen=True, slots=True)
class Passed:
    """A request that reached storage: a part's number, or None for a whole object, and what storage answered."""

    method: str
    key: str
    part: int | None
    byte_size: int
    status: int


class StorageProxy:
    """Requests pass as they are, so that signatures hold. `passed`: all but preflights, as they were answered."""

    def __init__(self) -> None:
        self._client = httpx.AsyncClient(timeout=60, trust_env=False)
        self._may_pass = asyncio.Event()
        self._left = 0
        self.passed: list[Passed] = []
        self._due = 0
        self._held = asyncio.Event()
        # Gives a status to answer with instead of asking storage.
        self.refusal: Callable[[Request], int | None] = lambda _: None
        # Whether storage's answer is to be lost on the way.
        self.loses: Callable[[Request], bool] = lambda _: False
        self.reset()

    def reset(self) -> None:
        """Let everything through, and count from nothing."""
        self.passed.clear()
        self.refusal = lambda _: None
        self.loses = lambda _: False
        self.go_on()

    def hold_after(self, puts: int) -> None:
        """Let `puts` more PUTs through and hold the next ones back."""
        self._left = puts
        self._due = len(self.passed) + puts
        self._may_pass.clear()
        self._held.clear()

    async def is_holding(self) -> bool:
        """Whether a PUT is held back, and all before it are answered."""
        return self._held.is_set() and len(self.passed) >= self._due

    def go_on(self) -> None:
        """Let everything through again; what was held gets 503."""
        self._may_pass.set()

    def taken(self, method: str = "PUT") -> list[Passed]:
        """What storage has accepted."""
        return [each for each in self.passed if each.method == method and each.status < 300]

    def parts_taken(self) -> list[int]:
        """The number of each part that storage has accepted, once for each time."""
        return [each.part for each in self.taken() if each.part is not None]

    async def close(self) -> None:
        self.go_on()
        await self._client.aclose()

    async def answer(self, request: Request) -> Response:
        try:
            return await self._answer(request)
        except ClientDisconnect:
            # Nobody hears it: the page has stopped or was closed.
            return Response(status_code=400)

    async def _answer(self, request: Request) -> Response:
        if request.method != "OPTIONS" and (status := self.refusal(request)) is not None:
            # Read first, as storage would: who is cut off in the middle sees a broken connection instead.
            await request.body()
            return self._refused(request, status)
        if request.method == "PUT" and not await self._is_let_through():
            return self._refused(request, 503)
        answer = await self._pass_on(request)
        return self._refused(request, 502) if self.loses(request) else answer

    async def _is_let_through(self) -> bool:
        if self._may_pass.is_set():
            return True
        if self._left > 0:
            self._left -= 1
            return True
        self._held.set()
        await self._may_pass.wait()
        return False

    async def _pass_on(self, request: Request) -> Response:
        body = await request.body()
        url = str(request.url)
        answer = await self._client.request(request.method, url, headers=request.headers.raw, content=body)
        part = request.query_params.get("partNumber")
        if request.method != "OPTIONS":
            self.passed.append(
                Passed(request.method, request.url.path, (part and int(part)) or None, len(body), answer.status_code)
            )
        headers = {name: value for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP}
        return Response(answer.content, answer.status_code, headers)

    def _refused(self, request: Request, status: int) -> Response:
        # As storage does, or the page would see a violation of CORS instead of the status.
        return Response(status_code=status, headers={"Access-Control-Allow-Origin": request.headers["origin"]})


@asynccontextmanager
async def running_proxy() -> AsyncIterator[tuple[StorageProxy, str]]:
    """A proxy, and its address."""
    proxy = StorageProxy()
    app = Starlette(routes=[Route("/{path:path}", proxy.answer, methods=METHODS)])
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, log_config=None, access_log=False, timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server._serve())
    while not server.started:  # noqa: ASYNC110 - it sets no event
        await asyncio.sleep(0.01)
    try:
        yield proxy, f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        await proxy.close()
        server.should_exit = True
        await serving
