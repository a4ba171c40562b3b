"""uvicorn's WebSocket protocol, made to end every connection with a close frame that arrives, and in bounded memory.

What it does otherwise, seen with uvicorn 0.54: it closes the connection while the client still sends, so that the
kernel answers with a reset and the client sees 1006 instead of 1007 or 1009; it answers the pings of a client that
reads nothing without end; it collects frames without data without end; and it never gives up a connection that it has
closed but whose client does not read what is left.
"""

from __future__ import annotations

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

# What a client that has been told to go may still take to read that, and to finish what it is sending.
LINGER_S = 5.0

# Frames of one message. Browsers send one; each costs memory, also where it carries no data.
MAX_FRAGMENTS = 1_024

_POLICY_VIOLATION = 1008


class SocketProtocol(WebSocketsSansIOProtocol):
    """For `uvicorn.Config(ws=...)`."""

    _failed = False
    _owed_pongs = b""

    def data_received(self, data: bytes) -> None:
        """Bytes from the client; after a failure they are passed over until it closes too."""
        if not self._failed:
            super().data_received(data)

    def handle_cont(self, event: Frame) -> None:
        if len(self.frames) < MAX_FRAGMENTS:
            super().handle_cont(event)
        elif not self._failed:
            self.conn.fail(_POLICY_VIOLATION, f"A message may have {MAX_FRAGMENTS} frames")
            self.handle_parser_exception()

    def handle_ping(self) -> None:
        """Answer at once, or, while the client does not read, the latest pings once it does."""
        # With the first ping of a packet come the answers to all that are in it.
        pongs = b"".join(self.conn.data_to_send())
        if self._failed or not pongs:
            return
        if self.writable.is_set():
            self.transport.write(pongs)
        else:
            self._owed_pongs = pongs

    def resume_writing(self) -> None:
        super().resume_writing()
        pongs, self._owed_pongs = self._owed_pongs, b""
        if pongs and not self._failed and not self.transport.is_closing():
            self.transport.write(pongs)

    def handle_parser_exception(self) -> None:
        """Say why, then wait for the client to close: who closes with bytes unread resets the connection."""
        if self._failed:
            return
        self._failed = self.close_sent = True
        self.stop_keepalive()
        said = self.conn.close_sent
        code, reason = (1002, "") if said is None else (said.code, said.reason)
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.transport.write(b"".join(self.conn.data_to_send()))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        if not self.transport.is_reading():
            self.transport.resume_reading()
        self._give_up_after(LINGER_S)

    def handle_close(self, event: Frame) -> None:
        super().handle_close(event)
        self._give_up_after(LINGER_S)

    def keepalive_timeout(self) -> None:
        """The client has not answered a ping: it is gone, or reads nothing, a farewell included."""
        self.pong_timer = None
        self.transport.abort()

    async def send(self, message: ASGISendEvent) -> None:
        await super().send(message)
        if message["type"] == "websocket.close":
            self._give_up_after(self.close_timeout)

    def _give_up_after(self, seconds: float) -> None:
        if self.close_timer is not None:
            self.close_timer.cancel()
        if not self.disconnected:
            self.close_timer = self.loop.call_later(seconds, self.transport.abort)
