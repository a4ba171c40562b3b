"""A picture is fetched and decoded once for both of its jobs where one worker does both, and comes out the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from schema.global_id import decode_id
from service.models import JobKind
from service.worker import Worker
from service.worker_process import build_worker
from tests import photos
from tests.integration.conftest import RunningService
from tests.integration.jobs_by_hand import next_job


class _CountedFetches:
    """Passes everything on to an object store, and counts the originals that are fetched from it."""

    def __init__(self, object_store: Any) -> None:
        self._object_store = object_store
        self.fetches = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._object_store, name)

    async def download(self, bucket: str, key: str, path: Path, *, max_bytes: int) -> str:
        self.fetches += 1
        return str(await self._object_store.download(bucket, key, path, max_bytes=max_bytes))


@pytest.fixture
async def counted(service: RunningService) -> _CountedFetches:
    """The service's storage; its queue is empty."""
    await service.runtime.database.jobs.delete_many({})
    return _CountedFetches(service.runtime.object_store)


def a_worker(service: RunningService, counted: _CountedFetches, **settings: Any) -> Worker:
    worker = service.settings.worker.model_copy(update=settings)
    runtime: Any = replace(
        service.runtime,
        object_store=counted,  # type: ignore[arg-type]
        settings=service.settings.model_copy(update={"worker": worker}),
    )
    return build_worker(runtime, service.jail)


async def run(service: RunningService, worker: Worker, kind: JobKind) -> None:
    job = await next_job(service, kind)
    await worker._handlers[kind](job)
    assert await service.runtime.stores.jobs.complete(job)


async def document(service: RunningService, media_id: str) -> Any:
    parts = decode_id(media_id)
    assert parts is not None
    return await service.runtime.database.media.find_one({"_id": parts[1]})


def steps(media: Any) -> list[str]:
    return [receipt["step"] for receipt in media["processing"]["receipts"]["render"]]


async def test_both_jobs_of_one_worker_fetch_and_decode_once(service: RunningService, counted: _CountedFetches) -> None:
    photo, bodies = photos.phone_photo(1600, 1200), []
    for subject, workers, fetches, first_steps in (
        # One worker does both, or another one does the second job, or none keeps anything.
        ("anna", [a_worker(service, counted)] * 2, 1, ["load_base", "resize_all"]),
        ("ben", [a_worker(service, counted), a_worker(service, counted)], 2, ["fetch", "open_original"]),
        ("cleo", [a_worker(service, counted, base_cache_bytes=0)] * 2, 2, ["fetch", "open_original"]),
    ):
        counted.fetches = 0
        media_id = await service.client(subject).send(photo)
        await run(service, workers[0], JobKind.PROCESS)
        await run(service, workers[1], JobKind.RENDER)
        media = await document(service, media_id)
        assert media["processing"]["complete"]
        assert (counted.fetches, steps(media)[:2]) == (fetches, first_steps)
        bodies.append({(each["name"], each["format"]): each["sha256"] for each in media["renditions"]})
        await service.runtime.database.jobs.delete_many({})
    assert len(bodies[0]) == 9
    assert bodies[0] == bodies[1] == bodies[2]


async def test_what_moves_still_comes_from_the_original(service: RunningService, counted: _CountedFetches) -> None:
    worker = a_worker(service, counted)
    media_id = await service.client("dora").send(
        photos.animation("GIF", side=200), details={"contentType": "image/gif"}
    )
    await run(service, worker, JobKind.PROCESS)
    await run(service, worker, JobKind.RENDER)
    media = await document(service, media_id)
    assert {"load_base", "fetch", "preview_animation"} <= set(steps(media))
    assert "PREVIEW" in {each["name"] for each in media["renditions"]}
    assert counted.fetches == 2
