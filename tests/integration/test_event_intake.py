"""From S3's notification to UPLOADED: through SQS, on Lambda, late, repeated, reordered and interrupted."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from pymongo.errors import AutoReconnect

from indexes.ensure import ensure
from schema.global_id import decode_id
from service import lambda_handler
from service.app import create_app
from service.dev.environment import environment_of
from service.dev.tokens import mint_token
from service.event_intake import EventOutcome, handle_storage_event
from service.models import StoredObject
from service.object_store import ObjectStore
from service.runtime import Runtime, open_runtime
from service.settings import Settings
from service.storage_events import EventKind, StorageEvent, canonical_sequencer, parse_events
from service.stores.uploads import UploadStore
from service.telemetry import Metrics
from service.worker_process import open_consumer
from tests.api_client import ApiClient
from tests.integration.conftest import served
from tests.lambda_stand import LambdaContext, in_container
from tests.photos import small_photo
from tests.queues import Queues, eventually, open_queues
from tests.servers import StorageServer

REPOSITORY = Path(__file__).parents[2]
GROUPS = ("mongo", "storage", "delivery", "auth", "http", "events")


def uuid_of(global_id: str) -> UUID:
    decoded = decode_id(global_id)
    assert decoded is not None
    return decoded[1]


@dataclass(repr=False)
class Stand:
    """An API on MiniStack's storage, whose upload bucket notifies a queue. Nothing else completes uploads."""

    settings: Settings
    runtime: Runtime
    client: ApiClient
    queues: Queues

    async def put(self, *numbers: int) -> list[UUID]:
        """Create uploads and send their bytes, as an app does that is then closed."""
        files = [small_photo(number) for number in numbers]
        outcomes = (await self.client.create(*files))["outcomes"]
        for outcome, file in zip(outcomes, files, strict=True):
            assert (await self.client.put(outcome["upload"], file)).status_code == 200
        return [uuid_of(outcome["upload"]["id"]) for outcome in outcomes]

    async def notifications(self, count: int) -> list[str]:
        """The bodies of the next `count` notifications, taken from the queue."""
        bodies: list[str] = []

        async def all_there() -> bool:
            bodies.extend(body for body in await self.queues.drain() if parse_events(body))
            return len(bodies) >= count

        await eventually(all_there)
        return bodies

    async def statuses(self, *ids: UUID) -> list[str]:
        found = await self.runtime.stores.media.get_many(ids, fields=["status"])
        return [found[media_id]["status"] for media_id in ids]

    async def jobs(self, media_id: UUID) -> int:
        """How often its processing was enqueued."""
        return await self.runtime.database.jobs.count_documents({"media_id": media_id, "kind": "process"})

    def counted(self, kind: str, outcome: str) -> float:
        labels = {"kind": kind, "outcome": outcome}
        return self.runtime.metrics.registry.get_sample_value("media_storage_events_total", labels) or 0

    @asynccontextmanager
    async def consuming(self) -> AsyncIterator[None]:
        async with open_consumer(self.runtime) as consumer:
            assert consumer is not None
            running = asyncio.create_task(consumer.run())
            try:
                yield
            finally:
                consumer.stop()
                await running


@pytest.fixture(scope="module")
async def stand(settings: Settings, ministack: StorageServer, ports: Iterator[int]) -> AsyncIterator[Stand]:
    storage = ministack.settings()
    store = ObjectStore(storage)
    await store.ensure_buckets()
    await store.close()
    with open_queues(ministack, max_receive_count=5) as queues:
        await queues.notify_of(storage)
        settings = settings.model_copy(update={"storage": storage, "events": queues.settings(visibility_s=2)})
        async with open_runtime(settings, Metrics()) as runtime:
            await ensure(runtime.database.handle)
            async with served(create_app(settings), next(ports)) as url:
                client = ApiClient(url, mint_token(settings.auth.issuers[0], "anna"))
                yield Stand(settings, runtime, client, queues)


