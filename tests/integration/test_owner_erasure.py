"""An erased owner: refused at once, all that was theirs is gone and certified, their id is nowhere but on record."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import bson
import pytest
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions
from typer.testing import CliRunner
from uuid6 import uuid7

from schema.global_id import encode_id
from service import deletion_verification
from service.__main__ import app
from service.audit import Finding, hash_of
from service.audit_upkeep import verify_chains
from service.dev.environment import environment_of
from service.finalisation import object_created
from service.legal_holds import place_hold
from service.models import JobKind
from service.owner_erasure import Progress, advance, begin_erasure, carry_on_erasures, look_at_erasure
from service.stores.erasures import ErasureDocument
from service.stores.owner_data import OwnerDataStore
from service.upkeep import sweep_once
from tests.api_client import ApiClient
from tests.integration.conftest import RunningService
from tests.integration.effects import Witness, effects
from tests.integration.jobs_by_hand import run_next
from tests.integration.kept_objects import on_record, stored_media
from tests.integration.mutation_scenarios import INPUTS, KEYED, SCENARIOS, Stage, new_file, send, uuid_of
from tests.integration.rendered_media import document_of
from tests.photos import small_photo

AT_ONCE = timedelta(0)
_CODEC: CodecOptions[Any] = CodecOptions(uuid_representation=UuidRepresentation.STANDARD)
# What a viewer's requests are counted by for minutes, also those that are refused.
COUNTED = {"rate_limits"}


class Killed(BaseException):
    """The process is gone."""


@pytest.fixture
async def owner(
    service: RunningService, monkeypatch: pytest.MonkeyPatch, no_deletion_window: None
) -> AsyncIterator[str]:
    """Somebody whose name stands nowhere else."""
    monkeypatch.setattr(deletion_verification, "_SHORTEST_PAUSE_S", 0.0)
    await service.runtime.database.jobs.delete_many({})
    yield f"eve-{uuid4().hex}"
    await service.runtime.database.handle["holds"].delete_many({})


def moderator(service: RunningService, subject: str) -> ApiClient:
    return service.client(subject, roles=("moderator",))


async def begin(service: RunningService, owner: str) -> ErasureDocument:
    return await begin_erasure(owner, by="clerk", stores=service.runtime.stores)


async def step(service: RunningService, owner: str) -> Progress:
    """What the sweeper does, without waiting for requests that there are not."""
    runtime = service.runtime
    bucket = runtime.object_store.media_bucket
    await advance(await begin(service, owner), stores=runtime.stores, media_bucket=bucket, settles=AT_ONCE)
    return await look_at_erasure(owner, stores=runtime.stores)


async def carried_out(service: RunningService, owner: str) -> Progress:
    """The erasure once it is over, or goes no further."""
    # As if all sessions were over: until then verification waits.
    past = datetime.now(UTC) - timedelta(days=1)
    await service.runtime.database.uploads.update_many({"owner_id": owner}, {"$set": {"expires_at": past}})
    async with service.working(), asyncio.timeout(40):
        while True:
            progress = await step(service, owner)
            stages = progress.deletions.keys() - {"VERIFIED", "BLOCKED_BY_RETENTION"}
            if progress.is_over or (progress.holds and not stages):
                return progress
            await asyncio.sleep(0.05)


async def places_of(service: RunningService, word: str) -> set[str]:
    """The collections and buckets that have it anywhere in them."""
    runtime, sought, found = service.runtime, word.encode(), set()
    for name in await runtime.database.handle.list_collection_names():
        async for document in runtime.database.handle[name].find():
            if sought in bson.encode(document, codec_options=_CODEC):
                found.add(name)
    store = runtime.object_store
    for bucket in (store.upload_bucket, store.media_bucket):
        async for listed in store.list_objects(bucket, ""):
            stored = await store.get(bucket, listed.key)
            if word in listed.key or (stored is not None and (sought in stored.body or word in str(stored.metadata))):
                found.add(bucket)
    return found


async def test_every_mutation_is_refused_from_the_first_moment_on(
    service: RunningService, owner: str, witness: Witness
) -> None:
    eve = moderator(service, owner)
    stage = Stage(service, eve, owner)
    scenarios = {scenario.mutation: scenario for scenario in reversed(SCENARIOS.values())}
    assert scenarios.keys() == INPUTS.keys()
    given = {mutation: await scenario.make(stage) for mutation, scenario in scenarios.items()}
    await service.runtime.stores.audit.settle_all()
    await begin(service, owner)
    before = await witness.look()
    for mutation, each in given.items():
        payload = await send(eve, mutation, each, key=uuid4().hex if mutation in KEYED else None)
        assert {error["code"] for error in payload["userErrors"]} == {"NOT_PERMITTED"}, mutation
    after = await witness.look()
    for counted in COUNTED:
        before.pop(counted, None)
        after.pop(counted, None)
    assert not effects(before, after)


async def lived_in(service: RunningService, owner: str) -> list[UUID]:
    """Traces of every kind; the ids of the owner's media."""
    eve, anna = moderator(service, owner), service.client("anna")
    stage = Stage(service, eve, owner)
    shown = await eve.send(small_photo(4_001))
    await run_next(service, JobKind.PROCESS)
    given = [{"label": "cat", "confidence": 0.5}]
    others = [await Stage(service, anna, "anna").ready_media() for _ in range(3)]
    for media_id, many in ((shown, 1), (others[0], 1), (others[1], 60)):
        annotations = {"mediaId": media_id, "source": f"user:{owner}", "annotations": given * many}
        assert not (await send(eve, "annotateMedia", annotations, key=uuid4().hex))["userErrors"]
    verdict = {"id": others[0], "decision": "QUARANTINE", "reason": "No pet."}
    assert not (await send(eve, "moderateMedia", verdict, key=uuid4().hex))["userErrors"]
    assert (await send(eve, "deleteMedia", {"ids": [others[2]]}, key=uuid4().hex))["deletions"]
    await service.runtime.stores.embeddings.introduce("clip@1", 3)
    vector = {"mediaId": shown, "model": "clip@1", "vector": [1.0, 2.0, 3.0]}
    assert not (await send(eve, "embedMedia", vector, key=uuid4().hex))["userErrors"]
    given_parts = await SCENARIOS["signUploadParts"].make(stage)
    await send(eve, "signUploadParts", given_parts)
    # Neither are more renditions waited for, nor is what becomes of others' media.
    await service.runtime.database.jobs.delete_many({})
    return [uuid_of(shown), uuid_of(given_parts["uploadId"]), (await stored_media(service, owner_id=owner))["_id"]]


