"""A running embedded stack, as the browser tests see it from outside."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from service.object_store import ObjectStore
from tests.api_client import ApiClient

REPOSITORY = Path(__file__).parent.parent.parent

_STATUSES = "{ mediaList(first: 100) { nodes { title status } } }"
_COMPLETE = "{ mediaList(first: 100, filter: {status: READY}) { nodes { renditionsComplete } } }"


@dataclass(frozen=True, slots=True)
class Stack:
    """A running embedded stack: its addresses, what its storage holds, and its folder with logs and keys."""

    urls: dict[str, str]
    store: ObjectStore
    folder: Path

    def client(self) -> ApiClient:
        """The API for the user that the page signs in as."""
        return ApiClient(self.urls["demo"].rstrip("/"), self.urls["token"])

    def stranger(self) -> ApiClient:
        """The API for nobody in particular."""
        return ApiClient(self.urls["demo"].rstrip("/"), None)

    async def statuses(self, title: str) -> list[str]:
        """The status of every media of that user with this title."""
        nodes = (await self.client().run(_STATUSES))["mediaList"]["nodes"]
        return [node["status"] for node in nodes if node["title"] == title]

    async def is_at_rest(self) -> bool:
        """Whether every media of that user that can be looked at has all of its renditions."""
        nodes = (await self.client().run(_COMPLETE))["mediaList"]["nodes"]
        return all(node["renditionsComplete"] for node in nodes)

    async def stored_keys(self) -> set[str]:
        """Every object in both buckets, once nothing more is on its way there."""
        await eventually(self.is_at_rest, within_s=60)
        buckets = (self.store.upload_bucket, self.store.media_bucket)
        return {entry.key for bucket in buckets async for entry in self.store.list_objects(bucket, "")}

    async def unfinished_uploads(self) -> set[str]:
        """The keys of uploads in parts that storage still keeps parts of."""
        return {pending.key async for pending in self.store.multipart.list_pending()}


async def eventually(holds: Callable[[], Awaitable[bool]], *, within_s: float = 20) -> None:
    """Waits until it holds; TimeoutError if it does not in time."""
    async with asyncio.timeout(within_s):
        while not await holds():  # noqa: ASYNC110 - another process does it, and sends no signal
            await asyncio.sleep(0.05)