@pytest.fixture
def in_lambda(stand: Stand) -> Iterator[None]:
    with in_container(environment_of(stand.settings, GROUPS)):
        yield


async def invoke(event: Mapping[str, Any], context: LambdaContext | None = None) -> Any:
    """Call the handler as Lambda does: from outside any event loop."""
    return await asyncio.to_thread(lambda_handler.handler, event, context or LambdaContext())


def batch(**bodies: str) -> dict[str, Any]:
    """What an event source mapping hands over."""
    return {
        "Records": [
            {"messageId": name, "receiptHandle": "r", "body": body, "eventSource": "aws:sqs", "attributes": {}}
            for name, body in bodies.items()
        ]
    }


@pytest.mark.parametrize(("command", "photo", "reached"), [("events", 1, "UPLOADED"), ("worker", 2, "READY")])
async def test_a_process_completes_uploads_by_events_and_stops_when_told(
    stand: Stand, command: str, photo: int, reached: str
) -> None:
    polling_long = stand.settings.events.model_copy(update={"wait_s": 20, "visibility_s": 1})
    environment = environment_of(stand.settings.model_copy(update={"events": polling_long}), GROUPS)
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "service", command],
        cwd=REPOSITORY,
        env=environment,
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        [media_id] = await stand.put(photo)

        async def has_got_there() -> bool:
            return await stand.statuses(media_id) == [reached]

        await eventually(has_got_there, within_s=30)
        # S3's test event, sent when the notification was set up, is gone as well.
        await eventually(stand.queues.is_empty)
        process.send_signal(signal.SIGTERM)
        # Though its poll would wait for 20 s.
        assert await asyncio.wait_for(process.wait(), 8) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert await stand.jobs(media_id) == 1


async def test_without_a_queue_the_process_says_what_is_missing(stand: Stand) -> None:
    environment = environment_of(stand.settings, GROUPS[:-1])
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "service", "events"], cwd=REPOSITORY, env=environment, stderr=asyncio.subprocess.PIPE
    )
    _, said = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 1
    assert b"MEDIA_EVENTS__QUEUE_URL" in said
    assert b"Traceback" not in said


async def test_three_deliveries_in_any_order_make_one_job_each(stand: Stand) -> None:
    ids = await stand.put(*range(10, 16))
    deliveries = await stand.notifications(len(ids)) * 3
    random.Random(7).shuffle(deliveries)
    await stand.queues.send(*deliveries)
    async with stand.consuming():
        await eventually(stand.queues.is_empty)
    assert await stand.statuses(*ids) == ["UPLOADED"] * len(ids)
    assert [await stand.jobs(media_id) for media_id in ids] == [1] * len(ids)
    for media_id in ids:
        media = await stand.runtime.stores.media.get(media_id, fields=["status_history"])
        assert media is not None
        assert [change["status"] for change in media["status_history"]] == ["INITIATED", "UPLOADED"]


