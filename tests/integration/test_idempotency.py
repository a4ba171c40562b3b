"""Every mutation may be sent again, by anybody who did not hear the answer, and happens once."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from indexes.ensure import DECLARED
from service.app import create_app
from service.dev.environment import environment_of
from service.dev.processes import Children
from tests.api_client import ApiClient
from tests.integration.conftest import RunningService, served
from tests.integration.mutation_scenarios import INPUTS, KEYED, SCENARIOS, Scenario, Stage, send

# They change nothing that matters, however often they are sent, and so take no key.
UNKEYED = {"signUploadParts", "signStorageRequest"}

Snapshot = dict[str, dict[Any, dict[str, Any]]]


async def snapshot(service: RunningService) -> Snapshot:
    """Everything the database says, but for what keys were used."""
    handle = service.runtime.database.handle
    names = sorted(set(await handle.list_collection_names()) - {"idempotency"})
    return {name: {document["_id"]: document async for document in handle[name].find()} for name in names}


def effects(before: Snapshot, after: Snapshot) -> Counter[str]:
    """What became of how many documents: new, changed or gone, and through how many statuses."""
    counted: Counter[str] = Counter()
    for name in before.keys() | after.keys():
        old, new = before.get(name, {}), after.get(name, {})
        for key in old.keys() | new.keys():
            if old.get(key) != new.get(key):
                verb = "new" if key not in old else "gone" if key not in new else "changed"
                statuses = len(new.get(key, {}).get("status_history", ()))
                counted[f"{verb} {name} {statuses - len(old.get(key, {}).get('status_history', ()))}"] += 1
    return counted


@pytest.fixture
def owner() -> str:
    return f"owner-{uuid4().hex[:8]}"


@pytest.fixture
def stage(service: RunningService, owner: str) -> Stage:
    return Stage(service, service.client(owner), owner)


@pytest.fixture(scope="module")
async def second_url(service: RunningService, ports: Iterator[int]) -> AsyncIterator[str]:
    """Another API over the same database, with connections and caches of its own."""
    async with served(create_app(service.settings), next(ports)) as url:
        yield url


async def scene(stage: Stage, mutation: str) -> Scenario:
    return await SCENARIOS[mutation](stage)


_EFFECTS: dict[str, Counter[str]] = {}


async def one_effect(stage: Stage, mutation: str) -> Counter[str]:
    """What sending this mutation once does; found out once."""
    if mutation not in _EFFECTS:
        scenario = await scene(stage, mutation)
        before = await snapshot(stage.service)
        assert (await send(stage.client, mutation, scenario.input, key=uuid4().hex))["userErrors"] == []
        _EFFECTS[mutation] = effects(before, await snapshot(stage.service))
    return _EFFECTS[mutation]


def test_every_mutation_is_covered() -> None:
    assert set(INPUTS) - set(KEYED) <= UNKEYED, "give the new mutation an idempotencyKey"
    assert set(INPUTS) - set(SCENARIOS) == set(), "write a scenario for the new mutation"


@pytest.mark.parametrize("mutation", KEYED)
async def test_repeat_gets_the_first_answer_and_does_nothing_more(
    stage: Stage, ports: Iterator[int], mutation: str
) -> None:
    scenario, key = await scene(stage, mutation), uuid4().hex
    before = await snapshot(stage.service)
    first = await send(stage.client, mutation, scenario.input, key=key)
    after = await snapshot(stage.service)
    assert first["userErrors"] == []
    assert effects(before, after), "the scenario changes nothing, so it shows nothing"

    assert await send(stage.client, mutation, scenario.input, key=key) == first
    # Nothing of it is remembered by the process alone.
    async with served(create_app(stage.service.settings), next(ports)) as restarted:
        assert await send(ApiClient(restarted, stage.client.token), mutation, scenario.input, key=key) == first
    assert await snapshot(stage.service) == after


@pytest.mark.parametrize("mutation", KEYED)
async def test_eight_at_once_do_what_one_does(stage: Stage, second_url: str, mutation: str) -> None:
    expected = await one_effect(stage, mutation)
    scenario, key = await scene(stage, mutation), uuid4().hex
    before = await snapshot(stage.service)
    clients = [stage.client, ApiClient(second_url, stage.client.token)] * 4
    answers = await asyncio.gather(*(send(client, mutation, scenario.input, key=key) for client in clients))
    assert_one_answer(answers)
    assert effects(before, await snapshot(stage.service)) == expected


def assert_one_answer(answers: list[dict[str, Any]]) -> None:
    """All the same, but for those that were asked to try again."""
    final = [answer for answer in answers if not any(error["retryable"] for error in answer["userErrors"])]
    assert final, answers
    assert all(answer == final[0] for answer in final), final
    assert final[0]["userErrors"] == []


@pytest.mark.parametrize("mutation", KEYED)
async def test_key_used_for_something_else_is_refused_and_nothing_happens(stage: Stage, mutation: str) -> None:
    scenario, key = await scene(stage, mutation), uuid4().hex
    assert (await send(stage.client, mutation, scenario.input, key=key))["userErrors"] == []
    before = await snapshot(stage.service)
    [error] = (await send(stage.client, mutation, scenario.other, key=key))["userErrors"]
    assert (error["code"], error["field"], error["retryable"]) == ("IDEMPOTENCY_KEY_REUSED", ["idempotencyKey"], False)
    assert await snapshot(stage.service) == before
    # The other input was as good as the first: it only needed a key of its own.
    assert (await send(stage.client, mutation, scenario.other, key=uuid4().hex))["userErrors"] == []


@pytest.mark.parametrize("mutation", KEYED)
async def test_key_belongs_to_its_owner_and_operation(stage: Stage, mutation: str) -> None:
    key = uuid4().hex
    scenario = await scene(stage, mutation)
    assert (await send(stage.client, mutation, scenario.input, key=key))["userErrors"] == []
    another = KEYED[(KEYED.index(mutation) + 1) % len(KEYED)]
    stranger = Stage(stage.service, stage.service.client("stranger"), "stranger")
    for who, what in ((stranger, mutation), (stage, another)):
        expected, asked = await one_effect(who, what), await scene(who, what)
        before = await snapshot(stage.service)
        assert (await send(who.client, what, asked.input, key=key))["userErrors"] == []
        assert effects(before, await snapshot(stage.service)) == expected


@pytest.mark.parametrize("mutation", KEYED)
async def test_useless_key_is_refused_and_nothing_happens(stage: Stage, mutation: str) -> None:
    scenario = await scene(stage, mutation)
    before = await snapshot(stage.service)
    for key in ("", "   ", "k" * 201):
        [error] = (await send(stage.client, mutation, scenario.input, key=key))["userErrors"]
        assert (error["code"], error["field"]) == ("INVALID_INPUT", ["idempotencyKey"])
    assert await snapshot(stage.service) == before


@pytest.mark.parametrize("mutation", KEYED)
async def test_nobody_changes_anything_without_signing_in(stage: Stage, mutation: str) -> None:
    scenario = await scene(stage, mutation)
    before = await snapshot(stage.service)
    [error] = (await send(stage.service.client(None), mutation, scenario.input, key=uuid4().hex))["userErrors"]
    assert error["code"] in {"NOT_PERMITTED", "NOT_FOUND"}
    assert await snapshot(stage.service) == before


@pytest.mark.parametrize("mutation", sorted(UNKEYED & set(INPUTS)))
async def test_mutation_without_a_key_changes_nothing_when_repeated(stage: Stage, mutation: str) -> None:
    scenario = await scene(stage, mutation)
    first = await send(stage.client, mutation, scenario.input)
    assert first["userErrors"] == []
    before = await snapshot(stage.service)
    assert await send(stage.client, mutation, scenario.input) == first
    assert await snapshot(stage.service) == before


async def test_keys_are_kept_for_more_than_a_day(stage: Stage) -> None:
    records = stage.service.runtime.database.idempotency
    await records.delete_many({})
    for mutation in KEYED:
        scenario = await scene(stage, mutation)
        assert (await send(stage.client, mutation, scenario.input, key=uuid4().hex))["userErrors"] == []
    asked_at, kept = datetime.now(UTC), await records.find().to_list(None)
    assert len(kept) >= len(KEYED)
    assert all(record["expires_at"] - asked_at > timedelta(hours=24) for record in kept)
    # Nothing but that moment lets the database forget one.
    [expiry] = [index for index in DECLARED["idempotency"] if "expireAfterSeconds" in index.options]
    assert (expiry.keys, expiry.options["expireAfterSeconds"]) == ((("expires_at", 1),), 0)


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


async def test_twins_meet_across_processes(stage: Stage, children: Children, ports: Iterator[int]) -> None:
    expected = {mutation: await one_effect(stage, mutation) for mutation in ("createUploads", "updateMedia")}
    async with (
        api_process(stage.service, children, next(ports)) as one,
        api_process(stage.service, children, next(ports)) as two,
    ):
        clients = [ApiClient(url, stage.client.token) for url in (one, two)] * 4
        for mutation, effect in expected.items():
            scenario, key = await scene(stage, mutation), uuid4().hex
            before = await snapshot(stage.service)
            answers = await asyncio.gather(*(send(client, mutation, scenario.input, key=key) for client in clients))
            assert_one_answer(answers)
            assert effects(before, await snapshot(stage.service)) == effect
