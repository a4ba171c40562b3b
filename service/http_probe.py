"""One HTTP request as anybody could make it, without credentials, proxies or redirects."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

from anyio import fail_after, to_thread

TIMEOUT_S = 10
# For an answer that comes byte by byte.
_AT_MOST_S = 3 * TIMEOUT_S
MAX_BODY_BYTES = 4096


class NoAnswer(Exception):
    """The message says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`body` is only the beginning."""

    status: int
    body: str


async def probe(url: str) -> Answer:
    """GET `url`. Raises NoAnswer."""
    try:
        with fail_after(_AT_MOST_S):
            return await to_thread.run_sync(_probe, url, abandon_on_cancel=True)
    except TimeoutError as error:
        raise NoAnswer(f"it took longer than {_AT_MOST_S} seconds") from error


def _probe(url: str) -> Answer:
    parts = urlsplit(url)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    try:
        connection = kind(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
        try:
            connection.request("GET", f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}")
            response = connection.getresponse()
            return Answer(response.status, response.read(MAX_BODY_BYTES).decode("utf-8", "replace"))
        finally:
            connection.close()
    except ssl.SSLError as error:
        raise NoAnswer(f"its certificate does not hold ({error.reason})") from error
    except (OSError, HTTPException, ValueError) as error:
        raise NoAnswer(str(error) or type(error).__name__) from error
