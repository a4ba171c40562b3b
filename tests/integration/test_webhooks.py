"""Webhooks against a real receiver: what it is told, in which order, by whom, and what operators see of it."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import pytest
import structlog
from jsonschema import Draft202012Validator
from standardwebhooks.webhooks import Webhook
from starlette.responses import Response
from typer.testing import CliRunner

from indexes.ensure import ensure
from service.__main__ import app
from service.dev.environment import environment_of
from service.doctor.findings import Finding, Level
from service.doctor.webhooks import check_webhooks
from service.lifecycle import MediaStatus
from service.log_lines import configure_logging
from service.settings import Settings, WebhookSettings
from service.stores import bind_stores
from service.stores.database import open_database
from service.webhooks.dispatch import WebhookDispatch
from tests.documents import ready_media
from tests.webhook_stand import (
    LONG_AGO,
    Arrival,
    Post,
    ReceiverStand,
    accept,
    answering,
    eventually,
    initiated,
    new_secret,
    ready,
    receiving,
)

SCHEMA = Path(__file__).parents[2] / "docs" / "webhook-events.schema.json"


@pytest.fixture
def logged(capsys: pytest.CaptureFixture[str]) -> Iterator[pytest.CaptureFixture[str]]:
    """Logging as in production, with everything that libraries have to say."""
    before = logging.getLogger().handlers, logging.getLogger().level
    configure_logging("DEBUG")
    yield capsys
    structlog.reset_defaults()
    logging.getLogger().handlers, level = before
    logging.getLogger().setLevel(level)


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
    failure = {"code": "MODERATED", "message": "x"}
    await stores.moderation.quarantine(media_id, decision, failure=failure, sequence=4)
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


async def test_nothing_is_noted_where_nobody_listens(post: Post) -> None:
    media = ready_media()
    await bind_stores(post.database).media.insert_initiated([media])
    stored = await post.database.media.find_one({"_id": media["_id"]})
    assert stored is not None
    assert "webhook_pending" not in stored


async def test_a_worker_sends_by_itself_and_says_how_it_goes_without_secrets(
    fresh_settings: Settings, receiver: ReceiverStand, logged: pytest.CaptureFixture[str]
) -> None:
    webhooks = WebhookSettings(receivers=(receiver.settings(),), poll_s=0.02, timeout_s=2, backoff_s=(0.01,))
    settings = fresh_settings.model_copy(update={"webhooks": webhooks})
    once = iter([500])

    async def answer(_: Arrival) -> Response:
        return Response(status_code=next(once, 204))

    receiver.answer = answer
    async with open_database(settings.mongo) as opened:
        await ensure(opened.handle)
        post = Post(opened)
        dispatch = WebhookDispatch(settings, webhooks=post.stores.webhooks, metrics=post.metrics, holder="w")
        assert (await doctor(settings))[:1] == []

        async def is_registered() -> bool:
            return bool(await post.stores.webhooks.receivers.list_all())

        async def is_told() -> bool:
            streams = post.database.handle["webhook_streams"]
            return len(receiver.accepted) == 4 and not await streams.count_documents({})

        working = asyncio.create_task(dispatch.run())
        await eventually(is_registered)
        await ready(post, await initiated(post))
        await eventually(is_told)
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        said = logged.readouterr().out
        assert "webhook failed" in said
        assert "interrupted" not in said
        assert not any(word in said for word in (receiver.secret, receiver.secret[6:], "webhook-signature", "v1,"))
        labels = {"receiver": receiver.name, "outcome": "delivered"}
        assert post.metrics.registry.get_sample_value("media_webhooks_total", labels) == 4
        found = await doctor(settings)
        assert [each.text for each in found] == ["orders takes what it is sent; 0 events wait."]
        # Another process that was not told of webhooks, and one that knows them without the receiver.
        [*_, silent] = await doctor(fresh_settings)
        assert (silent.level, "these settings note none" in silent.text) == (Level.PROBLEM, True)
        noting = fresh_settings.model_copy(update={"webhooks": WebhookSettings(enabled=True)})
        assert all(each.level is Level.OK for each in await doctor(noting))
        await post.close()


async def doctor(settings: Settings) -> list[Finding]:
    found = await check_webhooks(settings.webhooks, settings.mongo, settings.environment)
    return [each for each in found if settings.webhooks.receivers == () or "is found" not in each.text]


async def command(settings: Settings, *words: str) -> Any:
    environment = environment_of(settings, ("mongo", "webhooks"))
    return await asyncio.to_thread(CliRunner().invoke, app, ["webhooks", *words], env=environment)


async def test_commands_show_replay_and_try(post: Post, receiver: ReceiverStand, settings: Settings) -> None:
    wanted = receiver.settings()
    settings = settings.model_copy(update={"webhooks": WebhookSettings(receivers=(wanted,))})
    await post.register(wanted)
    media_id = await initiated(post)
    await ready(post, media_id)
    await post.gather()
    await post.database.handle["webhook_deliveries"].update_many({"sequence": 2}, {"$set": {"opened_at": LONG_AGO}})

    async def answer(arrival: Arrival) -> Response:
        return Response(status_code=403 if arrival.event["type"] == "media.uploaded" else 200)

    receiver.answer = answer
    await post.deliver(wanted)
    listed = await command(settings, "list")
    assert "orders    up" in listed.output
    assert "it answered 403" in listed.output
    dead = await command(settings, "list", "--state", "dead", "--receiver", "orders", "--json")
    [_, row] = [orjson.loads(line) for line in dead.stdout.splitlines()]
    assert (row["type"], row["state"]) == ("media.uploaded", "dead")
    shown = await command(settings, "show", row["event_id"])
    assert orjson.loads(shown.stdout)["body"]["data"]["sequence"] == 2
    assert (await command(settings, "show", "evt_0")).exit_code == 1
    receiver.answer = accept
    replayed = await command(settings, "replay", "--receiver", "orders", "--dead", "--since", "2026-01-01")
    assert "1 event will be sent again" in replayed.output
    await post.deliver(wanted)
    assert receiver.arrivals[-1].id == row["event_id"]
    of_media = await command(settings, "replay", "--media", receiver.arrivals[-1].media)
    assert "4 events" in of_media.output
    receiver.arrivals.clear()
    assert "accepted it with 204" in (await command(settings, "ping", "orders")).output
    receiver.answer = answering(401)
    refused = await command(settings, "ping", "orders")
    assert (refused.exit_code, [each.type for each in receiver.arrivals]) == (1, ["webhook.ping"] * 2)
    assert (await command(settings, "ping", "nobody")).exit_code == 1
    assert (await command(settings, "forget", "orders")).exit_code == 2, "it is configured"
    assert await post.stores.webhooks.receivers.list_all()
    unconfigured = settings.model_copy(update={"webhooks": WebhookSettings(enabled=True)})
    assert [(await command(unconfigured, "forget", "orders")).exit_code for _ in range(2)] == [0, 1]
