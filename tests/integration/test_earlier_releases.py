"""What the last two releases wrote stays usable before, while and after it is migrated."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from uuid6 import uuid7

from schema.global_id import encode_id
from service.dev.stack import prepare
from service.migrations import MigrationOptions, Observer, migrate
from service.models import JobKind
from service.perceptual_hash import bands_of
from service.settings import Settings
from service.stores.database import open_database
from service.stores.migrations import MigrationStore
from tests.documents import MOMENT, ready_media
from tests.integration.conftest import RunningService
from tests.integration.jobs_by_hand import run_next

TELLING = 0x0F0F_3C5A_55AA_1234
SEEN = """query ($id: ID!) { media(id: $id) {
  title renditions { url } annotations { nodes { label confidence source } }
  similar(maxDistance: 4) { distance media { id } }
} }"""
FEED = "{ feed(purpose: COMMUNITY, first: 100) { nodes { id display { url } annotations { nodes { label } } } } }"
LISTED = "query ($label: String) { mediaList(filter: { label: $label }) { nodes { id } } }"
ANNOTATE = """mutation ($input: AnnotateMediaInput!) { annotateMedia(input: $input) {
  annotations { label } userErrors { code message } } }"""
UPDATE = "mutation ($input: UpdateMediaInput!) { updateMedia(input: $input) { media { title } userErrors { code } } }"


def first_release(owner: str, label: str) -> Any:
    """Neither bands nor labels, and of an annotation only what was told then."""
    annotation = {"id": uuid7(), "label": label, "confidence": 0.8, "bounding_box": None, "text": None}
    return ready_media(
        owner_id=owner,
        schema_version=1,
        hashes={"phash": TELLING},
        annotations=[{**annotation, "source": "model:m@1", "created_at": MOMENT}],
    )


def second_release(owner: str, label: str) -> Any:
    """With bands, without labels."""
    older = first_release(owner, label)
    return older | {"schema_version": 2, "hashes": {"phash": TELLING ^ 1, "bands": bands_of(TELLING ^ 1)}}


RELEASES = {"first": first_release, "second": second_release}


def quiet() -> Observer:
    return Observer(on_page=lambda _: None, on_refusal=lambda _: None, on_wait=lambda _: None)


async def migrated(service: RunningService) -> None:
    store = MigrationStore(service.runtime.database)
    await migrate(MigrationOptions(), name=uuid4().hex, store=store, observer=quiet())


@pytest.mark.parametrize("release", RELEASES)
async def test_unmigrated_media_are_shown_changed_annotated_and_deleted(
    service: RunningService, no_deletion_window: None, release: str
) -> None:
    owner, label = f"owner-{uuid4().hex[:8]}", f"label-{uuid4().hex[:8]}"
    document, media = RELEASES[release](owner, label), service.runtime.database.media
    document["original"]["bucket"] = service.settings.storage.upload_bucket
    await media.insert_one(document)
    anna, id_ = service.client(owner), encode_id("Media", document["_id"])
    seen = (await anna.run(SEEN, id=id_))["media"]
    assert seen["annotations"]["nodes"] == [{"label": label, "confidence": 0.8, "source": "model:m@1"}]
    assert len(seen["renditions"]) == len(document["renditions"])
    fed = {each["id"]: each for each in (await anna.run(FEED))["feed"]["nodes"]}
    assert fed[id_]["display"]["url"]
    key = {"idempotencyKey": uuid4().hex}
    updated = await anna.run(UPDATE, input={**key, "id": id_, "title": "New"})
    assert updated["updateMedia"] == {"media": {"title": "New"}, "userErrors": []}
    given = {**key, "mediaId": id_, "source": f"user:{owner}", "annotations": [{"label": "mine"}]}
    said = (await anna.run(ANNOTATE, input=given))["annotateMedia"]
    assert said == {"annotations": [{"label": "mine"}], "userErrors": []}
    # Whoever annotates also says in short what was said before.
    assert [each["id"] for each in (await anna.run(LISTED, label=label))["mediaList"]["nodes"]] == [id_]
    await migrated(service)
    kept = await media.find_one({"_id": document["_id"]})
    assert (kept["schema_version"], kept["annotation_count"]) == (3, 2)
    assert kept["hashes"]["bands"] == bands_of(kept["hashes"]["phash"])
    await anna.delete(id_)
    await run_next(service, JobKind.DELETE)
    # Which is verified elsewhere.
    await service.runtime.database.jobs.delete_many({})
    gone = await media.find_one({"_id": document["_id"]})
    assert gone["status"] == "DELETED"
    assert not {"labels", "annotation_count", "hashes"} & gone.keys()


async def test_what_is_new_finds_them_once_they_are_migrated(service: RunningService) -> None:
    owner, label = f"owner-{uuid4().hex[:8]}", f"label-{uuid4().hex[:8]}"
    documents = [make(owner, label) for make in RELEASES.values()]
    await service.runtime.database.media.insert_many(documents)
    anna = service.client(owner)
    first, second = (encode_id("Media", document["_id"]) for document in documents)
    assert (await anna.run(LISTED, label=label))["mediaList"]["nodes"] == []
    await anna.run(SEEN, id=first)
    await migrated(service)
    assert [each["id"] for each in (await anna.run(LISTED, label=label))["mediaList"]["nodes"]] == [second, first]
    similar = (await anna.run(SEEN, id=second))["media"]["similar"]
    assert {"distance": 1, "media": {"id": first}} in similar


async def test_media_that_went_are_not_brought_back(service: RunningService) -> None:
    media = service.runtime.database.media
    stripped = {"_id": uuid7(), "schema_version": 1, "owner_id": "x", "status": "DELETED", "purpose": "COMMUNITY"}
    await media.insert_one(stripped)
    await migrated(service)
    assert await media.find_one({"_id": stripped["_id"]}) == {**stripped, "schema_version": 3}


async def test_the_embedded_stack_migrates_when_it_starts(fresh_settings: Settings) -> None:
    document = first_release("anna", "cat")
    async with open_database(fresh_settings.mongo) as database:
        await database.media.insert_one(document)
        await prepare(fresh_settings)
        kept = await database.media.find_one({"_id": UUID(str(document["_id"]))})
    assert kept["schema_version"] == 3
    assert [each["label"] for each in kept["labels"]] == ["cat"]
