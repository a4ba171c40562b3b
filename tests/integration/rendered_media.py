"""What tests about the renditions of a READY media ask and do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

from service.access import Viewer
from service.media_changes import update_media
from service.models import JobKind
from service.worker_process import open_dispatch
from tests.integration.conftest import RunningService
from tests.integration.jobs_by_hand import run_next
from tests.integration.mutation_scenarios import uuid_of
from tests.invalidation_stand import is_to_be_forgotten
from tests.photos import phone_photo

ANNA = Viewer("anna")
CORNER = {"x": 0.0, "y": 0.0, "width": 0.2, "height": 0.2}

Document = dict[str, Any]

_widths = iter(range(640, 1_000))


async def document_of(service: RunningService, media_id: UUID) -> Document:
    document: Document | None = await service.runtime.database.media.find_one({"_id": media_id})
    assert document is not None
    return document


async def change(service: RunningService, media_id: UUID, **changes: Any) -> None:
    raw = {"idempotency_key": uuid4().hex, **changes}
    await update_media(ANNA, media_id, raw, stores=service.runtime.stores)


async def uploaded(service: RunningService) -> UUID:
    # Wider than high, so that a thumbnail has to choose; each another photo, so that none is linked to another.
    return uuid_of(await service.client("anna").send(phone_photo(next(_widths), 240)))


async def render(service: RunningService) -> None:
    """Run the rendering that is due."""
    await run_next(service, JobKind.RENDER)


async def retire(service: RunningService) -> None:
    """Run the removal that is due of what was replaced."""
    await run_next(service, JobKind.RETIRE)


async def forget(service: RunningService) -> None:
    """Carry invalidations on until the edge has confirmed all of them."""
    dispatch = open_dispatch(service.runtime)
    assert dispatch is not None
    async with asyncio.timeout(20):
        await dispatch.advance()
        while await is_to_be_forgotten(service.runtime.database):
            await asyncio.sleep(0.02)
            await dispatch.advance()


async def ready(service: RunningService) -> UUID:
    """A media that is READY and has all of its renditions."""
    media_id = await uploaded(service)
    await run_next(service, JobKind.PROCESS)
    await render(service)
    assert (await document_of(service, media_id))["status"] == "READY"
    return media_id


def keys_of(document: Document) -> set[str]:
    return {rendition["key"] for rendition in document["renditions"]}


async def headers_of(service: RunningService, keys: set[str]) -> list[str | None]:
    """The Cache-Control of each object; None for one that is not there."""
    store = service.runtime.object_store
    objects = [await store.get(store.media_bucket, key) for key in sorted(keys)]
    return [None if each is None else each.cache_control for each in objects]


def overtaken_by(service: RunningService, act: Callable[[], Awaitable[None]]) -> Any:
    """A jail in which `act` happens once, while the picture is being decoded."""

    class Overtaken:
        done = False

        async def process(self, *args: Any) -> Any:
            image = await service.jail.process(*args)
            if not self.done:
                self.done = True
                await act()
            return image

    return Overtaken()
