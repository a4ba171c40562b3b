"""What a repeat answers: the same whatever was asked for, and of what the world has done since, the truth."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from uuid6 import uuid7

from schema.global_id import encode_id
from tests.api_client import ApiClient
from tests.integration.conftest import RunningService
from tests.integration.effects import Witness, effects
from tests.integration.mutation_scenarios import (
    KEYED,
    SCENARIOS,
    TWO_PARTS,
    Input,
    Stage,
    batch,
    new_file,
    one_answer,
    send,
)

FEW = examples(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

# Those whose answer is media.
_SHOWING_NONE = {"deleteMedia", "deleteAnnotations"}
SHOWING_MEDIA = [name for name, each in SCENARIOS.items() if each.mutation in set(KEYED) - _SHOWING_NONE]


@dataclass(frozen=True)
class Stand:
    """An owner at two APIs over the same database, and a witness of what they change."""

    stage: Stage = field(repr=False)
    second: ApiClient = field(repr=False)
    witness: Witness = field(repr=False)

    async def made_once(self, mutation: str, asked: Input, other: Input) -> tuple[dict[str, Any], Counter[str]]:
        """The answer to twins, which a repeat must get as well, and what they changed; `other` may not have the key."""
        key = uuid4().hex
        before = await self.witness.look()
        clients = (self.stage.client, self.second)
        answer = one_answer(await asyncio.gather(*(send(client, mutation, asked, key=key) for client in clients)))
        after = await self.witness.look()

        # Spelt in another order it is the same request.
        assert await send(self.second, mutation, dict(reversed(asked.items())), key=key) == answer
        [error] = (await send(self.stage.client, mutation, other, key=key))["userErrors"]
        assert error["code"] == ("INVALID_INPUT" if _is_invalid(answer) else "IDEMPOTENCY_KEY_REUSED")
        assert await self.witness.look() == after
        return answer, effects(before, after)

    def in_role(self, scenario: str) -> Stand:
        """The same owner with the roles that the scenario takes."""
        client = self.stage.service.client(self.stage.owner, roles=SCENARIOS[scenario].roles)
        stage = replace(self.stage, client=client)
        return replace(self, stage=stage, second=ApiClient(self.second.url, client.token))


def _is_invalid(answer: dict[str, Any]) -> bool:
    return any(error["code"] == "INVALID_INPUT" for error in answer["userErrors"])


@pytest.fixture
def stand(service: RunningService, second_url: str, witness: Witness) -> Stand:
    owner = f"owner-{uuid4().hex[:8]}"
    client = service.client(owner)
    return Stand(Stage(service, client, owner), ApiClient(second_url, client.token), witness)


TEXT = st.none() | st.text(max_size=8)
NAMES = st.none() | st.lists(st.text(min_size=1, max_size=3), max_size=4)
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "title": TEXT,
        "altText": TEXT,
        "tags": NAMES,
        "albumIds": NAMES,
        "position": st.none() | st.integers(-1, 3),
        "visibility": st.sampled_from(["PUBLIC", "PRIVATE"]),
        "focus": st.none() | st.just({"x": 0.25, "y": 0.5, "width": 0.25, "height": 0.5}),
        "location": st.none() | st.builds(lambda latitude: {"latitude": latitude, "longitude": 0}, st.floats(-91, 91)),
        "subject": st.none() | st.builds(lambda name: {"type": "post", "id": name}, st.text(max_size=3)),
    },
).filter(bool)


@FEW
@given(changes=CHANGES)
async def test_any_change_is_made_once(stand: Stand, changes: dict[str, Any]) -> None:
    asked = {"id": await stand.stage.ready_media(), **changes}
    longer = f"{(changes.get('title') or '').strip()} and more"
    answer, done = await stand.made_once("updateMedia", asked, {**asked, "title": longer})
    if _is_invalid(answer):
        assert (answer["media"], done) == (None, Counter())
    else:
        assert answer["userErrors"] == []
        revised = changes.get("visibility") == "PRIVATE" or bool(changes.get("focus"))
        assert done == Counter({"changed media": 1, "new jobs": int(revised), "new audit": 1})


# What becomes of a file, which of the outcome's fields says so, and what is written for it.
NOTHING = Counter[str]()
SESSION = Counter(
    {"new media through 1 statuses": 1, "new uploads": 1, "new audit": 1, "counted as reserved that was nothing": 1}
)
LINK = Counter(
    {
        "new media through 2 statuses": 1,
        "new uploads": 1,
        "new jobs": 1,
        "changed contents": 1,
        "new audit": 2,
        "counted as stored that was nothing": 1,
    }
)
FILES: dict[str, tuple[str, Counter[str]]] = {
    "new": ("upload", SESSION),
    "awaited": ("upload", NOTHING),
    "known": ("duplicate", NOTHING),
    "known elsewhere": ("duplicate", LINK),
    "of another type": ("userErrors", NOTHING),
    "too large": ("userErrors", NOTHING),
    "unchecked": ("userErrors", NOTHING),
}


async def file_of(stage: Stage, kind: str) -> dict[str, Any]:
    """A file for a batch of the capture `walk`."""
    if kind in {"known", "known elsewhere"}:
        return await stage.known_content(capture_id="walk" if kind == "known" else "attic")
    wrong = {"of another type": {"contentType": "text/html"}, "too large": {"byteSize": 10**9}, "unchecked": {}}
    file = new_file(**wrong.get(kind, {}))
    if kind == "unchecked":
        del file["sha256"]
    if kind == "awaited":
        await send(stage.client, "createUploads", batch(file, captureId="walk"), key=uuid4().hex)
    return file


@FEW
@given(kinds=st.lists(st.tuples(st.sampled_from([*FILES]), st.integers(0, 2)), min_size=1, max_size=6))
async def test_any_batch_is_opened_once(stand: Stand, kinds: list[tuple[str, int]]) -> None:
    files: list[dict[str, Any]] = []
    expected: list[str] = []
    written = Counter[str]()
    for kind, repeats in kinds:
        outcome, effect = FILES[kind]
        file = await file_of(stand.stage, kind)
        files += [file] * (1 + repeats)
        expected += [outcome, *["userErrors" if outcome == "userErrors" else "duplicate"] * repeats]
        written += effect
    asked = batch(*files, captureId="walk")
    renamed = [*files[:-1], {**files[-1], "altText": "Another"}]
    answer, done = await stand.made_once("createUploads", asked, {**asked, "files": renamed})
    assert answer["userErrors"] == []
    assert [[*filter(outcome.get, outcome)] for outcome in answer["outcomes"]] == [[given] for given in expected]
    assert done == written


async def listed_id(stand: Stand, kind: str) -> str:
    if kind == "somebody else's":
        return await stand.stage.ready_media(owner_id="somebody")
    if kind in {"unknown", "malformed"}:
        return encode_id("Media", uuid7()) if kind == "unknown" else "no id"
    media_id = await stand.stage.ready_media()
    if kind == "deleted":
        await stand.stage.client.delete(media_id)
    return media_id


@FEW
@given(
    kinds=st.lists(
        st.sampled_from(["mine", "mine", "deleted", "somebody else's", "unknown", "malformed"]), min_size=1, max_size=6
    ),
    repeated=st.lists(st.integers(0, 5), max_size=3),
)
async def test_any_list_is_deleted_once(stand: Stand, kinds: list[str], repeated: list[int]) -> None:
    distinct = [(await listed_id(stand, kind), kind in {"mine", "deleted"}) for kind in kinds]
    listed = [*distinct, *(distinct[index % len(distinct)] for index in repeated)]
    asked = {"ids": [media_id for media_id, _ in listed]}
    other = {"ids": [*asked["ids"], await stand.stage.ready_media()]}
    answer, done = await stand.made_once("deleteMedia", asked, other)
    assert [each["mediaId"] for each in answer["deletions"]] == [media_id for media_id, own in distinct if own]
    assert [(error["code"], error["field"]) for error in answer["userErrors"]] == [
        ("NOT_FOUND", ["ids", str(index)]) for index, (_, own) in enumerate(listed) if not own
    ]
    live = kinds.count("mine")
    written = {"new deletions": live, "new jobs": live, "changed media through 1 statuses": live, "new audit": live}
    assert done == Counter(written)


def media_of(payload: dict[str, Any]) -> list[dict[str, Any] | None]:
    """The media of an answer, one a file; None where there is none to see."""
    if "outcomes" not in payload:
        return [payload["media"]]
    return [
        outcome["duplicate"] if outcome["upload"] is None else outcome["upload"]["media"]
        for outcome in payload["outcomes"]
    ]


def errors_of(payload: dict[str, Any]) -> list[str]:
    outcomes = payload.get("outcomes", [])
    return [error["code"] for part in (payload, *outcomes) for error in part["userErrors"]]


async def first_answer(stand: Stand, name: str) -> tuple[Input, dict[str, Any], list[str]]:
    """What was asked, with its key, what the answer was, and the media in it."""
    asked = {**await SCENARIOS[name].make(stand.stage), "idempotencyKey": uuid4().hex}
    first = await send(stand.stage.client, SCENARIOS[name].mutation, asked)
    assert errors_of(first) == []
    return asked, first, [media["id"] for media in media_of(first) if media is not None]


@pytest.mark.parametrize("name", SHOWING_MEDIA)
async def test_repeat_shows_the_same_media_as_it_is_now(stand: Stand, name: str) -> None:
    stand = stand.in_role(name)
    asked, first, ids = await first_answer(stand, name)
    for media_id in set(ids):
        await send(stand.stage.client, "updateMedia", {"id": media_id, "title": "Newer"}, key=uuid4().hex)
    before = await stand.witness.look()
    again = await send(stand.second, SCENARIOS[name].mutation, asked)
    assert errors_of(again) == []
    assert [(media or {}).get("id") for media in media_of(again)] == ids
    assert {(media or {}).get("title") for media in media_of(again)} == {"Newer"}
    assert [[*filter(outcome.get, outcome)] for outcome in again.get("outcomes", [])] == [
        [*filter(outcome.get, outcome)] for outcome in first.get("outcomes", [])
    ]
    assert await stand.witness.look() == before


@pytest.mark.parametrize("name", SHOWING_MEDIA)
async def test_repeat_neither_shows_nor_brings_back_what_was_deleted(stand: Stand, name: str) -> None:
    stand = stand.in_role(name)
    asked, _, ids = await first_answer(stand, name)
    assert (await stand.stage.client.delete(*set(ids)))["userErrors"] == []
    before = await stand.witness.look()
    again = await send(stand.second, SCENARIOS[name].mutation, asked)
    assert media_of(again) == [None] * len(ids)
    assert errors_of(again) == ["NOT_FOUND"] * len(ids)
    assert await stand.witness.look() == before


async def test_completion_that_proved_wrong_is_not_confirmed_again(stand: Stand) -> None:
    asked, _, [media_id] = await first_answer(stand, "completeUpload")
    await stand.stage.fail(media_id, "CHECKSUM_MISMATCH")
    before = await stand.witness.look()
    assert errors_of(await send(stand.second, "completeUpload", asked)) == ["CHECKSUM_MISMATCH"]
    assert await stand.witness.look() == before


async def test_file_that_failed_since_keeps_no_other_from_its_outcome(stand: Stand) -> None:
    files = [await stand.stage.known_content(capture_id="attic"), new_file()]
    asked = {**batch(*files, captureId="walk"), "idempotencyKey": uuid4().hex}
    linked, fresh = media_of(await send(stand.stage.client, "createUploads", asked))
    assert linked is not None
    assert fresh is not None
    await stand.stage.fail(linked["id"], "CHECKSUM_MISMATCH")
    again = await send(stand.second, "createUploads", asked)
    assert errors_of(again) == []
    assert [(media or {}).get("id") for media in media_of(again)] == [linked["id"], fresh["id"]]
    assert [(media or {}).get("status") for media in media_of(again)] == ["FAILED", "INITIATED"]


async def test_answer_that_asks_to_try_again_is_no_result(stand: Stand) -> None:
    upload = await stand.stage.open_upload(TWO_PARTS)
    asked = {"uploadId": upload["id"], "idempotencyKey": uuid4().hex}
    [error] = (await send(stand.stage.client, "completeUpload", asked))["userErrors"]
    assert (error["code"], error["retryable"]) == ("UPLOAD_INCOMPLETE", True)
    await stand.stage.send_parts(upload, 1, 2)
    completed = await send(stand.second, "completeUpload", asked)
    assert (completed["userErrors"], completed["media"]["status"]) == ([], "UPLOADED")


async def test_refusal_that_is_final_is_given_again_whatever_has_changed(stand: Stand) -> None:
    media_id = await stand.stage.failed_media()
    await send(stand.stage.client, "retryProcessing", {"id": media_id}, key=uuid4().hex)
    asked = {"id": media_id, "idempotencyKey": uuid4().hex}
    first = await send(stand.stage.client, "retryProcessing", asked)
    assert [(error["code"], error["retryable"]) for error in first["userErrors"]] == [("STATE_CONFLICT", False)]
    await stand.stage.fail(media_id)
    before = await stand.witness.look()
    assert await send(stand.second, "retryProcessing", asked) == first
    assert await stand.witness.look() == before
