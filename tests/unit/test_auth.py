from __future__ import annotations

import time
from datetime import datetime, timedelta, tzinfo
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import SecretStr, ValidationError
from structlog.testing import capture_logs

from service.access import ANONYMOUS
from service.auth import Authenticator, Unauthenticated
from service.errors import ConfigurationError
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


async def test_viewer_of_a_token(authenticator: Authenticator) -> None:
    viewer = await authenticator.authenticate(token(roles=["moderator"]))
    assert (viewer.id, viewer.roles) == ("anna", {"moderator"})


async def test_each_issuer_has_its_own_algorithm_and_key(authenticator: Authenticator) -> None:
    assert (await authenticator.authenticate(token(EC_KEY, "ES256", iss="https://idp"))).id == "anna"


async def test_no_token_is_anonymous(authenticator: Authenticator) -> None:
    assert await authenticator.authenticate(None) is ANONYMOUS


@pytest.mark.parametrize("claim", ["exp", "iat", "sub", "aud", "iss"])
async def test_required_claims(authenticator: Authenticator, claim: str) -> None:
    with pytest.raises(Unauthenticated):
        await authenticator.authenticate(token(**{claim: None}))


@pytest.mark.parametrize(
    "wrong",
    [
        {"aud": "another"},
        {"iss": "https://unknown"},
        {"iat": time.time() + 3_600},
        {"roles": "moderator"},
        {"roles": [1]},
    ],
)
async def test_wrong_claims(authenticator: Authenticator, wrong: dict[str, Any]) -> None:
    with pytest.raises(Unauthenticated):
        await authenticator.authenticate(token(**wrong))


@pytest.mark.parametrize(
    ("subject", "why"),
    [
        ("", "1 to 200 characters"),
        ("x" * 201, "1 to 200 characters"),
        (["anna"], "not valid"),
        ("anna\ud800", "lone surrogates"),
        ("anna\x00", "control characters"),
        ("anna\nbert", "control characters"),
        ("anna\x9b", "control characters"),
        ("operator", "the service keeps this name"),
        ("service", "the service keeps this name"),
        ("erased:019c1234-5678-7abc-8def-0123456789ab", "the service keeps this name"),
    ],
)
async def test_subjects_that_are_nobodys_id(authenticator: Authenticator, subject: Any, why: str) -> None:
    with capture_logs() as logs, pytest.raises(Unauthenticated, match=why):
        await authenticator.authenticate(token(sub=subject))
    assert [(each["issuer"], why in each["why"]) for each in logs] == [("https://app", True)] * isinstance(subject, str)


@pytest.mark.parametrize("subject", ["operators", "Service", "erased", "x" * 200, "käte|7", "🦊", " "])
async def test_any_other_text_is_an_id(authenticator: Authenticator, subject: str) -> None:
    assert (await authenticator.authenticate(token(sub=subject))).id == subject


async def test_expired_token_says_so(authenticator: Authenticator) -> None:
    with pytest.raises(Unauthenticated, match="expired"):
        await authenticator.authenticate(token(exp=int(time.time()) - 60))


async def test_algorithm_is_not_the_senders_to_choose(authenticator: Authenticator) -> None:
    with pytest.raises(Unauthenticated):
        await authenticator.authenticate(jwt.encode(claims(), None, algorithm="none"))
    # The classic confusion: an issuer's public key used as a shared secret.
    header_and_body = jwt.encode(claims(iss="https://idp"), "k" * 32, algorithm="HS256")
    with pytest.raises(Unauthenticated):
        await authenticator.authenticate(header_and_body)
    with pytest.raises(Unauthenticated):
        await authenticator.authenticate(token("k" * 32))


@pytest.mark.parametrize("rubbish", ["", ".", "a.b.c", "é", "ey" * 5_000, "\x00", "eyJhbGciOiJIUzI1NiJ9.W10.x"])
async def test_rubbish_is_refused_without_detail(authenticator: Authenticator, rubbish: str) -> None:
    with pytest.raises(Unauthenticated) as refused:
        await authenticator.authenticate(rubbish)
    assert SECRET not in str(refused.value)


