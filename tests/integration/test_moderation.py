"""Moderators take media out of sight at once, and bring them back by having them processed again."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from pymongo.errors import AutoReconnect

from schema.global_id import encode_id
from service import moderation, rendition_retirement
from service.access import Action, Viewer, granted_filters
from service.commands.quarantine_owner import run_quarantine
from service.legal_holds import lift_hold, place_hold
from service.lifecycle import MediaStatus
from service.models import JobKind
from service.moderation import moderate_media, quarantine_owner
from service.quarantine import QUARANTINE_TOPIC
from service.settings import ScannerSettings
from service.stores.audit import AuditStore
from service.stores.idempotency import IdempotencyStore
from service.stores.jobs import JobStore
from service.stores.media_lists import plan_list
from service.stores.moderation import KEPT_DECISIONS
from service.sweeper import sweep
from tests.antivirus import EICAR, SIGNATURE, Clamd
from tests.api_client import ApiClient
from tests.documents import ready_media
from tests.hostile import with_segment
from tests.integration.conftest import RunningService
from tests.integration.jobs_by_hand import next_job, no_job, run_job, run_next
from tests.integration.kept_objects import stored_media
from tests.integration.mutation_scenarios import uuid_of
from tests.integration.rendered_media import document_of, forget, keys_of, ready, retire
from tests.photos import small_photo

MODERATE = """mutation ($input: ModerateMediaInput!) {
  moderateMedia(input: $input) {
    media { id status statusSequence failure { code message retryable } moderation { decision by at reason } }
    userErrors { code message field retryable }
  }
}"""
SEEN = """query ($id: ID!) { media(id: $id) {
  status failure { code message } moderation { decision reason } display { url } renditions { url } srcset
  original { url } } }"""
NEWEST = "query { mediaList(first: 1, filter: {status: [QUARANTINED]}) { nodes { id moderation { reason } } } }"
MO = Viewer("mo", frozenset({"moderator"}))


@pytest.fixture(autouse=True)
async def empty_queue(service: RunningService) -> None:
    await service.runtime.database.jobs.delete_many({})


@pytest.fixture
def mo(service: RunningService) -> ApiClient:
    return service.client("mo", roles=("moderator",))


async def decide(
    client: ApiClient, media_id: UUID, decision: str, *, reason: str = "Not a pet.", key: str | None = None
) -> dict[str, Any]:
    given = {"idempotencyKey": key or uuid4().hex, "id": encode_id("Media", media_id)}
    answer: dict[str, Any] = await client.run(MODERATE, input={**given, "decision": decision, "reason": reason})
    payload: dict[str, Any] = answer["moderateMedia"]
    return payload


def refusal(payload: dict[str, Any]) -> str:
    [error] = payload["userErrors"]
    assert payload["media"] is None
    assert error["message"].endswith(".")
    code: str = error["code"]
    return code


async def stored(service: RunningService, **changed: Any) -> UUID:
    """A media that is in the database alone."""
    document = ready_media(**changed)
    await service.runtime.database.media.insert_one(document)
    return document["_id"]


async def seen_by(client: ApiClient, media_id: UUID) -> Any:
    return (await client.run(SEEN, id=encode_id("Media", media_id)))["media"]


def nothing_signed(seen: dict[str, Any]) -> bool:
    return (seen["display"], seen["renditions"], seen["srcset"], seen["original"]) == (None, [], None, None)


async def test_quarantine_ends_signing_at_once_and_release_processes_again(
    service: RunningService, second_url: str, http: httpx.AsyncClient, mo: ApiClient
) -> None:
    media_id, anna = await ready(service), service.client("anna")
    anybody, elsewhere = service.client(None), ApiClient(second_url, None)
    before = await document_of(service, media_id)
    for client in (anybody, elsewhere):
        urls = [each["url"] for each in (await seen_by(client, media_id))["renditions"]]
    assert {(await http.get(url)).status_code for url in urls} == {200}

    payload = await decide(mo, media_id, "QUARANTINE", reason="  Not a pet.  ")
    assert payload["userErrors"] == []
    assert payload["media"]["status"] == "QUARANTINED"
    assert payload["media"]["statusSequence"] == before["status_sequence"] + 1
    [entry] = payload["media"]["moderation"]
    assert (entry["decision"], entry["by"], entry["reason"]) == ("QUARANTINE", "mo", "Not a pet.")
    for client in (anybody, elsewhere):
        assert await seen_by(client, media_id) is None
    owners = await seen_by(anna, media_id)
    assert (owners["status"], owners["failure"]["code"], owners["moderation"]) == ("QUARANTINED", "MODERATED", None)
    assert "pet" not in str(owners)
    assert nothing_signed(owners)
    moderators = await seen_by(mo, media_id)
    original = (await http.get(moderators["original"]["url"])).content
    assert hashlib.sha256(original).hexdigest() == before["content"]["sha256"]
    looks = {"subject": str(media_id), "action": "original.accessed"}
    assert [each["actor"] async for each in service.runtime.database.handle["audit"].find(looks)] == ["mo"]
    assert nothing_signed({**moderators, "original": None})
    [newest] = (await mo.run(NEWEST))["mediaList"]["nodes"]
    assert newest == {"id": encode_id("Media", media_id), "moderation": [{"reason": "Not a pet."}]}

    # Until what was shown is gone, the way back is closed.
    key = uuid4().hex
    assert refusal(await decide(mo, media_id, "RELEASE", key=key)) == "TEMPORARILY_UNAVAILABLE"
    await retire(service)
    await forget(service)
    assert {(await http.get(url)).status_code for url in urls} == {403}
    assert "waiting_since" in await document_of(service, media_id), "what is written back is looked for"

    released = await decide(mo, media_id, "RELEASE", key=key)
    assert (released["userErrors"], released["media"]["status"]) == ([], "UPLOADED")
    assert released["media"]["failure"] is None
    await run_next(service, JobKind.PROCESS)
    await run_next(service, JobKind.RENDER)
    after = await document_of(service, media_id)
    assert [each["status"] for each in after["status_history"]][-4:] == [
        "QUARANTINED",
        "UPLOADED",
        "PROCESSING",
        "READY",
    ]
    assert after["status_sequence"] == before["status_sequence"] + 4
    assert [each["decision"] for each in after["moderation"]] == ["QUARANTINE", "RELEASE"]
    assert len(keys_of(after)) == len(keys_of(before))
    assert keys_of(after).isdisjoint(keys_of(before))
    urls = [each["url"] for each in (await seen_by(anybody, media_id))["renditions"]]
    assert {(await http.get(url)).status_code for url in urls} == {200}


async def test_who_releases_what_is_held_is_told_by_which_hold(service: RunningService, mo: ApiClient) -> None:
    media_id, stores = (await stored_media(service))["_id"], service.runtime.stores
    await decide(mo, media_id, "QUARANTINE")
    hold = (await place_hold(media_id=media_id, by="counsel", reason="A case", stores=stores)).hold
    key = uuid4().hex
    payload = await decide(mo, media_id, "RELEASE", key=key)
    assert refusal(payload) == "STATE_CONFLICT"
    [error] = payload["userErrors"]
    assert (str(hold["_id"]) in error["message"], error["retryable"]) == (True, False)
    assert (await document_of(service, media_id))["status"] == "QUARANTINED"
    await lift_hold(hold["_id"], by="counsel", stores=stores)
    await retire(service)
    assert (await decide(mo, media_id, "RELEASE", key=key))["media"]["status"] == "UPLOADED"


@pytest.mark.parametrize(
    ("who", "roles", "changed", "code"),
    [
        (None, (), {}, "NOT_PERMITTED"),
        ("anna", (), {}, "NOT_PERMITTED"),
        ("bert", (), {}, "NOT_PERMITTED"),
        ("job", ("service",), {}, "NOT_PERMITTED"),
        ("bert", (), {"visibility": "PRIVATE"}, "NOT_FOUND"),
        ("bert", (), {"status": "QUARANTINED"}, "NOT_FOUND"),
        ("job", ("service",), {"visibility": "PRIVATE"}, "NOT_FOUND"),
        ("anna", (), {"status": "QUARANTINED"}, "NOT_PERMITTED"),
        ("mo", ("moderator",), {"status": "DELETED"}, "NOT_FOUND"),
    ],
)
async def test_only_moderators_decide(
    service: RunningService, who: str | None, roles: tuple[str, ...], changed: dict[str, Any], code: str
) -> None:
    media_id, database = await stored(service, **changed), service.runtime.database
    before, records = await document_of(service, media_id), await database.idempotency.count_documents({})
    for decision in ("QUARANTINE", "RELEASE"):
        assert refusal(await decide(service.client(who, roles=roles), media_id, decision)) == code
    assert await document_of(service, media_id) == before
    assert await database.jobs.count_documents({}) == 0
    assert await database.idempotency.count_documents({}) == records


@pytest.mark.parametrize(
    ("decision", "status"),
    [("RELEASE", "READY"), ("QUARANTINE", "QUARANTINED"), ("QUARANTINE", "PROCESSING"), ("RELEASE", "FAILED")],
)
async def test_what_its_status_does_not_allow_is_refused_for_good(
    service: RunningService, mo: ApiClient, decision: str, status: str
) -> None:
    media_id, key = await stored(service, status=status), uuid4().hex
    before = await document_of(service, media_id)
    first = await decide(mo, media_id, decision, key=key)
    assert refusal(first) == "STATE_CONFLICT"
    assert await document_of(service, media_id) == before
    other = "READY" if decision == "QUARANTINE" else "QUARANTINED"
    await service.runtime.database.media.update_one({"_id": media_id}, {"$set": {"status": other, "renditions": []}})
    assert await decide(mo, media_id, decision, key=key) == first
    assert (await decide(mo, media_id, decision))["userErrors"] == []


@pytest.mark.parametrize("reason", ["", "   ", "x" * 1_001, "bell\a"])
async def test_a_reason_is_given_in_a_few_words(service: RunningService, mo: ApiClient, reason: str) -> None:
    media_id = await stored(service)
    payload = await decide(mo, media_id, "QUARANTINE", reason=reason)
    assert (refusal(payload), payload["userErrors"][0]["field"]) == ("INVALID_INPUT", ["reason"])
    assert (await document_of(service, media_id))["status"] == "READY"


async def test_the_longest_history_is_kept_short(service: RunningService, mo: ApiClient) -> None:
    media_id, media = await stored(service, renditions=[]), service.runtime.database.media
    for number in range(KEPT_DECISIONS + 2):
        await media.update_one({"_id": media_id}, {"$set": {"status": "READY"}})
        payload = await decide(mo, media_id, "QUARANTINE", reason=f"{number} " + "$" * 900)
    reasons = [each["reason"].split()[0] for each in payload["media"]["moderation"]]
    assert reasons == [str(number) for number in range(2, KEPT_DECISIONS + 2)]


async def test_a_repeat_decides_nothing_anew(service: RunningService, mo: ApiClient) -> None:
    media_id, media, key = await stored(service, renditions=[]), service.runtime.stores.media, uuid4().hex
    await decide(mo, media_id, "QUARANTINE", key=key)
    assert (await decide(mo, media_id, "RELEASE"))["media"]["status"] == "UPLOADED"
    for status in (MediaStatus.PROCESSING, MediaStatus.READY):
        assert await media.transition(media_id, status) is not None
    await service.runtime.stores.audit.settle_all()
    before = await document_of(service, media_id)
    repeated = await decide(mo, media_id, "QUARANTINE", key=key)
    assert (repeated["userErrors"], repeated["media"]["status"]) == ([], "READY")
    assert await document_of(service, media_id) == before


@pytest.mark.parametrize("by", ["moderators", "command"])
async def test_a_repeat_decides_nothing_anew_once_the_decision_is_kept_no_more(
    service: RunningService, mo: ApiClient, by: str
) -> None:
    owner, stores = f"of {by}", service.runtime.stores
    media_id, key, missed = await stored(service, renditions=[], owner_id=owner), uuid4().hex, uuid4().hex
    assert (await decide(mo, media_id, "QUARANTINE", key=key))["userErrors"] == []
    assert refusal(await decide(mo, media_id, "QUARANTINE", key=missed)) == "STATE_CONFLICT"
    for _ in range(KEPT_DECISIONS):
        await service.runtime.database.media.update_one({"_id": media_id}, {"$set": {"status": "READY"}})
        if by == "moderators":
            assert (await decide(mo, media_id, "QUARANTINE"))["userErrors"] == []
        else:
            assert await quarantine_owner(owner, by="op", reason="All.", stores=stores, on_page=lambda _: None) == 1
    await stores.audit.settle_all()
    before = await document_of(service, media_id)
    assert len(before["moderation"]) == KEPT_DECISIONS
    repeated = await decide(mo, media_id, "QUARANTINE", key=key)
    assert (repeated["userErrors"], repeated["media"]["status"]) == ([], "QUARANTINED")
    assert await document_of(service, media_id) == before
    assert refusal(await decide(mo, media_id, "QUARANTINE", key=missed)) == "STATE_CONFLICT", "it was never made"


async def test_who_was_overtaken_is_told_also_later(
    service: RunningService, mo: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two moderators quarantine: the reason of the second is kept nowhere, and so they are told."""
    media_id, key, recall = await stored(service), uuid4().hex, IdempotencyStore.recall
    other = service.client("max", roles=("moderator",))

    async def overtaken(store: IdempotencyStore, **more: Any) -> Any:
        record = await recall(store, **more)
        if more["key"] == key:
            await decide(other, media_id, "QUARANTINE", key="first" + key)
        return record

    monkeypatch.setattr(IdempotencyStore, "recall", overtaken)
    for _ in range(2):
        assert refusal(await decide(mo, media_id, "QUARANTINE", key=key)) == "VERSION_CONFLICT"
    assert [each["by"] for each in (await document_of(service, media_id))["moderation"]] == ["max"]