async def test_a_message_of_several_records_is_kept_until_all_are_handled(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = await stand.put(20, 21)
    records = [json.loads(body)["Records"][0] for body in await stand.notifications(2)]
    interrupted = []
    note_event = UploadStore.note_event

    async def interrupt(store: UploadStore, upload_id: UUID, sequencer: str) -> None:
        """The database goes away between the handling of the first record and the note of it."""
        if not interrupted:
            interrupted.append(await stand.queues.waiting())
            raise AutoReconnect("away")
        await note_event(store, upload_id, sequencer)

    monkeypatch.setattr(UploadStore, "note_event", interrupt)
    monkeypatch.setattr("service.event_consumer.OUTAGE_PAUSES", (0.05,))
    await stand.queues.send(json.dumps({"Records": records}))
    async with stand.consuming():
        await eventually(stand.queues.is_empty)
    assert interrupted == [(0, 1)]
    assert await stand.statuses(first, second) == ["UPLOADED", "UPLOADED"]
    assert [await stand.jobs(media_id) for media_id in (first, second)] == [1, 1]


async def test_an_original_that_vanishes_is_told_once_unless_it_is_back(stand: Stand) -> None:
    [media_id] = await stand.put(30)
    [created] = [event for body in await stand.notifications(1) for event in parse_events(body)]
    await handle(stand, created)
    body = await stand.runtime.object_store.get(created.bucket, created.key)
    assert body is not None
    await stand.runtime.object_store.delete(created.bucket, [created.key])
    [notification] = await stand.notifications(1)
    [removed] = parse_events(notification)
    assert removed.kind is EventKind.REMOVED
    assert await handle(stand, removed) is EventOutcome.LOST
    assert await handle(stand, removed) is EventOutcome.STALE
    # An older creation does not bring it back; a newer one does.
    assert await handle(stand, created) is EventOutcome.STALE
    assert await stand.statuses(media_id) == ["UPLOADED"]

    await stand.runtime.object_store.put(
        created.bucket,
        created.key,
        body.body,
        content_type="image/jpeg",
        cache_control="no-store",
        metadata={},
        sha256=hashlib.sha256(body.body).hexdigest(),
    )
    unordered = replace(removed, sequencer=None)
    assert await handle(stand, unordered) is EventOutcome.HANDLED
    [again] = [event for text in await stand.notifications(1) for event in parse_events(text)]
    assert await handle(stand, again) is EventOutcome.HANDLED
    assert await stand.jobs(media_id) == 1


async def test_content_that_another_media_refers_to_is_missed_as_well(stand: Stand) -> None:
    payload = await stand.client.create(b"shared")
    upload = await stand.runtime.stores.uploads.get(uuid_of(payload["outcomes"][0]["upload"]["id"]))
    assert upload is not None
    contents, other, key = stand.runtime.stores.contents, uuid4(), upload["key"]
    bucket = stand.runtime.object_store.upload_bucket
    await contents.register("anna", upload["sha256"], other, bucket=bucket, key=key, byte_size=6)
    assert await handle(stand, StorageEvent(EventKind.REMOVED, bucket, key)) is EventOutcome.LOST
    await contents.release(other)
    assert await handle(stand, StorageEvent(EventKind.REMOVED, bucket, key)) is EventOutcome.HANDLED


async def test_objects_that_nobody_announced_are_acknowledged_and_left_alone(stand: Stand) -> None:
    store = stand.runtime.object_store
    stranger = f"community/raw/{uuid4()}.jpg"
    for bucket, key in (
        (store.upload_bucket, stranger),
        (store.upload_bucket, "somebody/else"),
        ("another-bucket", stranger),
    ):
        event = StorageEvent(EventKind.CREATED, bucket, key, sequencer="AB")
        assert await handle(stand, event) is EventOutcome.UNKNOWN
    assert await stand.runtime.database.uploads.find_one({"event_sequencer": "AB"}) is None


async def handle(stand: Stand, event: StorageEvent) -> EventOutcome:
    return await handle_storage_event(event, stores=stand.runtime.stores, object_store=stand.runtime.object_store)


@pytest.mark.usefixtures("in_lambda")
async def test_lambda_names_the_messages_that_failed_and_handles_the_others(stand: Stand) -> None:
    ids = await stand.put(40, 41)
    first, second = await stand.notifications(2)
    test_event = '{"Service": "Amazon S3", "Event": "s3:TestEvent"}'
    answer = await invoke(batch(good=first, bad="no notification", test=test_event, better=second))
    assert answer == {"batchItemFailures": [{"itemIdentifier": "bad"}]}
    assert await stand.statuses(*ids) == ["UPLOADED", "UPLOADED"]
    # The same container again, with the same messages: nothing more happens.
    assert await invoke(batch(good=first, better=second)) == {"batchItemFailures": []}
    assert [await stand.jobs(media_id) for media_id in ids] == [1, 1]


@pytest.mark.usefixtures("in_lambda")
async def test_lambda_gives_back_what_it_has_no_time_for(stand: Stand) -> None:
    [media_id] = await stand.put(50)
    [body] = await stand.notifications(1)
    answer = await invoke(batch(late=body), LambdaContext(remaining_ms=1_500))
    assert answer == {"batchItemFailures": [{"itemIdentifier": "late"}]}
    assert await stand.statuses(media_id) == ["INITIATED"]
    assert await invoke(batch(late=body)) == {"batchItemFailures": []}
    assert await stand.statuses(media_id) == ["UPLOADED"]


@pytest.mark.usefixtures("in_lambda")
async def test_lambda_is_invoked_by_s3_or_sns_themselves_and_fails_as_a_whole(stand: Stand) -> None:
    by_s3, by_sns = await stand.put(60, 61)
    bodies = {parse_events(body)[0].key: body for body in await stand.notifications(2)}
    for_s3, for_sns = (next(body for key, body in bodies.items() if str(each) in key) for each in (by_s3, by_sns))
    assert await invoke(json.loads(for_s3)) is None
    wrapped = {"EventSource": "aws:sns", "Sns": {"Type": "Notification", "Message": for_sns}}
    assert await invoke({"Records": [wrapped]}) is None
    assert await stand.statuses(by_s3, by_sns) == ["UPLOADED", "UPLOADED"]
    with pytest.raises(ValueError, match="not a notification"):
        await invoke({"Records": [{"eventSource": "aws:s3"}]})


class Shelf:
    """Storage with at most one object: enough of an ObjectStore for one upload's events."""

    upload_bucket, media_bucket = "uploads", "media"

    def __init__(self, held: StoredObject | None) -> None:
        self.held = held

    async def head(self, _bucket: str, _key: str) -> StoredObject | None:
        return self.held


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[list[tuple[EventKind, str]], list[int]]:
    """What happened to a key, in order and with sequencers that grow, and a delivery of it: all, some twice."""
    kinds = draw(st.lists(st.sampled_from(EventKind), min_size=1, max_size=5))
    numbers = sorted(draw(st.sets(st.integers(1, 0xFFFF), min_size=len(kinds), max_size=len(kinds))))
    # Of different lengths, as S3 makes them: zeros on the right change nothing.
    history = [
        (kind, f"{number:04X}" + "0" * draw(st.integers(0, 3))) for kind, number in zip(kinds, numbers, strict=True)
    ]
    repeated = draw(st.lists(st.sampled_from(range(len(kinds))), max_size=4))
    return history, draw(st.permutations([*range(len(kinds)), *repeated]))


@examples(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(deliveries())
async def test_any_order_and_repetition_ends_in_the_same_state(
    stand: Stand, delivered: tuple[list[tuple[EventKind, str]], list[int]]
) -> None:
    history, order = delivered
    payload = await stand.client.create(uuid4().bytes)
    media_id = uuid_of(payload["outcomes"][0]["upload"]["id"])
    stores = stand.runtime.stores
    upload = await stores.uploads.get(media_id)
    assert upload is not None
    key = upload["key"]
    exists = history[-1][0] is EventKind.CREATED
    shelf = Shelf(
        StoredObject("uploads", key, upload["bytes"], "image/jpeg", "e", upload["sha256"]) if exists else None
    )
    for index in order:
        kind, sequencer = history[index]
        event = StorageEvent(kind, "uploads", key, sequencer=canonical_sequencer(sequencer), at=datetime.now(UTC))
        await handle_storage_event(event, stores=stores, object_store=cast(ObjectStore, shelf))
    assert await stand.statuses(media_id) == ["UPLOADED" if exists else "INITIATED"]
    assert await stand.jobs(media_id) == (1 if exists else 0)
    upload = await stores.uploads.get(media_id)
    assert upload is not None
    assert upload["event_sequencer"] == canonical_sequencer(history[-1][1])
