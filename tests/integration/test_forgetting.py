"""What was removed opens no longer, though the edge had it and addresses of it are still about."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from schema.global_id import encode_id
from service.dev.environment import environment_of
from service.errors import MalwareFound
from service.lifecycle import MediaStatus
from service.models import JobKind, Lane, MediaPurpose
from service.quarantine import quarantine
from service.settings import Settings
from service.stored_renditions import stored_renditions
from tests.integration.conftest import RunningService
from tests.integration.jobs_by_hand import next_job, run_job, run_next
from tests.integration.rendered_media import document_of, forget, keys_of, ready, retire
from tests.invalidation_stand import ask_for_deletion, wait_out_leases

ALL = "query M($id: ID!) { media(id: $id) { renditions { url } original { url } } }"
PROGRESS = "query D($id: ID!) { deletion(id: $id) { stage cdnInvalidatedAt } }"


@pytest.fixture(autouse=True)
async def empty_queue(service: RunningService) -> None:
    await service.runtime.database.jobs.delete_many({})


async def cached(service: RunningService, media_id: UUID, http: httpx.AsyncClient) -> list[str]:
    """The addresses of all that a media has, each in the edge's cache."""
    shown = (await service.client("anna").run(ALL, id=encode_id("Media", media_id)))["media"]
    urls = [each["url"] for each in (*shown["renditions"], shown["original"])]
    assert len(urls) == 10
    for url in urls:
        assert (await http.get(url)).status_code == 200
        assert (await http.get(url)).headers["X-Cache"].startswith("Hit")
    return urls


async def statuses(urls: list[str], http: httpx.AsyncClient) -> set[int]:
    return {(await http.get(url)).status_code for url in urls}


@pytest.mark.parametrize("cache_tags", [True, False], ids=["by tag", "by paths"])
async def test_what_was_deleted(
    service: RunningService, http: httpx.AsyncClient, no_deletion_window: None, cache_tags: bool
) -> None:
    media_id, other = await ready(service), await ready(service)
    urls, others = await cached(service, media_id, http), await cached(service, other, http)
    deletion = (await service.client("anna").delete(encode_id("Media", media_id)))["deletions"][0]
    await run_next(service, JobKind.DELETE)
    assert await statuses(urls, http) == {200}, "edges know nothing of storage"

    # It has read tags for longer than anything is cached.
    long_ago = {"$set": {"reads_tags_since": {"$subtract": ["$$NOW", 40 * 86_400_000]}}}
    await service.runtime.database.handle["distributions"].update_one({"_id": "EDGE"}, [long_ago], upsert=True)
    cdn = service.settings.cdn.model_copy(update={"cache_tags": cache_tags})
    runtime = replace(service.runtime, settings=service.settings.model_copy(update={"cdn": cdn}))
    await forget(replace(service, runtime=runtime))

    assert await statuses(urls, http) == {403}
    batches = runtime.database.handle["invalidation_batches"].find({"paths": {"$regex": str(media_id)}})
    asked = {path for batch in await batches.to_list(None) for path in batch["paths"]}
    assert len(asked) == (2 if cache_tags else 4)
    assert (f"#{media_id}" in asked) is cache_tags
    seen = (await service.client("anna").run(PROGRESS, id=deletion["id"]))["deletion"]
    assert seen["stage"] == "CDN_INVALIDATED"
    assert seen["cdnInvalidatedAt"] is not None
    assert {(await http.get(url)).headers["X-Cache"][:3] for url in others} == {"Hit"}


async def test_what_was_quarantined(service: RunningService, http: httpx.AsyncClient) -> None:
    media_id, runtime = await ready(service), service.runtime
    urls, before = await cached(service, media_id, http), await document_of(service, media_id)

    async def lock_away() -> None:
        found: Any = await document_of(service, media_id)
        error = MalwareFound(signature="Eicar", engine="ClamAV")
        await quarantine(found, error, stores=runtime.stores, object_store=runtime.object_store)

    await lock_away()
    # Another attempt, after a death: the same job.
    await lock_away()
    await retire(service)
    await forget(service)
    renditions = urls[:-1]
    assert await statuses(renditions, http) == {403}
    assert await stored_renditions(media_id, MediaPurpose.COMMUNITY, runtime.object_store) == []
    assert (await document_of(service, media_id))["renditions"] == []

    # Released, and not called malware any more, it is made anew, under other keys.
    await runtime.stores.media.transition(
        media_id,
        MediaStatus.UPLOADED,
        sources={MediaStatus.QUARANTINED},
        values={"processing.generation": 2},
        unset=["processing.malware"],
    )
    await runtime.stores.jobs.enqueue(media_id, JobKind.PROCESS, lane=Lane.FIRST_VISIBLE, generation=2)
    await run_next(service, JobKind.PROCESS)
    again = await document_of(service, media_id)
    assert again["status"] == "READY"
    assert keys_of(again).isdisjoint(keys_of(before))


async def test_a_release_that_comes_first_leaves_everything(service: RunningService, http: httpx.AsyncClient) -> None:
    media_id, runtime = await ready(service), service.runtime
    document: Any = await document_of(service, media_id)
    error = MalwareFound(signature="Eicar", engine="ClamAV")
    await quarantine(document, error, stores=runtime.stores, object_store=runtime.object_store)
    job = await next_job(service, JobKind.RETIRE)
    await runtime.stores.media.transition(media_id, MediaStatus.UPLOADED, sources={MediaStatus.QUARANTINED})
    await run_job(service, job)
    stored = await stored_renditions(media_id, MediaPurpose.COMMUNITY, runtime.object_store)
    assert set(stored) == keys_of(document)


def worker_process(settings: Settings) -> subprocess.Popen[bytes]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MEDIA_")}
    return subprocess.Popen(
        [sys.executable, "-m", "service", "worker"],
        cwd=Path(__file__).parents[2],
        env=environment | environment_of(settings, ("mongo", "storage", "worker", "cdn")),
        stdout=subprocess.DEVNULL,
    )


async def test_a_worker_that_is_killed_in_the_middle_is_followed_by_another(
    service: RunningService, http: httpx.AsyncClient
) -> None:
    runtime, cdn = service.runtime, service.settings.cdn
    asked = f"{cdn.endpoint}/2020-05-31/distribution/{cdn.distribution_id}/invalidation"

    async def count() -> int:
        return (await http.get(asked)).text.count("<InvalidationSummary>")

    media_ids = [await ask_for_deletion(runtime.stores, runtime.object_store) for _ in range(6)]
    ended = {"_id": {"$in": media_ids}, "stage": "CDN_INVALIDATED"}
    before = await count()
    first = worker_process(service.settings)
    try:
        async with asyncio.timeout(60):
            while await count() == before:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.005)
    finally:
        first.kill()
        first.wait()
    assert await runtime.database.deletions.count_documents(ended) < len(media_ids), "it was to die in the middle"
    await wait_out_leases(runtime.database)
    second = worker_process(service.settings)
    try:
        async with asyncio.timeout(60):
            while await runtime.database.deletions.count_documents(ended) < len(media_ids):  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.02)
    finally:
        second.kill()
        second.wait()
    batches = await runtime.database.handle["invalidation_batches"].find({}).to_list(None)
    paths = [path for batch in batches for path in batch["paths"] if "raw" in path]
    assert {f"/medical/raw/{media_id}.jpg" for media_id in media_ids} <= set(paths)
    assert len(set(paths)) == len(paths)
    assert await count() - before == len(
        [batch for batch in batches if any("/medical/" in path for path in batch["paths"])]
    )
