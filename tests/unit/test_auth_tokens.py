"""Tokens of every kind of key, as they should be and in each way in which they must not be."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import SecretStr
from starlette.datastructures import Headers

from service.auth import MAX_TOKEN_BYTES, Authenticator, Unauthenticated
from service.issuer_keys import published_keys
from service.settings import AuthSettings, IssuerSettings
from service.transport.bearer import token_of_headers, token_of_params
from tests.issuer_stand import issuing, jwk

SECRET = "a-shared-secret-of-sixty-four-bytes-or-more-for-the-longest-of-hashes"
KEYS: dict[str, Any] = {
    "HS256": SECRET,
    "HS512": SECRET,
    "RS256": rsa.generate_private_key(65537, 2048),
    "RS512": rsa.generate_private_key(65537, 2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}
FORGED: dict[str, Any] = {
    "HS": SECRET[::-1],
    "RS": rsa.generate_private_key(65537, 2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "Ed": ed25519.Ed25519PrivateKey.generate(),
}
PUBLIC = [algorithm for algorithm in KEYS if not algorithm.startswith("HS")]


def issuer_of(algorithm: str) -> str:
    return f"https://{algorithm.lower()}.example"


def public_pem(key: Any) -> bytes:
    pem: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem


def configured(algorithm: str) -> str:
    key = KEYS[algorithm]
    return key if isinstance(key, str) else public_pem(key).decode()


@pytest.fixture(scope="module")
def authenticator() -> Authenticator:
    """Trusts one issuer for each algorithm."""
    issuers = tuple(
        IssuerSettings(
            issuer=issuer_of(each),
            audience="media",
            algorithm=each,
            key=SecretStr(configured(each)),  # type: ignore[arg-type]
        )
        for each in KEYS
    )
    return Authenticator(AuthSettings(issuers=issuers))


def claims(algorithm: str, **changed: Any) -> dict[str, Any]:
    now = int(time.time())
    whole = {"iss": issuer_of(algorithm), "aud": "media", "sub": "anna", "iat": now, "exp": now + 60, **changed}
    return {name: value for name, value in whole.items() if value is not None}


def signed(algorithm: str, key: Any = None, headers: dict[str, Any] | None = None, **changed: Any) -> str:
    header = {"alg": algorithm, "typ": "JWT", **(headers or {})}
    return handmade(header, claims(algorithm, **changed), key or KEYS[algorithm])


def forged(algorithm: str) -> str:
    return signed(algorithm, FORGED.get(algorithm) or FORGED[algorithm[:2]])


def encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def handmade(header: dict[str, Any], payload: dict[str, Any], key: Any) -> str:
    """A token as an attacker writes it, whom no library keeps from anything; a key that is bytes signs as it is."""
    unsigned = f"{encoded(header)}.{encoded(payload)}"
    algorithm = jwt.algorithms.get_default_algorithms()[header["alg"]]
    prepared = key if isinstance(key, bytes) else algorithm.prepare_key(key)
    return f"{unsigned}.{base64.urlsafe_b64encode(algorithm.sign(unsigned.encode(), prepared)).rstrip(b'=').decode()}"


def embedded(algorithm: str) -> str:
    """It brings the key along that it is signed with."""
    headers = {"jwk": {"kty": "oct", "k": encoded("k")}, "jku": "http://127.0.0.1:1/k", "x5u": "http://127.0.0.1:1/c"}
    return signed(algorithm, FORGED.get(algorithm) or FORGED[algorithm[:2]], {**headers, "x5c": ["MIIB"]})


def without_signature(algorithm: str) -> str:
    return ".".join((*signed(algorithm).split(".")[:2], ""))


def with_other_claims(algorithm: str) -> str:
    header, _, signature = signed(algorithm).split(".")
    return f"{header}.{encoded(claims(algorithm, sub='bert'))}.{signature}"


def another_algorithm(algorithm: str) -> str:
    """Signed by whoever holds the key of another issuer, in the name of this one."""
    other = "ES256" if algorithm != "ES256" else "RS256"
    return jwt.encode(claims(algorithm), KEYS[other], algorithm=other)


def changed(**wrong: Any) -> Callable[[str], str]:
    return lambda algorithm: signed(algorithm, **wrong)


def headed(**headers: Any) -> Callable[[str], str]:
    return lambda algorithm: signed(algorithm, headers=headers)


FAR = 10**10
WRONG: dict[str, Callable[[str], str]] = {
    "wrong key": forged,
    "alg none": lambda algorithm: jwt.encode(claims(algorithm), None, algorithm="none"),
    "alg None": lambda algorithm: f"{encoded({'alg': 'None'})}.{encoded(claims(algorithm))}.",
    "no signature": without_signature,
    "other claims": with_other_claims,
    "another algorithm": another_algorithm,
    "embedded key": embedded,
    "wrong audience": changed(aud="other"),
    "no audience": changed(aud=None),
    "wrong issuer": changed(iss="https://elsewhere"),
    "an issuer that is a list": changed(iss=["https://elsewhere"]),
    "no exp": changed(exp=None),
    "exp is no number": changed(exp="never"),
    "expired": changed(exp=int(time.time()) - 60),
    "issued in the far future": changed(iat=FAR, exp=FAR + 60),
    "valid from the far future on": changed(nbf=FAR, exp=FAR + 60),
    "a critical header nobody knows": headed(crit=["urn:x"], **{"urn:x": True}),
    "a critical header that is none": headed(crit="exp"),
    "unencoded payload": headed(b64=False, crit=["b64"]),
    "a kid that is no string": headed(kid=7),
    "too long": lambda algorithm: signed(algorithm, sub="x" * MAX_TOKEN_BYTES),
}


@pytest.mark.parametrize("algorithm", KEYS)
async def test_each_algorithm_lets_in_whoever_has_its_key(authenticator: Authenticator, algorithm: str) -> None:
    viewer = await authenticator.authenticate(signed(algorithm, roles=["moderator"]))
    assert (viewer.id, viewer.roles) == ("anna", {"moderator"})
    # What is in a header that nobody has to understand changes nothing, and no address in it is ever asked.
    for headers in (
        {"kid": "../../../dev/null"},
        {"kid": "x' OR 1=1"},
        {"jku": "http://127.0.0.1:1/"},
        {"typ": "at+jwt"},
    ):
        assert (await authenticator.authenticate(signed(algorithm, headers=headers))).id == "anna"


@pytest.mark.parametrize("why", WRONG)
@pytest.mark.parametrize("algorithm", KEYS)
async def test_whatever_is_wrong_lets_nobody_in(authenticator: Authenticator, algorithm: str, why: str) -> None:
    with pytest.raises(Unauthenticated) as refused:
        await authenticator.authenticate(WRONG[why](algorithm))
    assert refused.value.args[0] in {
        "The token is not valid.", "The token has expired; get a new one.", "The token is too long."
    }  # fmt: skip


@pytest.mark.parametrize("algorithm", PUBLIC)
async def test_a_public_key_is_no_shared_secret(authenticator: Authenticator, algorithm: str) -> None:
    pem = public_pem(KEYS[algorithm])
    der = KEYS[algorithm].public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    for secret in (pem, pem.strip(), der, b""):
        with pytest.raises(Unauthenticated):
            await authenticator.authenticate(handmade({"alg": "HS256", "kid": "one"}, claims(algorithm), secret))


def test_where_a_token_stands() -> None:
    def of(*values: str) -> str | None:
        return token_of_headers(Headers(raw=[(b"authorization", value.encode()) for value in values]))

    assert of() is None
    assert {of("Bearer a.b.c"), of("bearer a.b.c"), of("BEARER  a.b.c ")} == {"a.b.c"}
    for wrong in (("Bearer a", "Bearer b"), ("Bearer a", "Bearer a"), ("Basic YTpi",), ("Bearer",), ("a.b.c",), ("",)):
        with pytest.raises(Unauthenticated):
            of(*wrong)
    assert token_of_params({"AUTHORIZATION": "bearer a.b.c"}) == token_of_params({"authToken": "a.b.c"}) == "a.b.c"
    for params in ({"authorization": ["Bearer a"]}, {"authorization": "a.b.c"}, {"authToken": {"token": "a"}}):
        with pytest.raises(Unauthenticated):
            token_of_params(params)


async def test_old_and_new_keys_hold_together_until_the_old_one_is_withdrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published_keys, "UNKNOWN_KID_S", 0.0)
    async with issuing() as issuer:
        issuer.keys = [jwk(KEYS["RS256"], "old", "RS256")]
        authenticator = Authenticator(issuer.settings)
        of_stand = {"iss": "https://idp"}
        old = signed("RS256", headers={"kid": "old"}, **of_stand)
        new = signed("ES256", headers={"kid": "new"}, **of_stand)
        viewers = [await authenticator.authenticate(old)]
        issuer.keys.append(jwk(KEYS["ES256"], "new", "ES256"))
        viewers.append(await authenticator.authenticate(new))
        assert (await authenticator.authenticate(old)).id == "anna"
        assert [authenticator.still_holds(each) for each in viewers] == [True, True]
        del issuer.keys[0]
        with pytest.raises(Unauthenticated):
            await authenticator.authenticate(signed("ES256", headers={"kid": "never"}, **of_stand))
        assert [authenticator.still_holds(each) for each in viewers] == [False, True]
        with pytest.raises(Unauthenticated):
            await authenticator.authenticate(old)
        assert (await authenticator.authenticate(new)).id == "anna"


async def test_a_flood_of_made_up_key_names_asks_the_issuer_once() -> None:
    """At most one fetch in 30 s, however many tokens name keys that are not there, and whoever has one is let in."""
    async with issuing() as issuer:
        issuer.keys = [jwk(KEYS["ES256"], "real", "ES256")]
        authenticator = Authenticator(issuer.settings)

        body = encoded(claims("ES256", iss="https://idp"))

        async def attempt(number: int) -> None:
            made_up = f"{encoded({'alg': 'ES256', 'kid': f'made-up-{number}'})}.{body}.{encoded('signature')}"
            with pytest.raises(Unauthenticated):
                await authenticator.authenticate(made_up)

        await asyncio.gather(*map(attempt, range(1_000)))
        assert issuer.asked == 1
        good = signed("ES256", headers={"kid": "real"}, iss="https://idp")
        assert (await authenticator.authenticate(good)).id == "anna"
        assert issuer.asked == 1
