"""Tokens verified by keys that their issuer publishes: rotation, outages, and issuers that mean ill."""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import json
import ssl
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID

from service.auth import Authenticator, Unauthenticated
from service.doctor.findings import Level
from service.doctor.issuers import check_issuers
from service.errors import TemporarilyUnavailable
from service.issuer_keys import fetching, published_keys
from service.issuer_keys.fetching import MAX_BYTES, FetchFailed, fetch
from service.issuer_keys.key_set import MAX_KEYS, KeySetRefused, parse_key_set
from service.issuer_keys.published_keys import UNKNOWN_KID_S, PublishedKeys
from tests.issuer_stand import EC_KEY, ED_KEY, RSA_KEY, IssuerStand, issuing, jwk, token

P384, P521 = ec.generate_private_key(ec.SECP384R1()), ec.generate_private_key(ec.SECP521R1())


@pytest.fixture
def authenticator(issuer: IssuerStand) -> Authenticator:
    return Authenticator(issuer.settings)


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Kept(PublishedKeys):
    """Keys of an issuer under a clock of our own."""

    def __init__(self, issuer: IssuerStand) -> None:
        self.clock, self.removals = Clock(), 0
        super().__init__(issuer.url, refresh_s=300, max_age_s=3_600, on_removed=self._count, clock=self.clock)

    def _count(self) -> None:
        self.removals += 1


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [(RSA_KEY, "RS256"), (RSA_KEY, "RS512"), (EC_KEY, "ES256"), (P384, "ES384"), (P521, "ES512"), (ED_KEY, "EdDSA")],
)
async def test_each_kind_of_key_verifies(
    issuer: IssuerStand, authenticator: Authenticator, key: Any, algorithm: str
) -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    issuer.keys = [jwk(other, "other", "ES256"), jwk(key, "mine", algorithm)]
    viewer = await authenticator.authenticate(token(key, algorithm, "mine", roles=["moderator"]))
    assert (viewer.id, viewer.roles) == ("anna", {"moderator"})
    with pytest.raises(Unauthenticated):
        await authenticator.authenticate(token(key, algorithm, "other"))


async def test_the_key_says_by_which_algorithm(issuer: IssuerStand, authenticator: Authenticator) -> None:
    issuer.keys = [jwk(RSA_KEY, "rsa", "RS256", alg=None), jwk(EC_KEY, "ec", "ES256", alg=None)]
    assert (await authenticator.authenticate(token(RSA_KEY, "RS256", "rsa"))).id == "anna"
    public = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    wrong = [
        token(RSA_KEY, "RS384", "rsa"),
        token(RSA_KEY, "PS256", "rsa"),
        token(EC_KEY, "ES256", "rsa"),
        token(None, "none", "rsa"),
        # The classic confusion: the public key as a shared secret.
        _signed_with_secret(public, "rsa"),
        _signed_with_secret(json.dumps(issuer.keys[0]).encode(), "rsa"),
    ]
    for each in wrong:
        with pytest.raises(Unauthenticated):
            await authenticator.authenticate(each)


def _signed_with_secret(secret: bytes, kid: str) -> str:
    class Careless(jwt.algorithms.HMACAlgorithm):
        def prepare_key(self, key: Any) -> bytes:
            return bytes(key)

    careless = jwt.PyJWS()
    careless.unregister_algorithm("HS256")
    careless.register_algorithm("HS256", Careless(Careless.SHA256))
    claims = jwt.decode(token(EC_KEY, "ES256", kid), options={"verify_signature": False})
    return careless.encode(json.dumps(claims).encode(), secret, algorithm="HS256", headers={"kid": kid})


async def test_secrets_and_no_algorithm_ask_nobody(issuer: IssuerStand, authenticator: Authenticator) -> None:
    for each in (token("s" * 32, "HS256", "new"), token(None, "none", "new")):
        with pytest.raises(Unauthenticated):
            await authenticator.authenticate(each)
    assert issuer.asked == 0


async def test_addresses_and_keys_in_a_token_are_not_looked_at(
    issuer: IssuerStand, authenticator: Authenticator
) -> None:
    forger = ec.generate_private_key(ec.SECP256R1())
    async with issuing() as foreign:
        foreign.keys = [jwk(forger, "one", "ES256")]
        claims = jwt.decode(token(EC_KEY, "ES256", "one"), options={"verify_signature": False})
        headers = {"kid": "one", "jku": foreign.url, "x5u": foreign.url, "jwk": foreign.keys[0]}
        with pytest.raises(Unauthenticated):
            await authenticator.authenticate(jwt.encode(claims, forger, "ES256", headers=headers))
        assert (foreign.asked, issuer.asked) == (0, 1)


