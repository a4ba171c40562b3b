"""The four calls of an upload, over one pool of connections, as lean as a load generator has to be."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import httpx

from schema.global_id import decode_id

# As an app does, and as a queue does with its messages.
TRIES, PAUSE_S = 5, 0.5

CREATE = """
mutation Create($input: CreateUploadsInput!) {
  createUploads(input: $input) {
    outcomes {
      upload { id objectKey partSize partCount media { id status } target { method url headers { name value } } }
      duplicate { id }
      userErrors { code message }
    }
    userErrors { code message }
  }
}
"""
SIGN = """
mutation Sign($input: SignUploadPartsInput!) {
  signUploadParts(input: $input) { parts { number byteSize target { url } } userErrors { code message } }
}
"""
COMPLETE = """
mutation Complete($input: CompleteUploadInput!) {
  completeUpload(input: $input) { media { id status } userErrors { code message } }
}
"""


async def insist(http: httpx.AsyncClient, method: str, url: str, **request: Any) -> httpx.Response:
    """Send a request that may be repeated, again where the connection broke."""
    for _ in range(TRIES - 1):
        try:
            return await http.request(method, url, **request)
        except httpx.TransportError:
            await asyncio.sleep(PAUSE_S)
    return await http.request(method, url, **request)


class Client:
    """One owner. Raises RuntimeError where the API refuses."""

    def __init__(self, http: httpx.AsyncClient, url: str, token: str) -> None:
        self._http = http
        self._url = f"{url}/graphql"
        self._headers = {"Authorization": f"Bearer {token}"}

    async def run(self, query: str, **given: Any) -> dict[str, Any]:
        asked = {"query": query, "variables": {"input": given}}
        answer = await insist(self._http, "POST", self._url, json=asked, headers=self._headers)
        body = answer.json()
        if "errors" in body:
            raise RuntimeError(body["errors"])
        [payload] = body["data"].values()
        if payload["userErrors"]:
            raise RuntimeError(payload["userErrors"])
        return dict(payload)

    async def create(self, files: Sequence[dict[str, Any]], *, key: str) -> list[dict[str, Any]]:
        """The outcome of each file."""
        payload = await self.run(CREATE, idempotencyKey=key, purpose="COMMUNITY", files=list(files))
        return list(payload["outcomes"])

    async def put(self, upload: dict[str, Any], body: bytes) -> None:
        """Send the bytes; that storage has them already (412) is as good."""
        target = upload["target"]
        headers = {each["name"]: each["value"] for each in target["headers"]}
        answer = await insist(self._http, "PUT", target["url"], content=body, headers=headers)
        if answer.status_code not in {200, 412}:
            raise RuntimeError(answer.text)

    async def sign(self, upload_id: str, numbers: Sequence[int]) -> list[dict[str, Any]]:
        return list((await self.run(SIGN, uploadId=upload_id, partNumbers=list(numbers)))["parts"])

    async def complete(self, upload_id: str, *, key: str) -> None:
        await self.run(COMPLETE, idempotencyKey=key, uploadId=upload_id)


def described(body: bytes) -> dict[str, Any]:
    return {"contentType": "image/jpeg", "byteSize": len(body), "sha256": hashlib.sha256(body).hexdigest()}


def uuid_of(global_id: str) -> UUID:
    """Raises ValueError if it is not one of ours."""
    parts = decode_id(global_id)
    if parts is None:
        raise ValueError(global_id)
    return parts[1]
