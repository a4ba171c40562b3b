from __future__ import annotations

import time
from datetime import datetime, timedelta, tzinfo
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import SecretStr

from service.access import ANONYMOUS
from service.auth import Authenticator, Unauthenticated
from service.settings import AuthSettings, IssuerSettings

SECRET = "an-hs256-secret-of-thirty-two-bytes-or-more"
EC_KEY = ec.generate_private_key(ec.SECP256R1())
EC_PUBLIC = EC_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.fixture
def authenticator() -> Authenticator:
    shared = IssuerSettings(issuer="https://app", audience="media", algorithm="HS256", key=SecretStr(SECRET))
    signed = IssuerSettings(issuer="https://idp", audience="media", algorithm="ES256", key=SecretStr(EC_PUBLIC))
    return Authenticator(AuthSettings(issuers=(shared, signed)))


def claims(**changed: Any) -> dict[str, Any]:
    now = int(time.time())
    whole = {"iss": "https://app", "aud": "media", "sub": "anna", "iat": now, "exp": now + 60, **changed}
    return {name: value for name, value in whole.items() if value is not None}


def token(key: Any = SECRET, algorithm: str = "HS256", **changed: Any) -> str:
    return jwt.encode(claims(**changed), key, algorithm=algorithm)


def test_viewer_of_a_token(authenticator: Authenticator) -> None:
    viewer = authenticator.authenticate(token(roles=["moderator"]))
    assert (viewer.id, viewer.roles) == ("anna", {"moderator"})


def test_each_issuer_has_its_own_algorithm_and_key(authenticator: Authenticator) -> None:
    assert authenticator.authenticate(token(EC_KEY, "ES256", iss="https://idp")).id == "anna"


def test_no_token_is_anonymous(authenticator: Authenticator) -> None:
    assert authenticator.authenticate(None) is ANONYMOUS


@pytest.mark.parametrize("claim", ["exp", "iat", "sub", "aud", "iss"])
def test_required_claims(authenticator: Authenticator, claim: str) -> None:
    with pytest.raises(Unauthenticated):
        authenticator.authenticate(token(**{claim: None}))


@pytest.mark.parametrize(
    "wrong",
    [
        {"aud": "another"},
        {"iss": "https://unknown"},
        {"sub": ""},
        {"sub": "x" * 201},
        {"iat": time.time() + 3_600},
        {"roles": "moderator"},
        {"roles": [1]},
    ],
)
def test_wrong_claims(authenticator: Authenticator, wrong: dict[str, Any]) -> None:
    with pytest.raises(Unauthenticated):
        authenticator.authenticate(token(**wrong))


def test_expired_token_says_so(authenticator: Authenticator) -> None:
    with pytest.raises(Unauthenticated, match="expired"):
        authenticator.authenticate(token(exp=int(time.time()) - 60))


def test_algorithm_is_not_the_senders_to_choose(authenticator: Authenticator) -> None:
    with pytest.raises(Unauthenticated):
        authenticator.authenticate(jwt.encode(claims(), None, algorithm="none"))
    # The classic confusion: an issuer's public key used as a shared secret.
    header_and_body = jwt.encode(claims(iss="https://idp"), "k" * 32, algorithm="HS256")
    with pytest.raises(Unauthenticated):
        authenticator.authenticate(header_and_body)
    with pytest.raises(Unauthenticated):
        authenticator.authenticate(token("k" * 32))


@pytest.mark.parametrize("rubbish", ["", ".", "a.b.c", "é", "ey" * 5_000, "\x00", "eyJhbGciOiJIUzI1NiJ9.W10.x"])
def test_rubbish_is_refused_without_detail(authenticator: Authenticator, rubbish: str) -> None:
    with pytest.raises(Unauthenticated) as refused:
        authenticator.authenticate(rubbish)
    assert SECRET not in str(refused.value)


def test_weak_keys_are_refused() -> None:
    weak = IssuerSettings(issuer="https://app", audience="media", algorithm="HS256", key=SecretStr("short"))
    with pytest.raises(Unauthenticated), pytest.warns(jwt.InsecureKeyLengthWarning):
        Authenticator(AuthSettings(issuers=(weak,))).authenticate(token("short"))


def test_a_token_is_verified_once_and_not_beyond_its_end(
    authenticator: Authenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = token(EC_KEY, "ES256", iss="https://idp", exp=int(time.time()) + 60)
    viewer = authenticator.authenticate(held)
    with monkeypatch.context() as patched:
        patched.setattr(jwt, "decode", lambda *_args, **_options: pytest.fail("verified again"))
        assert authenticator.authenticate(held) is viewer
        with pytest.raises(pytest.fail.Exception, match="verified again"):
            authenticator.authenticate(held[:-6] + "AAAAAA")
    later = time.time() + 71
    monkeypatch.setattr(time, "time", lambda: later)
    monkeypatch.setattr(jwt.api_jwt, "datetime", _Later)
    with pytest.raises(Unauthenticated, match="expired"):
        authenticator.authenticate(held)


class _Later(datetime):
    """The clock of PyJWT, 71 seconds on."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:
        return datetime.now(tz) + timedelta(seconds=71)


def test_only_so_many_tokens_are_remembered(authenticator: Authenticator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.auth._REMEMBERED_TOKENS", 3)
    for number in range(9):
        assert authenticator.authenticate(token(sub=f"anna-{number}")).id == f"anna-{number}"
    assert len(authenticator._verified) == 3