async def test_a_new_key_is_found_and_a_withdrawn_one_holds_no_more(
    issuer: IssuerStand, authenticator: Authenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = token(EC_KEY, "ES256", "one"), token(ED_KEY, "EdDSA", "two")
    assert (await authenticator.authenticate(old)).id == "anna"
    issuer.keys.append(jwk(ED_KEY, "two", "EdDSA"))
    with pytest.raises(Unauthenticated):
        await authenticator.authenticate(new)
    monkeypatch.setattr(published_keys, "UNKNOWN_KID_S", 0.0)
    assert (await authenticator.authenticate(new)).id == "anna"
    assert (await authenticator.authenticate(old)).id == "anna"
    issuer.keys = issuer.keys[1:]
    with pytest.raises(Unauthenticated):
        await authenticator.authenticate(token(EC_KEY, "ES256", "never"))
    with pytest.raises(Unauthenticated):
        await authenticator.authenticate(old)
    assert (await authenticator.authenticate(new)).id == "anna"


async def test_a_key_under_the_name_of_another_ends_what_that_one_signed(issuer: IssuerStand) -> None:
    keys = Kept(issuer)
    before = await keys.find("one")
    issuer.keys = [jwk(P384, "one", "ES384")]
    await keys.refresh()
    assert await keys.find("one") != before
    assert keys.removals == 1


async def test_unknown_names_ask_once_in_a_while(issuer: IssuerStand) -> None:
    keys = Kept(issuer)
    for number in range(20):
        assert await keys.find(f"made-up-{number}") is None
    assert issuer.asked == 1
    keys.clock.now += UNKNOWN_KID_S
    for number in range(20):
        assert await keys.find(f"made-up-{number}") is None
    assert issuer.asked == 2
    assert await keys.find("one") is not None
    assert issuer.asked == 2


async def test_who_comes_together_asks_once(issuer: IssuerStand) -> None:
    keys = Kept(issuer)
    found = await asyncio.gather(*(keys.find("one") for _ in range(50)), keys.refresh())
    assert None not in found[:-1]
    assert issuer.asked == 1


async def test_who_goes_away_does_not_end_the_fetch_for_others(issuer: IssuerStand) -> None:
    keys = Kept(issuer)
    impatient, patient = asyncio.create_task(keys.find("one")), asyncio.create_task(keys.find("one"))
    await asyncio.sleep(0)
    impatient.cancel()
    assert await patient is not None
    assert issuer.asked == 1


async def test_a_key_without_a_name_serves_tokens_without_one(issuer: IssuerStand) -> None:
    issuer.keys = [jwk(EC_KEY, None, "ES256")]
    keys = Kept(issuer)
    assert await keys.find(None) is not None
    issuer.keys = [jwk(EC_KEY, "one", "ES256"), jwk(ED_KEY, "two", "EdDSA")]
    await keys.refresh()
    assert await keys.find(None) is None


async def test_keys_outlive_an_outage_but_not_for_ever(issuer: IssuerStand) -> None:
    keys = Kept(issuer)
    known = await keys.find("one")
    issuer.answer_with(b"", status="503 Service Unavailable")
    keys.clock.now += 3_600
    await keys.refresh()
    assert await keys.find("one") == known
    assert keys.age_s() == 3_600
    # It may well be one of the keys that could not be fetched.
    with pytest.raises(TemporarilyUnavailable):
        await keys.find("two")
    keys.clock.now += 1
    await keys.refresh()
    assert keys.removals == 1
    with pytest.raises(TemporarilyUnavailable):
        await keys.find("one")
    issuer.answer = None
    await keys.refresh()
    assert await keys.find("one") == known


async def test_an_issuer_that_is_away_is_no_fault_of_the_token(issuer: IssuerStand) -> None:
    issuer.answer_with(b"", status="500 Oh")
    authenticator = Authenticator(issuer.settings)
    with pytest.raises(TemporarilyUnavailable) as refused:
        await authenticator.authenticate(token(EC_KEY, "ES256", "one"))
    assert refused.value.retryable
    assert issuer.url not in refused.value.message


async def test_keys_are_there_before_anybody_asks_and_stay_fresh(
    issuer: IssuerStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer.answer_with(b"", status="500 Oh")
    monkeypatch.setattr(published_keys, "_MAX_PAUSE_S", 0.01)
    settings = issuer.settings.model_copy(update={"jwks_refresh_s": 0.01})
    authenticator = Authenticator(settings)
    async with authenticator.following():
        await _until(lambda: issuer.asked >= 2)
        [age] = authenticator.key_ages().values()
        assert age() == float("inf")
        issuer.answer = None
        await _until(lambda: age() < 60)
        asked = issuer.asked
        assert (await authenticator.authenticate(token(EC_KEY, "ES256", "one"))).id == "anna"
        issuer.keys = [jwk(ED_KEY, "two", "EdDSA")]
        await _until(lambda: issuer.asked >= asked + 2)
        with pytest.raises(Unauthenticated):
            await authenticator.authenticate(token(EC_KEY, "ES256", "one"))


async def _until(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is awaited happens in another task
            await asyncio.sleep(0.002)


_PRIVATE = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(EC_KEY)) | {"kid": "bad"}
_SMALL = rsa.generate_private_key(65537, 1024)
_ED448 = json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(ed448.Ed448PrivateKey.generate().public_key()))


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (_PRIVATE, "private half"),
        (jwk(RSA_KEY, "bad", "RS256", oth=[]), "private half"),
        ({"kty": "oct", "k": "c2VjcmV0" * 8, "kid": "bad", "alg": "HS256"}, "shared secret"),
        (jwk(RSA_KEY, "bad", "RS256", alg="HS256"), "cannot be used with HS256"),
        (jwk(RSA_KEY, "bad", "RS256", alg="none"), "cannot be used with none"),
        (jwk(EC_KEY, "bad", "ES256", alg="ES384"), "cannot be used with ES384"),
        (jwk(EC_KEY, "bad", "ES256", alg=256), "alg is not a string"),
        (jwk(_SMALL, "bad", "RS256"), "2048 to 8192 bits"),
        (jwk(RSA_KEY, "bad", "RS256", n="A" * 200_000), "too long"),
        (jwk(RSA_KEY, "bad", "RS256", e="AA"), "numbers"),
        (jwk(RSA_KEY, "bad", "RS256", n="é!"), "numbers"),
        (jwk(EC_KEY, "bad", "ES256", x="AQ"), "numbers"),
        (jwk(EC_KEY, "bad", "ES256", crv="secp256k1"), "curve"),
        (jwk(ED_KEY, "bad", "EdDSA", x="AQ"), "numbers"),
        (_ED448 | {"kid": "bad"}, "Ed25519"),
        (jwk(EC_KEY, "bad", "ES256", use="enc"), "not for signatures"),
        (jwk(EC_KEY, "bad", "ES256", key_ops=["sign"]), "not for verifying"),
        (jwk(EC_KEY, None, "ES256") | {"kid": 7}, "kid is not a string"),
        (jwk(EC_KEY, "x" * 201, "ES256"), "kid is not a string"),
        (jwk(EC_KEY, None, "ES256"), "no kid"),
        ({"kty": ["RSA"], "kid": "bad"}, "type is not"),
        ({}, "type is not"),
    ],
)
def test_single_keys_that_must_not_be_used_are_passed_over(bad: dict[str, Any], why: str) -> None:
    good = jwk(ED_KEY, "good", "EdDSA")
    for keys in ([bad, good], [good, bad]):
        key_set = parse_key_set(json.dumps({"keys": keys}).encode())
        assert set(key_set.keys) == {"good"}
        assert [why in reason for reason in key_set.refused] == [True]


