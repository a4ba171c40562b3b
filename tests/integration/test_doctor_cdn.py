"""What the doctor says of the distribution that is told to forget."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from service.doctor import Finding, Level
from service.doctor.cdn import check_agreement, check_distribution
from service.invalidation import cloudfront
from service.stores.distributions import DistributionStore
from tests.integration.conftest import RunningService


def one(findings: list[Finding]) -> tuple[Level, str]:
    [finding] = findings
    assert finding.check == "cdn"
    assert finding.level is Level.OK or finding.remedy
    return finding.level, finding.text


async def distribution(service: RunningService, **changes: Any) -> list[Finding]:
    return await check_distribution(service.settings.cdn.model_copy(update=changes), service.settings.storage)


async def test_one_that_answers_and_reads_tags_is_well(service: RunningService) -> None:
    assert one(await distribution(service)) == (Level.OK, "EDGE answers, and reads cache tags.")
    assert one(await distribution(service, cache_tags=False)) == (Level.OK, "EDGE is told by paths.")
    assert await distribution(service, distribution_id="") == []


async def test_one_that_does_not_answer_is_a_problem(service: RunningService, ports: Iterator[int]) -> None:
    level, text = one(await distribution(service, endpoint=f"http://127.0.0.1:{next(ports)}"))
    assert level is Level.PROBLEM
    assert "does not answer" in text


@pytest.mark.parametrize(
    ("operation", "code", "level", "said"),
    [
        ("GetDistributionConfig", "NoSuchDistribution", Level.PROBLEM, "There is no distribution EDGE."),
        ("GetDistributionConfig", "AccessDenied", Level.WARNING, "whether it reads cache tags"),
        ("GetInvalidation", "AccessDenied", Level.PROBLEM, "tells nothing of its invalidations: AccessDenied"),
    ],
)
async def test_what_it_refuses_is_said(
    service: RunningService, monkeypatch: pytest.MonkeyPatch, operation: str, code: str, level: Level, said: str
) -> None:
    opened = cloudfront.open_cloudfront

    def refusing(*args: Any) -> Any:
        distribution = opened(*args)
        assert distribution is not None
        send = distribution._client._make_api_call

        def call(name: str, arguments: Any) -> Any:
            if name == operation:
                answer: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": 403}}
                raise ClientError(answer, name)
            return send(name, arguments)

        monkeypatch.setattr(distribution._client, "_make_api_call", call)
        return distribution

    monkeypatch.setattr("service.doctor.cdn.open_cloudfront", refusing)
    found, text = one(await distribution(service))
    assert found is level
    assert said in text


async def test_api_and_workers_that_do_not_agree_are_told_apart(service: RunningService) -> None:
    settings, database = service.settings, service.runtime.database
    distributions = DistributionStore(database)
    assert await distributions.note("EDGE", reads_tags=True) < timedelta(minutes=1)
    assert await check_agreement(settings.cdn, settings.mongo) == []
    without = settings.cdn.model_copy(update={"distribution_id": ""})
    level, text = one(await check_agreement(without, settings.mongo))
    assert level is Level.WARNING
    assert "EDGE" in text
    assert "here, the distribution is none" in text
    long_ago = {"$set": {"told_at": {"$subtract": ["$$NOW", 8 * 86_400_000]}}}
    await database.handle["distributions"].update_one({"_id": "EDGE"}, [long_ago])
    assert await check_agreement(without, settings.mongo) == []
