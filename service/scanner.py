"""Scanning originals for malware before they are decoded: one question to clamd a file, and no verdict by chance.

The protocol is clamd(8)'s: `zINSTREAM`, the file in chunks with their length before them (four bytes, big-endian), an
empty chunk, and an answer of one line. On plain sockets: clamd refuses a file that is too large while it is still being
sent, and hangs up; a stream of asyncio (and with it every client library made of them) drops that answer.
"""

from __future__ import annotations

import asyncio
import errno
import re
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import structlog
from anyio import to_thread

from service.errors import (
    ConfigurationError,
    FailureCode,
    MalwareFound,
    MediaServiceError,
    ProcessingFailed,
    TemporarilyUnavailable,
)
from service.settings import ScannerSettings

CHUNK_BYTES = 256 * 1024
_PING_S = 5
_LONGEST_ANSWER = 4096
_ANSWER = re.compile(r"stream: (?:OK|(?P<signature>.+) FOUND)")
# With `AlertExceedsMax`, clamd reports so what it did not look at to the end.
_UNFINISHED = "Heuristics.Limits.Exceeded"
_TOO_LARGE = "INSTREAM size limit exceeded"
_UNSCANNABLE = (
    "The file is too large or too deeply nested to be scanned for malware. Upload a smaller version, or save it anew "
    "with another program."
)
_NOT_SCANNED = "The file could not be scanned for malware. Try again later."

# What to raise for want of an answer, given why there is none.
_Blame = Callable[[str], MediaServiceError]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a scanner says of a file it has looked at to the end. `engine`: its version and its database's."""

    clean: bool
    signature: str | None
    engine: str


class Scanner(Protocol):
    """Looks at files. `name` is for receipts and logs."""

    name: str

    async def scan(self, path: Path) -> Verdict:
        """The verdict on the file at `path`; there is none, rather than a clean one, where anything is in doubt.

        Raises ProcessingFailed where the file cannot be scanned, also if the scanner breaks on it (its `retryable` says
        whether another attempt may help), TemporarilyUnavailable if the scanner answers nobody.
        """

    async def ping(self) -> str:
        """Version of engine and database. Raises TemporarilyUnavailable if the scanner does not answer."""


@dataclass(frozen=True, slots=True)
class ScannerAddress:
    """Where clamd listens: a TCP port, or a socket in the file system where there is no `port`."""

    host: str
    port: int | None

    def __str__(self) -> str:
        return f"unix://{self.host}" if self.port is None else f"tcp://{self.host}:{self.port}"


def parse_address(address: str) -> ScannerAddress:
    """`tcp://HOST:PORT` or `unix:///PATH`. Raises ConfigurationError for anything else."""
    try:
        parts = urlsplit(address)
        if parts.scheme == "unix" and not parts.netloc and parts.path not in {"", "/"}:
            return ScannerAddress(parts.path, None)
        if parts.scheme == "tcp" and parts.hostname and parts.port and parts.path in {"", "/"} and "@" not in address:
            parts.hostname.encode("idna")
            return ScannerAddress(parts.hostname, parts.port)
    except ValueError:
        pass
    raise ConfigurationError(
        f"MEDIA_SCANNER__ADDRESS is {address!r}: set tcp://HOST:PORT or unix:///PATH/TO/SOCKET, or unset it."
    )


def open_scanner(settings: ScannerSettings) -> Scanner | None:
    """The scanner of the settings, not contacted yet; None where they name none. Raises ConfigurationError."""
    if not settings.address:
        return None
    return ClamdScanner(parse_address(settings.address), timeout_s=settings.timeout_s, max_bytes=settings.max_bytes)


