"""Media made by an earlier pipeline are made again while they are shown, and what they were is removed in time."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from service import media_processing, rendering, wanted_renditions
from service.errors import InvalidInput
from service.models import JobKind, Lane
from service.policies import POLICIES
from service.reprocessing import Progress, parse_where, reprocess
from service.sweeper import sweep
from tests.integration.conftest import RunningService
from tests.integration.jobs_by_hand import no_job, run_next
from tests.integration.mutation_scenarios import uuid_of
from tests.photos import small_photo

_seeds = iter(range(5_000, 6_000))


@pytest.fixture(autouse=True)
async def empty_queue(service: RunningService) -> None:
    await service.runtime.database.jobs.delete_many({})


async def made(service: RunningService, owner: str) -> UUID:
    media_id = uuid_of(await service.client(owner).send(small_photo(next(_seeds))))
    await run_next(service, JobKind.PROCESS)
    await run_next(service, JobKind.RENDER)
    return media_id


async def document_of(service: RunningService, media_id: UUID) -> dict[str, Any]:
    document: dict[str, Any] | None = await service.runtime.database.media.find_one({"_id": media_id})
    assert document is not None
    return document


async def run(
    service: RunningService, *where: str, apply: bool = True, rate: float = 1_000, force: bool = False
) -> Progress:
    return await reprocess(
        parse_where(where),
        rate=rate,
        after=None,
        apply=apply,
        force=force,
        database=service.runtime.database,
        stores=service.runtime.stores,
        on_page=lambda progress: None,
    )


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Lets another pipeline be the present one."""

    def switch(version: str) -> None:
        for module in (wanted_renditions, media_processing, rendering):
            monkeypatch.setattr(module, "PIPELINE_VERSION", version)

    switch("earlier")
    return switch


async def exists(service: RunningService, keys: set[str]) -> set[bool]:
    store = service.runtime.object_store
    return {await store.head(store.media_bucket, key) is not None for key in keys}


def keys_of(document: dict[str, Any]) -> set[str]:
    return {rendition["key"] for rendition in document["renditions"]}


async def test_new_generation_is_switched_to_at_once_and_the_old_one_goes_when_nobody_can_open_it(
    service: RunningService, release: Callable[[str], None]
) -> None:
    runtime = service.runtime
    media_id = await made(service, "anna")
    before = await document_of(service, media_id)
    release("later")
    assert (await run(service, f"id={media_id}", "pipeline_version!=later")).enqueued == 1
    waiting = await document_of(service, media_id)
    assert (waiting["status"], waiting["renditions"]) == ("READY", before["renditions"])
    job = await run_next(service, JobKind.RENDER)
    assert job.lane is Lane.BACKFILL

    after = await document_of(service, media_id)
    assert after["processing"]["pipeline_version"] == "later"
    assert after["status_history"] == before["status_history"]
    assert after["hashes"] == before["hashes"]
    assert len(after["renditions"]) == len(before["renditions"])
    assert keys_of(after).isdisjoint(keys_of(before))
    assert await exists(service, keys_of(after) | keys_of(before)) == {True}
    # Sweeping before its time changes nothing.
    assert await sweep(stores=runtime.stores, object_store=runtime.object_store, grace=timedelta(0)) == 0
    await no_job(service)

    life = POLICIES[after["purpose"]].longest_url_life
    await let_pass(service, media_id, life + timedelta(minutes=1))
    await sweep(stores=runtime.stores, object_store=runtime.object_store, grace=timedelta(0))
    await run_next(service, JobKind.RETIRE)
    assert await exists(service, keys_of(before)) == {False}
    assert await exists(service, keys_of(after)) == {True}
    settled = await document_of(service, media_id)
    assert settled["retired_renditions"] == []
    assert "waiting_since" not in settled


async def let_pass(service: RunningService, media_id: UUID, span: timedelta) -> None:
    document = await document_of(service, media_id)
    moved = [{**each, "due_at": each["due_at"] - span} for each in document["retired_renditions"]]
    values = {"retired_renditions": moved, "waiting_since": document["waiting_since"] - span}
    await service.runtime.database.media.update_one({"_id": media_id}, {"$set": values})


