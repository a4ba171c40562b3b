"""Webhooks against a real receiver: what it is told, in which order, and what becomes of it when things go wrong."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from jsonschema import Draft202012Validator
from standardwebhooks.webhooks import Webhook
from starlette.responses import Response, StreamingResponse

from indexes.ensure import ensure
from service.dev.environment import environment_of
from service.lifecycle import MediaStatus
from service.settings import ReceiverSettings, Settings
from service.stores import bind_stores
from service.stores.database import Database, open_database
from service.stores.webhook_inspection import Choice
from service.stores.webhook_receivers import DOWN_AFTER
from service.webhooks.dispatch import look_at_receivers
from service.webhooks.sending import Sender
from tests.documents import ready_media
from tests.webhook_stand import LONG_AGO, Arrival, Post, ReceiverStand, accept, answering, new_secret, receiving

SCHEMA = Path(__file__).parents[2] / "docs" / "webhook-events.schema.json"


@pytest.fixture(scope="module")
async def database(settings: Settings) -> AsyncIterator[Database]:
    async with open_database(settings.mongo) as opened:
        await ensure(opened.handle)
        yield opened


@pytest.fixture
async def post(database: Database) -> AsyncIterator[Post]:
    opened = Post(database)
    yield opened
    await opened.close()
    for name in ("webhook_receivers", "webhook_streams", "webhook_deliveries", "media", "deletions"):
        await database.handle[name].delete_many({})


@pytest.fixture
async def receiver(ports: Iterator[int]) -> AsyncIterator[ReceiverStand]:
    async with receiving(next(ports), "orders") as stand:
        yield stand


async def initiated(post: Post, **changed: Any) -> UUID:
    media = ready_media(**changed)
    await post.stores.media.insert_initiated([media])
    return media["_id"]


async def ready(post: Post, media_id: UUID) -> None:
    for status in (MediaStatus.UPLOADED, MediaStatus.PROCESSING, MediaStatus.READY):
        assert await post.stores.media.transition(media_id, status) is not None


async def test_a_receiver_is_told_of_a_whole_life_in_order_and_of_nothing_that_people_wrote(
    post: Post, receiver: ReceiverStand
) -> None:
    wanted = receiver.settings()
    before = await initiated(post)
    await post.gather()
    await post.register(wanted)
    stores = post.stores
    media_id = await initiated(post, title="My secret", capture_id="walk", subject={"type": "post", "id": "$1"})
    assert await stores.media.insert_initiated([ready_media(_id=media_id)]) is None, "again, and nothing comes of it"
    await ready(post, media_id)
    mark = {"id": uuid4().hex, "record": "r"}
    await stores.media.change(media_id, {"title": "$x"}, mark=mark, replacing=None, actor="anna")
    another = {"id": uuid4().hex, "record": "r"}
    private = {"visibility": "PRIVATE"}
    assert await stores.media.change(media_id, private, mark=another, replacing=mark, actor="anna")
    decision = {"id": uuid4().hex, "by": "mo", "reason": "Private words"}
    await stores.moderation.quarantine(media_id, decision, failure={"code": "MODERATED", "message": "x"})
    await post.database.media.update_one({"_id": media_id}, {"$unset": {"renditions": ""}})
    await stores.moderation.release(media_id, {**decision, "id": uuid4().hex}, sequence=5, generation=2)
    request: dict[str, Any] = {"owner_id": "anna", "requested_by": "anna", "purpose": "COMMUNITY", "objects": []}
    await stores.deletions.request(media_id, **request)
    await stores.deletions.mark_objects_removed(media_id, keys=[], awaits_cdn=True, keeps_original=False)
    # Its deletion is not told of before the media's own events are over.
    await post.gather()
    assert not await post.rows(receiver.name, type={"$regex": "^deletion"})
    await stores.media.transition(media_id, MediaStatus.DELETED)
    await stores.media.strip_deleted(media_id)
    await stores.deletions.mark_cdn_invalidated([media_id])
    await stores.deletion_proofs.mark_verified(media_id, {})
    await stores.deletion_proofs.certify(media_id, "ab" * 32, look_again_s=60)
    await post.deliver(wanted)

    assert [each.type for each in receiver.accepted] == [
        "media.initiated",
        "media.uploaded",
        "media.processing",
        "media.ready",
        "media.changed",
        "media.quarantined",
        "media.uploaded",
        "media.deleted",
        "deletion.objects_removed",
        "deletion.cdn_invalidated",
        "deletion.verified",
    ]
    assert [each.sequence for each in receiver.accepted] == list(range(1, 12))
    events = [each.event for each in receiver.accepted]
    for event in events:
        Draft202012Validator(orjson.loads(SCHEMA.read_bytes())).validate(event)
    data = [event["data"] for event in events]
    assert data[3]["subject"] == {"type": "post", "id": "$1"}
    assert (data[3]["captureId"], data[3]["statusSequence"], data[4]["visibility"]) == ("walk", 4, "PRIVATE")
    assert [(each["failureCode"], each["moderation"]) for each in data[4:7]] == [
        (None, None),
        ("MODERATED", "QUARANTINE"),
        (None, "RELEASE"),
    ]
    assert data[-1]["certificate"] == "ab" * 32
    told = "".join(each.text for each in receiver.accepted)
    assert not any(word in told for word in ("secret", "Private words", "http", "walk.jpg", str(before), before.hex))
    documents = [await post.database.media.find_one({"_id": media_id}), await post.database.deletions.find_one()]
    assert all("webhook_pending" not in (each or {}) for each in documents)
    assert await post.database.handle["webhook_streams"].count_documents({}) == 0


async def test_only_what_is_wanted_is_sent_and_everything_only_once_by_three_at_once(
    post: Post, receiver: ReceiverStand, ports: Iterator[int]
) -> None:
    everything = receiver.settings()
    async with receiving(next(ports), "feeds") as second:
        some = second.settings(events=("media.ready", "deletion.*"), purposes=("PROFILE",))
        for each in (everything, some):
            await post.register(each)
        ids = [await initiated(post) for _ in range(12)]
        profile = await initiated(post, purpose="PROFILE")
        await asyncio.gather(*(ready(post, media_id) for media_id in [*ids, profile]))
        await asyncio.gather(*(post.gather() for _ in range(3)))
        couriers = [post.courier(each) for each in (everything, everything, everything, some)]
        await asyncio.gather(*(courier.deliver_due() for courier in couriers))
        assert [each.type for each in second.arrivals] == ["media.ready"]
    by_media: dict[str, list[int]] = defaultdict(list)
    for each in receiver.arrivals:
        by_media[each.media].append(each.sequence)
    assert len(by_media) == 13
    assert set(map(tuple, by_media.values())) == {(1, 2, 3, 4)}, "each once, and in order"


async def test_what_is_refused_holds_up_its_own_media_alone_and_comes_again_in_order_under_the_same_id(
    post: Post, receiver: ReceiverStand
) -> None:
    wanted = receiver.settings()
    await post.register(wanted)
    stubborn, other = await initiated(post), await initiated(post)
    await asyncio.gather(ready(post, stubborn), ready(post, other))
    refused = 0

    async def answer(arrival: Arrival) -> Response:
        nonlocal refused
        if arrival.sequence == 2 and arrival.id.startswith(f"evt_{stubborn.hex}") and refused < 2:
            refused += 1
            return Response(status_code=400 if refused == 1 else 302, headers={"location": "/elsewhere"})
        return Response(status_code=200)

    receiver.answer = answer
    await post.deliver(wanted)
    assert Counter(each.id.split("_")[1] for each in receiver.accepted) == {other.hex: 4, stubborn.hex: 1}
    for _ in range(2):
        await post.let_time_pass()
        await post.deliver(wanted)
    assert [each.sequence for each in receiver.accepted if stubborn.hex in each.id] == [1, 2, 3, 4]
    tries = [each for each in receiver.arrivals if each.id == f"evt_{stubborn.hex}_2"]
    assert (len(tries), len({each.text for each in tries}), receiver.others) == (3, 1, 0)


async def test_a_receiver_that_asks_for_a_pause_gets_it_and_one_that_is_down_is_probed_once_at_a_time(
    post: Post, receiver: ReceiverStand, ports: Iterator[int]
) -> None:
    wanted = receiver.settings()
    async with receiving(next(ports), "healthy") as second:
        healthy = second.settings()
        for each in (wanted, healthy):
            await post.register(each)
        for _ in range(20):
            await initiated(post)
        receiver.answer = answering(503, retry_after="120")
        await post.deliver(wanted)
        paused = len(receiver.arrivals)
        assert 1 <= paused <= post.settings.concurrency
        await post.let_time_pass(probes=False)
        await post.deliver(wanted)
        assert len(receiver.arrivals) == paused, "not before its time"
        for _ in range(3):
            await post.let_time_pass()
            await post.deliver(wanted)
        [down, _] = await sorted_receivers(post)
        assert down.failures >= DOWN_AFTER
        before = len(receiver.arrivals)
        await post.let_time_pass()
        await asyncio.gather(*(post.deliver(wanted) for _ in range(3)))
        assert len(receiver.arrivals) == before + 1, "one probe, of all processes together"
        await post.deliver(healthy)
        assert len(second.accepted) == 20
    receiver.answer = accept
    await post.let_time_pass()
    await post.deliver(wanted)
    assert len({each.id for each in receiver.accepted}) == 20
    [_, back] = await sorted_receivers(post)
    assert (back.failures, back.down_since) == (0, None)


async def sorted_receivers(post: Post) -> list[Any]:
    return sorted(await post.stores.webhooks.receivers.list_all(), key=lambda each: -each.failures)


async def test_during_rotation_either_key_verifies(post: Post, receiver: ReceiverStand) -> None:
    coming = new_secret()
    wanted = receiver.settings(secrets=(coming, receiver.secret))
    await post.register(wanted)
    await initiated(post)
    await post.deliver(wanted)
    [arrival] = receiver.accepted
    headers = {
        "webhook-id": arrival.id,
        "webhook-timestamp": str(arrival.timestamp),
        "webhook-signature": arrival.signature,
    }
    for secret in (coming, receiver.secret):
        Webhook(secret).verify(arrival.text, headers)


async def test_what_is_given_up_lets_the_next_go_and_can_be_replayed(post: Post, receiver: ReceiverStand) -> None:
    wanted = receiver.settings()
    await post.register(wanted)
    media_id = await initiated(post)
    await ready(post, media_id)
    await post.gather()
    await post.database.handle["webhook_deliveries"].update_many({"sequence": 1}, {"$set": {"opened_at": LONG_AGO}})

    async def answer(arrival: Arrival) -> Response:
        return Response(status_code=422 if arrival.sequence == 1 else 200)

    receiver.answer = answer
    await post.deliver(wanted)
    assert [each.sequence for each in receiver.arrivals] == [1, 2, 3, 4]
    [dead] = await post.rows(receiver.name, state="dead")
    assert (dead["sequence"], dead["last_error"]) == (1, "it answered 422")
    receiver.answer = accept
    inspection = post.stores.webhooks.inspection
    replayed = [page async for page in inspection.replay(Choice(receiver=receiver.name, state="dead"), limit=10)]
    assert replayed == [1]
    await post.deliver(wanted)
    assert receiver.arrivals[-1].id == dead["event_id"]
    assert [page async for page in inspection.replay(Choice(media_id=media_id), limit=10)] == [4]
    await post.deliver(wanted)
    assert [each.sequence for each in receiver.arrivals[-4:]] == [1, 2, 3, 4]
    assert len({each.id for each in receiver.arrivals}) == 4


async def test_of_one_that_stays_down_what_is_too_old_is_given_up_unsent(post: Post, receiver: ReceiverStand) -> None:
    wanted = receiver.settings()
    await post.register(wanted)
    await initiated(post)
    await post.gather()
    receivers = post.database.handle["webhook_receivers"]
    await receivers.update_one({"_id": receiver.name}, {"$set": {"failures": DOWN_AFTER, "reason": "refused"}})
    await look_at_receivers(post.stores.webhooks, post.settings, post.metrics)
    assert not await post.rows(receiver.name, state="dead"), "not that old"
    await post.database.handle["webhook_deliveries"].update_many({}, {"$set": {"opened_at": LONG_AGO}})
    await look_at_receivers(post.stores.webhooks, post.settings, post.metrics)
    [dead] = await post.rows(receiver.name, state="dead")
    assert dead["last_error"] == "given up unsent, as the receiver was down: refused"
    assert post.metrics.registry.get_sample_value("media_webhooks_dead", {"receiver": receiver.name}) == 1
    assert not receiver.arrivals


async def test_answers_that_never_end_or_never_come_cost_their_time_and_no_more(
    database: Database, receiver: ReceiverStand, ports: Iterator[int]
) -> None:
    post = Post(database, timeout_s=0.5)
    over = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        while not over.is_set():
            yield b"x" * 65_536
            await asyncio.sleep(0)

    async def hang(_: Arrival) -> Response:
        await over.wait()
        return Response()

    async def flood(_: Arrival) -> Response:
        return StreamingResponse(endless())

    sender = Sender(receiver.settings(), post.settings, only_public=False)
    try:
        body = '{"type":"x","data":{"sequence":1,"mediaId":"m"}}'
        now = asyncio.get_running_loop().time
        server_time = (await post.stores.media.server_time()).timestamp()
        receiver.answer = flood
        answer = await sender.send("evt_1", body, at=server_time)
        assert answer.is_accepted, "what it says beyond its status is of no interest"
        receiver.answer = hang
        begun = now()
        answer = await sender.send("evt_2", body, at=server_time)
        assert (answer.is_accepted, answer.reason) == (False, "there was no answer within 0.5 s")
        assert now() - begun < 5
        nobody = ReceiverSettings(name="nobody", url=f"http://127.0.0.1:{next(ports)}/hook", secrets=(new_secret(),))
        unheard = Sender(nobody, post.settings, only_public=False)
        assert (await unheard.send("evt_3", body, at=server_time)).is_down
        await unheard.close()
    finally:
        over.set()
        await sender.close()
    # In production, neither by its address nor by a name that leads to it.
    count = len(receiver.arrivals)
    for url in (receiver.url, receiver.url.replace("127.0.0.1", "localhost")):
        inward = Sender(receiver.settings(url=url), post.settings, only_public=True)
        assert (await inward.send("evt_4", body, at=server_time)).reason == "its address is a private one"
        await inward.close()
    assert len(receiver.arrivals) == count


@pytest.mark.parametrize("where", ["accepted", "added", "woken"])
async def test_a_worker_killed_on_the_way_loses_nothing_and_changes_no_id(
    where: str, post: Post, receiver: ReceiverStand, settings: Settings
) -> None:
    wanted = receiver.settings()
    await post.register(wanted)
    media_id = await initiated(post)
    await ready(post, media_id)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.webhook_killable", where, receiver.name, receiver.url, receiver.secret),
        env=environment_of(settings, ("mongo",)),
    )
    assert await process.wait() == -signal.SIGKILL
    assert [each.sequence for each in receiver.accepted] == ([1] if where == "accepted" else [])
    await post.deliver(wanted)
    if where == "accepted":
        assert len(receiver.accepted) == 1, "its lease has not run out"
        await post.let_time_pass()
        await post.deliver(wanted)
    ids = [each.id for each in receiver.accepted]
    again = [f"evt_{media_id.hex}_1"] if where == "accepted" else []
    assert ids == again + [f"evt_{media_id.hex}_{sequence}" for sequence in (1, 2, 3, 4)]
    assert len(await post.rows(receiver.name)) == 4


async def test_of_an_owner_who_leaves_only_what_waits_is_kept_until_it_is_sent(
    post: Post, receiver: ReceiverStand
) -> None:
    wanted = receiver.settings()
    await post.register(wanted)
    media_id = await initiated(post)
    await initiated(post, owner_id="ben")
    await post.deliver(wanted)
    await post.stores.media.transition(media_id, MediaStatus.DELETED)
    await post.gather()
    await post.stores.webhooks.forget_owner("anna")
    assert [row["type"] for row in await post.rows(receiver.name, owner_id="anna")] == ["media.deleted"]
    await post.deliver(wanted)
    assert receiver.accepted[-1].type == "media.deleted"
    [sent] = await post.rows(receiver.name, owner_id="anna")
    assert sent["expires_at"] == sent["ended_at"], "it goes at once"
    assert len(await post.rows(receiver.name, owner_id="ben")) == 1
    assert await post.stores.webhooks.forget_receiver(receiver.name) == 2
    assert await post.stores.webhooks.forget_receiver(receiver.name) is None
    await initiated(post)
    await post.gather()
    assert await post.rows(receiver.name) == []


async def test_what_this_release_does_not_know_waits_and_holds_up_no_others(
    post: Post, receiver: ReceiverStand
) -> None:
    wanted = receiver.settings()
    await post.register(wanted)
    strange, other = await initiated(post), await initiated(post)
    await post.database.media.update_one({"_id": strange}, {"$set": {"webhook_pending.0.status": "FROM_THE_FUTURE"}})
    await post.deliver(wanted)
    assert [each.id for each in receiver.accepted] == [f"evt_{other.hex}_1"]
    assert await post.stores.webhooks.outbox.count_waiting() == 1


async def test_nothing_is_noted_where_nobody_listens(database: Database, post: Post) -> None:
    media = ready_media()
    await bind_stores(database).media.insert_initiated([media])
    stored = await database.media.find_one({"_id": media["_id"]})
    assert stored is not None
    assert "webhook_pending" not in stored
