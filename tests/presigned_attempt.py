"""A presigned request as somebody might send it: as it is, or altered."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import httpx


@dataclass(frozen=True)
class Attempt:
    """What is sent; each `with_` and `without_` gives an altered one."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes

    def with_query(self, **changes: str) -> Attempt:
        parts = urlsplit(self.url)
        query = dict(parse_qsl(parts.query, keep_blank_values=True)) | changes
        return replace(self, url=urlunsplit(parts._replace(query=urlencode(query))))

    def with_headers(self, **changes: str) -> Attempt:
        return replace(self, headers={**self.headers, **changes})

    def without_header(self, name: str) -> Attempt:
        return replace(self, headers={key: value for key, value in self.headers.items() if key != name})

    async def send(self) -> httpx.Response:
        async with httpx.AsyncClient(timeout=10) as client:
            return await client.request(self.method, self.url, headers=dict(self.headers), content=self.body)


def sha256_base64(body: bytes) -> str:
    """A digest as S3's headers carry it."""
    return base64.b64encode(hashlib.sha256(body).digest()).decode()