async def test_asking_again_enqueues_nothing_twice(service: RunningService, release: Callable[[str], None]) -> None:
    ids = {await made(service, "carl") for _ in range(3)}
    release("later")
    first = await run(service, "owner_id=carl", "pipeline_version!=later", apply=False)
    assert (first.matched, first.enqueued) == (3, 0)
    await no_job(service)
    assert [(await run(service, "owner_id=carl")).enqueued for _ in range(2)] == [3, 0]
    assert {(await run_next(service, JobKind.RENDER)).media_id for _ in range(3)} == ids
    assert (await run(service, "owner_id=carl", "pipeline_version!=later")).matched == 0


async def test_what_is_up_to_date_is_left_as_it_is(service: RunningService) -> None:
    media_id = await made(service, "dora")
    before = await document_of(service, media_id)
    assert (await run(service, "owner_id=dora")).matched == 0
    await no_job(service)
    assert (await run(service, "owner_id=dora", force=True)).enqueued == 1
    await run_next(service, JobKind.RENDER)
    after = await document_of(service, media_id)
    assert after["renditions"] == before["renditions"]
    assert after.get("retired_renditions", []) == []


async def test_private_renditions_of_releases_with_one_folder_for_all_are_moved(service: RunningService) -> None:
    media_id = await made(service, "gina")
    public = keys_of(await document_of(service, media_id))
    # As those releases left them: made for who may see them, among the public ones.
    private = {"visibility": "PRIVATE", "processing.made_for": "PRIVATE"}
    await service.runtime.database.media.update_one({"_id": media_id}, {"$set": private})
    assert (await run(service, "owner_id=gina")).enqueued == 1
    await run_next(service, JobKind.RENDER)
    await run_next(service, JobKind.RETIRE)
    moved = keys_of(await document_of(service, media_id))
    assert len(moved) == len(public)
    assert all(key.startswith("community/private/") for key in moved)
    assert await exists(service, moved) == {True}
    assert await exists(service, public) == {False}
    assert (await run(service, "owner_id=gina")).matched == 0


async def test_pipeline_that_is_rolled_back_uses_no_key_anew(
    service: RunningService, release: Callable[[str], None]
) -> None:
    media_id = await made(service, "fred")
    seen: list[set[str]] = []
    for version in ("later", "earlier"):
        seen.append(keys_of(await document_of(service, media_id)))
        release(version)
        await run(service, f"id={media_id}")
        await run_next(service, JobKind.RENDER)
    document = await document_of(service, media_id)
    assert keys_of(document).isdisjoint(seen[0] | seen[1])
    await let_pass(service, media_id, timedelta(days=3))
    await sweep(stores=service.runtime.stores, object_store=service.runtime.object_store, grace=timedelta(0))
    await run_next(service, JobKind.RETIRE)
    assert await exists(service, keys_of(document)) == {True}
    assert await exists(service, seen[0] | seen[1]) == {False}


async def test_rate_is_kept(service: RunningService, release: Callable[[str], None]) -> None:
    for _ in range(4):
        await made(service, "emil")
    release("later")
    began = time.monotonic()
    await run(service, "owner_id=emil", rate=20)
    # The first goes at once.
    assert time.monotonic() - began >= 3 / 20


@pytest.mark.parametrize(
    "clause",
    [
        "",
        "purpose",
        "purpose=CATS",
        "content.sha256=1",
        "created_at<yesterday",
        "$where=1",
        "id=1",
        "pipeline_version<10",
    ],
)
def test_what_is_not_understood_is_refused(clause: str) -> None:
    with pytest.raises(InvalidInput):
        parse_where([clause])


def test_clauses_become_a_query() -> None:
    assert parse_where(["purpose=COMMUNITY", "complete = false", "pipeline_version!=2"]) == {
        "$and": [
            {"purpose": {"$eq": "COMMUNITY"}},
            {"processing.complete": {"$eq": False}},
            {"processing.pipeline_version": {"$ne": "2"}},
        ]
    }
