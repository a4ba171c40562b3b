"""Every combination of a list's filters, for every kind of viewer: right, from an index, in order; or refused."""

from __future__ import annotations

import itertools
import random
from collections.abc import AsyncIterator, Mapping
from typing import Any
from uuid import UUID

import pytest
from uuid6 import uuid7

from indexes.ensure import ensure
from resolvers.filters import media_query
from schema.media_filter import MediaFilter
from schema.values import SubjectInput
from service.access import ANONYMOUS, MODERATOR_ROLE, Action, Viewer, granted_filters, may
from service.documents import MediaDocument
from service.errors import InvalidInput
from service.labels import labels_of
from service.lifecycle import MediaStatus
from service.models import MediaKind, MediaPurpose
from service.settings import Settings
from service.stores import media_reads
from service.stores.database import Database, open_database
from service.stores.media import MediaStore
from service.stores.media_lists import MAX_STRETCHES, Read, plan_list
from tests.documents import ready_media

ANNA = Viewer("owner-3")
MODERATOR = Viewer("mod", frozenset({MODERATOR_ROLE}))
VIEWERS = {"anonymous": ANONYMOUS, "anna": ANNA, "moderator": MODERATOR}
PURPOSES = ("COMMUNITY", "COMMUNITY", "PROFILE", "MEDICAL")
LIMIT = 21

# One value of each that a filter can have.
ASKED: Mapping[str, Any] = {
    "owner_id": "owner-3",
    "purpose": MediaPurpose.COMMUNITY,
    "kind": MediaKind.VIDEO,
    "status": [MediaStatus.READY, MediaStatus.FAILED],
    "tags": ["tag-3"],
    "label": "dog",
    "subject": SubjectInput(type="pet", id="5"),  # type: ignore[arg-type]
    "capture_id": "capture-7",
    "album_id": "album-3",
}
_HOARDED = {
    "owner_id": "hoarder",
    "kind": "IMAGE",
    "purpose": "COMMUNITY",
    "status": "READY",
    "visibility": "PRIVATE",
}
TOGETHER = {"subject", "capture_id", "album_id"}


def _documents() -> list[MediaDocument]:
    chance = random.Random(6)
    return [
        ready_media(
            owner_id=f"owner-{chance.randrange(6)}",
            purpose=chance.choice(PURPOSES),
            kind="VIDEO" if chance.random() < 0.3 else "IMAGE",
            visibility="PRIVATE" if chance.random() < 0.3 else "PUBLIC",
            status=chance.choice(("READY", "READY", "READY", "FAILED", "PROCESSING", "DELETED")),
            capture_id=f"capture-{chance.randrange(10)}",
            subject={"type": "pet", "id": str(chance.randrange(8))},
            album_ids=[f"album-{number}" for number in chance.sample(range(5), 2)],
            tags=[f"tag-{number}" for number in chance.sample(range(6), 3)],
            labels=labels_of({name: chance.random() for name in chance.sample(("dog", "cat", "ball", "sofa"), 2)}),
        )
        for _ in range(1_000)
    ]


@pytest.fixture(scope="module")
def documents() -> list[MediaDocument]:
    return _documents()


@pytest.fixture(scope="module")
async def database(settings: Settings, documents: list[MediaDocument]) -> AsyncIterator[Database]:
    async with open_database(settings.mongo) as opened:
        await ensure(opened.handle)
        await opened.media.insert_many(documents)
        yield opened


def _matches(media: MediaDocument, asked: Mapping[str, Any]) -> bool:
    subject = asked.get("subject")
    return all(
        (
            asked.get("owner_id") in (None, media["owner_id"]),
            asked.get("purpose") in (None, media["purpose"]),
            asked.get("kind") in (None, media["kind"]),
            media["status"] in asked.get("status", [media["status"]]),
            set(asked.get("tags", ())) <= set(media["tags"]),
            "label" not in asked
            or any(
                each["label"] == asked["label"] and each["confidence"] >= asked.get("min_confidence", 0)
                for each in media["labels"]
            ),
            subject is None or media["subject"] == {"type": subject.type, "id": subject.id},
            asked.get("capture_id") in (None, media["capture_id"]),
            asked.get("album_id") in (None, *media["album_ids"]),
        )
    )


def _stages(plan: Mapping[str, Any]) -> set[str]:
    inner = [*([plan["inputStage"]] if "inputStage" in plan else ()), *plan.get("inputStages", ())]
    return {plan["stage"]}.union(*map(_stages, inner))


async def _check_read(database: Database, read: Read) -> None:
    cursor = database.media.find(read.query, {"title": 1}).sort("_id", -1).limit(LIMIT).hint(read.index)
    plan = await cursor.explain()
    assert not {"COLLSCAN", "SORT"} & _stages(plan["queryPlanner"]["winningPlan"]), read
    if not read.looks_through:
        stats = plan["executionStats"]
        # Of a confidence inside a step, what lies below it in that step is read too.
        assert stats["totalDocsExamined"] <= max(1.2 * stats["nReturned"], stats["nReturned"] + 3), read
        assert stats["totalKeysExamined"] <= 1.2 * stats["nReturned"] + MAX_STRETCHES, read


