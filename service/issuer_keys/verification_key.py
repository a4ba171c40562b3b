"""One key and the one algorithm it verifies. A token never has a say in either."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    SECP384R1,
    SECP521R1,
    EllipticCurve,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from service.errors import ConfigurationError
from service.settings import IssuerSettings

PublicKey: TypeAlias = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey

RSA_ALGORITHMS = ("RS256", "RS384", "RS512")
# RFC 7518, section 3.4: each algorithm has its curve.
CURVES: Mapping[str, tuple[type[EllipticCurve], str]] = {
    "P-256": (SECP256R1, "ES256"),
    "P-384": (SECP384R1, "ES384"),
    "P-521": (SECP521R1, "ES512"),
}
PUBLIC_KEY_ALGORITHMS = frozenset((*RSA_ALGORITHMS, *(name for _, name in CURVES.values()), "EdDSA"))

# RFC 7518, section 3.3.
MIN_RSA_BITS = 2_048
# Verifying takes longer with the square of it; nobody issues tokens with more.
MAX_RSA_BITS = 8_192
# RFC 7518, section 3.2: as long as the hash.
_SECRET_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}


class KeyRefused(Exception):
    """The message says why this is no key to verify tokens with, and holds nothing of it."""


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """`fingerprint` tells two keys apart: the public key as DER, empty for a secret."""

    algorithm: str
    key: PublicKey | str = field(repr=False, compare=False)
    fingerprint: bytes = field(default=b"", repr=False)


def public_verification_key(key: object, algorithm: str) -> VerificationKey:
    """A public key for `algorithm` (JWA name). Raises KeyRefused where the two do not belong together."""
    if isinstance(key, RSAPublicKey):
        if not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
            raise KeyRefused(f"an RSA key must have {MIN_RSA_BITS} to {MAX_RSA_BITS} bits, not {key.key_size}")
        possible: tuple[str, ...] = RSA_ALGORITHMS
    elif isinstance(key, EllipticCurvePublicKey):
        possible = tuple(name for curve, name in CURVES.values() if isinstance(key.curve, curve))
    elif isinstance(key, Ed25519PublicKey):
        possible = ("EdDSA",)
    else:
        raise KeyRefused("only RSA, P-256, P-384, P-521 and Ed25519 keys are taken")
    if algorithm not in possible:
        raise KeyRefused(f"it cannot be used with {algorithm}" + (f", but with {possible[-1]}" if possible else ""))
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return VerificationKey(algorithm, key, der)


def configured_key(issuer: IssuerSettings) -> VerificationKey:
    """The key that the settings hold for an issuer without a JWKS. Raises ConfigurationError if it cannot be used."""
    algorithm, secret = issuer.algorithm or "", issuer.key.get_secret_value()
    try:
        if algorithm in _SECRET_BYTES:
            return _shared_secret(algorithm, secret)
        return public_verification_key(load_pem_public_key(secret.encode()), algorithm)
    except KeyRefused as refused:
        why = str(refused)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        why = "it is no public key in PEM"
    raise ConfigurationError(f"The {algorithm} key of issuer {issuer.issuer} in MEDIA_AUTH__ISSUERS is refused: {why}.")


def _shared_secret(algorithm: str, secret: str) -> VerificationKey:
    if "-----BEGIN" in secret:
        # Whoever knows a public key, and that is everybody, could make tokens with it.
        raise KeyRefused("it is a key in PEM, not a secret")
    if len(secret.encode()) < _SECRET_BYTES[algorithm]:
        raise KeyRefused(f"a secret for it must have {_SECRET_BYTES[algorithm]} bytes or more")
    return VerificationKey(algorithm, secret)
