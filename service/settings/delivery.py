"""How URLs are signed, and who is told that objects are gone."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr, field_validator

from service.settings.group import Group


class TrustedKey(Group):
    """The public half of a CloudFront key pair: its id, and the key as PEM (RSA-2048 or ECDSA P-256)."""

    key_pair_id: str
    public_key: str


class SigningKey(Group):
    """A CloudFront key pair: its public key's id, and the private key as PEM (RSA-2048 or ECDSA P-256)."""

    key_pair_id: str
    private_key: SecretStr
    also_trusted: tuple[TrustedKey, ...] = Field(
        default=(), description="In the key group besides: the next key, or the last one while its URLs still live"
    )


class DeliverySettings(Group):
    base_url: str = "http://127.0.0.1:8090"
    public_key: SigningKey | None = Field(default=None, description="Signs PUBLIC renditions")
    private_key: SigningKey | None = Field(default=None, description="Signs PRIVATE renditions; public_key if unset")
    original_key: SigningKey | None = Field(default=None, description="Signs originals; private_key if unset")
    hash_algorithm: Literal["SHA1", "SHA256"] = "SHA256"
    cookie_domain: str = Field(
        default="", description="Domain of the cookies that open PUBLIC renditions; empty: none are given out"
    )

    @field_validator("base_url")
    @classmethod
    def _no_trailing_slash(cls, value: str) -> str:
        return value.rstrip("/")


class CdnSettings(Group):
    """The distribution that is told to forget what is removed; without its id none is."""

    distribution_id: str = ""
    endpoint: str | None = Field(default=None, description="Where CloudFront is managed; None for AWS")
    cache_tags: bool = Field(default=True, description="Invalidate by cache tag where the distribution reads them")
    poll_s: float = Field(default=2.0, gt=0, description="How often requests are gathered and progress is asked for")
