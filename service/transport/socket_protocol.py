"""uvicorn's WebSocket protocol, made to end every connection with a close frame that arrives, and in bounded memory.

What it does otherwise, seen with uvicorn 0.54: it closes the connection while the client still sends, so that the
kernel answers with a reset and the client sees 1006 instead of 1007 or 1009; it answers the pings of a client that
reads nothing without end; it collects frames without data without end; and it never gives up a connection that it has
closed but whose client does not read what is left; it waits for the rest of a message for as long as the client likes;
it raises RuntimeError, as if we had erred, where we answer a client that it has just told to go; and it logs an error
where we answer a handshake by a refusal of our own.
"""

from __future__ import annotations

from asyncio import TimerHandle
from typing import ClassVar

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

from service.transport.unfinished_messages import UnfinishedMessages

# What a client that has been told to go may still take to read that, and to finish what it is sending.
LINGER_S = 5.0

# Frames of one message. Browsers send one; each costs memory, also where it carries no data.
MAX_FRAGMENTS = 1_024

# Time in which a message has to arrive from its first byte to its last, as for the body of an HTTP request.
MESSAGE_S = 15.0

_POLICY_VIOLATION = 1008
_TRY_AGAIN_LATER = 1013


class SocketProtocol(WebSocketsSansIOProtocol):
    """For `uvicorn.Config(ws=...)`."""

    # Of all sockets of this process.
    unfinished: ClassVar[UnfinishedMessages[SocketProtocol]] = UnfinishedMessages()

    _failed = False
    _owed_pongs = b""
    _bytes_in_frames = 0
    _message_timer: TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        """Bytes from the client; after a failure they are passed over until it closes too."""
        if self._failed:
            return
        super().data_received(data)
        self._watch_unfinished()

    def handle_text(self, event: Frame) -> None:
        self._bytes_in_frames = len(event.data)
        super().handle_text(event)

    def handle_bytes(self, event: Frame) -> None:
        self._bytes_in_frames = len(event.data)
        super().handle_bytes(event)

    def handle_cont(self, event: Frame) -> None:
        if len(self.frames) < MAX_FRAGMENTS:
            self._bytes_in_frames += len(event.data)
            super().handle_cont(event)
        else:
            self._fail(_POLICY_VIOLATION, f"A message may have {MAX_FRAGMENTS} frames")

    def send_receive_event_to_app(self) -> None:
        self._stop_message_timer()
        super().send_receive_event_to_app()

    def _watch_unfinished(self) -> None:
        """Give the message that has begun to arrive, if one has, its time and its share of memory."""
        waiting = len(self.conn.reader.buffer)
        if self._failed or not (waiting or self.frames):
            self._forget_unfinished()
            return
        if self._message_timer is None:
            self._message_timer = self.loop.call_later(MESSAGE_S, self._end_slow_message)
        for socket in self.unfinished.hold(self, waiting + (self._bytes_in_frames if self.frames else 0)):
            socket._fail(_TRY_AGAIN_LATER, "Too many unfinished messages; send yours at once")

    def _end_slow_message(self) -> None:
        self._message_timer = None
        if self.read_paused:
            # The session is still at the message before: it is not the client that keeps us waiting.
            self._message_timer = self.loop.call_later(MESSAGE_S, self._end_slow_message)
        else:
            self._fail(_POLICY_VIOLATION, f"A message has to arrive within {MESSAGE_S:.0f} s")

    def _stop_message_timer(self) -> None:
        if self._message_timer is not None:
            self._message_timer.cancel()
            self._message_timer = None

    def _forget_unfinished(self) -> None:
        self._stop_message_timer()
        self.unfinished.forget(self)

    def _fail(self, code: int, reason: str) -> None:
        if not self._failed and not self.close_sent and not self.disconnected:
            self.conn.fail(code, reason)
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
        self.frames = []
        self._forget_unfinished()
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

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_unfinished()
        super().connection_lost(exc)

    async def send(self, message: ASGISendEvent) -> None:
        """Raises ClientDisconnected, an OSError, once the client is gone or was told to go."""
        await self.writable.wait()
        if self._failed and self.handshake_complete:
            raise ClientDisconnected
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
            self.handshake_complete = True
        if message["type"] == "websocket.close":
            self._give_up_after(self.close_timeout)

    def _give_up_after(self, seconds: float) -> None:
        if self.close_timer is not None:
            self.close_timer.cancel()
        if not self.disconnected:
            self.close_timer = self.loop.call_later(seconds, self.transport.abort)