class ClamdScanner:
    """ClamAV's daemon, a connection for each question.

    `timeout_s`: for one file, from first byte to answer. `max_bytes`: larger files are not even sent.
    """

    name = "clamd"

    def __init__(self, address: ScannerAddress, *, timeout_s: float, max_bytes: int) -> None:
        self.address = address
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes

    async def ping(self) -> str:
        """As `Scanner.ping`: engine, database, when that was made: `ClamAV 1.4.3/27805/Mon Nov  3 08:44:28 2025`."""
        async with self._connected(min(_PING_S, self._timeout_s), self._outage) as connection:
            await _send(connection, b"zVERSION\0")
            answer = await _receive(connection)
        if not answer.startswith("ClamAV "):
            raise self._outage(f"it answered {answer!r} when asked for its version")
        return answer

    async def scan(self, path: Path) -> Verdict:
        """As `Scanner.scan`; the file is read in chunks, and only as far as clamd takes them."""
        if (await to_thread.run_sync(path.stat)).st_size > self._max_bytes:
            raise ProcessingFailed(FailureCode.SCAN_FAILED, _UNSCANNABLE)
        # A clamd that answers nobody is told from one that this file keeps from answering.
        engine = await self.ping()
        async with self._connected(self._timeout_s, self._no_verdict) as connection:
            is_whole = await _stream(connection, path)
            verdict = self._judge(await _receive(connection), engine)
        if verdict.clean and not is_whole:
            raise self._no_verdict("it hung up before it had the whole file")
        return verdict

    def _judge(self, answer: str, engine: str) -> Verdict:
        if _TOO_LARGE in answer:
            raise ProcessingFailed(FailureCode.SCAN_FAILED, _UNSCANNABLE)
        if (said := _ANSWER.fullmatch(answer)) is None:
            raise self._no_verdict(f"it answered {answer!r} when sent a file")
        signature = said["signature"]
        if signature is not None and signature.startswith(_UNFINISHED):
            log.warning("scanner did not look at all of a file", limit=signature, engine=engine)
            raise ProcessingFailed(FailureCode.SCAN_FAILED, _UNSCANNABLE)
        return Verdict(clean=signature is None, signature=signature, engine=engine)

    @asynccontextmanager
    async def _connected(self, deadline_s: float, blame: _Blame) -> AsyncIterator[socket.socket]:
        """A connection for a block that must be over in `deadline_s`; what goes wrong in it is raised as `blame` says.

        Nothing has been sent where no connection comes about: that is an outage.
        """
        connection = await self._connect()
        with closing(connection):
            try:
                async with asyncio.timeout(deadline_s):
                    yield connection
            except TimeoutError as error:
                raise blame(f"it did not answer within {deadline_s:g} s") from error
            except OSError as error:
                raise blame(f"{error}") from error

    async def _connect(self) -> socket.socket:
        deadline_s = min(_PING_S, self._timeout_s)
        try:
            async with asyncio.timeout(deadline_s):
                return await _connect(self.address)
        except TimeoutError as error:
            raise self._outage(f"it took no connection within {deadline_s:g} s") from error
        except OSError as error:
            raise self._outage(f"{error}") from error

    def _outage(self, reason: str) -> TemporarilyUnavailable:
        return TemporarilyUnavailable(f"The malware scanner at {self.address} does not answer: {reason}.")

    def _no_verdict(self, reason: str) -> ProcessingFailed:
        """It answered a moment ago: whether it broke on the file or beside it, only so many attempts can tell."""
        log.warning("scanner gave no verdict", scanner=str(self.address), reason=reason)
        return ProcessingFailed(FailureCode.SCAN_FAILED, _NOT_SCANNED, retryable=True)


async def scan_original(scanner: Scanner, path: Path) -> Verdict:
    """The clean verdict on an original; nothing but one may let it be decoded.

    Raises MalwareFound, and whatever `Scanner.scan` raises.
    """
    verdict = await scanner.scan(path)
    if not verdict.clean:
        signature = verdict.signature or "unnamed"
        log.warning("malware found", scanner=scanner.name, signature=signature, engine=verdict.engine)
        raise MalwareFound(signature=signature, engine=verdict.engine)
    return verdict


async def _connect(address: ScannerAddress) -> socket.socket:
    if address.port is None:
        return await _connect_to(socket.AF_UNIX, address.host)
    loop = asyncio.get_running_loop()
    refused = OSError(errno.EADDRNOTAVAIL, f"{address.host} has no address")
    for family, *_, place in await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM):
        try:
            return await _connect_to(family, place)
        except OSError as error:
            refused = error
    raise refused


async def _connect_to(family: int, place: Any) -> socket.socket:
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.settimeout(0)
        await asyncio.get_running_loop().sock_connect(connection, place)
    except BaseException:
        connection.close()
        raise
    return connection


async def _stream(connection: socket.socket, path: Path) -> bool:
    """Send the file at `path`; False if clamd hung up first: it may have said why."""
    try:
        await _send(connection, b"zINSTREAM\0")
        with closing(await to_thread.run_sync(path.open, "rb")) as file:
            while chunk := await to_thread.run_sync(file.read, CHUNK_BYTES):
                await _send(connection, struct.pack("!L", len(chunk)) + chunk)
        await _send(connection, struct.pack("!L", 0))
    except (BrokenPipeError, ConnectionResetError):
        return False
    return True


async def _send(connection: socket.socket, data: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(connection, data)


async def _receive(connection: socket.socket) -> str:
    """What clamd says, without its final NUL. Raises OSError if it hangs up without a word."""
    received = b""
    while b"\0" not in received and len(received) < _LONGEST_ANSWER:
        part = await asyncio.get_running_loop().sock_recv(connection, _LONGEST_ANSWER)
        if not part:
            break
        received += part
    if not received:
        raise ConnectionResetError("it hung up without an answer")
    return received.partition(b"\0")[0].decode("utf-8", "replace").strip()
