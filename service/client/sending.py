"""One opened session, until storage and the service have confirmed its file."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from service.client.answers import UploadSession
from service.client.errors import INCOMPLETE, ApiError, ClientError, UnusableFile
from service.client.local_file import LocalFile
from service.client.tracking import TrackedFile

if TYPE_CHECKING:
    from service.client.media_client import MediaClient

# Storage may have lost a part, or confirmed one that this side took for another; not again and again.
ROUNDS = 3


async def send_and_complete(
    client: MediaClient, session: UploadSession, file: LocalFile, tracked: TrackedFile, *, parts_at_once: int
) -> None:
    """Send what storage misses and complete the session; `tracked` is told how far it is.

    Raises ClientError. A file that changed meanwhile ends its session: no repeat could finish it.
    """
    try:
        for _ in range(ROUNDS - 1):
            try:
                return await _attempt(client, session, file, tracked, parts_at_once)
            except ApiError as error:
                if error.code != INCOMPLETE or session.method == "SINGLE":
                    raise
        await _attempt(client, session, file, tracked, parts_at_once)
    except UnusableFile:
        await abandon(client, session.id)
        raise


async def abandon(client: MediaClient, upload_id: str) -> None:
    """End a session that cannot be finished, if that can be said; otherwise it runs out by itself."""
    with suppress(ClientError):
        await client.abort(upload_id)


async def _attempt(
    client: MediaClient, session: UploadSession, file: LocalFile, tracked: TrackedFile, parts_at_once: int
) -> None:
    parts = await client.send(session, file, on_bytes=tracked.sent, parts_at_once=parts_at_once)
    if not parts:
        # A whole object is found and completed by the service, even if nobody says so.
        tracked.confirm()
    await client.complete(session.id, parts)
    tracked.confirm()
