"""Changing media: what is given and nothing else, never over a newer change, and each request once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo.errors import AutoReconnect

from schema.global_id import encode_id
from service.access import Viewer
from service.errors import IdempotencyKeyReused, VersionConflict
from service.lifecycle import MediaStatus
from service.media_changes import update_media
from tests.api_client import ApiClient
from tests.documents import ready_media
from tests.integration.conftest import RunningService

UPDATE = """mutation ($input: UpdateMediaInput!) {
  updateMedia(input: $input) {
    media {
      title altText tags albumIds position visibility status statusSequence updatedAt
      focus { x y width height } location { latitude longitude } subject { type id }
    }
    userErrors { code message field retryable }
  }
}"""

EVERYTHING: dict[str, Any] = {
    "title": "Tofu",
    "altText": "A dog awake",
    "tags": ["dog", "beach"],
    "albumIds": ["winter"],
    "position": 7,
    "visibility": "PRIVATE",
    "focus": {"x": 0.25, "y": 0.5, "width": 0.25, "height": 0.5},
    "location": {"latitude": -33.9, "longitude": 18.4},
    "subject": {"type": "comment", "id": "9"},
}
ANNA = Viewer("anna")

CLEARED: dict[str, Any] = {**dict.fromkeys(EVERYTHING), "tags": [], "albumIds": []}


async def stored(service: RunningService, **changed: Any) -> dict[str, Any]:
    document: Any = ready_media(**changed)
    await service.runtime.database.media.insert_one(document)
    return await reread(service, document["_id"])


async def reread(service: RunningService, media_id: UUID) -> dict[str, Any]:
    document: dict[str, Any] | None = await service.runtime.database.media.find_one({"_id": media_id})
    assert document is not None
    return document


async def update(client: ApiClient, media: dict[str, Any], *, key: str | None = None, **changes: Any) -> dict[str, Any]:
    asked = {"idempotencyKey": key or uuid4().hex, "id": encode_id("Media", media["_id"]), **changes}
    payload: dict[str, Any] = (await client.run(UPDATE, input=asked))["updateMedia"]
    return payload


async def changed(client: ApiClient, media: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The media after a change that must not be refused."""
    payload = await update(client, media, **changes)
    assert payload["userErrors"] == []
    answered: dict[str, Any] = payload["media"]
    return answered


@pytest.mark.parametrize("name", EVERYTHING)
async def test_only_what_is_given_changes_and_null_clears(service: RunningService, name: str) -> None:
    anna, media = service.client("anna"), await stored(service)
    untouched = await changed(anna, await stored(service), position=0)
    answered = await changed(anna, media, **{name: EVERYTHING[name]})
    assert answered[name] == EVERYTHING[name]
    others = EVERYTHING.keys() - {name}
    assert {other: answered[other] for other in others} == {other: untouched[other] for other in others}
    after = await reread(service, media["_id"])
    assert after["updated_at"] > media["updated_at"]
    for kept in ("status", "status_sequence", "status_history", "renditions", "content", "created_at"):
        assert after[kept] == media[kept]
    if name != "visibility":
        assert (await changed(anna, media, **{name: None}))[name] == CLEARED[name]


async def test_text_that_looks_like_an_expression_is_text(service: RunningService) -> None:
    media = await stored(service)
    answered = await changed(service.client("anna"), media, title="$$NOW", tags=["$owner_id"])
    assert (answered["title"], answered["tags"]) == ("$$NOW", ["$owner_id"])


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({}, "INVALID_INPUT", None),
        ({"ifUnchangedSince": "2026-03-01T12:00:00Z"}, "INVALID_INPUT", None),
        ({"visibility": None}, "INVALID_INPUT", ["visibility"]),
        ({"title": "t" * 201}, "INVALID_INPUT", ["title"]),
        ({"tags": ["ok", ""]}, "INVALID_INPUT", ["tags", "1"]),
        ({"position": -1}, "INVALID_INPUT", ["position"]),
        ({"focus": {"x": 0.9, "y": 0, "width": 0.5, "height": 1}}, "INVALID_INPUT", ["focus"]),
        ({"location": {"latitude": 91, "longitude": 0}}, "INVALID_INPUT", ["location", "latitude"]),
        ({"title": "late", "ifUnchangedSince": "2026-03-01T11:59:59.999Z"}, "VERSION_CONFLICT", ["ifUnchangedSince"]),
    ],
)
async def test_refused_change_changes_nothing(
    service: RunningService, changes: dict[str, Any], code: str, field: list[str] | None
) -> None:
    media = await stored(service)
    payload = await update(service.client("anna"), media, **changes)
    [error] = payload["userErrors"]
    assert (payload["media"], error["code"], error["field"]) == (None, code, field)
    assert await reread(service, media["_id"]) == media


