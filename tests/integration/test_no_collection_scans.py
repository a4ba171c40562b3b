"""Nothing that the API can be asked reads a collection from end to end: what the database's own profiler says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
from graphql import build_schema
from uuid6 import uuid7

from resolvers.api import export_schema
from schema.global_id import encode_id
from service.labels import labels_of
from tests.integration.conftest import RunningService
from tests.integration.mutation_scenarios import KEYED, SCENARIOS, Stage, send, uuid_of
from tests.photos import small_photo

# For every field of the query root: something to ask of it, of the media with `$id`, annotated and READY.
QUERIES: Mapping[str, str] = {
    "node": "($id: ID!) { node(id: $id) { ... on Media { annotations { nodes { id } } similar { distance } } } }",
    "nodes": "($id: ID!, $upload: ID!, $annotation: ID!) { nodes(ids: [$id, $upload, $annotation]) { id } }",
    "viewer": "{ viewer { id } }",
    "media": '($moved: ID!) { media(id: $moved) { annotations(label: "dog") { nodes { id } } embeddings { model } } }',
    "feed": "{ feed(purpose: COMMUNITY, hint: { width: 100 }) { nodes { display { width } } } }",
    "mediaList": '{ mediaList(filter: { label: "dog", minConfidence: 0.4, purpose: COMMUNITY }) { nodes { id } } }',
    "labelCounts": "{ labelCounts(filter: { purpose: COMMUNITY }) { labels { label count } } }",
    "similarMedia": '{ similarMedia(perceptualHash: "0123456789abcdef", maxDistance: 10, includeTransformed: true) '
    "{ distance media { id } } }",
    "nearestMedia": '($moved: ID!) { nearestMedia(model: "clip@1", mediaId: $moved) { similarity media { id } } }',
    "upload": "($upload: ID!) { upload(id: $upload) { bytesConfirmed } }",
    "uploadPolicy": "{ uploadPolicy(purpose: COMMUNITY) { maxBytes } }",
    "findDuplicates": '{ findDuplicates(sha256: ["' + "a" * 64 + '"]) { media { id } } }',
    "deletion": "($deletion: ID!) { deletion(id: $deletion) { stage } }",
}


@asynccontextmanager
async def profiled(service: RunningService) -> AsyncIterator[list[Mapping[str, Any]]]:
    """What the database did in the block that read a collection from end to end."""
    handle = service.runtime.database.handle
    found: list[Mapping[str, Any]] = []
    await handle.command({"profile": 2})
    try:
        yield found
    finally:
        await handle.command({"profile": 0})
        entries = await handle["system.profile"].find({"ns": {"$not": {"$regex": "system"}}}).to_list(None)
        await handle["system.profile"].drop()
    assert entries, "nothing was watched"
    found += [
        entry["command"]
        for entry in entries
        if "COLLSCAN" in entry.get("planSummary", "") and not _is_change_stream(entry)
    ]


def _is_change_stream(entry: Mapping[str, Any]) -> bool:
    """What change streams read is the oplog."""
    command = entry.get("originatingCommand", entry["command"])
    return any("$changeStream" in stage for stage in command.get("pipeline", ()))


@pytest.fixture
def stage(service: RunningService) -> Stage:
    owner = f"owner-{uuid4().hex[:8]}"
    return Stage(service, service.client(owner), owner)


async def annotate(stage: Stage, media: str, number: int) -> None:
    annotations = [{"label": ("dog", "cat")[index % 2], "confidence": 0.5} for index in range(number)]
    given = {"mediaId": media, "source": "model:eyes@1", "annotations": annotations}
    assert (await send(stage.client, "annotateMedia", given, key=uuid4().hex))["userErrors"] == []


async def embed(stage: Stage, media: str) -> None:
    given = {"mediaId": media, "model": "clip@1", "vector": [1.0, 2.0, 3.0]}
    model = stage.service.client("clip", roles=("service",))
    assert (await send(model, "embedMedia", given, key=uuid4().hex))["userErrors"] == []


def test_every_query_is_watched() -> None:
    root = build_schema(export_schema()).query_type
    assert root is not None
    assert set(root.fields) == set(QUERIES), "give the new field something to be asked"


async def test_no_query_scans_a_collection(stage: Stage) -> None:
    annotation = {"id": uuid7(), "label": "dog", "confidence": 0.9, "source": "model:m@1", "text": None}
    media = await stage.ready_media(
        annotations=[{**annotation, "bounding_box": None}],
        labels=labels_of({"dog": 0.9}),
        hashes={"phash": 2**40 + 12345},
    )
    moved = await stage.ready_media()
    await annotate(stage, moved, 150)
    await embed(stage, moved)
    deleted, upload = await stage.ready_media(), (await stage.open_upload())["id"]
    await stage.client.delete(deleted)
    ids = {
        "id": media,
        "moved": moved,
        "upload": upload,
        "annotation": encode_id("Annotation", annotation["id"]),
        "deletion": encode_id("Deletion", uuid_of(deleted)),
    }
    others = [stage.service.client(None), stage.service.client("mod", roles=("moderator",))]
    async with profiled(stage.service) as scans:
        for query in QUERIES.values():
            given = {name: value for name, value in ids.items() if f"${name}:" in query}
            for client in (stage.client, *others):
                answer = await client.post(f"query Q{query}", **given)
                codes = {error["extensions"]["code"] for error in answer.get("errors", ())}
                assert codes <= ({"NOT_PERMITTED"} if client.token is None else set()), answer
    assert scans == []


async def test_no_mutation_scans_a_collection(stage: Stage) -> None:
    for scenario in SCENARIOS.values():
        given = await scenario.make(stage)
        key = uuid4().hex if scenario.mutation in KEYED else None
        async with profiled(stage.service) as scans:
            client = stage.service.client(stage.owner, roles=scenario.roles)
            answer = await send(client, scenario.mutation, given, key=key)
        assert answer["userErrors"] == []
        assert scans == [], scenario


async def test_no_job_scans_a_collection(stage: Stage) -> None:
    async with profiled(stage.service) as scans, stage.service.working():
        media = await stage.client.send(small_photo(77))
        await stage.client.wait_for_all_renditions(media)
        await stage.client.delete(media)
    assert scans == []
