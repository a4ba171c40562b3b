"""CloudFront signed URLs: policy texts, the two kinds of signature, CloudFront's own base64. Pure: no clock, no I/O.

Formats: Amazon CloudFront Developer Guide, "Create a signed URL using a canned policy", "... using a custom policy".
"""

from __future__ import annotations

import base64
import binascii
import enum
import re
from typing import TYPE_CHECKING

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from service.errors import ConfigurationError
from service.object_keys import is_safe_key

if TYPE_CHECKING:
    from collections.abc import Callable
    from ipaddress import IPv4Network

_TO_CLOUDFRONT = bytes.maketrans(b"+=/", b"-_~")
_FROM_CLOUDFRONT = str.maketrans("-_~", "+=/")
_CLOUDFRONT = re.compile(r"[A-Za-z0-9_~-]*")

# A default port or an upper-case host would be rewritten by browsers after signing, so neither may be signed.
_BASE_URL = re.compile(r"(?:https://[a-z0-9.-]+(?!:443$)(?::\d+)?|http://[a-z0-9.-]+(?!:80$)(?::\d+)?)")
_KEY_PAIR_ID = re.compile(r"[A-Za-z0-9]+")


class HashAlgorithm(enum.StrEnum):
    """How the policy is hashed. CloudFront assumes SHA1 unless the URL says `Hash-Algorithm=SHA256`."""

    SHA1 = "SHA1"
    SHA256 = "SHA256"

    @property
    def hasher(self) -> hashes.HashAlgorithm:
        # SHA-1 here is CloudFront's wire format; it is never used where a collision could be chosen by a client.
        return hashes.SHA256() if self is HashAlgorithm.SHA256 else hashes.SHA1()  # noqa: S303  # nosec B303


def policy_text(resource: str, expires: int, *, starts: int | None = None, source: IPv4Network | None = None) -> str:
    """A policy that opens `resource` until `expires`, from `starts` on, both in Unix seconds, to addresses in `source`.

    Without the last two it is what CloudFront rebuilds for a canned URL. Written as AWS's own SDKs write it.
    """
    conditions = f'"DateLessThan":{{"AWS:EpochTime":{expires}}}'
    if starts is not None:
        conditions += f',"DateGreaterThan":{{"AWS:EpochTime":{starts}}}'
    if source is not None:
        conditions += f',"IpAddress":{{"AWS:SourceIp":"{source}"}}'
    return f'{{"Statement":[{{"Resource":"{resource}","Condition":{{{conditions}}}}}]}}'


def encode(data: bytes) -> str:
    """Base64 with `+=/` written as `-_~`."""
    return base64.b64encode(data).translate(_TO_CLOUDFRONT).decode("ascii")


def decode(text: str) -> bytes:
    """The reverse of `encode`; ValueError for anything else, ordinary base64 and unused bits included."""
    if not _CLOUDFRONT.fullmatch(text):
        raise ValueError("not CloudFront base64")
    try:
        data = base64.b64decode(text.translate(_FROM_CLOUDFRONT), validate=True)
    except binascii.Error as error:
        raise ValueError("not CloudFront base64") from error
    if encode(data) != text:
        raise ValueError("not CloudFront base64")
    return data


def check_base_url(base_url: str) -> None:
    """Raises ConfigurationError unless every URL under `base_url` reaches CloudFront exactly as it was signed."""
    if not _BASE_URL.fullmatch(base_url):
        raise ConfigurationError(
            f"delivery.base_url {base_url!r} cannot be signed for: use http(s)://host[:port] in lower case, "
            "without a path and without the scheme's default port."
        )


