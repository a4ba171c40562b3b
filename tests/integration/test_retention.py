"""Media go when they are too old, the oldest first, never more than that; deleted too early, they keep their bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from typer.testing import CliRunner
from uuid6 import uuid7

from service import retention
from service.__main__ import app
from service.deletion import request_deletions
from service.dev.environment import environment_of
from service.legal_holds import lift_hold, place_hold
from service.models import JobKind, MediaPurpose
from service.retention import expire_due
from service.retention_periods import RetentionPeriods
from service.stores import bind_stores
from service.upkeep import sweep_once
from tests.documents import ready_media
from tests.explain import explain, sent
from tests.integration.conftest import RunningService
from tests.integration.jobs_by_hand import run_next
from tests.integration.kept_objects import deletion_of, keys_of, left_of, on_record, stored_media
from tests.integration.rendered_media import ANNA, document_of

PURPOSE = MediaPurpose.ONBOARDING
YEAR = RetentionPeriods(delete_after={PURPOSE: timedelta(days=365)})
# Of the oldest, in days.
AGES = (900, 800, 700, 600)


class Killed(BaseException):
    """The process is gone."""


@pytest.fixture(autouse=True)
async def nothing_before(service: RunningService, no_deletion_window: None) -> None:
    for name in ("jobs", "holds", "media", "deletions"):
        await service.runtime.database.handle[name].delete_many({})


def aged(days: float, **changed: Any) -> Any:
    """A media that was made so long ago."""
    moment = datetime.now(UTC) - timedelta(days=days)
    media_id = UUID(int=int(moment.timestamp() * 1_000) << 80 | uuid7().int & ((1 << 80) - 1))
    return ready_media(_id=media_id, created_at=moment, purpose=PURPOSE.value, visibility="PRIVATE", **changed)


async def insert(service: RunningService, *media: Any) -> list[UUID]:
    await service.runtime.database.media.insert_many(media)
    return [each["_id"] for each in media]


async def expire(service: RunningService, periods: RetentionPeriods = YEAR, batch: int = 500) -> int:
    bucket = service.runtime.object_store.media_bucket
    return await expire_due(periods, batch=batch, stores=service.runtime.stores, media_bucket=bucket)


async def deleted(service: RunningService) -> set[UUID]:
    return {each["_id"] async for each in service.runtime.database.media.find({"status": "DELETED"})}


async def test_the_oldest_go_in_batches_and_what_is_held_or_young_stays(service: RunningService) -> None:
    stores = service.runtime.stores
    oldest, owned, *others = await insert(
        service, aged(AGES[0]), aged(AGES[1], owner_id="ben"), *map(aged, AGES[2:]), aged(364)
    )
    young = others.pop()
    other_purpose = await insert(service, ready_media(purpose="COMMUNITY"))
    holds = [
        (await place_hold(**on, by="counsel", reason="A case", stores=stores)).hold["_id"]
        for on in ({"media_id": oldest}, {"owner_id": "ben"})
    ]
    assert await expire(service, batch=1) == 1
    assert await deleted(service) == {others[0]}
    assert await expire(service) == 1
    assert await expire(service) == 0
    assert await deleted(service) == set(others)
    assert (await document_of(service, oldest))["status"] == "READY", "what is held is not even hidden"
    await lift_hold(holds[0], by="counsel", stores=stores)
    await lift_hold(holds[1], by="counsel", stores=stores)
    assert await expire(service) == 2
    assert await deleted(service) == {oldest, owned, *others}
    assert not {young, *other_purpose} & await deleted(service)
    ended = await on_record(service, action="media.retention_ended")
    assert {(each["actor"], each["subject"]) for each in ended} == {
        ("service", str(each)) for each in (oldest, owned, *others)
    }
    asked = await on_record(service, action="deletion.requested", actor="service")
    assert {each["subject"] for each in ended} == {each["subject"] for each in asked}


async def test_no_clock_that_jumps_takes_more(service: RunningService, monkeypatch: pytest.MonkeyPatch) -> None:
    store, [media_id] = service.runtime.stores.media, await insert(service, aged(300))
    ahead = await store.server_time() + timedelta(days=100)

    async def jumped(_: Any) -> datetime:
        return ahead

    with monkeypatch.context() as patch:
        patch.setattr(type(store), "server_time", jumped)
        assert await expire(service) == 0
        # Even where both clocks had jumped before, and one is set right between the question and the deed.
        patch.setattr(retention, "MAX_CLOCK_DIFFERENCE", timedelta(days=200))
        assert await expire(service) == 0
    assert await deleted(service) == set()
    # Nor does an id that somebody has made with a slow clock.
    await service.runtime.database.media.update_one({"_id": media_id}, {"$set": {"created_at": datetime.now(UTC)}})
    assert await expire(service, RetentionPeriods(delete_after={PURPOSE: timedelta(days=30)})) == 0
    assert await on_record(service, action="media.retention_ended", subject=str(media_id)) == []


async def test_whoever_dies_is_followed_by_the_next(service: RunningService, monkeypatch: pytest.MonkeyPatch) -> None:
    [media_id] = await insert(service, aged(AGES[0]))

    async def die(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(retention, "hide", die)
        with pytest.raises(Killed):
            await expire(service)
    assert await deleted(service) == set()
    assert await expire(service) == 1
    assert await deleted(service) == {media_id}
    assert len(await on_record(service, action="media.retention_ended", subject=str(media_id))) == 1


async def test_the_oldest_are_read_from_an_index_in_order(service: RunningService) -> None:
    statuses = ("READY", "DELETED", "EXPIRED", "FAILED")
    media = [aged(900 - number / 10, status=statuses[number % 4]) for number in range(400)]
    await insert(service, *media)
    handle = service.runtime.database.handle
    async with sent(handle, "media") as commands:
        due = await service.runtime.stores.retention.due(
            PURPOSE, created_before=datetime.now(UTC), limit=20, fields=("purpose",)
        )
    assert [each["_id"] for each in due] == sorted(each["_id"] for each in media if each["status"] != "DELETED")[:20]
    [command] = commands
    plan = await explain(handle, command)
    assert plan.indexes == {"feed"}
    assert "SORT" not in plan.stages
    assert plan.examined == 20


@pytest.fixture
def kept_for_a_year(service: RunningService) -> Iterator[None]:
    runtime, stores = service.runtime, service.runtime.stores
    kept = bind_stores(runtime.database, invalidates=True, keep_for={PURPOSE: timedelta(days=365)})
    service.runtime = replace(runtime, stores=kept)
    yield
    service.runtime = replace(runtime, stores=stores)


async def test_what_is_deleted_too_early_is_hidden_and_keeps_its_bytes(
    service: RunningService, kept_for_a_year: None
) -> None:
    runtime = service.runtime
    made = datetime.now(UTC) - timedelta(days=100)
    media = await stored_media(service, purpose=PURPOSE.value, created_at=made)
    media_id = media["_id"]
    asked = await request_deletions(
        ANNA,
        [media_id],
        idempotency_key=uuid4().hex,
        stores=runtime.stores,
        media_bucket=runtime.object_store.media_bucket,
    )
    assert asked[media_id]["stage"] == "BLOCKED_BY_RETENTION"
    assert abs(asked[media_id]["blocked_until"] - (made + timedelta(days=365))) < timedelta(milliseconds=1)
    assert await deleted(service) == {media_id}
    await run_next(service, JobKind.DELETE)
    await sweep_once(runtime)
    assert await left_of(service, media) == keys_of(service, media)
    # A year later.
    await runtime.database.media.update_one({"_id": media_id}, {"$set": {"created_at": made - timedelta(days=266)}})
    await runtime.database.deletions.update_one({"_id": media_id}, {"$set": {"look_at": datetime.now(UTC)}})
    await sweep_once(runtime)
    await run_next(service, JobKind.DELETE)
    assert await left_of(service, media) == set()
    deletion = await deletion_of(service, media_id)
    assert deletion["stage"] == "OBJECTS_REMOVED"
    assert "blocked_until" not in deletion


async def test_the_command_tells_what_goes_when_and_deletes_nothing(service: RunningService) -> None:
    await insert(service, *map(aged, AGES), aged(360), aged(340), aged(1))
    environment = {
        **environment_of(service.settings, ("mongo", "storage", "delivery", "auth")),
        "MEDIA_RETENTION__DELETE_AFTER_DAYS": '{"ONBOARDING": 365}',
    }
    ask = ["retention", "--preview", "--json"]
    said = await asyncio.to_thread(CliRunner().invoke, app, ask, env=environment)
    assert said.exit_code == 0, said.output
    told = orjson.loads(said.stdout)
    assert (told["purpose"], told["due"], told["in_7_days"], told["in_30_days"]) == ("ONBOARDING", 4, 5, 6)
    assert await deleted(service) == set()
    wrong = {**environment, "MEDIA_RETENTION__KEEP_AT_LEAST_DAYS": '{"ONBOARDING": 400}'}
    refused = await asyncio.to_thread(CliRunner().invoke, app, ["retention"], env=wrong)
    assert refused.exit_code == 1
    assert "MEDIA_RETENTION__DELETE_AFTER_DAYS" in refused.output
