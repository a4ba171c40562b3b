"""Verdicts of a real clamd, over both of its sockets."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from service.dev.processes import Children
from service.errors import FailureCode, MalwareFound, ProcessingFailed, TemporarilyUnavailable
from service.original_content import nameless_file
from service.scanner import ClamdScanner, Scanner, parse_address, scan_original
from tests.antivirus import EICAR, SIGNATURE, STREAM_LIMIT, Clamd, start_clamd
from tests.hostile import with_segment
from tests.photos import small_photo

JPEG_COMMENT = 0xFE


def scanner_at(address: str, *, timeout_s: float = 20) -> ClamdScanner:
    return ClamdScanner(parse_address(address), timeout_s=timeout_s, max_bytes=100_000_000)


@pytest.fixture(params=["tcp", "unix"])
def scanner(request: pytest.FixtureRequest, clamd: Clamd) -> Scanner:
    address: str = getattr(clamd, request.param)
    return scanner_at(address)


async def test_a_photo_is_clean(scanner: Scanner) -> None:
    with nameless_file() as path:
        path.write_bytes(small_photo(1))
        verdict = await scan_original(scanner, path)
    assert (verdict.clean, verdict.signature) == (True, None)
    assert verdict.engine == await scanner.ping()
    assert verdict.engine.startswith("ClamAV ")


@pytest.mark.parametrize(
    "file",
    [EICAR, with_segment(JPEG_COMMENT, EICAR), small_photo(2) + EICAR, small_photo(2) + bytes(300_000) + EICAR],
    ids=["alone", "in a comment", "behind the picture", "across chunks"],
)
async def test_what_it_knows_is_found_wherever_it_hides(scanner: Scanner, tmp_path: Path, file: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(file)
    with pytest.raises(MalwareFound) as caught:
        await scan_original(scanner, path)
    assert (caught.value.signature, caught.value.quarantine, caught.value.retryable) == (SIGNATURE, True, False)


@pytest.mark.parametrize("byte_size", [STREAM_LIMIT + 1, 20 * STREAM_LIMIT])
async def test_a_file_that_it_refuses_while_it_is_being_sent_is_not_clean(
    scanner: Scanner, tmp_path: Path, byte_size: int
) -> None:
    path = tmp_path / "large"
    path.touch()
    os.truncate(path, byte_size)
    for _ in range(5):
        with pytest.raises(ProcessingFailed) as caught:
            await scan_original(scanner, path)
        assert (caught.value.failure, caught.value.retryable) == (FailureCode.SCAN_FAILED, False)
        assert "smaller" in caught.value.message


async def test_many_at_once_each_get_their_own_verdict(scanner: Scanner, tmp_path: Path) -> None:
    async def is_malware(number: int) -> bool:
        path = tmp_path / str(number)
        path.write_bytes(small_photo(number) + (EICAR if number % 2 else b""))
        try:
            await scan_original(scanner, path)
        except MalwareFound:
            return True
        return False

    assert await asyncio.gather(*map(is_malware, range(10))) == [bool(number % 2) for number in range(10)]


async def test_without_a_scanner_there_is_no_verdict(ports: Iterator[int], tmp_path: Path) -> None:
    path = tmp_path / "photo"
    path.write_bytes(small_photo(3))
    for address in (f"tcp://127.0.0.1:{next(ports)}", f"unix://{tmp_path}/nobody.sock"):
        with pytest.raises(TemporarilyUnavailable) as caught:
            await scan_original(scanner_at(address), path)
        assert address in caught.value.message


async def test_a_scanner_that_dies_or_hangs_gives_no_verdict(
    children: Children, clamd_executable: str, ports: Iterator[int], tmp_path: Path
) -> None:
    doomed = await start_clamd(children, clamd_executable, tmp_path, next(ports))
    path = tmp_path / "photo"
    path.write_bytes(small_photo(4))
    process = doomed.child.process

    process.send_signal(signal.SIGSTOP)
    with pytest.raises(TemporarilyUnavailable, match="did not answer"):
        await scan_original(scanner_at(doomed.tcp, timeout_s=0.3), path)
    process.send_signal(signal.SIGCONT)
    assert (await scan_original(scanner_at(doomed.tcp), path)).clean

    # The file is a pipe, so that the test decides how much of it there is to send when.
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    scanning = asyncio.create_task(scan_original(scanner_at(doomed.tcp), pipe))
    with await asyncio.to_thread(pipe.open, "wb", buffering=0) as begun:
        begun.write(bytes(50_000))
        process.kill()
        await process.wait()
        with suppress(BrokenPipeError):
            begun.write(bytes(50_000))
    with pytest.raises(ProcessingFailed) as caught:
        await scanning
    assert (caught.value.failure, caught.value.retryable) == (FailureCode.SCAN_FAILED, True)
    await children.stop(doomed.child)