def _refused(asked: Mapping[str, Any], viewer: Viewer) -> bool:
    if {"owner_id", *TOGETHER} & asked.keys():
        return False
    wide = {"label", "tags", "kind"} & asked.keys()
    if len(wide) > 1 or len(asked.get("tags", ())) > 1:
        return True
    if not wide or not viewer.is_moderator:
        return False
    statuses = len(asked.get("status", range(8)))
    purposes = 1 if "purpose" in asked else len(MediaPurpose)
    steps = 10 if "label" in asked else 1
    return statuses * 2 * purposes * steps > MAX_STRETCHES


@pytest.mark.parametrize("viewer", VIEWERS.values(), ids=VIEWERS)
async def test_every_combination_is_answered_from_an_index_or_refused(
    database: Database, documents: list[MediaDocument], viewer: Viewer
) -> None:
    store, access = MediaStore(database), granted_filters(viewer, Action.READ)
    visible = [media for media in reversed(documents) if may(viewer, Action.READ, media)]
    answered = refused = 0
    for chosen in itertools.product((False, True), repeat=len(ASKED)):
        asked = {name: ASKED[name] for name, is_asked in zip(ASKED, chosen, strict=True) if is_asked}
        query = media_query(MediaFilter(**asked))
        if _refused(asked, viewer):
            with pytest.raises(InvalidInput, match="ownerId"):
                await store.list_page(query, access=access, before=None, limit=LIMIT, fields=())
            refused += 1
            continue
        page = await store.list_page(query, access=access, before=None, limit=LIMIT, fields=())
        assert [each["_id"] for each in page] == [m["_id"] for m in visible if _matches(m, asked)][:LIMIT], asked
        for read in plan_list(query, access):
            # Within one owner, capture, subject or album the same few indexes serve hundreds of combinations.
            if not {"owner_id", *TOGETHER} & asked.keys() or answered % 8 == 0:
                await _check_read(database, read)
        answered += 1
    assert answered + refused == 512
    assert refused < 50


@pytest.mark.parametrize("viewer", VIEWERS.values(), ids=VIEWERS)
@pytest.mark.parametrize("least", [0.0, 0.3, 0.55, 0.7, 1.0])
async def test_confidence_is_that_of_the_label_and_exact(
    database: Database, documents: list[MediaDocument], viewer: Viewer, least: float
) -> None:
    asked = {"label": "dog", "min_confidence": least, "purpose": MediaPurpose.COMMUNITY}
    query = media_query(MediaFilter(**asked))
    access = granted_filters(viewer, Action.READ)
    page = await MediaStore(database).list_page(query, access=access, before=None, limit=1_000, fields=())
    expected = [m["_id"] for m in reversed(documents) if may(viewer, Action.READ, m) and _matches(m, asked)]
    assert [each["_id"] for each in page] == expected
    assert expected or least == 1.0


async def test_pages_partition_a_list_that_two_indexes_serve(
    database: Database, documents: list[MediaDocument]
) -> None:
    store, access = MediaStore(database), granted_filters(ANNA, Action.READ)
    query = media_query(MediaFilter(tags=["tag-3"]))
    assert len(plan_list(query, access)) == 2
    expected = [m["_id"] for m in reversed(documents) if may(ANNA, Action.READ, m) and "tag-3" in m["tags"]]
    read: list[UUID] = []
    before = None
    while page := await store.list_page(query, access=access, before=before, limit=50, fields=()):
        ids = await store.list_ids(query, access=access, before=before, limit=50)
        assert ids == [each["_id"].bytes for each in page]
        read += [each["_id"] for each in page]
        before = read[-1]
    assert read == expected


async def test_looking_through_too_many_media_ends_with_a_sentence(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    hoarder = Viewer("hoarder")
    for _ in range(4):
        await database.media.insert_many([{"_id": uuid7(), **_HOARDED} for _ in range(10_000)])
    store, access = MediaStore(database), granted_filters(hoarder, Action.READ)
    videos = media_query(MediaFilter(owner_id="hoarder", kind=MediaKind.VIDEO))  # type: ignore[arg-type]
    assert await store.list_page(videos, access=access, before=None, limit=LIMIT, fields=()) == []
    monkeypatch.setattr(media_reads, "MAX_LOOK_S", 0.015)
    with pytest.raises(InvalidInput, match="looked through"):
        await store.list_page(videos, access=access, before=None, limit=LIMIT, fields=())
    everything = media_query(MediaFilter(owner_id="hoarder"))  # type: ignore[arg-type]
    assert len(await store.list_page(everything, access=access, before=None, limit=LIMIT, fields=())) == LIMIT