@pytest.mark.parametrize("decision", ["QUARANTINE", "RELEASE"])
@pytest.mark.parametrize("mended_by", ["repeat", "sweeper"])
async def test_death_between_status_and_queue_is_mended(
    service: RunningService, monkeypatch: pytest.MonkeyPatch, decision: str, mended_by: str
) -> None:
    runtime, kind = service.runtime, JobKind.RETIRE if decision == "QUARANTINE" else JobKind.PROCESS
    if decision == "QUARANTINE":
        media_id = await stored(service)
    else:
        media_id = uuid_of(await service.client("anna").send(small_photo(900 + len(mended_by))))
        for status in (MediaStatus.PROCESSING, MediaStatus.QUARANTINED):
            await runtime.stores.media.transition(media_id, status)
    await runtime.database.jobs.delete_many({})
    raw = {"idempotency_key": uuid4().hex, "decision": decision, "reason": "A reason."}

    async def dying(*_args: Any, **_more: Any) -> None:
        raise AutoReconnect("connection lost")

    with monkeypatch.context() as patch:
        patch.setattr(JobStore, "enqueue", dying)
        with pytest.raises(AutoReconnect):
            await moderate_media(MO, media_id, raw, stores=runtime.stores)
    await no_job(service)
    if mended_by == "repeat":
        await moderate_media(MO, media_id, raw, stores=runtime.stores)
    else:
        await sweep(stores=runtime.stores, object_store=runtime.object_store, grace=timedelta(seconds=-1))
    jobs = await runtime.database.jobs.find({"media_id": media_id}).to_list(None)
    assert [job["kind"] for job in jobs] == [kind.value]
    if kind is JobKind.RETIRE:
        assert QUARANTINE_TOPIC in jobs[0]["_id"]


