"""uvicorn's HTTP protocol, made to give up requests that are endless or do not arrive.

What it does otherwise, seen with uvicorn 0.54: it keeps headers of any size, also those behind a chunked body, for as
long as the client likes (100 MB of them took 143 MB of memory); it waits without end for the first byte of a
connection; and it never answers a request for a WebSocket that is not a GET.
"""

from __future__ import annotations

from asyncio import TimerHandle, Transport
from http import HTTPStatus
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

# Time for a request from its first byte to its last. Endpoints that read a body give that 15 s, and say so themselves.
REQUEST_S = 20.0

# Cookies, tokens and what proxies add; a GET has its operation on top, of `max_body_bytes` at most.
HEADER_BYTES: Final = 64 * 1024

# Chunks of single bytes take six times their bytes.
_MESSAGE_TO_HEAD: Final = 16


class RequestProtocol(HttpToolsProtocol):
    """For `uvicorn.Config(http=...)`. A request line with its headers may have `h11_max_incomplete_event_size` bytes,
    a whole request with everything around its body 16 times that.

    Where all of a request comes at once, which is nearly always, this costs two comparisons.
    """

    # None until the first head is complete.
    cycle: RequestResponseCycle | None  # type: ignore[assignment]

    _waiting_bytes = 0
    _request_timer: TimerHandle | None = None
    _is_socket = False

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """A connection that says nothing is given up like one that says nothing more."""
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_request()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over, unless the library that gets it would be silent for ever."""
        if self.scope["method"] != "GET":
            self.send_400_response("Ask for a WebSocket with GET.")
            return
        self._is_socket = True
        self._forget_request()
        super().handle_websocket_upgrade()

    def on_message_complete(self) -> None:
        """The end of a request, which uvicorn does not note where it has been answered already."""
        super().on_message_complete()
        if self.cycle is not None and self.cycle.scope is self.scope:
            self.cycle.more_body = False

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        cycle = self.cycle
        if cycle is not None and cycle.scope is self.scope and not cycle.more_body:
            if self._request_timer is not None:
                self._forget_request()
        elif not self._is_socket:
            self._watch_request(len(data))

    def _watch_request(self, received: int) -> None:
        """Give the request that has begun to arrive its time and its share of memory."""
        if self.transport.is_closing():
            return
        if self._request_timer is None:
            self._request_timer = self.loop.call_later(REQUEST_S, self._end_slow_request)
        self._waiting_bytes += received
        most = self.config.h11_max_incomplete_event_size or HEADER_BYTES
        if self._waiting_bytes > most * _MESSAGE_TO_HEAD:
            self._give_up(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        elif self._waiting_bytes > most and self._is_in_head():
            self._give_up(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def _is_in_head(self) -> bool:
        return self.cycle is None or self.cycle.scope is not self.scope

    def _end_slow_request(self) -> None:
        self._request_timer = None
        self._give_up(HTTPStatus.REQUEST_TIMEOUT)

    def _give_up(self, status: HTTPStatus) -> None:
        self._forget_request()
        if self.transport.is_closing():
            return
        # Nothing may stand between the parts of another answer.
        if self.cycle is None or (self._is_in_head() and self.cycle.response_complete):
            line = f"HTTP/1.1 {status.value} {status.phrase}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            self.transport.write(line.encode("ascii"))
        self.transport.close()

    def _forget_request(self) -> None:
        self._waiting_bytes = 0
        if self._request_timer is not None:
            self._request_timer.cancel()
            self._request_timer = None
