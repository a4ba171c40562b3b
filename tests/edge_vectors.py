"""The published key pairs of the CloudFront vectors, who signs with them, and the edge's verdict on what is signed."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from service.cloudfront import HashAlgorithm, Signer
from service.dev.edge.denials import Denied
from service.dev.edge.verification import PublicKey, Target, verify

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "fixtures" / "cloudfront.json").read_text())
BASE = "https://d111111abcdef8.cloudfront.net"
EXPIRES: int = VECTORS["expires"]
NOW: int = VECTORS["verdict_now"]
IP = "203.0.113.7"
RSA_ID: str = VECTORS["key_pair_id"]
EC_ID: str = VECTORS["ec_key_pair_id"]
KEYS = {RSA_ID: PublicKey(VECTORS["rsa_public_pem"]), EC_ID: PublicKey(VECTORS["ec_public_pem"])}


@cache
def private_pem(key_pair_id: str) -> str:
    """The private half, which is published as well."""
    key = (
        RSAAlgorithm.from_jwk(json.dumps(VECTORS["rsa_private_jwk"]))
        if key_pair_id == RSA_ID
        else ECAlgorithm.from_jwk(json.dumps(VECTORS["ec_private_jwk"]))
    )
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


@cache
def signer(key_pair_id: str = EC_ID, algorithm: HashAlgorithm = HashAlgorithm.SHA256) -> Signer:
    return Signer(BASE, key_pair_id, private_pem(key_pair_id), algorithm)


def target(url: str, cookie: str = "") -> Target:
    """A URL as a request's target, byte for byte; a fragment would be part of it."""
    scheme, _, rest = url.partition("://")
    address, _, query = rest.partition("?")
    host, slash, path = address.partition("/")
    return Target(scheme, host, slash + path, query, (cookie,) if cookie else ())


def verdict(asked: str | Target, *, now: float = NOW, ip: str = IP) -> str:
    """`allow`, or `deny:{code}:{reason}`."""
    try:
        verify(target(asked) if isinstance(asked, str) else asked, KEYS, now=now, client_ip=ip)
    except Denied as denial:
        return f"deny:{denial.code}:{denial.reason}"
    return "allow"
