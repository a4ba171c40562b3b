"""Inputs and outcomes of mutations, between the client's values and the API's JSON."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from service.client.answers import FileDetails, OwnedMedia, UploadPart, UploadSession
from service.client.connection import Connection
from service.client.errors import ApiError
from service.client.graphql_http import run_operation, user_error
from service.client.local_file import LocalFile, shown, title_of

MAX_NAME = 255


async def run_mutation(
    http: httpx.AsyncClient, connection: Connection, document: str, field: str, given: Mapping[str, Any]
) -> dict[str, Any]:
    """The payload of one mutation, `field`. Raises ApiError also for its `userErrors`; Unreachable."""
    answer = await run_operation(http, connection, document, {"input": given})
    payload: dict[str, Any] = answer[field]
    for error in payload["userErrors"]:
        raise user_error(error)
    return payload


def described(file: LocalFile, details: FileDetails, *, titles_from_names: bool) -> dict[str, Any]:
    """A file of CreateUploadsInput. The file's name is its title where `details` has none, if so wished."""
    named = {"title": title_of(file.path)} if titles_from_names else {}
    return {
        **named,
        **details.as_json(),
        "contentType": file.content_type,
        "byteSize": file.byte_size,
        "sha256": file.sha256,
        "fileName": shown(file.path.name)[:MAX_NAME],
    }


def outcome_of(outcome: Mapping[str, Any]) -> UploadSession | OwnedMedia | ApiError:
    """One of createUploads' outcomes."""
    if (duplicate := outcome.get("duplicate")) is not None:
        return OwnedMedia.model_validate(duplicate)
    if outcome["upload"] is None:
        return user_error(outcome["userErrors"][0])
    return UploadSession.model_validate(outcome["upload"])


def completion(upload_id: str, parts: Sequence[UploadPart]) -> dict[str, Any]:
    """CompleteUploadInput under a key that outlives this process: the same upload and parts, the same key."""
    if not parts:
        return {"idempotencyKey": upload_id, "uploadId": upload_id}
    listed = [{"number": part.number, "etag": part.etag} for part in parts]
    digest = hashlib.sha256("\n".join(f"{part.number} {part.etag}" for part in parts).encode()).hexdigest()
    return {"idempotencyKey": f"{upload_id}-{digest[:32]}", "uploadId": upload_id, "parts": listed}
