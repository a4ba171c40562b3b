"""Whether a request opens: what CloudFront checks before it looks into its cache.

Rules: Amazon CloudFront Developer Guide, "Use signed URLs", "Use signed cookies" and "Decide to use signed URLs or
signed cookies". Where the guide is silent the stricter reading is taken.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from service.cloudfront import HashAlgorithm, decode, policy_text
from service.dev.edge.denials import DenialCode, Denied
from service.dev.edge.policy import read_policy
from service.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_HOST = re.compile(r"[A-Za-z0-9.-]+(?::[0-9]+)?")
_EXPIRES = re.compile(r"[1-9][0-9]{0,11}")
_SIGNING_PARAMETERS = frozenset({"Expires", "Policy", "Signature", "Key-Pair-Id", "Hash-Algorithm"})
_COOKIE_PREFIX = "CloudFront-"


class PublicKey:
    """The public half of a key pair. Raises ConfigurationError for a kind of key that CloudFront would not take."""

    def __init__(self, pem: str) -> None:
        key = load_pem_public_key(pem.encode())
        is_rsa = isinstance(key, rsa.RSAPublicKey) and key.key_size == 2048
        if not is_rsa and not (isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)):
            raise ConfigurationError("A trusted public key must be RSA-2048 or ECDSA P-256; CloudFront takes no other.")
        self._key = key

    def check(self, data: bytes, signature: bytes, algorithm: HashAlgorithm) -> None:
        """Raises InvalidSignature unless `signature` was made over `data` with the private half."""
        if isinstance(self._key, rsa.RSAPublicKey):
            self._key.verify(signature, data, padding.PKCS1v15(), algorithm.hasher)
        elif isinstance(self._key, ec.EllipticCurvePublicKey):
            self._key.verify(signature, data, ec.ECDSA(algorithm.hasher))


@dataclass(frozen=True, slots=True)
class Target:
    """What a request asks for, as it arrived. Never joined and split again: clients choose every part of it.

    `cookies` are its Cookie headers.
    """

    scheme: str
    host: str
    path: str
    query: str
    cookies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Request:
    """A target taken apart: `address` up to the query, the client's own `query`, and the signing parameters.

    Those are named as in a URL, wherever they came from.
    """

    address: str
    query: str
    signing: Mapping[str, str]


def verify(target: Target, keys: Mapping[str, PublicKey], *, now: float, client_ip: str) -> None:
    """Raises Denied unless `target` opens at `now` (Unix seconds) for `client_ip` by a signature of one of `keys`.

    Cookies count where the URL has none of the parameters of a signed one.
    """
    request = _parse(target)
    key_id = request.signing.get("Key-Pair-Id")
    if not key_id:
        raise Denied(DenialCode.MISSING_KEY, "no key id")
    if key_id not in keys:
        raise Denied(DenialCode.INVALID_KEY, "unknown key id")
    policy = _policy_bytes(request)
    _check_signature(policy, request.signing, keys[key_id])
    # Only now is the policy known to be ours: nobody else's JSON is parsed.
    read_policy(policy).check(request.address, request.query, now=now, client_ip=client_ip)


def _parse(target: Target) -> _Request:
    # A host with a slash, ? or # in it would pull part of another URL before the path that is served.
    if not _HOST.fullmatch(target.host):
        raise Denied(DenialCode.ACCESS_DENIED, "host")
    kept: list[str] = []
    signing: list[tuple[str, str]] = []
    for parameter in target.query.split("&"):
        name, _, value = parameter.partition("=")
        if name in _SIGNING_PARAMETERS:
            signing.append((name, value))
        else:
            kept.append(parameter)
    found = _each_once(signing or _cookies(target.cookies))
    return _Request(f"{target.scheme}://{target.host}{target.path or '/'}", "&".join(kept), found)


def _cookies(headers: Iterable[str]) -> Iterable[tuple[str, str]]:
    """The signing parameters among cookies; the values are taken as they are, quotes included."""
    for header in headers:
        for pair in header.split(";"):
            name, _, value = pair.strip().partition("=")
            parameter = name.removeprefix(_COOKIE_PREFIX)
            if parameter != name and parameter in _SIGNING_PARAMETERS:
                yield parameter, value


def _each_once(signing: Iterable[tuple[str, str]]) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for name, value in signing:
        if name in found:
            raise Denied(DenialCode.ACCESS_DENIED, f"{name} is given twice")
        found[name] = value
    return found


def _policy_bytes(request: _Request) -> bytes:
    """The policy that was signed: sent along, or rebuilt from the URL as it arrived."""
    if "Policy" in request.signing:
        try:
            return decode(request.signing["Policy"])
        except ValueError as error:
            raise Denied(DenialCode.MALFORMED_POLICY, "policy encoding") from error
    expires = request.signing.get("Expires", "")
    if not _EXPIRES.fullmatch(expires):
        raise Denied(DenialCode.ACCESS_DENIED, "no policy and no expiry")
    resource = f"{request.address}?{request.query}" if request.query else request.address
    return policy_text(resource, int(expires)).encode("utf-8", "surrogateescape")


def _check_signature(policy: bytes, signing: Mapping[str, str], key: PublicKey) -> None:
    try:
        algorithm = HashAlgorithm(signing.get("Hash-Algorithm", HashAlgorithm.SHA1))
    except ValueError as error:
        raise Denied(DenialCode.ACCESS_DENIED, "hash algorithm") from error
    try:
        signature = decode(signing.get("Signature", ""))
    except ValueError as error:
        raise Denied(DenialCode.MALFORMED_SIGNATURE, "signature encoding") from error
    try:
        key.check(policy, signature, algorithm)
    except InvalidSignature as error:
        raise Denied(DenialCode.ACCESS_DENIED, "signature") from error