async def test_purpose_decides_who_may_see_it(service: RunningService) -> None:
    media = await stored(service, purpose="MEDICAL", visibility="PRIVATE")
    [error] = (await update(service.client("anna"), media, visibility="PUBLIC"))["userErrors"]
    assert (error["code"], error["field"]) == ("INVALID_INPUT", ["visibility"])
    assert await reread(service, media["_id"]) == media


async def test_only_owner_and_moderators_change_media(service: RunningService) -> None:
    media, gone = await stored(service), await stored(service, status="DELETED")
    for client, target in (
        (service.client("bert"), media),
        (service.client("anna"), gone),
        (service.client("anna"), {"_id": uuid4()}),
    ):
        [error] = (await update(client, target, title="mine"))["userErrors"]
        assert (error["code"], error["field"]) == ("NOT_FOUND", ["id"])
    assert await reread(service, media["_id"]) == media
    assert await reread(service, gone["_id"]) == gone
    moderator = service.client("mo", roles=("moderator",))
    assert (await changed(moderator, media, title="mended"))["title"] == "mended"


async def test_hidden_media_is_hidden_at_once(service: RunningService) -> None:
    anna, bert, media = service.client("anna"), service.client("bert"), await stored(service)
    query = "query ($id: ID!) { media(id: $id) { id display { url } } }"
    shared = (await bert.run(query, id=encode_id("Media", media["_id"])))["media"]
    assert shared is not None
    await changed(anna, media, visibility="PRIVATE")
    assert (await bert.run(query, id=encode_id("Media", media["_id"])))["media"] is None
    own = (await anna.run(query, id=encode_id("Media", media["_id"])))["media"]
    # Another key pair signs what is private, so the addresses that were public can be revoked by themselves.
    assert "KDEVPRIVATE" in own["display"]["url"]
    assert "KDEVPUBLIC" in shared["display"]["url"]


async def test_of_two_who_read_the_same_version_one_is_told(service: RunningService) -> None:
    anna, media = service.client("anna"), await stored(service)
    read_at = (await changed(anna, media, title="read by both"))["updatedAt"]
    answers = await asyncio.gather(
        *(update(anna, media, title=f"{number}", ifUnchangedSince=read_at) for number in range(8))
    )
    won = [answer["media"]["title"] for answer in answers if not answer["userErrors"]]
    lost = [answer["userErrors"][0]["code"] for answer in answers if answer["userErrors"]]
    assert (len(won), lost) == (1, ["VERSION_CONFLICT"] * 7)
    assert (await reread(service, media["_id"]))["title"] == won[0]


