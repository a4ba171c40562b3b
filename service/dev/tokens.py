"""Bearer tokens for development, signed with the folder's own secret."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import jwt
from pydantic import SecretStr

from service.settings import IssuerSettings


def dev_issuer(secret: str) -> IssuerSettings:
    """The one issuer that a development API trusts."""
    return IssuerSettings(issuer="media-dev", audience="media-api", algorithm="HS256", key=SecretStr(secret))


def mint_token(
    issuer: IssuerSettings, subject: str, *, roles: Sequence[str] = (), lifetime: timedelta = timedelta(days=7)
) -> str:
    """A token of `issuer` (HS256: its key is the secret itself) for `subject`."""
    now = datetime.now(UTC)
    claims = {
        "iss": issuer.issuer,
        "aud": issuer.audience,
        "sub": subject,
        "iat": now,
        "exp": now + lifetime,
        "roles": list(roles),
    }
    return jwt.encode(claims, issuer.key.get_secret_value(), algorithm=issuer.algorithm)