async def test_nothing_is_left_and_one_certificate_says_so(service: RunningService, owner: str) -> None:
    runtime, stores, photo = service.runtime, service.runtime.stores, small_photo(4_002)
    media_ids = await lived_in(service, owner)
    [in_flight] = (await service.client(owner).create(photo))["outcomes"]
    held = await place_hold(media_id=media_ids[2], by="counsel", reason="A case", stores=stores)
    await begin(service, owner)
    progress = await carried_out(service, owner)
    # What was let in before arrives after all.
    assert (await service.client(owner).put(in_flight["upload"], photo)).status_code == 200
    key = (await runtime.database.uploads.find_one({"_id": uuid_of(in_flight["upload"]["id"])}))["key"]
    await object_created(runtime.object_store.upload_bucket, key, stores=stores, object_store=runtime.object_store)
    assert await runtime.object_store.head(runtime.object_store.upload_bucket, key) is None
    assert not progress.is_over
    assert [(each.media_id, each.hold_id) for each in progress.waiting] == [(media_ids[2], held.hold["_id"])]

    # Whoever lifts it dies before that leaves for the chains.
    await stores.holds.lift(held.hold["_id"], by="counsel")
    await stores.blocked_deletions.look_soon(held.hold["_id"])
    await sweep_once(runtime)
    progress = await carried_out(service, owner)
    assert progress.is_over
    assert len(await on_record(service, action="hold.lifted", subject=str(media_ids[2]))) == 1
    assert await places_of(service, owner) - COUNTED == {"audit"}
    assert not progress.media
    for name in ("embeddings", "annotations"):
        assert await runtime.database.handle[name].count_documents({"media_id": {"$in": media_ids}}) == 0

    erasure: Any = progress.erasure
    judged: Any = await runtime.database.media.find_one({"moderation.by": erasure["pseudonym"]})
    assert "record" not in judged["moderation"][0], "nor a hash of what they sent"
    deletions = await stores.deletions.get_many([*media_ids, uuid_of(in_flight["upload"]["id"])])
    lines = "".join(f"{each}\n" for each in sorted(deletion["certificate"] for deletion in deletions.values()))
    [entry] = await on_record(service, action="owner.erased", owner=owner)
    assert entry["details"] == {"deletions": 4, "certificates_sha256": hashlib.sha256(lines.encode()).hexdigest()}
    del entry["_id"]
    assert erasure["certificate"] == entry.pop("hash") == hash_of(entry)
    assert [each async for each in verify_chains(stores.audit, []) if isinstance(each, Finding)] == []

    said = await command(service, "erase-owner", owner, "--status")
    assert said.exit_code == 0, said.output
    assert erasure["certificate"] in said.stdout
    for certified in (str(media_ids[0]),), ("--owner", owner):
        assert (await command(service, "audit", "certificate", *certified)).exit_code == 0
    await certificate_holds_no_more(service, owner, erasure["_id"], media_ids[0])


