"""What must not go live: each rule is one sentence that says what is wrong and what to set instead."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable

from pydantic import ValidationError
from pydantic_settings import SettingsError

from service.errors import ConfigurationError
from service.models import Role
from service.settings import Environment, Settings
from service.settings.webhooks import webhook_key

_MINIMUM_SECRET = 32
# Different ones in a key: 24 random bytes have 20 and more.
_FEWEST_BYTES = 12

_WEAK = ("development", "changeme", "secret", "password", "example")


def _is_weak(secret: str) -> bool:
    return len(secret) < _MINIMUM_SECRET or len(set(secret)) < 8 or any(word in secret.lower() for word in _WEAK)


def _token_secrets(settings: Settings) -> str | None:
    for issuer in settings.auth.issuers:
        if (issuer.algorithm or "").startswith("HS") and _is_weak(issuer.key.get_secret_value()):
            return f"The token secret of issuer {issuer.issuer} is a default or guessable: set 32 random bytes or more."
    return None


def _published_keys(settings: Settings) -> str | None:
    for issuer in settings.auth.issuers:
        if issuer.jwks_url is not None and not issuer.jwks_url.startswith("https://"):
            return f"The jwks_url of issuer {issuer.issuer} must be https: whoever answers there can sign anybody in."
    return None


def _issuers(settings: Settings) -> str | None:
    return None if settings.auth.issuers else "Nobody could sign in: name an issuer in MEDIA_AUTH__ISSUERS."


def _event_token(settings: Settings) -> str | None:
    token = settings.storage.event_token.get_secret_value()
    return (
        "MEDIA_STORAGE__EVENT_TOKEN is guessable: set 32 random bytes, or nothing."
        if token and _is_weak(token)
        else None
    )


def _storage_secret(settings: Settings) -> str | None:
    secret = settings.storage.secret_key.get_secret_value()
    return (
        "MEDIA_STORAGE__SECRET_KEY is a default or guessable: use a generated key, or a role."
        if secret and _is_weak(secret)
        else None
    )


def _ide(settings: Settings) -> str | None:
    http = settings.http
    return (
        "GraphiQL and the demo page are for development: unset MEDIA_HTTP__GRAPHIQL and MEDIA_HTTP__DEMO."
        if http.graphiql or http.demo
        else None
    )


def _replica_set(settings: Settings) -> str | None:
    uri = settings.mongo.uri.get_secret_value()
    is_cluster = re.search(r"[?&]replicaSet=\w", uri) is not None or uri.startswith("mongodb+srv://")
    return (
        None if is_cluster else "MEDIA_MONGO__URI names no replica set: add replicaSet=NAME; change streams need one."
    )


def _cors(settings: Settings) -> str | None:
    origins = (*settings.http.allowed_origins, *settings.storage.allowed_origins)
    if any("*" in origin for origin in origins):
        return "Wildcard origins let any page use its visitors' tokens: list exact origins."
    if any(not origin.startswith("https://") for origin in origins):
        return "Allowed origins must be https: anybody on the way can speak for a page that is not."
    return None


def _delivery(settings: Settings) -> str | None:
    if not settings.delivery.base_url.startswith("https://"):
        return "MEDIA_DELIVERY__BASE_URL must be https: signed URLs are credentials."
    return None


def _storage_endpoint(settings: Settings) -> str | None:
    where_clients_send = settings.storage.public_endpoint or settings.storage.endpoint
    if where_clients_send is not None and not where_clients_send.startswith("https://"):
        return "MEDIA_STORAGE__PUBLIC_ENDPOINT (or __ENDPOINT) must be https: presigned requests are credentials."
    return None


def _events(settings: Settings) -> str | None:
    events = settings.events
    addresses = (events.queue_url, events.endpoint, events.dead_letter_url)
    if any(address is not None and not address.startswith("https://") for address in addresses):
        return "MEDIA_EVENTS__QUEUE_URL, __ENDPOINT and __DEAD_LETTER_URL must be https: what they bring is acted on."
    if events.dead_letter_url is not None and events.dead_letter_url == events.queue_url:
        return "MEDIA_EVENTS__DEAD_LETTER_URL is the queue itself: its dead letters would never end."
    return None


def _job_queues(settings: Settings) -> str | None:
    jobs = settings.jobs
    if any(
        address is not None and not address.startswith("https://")
        for address in (*jobs.queue_urls.values(), jobs.endpoint)
    ):
        return "MEDIA_JOBS__QUEUE_URLS and __ENDPOINT must be https: the keys of SQS requests are credentials."
    return None


def _webhooks(settings: Settings) -> str | None:
    for receiver in settings.webhooks.receivers:
        if not receiver.url.startswith("https://"):
            return f"The url of webhook receiver {receiver.name} must be https: what it is told is for nobody else."
        keys = map(webhook_key, receiver.secrets)
        if any(len(set(key)) < _FEWEST_BYTES or any(word.encode() in key for word in _WEAK) for key in keys):
            return f"A secret of webhook receiver {receiver.name} is guessable: set 32 random bytes."
    return None


def _failpoint(settings: Settings) -> str | None:
    return None if settings.failpoint is None else "MEDIA_FAILPOINT makes this process kill itself: unset it."


Rule = Callable[[Settings], str | None]

_RULES: tuple[Rule, ...] = (_failpoint, _storage_secret, _replica_set, _cors, _events, _job_queues, _webhooks)

# A worker answers nobody, and signs only to ask edges for what was deleted.
_API_RULES: tuple[Rule, ...] = (
    *_RULES,
    _issuers,
    _token_secrets,
    _published_keys,
    _event_token,
    _ide,
    _delivery,
    _storage_endpoint,
)


def unsafe_settings(settings: Settings, role: Role) -> list[str]:
    """A sentence for each setting that must not go live in that role; empty in development, and when all is well."""
    if settings.environment is not Environment.PRODUCTION:
        return []
    rules = _API_RULES if role is Role.API else _RULES
    return [problem for rule in rules if (problem := rule(settings)) is not None]


def read_settings() -> Settings:
    """The settings as they are, unsafe or not. Raises ConfigurationError, one sentence a problem, if they are wrong."""
    try:
        return Settings()
    except ValidationError as error:
        # Values stay out of the message: they may be secrets.
        lines = [f"MEDIA_{'__'.join(map(str, item['loc'])).upper()}: {item['msg']}" for item in error.errors()]
        raise ConfigurationError("\n".join(lines)) from None
    except SettingsError as error:
        raise ConfigurationError(_without_json(error)) from None


def _without_json(error: SettingsError) -> str:
    """Which variable holds no JSON though it should, and where it goes wrong; without its value."""
    cause = error.__cause__
    if not isinstance(cause, json.JSONDecodeError):
        return f"A MEDIA_* variable cannot be read: {error}."
    # What has read the environment says which text it was, but not whose.
    given = (name for name, value in os.environ.items() if value == cause.doc and name.upper().startswith("MEDIA_"))
    where = f"at line {cause.lineno}, column {cause.colno}"
    return f"{next(given, 'A MEDIA_* variable')}: it must be JSON, and is not: {cause.msg} {where}"


def load_settings(role: Role) -> Settings:
    """The settings of this process. Raises ConfigurationError, one sentence a problem, if they are wrong or unsafe."""
    settings = read_settings()
    if problems := unsafe_settings(settings, role):
        raise ConfigurationError("\n".join(problems))
    return settings