class Signer:
    """Signs URLs under one base URL with one key pair. Same input, same bytes: ECDSA nonces follow RFC 6979.

    Raises ConfigurationError for a key that CloudFront would not take: anything but RSA-2048 and ECDSA P-256.
    """

    def __init__(self, base_url: str, key_pair_id: str, private_key: str, algorithm: HashAlgorithm) -> None:
        check_base_url(base_url)
        _check_id(key_pair_id)
        self.base_url = base_url
        self.key_pair_id = key_pair_id
        self._sign, self.public_key = _load(key_pair_id, private_key, algorithm)
        self._algorithm = algorithm
        self._tail = f"&Key-Pair-Id={key_pair_id}"
        if algorithm is HashAlgorithm.SHA256:
            self._tail += "&Hash-Algorithm=SHA256"

    def sign(self, key: str, expires: int) -> str:
        """A URL for one object, under a canned policy. ValueError if `key` leaves the alphabet of object keys."""
        if not is_safe_key(key):
            raise ValueError(f"object key {key!r} cannot be signed: clients would send other bytes than were signed")
        url = f"{self.base_url}/{key}"
        return f"{url}?Expires={expires}{self._signature(policy_text(url, expires))}"

    def sign_pattern(
        self, pattern: str, expires: int, *, starts: int | None = None, source: IPv4Network | None = None
    ) -> str:
        """The query string that opens every object matching `pattern`, under a custom policy.

        In `pattern`, `*` may only stand for whole path segments: `id*` would open `id2` as well, so it is a ValueError.
        `starts` and `source` narrow it further, as in `policy_text`.
        """
        policy = self._policy(pattern, expires, starts, source)
        return f"Policy={encode(policy.encode())}{self._signature(policy)}"

    def cookies(self, pattern: str, expires: int) -> dict[str, str]:
        """The cookies, by name, that open every object matching `pattern`, as `sign_pattern` does.

        Format: "Set signed cookies using a custom policy".
        """
        policy = self._policy(pattern, expires, None, None).encode()
        cookies = {
            "CloudFront-Policy": encode(policy),
            "CloudFront-Signature": encode(self._sign(policy)),
            "CloudFront-Key-Pair-Id": self.key_pair_id,
        }
        # CloudFront takes SHA-1 for granted, and older SDKs do not name it.
        named = {} if self._algorithm is HashAlgorithm.SHA1 else {"CloudFront-Hash-Algorithm": self._algorithm.value}
        return cookies | named

    def _policy(self, pattern: str, expires: int, starts: int | None, source: IPv4Network | None) -> str:
        if not is_safe_key(re.sub(r"(?<=/)\*(?=/|$)", "x", pattern)):
            raise ValueError(f"pattern {pattern!r} cannot be signed: write * for whole path segments only")
        return policy_text(f"{self.base_url}/{pattern}", expires, starts=starts, source=source)

    def _signature(self, policy: str) -> str:
        return f"&Signature={encode(self._sign(policy.encode()))}{self._tail}"


def check_public_key(key_pair_id: str, pem: str) -> str:
    """The PEM of a public key as `Signer.public_key` writes it. Raises ConfigurationError for one that CloudFront would
    not take, and for a name that is not an id.
    """
    _check_id(key_pair_id)
    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigurationError(f"The public key of {key_pair_id} is not a PEM public key.") from error
    is_rsa = isinstance(key, rsa.RSAPublicKey) and key.key_size == 2048
    is_ec = isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)
    if not (is_rsa or is_ec):
        raise ConfigurationError(
            f"The public key of {key_pair_id} must be RSA-2048 or ECDSA P-256; CloudFront takes no other."
        )
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")


def _check_id(key_pair_id: str) -> None:
    if not _KEY_PAIR_ID.fullmatch(key_pair_id):
        raise ConfigurationError(
            "A delivery key_pair_id must be the id of a CloudFront public key, like K2JCJMDEHXQW5F."
        )


def _load(key_pair_id: str, pem: str, algorithm: HashAlgorithm) -> tuple[Callable[[bytes], bytes], str]:
    """The signing function of a private key, and its public key as PEM."""
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigurationError(f"The private key of {key_pair_id} is not an unencrypted PEM private key.") from error
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")
    hasher = algorithm.hasher
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size == 2048:
        scheme, rsa_key = padding.PKCS1v15(), key
        return lambda data: rsa_key.sign(data, scheme, hasher), public
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
        # A random nonce would make each signature, and so each URL, a new one that no cache has seen.
        ecdsa, ec_key = ec.ECDSA(hasher, deterministic_signing=True), key
        return lambda data: ec_key.sign(data, ecdsa), public
    raise ConfigurationError(
        f"The private key of {key_pair_id} must be RSA-2048 or ECDSA P-256; CloudFront takes no other."
    )
