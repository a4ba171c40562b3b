"""What is held loses no byte, by whatever way, from the moment at which its hold is placed until that is lifted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from typer.testing import CliRunner
from uuid6 import uuid7

from schema.global_id import encode_id
from service import deletion
from service.__main__ import app
from service.deletion import request_deletions
from service.dev.environment import environment_of
from service.errors import MalwareFound, OnHold
from service.finalisation import object_created
from service.legal_holds import lift_hold, place_hold
from service.models import Job, JobKind, Lane, MediaPurpose
from service.object_store import ObjectStore
from service.quarantine import quarantine
from service.rendition_retirement import retire_renditions
from service.rendition_storage import withdraw
from service.stores.holds import HoldStore
from service.upkeep import sweep_once
from tests.integration.conftest import RunningService
from tests.integration.jobs_by_hand import next_job, run_job, run_next
from tests.integration.kept_objects import deletion_of, keys_of, left_of, on_record, repaired, stored_media
from tests.integration.rendered_media import ANNA, document_of, forget

PROGRESS = "subscription ($id: ID!) { deletionProgress(id: $id) { stage blockedUntil } }"
SHOWN = "query ($id: ID!) { media(id: $id) { id } }"
REASON = "Smith against Jones"


@pytest.fixture(autouse=True)
async def nothing_before(service: RunningService, no_deletion_window: None) -> None:
    """No window, and nothing in the queue or held that other tests have left."""
    for name in ("jobs", "holds", "deletions"):
        await service.runtime.database.handle[name].delete_many({})


async def place(service: RunningService, **on: Any) -> UUID:
    stores = service.runtime.stores
    return (await place_hold(**on, by="counsel", reason=REASON, stores=stores)).hold["_id"]


async def lift(service: RunningService, hold_id: UUID) -> None:
    await lift_hold(hold_id, by="counsel", stores=service.runtime.stores)


async def delete(service: RunningService, *media_ids: UUID) -> None:
    runtime, bucket = service.runtime, service.runtime.object_store.media_bucket
    await request_deletions(ANNA, media_ids, idempotency_key=uuid4().hex, stores=runtime.stores, media_bucket=bucket)


async def test_a_held_media_is_hidden_and_goes_once_its_last_hold_is_lifted(service: RunningService) -> None:
    media = await stored_media(service)
    media_id, anna = media["_id"], service.client("anna")
    holds = [await place(service, owner_id="anna"), await place(service, media_id=media_id)]
    [asked] = (await anna.delete(encode_id("Media", media_id)))["deletions"]
    assert asked["stage"] == "BLOCKED_BY_RETENTION"
    assert await anna.run(SHOWN, id=encode_id("Media", media_id)) == {"media": None}
    await run_next(service, JobKind.DELETE)
    assert await left_of(service, media) == keys_of(service, media)
    assert (await document_of(service, media_id))["title"] == "Miso", "what is said of it is kept as well"

    async def told() -> list[Any]:
        return [each async for each in anna.subscribe(PROGRESS, id=asked["id"])]

    following = asyncio.create_task(told())
    await lift(service, holds[0])
    await sweep_once(service.runtime)
    assert (await deletion_of(service, media_id))["blocked_by"] == holds[1]
    await lift(service, holds[1])
    await sweep_once(service.runtime)
    async with service.working(), asyncio.timeout(30):
        stages = [each["stage"] for each in await following]
    # Waiting is no end of it.
    assert (stages[0], stages[-1]) == ("BLOCKED_BY_RETENTION", "VERIFIED")
    assert await left_of(service, media) == set()

    noted = await on_record(service, subject=str(media_id))
    waits = [each["details"] for each in noted if each["action"] == "deletion.blocked"]
    assert waits == [{"hold": str(holds[0])}, {"hold": str(holds[1])}]
    # Both that were on the media itself are found under it.
    of_media = [(each["action"], each["details"]) for each in noted if each["action"].startswith("hold.")]
    hold = str(holds[1])
    assert of_media == [("hold.placed", {"hold": hold, "on": "media"}), ("hold.lifted", {"hold": hold})]
    placed = await on_record(service, subject=str(holds[0]))
    assert [(each["action"], each["actor"], each["owner"]) for each in placed] == [
        ("hold.placed", "counsel", "anna"),
        ("hold.lifted", "counsel", "anna"),
    ]
    assert REASON not in str(await on_record(service))


class Barrier:
    """Where a removal is stopped, until it is let go on."""

    def __init__(self) -> None:
        self.reached, self.opened = asyncio.Event(), asyncio.Event()

    def before(self, do: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def stopped(*args: Any, **more: Any) -> Any:
            self.reached.set()
            await self.opened.wait()
            return await do(*args, **more)

        return stopped


async def test_a_removal_that_had_not_looked_yet_finds_the_hold(
    service: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    media, barrier = await stored_media(service), Barrier()
    await delete(service, media["_id"])
    job = await next_job(service, JobKind.DELETE)
    look = HoldStore.on
    monkeypatch.setattr(HoldStore, "on", barrier.before(look))
    removing = asyncio.create_task(run_job(service, job))
    await barrier.reached.wait()
    monkeypatch.setattr(HoldStore, "on", look)
    placed, ask = asyncio.Event(), HoldStore.removals_of

    async def asked(*args: Any, **more: Any) -> Any:
        # After the hold was written.
        found = await ask(*args, **more)
        placed.set()
        return found

    monkeypatch.setattr(HoldStore, "removals_of", asked)
    placing = asyncio.create_task(place(service, owner_id="anna"))
    await placed.wait()
    assert not placing.done(), "it waits until it is known what becomes of the removal"
    barrier.opened.set()
    await asyncio.gather(removing, placing)
    assert await left_of(service, media) == keys_of(service, media)
    assert (await deletion_of(service, media["_id"]))["stage"] == "BLOCKED_BY_RETENTION"


async def test_a_removal_that_had_begun_is_waited_for_or_named(
    service: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    media, barrier, stores = await stored_media(service), Barrier(), service.runtime.stores
    await delete(service, media["_id"])
    job = await next_job(service, JobKind.DELETE)
    monkeypatch.setattr(ObjectStore, "delete", barrier.before(ObjectStore.delete))
    removing = asyncio.create_task(run_job(service, job))
    await barrier.reached.wait()
    impatient = await place_hold(media_id=media["_id"], by="counsel", reason=REASON, stores=stores, patience_s=0)
    assert impatient.being_removed == {media["_id"]}
    placing = asyncio.create_task(place_hold(owner_id="anna", by="counsel", reason=REASON, stores=stores))
    await asyncio.sleep(0)
    barrier.opened.set()
    await removing
    assert (await placing).being_removed == set()


async def test_a_hold_that_comes_too_late_blocks_nothing(
    service: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client asks once more while the last removal runs, then another attempt of the job notes that it waits."""
    media, barrier, stores = await stored_media(service), Barrier(), service.runtime.stores
    await delete(service, media["_id"])
    job = await next_job(service, JobKind.DELETE)
    remove = ObjectStore.delete
    monkeypatch.setattr(ObjectStore, "delete", barrier.before(remove))
    removing = asyncio.create_task(run_job(service, job))
    await barrier.reached.wait()
    monkeypatch.setattr(ObjectStore, "delete", remove)
    late = await place_hold(media_id=media["_id"], by="counsel", reason=REASON, stores=stores, patience_s=0)
    assert not late.keeps_nothing, "it is not gone yet"
    await delete(service, media["_id"])
    assert (await deletion_of(service, media["_id"]))["stage"] == "HIDDEN", "the same question is asked by the job"
    await run_job(service, job)
    waits = await deletion_of(service, media["_id"])
    assert (waits["stage"], waits["blocked_by"]) == ("BLOCKED_BY_RETENTION", late.hold["_id"])
    barrier.opened.set()
    await removing
    gone = await deletion_of(service, media["_id"])
    assert gone["stage"] == "OBJECTS_REMOVED"
    assert gone.keys().isdisjoint({"blocked_by", "blocked_until"})
    await forget(service)
    await run_next(service, JobKind.VERIFY)
    assert await left_of(service, media) == set(), "nor is what the other attempt put out of reach"
    after = [
        await place_hold(**on, by="counsel", reason=REASON, stores=stores)
        for on in ({"media_id": media["_id"]}, {"owner_id": "nobody"})
    ]
    assert [each.keeps_nothing for each in after] == [True, True]


