"""Who is told of events over HTTP, and how patiently."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from service.models import MediaPurpose
from service.settings.group import Group

SECRET_PREFIX = "whsec_"  # noqa: S105 - what every secret begins with
# Of the key itself, as the Standard Webhooks specification has it.
_KEY_BYTES = range(24, 65)

_HOUR, _DAY = 3_600, 86_400


def webhook_key(secret: SecretStr) -> bytes:
    """The key that `whsec_` and base64 stand for. Raises ValueError."""
    text = secret.get_secret_value()
    try:
        key = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not text.startswith(SECRET_PREFIX) or len(key) not in _KEY_BYTES:
        raise ValueError(f"a webhook secret is {SECRET_PREFIX} and the base64 of 24 to 64 random bytes")
    return key


class ReceiverSettings(Group):
    """One back end that is told. Its name is for good: what waits for it is kept under that name."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")
    url: str = Field(max_length=2_000)
    secrets: tuple[SecretStr, ...] = Field(
        default=(), max_length=2, description="Each signs; two while they are rotated. A process that sends needs one"
    )
    events: tuple[Annotated[str, Field(pattern=r"^(media|deletion)\.(\*|[a-z_]+)$")], ...] = Field(
        default=(), description="Only these types, such as media.ready or deletion.*; empty: all"
    )
    purposes: tuple[MediaPurpose, ...] = Field(default=(), description="Only media of these; empty: all")
    private_network: bool = Field(default=False, description="In production: its address may be a private one")

    @field_validator("url")
    @classmethod
    def _is_plain(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in {"https", "http"} or not parts.hostname or "@" in parts.netloc or parts.fragment:
            raise ValueError("it must be an https address without a user and without a fragment")
        if not (url.isascii() and url.isprintable()) or " " in url:
            raise ValueError("it must be written in ASCII, without spaces")
        if parts.port == 0:
            raise ValueError("there is no port 0")
        try:
            # As names are looked up: a label is of 1 to 63 characters.
            parts.hostname.encode("idna")
        except UnicodeError:
            raise ValueError("its host has a part that is empty or too long") from None
        return url

    @field_validator("secrets")
    @classmethod
    def _are_keys(cls, secrets: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if len({webhook_key(secret) for secret in secrets}) < len(secrets):
            raise ValueError("both secrets are the same: rotation needs a new one")
        return secrets


class WebhookSettings(Group):
    """Events are noted by every process that changes media, and sent by workers."""

    enabled: bool = Field(default=False, description="Note events also where no receiver is known")
    receivers: tuple[ReceiverSettings, ...] = ()
    concurrency: int = Field(default=4, ge=1, le=100, description="Requests at once to one receiver, of each worker")
    poll_s: float = Field(default=0.5, gt=0, description="Pause between looks at what is to be sent")
    connect_timeout_s: float = Field(default=5, gt=0, le=60)
    timeout_s: float = Field(default=15, gt=0, le=60, description="For a request as a whole")
    backoff_s: tuple[float, ...] = Field(
        default=(5, 60, 300, 1_800, 2 * _HOUR, 5 * _HOUR),
        min_length=1,
        description="Pauses before an event is sent again, give or take a quarter; the last one repeats",
    )
    give_up_s: float = Field(default=3 * _DAY, gt=0, description="An event this old that fails is a dead letter")
    keep_s: float = Field(default=7 * _DAY, gt=0, description="How long delivered events can be replayed")
    keep_dead_s: float = Field(default=30 * _DAY, gt=0, description="How long dead letters are kept")

    @model_validator(mode="after")
    def _names_each_receiver_once(self) -> WebhookSettings:
        if len({receiver.name for receiver in self.receivers}) < len(self.receivers):
            raise ValueError("two receivers have the same name")
        return self

    @property
    def notes_events(self) -> bool:
        """Whether changes of media are to be noted for receivers."""
        return self.enabled or bool(self.receivers)
