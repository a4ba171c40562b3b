"""The settings of the embedded stack, as objects and as the environment of its processes."""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from pydantic import BaseModel, SecretStr

from service.dev.keys import DevKeys
from service.dev.tokens import dev_issuer
from service.settings import (
    AuthSettings,
    CdnSettings,
    DeliverySettings,
    Environment,
    HttpSettings,
    MongoSettings,
    ReceiverSettings,
    Settings,
    SigningKey,
    StorageSettings,
    WebhookSettings,
    WorkerSettings,
)
from service.settings.webhooks import SECRET_PREFIX

# Development tuning that may come from outside. Nothing else does: a variable left over from another
# deployment must not lead the embedded stack to that deployment's data.
_PASSED_ON = ("MEDIA_LOG_LEVEL", "MEDIA_WORKER__")


def dev_delivery(keys: DevKeys, base_url: str) -> DeliverySettings:
    """Three key pairs, as in production: public, private, originals."""
    return DeliverySettings(
        base_url=base_url,
        public_key=SigningKey(key_pair_id="KDEVPUBLIC", private_key=SecretStr(keys.public_signing_key)),
        private_key=SigningKey(key_pair_id="KDEVPRIVATE", private_key=SecretStr(keys.private_signing_key)),
        original_key=SigningKey(key_pair_id="KDEVORIGINAL", private_key=SecretStr(keys.original_signing_key)),
    )


def origins_of(api_port: int) -> tuple[str, str]:
    """Where the demo page may be opened from."""
    return f"http://127.0.0.1:{api_port}", f"http://localhost:{api_port}"


def dev_settings(
    keys: DevKeys, *, mongo_uri: str, s3_url: str, ports: Mapping[str, int], more_origins: Sequence[str] = ()
) -> Settings:
    """Settings that point at the embedded parts; `ports` names those of `api`, `edge` and `worker`.

    `more_origins`: pages besides the demo page that may call the API, storage and the edge. Events are sent to the
    port of `webhooks`, where there is one.
    """
    api_port = ports["api"]
    origins = (*origins_of(api_port), *more_origins)
    return Settings(
        environment=Environment.DEVELOPMENT,
        mongo=MongoSettings(uri=SecretStr(mongo_uri)),
        storage=StorageSettings(
            endpoint=s3_url,
            access_key=keys.storage_access_key,
            secret_key=SecretStr(keys.storage_secret_key),
            allowed_origins=origins,
            event_token=SecretStr(keys.event_token),
        ),
        delivery=dev_delivery(keys, f"http://127.0.0.1:{ports['edge']}"),
        cdn=CdnSettings(distribution_id="DEV", endpoint=f"http://127.0.0.1:{ports['edge']}"),
        auth=AuthSettings(issuers=(dev_issuer(keys.token_secret),)),
        http=HttpSettings(
            port=api_port, allowed_origins=origins, graphiql=True, demo=True, introspection=True, drain_s=2
        ),
        worker=WorkerSettings(metrics_port=ports["worker"]),
        webhooks=_local_receiver(ports.get("webhooks")),
    )


def _local_receiver(port: int | None) -> WebhookSettings:
    """One receiver on this machine, with a secret for this run; none without a port."""
    if port is None:
        return WebhookSettings()
    secret = SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()
    receiver = ReceiverSettings(name="local", url=f"http://127.0.0.1:{port}/", secrets=(SecretStr(secret),))
    return WebhookSettings(enabled=True, receivers=(receiver,))


def environment_of(settings: Settings, groups: Sequence[str]) -> dict[str, str]:
    """This process's environment plus the named groups of `settings` as `MEDIA_*` variables, secrets in clear."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("MEDIA_") or name.startswith(_PASSED_ON)
    }
    return inherited | variables_of(settings, groups)


def variables_of(settings: Settings, groups: Sequence[str]) -> dict[str, str]:
    """The named groups of `settings` as the `MEDIA_*` variables that make them."""
    ours = {
        f"MEDIA_{group.upper()}__{name.upper()}": _as_text(value)
        for group in groups
        for name, value in _revealed(getattr(settings, group)).items()
    }
    return {"MEDIA_ENVIRONMENT": settings.environment.value, **ours}


def _revealed(value: object) -> Any:
    match value:
        case SecretStr():
            return value.get_secret_value()
        case BaseModel():
            return {name: _revealed(each) for name, each in value if each is not None}
        case dict():
            return {str(name): _revealed(each) for name, each in value.items()}
        case tuple():
            return [_revealed(each) for each in value]
        case _:
            return value


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
