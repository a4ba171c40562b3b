"""Every mutation may be sent again, by anybody who did not hear the answer, and happens once."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Self
from uuid import uuid4

import httpx
import pytest

from indexes.ensure import DECLARED
from service.dev.environment import environment_of
from service.dev.processes import Children
from service.stores import idempotency
from tests.api_client import ApiClient
from tests.integration.conftest import RunningService
from tests.integration.effects import Snapshot, Witness, effects, media_written, on_record
from tests.integration.mutation_scenarios import INPUTS, KEYED, SCENARIOS, Input, Stage, one_answer, send

# They change nothing that matters, however often they are sent, and so take no key.
UNKEYED = {"signUploadParts", "signStorageRequest"}

# Enough for every mutation.
ROLES = tuple({role for scenario in SCENARIOS.values() for role in scenario.roles})

# Each way of each mutation; where the way makes no difference, each mutation once.
WITH_KEY = [name for name, scenario in SCENARIOS.items() if scenario.mutation in KEYED]
WITHOUT_KEY = [name for name, scenario in SCENARIOS.items() if scenario.mutation in UNKEYED]

# What is on record of each way of each mutation: an entry for each media, but for content that is known, which is
# opened and completed in one.
ON_RECORD: Mapping[str, Counter[str]] = {
    "createUploads": Counter({"upload.created": 1}),
    "createUploads of known content": Counter({"upload.created": 1, "upload.completed": 1}),
    "completeUpload": Counter({"upload.completed": 1}),
    "completeUpload in parts": Counter({"upload.completed": 1}),
    "abortUpload": Counter({"upload.aborted": 1}),
    "abortUpload in parts": Counter({"upload.aborted": 1}),
    "signUploadParts": Counter({"upload.started": 1}),
    "signStorageRequest": Counter(),
    "signStorageRequest of a part": Counter({"upload.started": 1}),
    "updateMedia": Counter({"media.changed": 1}),
    "retryProcessing": Counter({"media.retried": 1}),
    "moderateMedia": Counter({"media.quarantined": 1}),
    "moderateMedia to release": Counter({"media.released": 1}),
    "annotateMedia": Counter({"annotations.written": 1}),
    "annotateMedia with many": Counter({"annotations.written": 1}),
    "deleteAnnotations": Counter({"annotations.deleted": 2}),
    "deleteMedia": Counter({"deletion.requested": 2}),
    "embedMedia": Counter({"embedding.written": 1}),
    "deleteEmbeddings": Counter({"embedding.deleted": 1}),
}


def assert_on_record(name: str, stage: Stage, before: Snapshot, after: Snapshot) -> None:
    """What a scenario has done is in the audit chains, under the names of who did it and of what was changed."""
    entries = on_record(before, after)
    assert Counter(entry["action"] for entry in entries) == ON_RECORD[name]
    assert {(entry["actor"], entry["owner"]) for entry in entries} <= {(stage.owner, stage.owner)}
    assert {entry["subject"] for entry in entries} == media_written(before, after)


@pytest.fixture
def owner() -> str:
    return f"owner-{uuid4().hex[:8]}"


@pytest.fixture
def stage(service: RunningService, owner: str) -> Stage:
    return Stage(service, service.client(owner, roles=ROLES), owner)


async def ask(stage: Stage, name: str, given: Input, *, key: str | None = None) -> dict[str, Any]:
    return await send(stage.client, SCENARIOS[name].mutation, given, key=key)


_EFFECTS: dict[str, Counter[str]] = {}


async def one_effect(stage: Stage, witness: Witness, name: str) -> Counter[str]:
    """What sending this once does, to documents and to storage; found out once."""
    if name not in _EFFECTS:
        given = await SCENARIOS[name].make(stage)
        before = await witness.look()
        key = uuid4().hex if name in WITH_KEY else None
        assert (await ask(stage, name, given, key=key))["userErrors"] == []
        _EFFECTS[name] = effects(before, await witness.look())
    return _EFFECTS[name]


def test_every_mutation_is_covered() -> None:
    assert set(INPUTS) - set(KEYED) <= UNKEYED, "give the new mutation an idempotencyKey"
    assert set(INPUTS) - {scenario.mutation for scenario in SCENARIOS.values()} == set(), "write a scenario for it"
    assert set(ON_RECORD) == set(SCENARIOS), "have it noted in the audit chains, and say so here"


@pytest.mark.parametrize("name", WITH_KEY)
async def test_repeat_gets_the_first_answer_and_does_nothing_more(
    stage: Stage, witness: Witness, second_url: str, name: str
) -> None:
    given, key = await SCENARIOS[name].make(stage), uuid4().hex
    before = await witness.look()
    first = await ask(stage, name, given, key=key)
    after = await witness.look()
    assert first["userErrors"] == []
    assert effects(before, after), "the scenario changes nothing, so it shows nothing"
    assert_on_record(name, stage, before, after)

    assert await ask(stage, name, given, key=key) == first
    # Nothing of it is remembered by the process alone.
    elsewhere = ApiClient(second_url, stage.client.token)
    assert await send(elsewhere, SCENARIOS[name].mutation, given, key=key) == first
    assert await witness.look() == after


@pytest.mark.parametrize("name", SCENARIOS)
async def test_eight_at_once_do_what_one_does(stage: Stage, witness: Witness, second_url: str, name: str) -> None:
    await assert_twins_meet(stage, witness, [stage.client, ApiClient(second_url, stage.client.token)], name)


@pytest.mark.parametrize("name", WITH_KEY)
async def test_key_used_for_something_else_is_refused_and_nothing_happens(
    stage: Stage, witness: Witness, name: str
) -> None:
    given, other, key = await SCENARIOS[name].make(stage), await SCENARIOS[name].make(stage), uuid4().hex
    assert (await ask(stage, name, given, key=key))["userErrors"] == []
    before = await witness.look()
    [error] = (await ask(stage, name, other, key=key))["userErrors"]
    assert (error["code"], error["field"], error["retryable"]) == ("IDEMPOTENCY_KEY_REUSED", ["idempotencyKey"], False)
    assert await witness.look() == before
    # The other input was as good as the first: it only needed a key of its own.
    assert (await ask(stage, name, other, key=uuid4().hex))["userErrors"] == []


@pytest.mark.parametrize("mutation", KEYED)
async def test_key_belongs_to_its_owner_and_operation(stage: Stage, witness: Witness, mutation: str) -> None:
    key = uuid4().hex
    assert (await ask(stage, mutation, await SCENARIOS[mutation].make(stage), key=key))["userErrors"] == []
    another = KEYED[(KEYED.index(mutation) + 1) % len(KEYED)]
    stranger = Stage(stage.service, stage.service.client("stranger", roles=ROLES), "stranger")
    for who, what in ((stranger, mutation), (stage, another)):
        expected, given = await one_effect(who, witness, what), await SCENARIOS[what].make(who)
        before = await witness.look()
        assert (await ask(who, what, given, key=key))["userErrors"] == []
        assert effects(before, await witness.look()) == expected


@pytest.mark.parametrize("mutation", KEYED)
async def test_useless_key_is_refused_and_nothing_happens(stage: Stage, witness: Witness, mutation: str) -> None:
    given = await SCENARIOS[mutation].make(stage)
    before = await witness.look()
    for key in ("", "   ", "k" * 201):
        [error] = (await ask(stage, mutation, given, key=key))["userErrors"]
        assert (error["code"], error["field"]) == ("INVALID_INPUT", ["idempotencyKey"])
    assert await witness.look() == before


@pytest.mark.parametrize("name", SCENARIOS)
async def test_nobody_changes_anything_without_signing_in(stage: Stage, witness: Witness, name: str) -> None:
    given = await SCENARIOS[name].make(stage)
    before = await witness.look()
    key = uuid4().hex if name in WITH_KEY else None
    [error] = (await send(stage.service.client(None), SCENARIOS[name].mutation, given, key=key))["userErrors"]
    assert error["code"] == "NOT_PERMITTED"
    assert await witness.look() == before


@pytest.mark.parametrize("name", WITHOUT_KEY)
async def test_mutation_without_a_key_changes_nothing_when_repeated(stage: Stage, witness: Witness, name: str) -> None:
    given = await SCENARIOS[name].make(stage)
    before = await witness.look()
    first = await ask(stage, name, given)
    assert first["userErrors"] == []
    after = await witness.look()
    assert_on_record(name, stage, before, after)
    assert await ask(stage, name, given) == first
    assert await witness.look() == after


async def test_keys_are_kept_for_more_than_a_day(stage: Stage) -> None:
    records = stage.service.runtime.database.idempotency
    await records.delete_many({})
    for mutation in KEYED:
        given = await SCENARIOS[mutation].make(stage)
        assert (await ask(stage, mutation, given, key=uuid4().hex))["userErrors"] == []
    asked_at, kept = datetime.now(UTC), await records.find().to_list(None)
    assert len(kept) >= len(KEYED)
    assert all(record["expires_at"] - asked_at > timedelta(hours=24) for record in kept)
    # Nothing but that moment lets the database forget one.
    [expiry] = [index for index in DECLARED["idempotency"] if "expireAfterSeconds" in index.options]
    assert (expiry.keys, expiry.options["expireAfterSeconds"]) == ((("expires_at", 1),), 0)


async def test_a_process_whose_clock_is_behind_makes_keys_that_are_kept_as_long(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Behind(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return super().now(tz) - timedelta(days=3)

    monkeypatch.setattr(idempotency, "datetime", Behind, raising=False)
    records = stage.service.runtime.stores.idempotency
    owner_id, plan = uuid4().hex, {"$title": "$$ROOT", "id": uuid4()}
    known = {"owner_id": owner_id, "operation": "updateMedia", "key": "k", "content": {"a": 1}}
    asked_at = datetime.now(UTC)
    first, *twins = await asyncio.gather(*(records.recall(**known, plan={**plan, "by": number}) for number in range(8)))
    assert all(each == first for each in twins)
    assert first.plan == {**plan, "by": first.plan["by"]}, "what looks like an expression is kept as it was given"
    kept: Any = await stage.service.runtime.database.idempotency.find_one({"_id": first.id})
    assert kept["expires_at"] - asked_at > timedelta(hours=47)


@asynccontextmanager
async def api_process(service: RunningService, children: Children, port: int) -> AsyncIterator[str]:
    """`python -m service api`, answering."""
    http = service.settings.http.model_copy(update={"port": port})
    environment = environment_of(
        service.settings.model_copy(update={"http": http}), ("mongo", "storage", "delivery", "auth", "http")
    )
    child = await children.start(f"api-{port}", [sys.executable, "-m", "service", "api"], env=environment)
    url = f"http://127.0.0.1:{port}"
    try:
        async with asyncio.timeout(30), httpx.AsyncClient() as client:
            while not await _answers(client, url):  # noqa: ASYNC110 - another process: there is no event to wait for
                await asyncio.sleep(0.05)
        yield url
    finally:
        await children.stop(child)


async def _answers(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(f"{url}/healthz")).status_code == 200
    except httpx.TransportError:
        return False


async def test_a_process_that_starts_later_gives_the_answers_of_the_one_before(
    stage: Stage, witness: Witness, children: Children, ports: Iterator[int]
) -> None:
    asked = [(name, await SCENARIOS[name].make(stage), uuid4().hex) for name in WITH_KEY]
    first = [await ask(stage, name, given, key=key) for name, given, key in asked]
    after = await witness.look()
    async with api_process(stage.service, children, next(ports)) as url:
        started = ApiClient(url, stage.client.token)
        again = [await send(started, SCENARIOS[name].mutation, given, key=key) for name, given, key in asked]
        assert again == first
        assert await witness.look() == after
        for name in ("createUploads", "updateMedia"):
            await assert_twins_meet(stage, witness, [stage.client, started], name)


async def assert_twins_meet(stage: Stage, witness: Witness, clients: list[ApiClient], name: str) -> None:
    """Eight requests at once, to two processes in turn, do what one does."""
    expected, given = await one_effect(stage, witness, name), await SCENARIOS[name].make(stage)
    key = uuid4().hex if name in WITH_KEY else None
    before = await witness.look()
    mutation = SCENARIOS[name].mutation
    answers = await asyncio.gather(*(send(client, mutation, given, key=key) for client in clients * 4))
    assert one_answer(answers)["userErrors"] == []
    assert effects(before, await witness.look()) == expected
