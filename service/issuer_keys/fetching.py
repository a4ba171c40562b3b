"""One small document over HTTP(S), from an address of the settings, without credentials, proxies or redirects.

On the event loop with httptools: a thread with a blocking client could be kept for hours by a server that sends one
byte at a time, as its timeouts begin anew with each.
"""

from __future__ import annotations

import asyncio
import ssl
from urllib.parse import urlsplit

import httptools
from anyio import to_thread

TIMEOUT_S = 5.0
# The largest sets of public issuers are a tenth of it.
MAX_BYTES = 256 * 1024

_CHUNK = 16 * 1024


class FetchFailed(Exception):
    """The message says why."""


class _Response:
    """Gathers what httptools reads out of the answer."""

    def __init__(self) -> None:
        self.body = bytearray()
        self.complete = False

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete = True


async def fetch(url: str) -> bytes:
    """The body of a 200 from `url`, within TIMEOUT_S in all and of at most MAX_BYTES, headers included.

    Raises FetchFailed for anything else, redirects among it: the address is the one that was configured.
    """
    try:
        async with asyncio.timeout(TIMEOUT_S):
            return await _fetch(url)
    except TimeoutError:
        raise FetchFailed(f"there was no whole answer within {TIMEOUT_S:g} s") from None
    except ssl.SSLCertVerificationError as error:
        raise FetchFailed(f"its certificate does not hold ({error.verify_message})") from None
    except (OSError, ValueError) as error:
        raise FetchFailed(str(error) or type(error).__name__) from None
    except httptools.HttpParserError:
        raise FetchFailed("the answer is not HTTP") from None


async def _fetch(url: str) -> bytes:
    parts = urlsplit(url)
    tls = None
    if parts.scheme == "https":
        # Reads the authorities' certificates from disk, each time those of today.
        tls = await to_thread.run_sync(ssl.create_default_context)
    port = parts.port or (443 if tls else 80)
    reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=tls)
    try:
        target = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
        lines = (
            f"GET {target} HTTP/1.1",
            f"Host: {parts.netloc}",
            "Accept: application/jwk-set+json, application/json",
            "Accept-Encoding: identity",
            "Connection: close",
        )
        writer.write("\r\n".join((*lines, "", "")).encode("ascii"))
        return await _read(reader)
    finally:
        writer.transport.abort()


async def _read(reader: asyncio.StreamReader) -> bytes:
    response = _Response()
    parser = httptools.HttpResponseParser(response)
    received = 0
    while not response.complete and (data := await reader.read(_CHUNK)):
        received += len(data)
        if received > MAX_BYTES:
            raise FetchFailed(f"the answer is larger than {MAX_BYTES} bytes")
        parser.feed_data(data)
    if not received:
        raise FetchFailed("the connection was closed without an answer")
    if (status := parser.get_status_code()) != 200:
        raise FetchFailed(f"the answer is {status}, not 200")
    # An answer that was cut off is no JSON: nothing else is asked here.
    return bytes(response.body)
