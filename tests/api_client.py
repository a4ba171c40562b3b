"""The GraphQL API as an app sees it: queries over HTTP, subscriptions over graphql-transport-ws."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import orjson
from websockets.asyncio.client import connect

# Shared: each client that makes its own reads every certificate authority anew, for 24 ms, and then speaks plain HTTP.
_TLS = ssl.create_default_context()

CREATE = """
mutation Create($input: CreateUploadsInput!) {
  createUploads(input: $input) {
    outcomes {
      upload { id media { id status } expiresAt bytesConfirmed target { method url headers { name value } expiresAt } }
      userErrors { code message field retryable }
    }
    userErrors { code message field retryable }
  }
}
"""
COMPLETE = """
mutation Complete($input: CompleteUploadInput!) {
  completeUpload(input: $input) { media { id status } userErrors { code message field retryable } }
}
"""
DELETE = """
mutation Delete($input: DeleteMediaInput!) {
  deleteMedia(input: $input) { deletions { id mediaId stage objectsTotal } userErrors { code message field } }
}
"""
COMPLETENESS = """
query Completeness($ids: [ID!]!) { nodes(ids: $ids) { ... on Media { renditionsComplete } } }
"""
STATUS = """
subscription Follow($ids: [ID!]!, $after: String) {
  mediaStatus(ids: $ids, after: $after) {
    status sequence cursor progress
    media { id status failure { code message retryable } }
  }
}
"""


class ApiClient:
    def __init__(self, url: str, token: str | None) -> None:
        self.url = url
        self.token = token
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}

    async def post(self, query: str, **variables: Any) -> dict[str, Any]:
        """The whole GraphQL response."""
        async with httpx.AsyncClient(timeout=30, verify=_TLS) as client:
            answer = await client.post(
                f"{self.url}/graphql", json={"query": query, "variables": variables}, headers=self._headers
            )
        body: dict[str, Any] = answer.json()
        return body

    async def run(self, query: str, **variables: Any) -> dict[str, Any]:
        """The data of an operation that must not fail."""
        body = await self.post(query, **variables)
        assert "errors" not in body, body["errors"]
        data: dict[str, Any] = body["data"]
        return data

    async def create(
        self,
        *files: bytes,
        purpose: str = "COMMUNITY",
        key: str | None = None,
        details: dict[str, Any] | None = None,
        **more: Any,
    ) -> dict[str, Any]:
        """Open sessions for `files`; `details` go with each file, `more` with the batch."""
        described = [
            {
                "contentType": "image/jpeg",
                "byteSize": len(file),
                "sha256": hashlib.sha256(file).hexdigest(),
                **(details or {}),
            }
            for file in files
        ]
        given = {"idempotencyKey": key or uuid4().hex, "purpose": purpose, "files": described, **more}
        payload: dict[str, Any] = (await self.run(CREATE, input=given))["createUploads"]
        return payload

    async def put(self, upload: dict[str, Any], body: bytes) -> httpx.Response:
        target = upload["target"]
        headers = {header["name"]: header["value"] for header in target["headers"]}
        async with httpx.AsyncClient(timeout=30, verify=_TLS) as client:
            return await client.request(target["method"], target["url"], content=body, headers=headers)

    async def complete(self, upload_id: str, *, key: str | None = None) -> dict[str, Any]:
        given = {"idempotencyKey": key or uuid4().hex, "uploadId": upload_id}
        payload: dict[str, Any] = (await self.run(COMPLETE, input=given))["completeUpload"]
        return payload

    async def send(self, file: bytes, *, purpose: str = "COMMUNITY", **more: Any) -> str:
        """One file up and completed; the id of its media."""
        payload = await self.create(file, purpose=purpose, **more)
        [outcome] = payload["outcomes"]
        assert outcome["upload"] is not None, outcome
        assert (await self.put(outcome["upload"], file)).status_code == 200
        completed = await self.complete(outcome["upload"]["id"])
        assert completed["userErrors"] == []
        media_id: str = completed["media"]["id"]
        return media_id

    async def delete(self, *ids: str, key: str | None = None) -> dict[str, Any]:
        payload: dict[str, Any] = (
            await self.run(DELETE, input={"idempotencyKey": key or uuid4().hex, "ids": list(ids)})
        )["deleteMedia"]
        return payload

    async def follow(self, *ids: str, after: str | None = None) -> AsyncIterator[dict[str, Any]]:
        """Events of mediaStatus until it completes."""
        async for event in self.subscribe(STATUS, ids=list(ids), after=after):
            yield event

    async def subscribe(self, query: str, **variables: Any) -> AsyncIterator[Any]:
        """What the one root field of a subscription sends until it completes."""
        address = self.url.replace("http", "ws", 1) + "/graphql"
        async with connect(address, subprotocols=["graphql-transport-ws"], proxy=None) as socket:  # type: ignore[list-item]
            params = {} if self.token is None else {"authorization": f"Bearer {self.token}"}
            await socket.send(orjson.dumps({"type": "connection_init", "payload": params}).decode())
            assert orjson.loads(await socket.recv())["type"] == "connection_ack"
            payload = {"query": query, "variables": variables}
            await socket.send(orjson.dumps({"type": "subscribe", "id": "1", "payload": payload}).decode())
            async for raw in socket:
                message = orjson.loads(raw)
                if message["type"] == "complete":
                    return
                if message["type"] == "ping":
                    await socket.send('{"type":"pong"}')
                    continue
                assert message["type"] == "next", message
                assert "errors" not in message["payload"], message
                [event] = message["payload"]["data"].values()
                yield event

    async def wait_for_all_renditions(self, *ids: str) -> None:
        """Until each has every rendition it should have, which is shortly after it is READY."""
        async with asyncio.timeout(60):
            while True:
                nodes = (await self.run(COMPLETENESS, ids=list(ids)))["nodes"]
                if all(node is not None and node["renditionsComplete"] for node in nodes):
                    return
                await asyncio.sleep(0.03)

    async def wait(self, *ids: str) -> dict[str, str]:
        """The terminal status of each media, by id."""
        return {event["media"]["id"]: event["status"] async for event in self.follow(*ids)}
