"""Whose tokens are believed."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator

from service.settings.group import Group

TokenAlgorithm = Literal["HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "EdDSA"]


class IssuerSettings(Group):
    """Who may issue tokens: with one algorithm and one key, or with those that it publishes."""

    issuer: str
    audience: str
    algorithm: TokenAlgorithm | None = None
    key: SecretStr = Field(
        default=SecretStr(""), description="The shared secret (HS256: 32 bytes or more) or the public key as PEM"
    )
    jwks_url: str | None = Field(default=None, description="Where the issuer publishes its keys, instead of one here")

    @model_validator(mode="after")
    def _has_keys_from_one_place(self) -> IssuerSettings:
        if self.jwks_url is None:
            if self.algorithm is None or not self.key.get_secret_value():
                raise ValueError("an issuer needs algorithm and key, or jwks_url")
            return self
        if self.algorithm is not None or self.key.get_secret_value():
            raise ValueError("an issuer with jwks_url has algorithms and keys from there: leave out algorithm and key")
        parts = urlsplit(self.jwks_url)
        if parts.scheme not in {"https", "http"} or not parts.hostname or "@" in parts.netloc or parts.fragment:
            raise ValueError("jwks_url must be an https address without a user and without a fragment")
        if not (self.jwks_url.isascii() and self.jwks_url.isprintable()) or " " in self.jwks_url:
            raise ValueError("jwks_url must be written in ASCII, without spaces")
        return self


class AuthSettings(Group):
    issuers: tuple[IssuerSettings, ...] = ()
    leeway_s: int = Field(default=10, ge=0, le=60)
    jwks_refresh_s: float = Field(default=300, ge=10, description="How often published keys are fetched again")
    jwks_max_age_s: float = Field(
        default=86_400, ge=60, description="How long published keys hold that cannot be fetched again"
    )

    @model_validator(mode="after")
    def _names_each_issuer_once(self) -> AuthSettings:
        if len({issuer.issuer for issuer in self.issuers}) < len(self.issuers):
            raise ValueError("two issuers have the same name: only one of their keys would hold")
        return self