def test_of_keys_with_the_same_name_none_is_used() -> None:
    forger = ec.generate_private_key(ec.SECP256R1())
    keys = [jwk(EC_KEY, "one", "ES256"), jwk(forger, "one", "ES256"), jwk(ED_KEY, "two", "Ed25519")]
    assert set(parse_key_set(json.dumps({"keys": keys}).encode()).keys) == {"two"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Sign in</html>",
        b"[" * 100_000,
        b'{"keys": [',
        b"[]",
        b"{}",
        b'{"keys": {}}',
        b'{"keys": [1]}',
        b'{"keys": []}',
        b'{"keys": [{"kty": "oct", "k": "AA"}]}',
        json.dumps({"keys": [jwk(EC_KEY, str(number), "ES256") for number in range(MAX_KEYS + 1)]}).encode(),
    ],
)
async def test_a_set_that_is_none_changes_nothing(issuer: IssuerStand, body: bytes) -> None:
    with pytest.raises(KeySetRefused):
        parse_key_set(body)
    keys = Kept(issuer)
    known = await keys.find("one")
    issuer.answer_with(body)
    await keys.refresh()
    assert await keys.find("one") == known


async def test_redirects_are_not_followed(issuer: IssuerStand) -> None:
    async with issuing() as foreign:
        issuer.answer_with(b"", status="302 Found", headers=f"Location: {foreign.url}\r\n")
        with pytest.raises(FetchFailed, match="302"):
            await fetch(issuer.url)
        assert foreign.asked == 0


