"""Storage as clients reach it: a relay that counts what arrives there, and stops letting PUTs through when told to."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


class StorageRelay:
    """Passes requests on as they are, their Host included: signatures hold for this address.

    `confirmed` counts the PUTs that storage took, by key and part number (0: a whole object).
    """

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._storage = httpx.AsyncClient(timeout=30)
        self._open = asyncio.Event()
        self._open.set()
        self._left: int | None = None
        self.confirmed: Counter[tuple[str, int]] = Counter()
        self.stopped = asyncio.Event()
        self._progress = asyncio.Condition()
        self.app = Starlette(routes=[Route("/{path:path}", self._pass_on, methods=["GET", "PUT", "HEAD", "POST"])])

    def stop_after(self, puts: int) -> None:
        """Let `puts` more PUTs through; the next ones wait, and `stopped` says when one does."""
        self._left = puts
        self._open.clear()
        self.stopped.clear()

    def go_on(self) -> None:
        """Let everything through again, but for those that have waited: they are answered 503."""
        self._left = None
        self._open.set()

    async def arrivals(self, puts: int) -> None:
        """Wait until storage has confirmed so many PUTs."""
        async with self._progress:
            await self._progress.wait_for(lambda: self.confirmed.total() >= puts)

    async def close(self) -> None:
        self.go_on()
        await self._storage.aclose()

    async def _pass_on(self, request: Request) -> Response:
        if request.method == "PUT" and not await self._may_pass():
            return Response(status_code=503)
        answer = await self._storage.request(
            request.method,
            f"{self._endpoint}{request.url.path}?{request.url.query}",
            headers=request.headers.raw,
            content=self._body(request) if request.method in {"PUT", "POST"} else None,
        )
        if request.method == "PUT" and answer.is_success:
            async with self._progress:
                self.confirmed[request.url.path, int(request.query_params.get("partNumber", 0))] += 1
                self._progress.notify_all()
        headers = {name: value for name, value in answer.headers.items() if name in {"etag", "content-type"}}
        return Response(answer.content, answer.status_code, headers)

    async def _may_pass(self) -> bool:
        if self._left is None:
            return True
        if self._left > 0:
            self._left -= 1
            return True
        self.stopped.set()
        await self._open.wait()
        return False

    async def _body(self, request: Request) -> AsyncIterator[bytes]:
        async for chunk in request.stream():
            yield chunk
