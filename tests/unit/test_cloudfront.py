"""The signer against URLs that other people's signers made, and against what it must refuse."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from service.cloudfront import HashAlgorithm, Signer, decode, encode, policy_text
from service.errors import ConfigurationError

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "fixtures" / "cloudfront.json").read_text())
BASE = "https://d111111abcdef8.cloudfront.net"
EXPIRES: int = VECTORS["expires"]

# The names of vectors whose object keys are in our alphabet; the others are refused. Listed, so that none slips away.
CANNED_IN_ALPHABET = {"plain", "long-key"}
CUSTOM_IN_ALPHABET = {
    *("wild-owner", "wild-middle", "wild-wrong-owner", "wild-dotdot-escape"),
    *("ip-cidr", "ip-single", "active-date", "active-date-ip"),
}


def pem(key: Any) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


RSA_PEM = pem(RSAAlgorithm.from_jwk(json.dumps(VECTORS["rsa_private_jwk"])))
EC_PEM = pem(ECAlgorithm.from_jwk(json.dumps(VECTORS["ec_private_jwk"])))


@cache
def rsa_signer(algorithm: str = "SHA1", base: str = BASE) -> Signer:
    return Signer(base, VECTORS["key_pair_id"], RSA_PEM, HashAlgorithm(algorithm))


@cache
def ec_signer(algorithm: str = "SHA256", base: str = BASE) -> Signer:
    return Signer(base, VECTORS["ec_key_pair_id"], EC_PEM, HashAlgorithm(algorithm))


def foreign(mode: str) -> list[tuple[str, dict[str, Any]]]:
    return [
        (library, vector)
        for library in ("botocore", "aws_sdk_js")
        for vector in VECTORS[library]["vectors"]
        if vector["mode"] == mode
    ]


# Those whose inputs are given; the others are whole policies written by hand, which no signer of ours would make.
CUSTOM = [(library, vector) for library, vector in foreign("custom") if "resource" in vector["inputs"]]


def query_of(url: str) -> set[str]:
    """The signers order their parameters differently; CloudFront does not mind, so neither do we."""
    return set(urlsplit(url).query.split("&"))


@pytest.mark.parametrize(("library", "vector"), foreign("canned"), ids=lambda value: str(value)[:40])
def test_canned_urls_equal_those_of_other_signers_or_are_refused(library: str, vector: dict[str, Any]) -> None:
    base, _, key = vector["url"].removeprefix("https://").partition("/")
    algorithm = vector.get("algorithm", "SHA1")
    if vector["name"] == "uppercase-host":
        with pytest.raises(ConfigurationError):
            rsa_signer(algorithm, f"https://{base}")
        return
    signer = rsa_signer(algorithm, f"https://{base}")
    if vector["name"] not in CANNED_IN_ALPHABET | {"cname"}:
        with pytest.raises(ValueError, match="cannot be signed"):
            signer.sign(key, EXPIRES)
        return
    ours = signer.sign(key, EXPIRES)
    assert query_of(ours) == query_of(vector["signed"])
    assert ours.partition("?")[0] == vector["signed"].partition("?")[0]
    if library == "botocore":
        assert ours == vector["signed"]


@pytest.mark.parametrize(("library", "vector"), CUSTOM, ids=lambda value: str(value)[:40])
def test_custom_policies_equal_those_of_other_signers_or_are_refused(library: str, vector: dict[str, Any]) -> None:
    signer, inputs = rsa_signer(vector.get("algorithm", "SHA1")), vector["inputs"]
    pattern, starts = inputs["resource"].removeprefix(f"{BASE}/"), inputs.get("gt")
    source = IPv4Network(inputs["ip"]) if "ip" in inputs else None
    if vector["name"] not in CUSTOM_IN_ALPHABET:
        with pytest.raises(ValueError, match="cannot be signed"):
            signer.sign_pattern(pattern, EXPIRES, starts=starts, source=source)
        return
    ours = signer.sign_pattern(pattern, EXPIRES, starts=starts, source=source)
    if library == "botocore" and starts is not None:
        # It writes the same conditions in another order than AWS's SDK for JavaScript, whose bytes ours are.
        theirs = parse_qs(urlsplit(vector["signed"]).query)["Policy"][0]
        assert json.loads(decode(parse_qs(ours)["Policy"][0])) == json.loads(decode(theirs))
        return
    assert set(ours.split("&")) == query_of(vector["signed"])
    if library == "botocore":
        assert f"{vector['url']}?{ours}" == vector["signed"]


def test_every_vector_in_the_alphabet_is_among_those_that_are_signed() -> None:
    names = {vector["name"] for _, vector in [*foreign("canned"), *CUSTOM]}
    assert CANNED_IN_ALPHABET | CUSTOM_IN_ALPHABET | {"cname"} <= names


@pytest.mark.parametrize("vector", VECTORS["aws_sdk_js_ec"], ids=lambda vector: str(vector["name"]))
def test_ecdsa_urls_say_what_another_signer_says(vector: dict[str, Any]) -> None:
    # All but the signature, for which each of their calls takes another nonce: verifying ours is the edge's business.
    key, signer = vector["url"].removeprefix(f"{BASE}/"), ec_signer(vector["algorithm"])
    if vector["name"] == "existing-query":
        with pytest.raises(ValueError, match="cannot be signed"):
            signer.sign(key, EXPIRES)
        return
    ours, theirs = (
        {part for part in query_of(url) if not part.startswith("Signature=")}
        for url in (signer.sign(key, EXPIRES), vector["signed"])
    )
    assert ours == theirs


@pytest.mark.parametrize("algorithm", ["SHA1", "SHA256"])
@pytest.mark.parametrize("by", [rsa_signer, ec_signer])
def test_what_is_signed_verifies_with_the_public_key(by: Callable[[str], Signer], algorithm: str) -> None:
    signer = by(algorithm)
    public, hasher = load_pem_public_key(signer.public_key.encode()), HashAlgorithm(algorithm).hasher
    canned = urlsplit(signer.sign("o/1.webp", EXPIRES))
    custom = parse_qs(signer.sign_pattern("o/*", EXPIRES))
    cookies = signer.cookies("o/*", EXPIRES)
    for policy, signature in (
        (policy_text(f"{BASE}/o/1.webp", EXPIRES).encode(), parse_qs(canned.query)["Signature"][0]),
        (decode(custom["Policy"][0]), custom["Signature"][0]),
        (decode(cookies["CloudFront-Policy"]), cookies["CloudFront-Signature"]),
    ):
        if isinstance(public, rsa.RSAPublicKey):
            public.verify(decode(signature), policy, padding.PKCS1v15(), hasher)
        else:
            assert isinstance(public, ec.EllipticCurvePublicKey)
            public.verify(decode(signature), policy, ec.ECDSA(hasher))


@pytest.mark.parametrize("algorithm", ["SHA1", "SHA256"])
def test_cookies_carry_what_the_query_of_a_custom_policy_carries(algorithm: str) -> None:
    cookies = rsa_signer(algorithm).cookies("o/*", EXPIRES)
    query = dict(parse_qsl(rsa_signer(algorithm).sign_pattern("o/*", EXPIRES)))
    assert cookies == {f"CloudFront-{name}": value for name, value in query.items()}


@pytest.mark.parametrize("algorithm", ["SHA1", "SHA256"])
def test_canned_cookies_of_another_signer_carry_our_signature(algorithm: str) -> None:
    [vector] = [
        vector
        for _, vector in foreign("canned-cookies")
        if vector["algorithm"] == algorithm and vector["name"] == "plain"
    ]
    ours = dict(parse_qsl(urlsplit(rsa_signer(algorithm).sign("image.jpg", EXPIRES)).query))
    assert ours["Signature"] == vector["cookies"]["CloudFront-Signature"]


@pytest.mark.parametrize("name", ["canned ok", "SHA256 flagged", "ECDSA SHA256"])
def test_whole_urls_equal_the_reference_byte_for_byte(name: str) -> None:
    [vector] = [case for case in VECTORS["edge_cases"] if case["name"] == name]
    signer = {"canned ok": rsa_signer("SHA1"), "SHA256 flagged": rsa_signer("SHA256"), "ECDSA SHA256": ec_signer()}[
        name
    ]
    assert signer.sign("o/5f2c/m/1/thumb.webp", EXPIRES) == vector["url"]


@pytest.mark.parametrize("algorithm", ["SHA1", "SHA256"])
def test_ecdsa_signs_the_same_bytes_every_time(algorithm: str) -> None:
    urls = {ec_signer(algorithm).sign("o/1.webp", EXPIRES) for _ in range(20)}
    assert len(urls) == 1


@pytest.mark.parametrize(
    "key",
    ["", "/a", "a/", "a//b", "a/../b", "a/./b", "..", "a b", "a%20b", "a?b", "a*", 'a"b', "é", "a\n", "a#b", "a\\b"],
)
def test_keys_outside_the_alphabet_are_never_signed(key: str) -> None:
    with pytest.raises(ValueError, match="cannot be signed"):
        ec_signer().sign(key, EXPIRES)


@pytest.mark.parametrize("pattern", ["*", "o/5f2c*", "o/*f2c/x", "o/*.webp", "o/**", "*/o", "o/?/x", "o//*", "o/../*"])
def test_patterns_that_reach_further_than_whole_segments_are_never_signed(pattern: str) -> None:
    with pytest.raises(ValueError, match="cannot be signed"):
        ec_signer().sign_pattern(pattern, EXPIRES)


@pytest.mark.parametrize(
    "base",
    [
        "https://Cdn.example.org",
        "http://x:80",
        "https://x:443",
        "https://x/",
        "https://x/a",
        "ftp://x",
        "x",
        "https://x?a",
    ],
)
def test_base_urls_that_browsers_would_rewrite_are_refused(base: str) -> None:
    with pytest.raises(ConfigurationError, match="base_url"):
        ec_signer(base=base)


@pytest.mark.parametrize("base", ["http://127.0.0.1:8090", "https://cdn.example.org", "http://x:443", "https://x:80"])
def test_base_urls_that_stay_as_they_are_can_be_signed(base: str) -> None:
    assert ec_signer(base=base).sign("a", EXPIRES).startswith(f"{base}/a?Expires=")


@pytest.mark.parametrize(
    "key",
    [
        pem(rsa.generate_private_key(65537, 3072)),
        pem(ec.generate_private_key(ec.SECP384R1())),
        "-----BEGIN PRIVATE KEY-----\nsecret-material\n-----END PRIVATE KEY-----",
        "",
    ],
)
def test_keys_that_cloudfront_would_not_take_are_refused_without_showing_them(key: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Signer(BASE, "K1", key, HashAlgorithm.SHA256)
    assert "secret-material" not in str(caught.value)


def test_a_key_pair_id_that_is_no_id_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="key_pair_id"):
        Signer(BASE, "K1&Expires=9", EC_PEM, HashAlgorithm.SHA256)


def test_public_keys_are_derived_from_private_ones() -> None:
    assert rsa_signer().public_key == VECTORS["rsa_public_pem"]
    assert ec_signer().public_key == VECTORS["ec_public_pem"]


@pytest.mark.parametrize("text", ["+/+/", "AA==", "A", "@@@", "AA_=", "AB__", "é___"])
def test_only_cloudfront_base64_is_decoded(text: str) -> None:
    with pytest.raises(ValueError, match="CloudFront"):
        decode(text)


def test_base64_comes_back() -> None:
    assert [decode(encode(bytes([255] * length))) for length in range(5)] == [bytes([255] * n) for n in range(5)]
