"""What annotateMedia and deleteAnnotations refuse: each thing that is wrong by its place, and nothing is written."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from schema.global_id import encode_id
from service.settings import Settings
from tests.integration.annotation_stand import ANNA, ANNOTATE, AnnotationStand, annotation_stand, many, said

BOX = {"x": 0.1, "y": 0.2, "width": 0.5, "height": 0.8}


@pytest.fixture(scope="module")
async def stand(settings: Settings) -> AsyncIterator[AnnotationStand]:
    async with annotation_stand(settings) as opened:
        yield opened


NAN_AND_THE_LIKE = [float("nan"), float("inf"), float("-inf"), 1e999]


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"annotations": []}, None),
        ({"annotations": said("")}, ["annotations", "0", "label"]),
        ({"annotations": said("  ")}, ["annotations", "0", "label"]),
        ({"annotations": said("x" * 201)}, ["annotations", "0", "label"]),
        *(
            ({"annotations": said("ok", label)}, ["annotations", "1", "label"])
            for label in (
                *("a\0b", "a\nb", "a\tb", "a\x7fb", "a\x85b", "a\u2028b", "a\u202eb", "\u200b", "\ufeff"),
                *("c\u200dat", "\u200d", "\u0915\u094d\u200d", "\u0915\u094d\u200d\u200d\u0937"),
            )
        ),
        ({"annotations": said("cat", "dog", confidence=1.01)}, ["annotations", "0", "confidence"]),
        ({"annotations": said("cat", confidence=-0.01)}, ["annotations", "0", "confidence"]),
        ({"annotations": [{"label": "cat", "text": "x" * 2_001}]}, ["annotations", "0", "text"]),
        ({"annotations": many(1_001)}, ["annotations"]),
        ({"source": "user:"}, ["source"]),
        ({"source": "model:detector"}, ["source"]),
        ({"source": "model:@1"}, ["source"]),
        ({"source": "model:detector@"}, ["source"]),
        ({"source": "detector"}, ["source"]),
        ({"source": "model:detec\u200btor@1"}, ["source"]),
        ({"source": "user:" + "x" * 200}, ["source"]),
        *(
            ({"annotations": [*said("ok"), {"label": "cat", "boundingBox": {**BOX, **wrong}}]}, field)
            for wrong, field in (
                ({"x": -0.01}, ["annotations", "1", "boundingBox", "x"]),
                ({"width": 0}, ["annotations", "1", "boundingBox", "width"]),
                ({"height": 1.5}, ["annotations", "1", "boundingBox", "height"]),
                ({"x": 0.6}, ["annotations", "1", "boundingBox"]),
                ({"y": 0.3}, ["annotations", "1", "boundingBox"]),
            )
        ),
    ],
)
async def test_what_cannot_be_is_refused_by_its_place(
    stand: AnnotationStand, given: dict[str, Any], field: list[str] | None
) -> None:
    media_id = await stand.add()
    before = await stand.media(media_id)
    payload = await stand.annotate(ANNA, media_id, **{"annotations": said("cat"), **given})
    error = payload["userErrors"][0]
    assert (error["code"], error["field"], error["retryable"]) == ("INVALID_INPUT", field, False)
    assert payload["annotations"] == []
    assert await stand.media(media_id) == before


@pytest.mark.parametrize(
    "label",
    [
        pytest.param("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", id="Persian"),
        pytest.param("\u0915\u094d\u200d\u0937", id="Hindi"),
        pytest.param("\U0001f469\U0001f3fd\u200d\U0001f373", id="a cook"),
    ],
)
async def test_joiners_stay_where_they_are_part_of_a_word(stand: AnnotationStand, label: str) -> None:
    media_id = await stand.add()
    await stand.annotate(ANNA, media_id, annotations=said(label))
    assert [each["label"] for each in await stand.listed(ANNA, media_id)] == [label]


async def test_what_reads_the_same_is_one_label_and_one_source(stand: AnnotationStand) -> None:
    """However an "e with an accent" is sent, as one character or as two."""
    media_id = await stand.add()
    for spelling in ("caf\u00e9", "cafe\u0301"):
        source = f"model:{spelling}@1"
        await stand.annotate(ANNA, media_id, source=source, replace=True, annotations=said(spelling))
        assert len(await stand.listed(ANNA, media_id, label=spelling)) == 1
    [only] = await stand.listed(ANNA, media_id)
    assert (only["label"], only["source"]) == ("caf\u00e9", "model:caf\u00e9@1")
    [summary] = (await stand.media(media_id))["labels"]
    assert summary["label"] == "caf\u00e9"
    found = """query ($label: String!) { mediaList(filter: {label: $label, ownerId: "anna"}) { nodes { id } } }"""
    for spelling in ("caf\u00e9", "cafe\u0301"):
        nodes = (await stand.run(found, ANNA, label=spelling))["mediaList"]["nodes"]
        assert encode_id("Media", media_id) in [each["id"] for each in nodes]


async def test_a_box_may_end_a_hair_outside(stand: AnnotationStand) -> None:
    box = {"x": 0.1, "y": 0.7, "width": 0.9 + 1e-9, "height": 0.3}
    payload = await stand.annotate(ANNA, await stand.add(), annotations=[{"label": "cat", "boundingBox": box}])
    assert payload["userErrors"] == []


@pytest.mark.parametrize("wrong", NAN_AND_THE_LIKE)
@pytest.mark.parametrize("place", ["confidence", "x", "width"])
async def test_what_is_no_number_is_refused(stand: AnnotationStand, place: str, wrong: float) -> None:
    media_id = await stand.add()
    before = await stand.media(media_id)
    given = {"label": "cat", "boundingBox": {**BOX, place: wrong}} if place in BOX else {"label": "cat", place: wrong}
    asked = {"idempotencyKey": "nan", "mediaId": encode_id("Media", media_id), "source": "user:anna"}
    result = await stand.post(ANNOTATE, ANNA, input={**asked, "annotations": [given]})
    assert result.errors or result.data["annotateMedia"]["userErrors"]
    assert await stand.media(media_id) == before


async def test_all_that_is_wrong_is_told_up_to_five(stand: AnnotationStand) -> None:
    media_id = await stand.add()
    wrong = [
        *said("ok"),
        *said("", confidence=2),
        *said("ok"),
        {"label": "cat", "boundingBox": {**BOX, "width": -1}},
        *said("cat", "cat", "cat", confidence=7),
    ]
    errors = (await stand.annotate(ANNA, media_id, annotations=wrong))["userErrors"]
    assert [error["field"] for error in errors] == [
        ["annotations", "1", "label"],
        ["annotations", "1", "confidence"],
        ["annotations", "3", "boundingBox", "width"],
        ["annotations", "4", "confidence"],
        ["annotations", "5", "confidence"],
    ]
    assert {error["message"] for error in errors[1::2]} >= {"confidence must be 1 or less."}


@pytest.mark.parametrize("ids", [[], ["x"] * 1_001])
async def test_none_and_too_many_are_not_taken_back(stand: AnnotationStand, ids: list[str]) -> None:
    [error] = (await stand.take_back(ANNA, ids))["userErrors"]
    assert (error["code"], error["field"]) == ("INVALID_INPUT", ["ids"])