async def certificate_holds_no_more(service: RunningService, owner: str, row_id: UUID, media_id: UUID) -> None:
    """Whatever is changed of what an erasure was: neither command calls its certificate good."""
    handle = service.runtime.database.handle
    entry: Any = await handle["audit"].find_one({"action": "owner.erased", "owner": owner})
    spoilt: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
        ("erasures", {"_id": row_id}, {"certificate": "f" * 64}),
        ("erasures", {"_id": row_id}, {"deletions": 999}),
        ("deletions", {"_id": media_id}, {"certificate": "f" * 64}),
        ("audit", {"_id": entry["_id"]}, {"details.deletions": 999}),
        ("audit", {"_id": entry["_id"]}, {"id": "another"}),
    ]
    for collection, which, change in spoilt:
        before: Any = await handle[collection].find_one(which)
        await handle[collection].update_one(which, {"$set": change})
        asked = [await command(service, "erase-owner", owner, "--status")]
        asked += [await command(service, "audit", "certificate", "--owner", owner)]
        assert [said.exit_code for said in asked] == [1, 1], change
        assert "certified one by one" not in asked[0].stdout
        await handle[collection].replace_one(which, before)


async def command(service: RunningService, *words: str) -> Any:
    environment = environment_of(service.settings, ("mongo", "storage", "delivery", "auth"))
    return await asyncio.to_thread(CliRunner().invoke, app, list(words), env=environment)


async def test_what_comes_up_later_is_erased_as_well(service: RunningService, owner: str) -> None:
    runtime = service.runtime
    await stored_media(service, owner_id=owner)
    await begin(service, owner)
    first = (await carried_out(service, owner)).erasure
    late: Any = {"_id": uuid7(), "owner_id": owner, **_initiated()}
    await runtime.stores.media.insert_initiated([late])
    long_ago = {"waiting_since": datetime.now(UTC) - timedelta(hours=1)}
    await runtime.database.media.update_one({"_id": late["_id"]}, {"$set": long_ago})
    await sweep_once(runtime)
    second = (await carried_out(service, owner)).erasure
    assert first is not None
    assert second is not None
    assert second["certificate"] != first["certificate"]
    assert (first["deletions"], second["deletions"]) == (1, 2)
    assert await places_of(service, owner) - COUNTED == {"audit"}


def _initiated() -> dict[str, Any]:
    content = {"type": "image/jpeg", "bytes": new_file()["byteSize"], "sha256": None, "announced_sha256": None}
    return {"kind": "IMAGE", "purpose": "COMMUNITY", "visibility": "PUBLIC", "content": content, "renditions": []}


