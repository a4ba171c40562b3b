"""Annotations in answers: who sees which, in what order, page by page and by id."""

from __future__ import annotations

import base64
import struct
from typing import Any
from uuid import UUID, uuid4

import pytest

from schema.global_id import encode_id
from service.access import ANONYMOUS, MODERATOR_ROLE, Viewer
from service.documents import MediaDocument
from tests.documents import MOMENT, ready_media
from tests.unit.conftest import Library

ANNA, BERT = Viewer("anna"), Viewer("bert")
MODERATOR = Viewer("mod", frozenset({MODERATOR_ROLE}))
EVERYBODY = (ANNA, BERT, ANONYMOUS, MODERATOR)
TWIN = uuid4()

ALL = "query Q($id: ID!) { media(id: $id) { annotations { nodes { label confidence text source } } } }"


def annotation(label: str, confidence: float, **changed: Any) -> dict[str, Any]:
    return {
        "id": uuid4(),
        "label": label,
        "confidence": confidence,
        "bounding_box": None,
        "text": None,
        "source": "model:food-label@1",
        "created_at": MOMENT,
        **changed,
    }


def annotated(**changed: Any) -> MediaDocument:
    """A line, a fact, what a person said, and a near-duplicate."""
    box = {"x": 0.1, "y": 0.2, "width": 0.3, "height": 0.05}
    return ready_media(
        annotations=[
            annotation("text", 0.5, text="Fat 3.5 g", bounding_box=box),
            annotation("nutrition:fat_g", 0.9, text="3.5 g per 100 g", bounding_box=box),
            annotation("cat", 1.0, source="user:anna"),
            annotation("near-duplicate", 0.95, text=str(TWIN), source="model:near-duplicate@1"),
        ],
        **changed,
    )


async def labels(library: Library, media: MediaDocument, viewer: Viewer, arguments: str) -> list[str]:
    query = f"query Q($id: ID!) {{ media(id: $id) {{ annotations({arguments}) {{ nodes {{ label }} }} }} }}"
    data = await library.run(query, viewer, id=encode_id("Media", media["_id"]))
    return [node["label"] for node in data["media"]["annotations"]["nodes"]]


async def test_the_surest_come_first_and_near_duplicates_are_for_the_owner(library: Library) -> None:
    await library.add(media := annotated())
    asked = encode_id("Media", media["_id"])
    everything = (await library.run(ALL, ANNA, id=asked))["media"]["annotations"]["nodes"]
    assert everything == [
        {"label": "cat", "confidence": 1.0, "text": None, "source": "user:anna"},
        {
            "label": "near-duplicate",
            "confidence": 0.95,
            "text": encode_id("Media", TWIN),
            "source": "model:near-duplicate@1",
        },
        {"label": "nutrition:fat_g", "confidence": 0.9, "text": "3.5 g per 100 g", "source": "model:food-label@1"},
        {"label": "text", "confidence": 0.5, "text": "Fat 3.5 g", "source": "model:food-label@1"},
    ]
    assert (await library.run(ALL, MODERATOR, id=asked))["media"]["annotations"]["nodes"] == everything
    for viewer in (BERT, ANONYMOUS):
        shown = (await library.run(ALL, viewer, id=asked))["media"]["annotations"]["nodes"]
        assert shown == [each for each in everything if each["label"] != "near-duplicate"]


async def test_a_private_media_shows_nothing_to_strangers(library: Library) -> None:
    await library.add(media := annotated(visibility="PRIVATE"))
    nodes = "query Q($ids: [ID!]!) { nodes(ids: $ids) { id } }"
    ids = [encode_id("Annotation", each["id"]) for each in media["annotations"]]
    for viewer in (BERT, ANONYMOUS):
        assert (await library.run(ALL, viewer, id=encode_id("Media", media["_id"])))["media"] is None
        assert (await library.run(nodes, viewer, ids=ids))["nodes"] == [None] * 4
    for viewer in (ANNA, MODERATOR):
        assert [node["id"] for node in (await library.run(nodes, viewer, ids=ids))["nodes"]] == ids


