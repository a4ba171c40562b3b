"""A JWK set (RFC 7517, keys by RFC 7518 and RFC 8037) as an issuer publishes it: what of it can be used."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicNumbers
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers

from service.issuer_keys.verification_key import (
    CURVES,
    MAX_RSA_BITS,
    KeyRefused,
    PublicKey,
    VerificationKey,
    public_verification_key,
)

MAX_KEYS = 100
_MAX_KID_CHARACTERS = 200
# In base64url, a third longer than the bytes: numbers are not made of anything longer.
_MAX_NUMBER_CHARACTERS = MAX_RSA_BITS // 6 + 4
# RFC 7518, sections 6.2.2, 6.3.2 and 6.4.1.
_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


class KeySetRefused(Exception):
    """Nothing of it can be used; the message says why."""


@dataclass(frozen=True, slots=True)
class KeySet:
    """Usable keys by `kid`, None for one without; and a sentence for each that is not used."""

    keys: Mapping[str | None, VerificationKey]
    refused: tuple[str, ...] = ()


def parse_key_set(body: bytes) -> KeySet:
    """The keys of a JWKS document. Raises KeySetRefused if it is none, or has no key that can be used.

    Single keys are passed over as RFC 7517, section 5, says: other keys of the set may be meant for others. One `kid`
    for several keys would let an attacker who can add a key speak for another: none of them is used.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise KeySetRefused("it is not JSON") from None
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list) or not all(isinstance(jwk, dict) for jwk in listed):
        raise KeySetRefused("it is not a JWK set")
    if len(listed) > MAX_KEYS:
        raise KeySetRefused(f"it has {len(listed)} keys, more than {MAX_KEYS}")
    named = Counter(jwk["kid"] for jwk in listed if isinstance(jwk.get("kid"), str))
    keys: dict[str | None, VerificationKey] = {}
    refused = []
    for number, jwk in enumerate(listed, 1):
        try:
            kid = _kid(jwk, named)
            keys[kid] = _key(jwk)
        except KeyRefused as reason:
            refused.append(f"key {number}: {reason}")
    # A key without a name among others could not be told from them.
    if len(listed) > 1 and keys.pop(None, None) is not None:
        refused.append("a key has no kid, and is not the only one")
    if not keys:
        raise KeySetRefused("; ".join(["it has no key that can be used", *refused[:3]]))
    return KeySet(keys, tuple(refused))


def _kid(jwk: Mapping[str, Any], named: Mapping[str, int]) -> str | None:
    kid = jwk.get("kid")
    if kid is None:
        return None
    if not isinstance(kid, str) or not 0 < len(kid) <= _MAX_KID_CHARACTERS:
        raise KeyRefused(f"its kid is not a string of 1 to {_MAX_KID_CHARACTERS} characters")
    if named[kid] > 1:
        raise KeyRefused("another key has the same kid")
    return kid


def _key(jwk: Mapping[str, Any]) -> VerificationKey:
    if jwk.get("kty") == "oct":
        raise KeyRefused("it is a shared secret, which is none any more once it is published")
    if not _PRIVATE_MEMBERS.isdisjoint(jwk):
        raise KeyRefused("its private half is published: anybody can sign with it")
    if jwk.get("use", "sig") != "sig":
        raise KeyRefused("it is not for signatures")
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise KeyRefused("it is not for verifying")
    read = _READERS.get(jwk["kty"]) if isinstance(jwk.get("kty"), str) else None
    if read is None:
        raise KeyRefused("its type is not RSA, EC or OKP")
    try:
        key, usual = read(jwk)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise KeyRefused("its numbers are not those of a key") from None
    algorithm = jwk.get("alg", usual)
    if not isinstance(algorithm, str):
        raise KeyRefused("its alg is not a string")
    # RFC 9864 gives EdDSA on this curve a name of its own; tokens go on saying EdDSA.
    return public_verification_key(key, "EdDSA" if algorithm == "Ed25519" else algorithm)


def _rsa(jwk: Mapping[str, Any]) -> tuple[PublicKey, str]:
    return RSAPublicNumbers(_number(jwk, "e"), _number(jwk, "n")).public_key(), "RS256"


def _elliptic(jwk: Mapping[str, Any]) -> tuple[PublicKey, str]:
    known = CURVES.get(str(jwk.get("crv")))
    if known is None:
        raise KeyRefused("its curve is not P-256, P-384 or P-521")
    curve, algorithm = known
    return EllipticCurvePublicNumbers(_number(jwk, "x"), _number(jwk, "y"), curve()).public_key(), algorithm


def _edwards(jwk: Mapping[str, Any]) -> tuple[PublicKey, str]:
    if jwk.get("crv") != "Ed25519":
        raise KeyRefused("its curve is not Ed25519")
    return Ed25519PublicKey.from_public_bytes(_decoded(jwk, "x")), "EdDSA"


_READERS: dict[str, Callable[[Mapping[str, Any]], tuple[PublicKey, str]]] = {
    "RSA": _rsa,
    "EC": _elliptic,
    "OKP": _edwards,
}


def _number(jwk: Mapping[str, Any], name: str) -> int:
    return int.from_bytes(_decoded(jwk, name), "big")


def _decoded(jwk: Mapping[str, Any], name: str) -> bytes:
    text = jwk.get(name)
    if not isinstance(text, str) or not 0 < len(text) <= _MAX_NUMBER_CHARACTERS:
        raise KeyRefused(f"its {name} is missing or too long")
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars="-_", validate=True)
