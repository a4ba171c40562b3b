"""One signed POST to a receiver: to an address that was looked at, within a deadline, without redirects or proxies."""

from __future__ import annotations

import asyncio
import email.utils
import ssl
import time
from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC
from typing import Any

import httpcore

from service.settings import ReceiverSettings, WebhookSettings
from service.settings.webhooks import webhook_key
from service.webhooks.addresses import is_public, resolve
from service.webhooks.signature import signed_headers

# Of an answer; what it says is of no interest, but a connection whose answer was read to its end can be used again.
_MAX_ANSWER_BYTES = 64 * 1024
_BODY_S = 1.0
# Connections are kept for what follows at once; one that the receiver has closed would cost an attempt.
_KEPT_S = 3.0
_LONGEST_WAIT_S = 86_400.0
_FAILURES = (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, ssl.SSLError, OSError)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of an attempt. `status`: None without an answer. `retry_after_s`: as the receiver has asked."""

    status: int | None = None
    failure: str = ""
    retry_after_s: float | None = None

    @property
    def is_accepted(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_down(self) -> bool:
        """Whether it says something of the receiver rather than of this event."""
        return self.status is None or self.status in {410, 429} or self.status >= 500

    @property
    def reason(self) -> str:
        """Why it was not accepted, in a few words."""
        return self.failure or f"it answered {self.status}"


class _LookedAt(httpcore.AsyncNetworkBackend):
    """Connects to what a name was resolved to and found fit, and not to what it is resolved to the next time."""

    def __init__(self, *, only_public: bool) -> None:
        self._network = httpcore.AnyIOBackend()
        self._only_public = only_public

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - as httpcore calls it
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            async with asyncio.timeout(timeout):
                addresses = await resolve(host, port)
        except TimeoutError:
            raise httpcore.ConnectTimeout("its name is not resolved in time") from None
        except OSError:
            raise httpcore.ConnectError("its name cannot be resolved") from None
        if self._only_public and not all(map(is_public, addresses)):
            raise httpcore.ConnectError("its address is a private one")
        for address in addresses[:-1]:
            try:
                return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return await self._network.connect_tcp(addresses[-1], port, timeout, local_address, socket_options)


class Sender:
    """Posts to one receiver, over connections of its own."""

    def __init__(self, receiver: ReceiverSettings, settings: WebhookSettings, *, only_public: bool) -> None:
        self._receiver = receiver
        self._settings = settings
        self._keys = [webhook_key(secret) for secret in receiver.secrets]
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl.create_default_context() if receiver.url.startswith("https:") else None,
            max_connections=settings.concurrency,
            keepalive_expiry=_KEPT_S,
            network_backend=_LookedAt(only_public=only_public and not receiver.private_network),
        )

    async def close(self) -> None:
        await self._pool.aclose()

    async def send(self, event_id: str, body: str, *, at: float) -> Answer:
        """One attempt, signed as of `at` (Unix seconds). Raises nothing that a receiver could bring about."""
        content = body.encode()
        headers: dict[bytes | str, bytes | str] = {
            "content-type": "application/json",
            "user-agent": "media-metadata-service-webhooks/1",
            "accept-encoding": "identity",
        }
        headers.update(signed_headers(event_id, int(at), content, self._keys).items())
        # Known as soon as its headers are there, whatever becomes of its body.
        answer: Answer | None = None
        try:
            async with (
                asyncio.timeout(self._settings.timeout_s) as deadline,
                self._posted(headers, content) as response,
            ):
                answer = _answer_of(response)
                deadline.reschedule(asyncio.get_running_loop().time() + _BODY_S)
                await _drain(response)
        except TimeoutError:
            return answer or Answer(failure=f"there was no answer within {self._settings.timeout_s:g} s")
        except _FAILURES as error:
            return answer or Answer(failure=_described(error))
        return answer

    def _posted(
        self, headers: Mapping[bytes | str, bytes | str], content: bytes
    ) -> AbstractAsyncContextManager[httpcore.Response]:
        limits = dict.fromkeys(("read", "write", "pool"), self._settings.timeout_s)
        return self._pool.stream(
            "POST",
            self._receiver.url,
            headers=headers,
            content=content,
            extensions={"timeout": {**limits, "connect": self._settings.connect_timeout_s}},
        )


def _answer_of(response: httpcore.Response) -> Answer:
    given = {name.lower(): value for name, value in response.headers}
    return Answer(response.status, retry_after_s=_retry_after(response.status, given.get(b"retry-after")))


async def _drain(response: httpcore.Response) -> None:
    received = 0
    async for chunk in response.aiter_stream():
        received += len(chunk)
        if received > _MAX_ANSWER_BYTES:
            break


def _described(error: Exception) -> str:
    # httpcore wraps what the operating system said, at times without a word of its own.
    while not str(error) and error.__context__ is not None and isinstance(error.__context__, Exception):
        error = error.__context__
    return str(error)[:200] or type(error).__name__


def _retry_after(status: int, value: bytes | None) -> float | None:
    """Seconds, from either form that RFC 9110 (10.2.3) has, of an answer that says to come again later."""
    if value is None or status not in {429, 503}:
        return None
    text = value.decode("latin-1").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), _LONGEST_WAIT_S)
    try:
        moment = email.utils.parsedate_to_datetime(text)
        aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        return min(max(aware.timestamp() - time.time(), 0.0), _LONGEST_WAIT_S)
    except (OverflowError, ValueError):
        return None
