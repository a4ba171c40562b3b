"""What counts as a verdict, and what as none: against servers that misbehave in one way each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from service.errors import ConfigurationError, FailureCode, MalwareFound, ProcessingFailed, TemporarilyUnavailable
from service.scanner import ClamdScanner, ScannerAddress, open_scanner, parse_address, scan_original
from service.settings import ScannerSettings

Answering = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

ENGINE = "ClamAV 1.4.3/27805/Mon Nov  3 08:44:28 2025"


@asynccontextmanager
async def clamd_that(answers: Answering, *, engine: str = ENGINE) -> AsyncIterator[ScannerAddress]:
    """A server that knows its version and treats files as `answers` does."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if await reader.readuntil(b"\0") == b"zVERSION\0":
                writer.write(f"{engine}\0".encode())
            else:
                await answers(reader, writer)
            await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield ScannerAddress("127.0.0.1", server.sockets[0].getsockname()[1])


def says(answer: bytes) -> Answering:
    """Reads the whole file, then answers so."""

    async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while size := int.from_bytes(await reader.readexactly(4), "big"):
            await reader.readexactly(size)
        writer.write(answer)

    return answers


async def hangs(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.read(65_536):
        pass


async def dies(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1_000)
    writer.transport.abort()


def assert_attempt_counted(failure: ProcessingFailed) -> None:
    assert (failure.failure, failure.retryable, failure.quarantine) == (FailureCode.SCAN_FAILED, True, False)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo"
    path.write_bytes(b"\xff\xd8\xff photo" * 100_000)
    return path


def scanner_at(address: ScannerAddress, *, timeout_s: float = 5, max_bytes: int = 10_000_000) -> ClamdScanner:
    return ClamdScanner(address, timeout_s=timeout_s, max_bytes=max_bytes)


@pytest.mark.parametrize("answer", [b"stream: OK\0", b"stream: OK"])
async def test_only_its_word_for_clean_is_clean(photo: Path, answer: bytes) -> None:
    async with clamd_that(says(answer)) as address:
        verdict = await scan_original(scanner_at(address), photo)
    assert (verdict.clean, verdict.signature, verdict.engine) == (True, None, ENGINE)


async def test_a_signature_may_be_named_anything(photo: Path) -> None:
    async with clamd_that(says(b"stream: Not OK: Worm FOUND.1 FOUND\0")) as address:
        with pytest.raises(MalwareFound) as caught:
            await scan_original(scanner_at(address), photo)
    assert (caught.value.signature, caught.value.engine) == ("Not OK: Worm FOUND.1", ENGINE)
    assert (caught.value.failure, caught.value.quarantine) == (FailureCode.MALWARE_FOUND, True)
    assert "Worm" not in caught.value.message


@pytest.mark.parametrize(
    "answer",
    [b"", b"\0", b"OK\0", b"stream: \0", b"stream: OK, I think\0", b"stream: OK\nstream: OK\0", b"stream: FOUND\0",
     b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\xff" * 100_000, b"UNKNOWN COMMAND\0", b"PONG\0"],
    ids=lambda answer: repr(answer[:20]),
)  # fmt: skip
async def test_anything_else_is_no_verdict_and_costs_an_attempt(photo: Path, answer: bytes) -> None:
    async with clamd_that(says(answer)) as address:
        with pytest.raises(ProcessingFailed) as caught:
            await scan_original(scanner_at(address), photo)
    assert_attempt_counted(caught.value)


async def test_an_error_is_no_verdict_and_costs_an_attempt(photo: Path) -> None:
    async with clamd_that(says(b"stream: Can't allocate memory ERROR\0")) as address:
        with pytest.raises(ProcessingFailed) as caught:
            await scan_original(scanner_at(address), photo)
    assert_attempt_counted(caught.value)
    assert "memory" not in caught.value.message


@pytest.mark.parametrize(
    "answer",
    [b"INSTREAM size limit exceeded. ERROR\0", b"stream: Heuristics.Limits.Exceeded.MaxFileSize FOUND\0"],
    ids=["not all taken", "not all looked at"],
)
async def test_a_file_that_was_not_looked_at_to_the_end_is_neither_clean_nor_malware(
    photo: Path, answer: bytes
) -> None:
    async with clamd_that(says(answer)) as address:
        with pytest.raises(ProcessingFailed) as caught:
            await scan_original(scanner_at(address), photo)
    assert (caught.value.failure, caught.value.retryable, caught.value.quarantine) == (
        FailureCode.SCAN_FAILED,
        False,
        False,
    )


async def test_a_clean_word_before_the_end_of_the_file_is_no_verdict(tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(bytes(9_000_000))

    async def hasty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"stream: OK\0")

    async with clamd_that(hasty) as address:
        with pytest.raises(ProcessingFailed) as caught, capture_logs() as logs:
            await scan_original(scanner_at(address), large)
    assert_attempt_counted(caught.value)
    assert logs[0]["reason"] == "it hung up before it had the whole file"


async def test_a_file_beyond_the_setting_is_not_sent_at_all(photo: Path) -> None:
    asked = 0

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1

    async with clamd_that(count) as address:
        with pytest.raises(ProcessingFailed) as caught:
            await scan_original(scanner_at(address, max_bytes=photo.stat().st_size - 1), photo)
    assert (caught.value.failure, caught.value.retryable, asked) == (FailureCode.SCAN_FAILED, False, 0)


@pytest.mark.parametrize(
    ("breaks", "reason"), [(hangs, "it did not answer within 0.2 s"), (dies, "it hung up without")]
)
async def test_a_file_that_its_scanner_breaks_on_costs_an_attempt(photo: Path, breaks: Answering, reason: str) -> None:
    """It is asked for its version first, and answers: nobody else waits for nothing."""
    async with clamd_that(breaks) as address:
        with pytest.raises(ProcessingFailed) as caught, capture_logs() as logs:
            await scan_original(scanner_at(address, timeout_s=0.2), photo)
    assert_attempt_counted(caught.value)
    assert reason in logs[0]["reason"]


async def test_a_scanner_that_takes_nobody_any_more_once_it_was_asked_is_an_outage(photo: Path) -> None:
    """Another file may have broken it in between: this one was not sent."""
    server: asyncio.Server

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\0")
        server.close()
        writer.write(f"{ENGINE}\0".encode())
        writer.close()

    server = await asyncio.start_server(once, "127.0.0.1", 0)
    address = ScannerAddress("127.0.0.1", server.sockets[0].getsockname()[1])
    with pytest.raises(TemporarilyUnavailable, match="does not answer"):
        await scan_original(scanner_at(address), photo)


@pytest.mark.parametrize("engine", ["", "SSH-2.0-OpenSSH_9.2", "UNKNOWN COMMAND"])
async def test_who_is_no_clamd_is_not_sent_a_file(photo: Path, engine: str) -> None:
    async with clamd_that(says(b"stream: OK\0"), engine=engine) as address:
        with pytest.raises(TemporarilyUnavailable, match="asked for its version"):
            await scan_original(scanner_at(address), photo)


@pytest.mark.parametrize(
    ("address", "meant"),
    [
        ("tcp://clamav:3310", ScannerAddress("clamav", 3310)),
        ("tcp://127.0.0.1:3310/", ScannerAddress("127.0.0.1", 3310)),
        ("tcp://[::1]:3310", ScannerAddress("::1", 3310)),
        ("unix:///run/clamav/clamd.ctl", ScannerAddress("/run/clamav/clamd.ctl", None)),
    ],
)
def test_addresses(address: str, meant: ScannerAddress) -> None:
    assert parse_address(address) == meant


@pytest.mark.parametrize(
    "address",
    ["clamav:3310", "tcp://clamav", "tcp://:3310", "tcp://clamav:port", "tcp://clamav:99999", "http://clamav:3310",
     "unix://run/clamd.ctl", "unix://", "unix:///", "tcp://clamav:3310/path", "/run/clamd.ctl", " ",
     f"tcp://{'a' * 64}:3310"],
)  # fmt: skip
def test_an_address_that_is_none_is_said_before_anything_starts(address: str) -> None:
    with pytest.raises(ConfigurationError, match="MEDIA_SCANNER__ADDRESS"):
        open_scanner(ScannerSettings(address=address))


def test_without_an_address_there_is_no_scanner() -> None:
    assert open_scanner(ScannerSettings()) is None
