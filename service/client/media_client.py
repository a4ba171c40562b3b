"""The client: each step of an upload, and all of them at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any
from uuid import uuid4

import httpx

from service.client import documents
from service.client.answers import (
    DisplayHint,
    FeedPage,
    FileDetails,
    FollowedMedia,
    OwnedMedia,
    StatusUpdate,
    UploadPart,
    UploadPolicy,
    UploadSession,
    UploadTarget,
)
from service.client.completeness import see_complete
from service.client.connection import Connection, http_client
from service.client.errors import (
    INCOMPLETE,
    NO_SUCH_UPLOAD,
    STATE_CONFLICT,
    ApiError,
    ClientError,
    TargetExpired,
)
from service.client.graphql_http import run_operation
from service.client.local_file import LocalFile
from service.client.multipart import PARTS_AT_ONCE, PartCalls, parts_of, send_parts
from service.client.mutations import completion, described, outcome_of, run_mutation
from service.client.outages import OnOutage, Outages
from service.client.retrying import DELAYS_S, retrying
from service.client.status import follow
from service.client.tracking import OnProgress, UploadResult
from service.client.transfer import BytesSent, FilePart, place_of, put
from service.client.uploading import UploadRequest, upload_all

NO_DETAILS = FileDetails()


class MediaClient:
    """Use as an asynchronous context manager. Safe to use from many tasks of one loop.

    Every call tries again after each of `delays_s` seconds while that may help, and raises a ClientError otherwise;
    left out, they are what the service asks for as soon as that is known.
    Cancelling a call leaves nothing that a repeat with the same arguments would not resume.
    `network` is what this machine is on, e.g. THREE_G: the service says how much to send at once there, and how large
    the parts of large files are. `transport` takes the place of that network, for storage and API, except for `follow`.
    `on_outage`, to be set at any time, hears when the API or storage begins not to answer, and why, when the reason
    changes, and when it is over.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        network: str = "WIFI",
        delays_s: Sequence[float] | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._connection = Connection.to(url, token)
        self._network = network
        self._paces: dict[str, UploadPolicy] = {}
        self._asking = asyncio.Lock()
        self._keeps_delays = delays_s is not None
        self._delays_s = DELAYS_S if delays_s is None else tuple(delays_s)
        self._outages = Outages()
        self._http = http_client(transport)

    @property
    def on_outage(self) -> OnOutage:
        return self._outages.listener

    @on_outage.setter
    def on_outage(self, listener: OnOutage) -> None:
        self._outages.listener = listener

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
        capture_id: str | None = None,
        details: FileDetails = NO_DETAILS,
        titles_from_names: bool = False,
    ) -> list[UploadSession | OwnedMedia | ApiError]:
        """For each of 1 to 20 files, in order: a session, the media that has these bytes already, or why not.

        `capture_id`: the caller's own name for the capture they belong to, in which alone content is recognised then;
        without it each call is a capture by itself, and content is recognised whichever it came with.
        `titles_from_names`: where `details` has no title, a file's name without its extension is one.
        The same key opens no second session. Raises ApiError where the batch as a whole was refused.
        """
        batch = {
            "idempotencyKey": idempotency_key,
            "purpose": purpose,
            "visibility": visibility,
            "captureId": capture_id,
            "client": {"network": self._network},
            "files": [described(file, details, titles_from_names=titles_from_names) for file in files],
        }
        payload = await self._mutate(documents.CREATE_UPLOADS, "createUploads", batch)
        return [outcome_of(outcome) for outcome in payload["outcomes"]]

    async def session(self, upload_id: str) -> UploadSession:
        """A session as storage confirms it: its parts, or a target that is good for a while. Raises ApiError."""
        upload = (await self._run(documents.UPLOAD, {"id": upload_id}))["upload"]
        if upload is None:
            raise ApiError("NOT_FOUND", "There is no such upload.")
        return UploadSession.model_validate(upload)

    async def send(
        self,
        session: UploadSession,
        file: LocalFile,
        *,
        on_bytes: BytesSent = lambda sent: None,
        parts_at_once: int = PARTS_AT_ONCE,
    ) -> tuple[UploadPart, ...]:
        """Send to storage what it does not have yet; the parts, for `complete`, or none if the file was sent whole.

        Raises StorageRefused, UnusableFile (also when the file changed since it was looked at), Unreachable, ApiError.
        """
        if session.method == "SINGLE":
            await self._send_whole(session, file, on_bytes)
            return ()
        present = await self.session(session.id)
        if not present.takes_bytes:
            return present.parts
        try:
            return await self._send_parts(present, file, on_bytes, parts_at_once)
        except ClientError as error:
            if error.code not in (STATE_CONFLICT, NO_SUCH_UPLOAD):
                raise
            # Perhaps a call that was heard but never answered has made one object of them.
            present = await self.session(session.id)
            if present.takes_bytes:
                raise
            return present.parts

    async def complete(self, upload_id: str, parts: Sequence[UploadPart] = ()) -> None:
        """Say that the bytes are up, in these parts if in parts. Free to repeat.

        Raises ApiError; UPLOAD_INCOMPLETE if storage misses some: `send` again.
        """
        given = completion(upload_id, parts)
        # Waiting brings no part that was not sent.
        unless = (INCOMPLETE,) if parts else ()
        await self._mutate(documents.COMPLETE_UPLOAD, "completeUpload", given, unless=unless)

    async def abort(self, upload_id: str) -> None:
        """End a session that will not be finished: its media becomes EXPIRED, what was sent is dropped."""
        given = {"idempotencyKey": f"{upload_id}-abort", "uploadId": upload_id}
        await self._mutate(documents.ABORT_UPLOAD, "abortUpload", given)

    async def find_duplicates(self, sha256s: Sequence[str]) -> dict[str, OwnedMedia]:
        """Which of these contents (SHA-256 in hex) the caller has already, and as what."""
        found = await self._run(documents.FIND_DUPLICATES, {"sha256": list(sha256s)})
        return {match["sha256"]: OwnedMedia.model_validate(match["media"]) for match in found["findDuplicates"]}

    async def upload_policy(self, purpose: str, network: str | None = None) -> UploadPolicy:
        """What the service wants uploads of `purpose` to be like on `network`, or on the one this machine is on."""
        found = await self._run(documents.UPLOAD_POLICY, {"purpose": purpose, "network": network or self._network})
        return UploadPolicy.model_validate(found["uploadPolicy"])

    async def pace(self, purpose: str) -> UploadPolicy:
        """`upload_policy` for this machine, asked once for each purpose."""
        async with self._asking:
            if purpose not in self._paces:
                policy = self._paces[purpose] = await self.upload_policy(purpose)
                if not self._keeps_delays:
                    self._delays_s = policy.retry_delays_s
            return self._paces[purpose]

    def follow(self, media_ids: Sequence[str], *, after: str | None = None) -> AsyncGenerator[StatusUpdate]:
        """Updates of 1 to 100 media until each is at a terminal status, through lost connections.

        `after`, a cursor, leaves out what was seen before.
        """
        return follow(self._connection, media_ids, after=after, delays_s=self._delays_s, outages=self._outages)

    async def upload(  # noqa: PLR0913 - all but two are optional
        self,
        paths: Sequence[Path],
        *,
        purpose: str,
        visibility: str | None = None,
        capture_id: str | None = None,
        details: FileDetails = NO_DETAILS,
        titles_from_names: bool = False,
        idempotency_key: str | None = None,
        on_progress: OnProgress = lambda progress: None,
        patience_s: float = 600,
        all_renditions: bool = False,
    ) -> list[UploadResult]:
        """Upload files and wait until each is READY; one result a file, in order. Fails for single files only.

        READY media have a thumbnail and a feed picture as JPEG. `all_renditions` waits for the rest as well, as
        `see_complete` does.

        `capture_id`, `titles_from_names`: as for `create_uploads`, which is called for each 20 files.
        The same key and files open no second session. `patience_s`: how long to wait for processing.
        """
        request = UploadRequest(
            purpose, visibility, capture_id, details, titles_from_names, idempotency_key or uuid4().hex, patience_s
        )
        results = await upload_all(self, paths, request, on_progress)
        return await see_complete(self, results, patience_s=patience_s) if all_renditions else results

    async def followed(self, media_ids: Sequence[str]) -> list[FollowedMedia]:
        """Media as they are now, 1 to 100; those that are gone, or not for this caller, are left out."""
        found = await self._run(documents.FOLLOWED_MEDIA, {"ids": list(media_ids)})
        return [FollowedMedia.model_validate(node) for node in found["nodes"] if node]

    async def feed(
        self, *, purpose: str, first: int = 20, after: str | None = None, hint: DisplayHint | None = None
    ) -> FeedPage:
        """READY media that the viewer may see, newest first; `after` is an earlier page's `next_cursor`."""
        asked = {"purpose": purpose, "first": first, "after": after, "hint": hint and hint.as_json()}
        return FeedPage.of((await self._run(documents.FEED, asked))["feed"])

    async def _send_whole(self, session: UploadSession, file: LocalFile, on_bytes: BytesSent) -> None:
        whole = FilePart(1, 0, file.byte_size)

        async def send_to(target: UploadTarget | None) -> None:
            if target is not None:
                await retrying(lambda: self._put(target, file, whole, on_bytes), self._delays_s)

        try:
            await send_to(session.target)
        except TargetExpired:
            await send_to((await self.session(session.id)).target)

    async def _send_parts(
        self, present: UploadSession, file: LocalFile, on_bytes: BytesSent, parts_at_once: int
    ) -> tuple[UploadPart, ...]:
        return await send_parts(
            file,
            parts_of(present, file),
            present.parts,
            PartCalls(
                lambda digests: self._sign_parts(present.id, digests),
                lambda target, part, on_part: self._put(target, file, part, on_part),
            ),
            at_once=parts_at_once,
            delays_s=self._delays_s,
            on_bytes=on_bytes,
        )

    async def _put(self, target: UploadTarget, file: LocalFile, part: FilePart, on_bytes: BytesSent) -> str | None:
        return await self._outages.reach(place_of(target), lambda: put(self._http, target, file, part, on_bytes))

    async def _sign_parts(self, upload_id: str, digests: Mapping[int, str]) -> dict[int, UploadTarget]:
        checksums = [{"number": number, "sha256": sha256} for number, sha256 in digests.items()]
        given = {"uploadId": upload_id, "partNumbers": list(digests), "partChecksums": checksums}
        payload = await self._mutate(documents.SIGN_UPLOAD_PARTS, "signUploadParts", given)
        return {part["number"]: UploadTarget.model_validate(part["target"]) for part in payload["parts"]}

    async def _mutate(
        self, document: str, field: str, given: dict[str, Any], *, unless: Sequence[str] = ()
    ) -> dict[str, Any]:
        return await self._retrying_api(
            lambda: run_mutation(self._http, self._connection, document, field, given), unless=unless
        )

    async def _run(self, document: str, variables: dict[str, Any]) -> dict[str, Any]:
        return await self._retrying_api(lambda: run_operation(self._http, self._connection, document, variables))

    async def _retrying_api(
        self, call: Callable[[], Awaitable[dict[str, Any]]], *, unless: Sequence[str] = ()
    ) -> dict[str, Any]:
        place = self._connection.place
        return await retrying(lambda: self._outages.reach(place, call), self._delays_s, unless=unless)
