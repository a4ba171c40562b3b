from __future__ import annotations

import secrets
from typing import Any

import pytest
from pydantic import SecretStr

from service.errors import ConfigurationError
from service.failpoints import Failpoint
from service.models import Lane, Role
from service.production import load_settings, unsafe_settings
from service.settings import (
    AuthSettings,
    DeliverySettings,
    Environment,
    EventsSettings,
    HttpSettings,
    IssuerSettings,
    JobsSettings,
    MongoSettings,
    Settings,
    StorageSettings,
)


def publishing(url: str) -> IssuerSettings:
    return IssuerSettings(issuer="https://idp", audience="media", jwks_url=url)


def issuer(key: str) -> IssuerSettings:
    return IssuerSettings(issuer="https://app", audience="media", algorithm="HS256", key=SecretStr(key))


def production(**changed: Any) -> Settings:
    safe: dict[str, Any] = {
        "environment": Environment.PRODUCTION,
        "mongo": MongoSettings(uri=SecretStr("mongodb://a,b,c/?replicaSet=rs0")),
        "auth": AuthSettings(issuers=(issuer(secrets.token_urlsafe(32)),)),
        "delivery": DeliverySettings(base_url="https://cdn.example.com"),
        "http": HttpSettings(allowed_origins=("https://app.example.com",)),
        "storage": StorageSettings(),
    }
    return Settings(**{**safe, **changed})


def test_safe_settings_pass_in_either_role() -> None:
    for role in Role:
        assert unsafe_settings(production(), role) == []


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"auth": AuthSettings(issuers=())}, "Nobody could sign in"),
        ({"auth": AuthSettings(issuers=(issuer("development-only-secret-of-32-bytes!"),))}, "default or guessable"),
        ({"auth": AuthSettings(issuers=(issuer("a" * 40),))}, "default or guessable"),
        ({"auth": AuthSettings(issuers=(publishing("http://idp/keys"),))}, "must be https"),
        ({"http": HttpSettings(graphiql=True)}, "GraphiQL"),
        ({"http": HttpSettings(demo=True)}, "demo page"),
        ({"http": HttpSettings(allowed_origins=("*",))}, "Wildcard origins"),
        ({"http": HttpSettings(allowed_origins=("null",))}, "must be https"),
        ({"http": HttpSettings(allowed_origins=("http://app.example.com",))}, "must be https"),
        ({"mongo": MongoSettings(uri=SecretStr("mongodb://one/?replicaSet="))}, "replica set"),
        ({"storage": StorageSettings(allowed_origins=("https://*.example.com",))}, "Wildcard origins"),
        ({"storage": StorageSettings(secret_key=SecretStr("secret"))}, "MEDIA_STORAGE__SECRET_KEY"),
        ({"storage": StorageSettings(event_token=SecretStr("token"))}, "MEDIA_STORAGE__EVENT_TOKEN"),
        ({"storage": StorageSettings(public_endpoint="http://s3.example.com")}, "must be https"),
        ({"storage": StorageSettings(endpoint="http://s3.example.com")}, "must be https"),
        ({"mongo": MongoSettings(uri=SecretStr("mongodb://one"))}, "replica set"),
        ({"delivery": DeliverySettings(base_url="http://cdn.example.com")}, "BASE_URL must be https"),
        ({"events": EventsSettings(queue_url="http://sqs.example.com/1/q")}, "MEDIA_EVENTS__QUEUE_URL"),
        ({"events": EventsSettings(endpoint="http://sqs.example.com")}, "MEDIA_EVENTS__QUEUE_URL"),
        ({"events": EventsSettings(queue_url="https://q", dead_letter_url="https://q")}, "the queue itself"),
        ({"jobs": JobsSettings(queue_urls=dict.fromkeys(Lane, "http://q"))}, "MEDIA_JOBS__QUEUE_URLS"),
    ],
)
def test_unsafe_settings_are_named_in_a_sentence(changed: dict[str, Any], sentence: str) -> None:
    problems = unsafe_settings(production(**changed), Role.API)
    assert len(problems) == 1
    assert sentence in problems[0]


def test_no_worker_starts_with_a_failpoint_in_production() -> None:
    [problem] = unsafe_settings(production(failpoint=Failpoint.JOB_CLAIMED), Role.WORKER)
    assert "MEDIA_FAILPOINT" in problem


def test_development_is_left_alone() -> None:
    assert unsafe_settings(Settings(environment=Environment.DEVELOPMENT), Role.API) == []


def test_startup_is_refused_and_no_secret_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDIA_MONGO__URI", "mongodb://user:hunter2@one")
    monkeypatch.setenv("MEDIA_HTTP__PORT", "eighty")
    with pytest.raises(ConfigurationError, match="MEDIA_HTTP__PORT") as refused:
        load_settings(Role.API)
    monkeypatch.setenv("MEDIA_HTTP__PORT", "80")
    with pytest.raises(ConfigurationError, match="replica set") as unsafe:
        load_settings(Role.API)
    assert "hunter2" not in f"{refused.value}{unsafe.value}"


def test_a_lane_without_a_queue_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDIA_JOBS__QUEUE_URLS", '{"first_visible": "https://sqs.example.com/1/urgent"}')
    with pytest.raises(ConfigurationError, match=r"MEDIA_JOBS__QUEUE_URLS: .*standard, backfill"):
        load_settings(Role.WORKER)


@pytest.mark.parametrize("name", ["MEDIA_WEBHOOKS__RECEIVERS", "MEDIA_WEBHOOKS"])
def test_what_is_no_json_is_refused_by_name_and_place_and_not_shown(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, '[{"name": "orders" "secrets": ["whsec_hunter2"]}]')
    with pytest.raises(ConfigurationError, match=rf"^{name}: it must be JSON.* line 1, column 20$") as refused:
        load_settings(Role.WORKER)
    assert "hunter2" not in str(refused.value)
