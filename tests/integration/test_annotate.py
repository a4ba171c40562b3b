"""annotateMedia and deleteAnnotations: who may say what, once a request, and how much."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from uuid6 import uuid7

from schema.global_id import encode_id
from service import annotations as use_cases
from service.access import ANONYMOUS, Viewer
from service.annotation_layout import MAX_EMBEDDED
from service.annotation_writes import replace_annotations
from service.annotations import delete_annotations
from service.documents import AnnotationDocument
from service.errors import TemporarilyUnavailable
from service.settings import Settings
from service.stores.annotations import AnnotationStore
from tests.integration.annotation_stand import (
    ANNA,
    BERT,
    DETECTOR,
    MODEL,
    MODERATOR,
    AnnotationStand,
    annotation_stand,
    many,
    said,
    uuid_of,
)

BOX = {"x": 0.1, "y": 0.2, "width": 0.5, "height": 0.8}


@pytest.fixture(scope="module")
async def stand(settings: Settings) -> AsyncIterator[AnnotationStand]:
    async with annotation_stand(settings) as opened:
        yield opened


async def test_what_is_said_is_answered_and_shown(stand: AnnotationStand) -> None:
    media_id = await stand.add()
    given = [{"label": " cat ", "boundingBox": BOX, "text": "Miso"}, *said("dog", confidence=0.25)]
    payload = await stand.annotate(ANNA, media_id, annotations=given)
    assert payload["userErrors"] == []
    assert payload["media"] == {"id": encode_id("Media", media_id)}
    first, second = payload["annotations"]
    assert (first["label"], first["confidence"], first["text"], first["boundingBox"]) == ("cat", 1.0, "Miso", BOX)
    assert (second["label"], second["confidence"], second["source"]) == ("dog", 0.25, "user:anna")
    assert [each["id"] for each in await stand.listed(BERT, media_id)] == [first["id"], second["id"]]
    media = await stand.media(media_id)
    assert media["labels"] == [
        {"label": "cat", "step": 9, "confidence": 1.0},
        {"label": "dog", "step": 2, "confidence": 0.25},
    ]
    assert await stand.assert_sound(media_id) == {uuid_of(first["id"]), uuid_of(second["id"])}


async def test_another_source_is_left_alone_by_a_replacement(stand: AnnotationStand) -> None:
    media_id = await stand.add()
    await stand.annotate(ANNA, media_id, source=DETECTOR, annotations=said("cat", "dog"))
    await stand.annotate(ANNA, media_id, source="model:detector@2", annotations=said("tree"))
    await stand.annotate(ANNA, media_id, annotations=said("house"))
    await stand.annotate(ANNA, media_id, source=DETECTOR, annotations=said("bird"), replace=True)
    assert {each["label"] for each in await stand.listed(ANNA, media_id)} == {"bird", "tree", "house"}
    await stand.annotate(ANNA, media_id, source=DETECTOR, annotations=[], replace=True)
    assert {each["label"] for each in await stand.listed(ANNA, media_id)} == {"tree", "house"}
    await stand.assert_sound(media_id)


async def test_nothing_is_told_of_what_others_may_not_see(stand: AnnotationStand) -> None:
    """A near-duplicate tells of another media of its owner: strangers are shown none, wherever they look."""
    media_id = await stand.add()
    for count in (0, 150):
        await stand.annotate(ANNA, media_id, source=DETECTOR, annotations=many(count), replace=True)
        await stand.annotate(ANNA, media_id, annotations=said("near-duplicate"), replace=True)
        [twin] = await stand.listed(ANNA, media_id, label="near-duplicate")
        node = "query ($id: ID!) { node(id: $id) { id } }"
        assert (await stand.run(node, ANNA, id=twin["id"]))["node"] == {"id": twin["id"]}
        assert (await stand.run(node, BERT, id=twin["id"]))["node"] is None
        assert await stand.listed(BERT, media_id, label="near-duplicate") == []
        assert len(await stand.listed(BERT, media_id)) == count
        assert len(await stand.listed(ANNA, media_id)) == count + 1


@pytest.mark.parametrize("count", [0, 101], ids=["embedded", "moved"])
async def test_what_one_is_not_shown_one_cannot_take_back(stand: AnnotationStand, count: int) -> None:
    """Else the answer would tell a service that there is another such media."""
    media_id, source = await stand.add(), "model:near-duplicate@2"
    await stand.say(media_id, DETECTOR, *["thing"] * count)
    [twin] = await stand.say(media_id, source, "near-duplicate")
    global_id = encode_id("Annotation", twin)
    node = "query ($id: ID!) { node(id: $id) { id } }"
    assert (await stand.run(node, MODEL, id=global_id))["node"] is None
    before = await stand.media(media_id)
    refused = await stand.take_back(MODEL, [global_id])
    assert (refused["deletedIds"], [error["code"] for error in refused["userErrors"]]) == ([], ["NOT_FOUND"])
    unknown = await stand.take_back(MODEL, [encode_id("Annotation", uuid4())])
    assert refused == unknown
    assert await stand.media(media_id) == before
    assert (await stand.take_back(ANNA, [global_id]))["deletedIds"] == [global_id]
    assert twin not in await stand.assert_sound(media_id)


@pytest.mark.parametrize(
    ("viewer", "source", "media", "code"),
    [
        (ANONYMOUS, "user:None", {}, "NOT_PERMITTED"),
        (BERT, "user:bert", {}, "NOT_PERMITTED"),
        (BERT, DETECTOR, {}, "NOT_PERMITTED"),
        (BERT, "user:bert", {"visibility": "PRIVATE"}, "NOT_FOUND"),
        (BERT, "user:bert", {"status": "PROCESSING"}, "NOT_FOUND"),
        (ANNA, "user:bert", {}, "NOT_PERMITTED"),
        (ANNA, "user:anna", {"status": "DELETED"}, "NOT_FOUND"),
        (MODERATOR, DETECTOR, {}, "NOT_PERMITTED"),
        (MODERATOR, "user:anna", {}, "NOT_PERMITTED"),
        (MODEL, "user:model-runner", {}, "NOT_PERMITTED"),
        (MODEL, "user:anna", {}, "NOT_PERMITTED"),
        (MODEL, DETECTOR, {"status": "DELETED"}, "NOT_FOUND"),
        (ANNA, "user:anna", {}, None),
        (ANNA, DETECTOR, {"status": "PROCESSING"}, None),
        (MODERATOR, "user:mod", {"visibility": "PRIVATE"}, None),
        (MODEL, DETECTOR, {"visibility": "PRIVATE"}, None),
        (MODEL, "user:model-runner", {"owner_id": "model-runner"}, None),
    ],
)
async def test_who_may_say_what(
    stand: AnnotationStand, viewer: Viewer, source: str, media: dict[str, Any], code: str | None
) -> None:
    media_id = await stand.add(**media)
    before = await stand.media(media_id)
    payload = await stand.annotate(viewer, media_id, source=source, annotations=said("cat"))
    assert [error["code"] for error in payload["userErrors"]] == ([] if code is None else [code])
    assert len(payload["annotations"]) == (code is None)
    after = await stand.media(media_id)
    assert (before == after) == (code is not None)
    assert before["updated_at"] == after["updated_at"], "that guards what people say of the media itself"


@pytest.mark.parametrize(
    ("viewer", "own", "taken"),
    [
        (ANNA, {}, {"user:anna", "user:mod", DETECTOR}),
        (MODERATOR, {"visibility": "PRIVATE"}, {"user:anna", "user:mod", DETECTOR}),
        (MODEL, {"visibility": "PRIVATE"}, {DETECTOR}),
        (BERT, {}, set()),
    ],
)
@pytest.mark.parametrize("count", [1, 101], ids=["embedded", "moved"])
async def test_who_may_take_back_what(
    stand: AnnotationStand, viewer: Viewer, own: dict[str, Any], taken: set[str], count: int
) -> None:
    media_id = await stand.add(**own)
    for source in ("user:anna", "user:mod", DETECTOR):
        await stand.say(media_id, source, *["cat"] * count)
    every = await stand.listed(ANNA, media_id)
    asked = [next(each for each in every if each["source"] == source) for source in ("user:anna", "user:mod", DETECTOR)]
    ids = [*(each["id"] for each in asked), encode_id("Annotation", uuid4()), "no id"]
    before = await stand.media(media_id)
    payload = await stand.take_back(viewer, [*ids, ids[0]])
    allowed = [each["id"] for each in asked if each["source"] in taken]
    assert payload["deletedIds"] == allowed
    assert [(error["code"], error["field"]) for error in payload["userErrors"]] == [
        ("NOT_FOUND", ["ids", str(index)]) for index, each in enumerate([*ids, ids[0]]) if each not in allowed
    ]
    left = await stand.assert_sound(media_id)
    assert len(left) == 3 * count - len(allowed)
    assert not left & {uuid_of(each) for each in allowed}
    assert ((await stand.media(media_id)) == before) == (not allowed)


@pytest.mark.parametrize("count", [1, 101], ids=["embedded", "moved"])
async def test_an_old_request_that_comes_again_undoes_nothing(stand: AnnotationStand, count: int) -> None:
    media_id, key = await stand.add(), uuid4().hex
    given = {"source": DETECTOR, "replace": True, "annotations": many(count, "old")}
    first = await stand.annotate(ANNA, media_id, key=key, **given)
    assert len(first["annotations"]) == count
    assert await stand.annotate(ANNA, media_id, key=key, **given) == first, "twice in a row it is the same answer"
    await stand.annotate(ANNA, media_id, source=DETECTOR, replace=True, annotations=said("newer"))
    await stand.annotate(MODERATOR, media_id, annotations=said("newest"))
    before = await stand.media(media_id)
    again = await stand.annotate(ANNA, media_id, key=key, **given)
    assert (again["userErrors"], again["annotations"]) == ([], [])
    assert await stand.media(media_id) == before
    await stand.assert_sound(media_id)


def an_annotation(source: str, label: str) -> AnnotationDocument:
    return AnnotationDocument(id=uuid4(), label=label, confidence=1.0, bounding_box=None, text=None, source=source)


@pytest.mark.parametrize("count", [1, 101], ids=["embedded", "moved"])
async def test_a_deletion_that_comes_again_takes_no_newer_one_away(stand: AnnotationStand, count: int) -> None:
    media_id, key = await stand.add(), uuid4().hex
    await stand.say(media_id, "user:anna", *["cat"] * count)
    result = an_annotation(DETECTOR, "dog")
    global_id = encode_id("Annotation", result["id"])

    async def annotator_runs() -> None:
        # It gives the same result the same id.
        assert await replace_annotations(media_id, DETECTOR.__eq__, [result], stores=stand.stores)

    await annotator_runs()
    first = await stand.take_back(ANNA, [global_id], key=key)
    assert first == {"deletedIds": [global_id], "userErrors": []}
    assert result["id"] not in await stand.assert_sound(media_id)
    await annotator_runs()
    await stand.annotate(ANNA, media_id, annotations=said("else"))
    assert await stand.take_back(ANNA, [global_id], key=key) == first
    assert result["id"] in await stand.assert_sound(media_id)


async def test_a_request_takes_back_from_many_media_at_once(stand: AnnotationStand) -> None:
    media = [await stand.add() for _ in range(20)]
    foreign = await stand.add(owner_id="bert")
    said_of = {media_id: await stand.say(media_id, "user:anna", "cat", "dog") for media_id in (*media, foreign)}
    asked = [encode_id("Annotation", said_of[media_id][0]) for media_id in (*media, foreign)]
    payload = await stand.take_back(ANNA, asked)
    assert payload["deletedIds"] == asked[:-1]
    assert [error["field"] for error in payload["userErrors"]] == [["ids", "20"]]
    for media_id in media:
        assert await stand.assert_sound(media_id) == {said_of[media_id][1]}
    assert await stand.assert_sound(foreign) == set(said_of[foreign])


async def test_what_is_taken_back_is_all_that_is_looked_up(
    stand: AnnotationStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of media that hold the longest texts, and of as many as make several look-ups."""
    monkeypatch.setattr(use_cases, "_LOOKED_UP_AT_ONCE", 2)
    text = "\U0001f600" * 2_000
    media = [await stand.add() for _ in range(3)]
    asked = []
    for media_id in media:
        fresh = [{**an_annotation("user:anna", "x"), "text": text} for _ in range(MAX_EMBEDDED)]
        assert await replace_annotations(media_id, "user:anna".__eq__, fresh, stores=stand.stores)  # type: ignore[arg-type]
        asked.append(fresh[0]["id"])
    whole, looked_up = AnnotationStore.find_holders, []

    async def noted(self: AnnotationStore, *args: Any, **more: Any) -> Any:
        looked_up.append(found := await whole(self, *args, **more))
        return found

    monkeypatch.setattr(AnnotationStore, "find_holders", noted)
    gone = await delete_annotations(ANNA, asked, idempotency_key=uuid4().hex, stores=stand.stores)
    assert gone == set(asked)
    assert [[len(each["annotations"]) for each in found] for found in looked_up] == [[1, 1], [1]]
    for media_id in media:
        assert len(await stand.assert_sound(media_id)) == MAX_EMBEDDED - 1