async def test_a_removal_that_sleeps_through_a_release_takes_nothing_new(
    service: RunningService, mo: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    media_id = await ready(service)
    await decide(mo, media_id, "QUARANTINE")
    zombie = await next_job(service, JobKind.RETIRE)
    await run_job(service, zombie)
    assert await service.runtime.stores.jobs.complete(zombie)
    listed = rendition_retirement.stored_renditions

    async def slept(*args: Any) -> list[str]:
        assert (await decide(mo, media_id, "RELEASE"))["userErrors"] == []
        await run_next(service, JobKind.PROCESS)
        return await listed(*args)

    monkeypatch.setattr(rendition_retirement, "stored_renditions", slept)
    await run_job(service, zombie)
    store, found = service.runtime.object_store, await document_of(service, media_id)
    assert found["status"] == "READY"
    for key in keys_of(found):
        assert await store.head(store.media_bucket, key) is not None


@pytest.mark.parametrize("verdict", ["none", "found", "clean"])
async def test_what_a_scanner_found_is_shown_again_only_once_one_calls_it_clean(
    service: RunningService, clamd: Clamd, mo: ApiClient, verdict: str
) -> None:
    runtime, anna = service.runtime, service.client(f"owner-{verdict}")
    comment = EICAR if verdict == "found" else verdict.encode()
    media_id = uuid_of(await anna.send(with_segment(0xFE, comment, small_photo(800))))
    malware = {"signature": SIGNATURE, "engine": "ClamAV"}
    await runtime.stores.media.transition(media_id, MediaStatus.PROCESSING)
    await runtime.stores.media.transition(media_id, MediaStatus.QUARANTINED, values={"processing.malware": malware})
    assert (await decide(mo, media_id, "RELEASE"))["media"]["status"] == "UPLOADED"
    scanner = ScannerSettings() if verdict == "none" else ScannerSettings(address=clamd.unix)
    settings = service.settings.model_copy(update={"scanner": scanner})
    scanned = replace(service, settings=settings, runtime=replace(runtime, settings=settings))
    async with scanned.working():
        ended = await anna.wait(encode_id("Media", media_id))
    found = await document_of(service, media_id)
    if verdict == "clean":
        assert set(ended.values()) == {"READY"}
        assert "malware" not in found["processing"]
    else:
        assert set(ended.values()) == {"QUARANTINED"}
        assert (found["failure"]["code"], found["processing"]["malware"]["signature"]) == ("MALWARE_FOUND", SIGNATURE)


async def test_all_of_an_owner_goes_a_page_at_a_time_and_may_be_stopped(
    service: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, stores, media = f"owner-{uuid4().hex}", service.runtime.stores, service.runtime.database.media
    monkeypatch.setattr(moderation, "PAGE", 3)
    theirs = [await stored(service, owner_id=owner, visibility=("PUBLIC", "PRIVATE")[n % 2]) for n in range(8)]
    others = [await stored(service, owner_id=owner, status="FAILED"), await stored(service)]
    before = [await document_of(service, each) for each in others]

    def stop(_taken: int) -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await quarantine_owner(owner, by="mo", reason="Spam.", stores=stores, on_page=stop)
    assert await media.count_documents({"owner_id": owner, "status": "QUARANTINED"}) == 3
    pages: list[int] = []
    assert await quarantine_owner(owner, by="mo", reason="Spam.", stores=stores, on_page=pages.append) == 5
    assert pages == [3, 5]
    for each in theirs:
        found = await document_of(service, each)
        assert (found["status"], found["failure"]["code"]) == ("QUARANTINED", "MODERATED")
        assert [(entry["by"], entry["reason"]) for entry in found["moderation"]] == [("mo", "Spam.")]
    assert [await document_of(service, each) for each in others] == before
    assert await service.runtime.database.jobs.count_documents({"kind": "retire"}) == 8


async def test_the_quarantine_is_listed_from_an_index(service: RunningService) -> None:
    await service.runtime.database.media.insert_many(
        [ready_media(visibility=("PUBLIC", "PRIVATE")[n % 2], status="QUARANTINED") for n in range(4)]
        + [ready_media() for _ in range(30)]
    )
    [read] = plan_list({"status": "QUARANTINED"}, granted_filters(MO, Action.READ))
    cursor = service.runtime.database.media.find(read.query).sort("_id", -1).limit(3).hint(read.index)
    stats = (await cursor.explain())["executionStats"]
    assert (read.index, stats["nReturned"], stats["totalDocsExamined"]) == ("recent", 3, 3)


async def test_the_command_says_how_many(service: RunningService, capsys: pytest.CaptureFixture[str]) -> None:
    owner = f"owner-{uuid4().hex}"
    media_id = await stored(service, owner_id=owner)
    for said in (f"1 media of {owner} are QUARANTINED now.", f"{owner} has no READY media."):
        assert await run_quarantine(service.settings, owner, by="mo", reason="Spam.") == 0
        assert said in capsys.readouterr().out
    assert (await document_of(service, media_id))["moderation"][0]["reason"] == "Spam."


async def test_the_command_says_that_nothing_can_be_put_on_record(
    service: RunningService, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def away(*_: object) -> None:
        raise AutoReconnect("gone")

    owner = f"owner-{uuid4().hex}"
    media_id = await stored(service, owner_id=owner)
    monkeypatch.setattr(AuditStore, "append", away)
    assert await run_quarantine(service.settings, owner, by="mo", reason="Spam.") == 1
    assert "Stopped: gone. Run it again to go on." in capsys.readouterr().err
    assert (await document_of(service, media_id))["status"] == "READY"
