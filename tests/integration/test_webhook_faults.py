"""Webhooks when things go wrong: receivers that refuse, pause, hang, flood or are down, and workers that die."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from starlette.responses import Response, StreamingResponse

from service.dev.environment import environment_of
from service.settings import ReceiverSettings, Settings, WebhookSettings
from service.stores.webhook_inspection import Choice
from service.stores.webhook_receivers import DOWN_AFTER
from service.webhooks import sending
from service.webhooks.dispatch import look_at_receivers
from service.webhooks.sending import Sender
from tests.webhook_stand import (
    LONG_AGO,
    Arrival,
    Post,
    ReceiverStand,
    accept,
    answering,
    initiated,
    new_secret,
    ready,
    receiving,
)


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


async def test_a_limited_replay_leaves_out_none_before_what_it_sends(post: Post, receiver: ReceiverStand) -> None:
    wanted = receiver.settings()
    await post.register(wanted)
    media_ids = [await initiated(post) for _ in range(3)]
    for media_id in reversed(media_ids):
        await ready(post, media_id)
    await post.gather()
    await post.deliver(wanted)
    rows = post.database.handle["webhook_deliveries"]
    given_up = {"state": "dead", "last_error": "it was away"}
    for sequence in range(1, 5):
        opened_at = LONG_AGO + timedelta(days=sequence)
        await rows.update_many({"sequence": sequence}, {"$set": {**given_up, "opened_at": opened_at}})
    inspection, choice = post.stores.webhooks.inspection, Choice(receiver=receiver.name, state="dead")
    for _ in range(2):
        assert [page async for page in inspection.replay(choice, limit=5)] == [5]
    waiting = await rows.find({"receiver": receiver.name, "state": "open"}).to_list(None)
    events = [(media_id, sequence) for media_id in media_ids for sequence in range(1, 5)]
    assert sorted((each["media_id"], each["sequence"]) for each in waiting) == events[:10]
    receiver.arrivals.clear()
    await post.deliver(wanted)
    assert len(receiver.arrivals) == 10
    by_media = Choice(media_id=media_ids[0])
    assert [page async for page in inspection.replay(by_media, limit=2)] == [2]
    of_first = {"media_id": media_ids[0], "state": "open"}
    assert {each["sequence"] for each in await rows.find(of_first).to_list(None)} == {1, 2}


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
    post: Post, receiver: ReceiverStand, ports: Iterator[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    post.settings = WebhookSettings(timeout_s=0.5)
    monkeypatch.setattr(sending, "_BODY_S", 0.1)
    over = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        while not over.is_set():
            yield b"x" * 65_536
            await asyncio.sleep(0)

    async def silent() -> AsyncIterator[bytes]:
        yield b"x"
        await over.wait()

    flood_with: list[Callable[[], AsyncIterator[bytes]]] = [endless]

    async def hang(_: Arrival) -> Response:
        await over.wait()
        return Response()

    async def flood(_: Arrival) -> Response:
        return StreamingResponse(flood_with[0]())

    sender = Sender(receiver.settings(), post.settings, only_public=False)
    try:
        body = '{"type":"x","data":{"sequence":1,"mediaId":"m"}}'
        now = asyncio.get_running_loop().time
        server_time = (await post.stores.media.server_time()).timestamp()
        receiver.answer = flood
        for body_of in (endless, silent):
            flood_with[0] = body_of
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


async def test_a_replay_begins_now_also_where_the_next_attempt_would_be_later(
    post: Post, receiver: ReceiverStand
) -> None:
    wanted = receiver.settings()
    await post.register(wanted)
    await ready(post, await initiated(post))
    await post.gather()
    await post.database.handle["webhook_deliveries"].update_many({"sequence": 1}, {"$set": {"opened_at": LONG_AGO}})
    receiver.answer = answering(422)
    await post.deliver(wanted)
    assert [each.sequence for each in receiver.arrivals] == [1, 2], "one is given up, its successor waits"
    receiver.answer = accept
    await post.deliver(wanted)
    assert not receiver.accepted
    inspection, deliveries = post.stores.webhooks.inspection, post.stores.webhooks.deliveries
    choice = Choice(receiver=receiver.name, state="dead")
    assert [page async for page in inspection.replay(choice, limit=10)] == [1]
    stream = await deliveries.claim(receiver.name, lease_s=60)
    assert stream is not None
    assert [page async for page in inspection.replay(choice, limit=10)] == [0]
    assert await deliveries.claim(receiver.name, lease_s=60) is None, "what somebody is sending is left to them"
    await deliveries.put_back(stream, delay_s=0)
    await post.deliver(wanted)
    assert [each.sequence for each in receiver.accepted] == [1, 2, 3, 4]