Way = Callable[[RunningService, Any], Awaitable[Any]]


def retiring(media_id: UUID) -> Job:
    return Job(f"{media_id}:x", JobKind.RETIRE, media_id, Lane.BACKFILL, 1, 0, datetime.now(UTC))


async def _retirement(service: RunningService, media: Any) -> None:
    runtime, past = service.runtime, datetime.now(UTC) - timedelta(days=1)
    replaced = [{"key": each["key"], "due_at": past} for each in media["renditions"]]
    await runtime.database.media.update_one(
        {"_id": media["_id"]}, {"$set": {"renditions": [], "retired_renditions": replaced}}
    )
    await retire_renditions(retiring(media["_id"]), stores=runtime.stores, object_store=runtime.object_store)


async def _quarantine(service: RunningService, media: Any) -> None:
    runtime = service.runtime
    error = MalwareFound(signature="Eicar", engine="ClamAV")
    await quarantine(media, error, stores=runtime.stores, object_store=runtime.object_store)
    job = await next_job(service, JobKind.RETIRE)
    await run_job(service, job)


async def _deletion(service: RunningService, media: Any) -> None:
    await delete(service, media["_id"])
    await run_next(service, JobKind.DELETE)


async def _late_event(service: RunningService, media: Any) -> None:
    """Storage says once more that the original of a deleted media has arrived."""
    runtime, store = service.runtime, service.runtime.object_store
    upload = {"_id": media["_id"], "owner_id": "anna", "purpose": "COMMUNITY", "method": "SINGLE"}
    session = {"bucket": store.upload_bucket, "key": media["original"]["key"], "bytes": 1, "sha256": ""}
    times = {"created_at": datetime.now(UTC), "expires_at": datetime.now(UTC)}
    await runtime.database.uploads.insert_one({**upload, **session, **times})
    await delete(service, media["_id"])
    await object_created(store.upload_bucket, media["original"]["key"], stores=runtime.stores, object_store=store)


