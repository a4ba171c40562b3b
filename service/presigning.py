"""Presigned S3 requests: Signature Version 4 in the query string, for exactly the request a client is to make.

Format: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html. botocore's signer gives the same
bytes (the tests compare them) at ten times the cost, which counts where a hundred parts are signed at once.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Protocol
from urllib.parse import quote, urlsplit

ALGORITHM = "AWS4-HMAC-SHA256"

# An abandoned upload is told from an original that is needed by this tag; the worker replaces it.
UNCONFIRMED_TAG = "state=unconfirmed"

_DEFAULT_PORTS = {"http": 80, "https": 443}


class Credentials(Protocol):
    """What botocore calls frozen credentials."""

    @property
    def access_key(self) -> str | None: ...
    @property
    def secret_key(self) -> str | None: ...
    @property
    def token(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class PresignedRequest:
    """A request the client may make as it stands. `headers` must be sent verbatim; length and host are signed too."""

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str]
    expires_at: datetime


class Part(NamedTuple):
    """A part to sign: its number from 1, its length in bytes, and its SHA-256 in base64 where the client gave one."""

    number: int
    byte_size: int
    checksum: str | None = None


class Presigner:
    """Signs requests on objects of one bucket. Purely local, so it may be called on the event loop."""

    def __init__(self, *, endpoint: str, region: str, bucket: str, credentials: Callable[[], Credentials]) -> None:
        self._base = f"{endpoint.rstrip('/')}/{bucket}"
        self._path = f"{urlsplit(endpoint).path.rstrip('/')}/{bucket}"
        self._host = _host_of(endpoint)
        self._region = region
        self._credentials = credentials

    def put(
        self, *, key: str, content_type: str, byte_size: int, checksum: str, expires_s: int, now: datetime | None = None
    ) -> PresignedRequest:
        """Let a client create `key` once, with exactly these bytes (`checksum`: SHA-256 in base64).

        Storage refuses another length, type, checksum or an existing key.
        """
        headers = {
            "Content-Type": content_type,
            "If-None-Match": "*",
            "x-amz-checksum-sha256": checksum,
            "x-amz-tagging": UNCONFIRMED_TAG,
        }
        return self._scope(expires_s, now).presign("PUT", key, {}, headers, byte_size)

    def parts(
        self, *, key: str, storage_upload_id: str, parts: Sequence[Part], expires_s: int, now: datetime | None = None
    ) -> list[PresignedRequest]:
        """Let a client send each of `parts`, with exactly its length (and checksum), to one multipart upload."""
        scope, requests = self._scope(expires_s, now), []
        for part in parts:
            headers = {} if part.checksum is None else {"x-amz-checksum-sha256": part.checksum}
            query = {"partNumber": str(part.number), "uploadId": storage_upload_id}
            requests.append(scope.presign("PUT", key, query, headers, part.byte_size))
        return requests

    def create_multipart(
        self, *, key: str, content_type: str, expires_s: int, now: datetime | None = None
    ) -> PresignedRequest:
        """Let a client begin a multipart upload of `key` itself."""
        headers = {"Content-Type": content_type, "x-amz-tagging": UNCONFIRMED_TAG}
        return self._scope(expires_s, now).presign("POST", key, {"uploads": ""}, headers, None)

    def on_multipart(
        self, method: str, *, key: str, storage_upload_id: str, expires_s: int, now: datetime | None = None
    ) -> PresignedRequest:
        """Let a client list the parts of a multipart upload (GET), complete it (POST) or abort it (DELETE).

        Completing creates `key` once: storage refuses it where an object is.
        """
        headers = {"If-None-Match": "*"} if method == "POST" else {}
        return self._scope(expires_s, now).presign(method, key, {"uploadId": storage_upload_id}, headers, None)

    def _scope(self, expires_s: int, now: datetime | None) -> _Scope:
        moment = now or datetime.now(UTC)
        return _Scope(self._base, self._path, self._host, self._region, self._credentials(), moment, expires_s)


class _Scope:
    """What all requests signed in the same moment share, computed once."""

    def __init__(
        self,
        base: str,
        path: str,
        host: str,
        region: str,
        credentials: Credentials,
        moment: datetime,
        expires_s: int,
    ) -> None:
        self._base, self._path, self._host = base, path, host
        self._amz_date = moment.strftime("%Y%m%dT%H%M%SZ")
        self._expires_at = moment.replace(microsecond=0) + timedelta(seconds=expires_s)
        scope = f"{moment:%Y%m%d}/{region}/s3/aws4_request"
        self._query = {
            "X-Amz-Algorithm": ALGORITHM,
            "X-Amz-Credential": f"{credentials.access_key}/{scope}",
            "X-Amz-Date": self._amz_date,
            "X-Amz-Expires": str(expires_s),
        }
        if credentials.token:
            self._query["X-Amz-Security-Token"] = credentials.token
        self._to_sign = f"{ALGORITHM}\n{self._amz_date}\n{scope}\n"
        self._key = _signing_key(credentials.secret_key or "", f"{moment:%Y%m%d}", region)

    def presign(
        self, method: str, key: str, query: Mapping[str, str], headers: Mapping[str, str], byte_size: int | None
    ) -> PresignedRequest:
        signed = {"host": self._host, **{name.lower(): value for name, value in headers.items()}}
        if byte_size is not None:
            signed["content-length"] = str(byte_size)
        names = ";".join(sorted(signed))
        parameters = {**self._query, **query, "X-Amz-SignedHeaders": names}
        canonical_query = "&".join(f"{name}={quote(parameters[name], safe='~')}" for name in sorted(parameters))
        canonical_headers = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed))
        canonical = f"{method}\n{self._path}/{key}\n{canonical_query}\n{canonical_headers}\n{names}\nUNSIGNED-PAYLOAD"
        to_sign = self._to_sign + hashlib.sha256(canonical.encode()).hexdigest()
        signature = hmac.digest(self._key, to_sign.encode(), "sha256").hex()
        url = f"{self._base}/{key}?{canonical_query}&X-Amz-Signature={signature}"
        return PresignedRequest(method, url, headers, self._expires_at)


def _signing_key(secret_key: str, date: str, region: str) -> bytes:
    key = f"AWS4{secret_key}".encode()
    for part in (date, region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def _host_of(endpoint: str) -> str:
    parts = urlsplit(endpoint)
    host = parts.hostname or ""
    bracketed = f"[{host}]" if ":" in host else host
    return bracketed if parts.port in {None, _DEFAULT_PORTS.get(parts.scheme)} else f"{bracketed}:{parts.port}"