async def test_an_answer_without_end_is_given_up(issuer: IssuerStand) -> None:
    sent = 0

    async def flood(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"4000\r\n%b\r\n" % (b" " * 0x4000))
            sent += 0x4000
            await writer.drain()

    issuer.answer = flood
    with pytest.raises(FetchFailed, match="larger than"):
        await fetch(issuer.url)
    assert sent < 100 * MAX_BYTES


async def test_a_slow_answer_is_given_up_and_holds_nobody_up(
    issuer: IssuerStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "TIMEOUT_S", 0.3)

    async def drip(writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"H")
            await writer.drain()
            await asyncio.sleep(0.01)

    async def trickle(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(b"X-A: b\r\n")
            await writer.drain()
            await asyncio.sleep(0.01)

    keys = Kept(issuer)
    known = await keys.find("one")
    issuer.answer = trickle
    started = time.monotonic()
    waiting = asyncio.create_task(keys.refresh())
    await asyncio.sleep(0)
    assert await keys.find("one") == known
    assert not waiting.done()
    await waiting
    assert time.monotonic() - started < 3
    assert await keys.find("one") == known
    issuer.answer = drip
    with pytest.raises(FetchFailed):
        await fetch(issuer.url)


@pytest.mark.parametrize("raw", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"])
async def test_what_is_not_http_is_refused(issuer: IssuerStand, raw: bytes) -> None:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        await writer.drain()

    issuer.answer = answer
    with pytest.raises(FetchFailed):
        await fetch(issuer.url)


async def test_nobody_there() -> None:
    async with issuing() as gone:
        url = gone.url
    with pytest.raises(FetchFailed):
        await fetch(url)


async def test_certificates_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chain = tmp_path / "server.pem"
    certificate = _certificate()
    private = EC_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    chain.write_bytes(private + certificate)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(chain)
    async with issuing(tls) as issuer:
        issuer.keys = [jwk(EC_KEY, "one", "ES256")]
        with pytest.raises(FetchFailed, match="certificate"):
            await fetch(issuer.url)
        assert issuer.asked == 0
        (tmp_path / "ca.pem").write_bytes(certificate)
        trusting = functools.partial(ssl.create_default_context, cafile=tmp_path / "ca.pem")
        monkeypatch.setattr(ssl, "create_default_context", trusting)
        assert set(parse_key_set(await fetch(issuer.url)).keys) == {"one"}
        with pytest.raises(FetchFailed, match="certificate"):
            await fetch(issuer.url.replace("127.0.0.1", "localhost"))


def _certificate() -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "idp")])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder(name, name, EC_KEY.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    return builder.sign(EC_KEY, hashes.SHA256()).public_bytes(Encoding.PEM)


async def test_the_doctor_looks_at_issuers(issuer: IssuerStand) -> None:
    [fine] = await check_issuers(issuer.settings)
    assert (fine.level, "1 keys" in fine.text, "ES256" in fine.text) == (Level.OK, True, True)
    issuer.keys.append(_PRIVATE)
    _, warned = await check_issuers(issuer.settings)
    assert warned.level is Level.WARNING
    assert _PRIVATE["d"] not in f"{warned.text}{warned.remedy}"
    issuer.answer_with(b"", status="404 Not Found")
    [sick] = await check_issuers(issuer.settings)
    assert (sick.level, "404" in sick.text) == (Level.PROBLEM, True)