async def test_status_that_changes_meanwhile_counts_as_a_change(
    service: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    media, stores = await stored(service), service.runtime.stores
    work = stores.media.change

    async def overtaken(*args: Any, **more: Any) -> bool:
        await stores.media.transition(media["_id"], MediaStatus.QUARANTINED)
        return await work(*args, **more)

    raw = {"idempotency_key": "late", "title": "late", "if_unchanged_since": media["updated_at"]}
    monkeypatch.setattr(type(stores.media), "change", staticmethod(overtaken))
    with pytest.raises(VersionConflict):
        await update_media(ANNA, media["_id"], raw, stores=stores)
    assert await title_of(service, media["_id"]) == media["title"]


async def test_each_of_many_changes_at_once_is_made(service: RunningService) -> None:
    anna, media = service.client("anna"), await stored(service)
    fields = {"title": "t", "altText": "a", "tags": ["x"], "albumIds": ["y"], "position": 9, "subject": None}
    await asyncio.gather(*(changed(anna, media, **{name: value}) for name, value in fields.items()))
    after = await changed(anna, media, visibility="PRIVATE")
    assert {name: after[name] for name in fields} == fields


async def test_clock_that_was_set_back_hides_no_change(service: RunningService) -> None:
    ahead = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    anna, media = service.client("anna"), await stored(service, updated_at=ahead)
    await changed(anna, media, title="mine", ifUnchangedSince=ahead.isoformat())
    [error] = (await update(anna, media, title="theirs", ifUnchangedSince=ahead.isoformat()))["userErrors"]
    assert error["code"] == "VERSION_CONFLICT"
    assert await title_of(service, media["_id"]) == "mine"


async def test_old_request_never_undoes_a_newer_change(service: RunningService) -> None:
    anna, media = service.client("anna"), await stored(service)
    await changed(anna, media, key="older" + media["_id"].hex, title="older")
    for newer in ("newer", "newest"):
        await changed(anna, media, title=newer)
        before = await reread(service, media["_id"])
        repeated = await update(anna, media, key="older" + media["_id"].hex, title="older")
        assert repeated["userErrors"] == []
        assert repeated["media"]["title"] == newer
        assert await reread(service, media["_id"]) == before


async def call(service: RunningService, media_id: UUID, key: str, title: str) -> None:
    raw = {"idempotency_key": f"{key}-{media_id}", "title": title}
    await update_media(ANNA, media_id, raw, stores=service.runtime.stores)


async def title_of(service: RunningService, media_id: UUID) -> str:
    title: str = (await reread(service, media_id))["title"]
    return title


@pytest.mark.parametrize("written", [False, True])
@pytest.mark.parametrize("step", ["change", "mark_applied"])
async def test_death_at_any_step_is_mended_by_the_repeat(
    service: RunningService, monkeypatch: pytest.MonkeyPatch, step: str, written: bool
) -> None:
    media_id = (await stored(service))["_id"]
    await call(service, media_id, "first", "first")
    store = service.runtime.stores.media if step == "change" else service.runtime.stores.idempotency
    work = getattr(store, step)

    async def dying(*args: Any, **more: Any) -> None:
        if written:
            await work(*args, **more)
        raise AutoReconnect("connection lost")

    with monkeypatch.context() as patch:
        patch.setattr(type(store), step, staticmethod(dying))
        with pytest.raises(AutoReconnect):
            await call(service, media_id, "second", "second")
    arrived = step == "change" and written
    assert await title_of(service, media_id) == ("second" if arrived else "first")
    await call(service, media_id, "second", "second")
    assert await title_of(service, media_id) == "second"
    await call(service, media_id, "third", "third")
    for old in ("first", "second"):
        await call(service, media_id, old, old)
        assert await title_of(service, media_id) == "third"


async def test_twin_that_slept_through_newer_changes_changes_nothing(
    service: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    media_id = (await stored(service))["_id"]
    stores = service.runtime.stores
    work, asleep, wake = stores.media.change, asyncio.Event(), asyncio.Event()

    async def sleeping(*args: Any, **more: Any) -> bool:
        asleep.set()
        await wake.wait()
        return await work(*args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(type(stores.media), "change", staticmethod(sleeping))
        twin = asyncio.create_task(call(service, media_id, "twin", "older"))
        await asleep.wait()
    await call(service, media_id, "twin", "older")
    await call(service, media_id, "other", "newer")
    wake.set()
    await twin
    assert await title_of(service, media_id) == "newer"


KEYS, TITLES = st.sampled_from("abc"), st.sampled_from(["one", "two"])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sent=st.lists(st.tuples(KEYS, TITLES), min_size=1, max_size=10))
async def test_any_order_of_requests_and_repeats_makes_each_change_once(
    service: RunningService, sent: list[tuple[str, str]]
) -> None:
    media_id = (await stored(service, title="none"))["_id"]
    expected, used = "none", dict[str, str]()
    for key, title in sent:
        if key not in used:
            expected = used[key] = title
        if used[key] == title:
            await call(service, media_id, key, title)
        else:
            with pytest.raises(IdempotencyKeyReused):
                await call(service, media_id, key, title)
        assert await title_of(service, media_id) == expected


async def test_forgotten_key_is_a_new_request(service: RunningService) -> None:
    media_id = (await stored(service))["_id"]
    await call(service, media_id, "key", "first")
    await call(service, media_id, "other", "second")
    await service.runtime.database.idempotency.delete_many({"expires_at": {"$gt": datetime.now(UTC)}})
    await call(service, media_id, "key", "first")
    assert await title_of(service, media_id) == "first"
    # Also where the media still shows the mark of its earlier use.
    await service.runtime.database.idempotency.delete_many({"expires_at": {"$gt": datetime.now(UTC)}})
    before = (await reread(service, media_id))["updated_at"]
    await call(service, media_id, "key", "first")
    assert (await reread(service, media_id))["updated_at"] > before
