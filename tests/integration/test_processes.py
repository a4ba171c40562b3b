"""The processes as an operator meets them: refusals at the start, health, metrics."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from service.dev.environment import environment_of
from service.settings import Environment, Settings
from tests.integration.conftest import RunningService
from tests.photos import small_photo

REPOSITORY = Path(__file__).parents[2]


def start(command: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command that is expected to refuse; what it said."""
    return subprocess.run(
        [sys.executable, "-m", "service", command],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def bare(**variables: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MEDIA_")}
    return {**inherited, **variables}


@pytest.mark.parametrize("command", ["api", "worker"])
def test_production_defaults_are_refused_in_sentences(command: str) -> None:
    refused = start(command, bare(MEDIA_MONGO__URI="mongodb://127.0.0.1:1/"))
    assert refused.returncode == 1
    assert "Not started." in refused.stderr
    assert "replica set" in refused.stderr
    assert "Traceback" not in refused.stderr + refused.stdout


@pytest.mark.parametrize("command", ["api", "worker"])
def test_database_that_is_away_is_told_in_a_sentence(command: str, settings: Settings) -> None:
    environment = environment_of(settings, ("storage", "delivery", "auth", "http"))
    environment |= {"MEDIA_MONGO__URI": "mongodb://127.0.0.1:1/?replicaSet=rs0", "MEDIA_MONGO__TIMEOUT_MS": "300"}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        environment["MEDIA_WORKER__METRICS_PORT"] = str(taken.getsockname()[1])
        refused = start(command, environment)
    assert refused.returncode == 1
    # Its own port comes later: what ends at its start has never said that it is healthy.
    assert "MongoDB does not answer" in refused.stderr
    assert "Traceback" not in refused.stderr + refused.stdout


def test_unusable_signing_key_is_told_in_a_sentence_without_the_key(settings: Settings) -> None:
    assert settings.environment is Environment.DEVELOPMENT
    environment = environment_of(settings, ("mongo", "storage", "delivery", "auth", "http"))
    environment["MEDIA_DELIVERY__PUBLIC_KEY"] = '{"key_pair_id": "K1", "private_key": "not-a-key-but-secret"}'
    refused = start("api", environment)
    assert refused.returncode == 1
    assert "Not started." in refused.stderr
    assert "not-a-key-but-secret" not in refused.stderr + refused.stdout
    assert "Traceback" not in refused.stderr + refused.stdout


async def test_health_readiness_and_metrics(service: RunningService, http: httpx.AsyncClient) -> None:
    anna = service.client("anna")
    await anna.send(small_photo(1))
    await anna.create(b"", purpose="MEDICAL")
    assert (await http.get(f"{service.url}/healthz")).json() == {"status": "ok"}
    ready = await http.get(f"{service.url}/readyz")
    assert (ready.status_code, ready.json()) == (200, {"database": "ok", "storage": "ok", "changes": "ok"})
    text = (await http.get(f"{service.url}/metrics")).text
    for line in (
        'media_uploads_total{outcome="created",purpose="COMMUNITY"} 1.0',
        'media_uploads_total{outcome="completed",purpose="COMMUNITY"} 1.0',
        'media_uploads_total{outcome="refused",purpose="MEDICAL"} 1.0',
        'media_status_entered_total{purpose="COMMUNITY",status="UPLOADED"} 1.0',
        'media_queue_age_seconds{lane="standard"}',
        "media_change_stream_lag_seconds ",
    ):
        assert line in text


async def test_answers_name_their_request_and_keep_to_their_place(
    service: RunningService, http: httpx.AsyncClient
) -> None:
    answer = await http.post(
        f"{service.url}/graphql", json={"query": "{ viewer { id } }"}, headers={"X-Request-Id": "abc-123"}
    )
    assert answer.headers["x-request-id"] == "abc-123"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_wrong_token_is_401_and_nothing_runs(service: RunningService, http: httpx.AsyncClient) -> None:
    before = await service.runtime.database.media.count_documents({})
    answer = await http.post(
        f"{service.url}/graphql", json={"query": "{ viewer { id } }"}, headers={"Authorization": "Bearer rubbish"}
    )
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
    assert await service.runtime.database.media.count_documents({}) == before
