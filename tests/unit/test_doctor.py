"""What the doctor makes of a database server's account of itself, and of an edge's answers."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from service.delivery import load_signers
from service.dev.edge import Behavior, Edge, EdgeSettings
from service.doctor.database import judge_server
from service.doctor.edge import check_edge
from service.doctor.findings import Level
from service.doctor.load import check_proxies
from service.http_probe import Answer
from service.settings import Environment, LimitsSettings
from service.stores.inspection import ServerFacts
from tests.edge_stand import BASE, Bucket, delivery_settings


def worst(environment: Environment = Environment.PRODUCTION, **changed: Any) -> tuple[Level, str]:
    """The gravest finding for a healthy set of three, except for what is `changed`."""
    facts: dict[str, Any] = {
        "member": "a:27017",
        "version": "7.0.14",
        "is_sharded": False,
        "replica_set": "rs0",
        "data_members": 3,
        "arbiters": 0,
        "write_concern": {"w": "majority", "j": True},
        "clock_ahead_s": 0.01,
    }
    findings = judge_server(ServerFacts(**{**facts, **changed}), environment)
    gravest = max(findings, key=lambda finding: list(Level).index(finding.level))
    assert gravest.level is Level.OK or gravest.remedy
    return gravest.level, gravest.text


@pytest.mark.parametrize(
    "healthy",
    [{}, {"replica_set": None, "is_sharded": True, "data_members": 0}, {"clock_ahead_s": -4.9}, {"version": "6.0.5"}],
)
def test_healthy_servers_are_left_alone(healthy: dict[str, Any]) -> None:
    assert worst(**healthy)[0] is Level.OK


@pytest.mark.parametrize(
    ("changed", "level", "said"),
    [
        ({"replica_set": None, "data_members": 0}, Level.PROBLEM, "standalone"),
        ({"write_concern": {"w": 1}}, Level.PROBLEM, "Writes wait for"),
        ({"data_members": 1, "arbiters": 2}, Level.PROBLEM, "arbiters"),
        ({"data_members": 2, "arbiters": 1}, Level.WARNING, "stops writing"),
        ({"data_members": 1}, Level.WARNING, "one member only"),
        ({"version": "5.0.31"}, Level.WARNING, "older than any tested"),
        ({"clock_ahead_s": 61}, Level.PROBLEM, "61.0 s ahead of"),
        ({"clock_ahead_s": -6}, Level.WARNING, "6.0 s behind"),
    ],
)
def test_what_would_break_the_service_is_said(changed: dict[str, Any], level: Level, said: str) -> None:
    found, text = worst(**changed)
    assert found is level
    assert said in text


def test_one_member_is_enough_for_development() -> None:
    assert worst(Environment.DEVELOPMENT, data_members=1)[0] is Level.OK


@pytest.mark.parametrize("is_apart", [True, False])
async def test_an_edge_that_takes_the_public_key_for_private_pictures_is_told(
    monkeypatch: pytest.MonkeyPatch, is_apart: bool
) -> None:
    signers = load_signers(delivery_settings())
    public, private = ({each.key_pair_id: each.public_key} for each in (signers.public, signers.private))
    behaviors = (
        Behavior("*/raw/*", "uploads", {signers.original.key_pair_id: signers.original.public_key}),
        Behavior("*/private/*", "media", private if is_apart else public | private),
        Behavior("*/processed/*", "media", public | private),
    )
    app = Edge(EdgeSettings(behaviors=behaviors), Bucket())
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app))

    async def ask(url: str) -> Answer:
        response = await client.get(url)
        return Answer(response.status_code, response.text)

    monkeypatch.setattr("service.doctor.edge.probe", ask)
    findings = await check_edge(BASE, signers, None)
    told = [finding for finding in findings if finding.level is Level.PROBLEM]
    if is_apart:
        assert told == []
    else:
        [finding] = told
        assert "key of the public ones" in finding.text
        assert "*/private/*" in (finding.remedy or "")


def test_in_production_it_is_said_that_clients_cannot_be_told_apart() -> None:
    [finding] = check_proxies(LimitsSettings(), Environment.PRODUCTION)
    assert finding.level is Level.WARNING
    assert "MEDIA_LIMITS__TRUSTED_PROXIES" in (finding.remedy or "")
    assert not check_proxies(LimitsSettings(), Environment.DEVELOPMENT)
    assert not check_proxies(LimitsSettings(trusted_proxies=("10.0.0.0/8",)), Environment.PRODUCTION)  # type: ignore[arg-type]
