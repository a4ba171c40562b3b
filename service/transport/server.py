"""The HTTP server: uvicorn with our limits, and a shutdown that tells WebSocket clients to go elsewhere first."""

from __future__ import annotations

import gc
import socket
from collections.abc import Awaitable, Callable

import uvicorn
from starlette.types import ASGIApp

from service.settings import HttpSettings
from service.transport.request_protocol import HEADER_BYTES, RequestProtocol
from service.transport.socket_protocol import SocketProtocol

# Longer than load balancers keep an idle connection (60 s on AWS): they, not we, must be the one that hangs up, or a
# request that is under way just then gets a 502.
KEEP_ALIVE_S = 75


class GracefulServer(uvicorn.Server):
    """On SIGTERM: `drain`, then stop listening, then wait `drain_s` seconds for requests that are being answered.

    Left to itself uvicorn closes WebSockets with 1012 before the application hears of the shutdown.
    """

    def __init__(self, app: ASGIApp, settings: HttpSettings, drain: Callable[[], Awaitable[None]]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=settings.host,
                port=settings.port,
                loop="uvloop",
                http=RequestProtocol,
                # uvicorn's own name for the bound on heads; with httptools nobody else reads it.
                h11_max_incomplete_event_size=settings.max_body_bytes + HEADER_BYTES,
                ws=SocketProtocol,
                ws_max_size=settings.max_body_bytes,
                # Two zlib states a socket, for messages of a few hundred bytes.
                ws_per_message_deflate=False,
                log_config=None,
                access_log=False,
                server_header=False,
                # It would believe any peer on this machine; whom to believe is a setting of ours (client_address.py).
                proxy_headers=False,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=max(1, round(settings.drain_s)),
            )
        )
        self._drain = drain

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        spare_the_garbage_collector()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._drain()
        await super().shutdown(sockets)


def spare_the_garbage_collector() -> None:
    """Look for cycles less often, and never among what lives as long as the process.

    A page makes thousands of dicts, none of them in a cycle. By default the collector would walk them after every 700,
    and all modules and types along with them now and then: a fifth of the CPU of a page that is read from the database.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