async def test_nothing_is_written_any_more_once_an_error_is_told(
    stand: AnnotationStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of three media is too busy: the other two are done by then, and a repeat does the rest."""
    media = [await stand.add() for _ in range(3)]
    asked = [(await stand.say(media_id, "user:anna", "cat"))[0] for media_id in media]
    whole, begun, ended = use_cases.write_annotations, 0, 0

    async def first_is_busy(*args: Any, **more: Any) -> bool:
        nonlocal begun, ended
        begun += 1
        if begun == 1:
            raise TemporarilyUnavailable("Others are annotating this media.")
        await asyncio.sleep(0.05)
        is_written = await whole(*args, **more)
        ended += 1
        return is_written

    monkeypatch.setattr(use_cases, "write_annotations", first_is_busy)
    key = uuid4().hex
    with pytest.raises(TemporarilyUnavailable):
        await delete_annotations(ANNA, asked, idempotency_key=key, stores=stand.stores)
    assert (begun, ended) == (3, 2)
    assert sum([len(await stand.assert_sound(media_id)) for media_id in media]) == 1
    gone = await delete_annotations(ANNA, asked, idempotency_key=key, stores=stand.stores)
    assert gone == set(asked)
    assert sum([len(await stand.assert_sound(media_id)) for media_id in media]) == 0


@pytest.mark.parametrize(
    ("held", "more", "what"),
    [
        ([("model:a@1", "x")] * 10_000, ["x"], "10,000 annotations"),
        ([("model:a@1", f"l{n}") for n in range(200)], ["other"], "200 different labels"),
        ([(f"model:a@{n}", "x") for n in range(100)], ["x"], "100 sources"),
    ],
)
async def test_what_a_media_holds_is_bounded(
    stand: AnnotationStand, held: list[tuple[str, str]], more: list[str], what: str
) -> None:
    media_id = await stand.add()
    fresh = [an_annotation(source, label) for source, label in held]
    assert await replace_annotations(media_id, lambda _: True, fresh, stores=stand.stores)
    before = await stand.media(media_id)
    refused = await stand.annotate(ANNA, media_id, annotations=said(*more))
    [error] = refused["userErrors"]
    assert (error["code"], error["field"]) == ("INVALID_INPUT", ["annotations"])
    assert what in error["message"]
    assert await stand.media(media_id) == before
    await stand.assert_sound(media_id)
    # What is already there may be taken back, and what is said anew may take its place.
    assert (await stand.annotate(ANNA, media_id, source=held[0][0], annotations=[], replace=True))["userErrors"] == []
    assert (await stand.annotate(ANNA, media_id, annotations=said(*more)))["userErrors"] == []
    await stand.assert_sound(media_id)


async def test_an_unknown_media_is_not_found(stand: AnnotationStand) -> None:
    for media_id in (uuid7(), UUID(int=0)):
        [error] = (await stand.annotate(ANNA, media_id, annotations=said("cat")))["userErrors"]
        assert (error["code"], error["field"]) == ("NOT_FOUND", ["mediaId"])
