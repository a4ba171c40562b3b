"""What the doctor makes of malware scanners: of a good one, and of those that look like one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from service.dev.processes import Children
from service.doctor.findings import Finding, Level
from service.doctor.scanner import check_scanner, judge_age
from service.settings import Environment, ScannerSettings
from tests.antivirus import STREAM_LIMIT, Clamd, start_clamd


def of_level(findings: list[Finding], level: Level) -> list[str]:
    assert {finding.check for finding in findings} <= {"scanner"}
    return [f"{finding.text} {finding.remedy}" for finding in findings if finding.level is level]


async def check(address: str, *, max_bytes: int = STREAM_LIMIT) -> list[Finding]:
    return await check_scanner(ScannerSettings(address=address, max_bytes=max_bytes), Environment.PRODUCTION)


async def test_a_good_one_is_left_alone_but_for_what_it_does_not_tell(clamd: Clamd) -> None:
    findings = await check(clamd.unix)
    assert of_level(findings, Level.PROBLEM) == []
    [age, size] = of_level(findings, Level.WARNING)
    assert "does not say how old its database is" in age
    assert "MEDIA_SCANNER__MAX_BYTES" in size
    assert len(of_level(findings, Level.OK)) == 3


async def test_limits_that_do_not_agree_are_said(clamd: Clamd) -> None:
    [text] = of_level(await check(clamd.tcp, max_bytes=STREAM_LIMIT + 1), Level.PROBLEM)
    assert f"does not take {STREAM_LIMIT + 1} bytes" in text
    assert "StreamMaxLength" in text


async def test_one_that_finds_nothing_and_one_that_hides_what_it_skipped_are_problems(
    children: Children, clamd_executable: str, ports: Iterator[int], tmp_path: Path
) -> None:
    careless = await start_clamd(
        children, clamd_executable, tmp_path, next(ports), knows=b"something else", admits=False
    )
    found = of_level(await check(careless.tcp), Level.PROBLEM)
    assert ["EICAR" in found[0], "AlertExceedsMax" in found[1]] == [True, True]
    assert len(found) == 2
    await children.stop(careless.child)
    [gone] = of_level(await check(careless.tcp), Level.PROBLEM)
    assert "does not answer" in gone
    assert "MEDIA_SCANNER__ADDRESS" in gone


async def test_an_address_that_is_none_is_a_problem_and_none_at_all_a_warning() -> None:
    [text] = of_level(await check("clamav:3310"), Level.PROBLEM)
    assert "tcp://HOST:PORT" in text
    [text] = of_level(await check(""), Level.WARNING)
    assert "No upload is scanned" in text
    assert await check_scanner(ScannerSettings(), Environment.DEVELOPMENT) == []


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("ClamAV 1.4.3/27805/Mon Nov  3 08:44:28 2025", []),
        ("ClamAV 1.4.3/27805/Mon Oct 20 08:44:28 2025", ["Its database is 14 days old."]),
        ("ClamAV 1.4.3", ["It does not say how old its database is: it has none of ClamAV's."]),
        ("ClamAV 1.4.3/27805/yesterday", ["It does not say how old its database is: it has none of ClamAV's."]),
    ],
)
def test_the_age_of_its_database(version: str, said: list[str]) -> None:
    assert [finding.text for finding in judge_age(version, datetime(2025, 11, 4, tzinfo=UTC))] == said
