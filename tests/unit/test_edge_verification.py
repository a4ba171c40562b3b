"""The edge's verdict on URLs signed by other people's signers, and on the corners where signed URLs are attacked."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urldefrag

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from service.cloudfront import HashAlgorithm, encode
from service.dev.edge.verification import PublicKey, Target
from service.errors import ConfigurationError
from tests.edge_vectors import BASE, EXPIRES, NOW, RSA_ID, VECTORS, signer, target, verdict


def with_policy(policy: Any, url: str = f"{BASE}/i.jpg") -> str:
    """A URL with any policy at all, rightly signed with SHA-1 and RSA."""
    text = policy if isinstance(policy, str) else json.dumps(policy, separators=(",", ":"))
    signature = signer(RSA_ID, HashAlgorithm.SHA1)._signature(text)
    return f"{url}{'&' if '?' in url else '?'}Policy={encode(text.encode())}{signature}"


def statement(resource: str = f"{BASE}/i.jpg", **conditions: Any) -> dict[str, Any]:
    return {"Resource": resource, "Condition": {"DateLessThan": {"AWS:EpochTime": EXPIRES}, **conditions}}


def signed_vectors(field: str) -> list[Any]:
    found = [
        pytest.param(vector, id=f"{library}-{vector['name']}-{vector['mode']}-{vector.get('algorithm', 'SHA1')}")
        for library in ("botocore", "aws_sdk_js")
        for vector in VECTORS[library]["vectors"]
        if vector.get(field) is not None
    ]
    return found + [
        pytest.param(vector, id=f"ec-{vector['name']}") for vector in VECTORS["aws_sdk_js_ec"] if vector.get(field)
    ]


@pytest.mark.parametrize("vector", signed_vectors("edge"))
def test_verdict_on_urls_as_other_signers_emit_them(vector: dict[str, Any]) -> None:
    assert verdict(urldefrag(vector["signed"]).url) == vector["edge"]


@pytest.mark.parametrize("vector", signed_vectors("edge_via_browser"))
def test_verdict_on_urls_as_browsers_send_them(vector: dict[str, Any]) -> None:
    assert verdict(urldefrag(vector["wire"]).url) == vector["edge_via_browser"]


@pytest.mark.parametrize("case", VECTORS["edge_cases"], ids=lambda case: str(case["name"]))
def test_verdict_on_edge_cases(case: dict[str, Any]) -> None:
    expected = verdict(case["url"], now=case["now"], ip=case["ip"])
    assert ":".join(expected.split(":")[:2]) == case["expect"]


def test_a_signed_url_does_not_open_under_another_scheme_or_host() -> None:
    url = signer().sign("a.webp", EXPIRES)
    assert verdict(url.replace("https", "http")) == "deny:AccessDenied:signature"
    assert verdict(url.replace("d111111", "d222222")) == "deny:AccessDenied:signature"


@pytest.mark.parametrize("suffix", ["/x", "?x", "#x", "@x", "\\x", " "])
def test_a_host_that_carries_part_of_a_signed_url_does_not_lend_it_to_another_path(suffix: str) -> None:
    signed = target(f"{BASE}/a/processed/x/1?{signer().sign_pattern('a/processed/*/1/*', EXPIRES)}")
    forged = Target(signed.scheme, f"{signed.host}/a/processed/x/1{suffix}", "/a/processed/x/2/secret", signed.query)
    assert verdict(forged) == "deny:AccessDenied:host"


@pytest.mark.parametrize("name", ["Expires", "Signature", "Key-Pair-Id", "Hash-Algorithm"])
def test_a_parameter_given_twice_is_refused_whichever_comes_first(name: str) -> None:
    url = signer().sign("a.webp", EXPIRES)
    assert verdict(f"{url}&{name}=1").startswith("deny:AccessDenied")
    assert verdict(url.replace("?", f"?{name}=1&")).startswith("deny:AccessDenied")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("Expires=1767290400", "Expires=01767290400"), "deny:AccessDenied:no policy and no expiry"),
        (("Expires=1767290400", "Expires="), "deny:AccessDenied:no policy and no expiry"),
        (("Expires=1767290400", "Expires=-1"), "deny:AccessDenied:no policy and no expiry"),
        (("Expires=1767290400", f"Expires={'9' * 5000}"), "deny:AccessDenied:no policy and no expiry"),
        (("Signature=", "Signature=+"), "deny:MalformedSignature:signature encoding"),
        (("Signature=", "Unknown="), "deny:AccessDenied:signature"),
        (("SHA256", "SHA1"), "deny:AccessDenied:signature"),
        (("&Hash-Algorithm=SHA256", ""), "deny:AccessDenied:signature"),
        (("Key-Pair-Id=K2ECDSATEST", "Key-Pair-Id="), "deny:MissingKey:no key id"),
        (("K2ECDSATEST", VECTORS["key_pair_id"]), "deny:AccessDenied:signature"),
    ],
)
def test_altered_parameters_are_refused(change: tuple[str, str], expected: str) -> None:
    assert verdict(signer().sign("a.webp", EXPIRES).replace(*change)) == expected


@pytest.mark.parametrize(
    "policy",
    [
        "",
        "null",
        "[]",
        "{",
        {"Statement": []},
        {"Statement": [statement()], "Version": "2012-10-17"},
        {"Statement": [{**statement(), "Effect": "Deny"}]},
        {"Statement": [statement(StringEquals={"aws:Referer": "x"})]},
        {"Statement": [statement(DateLessThan={"AWS:EpochTime": True})]},
        {"Statement": [statement(DateLessThan={"AWS:EpochTime": 1.5e12})]},
        {"Statement": [statement(IpAddress={"AWS:SourceIp": "everyone"})]},
        '{"Statement":[{"Resource":' + "[" * 100_000,
    ],
    ids=lambda policy: str(policy)[:60],
)
def test_signed_policies_of_another_shape_are_malformed(policy: Any) -> None:
    assert verdict(with_policy(policy)) == "deny:MalformedPolicy:policy shape"


def test_a_policy_nobody_signed_is_not_even_parsed() -> None:
    url = with_policy({"Statement": [statement()]})
    forged = encode(b'{"Statement":')
    assert verdict(url.replace(url.split("Policy=")[1].split("&")[0], forged)) == "deny:AccessDenied:signature"


@pytest.mark.parametrize(
    ("resource", "url", "opens"),
    [
        (f"{BASE}/i.jpg", f"{BASE}/i.jpg", True),
        (f"{BASE}/i.jpg", f"{BASE}/i.jpg?v=1", False),
        (f"{BASE}/i.jpg?v=?", f"{BASE}/i.jpg?v=1", True),
        (f"{BASE}/i.jpg?v=?", f"{BASE}/i.jpg?v=12", False),
        (f"{BASE}/i.jpg?v=*", f"{BASE}/i.jpg", False),
        (f"{BASE}/*", f"{BASE}/deep/er", True),
        (f"{BASE}/a.c", f"{BASE}/abc", False),
        ("http://*", f"{BASE}/i.jpg", False),
    ],
)
def test_wildcards_cover_what_the_guide_says(resource: str, url: str, opens: bool) -> None:
    assert (verdict(with_policy({"Statement": [statement(resource)]}, url)) == "allow") is opens


def test_address_conditions_do_not_match_the_other_family() -> None:
    url = with_policy({"Statement": [statement(IpAddress={"AWS:SourceIp": "0.0.0.0/0"})]})
    assert verdict(url) == "allow"
    assert verdict(url, ip="2001:db8::1") == "deny:AccessDenied:ip"


def test_a_url_opens_only_after_its_start() -> None:
    url = with_policy({"Statement": [statement(DateGreaterThan={"AWS:EpochTime": NOW})]})
    assert verdict(url, now=NOW - 1) == verdict(url, now=NOW) == "deny:AccessDenied:not yet valid"
    assert verdict(url, now=NOW + 1) == "allow"


@pytest.mark.parametrize("written", ["203.0.113.0/24", "203.0.113.7", "203.0.113.99/24", "0.0.0.0/0"])
def test_an_address_condition_opens_its_ipv4_network(written: str) -> None:
    url = with_policy({"Statement": [statement(IpAddress={"AWS:SourceIp": written})]})
    assert verdict(url) == verdict(url, ip="::ffff:203.0.113.7") == "allow"
    outside = "allow" if written == "0.0.0.0/0" else "deny:AccessDenied:ip"
    assert verdict(url, ip="198.51.100.1") == outside


@pytest.mark.parametrize("written", ["2001:db8::/32", "::/0", "203.0.113.0/33", "203.0.113", "", 7, None])
def test_an_address_condition_of_another_kind_is_malformed(written: Any) -> None:
    url = with_policy({"Statement": [statement(IpAddress={"AWS:SourceIp": written})]})
    assert verdict(url) == "deny:MalformedPolicy:policy shape"


def test_a_resource_full_of_wildcards_is_judged_quickly() -> None:
    assert verdict(with_policy({"Statement": [statement(f"{BASE}/{'*' * 5_000}x")]})) == "deny:AccessDenied:resource"


@pytest.mark.parametrize("key", [rsa.generate_private_key(65537, 1024), ec.generate_private_key(ec.SECP384R1())])
def test_keys_that_cloudfront_would_not_take_are_not_trusted(key: Any) -> None:
    pem = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(ConfigurationError):
        PublicKey(pem.decode())
