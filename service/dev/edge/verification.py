"""Whether a signed URL opens: what CloudFront checks before it looks into its cache.

Rules: Amazon CloudFront Developer Guide, "Use signed URLs" and its pages on canned and custom policies. Where the guide
is silent the stricter reading is taken.
"""

from __future__ import annotations

import enum
import ipaddress
import re
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Annotated

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service.cloudfront import HashAlgorithm, decode, policy_text
from service.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

_HOST = re.compile(r"[A-Za-z0-9.-]+(?::[0-9]+)?")
_EXPIRES = re.compile(r"[1-9][0-9]{0,11}")
_SIGNING_PARAMETERS = frozenset({"Expires", "Policy", "Signature", "Key-Pair-Id", "Hash-Algorithm"})


class DenialCode(enum.StrEnum):
    """The `<Code>` of CloudFront's 403, each with the message CloudFront sends along."""

    ACCESS_DENIED = "AccessDenied"
    MISSING_KEY = "MissingKey"
    INVALID_KEY = "InvalidKey"
    MALFORMED_POLICY = "MalformedPolicy"
    MALFORMED_SIGNATURE = "MalformedSignature"

    @property
    def message(self) -> str:
        return _MESSAGES[self]


_MESSAGES = {
    DenialCode.ACCESS_DENIED: "Access denied",
    DenialCode.MISSING_KEY: "Missing Key-Pair-Id query parameter or cookie value",
    DenialCode.INVALID_KEY: "Unknown Key",
    DenialCode.MALFORMED_POLICY: "Malformed Policy",
    DenialCode.MALFORMED_SIGNATURE: "Could not unencode Signature",
}


class Denied(Exception):
    """The URL does not open. `reason` is for our log; CloudFront tells clients only the code."""

    def __init__(self, code: DenialCode, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


class PublicKey:
    """The public half of a key pair. Raises ConfigurationError for a kind of key that CloudFront would not take."""

    def __init__(self, pem: str) -> None:
        key = load_pem_public_key(pem.encode())
        if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
            raise ConfigurationError("A trusted public key must be RSA or ECDSA.")
        self._key = key

    def check(self, data: bytes, signature: bytes, algorithm: HashAlgorithm) -> None:
        """Raises InvalidSignature unless `signature` was made over `data` with the private half."""
        if isinstance(self._key, rsa.RSAPublicKey):
            self._key.verify(signature, data, padding.PKCS1v15(), algorithm.hasher)
        else:
            self._key.verify(signature, data, ec.ECDSA(algorithm.hasher))


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Time(_Part):
    epoch: int = Field(alias="AWS:EpochTime", gt=0)


class _Source(_Part):
    network: IPv4Network = Field(alias="AWS:SourceIp")


class _Condition(_Part):
    before: _Time = Field(alias="DateLessThan")
    after: _Time | None = Field(default=None, alias="DateGreaterThan")
    source: _Source | None = Field(default=None, alias="IpAddress")


class _Statement(_Part):
    resource: str = Field(default="*", alias="Resource")
    condition: _Condition = Field(alias="Condition")


class _Policy(_Part):
    statement: Annotated[list[_Statement], Field(min_length=1, max_length=1)] | _Statement = Field(alias="Statement")

    @property
    def only_statement(self) -> _Statement:
        return self.statement[0] if isinstance(self.statement, list) else self.statement


@dataclass(frozen=True, slots=True)
class Target:
    """What a request asks for, as it arrived. Never joined and split again: clients choose every part of it."""

    scheme: str
    host: str
    path: str
    query: str


@dataclass(frozen=True, slots=True)
class _Request:
    """A target taken apart: `address` up to the query, the client's own `query`, and the signing parameters."""

    address: str
    query: str
    signing: Mapping[str, str]


def verify(target: Target, keys: Mapping[str, PublicKey], *, now: float, client_ip: str) -> None:
    """Raises Denied unless `target` opens at `now` (Unix seconds) for `client_ip` by a signature of one of `keys`."""
    request = _parse(target)
    key_id = request.signing.get("Key-Pair-Id")
    if not key_id:
        raise Denied(DenialCode.MISSING_KEY, "no key id")
    if key_id not in keys:
        raise Denied(DenialCode.INVALID_KEY, "unknown key id")
    policy = _policy_bytes(request)
    _check_signature(policy, request.signing, keys[key_id])
    # Only now is the policy known to be ours: nobody else's JSON is parsed.
    _check_statement(_statement(policy), request, now, client_ip)


def _parse(target: Target) -> _Request:
    # A host with a slash, ? or # in it would pull part of another URL before the path that is served.
    if not _HOST.fullmatch(target.host):
        raise Denied(DenialCode.ACCESS_DENIED, "host")
    kept: list[str] = []
    signing: dict[str, str] = {}
    for parameter in target.query.split("&"):
        name, _, value = parameter.partition("=")
        if name not in _SIGNING_PARAMETERS:
            kept.append(parameter)
        elif name in signing:
            raise Denied(DenialCode.ACCESS_DENIED, f"{name} is given twice")
        else:
            signing[name] = value
    return _Request(f"{target.scheme}://{target.host}{target.path or '/'}", "&".join(kept), signing)


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


def _statement(policy: bytes) -> _Statement:
    try:
        return _Policy.model_validate_json(policy).only_statement
    except ValidationError as error:
        raise Denied(DenialCode.MALFORMED_POLICY, "policy shape") from error


def _check_statement(statement: _Statement, request: _Request, now: float, client_ip: str) -> None:
    condition = statement.condition
    if not _covers(statement.resource, request):
        raise Denied(DenialCode.ACCESS_DENIED, "resource")
    if now >= condition.before.epoch:
        raise Denied(DenialCode.ACCESS_DENIED, "expired")
    if condition.after is not None and now <= condition.after.epoch:
        raise Denied(DenialCode.ACCESS_DENIED, "not yet valid")
    if condition.source is not None and ipaddress.ip_address(client_ip) not in condition.source.network:
        raise Denied(DenialCode.ACCESS_DENIED, "ip")


def _covers(resource: str, request: _Request) -> bool:
    """Path and query are matched apart: `*` in a path stops at the `?`, unless it ends the resource."""
    path, has_query, query = resource.partition("?")
    if has_query:
        return bool(request.query) and _glob(path, request.address) and _glob(query, request.query)
    return (resource.endswith("*") or not request.query) and _glob(path, request.address)


def _glob(pattern: str, text: str) -> bool:
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, text, re.DOTALL) is not None
