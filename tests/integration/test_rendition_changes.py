"""A READY media whose focus or visibility changes: its renditions follow, and it is never without any."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pymongo.errors import AutoReconnect

from service.errors import FailureCode, ProcessingFailed
from service.models import JobKind, MediaFormat, ProcessedFile
from service.processing.wire import ProcessingRequest
from service.processing_jobs import enqueue_rendering
from service.reconciliation import Finding, RunOptions, reconcile
from service.stores.jobs import JobStore
from service.sweeper import sweep
from tests import clips
from tests.integration.conftest import RunningService
from tests.integration.jobs_by_hand import next_job, no_job, run_job, run_next
from tests.integration.mutation_scenarios import uuid_of
from tests.integration.rendered_media import (
    CORNER,
    Document,
    change,
    document_of,
    headers_of,
    keys_of,
    overtaken_by,
    ready,
    render,
    retire,
    uploaded,
)


@pytest.fixture(autouse=True)
async def empty_queue(service: RunningService) -> None:
    await service.runtime.database.jobs.delete_many({})


@pytest.fixture
async def media_id(service: RunningService) -> UUID:
    """A media that is READY and has all of its renditions."""
    return await ready(service)


def digests_of(document: Document, name: str) -> set[str]:
    return {rendition["sha256"] for rendition in document["renditions"] if rendition["name"] == name}


async def left_over(service: RunningService, media_id: UUID) -> set[str]:
    """Keys of renditions of this media that reconciling would remove."""
    found: list[Finding] = []
    runtime = service.runtime
    await reconcile(
        RunOptions(older_than=timedelta(0), buckets=frozenset({runtime.object_store.media_bucket})),
        database=runtime.database,
        stores=runtime.stores,
        object_store=runtime.object_store,
        on_finding=found.append,
        on_interruption=pytest.fail,
    )
    return {finding.what.partition("/")[2] for finding in found if finding.media_id == str(media_id)}


async def test_a_worker_that_dies_after_it_wrote_has_written_once(service: RunningService, media_id: UUID) -> None:
    await change(service, media_id, focus=CORNER)
    job = await next_job(service, JobKind.RENDER)
    await run_job(service, job)
    written = await document_of(service, media_id)
    await service.runtime.stores.jobs.release(job)
    await render(service)
    after = await document_of(service, media_id)
    fence = {"render_fence": after["processing"]["render_fence"]}
    assert after == {**written, "processing": {**written["processing"], **fence}}
    await no_job(service)


async def test_what_was_replaced_is_kept_while_addresses_open_it(service: RunningService, media_id: UUID) -> None:
    media, before = service.runtime.database.media, await document_of(service, media_id)
    await change(service, media_id, focus=CORNER)
    now = await service.runtime.stores.media.server_time()
    # Nobody came to it for days, in which addresses of the earlier ones were given out.
    await media.update_one({"_id": media_id}, {"$set": {"updated_at": now - timedelta(days=3)}})
    await render(service)
    assert keys_of(await document_of(service, media_id)).isdisjoint(keys_of(before))
    assert await left_over(service, media_id) == set()
    for hours, needless in ((29, set()), (31, keys_of(before))):
        await media.update_one({"_id": media_id}, {"$set": {"processing.replaced_at": now - timedelta(hours=hours)}})
        assert await left_over(service, media_id) == needless


async def test_new_focus_crops_the_thumbnail_anew(service: RunningService, media_id: UUID) -> None:
    before = await document_of(service, media_id)
    await change(service, media_id, focus=CORNER)
    waiting = await document_of(service, media_id)
    assert (waiting["status"], waiting["renditions"]) == ("READY", before["renditions"])
    assert waiting["processing"]["complete"] is False

    await render(service)
    after = await document_of(service, media_id)
    assert after["status_history"] == before["status_history"]
    assert digests_of(after, "THUMBNAIL").isdisjoint(digests_of(before, "THUMBNAIL"))
    assert digests_of(after, "FULL") == digests_of(before, "FULL")
    assert keys_of(after).isdisjoint(keys_of(before))
    # Addresses already given out go on working, old and new.
    assert None not in await headers_of(service, keys_of(after) | keys_of(before))
    await no_job(service)
    assert await sweep(stores=service.runtime.stores, object_store=service.runtime.object_store) == 0


async def test_what_turns_private_is_private_everywhere(service: RunningService, media_id: UUID) -> None:
    public = await document_of(service, media_id)
    assert all(header and header.startswith("public,") for header in await headers_of(service, keys_of(public)))
    await change(service, media_id, visibility="PRIVATE")
    await render(service)
    private = await document_of(service, media_id)
    headers = await headers_of(service, keys_of(private))
    assert headers
    assert all(header and header.startswith("private,") for header in headers)
    await retire(service)
    # Whoever kept an address from before finds nothing there.
    assert set(await headers_of(service, keys_of(public))) == {None}

    await change(service, media_id, visibility="PUBLIC")
    await render(service)
    again = await document_of(service, media_id)
    assert all(header and header.startswith("public,") for header in await headers_of(service, keys_of(again)))
    assert keys_of(again).isdisjoint(keys_of(public) | keys_of(private))


@pytest.mark.parametrize("changes", [{"title": "Tofu"}, {"visibility": "PUBLIC"}, {"focus": None}])
async def test_nothing_is_made_again_without_need(
    service: RunningService, media_id: UUID, changes: dict[str, Any]
) -> None:
    await change(service, media_id, **changes)
    await no_job(service)


async def test_change_while_the_picture_is_processed_is_seen_to_afterwards(service: RunningService) -> None:
    runtime, media_id = service.runtime, await uploaded(service)
    jail = overtaken_by(service, lambda: change(service, media_id, visibility="PRIVATE"))
    await run_next(service, JobKind.PROCESS, jail=jail)
    assert (await document_of(service, media_id))["status"] == "READY"
    await render(service)
    await retire(service)
    await no_job(service)
    assert await sweep(stores=runtime.stores, object_store=runtime.object_store, grace=timedelta(seconds=-1)) == 0
    headers = await headers_of(service, keys_of(await document_of(service, media_id)))
    assert all(header and header.startswith("private,") for header in headers)


async def test_rendering_that_was_overtaken_leaves_it_to_the_next(service: RunningService, media_id: UUID) -> None:
    before = await document_of(service, media_id)
    await change(service, media_id, focus=CORNER)
    jail = overtaken_by(service, lambda: change(service, media_id, visibility="PRIVATE"))
    await run_next(service, JobKind.RENDER, jail=jail)
    assert (await document_of(service, media_id))["renditions"] == before["renditions"]
    await render(service)
    after = await document_of(service, media_id)
    assert digests_of(after, "THUMBNAIL").isdisjoint(digests_of(before, "THUMBNAIL"))
    assert all(header and header.startswith("private,") for header in await headers_of(service, keys_of(after)))
    await retire(service)
    await no_job(service)


async def test_death_between_change_and_queue_is_mended_by_the_sweeper(
    service: RunningService, media_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def dying(*_args: Any, **_more: Any) -> None:
        raise AutoReconnect("connection lost")

    with monkeypatch.context() as patch:
        patch.setattr(JobStore, "enqueue", dying)
        with pytest.raises(AutoReconnect):
            await change(service, media_id, focus=CORNER)
    await no_job(service)
    stores, object_store = service.runtime.stores, service.runtime.object_store
    assert await sweep(stores=stores, object_store=object_store, grace=timedelta(seconds=-1)) == 1
    await render(service)
    assert await sweep(stores=stores, object_store=object_store, grace=timedelta(seconds=-1)) == 0


async def test_rendering_that_cannot_succeed_leaves_the_media_as_it_is(service: RunningService, media_id: UUID) -> None:
    runtime, before = service.runtime, await document_of(service, media_id)
    await runtime.object_store.delete(before["original"]["bucket"], [before["original"]["key"]])
    await change(service, media_id, focus=CORNER)
    async with service.working(), asyncio.timeout(20):
        while await runtime.database.jobs.count_documents({"kind": "render", "state": "open"}):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    after = await document_of(service, media_id)
    assert (after["status"], after["renditions"]) == ("READY", before["renditions"])
    assert None not in await headers_of(service, keys_of(after))
    assert await sweep(stores=runtime.stores, object_store=runtime.object_store, grace=timedelta(seconds=-1)) == 0


async def test_a_clip_whose_preview_cannot_be_made_keeps_its_stills(service: RunningService) -> None:
    class NoPreview:
        async def process(self, path: Path, request: ProcessingRequest) -> ProcessedFile:
            if any(MediaFormat.MP4 in each.formats for each in request.renditions):
                raise ProcessingFailed(FailureCode.DECODE_LIMIT_EXCEEDED, "too costly", quarantine=True)
            return await service.jail.process(path, request)

    anna = service.client("anna")
    media_id = uuid_of(await anna.send(clips.clip("mp4"), details={"contentType": "video/mp4"}))
    await run_next(service, JobKind.PROCESS, jail=NoPreview())
    await run_next(service, JobKind.RENDER, jail=NoPreview())
    document = await document_of(service, media_id)
    assert document["status"] == "READY"
    assert (document["processing"]["complete"], document["processing"]["given_up"]) == (True, ["PREVIEW"])
    made = {(each["name"], each["format"]) for each in document["renditions"]}
    stills = {(name, kind) for name in ("THUMBNAIL", "FEED", "POSTER") for kind in ("JPEG", "WEBP", "AVIF")}
    assert made == stills
    await no_job(service)
    # By a later pipeline, or by more time, it may be had.
    await enqueue_rendering(document, service.runtime.stores.jobs)
    await run_next(service, JobKind.RENDER)
    document = await document_of(service, media_id)
    assert {(each["name"], each["format"]) for each in document["renditions"]} == stills | {("PREVIEW", "MP4")}
    assert document["processing"]["given_up"] == []
