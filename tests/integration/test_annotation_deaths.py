"""Writers of annotations that die half-way: all of a write is there or nothing, and nothing is left of the rest."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from uuid6 import uuid7

from service.annotation_layout import Contents
from service.annotation_upkeep import clear_abandoned_writes
from service.settings import Settings
from service.stores.annotation_rows import AnnotationRowStore
from service.stores.annotations import AnnotationStore
from tests.integration.annotation_stand import ANNA, BERT, DETECTOR, AnnotationStand, annotation_stand, many, uuid_of

AT_ONCE = timedelta(seconds=-1)


@pytest.fixture(scope="module")
async def stand(settings: Settings) -> AsyncIterator[AnnotationStand]:
    async with annotation_stand(settings) as opened:
        yield opened


class Died(BaseException):
    """As by `kill -9`: nobody cleans up."""


STEPS = {
    "before anything": (AnnotationRowStore, "begin", "before"),
    "noted": (AnnotationRowStore, "begin", "after"),
    "rows written": (AnnotationRowStore, "insert", "after"),
    "listed": (AnnotationStore, "write", "after"),
    "old rows removed": (AnnotationRowStore, "remove", "after"),
    "done": (AnnotationRowStore, "finish", "after"),
}


@pytest.mark.parametrize("step", STEPS)
async def test_a_writer_may_die_at_any_step(stand: AnnotationStand, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    media_id, key = await stand.add(), uuid4().hex
    kept = await stand.say(media_id, "user:anna", "kept")
    old = await stand.say(media_id, DETECTOR, *["old"] * 120)
    owner, name, when = STEPS[step]
    whole = getattr(owner, name)

    async def dying(*args: Any, **more: Any) -> Any:
        if when == "after":
            await whole(*args, **more)
        raise Died

    given = {"source": DETECTOR, "replace": True, "annotations": many(130, "new")}
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, dying)
        with pytest.raises(Died):
            await stand.annotate(ANNA, media_id, key=key, **given)
    is_made = step in {"listed", "old rows removed", "done"}
    labels = {each["label"] for each in await stand.listed(BERT, media_id)}
    assert labels == ({"new", "kept"} if is_made else {"old", "kept"}), "all of it, or nothing"

    await clear_abandoned_writes(stores=stand.stores, grace=AT_ONCE)
    left = await stand.assert_sound(media_id)
    assert left >= set(kept)
    assert (left >= set(old)) == (not is_made)

    again = await stand.annotate(ANNA, media_id, key=key, **given)
    assert again["userErrors"] == []
    assert await stand.assert_sound(media_id) == {*kept, *(uuid_of(each["id"]) for each in again["annotations"])}
    assert len(again["annotations"]) == 130


async def test_a_writer_that_is_slower_than_the_clearing_begins_anew(
    stand: AnnotationStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    media_id = await stand.add()
    await stand.say(media_id, DETECTOR, *["old"] * 120)
    whole, cleared = AnnotationStore.write, 0

    async def slow(self: AnnotationStore, media: UUID, contents: Contents | None, **more: Any) -> bool:
        nonlocal cleared
        if contents is not None and not cleared:
            cleared = await clear_abandoned_writes(stores=stand.stores, grace=AT_ONCE)
        return await whole(self, media, contents, **more)

    monkeypatch.setattr(AnnotationStore, "write", slow)
    payload = await stand.annotate(ANNA, media_id, annotations=many(110, "mine"))
    assert (len(payload["annotations"]), cleared) == (110, 1)
    assert len(await stand.assert_sound(media_id)) == 230


async def test_what_is_under_way_is_left_alone(stand: AnnotationStand) -> None:
    media_id = await stand.add()
    await stand.stores.annotation_rows.begin({"_id": uuid7(), "media_id": media_id, "segments": [uuid4()]})
    assert await clear_abandoned_writes(stores=stand.stores) == 0
    assert await clear_abandoned_writes(stores=stand.stores, grace=AT_ONCE) == 1