def pem(key: Any) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.mark.parametrize(
    ("algorithm", "key", "why"),
    [
        ("HS256", "short", "32 bytes or more"),
        ("HS512", "s" * 63, "64 bytes or more"),
        ("HS256", EC_PUBLIC, "not a secret"),
        ("RS256", pem(rsa.generate_private_key(65537, 1024)), "2048 to 8192 bits"),
        ("RS256", EC_PUBLIC, "it cannot be used with RS256, but with ES256"),
        ("ES384", EC_PUBLIC, "but with ES256"),
        ("ES256", pem(ec.generate_private_key(ec.SECP256K1())), "it cannot be used with ES256."),
        ("EdDSA", pem(ed448.Ed448PrivateKey.generate()), "only RSA"),
        ("ES256", SECRET, "no public key in PEM"),
    ],
)
def test_keys_that_are_weak_or_of_another_kind_stop_the_start(algorithm: Any, key: str, why: str) -> None:
    wrong = IssuerSettings(issuer="https://app", audience="media", algorithm=algorithm, key=SecretStr(key))
    with pytest.raises(ConfigurationError) as refused:
        Authenticator(AuthSettings(issuers=(wrong,)))
    assert why in str(refused.value)
    assert key not in str(refused.value)


@pytest.mark.parametrize(
    "changed",
    [
        {"jwks_url": "https://idp/keys"},
        {"key": SecretStr("")},
        {"algorithm": None},
        {"algorithm": None, "key": SecretStr(""), "jwks_url": "file:///etc/passwd"},
        {"algorithm": None, "key": SecretStr(""), "jwks_url": "https://user:word@idp/keys"},
        {"algorithm": None, "key": SecretStr(""), "jwks_url": "https:///keys"},
        {"algorithm": None, "key": SecretStr(""), "jwks_url": "https://idp/ke ys"},
        {"algorithm": None, "key": SecretStr(""), "jwks_url": "https://idp/a\r\nX-Header: b"},
    ],
)
def test_an_issuer_has_keys_from_one_place(changed: dict[str, Any]) -> None:
    whole = {"issuer": "https://app", "audience": "media", "algorithm": "HS256", "key": SecretStr(SECRET)}
    IssuerSettings(**whole)
    with pytest.raises(ValidationError):
        IssuerSettings(**{**whole, **changed})


def test_an_issuer_is_named_once() -> None:
    one = IssuerSettings(issuer="https://app", audience="media", algorithm="HS256", key=SecretStr(SECRET))
    with pytest.raises(ValidationError, match="same name"):
        AuthSettings(issuers=(one, one))


async def test_a_token_is_verified_once_and_not_beyond_its_end(
    authenticator: Authenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = token(EC_KEY, "ES256", iss="https://idp", exp=int(time.time()) + 60)
    viewer = await authenticator.authenticate(held)
    with monkeypatch.context() as patched:
        patched.setattr(jwt, "decode", lambda *_args, **_options: pytest.fail("verified again"))
        assert await authenticator.authenticate(held) is viewer
        with pytest.raises(pytest.fail.Exception, match="verified again"):
            await authenticator.authenticate(held[:-6] + "AAAAAA")
    later = time.time() + 71
    monkeypatch.setattr(time, "time", lambda: later)
    monkeypatch.setattr(jwt.api_jwt, "datetime", _Later)
    with pytest.raises(Unauthenticated, match="expired"):
        await authenticator.authenticate(held)


class _Later(datetime):
    """The clock of PyJWT, 71 seconds on."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:
        return datetime.now(tz) + timedelta(seconds=71)


async def test_only_so_many_tokens_are_remembered(
    authenticator: Authenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.auth._REMEMBERED_TOKENS", 3)
    for number in range(9):
        assert (await authenticator.authenticate(token(sub=f"anna-{number}"))).id == f"anna-{number}"
    assert len(authenticator._verified) == 3