async def test_an_annotation_is_a_node(library: Library) -> None:
    await library.add(media := annotated(), annotated())
    fact, twin = media["annotations"][1], media["annotations"][3]
    query = """query Q($id: ID!) { node(id: $id) { __typename id
      ... on Annotation { label createdAt boundingBox { x y width height } } } }"""
    for viewer in EVERYBODY:
        assert (await library.run(query, viewer, id=encode_id("Annotation", fact["id"])))["node"] == {
            "__typename": "Annotation",
            "id": encode_id("Annotation", fact["id"]),
            "label": "nutrition:fat_g",
            "createdAt": "2026-03-01T12:00:00.000Z",
            "boundingBox": fact["bounding_box"],
        }
    for viewer in (BERT, ANONYMOUS):
        assert (await library.run(query, viewer, id=encode_id("Annotation", twin["id"])))["node"] is None
    assert (await library.run(query, ANNA, id=encode_id("Annotation", twin["id"])))["node"] is not None
    for unknown in (uuid4(), media["_id"]):
        assert (await library.run(query, ANNA, id=encode_id("Annotation", unknown)))["node"] is None


async def test_filters(library: Library) -> None:
    await library.add(media := annotated())
    assert await labels(library, media, BERT, 'label: "text"') == ["text"]
    assert await labels(library, media, BERT, "minConfidence: 0.9") == ["cat", "nutrition:fat_g"]
    assert await labels(library, media, BERT, 'source: "user:anna"') == ["cat"]
    assert await labels(library, media, BERT, 'label: "text", minConfidence: 0.6') == []
    assert await labels(library, media, BERT, 'label: "near-duplicate"') == []


async def test_pages_meet_without_a_gap_also_where_confidences_are_equal(library: Library) -> None:
    media = ready_media(annotations=[annotation(f"l{n}", 0.5 if n % 3 else 1 / 3) for n in range(25)])
    await library.add(media)
    query = """query Q($id: ID!, $after: String) { media(id: $id) { annotations(first: 4, after: $after) {
      edges { cursor node { label } } pageInfo { hasNextPage hasPreviousPage endCursor } } } }"""
    seen: list[str] = []
    after = None
    while True:
        data = await library.run(query, BERT, id=encode_id("Media", media["_id"]), after=after)
        page = data["media"]["annotations"]
        seen += [edge["node"]["label"] for edge in page["edges"]]
        assert page["pageInfo"]["hasPreviousPage"] is (after is not None)
        after = page["pageInfo"]["endCursor"]
        assert after == page["edges"][-1]["cursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert sorted(seen) == sorted(each["label"] for each in media["annotations"])


@pytest.mark.parametrize(
    "arguments",
    [
        "first: 0",
        "first: 101",
        "first: -1",
        'after: ""',
        'after: "x"',
        'after: "bTEAAAAAAAAAAAAAAAAAAAAA"',
        f'after: "{base64.urlsafe_b64encode(b"a1" + struct.pack(">d16s", float("nan"), b"")).decode()}"',
        f'after: "{base64.urlsafe_b64encode(b"a1" + struct.pack(">d16s", 7.0, b"")).decode()}"',
    ],
)
async def test_pages_that_cannot_be_are_refused(library: Library, arguments: str) -> None:
    await library.add(media := annotated())
    query = f"query Q($id: ID!) {{ media(id: $id) {{ annotations({arguments}) {{ nodes {{ label }} }} }} }}"
    result = await library.post(query, BERT, id=encode_id("Media", media["_id"]))
    [error] = result.errors
    assert type(error.original_error).__name__ == "InvalidInput"


async def test_annotations_are_read_only_where_they_are_selected(library: Library) -> None:
    await library.add(media := annotated())
    asked = encode_id("Media", media["_id"])
    await library.run("query Q($id: ID!) { media(id: $id) { title } }", BERT, id=asked)
    await library.run("query Q($id: ID!) { media(id: $id) { annotations { nodes { id } } } }", BERT, id=asked)
    assert ["annotations" in projection for _, projection in library.media.finds] == [False, True]


async def test_a_media_without_annotations_has_an_empty_page(library: Library) -> None:
    await library.add(media := ready_media())
    assert await labels(library, media, BERT, "first: 1") == []


async def test_a_label_of_the_same_name_by_somebody_else_keeps_its_text(library: Library) -> None:
    mine = annotation("near-duplicate", 1.0, text="see my other album", source="user:anna")
    await library.add(media := ready_media(annotations=[mine]))
    data = await library.run(ALL, ANNA, id=encode_id("Media", media["_id"]))
    assert data["media"]["annotations"]["nodes"][0]["text"] == "see my other album"
    assert isinstance(mine["id"], UUID)
