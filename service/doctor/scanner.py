"""The malware scanner: does it answer, find what it must, admit what it skips, and take files as large as ours?"""

from __future__ import annotations

import io
import os
import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

from anyio import to_thread

from service.doctor.findings import Finding, ok, problem, warning
from service.errors import ConfigurationError, ProcessingFailed, TemporarilyUnavailable
from service.original_content import nameless_file
from service.policies import POLICIES
from service.scanner import Scanner, open_scanner
from service.settings import Environment, ScannerSettings

# EICAR's test file, which every scanner takes for malware. In parts, so that neither this file nor its bytecode is.
_TEST_FILE = b"-".join([b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR", b"STANDARD", b"ANTIVIRUS", b"TEST", b"FILE!$H+H*"])
# More than any `MaxRecursion` that clamd takes.
_NESTED_ARCHIVES = 120
# A new database comes out every day.
_STALE = timedelta(days=7)

_NO_ANSWER = "Start clamd, or correct MEDIA_SCANNER__ADDRESS; until it answers no upload becomes READY."
_BROKEN = "See clamd's log for what it broke on; uploads fail after five attempts that end like this."
_UNKNOWING = "Let freshclam fetch ClamAV's database, and see clamd's log."
_UNADMITTED = (
    "Set `AlertExceedsMax yes` in clamd.conf: otherwise clamd calls clean what it has not looked at to the end."
)
_SMALLER = "Raise StreamMaxLength, MaxFileSize and MaxScanSize in clamd.conf, or lower MEDIA_SCANNER__MAX_BYTES."


async def check_scanner(settings: ScannerSettings, environment: Environment) -> list[Finding]:
    """The scanner of `settings`, with files made for the purpose; seconds, as it is sent one of the largest size."""
    try:
        scanner = open_scanner(settings)
    except ConfigurationError as error:
        return [problem("scanner", str(error))]
    if scanner is None:
        text = "No upload is scanned for malware."
        remedy = "Name a clamd in MEDIA_SCANNER__ADDRESS, unless something else scans the upload bucket."
        return [] if environment is Environment.DEVELOPMENT else [warning("scanner", text, remedy)]
    try:
        version = await scanner.ping()
        with nameless_file() as path:
            return [
                ok("scanner", f"{version} answers."),
                *judge_age(version, datetime.now(UTC)),
                await _detection(scanner, path),
                await _admission(scanner, path),
                await _capacity(scanner, path, settings.max_bytes),
            ]
    except TemporarilyUnavailable as error:
        return [problem("scanner", error.message, _NO_ANSWER)]
    except ProcessingFailed:
        return [problem("scanner", "It answers, but gave no verdict on a file made for the purpose.", _BROKEN)]


def judge_age(version: str, now: datetime) -> list[Finding]:
    """What `version`, e.g. `ClamAV 1.4.3/27805/Mon Nov  3 08:44:28 2025`, tells of its database's age."""
    made = None
    if dated := re.fullmatch(r"[^/]+/\d+/(.+)", version):
        # In clamd's local time: a few hours are nothing to an age in days.
        with suppress(ValueError):
            made = datetime.strptime(dated[1], "%a %b %d %H:%M:%S %Y").replace(tzinfo=UTC)
    if made is None:
        return [warning("scanner", "It does not say how old its database is: it has none of ClamAV's.", _UNKNOWING)]
    if now - made > _STALE:
        return [warning("scanner", f"Its database is {(now - made).days} days old.", _UNKNOWING)]
    return []


async def _detection(scanner: Scanner, path: Path) -> Finding:
    if await _is_passed(scanner, path, _TEST_FILE):
        return problem("scanner", "It does not know the file that scanners are tested with (EICAR).", _UNKNOWING)
    return ok("scanner", "It finds the file that scanners are tested with.")


async def _admission(scanner: Scanner, path: Path) -> Finding:
    if await _is_passed(scanner, path, _nested_archives()):
        return problem("scanner", "It calls a file clean that it did not look at to the end.", _UNADMITTED)
    return ok("scanner", "It says so where it did not look at a file to the end.")


async def _capacity(scanner: Scanner, path: Path, max_bytes: int) -> Finding:
    await to_thread.run_sync(path.write_bytes, b"")
    # Takes no room on the disk.
    await to_thread.run_sync(os.truncate, path, max_bytes)
    try:
        await scanner.scan(path)
    except ProcessingFailed:
        return problem("scanner", f"It does not take {max_bytes} bytes (MEDIA_SCANNER__MAX_BYTES).", _SMALLER)
    largest = max(max(policy.max_bytes, policy.max_clip_bytes) for policy in POLICIES.values())
    if largest > max_bytes:
        text = f"Uploads may have {largest} bytes, but those of more than {max_bytes} cannot be scanned: refused."
        return warning("scanner", text, "Raise MEDIA_SCANNER__MAX_BYTES, and clamd's limits with it.")
    return ok("scanner", f"It takes files of {max_bytes} bytes.")


async def _is_passed(scanner: Scanner, path: Path, body: bytes) -> bool:
    await to_thread.run_sync(path.write_bytes, body)
    try:
        return (await scanner.scan(path)).clean
    except ProcessingFailed as failure:
        if failure.retryable:
            raise
        return False


def _nested_archives() -> bytes:
    body = b""
    for _ in range(_NESTED_ARCHIVES):
        packed = io.BytesIO()
        with ZipFile(packed, "w", ZIP_DEFLATED) as archive:
            archive.writestr("inner.zip", body)
        body = packed.getvalue()
    return body
