"""Tokens that would let their bearer do everything, if they held."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import jwt

from service.settings import IssuerSettings


def bad_tokens(issuer: IssuerSettings, subject: str, roles: Sequence[str]) -> dict[str, str]:
    """By what is wrong with them; all are signed with the key of `issuer`."""
    now, key = datetime.now(UTC), issuer.key.get_secret_value()
    good = {"iss": issuer.issuer, "aud": issuer.audience, "sub": subject, "roles": list(roles)}
    good |= {"iat": now, "exp": now + timedelta(days=1)}
    wrong = {
        "expired": {"iat": now - timedelta(days=2), "exp": now - timedelta(days=1)},
        "of an unknown issuer": {"iss": "https://elsewhere"},
        "not yet valid": {"nbf": now + timedelta(hours=1)},
        "of the command line's name": {"sub": "operator"},
        "of a subject that is no text": {"sub": f"{subject}\ud800"},
    }
    return {name: jwt.encode({**good, **each}, key, algorithm=issuer.algorithm) for name, each in wrong.items()}
