"""A real server on a free loopback port, with the service's own limits and protocols."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.types import ASGIApp

from service.settings import HttpSettings
from service.transport.server import GracefulServer


@asynccontextmanager
async def serving(app: ASGIApp) -> AsyncIterator[str]:
    """`app`, lifespan included, until the block ends; its address."""

    async def nothing() -> None:
        return

    with socket.create_server(("127.0.0.1", 0)) as bound:
        server = GracefulServer(app, HttpSettings(drain_s=1), nothing)
        running = asyncio.create_task(server.serve(sockets=[bound]))
        while not server.started:
            if running.done():
                running.result()
            await asyncio.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        finally:
            server.should_exit = True
            await running