async def _withdrawal(service: RunningService, media: Any) -> None:
    """A worker that was still writing finds its media deleted."""
    await delete(service, media["_id"])
    runtime = service.runtime
    await withdraw(media["_id"], MediaPurpose.COMMUNITY, runtime.stores, runtime.object_store)


async def _reconciliation(service: RunningService, media: Any) -> None:
    await delete(service, media["_id"])
    await service.runtime.stores.contents.register(
        "anna", uuid4().hex, media["_id"], bucket="b", key=media["original"]["key"], byte_size=1
    )
    found = [each for restart in (False, True) for each in await repaired(service, media["_id"], restart=restart)]
    assert found


WAYS: tuple[Way, ...] = (_retirement, _quarantine, _deletion, _late_event, _withdrawal, _reconciliation)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__.strip("_"))
async def test_no_way_of_removing_takes_what_is_held(service: RunningService, way: Way) -> None:
    media = await stored_media(service)
    await place(service, media_id=media["_id"])
    # A job that waits for its turn says so.
    with suppress(OnHold):
        await way(service, media)
    assert await left_of(service, media) == keys_of(service, media)


async def test_what_is_in_its_window_stays_as_well(service: RunningService, monkeypatch: pytest.MonkeyPatch) -> None:
    media, store = await stored_media(service), service.runtime.object_store
    policies = {p: each.model_copy(update={"deletion_window_s": 3600}) for p, each in deletion.POLICIES.items()}
    original = {(store.upload_bucket, media["original"]["key"])}
    with monkeypatch.context() as patch:
        patch.setattr(deletion, "POLICIES", policies)
        await _deletion(service, media)
    assert await left_of(service, media) == original, "its renditions went at once, the original stays for an hour"
    hold_id = await place(service, media_id=media["_id"])
    await service.runtime.database.jobs.update_many({"state": "open"}, {"$set": {"visible_at": datetime.now(UTC)}})
    await run_next(service, JobKind.DELETE)
    assert await left_of(service, media) == original
    await lift(service, hold_id)
    await sweep_once(service.runtime)
    await run_next(service, JobKind.DELETE)
    assert await left_of(service, media) == set()


async def test_the_command_places_lists_and_lifts(service: RunningService) -> None:
    environment = environment_of(service.settings, ("mongo", "storage", "delivery", "auth"))

    async def run(*words: str, code: int = 0) -> str:
        said = await asyncio.to_thread(CliRunner().invoke, app, ["hold", *words], env=environment)
        assert said.exit_code == code, said.output
        return said.stdout

    media = await stored_media(service)
    hold_id = (
        await run("place", "--media", encode_id("Media", media["_id"]), "--by", "counsel", "--reason", REASON)
    ).strip()
    await delete(service, media["_id"])
    listed = await run("list")
    assert hold_id in listed
    assert listed.rstrip().endswith("1"), "one deletion waits"
    await run("lift", hold_id, "--by", "counsel")
    assert hold_id not in await run("list")
    assert f'"_id":"{hold_id}"' in await run("list", "--all", "--json")
    said = await asyncio.to_thread(
        CliRunner().invoke, app, ["hold", "place", "--owner", "anne", "--by", "c", "--reason", "x"], env=environment
    )
    assert "Is the id right?" in said.stderr
    await run("lift", said.stdout.strip(), "--by", "counsel")
    await run("place", "--media", str(uuid7()), "--by", "counsel", "--reason", REASON, code=1)
    await run("place", "--media", "no id", "--by", "counsel", "--reason", REASON, code=2)
    await run("place", "--by", "counsel", "--reason", REASON, code=2)
    assert await service.runtime.stores.holds.find() == []
