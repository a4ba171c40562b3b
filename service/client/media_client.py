"""The client: each step of an upload, and all of them at once."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any
from uuid import uuid4

import httpx

from service.client import documents
from service.client.answers import DisplayHint, FeedPage, FileDetails, StatusUpdate, UploadSession
from service.client.connection import Connection, http_client
from service.client.errors import ApiError
from service.client.graphql_http import run_operation, user_error
from service.client.local_file import LocalFile, shown, title_of
from service.client.retrying import DELAYS_S, retrying
from service.client.status import follow
from service.client.transfer import BytesSent, put_file
from service.client.uploading import OnProgress, UploadRequest, UploadResult, upload_all

NO_DETAILS = FileDetails()
MAX_NAME = 255


class MediaClient:
    """Use as an asynchronous context manager. Safe to use from many tasks of one loop.

    Every call tries again after each of `delays_s` seconds while that may help, and raises a ClientError otherwise.
    `transport` takes the place of the network, for storage and API alike, except for `follow`.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        delays_s: Sequence[float] = DELAYS_S,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._connection = Connection.to(url, token)
        self._delays_s = tuple(delays_s)
        self._http = http_client(transport)

    async def __aenter__(self) -> MediaClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def create_uploads(
        self,
        files: Sequence[LocalFile],
        *,
        purpose: str,
        idempotency_key: str,
        visibility: str | None = None,
        details: FileDetails = NO_DETAILS,
        titles_from_names: bool = False,
    ) -> list[UploadSession | ApiError]:
        """A session for each of 1 to 20 files, in order, or the error that refused it.

        `titles_from_names`: where `details` has no title, a file's name without its extension is one.
        The same key opens no second session. Raises ApiError where the batch as a whole was refused.
        """
        batch = {
            "idempotencyKey": idempotency_key,
            "purpose": purpose,
            "visibility": visibility,
            "files": [_described(file, details, titles_from_names=titles_from_names) for file in files],
        }
        payload = await self._mutate(documents.CREATE_UPLOADS, "createUploads", batch)
        return [_session(outcome) for outcome in payload["outcomes"]]

    async def send(self, session: UploadSession, file: LocalFile, *, on_bytes: BytesSent = lambda sent: None) -> None:
        """Send the bytes to storage, unless they are there. Raises StorageRefused, UnusableFile, Unreachable."""
        target = session.target
        if target is not None:
            await retrying(lambda: put_file(self._http, target, file, on_bytes), self._delays_s)

    async def complete(self, upload_id: str) -> None:
        """Say that the bytes are up. Free to repeat."""
        # One upload is completed once: its id is as good a key as any, and outlives this process.
        await self._mutate(
            documents.COMPLETE_UPLOAD, "completeUpload", {"idempotencyKey": upload_id, "uploadId": upload_id}
        )

    def follow(self, media_ids: Sequence[str], *, after: str | None = None) -> AsyncGenerator[StatusUpdate]:
        """Updates of 1 to 100 media until each is at a terminal status, through lost connections.

        `after`, a cursor, leaves out what was seen before.
        """
        return follow(self._connection, media_ids, after=after, delays_s=self._delays_s)

    async def upload(
        self,
        paths: Sequence[Path],
        *,
        purpose: str,
        visibility: str | None = None,
        details: FileDetails = NO_DETAILS,
        titles_from_names: bool = False,
        idempotency_key: str | None = None,
        on_progress: OnProgress = lambda progress: None,
        patience_s: float = 600,
    ) -> list[UploadResult]:
        """Upload files and wait until each is READY; one result a file, in order. Fails for single files only.

        `titles_from_names`: where `details` has no title, a file's name without its extension is one.
        The same key and files open no second session. `patience_s`: how long to wait for processing.
        """
        request = UploadRequest(
            purpose, visibility, details, titles_from_names, idempotency_key or uuid4().hex, patience_s
        )
        return await upload_all(self, paths, request, on_progress)

    async def feed(
        self, *, purpose: str, first: int = 20, after: str | None = None, hint: DisplayHint | None = None
    ) -> FeedPage:
        """READY media that the viewer may see, newest first; `after` is an earlier page's `next_cursor`."""
        asked = {"purpose": purpose, "first": first, "after": after, "hint": hint and hint.as_json()}
        return FeedPage.of((await self._run(documents.FEED, asked))["feed"])

    async def _mutate(self, document: str, field: str, given: dict[str, Any]) -> dict[str, Any]:
        async def attempt() -> dict[str, Any]:
            payload: dict[str, Any] = (await run_operation(self._http, self._connection, document, {"input": given}))[
                field
            ]
            for error in payload["userErrors"]:
                raise user_error(error)
            return payload

        return await retrying(attempt, self._delays_s)

    async def _run(self, document: str, variables: dict[str, Any]) -> dict[str, Any]:
        return await retrying(lambda: run_operation(self._http, self._connection, document, variables), self._delays_s)


def _described(file: LocalFile, details: FileDetails, *, titles_from_names: bool) -> dict[str, Any]:
    named = {"title": title_of(file.path)} if titles_from_names else {}
    return {
        **named,
        **details.as_json(),
        "contentType": file.content_type,
        "byteSize": file.byte_size,
        "sha256": file.sha256,
        "fileName": shown(file.path.name)[:MAX_NAME],
    }


def _session(outcome: dict[str, Any]) -> UploadSession | ApiError:
    if outcome["upload"] is None:
        return user_error(outcome["userErrors"][0])
    return UploadSession.model_validate(outcome["upload"])