@pytest.mark.parametrize("place", ["sum_up", "rename"])
async def test_whoever_dies_on_the_way_is_followed_by_the_next(
    service: RunningService, owner: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stored_media(service, owner_id=owner)

    async def die(*_: Any) -> None:
        raise Killed

    await begin(service, owner)
    with monkeypatch.context() as patch:
        patch.setattr(OwnerDataStore, place, die)
        with pytest.raises(Killed):
            await carried_out(service, owner)
    progress = await carried_out(service, owner)
    assert progress.erasure is not None
    assert progress.erasure["deletions"] == 1
    assert await places_of(service, owner) == {"audit"}


async def test_those_that_are_held_keep_no_other_from_its_turn(
    service: RunningService, owner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.owner_erasure._AT_A_TIME", 2)
    stores, bucket = service.runtime.stores, service.runtime.object_store.media_bucket
    erasures = service.runtime.database.handle["erasures"]
    await erasures.delete_many({"open": True})
    for number in range(2):
        await place_hold(owner_id=f"{owner}-{number}", by="counsel", reason="A case", stores=stores)
        await begin(service, f"{owner}-{number}")
    media = await stored_media(service, owner_id=owner)
    await begin(service, owner)
    for status in ("READY", "DELETED"):
        await carry_on_erasures(stores=stores, media_bucket=bucket)
        assert (await document_of(service, media["_id"]))["status"] == status
    assert await stores.erasures.take_due(limit=10) == [], "each waits for its next turn"
    await erasures.delete_many({"open": True})


async def test_whoever_slept_through_the_end_ends_no_later_round(service: RunningService, owner: str) -> None:
    erasures = service.runtime.stores.erasures
    stale = await begin(service, owner)
    await erasures.seal(stale, deletions=0, certificates_sha256="first")
    sealed = await erasures.get(stale["_id"])
    assert sealed is not None
    await erasures.close(sealed, certificate="first")
    await erasures.reopen(owner)
    await erasures.seal(stale, deletions=0, certificates_sha256="stale")
    again = await erasures.get(stale["_id"])
    assert again is not None
    assert (again.get("owner_id"), again.get("rounds"), "sealed_at" in again) == (owner, 1, False)
    await erasures.seal(again, deletions=1, certificates_sha256="second")
    await erasures.close(sealed, certificate="stale")
    [row] = await erasures.take_due(limit=1)
    assert (row["_id"], row.get("certificates_sha256"), row.get("certificate")) == (stale["_id"], "second", "first")
    await service.runtime.database.handle["erasures"].delete_one({"_id": stale["_id"]})


async def test_a_look_beforehand_changes_nothing(
    service: RunningService, owner: str, witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    media = await stored_media(service, owner_id=owner)
    before = await witness.look()
    said = await command(service, "erase-owner", owner, "--dry-run")
    assert said.exit_code == 0
    assert ("1 READY" in said.stdout, "Is the id right?" in said.stderr) == (True, False)
    stranger = await command(service, "erase-owner", f"not-{owner}", "--dry-run")
    assert (stranger.exit_code, f"Nothing is stored of not-{owner}" in stranger.stderr) == (0, True)
    unasked = await command(service, "erase-owner", owner, "--by", "clerk")
    assert (unasked.exit_code, "--yes" in unasked.output) == (2, True)
    monkeypatch.setattr("service.commands.keeping.is_terminal", lambda: True)
    assert (await command(service, "erase-owner", owner, "--by", "clerk")).exit_code == 1, "nobody said yes"
    stranger = await command(service, "erase-owner", f"not-{owner}")
    assert (stranger.exit_code, "Is the id right?" in stranger.stderr) == (1, True), "nobody said yes"
    assert not effects(before, await witness.look())
    asked = await command(service, "erase-owner", owner, "--by", "clerk", "--yes")
    assert asked.exit_code == 3, "it is not over yet"
    assert "1 DELETED" in asked.stdout
    begun = (await look_at_erasure(owner, stores=service.runtime.stores)).not_before
    assert begun is not None
    assert f"Not over before {begun:%Y-%m-%d %H:%M} UTC" in asked.stdout
    # Or the last of its deletions, once a worker has seen when that can be verified.
    last = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=3)
    await service.runtime.database.deletions.update_one({"owner_id": owner}, {"$set": {"due_at": last}})
    status = await command(service, "erase-owner", owner, "--status")
    assert f"Not over before {last:%Y-%m-%d %H:%M} UTC" in status.stdout
    uncertified = await command(service, "audit", "certificate", encode_id("Media", media["_id"]))
    assert (uncertified.exit_code, f"from {last:%Y-%m-%d %H:%M} UTC on" in uncertified.stderr) == (1, True)
