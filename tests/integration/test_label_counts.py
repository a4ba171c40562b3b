"""Facets: which labels the media of a filter have, as far as the viewer may see them."""

from __future__ import annotations

from typing import Any

import pytest

from service import label_counts
from service.labels import labels_of
from service.models import NEAR_DUPLICATE
from tests.api_client import ApiClient
from tests.documents import ready_media
from tests.integration.conftest import RunningService

QUERY = """query Q($filter: MediaFilter, $first: Int) {
  labelCounts(filter: $filter, first: $first) { labels { label count } mediaCounted isComplete }
}"""


async def counted(client: ApiClient, **variables: Any) -> tuple[dict[str, int], int, bool]:
    counts = (await client.run(QUERY, **variables))["labelCounts"]
    labels = {each["label"]: each["count"] for each in counts["labels"]}
    assert list(labels.values()) == sorted(labels.values(), reverse=True)
    return labels, counts["mediaCounted"], counts["isComplete"]


@pytest.fixture
async def labelled(service: RunningService) -> RunningService:
    """Of anna's media four are public; every picture has a dog, and some a cat or a likeness to another."""
    await service.runtime.database.media.delete_many({})
    await service.runtime.database.media.insert_many(
        [
            *(ready_media(labels=labels_of({"dog": 0.9, "cat": 0.2 * number})) for number in range(4)),
            ready_media(labels=labels_of({"dog": 0.4, NEAR_DUPLICATE: 1.0}), visibility="PRIVATE"),
            ready_media(labels=labels_of({"dog": 0.4, "boot": 0.4}), owner_id="bert", visibility="PRIVATE"),
            ready_media(labels=labels_of({"dog": 0.4}), status="DELETED"),
            ready_media(labels=[], purpose="PROFILE"),
            ready_media(labels=labels_of({"dog": 0.7, NEAR_DUPLICATE: 1.0}), owner_id="bert", purpose="PROFILE"),
        ]
    )
    return service


async def test_each_counts_what_the_viewer_may_see(labelled: RunningService) -> None:
    anybody, anna, bert = (labelled.client(subject) for subject in (None, "anna", "bert"))
    moderator = labelled.client("mod", roles=("moderator",))
    assert await counted(anybody) == ({"dog": 5, "cat": 4}, 6, True)
    assert await counted(anna) == ({"dog": 6, "cat": 4, NEAR_DUPLICATE: 1}, 7, True)
    assert await counted(bert) == ({"dog": 6, "cat": 4, "boot": 1, NEAR_DUPLICATE: 1}, 7, True)
    assert await counted(moderator) == ({"dog": 7, "cat": 4, NEAR_DUPLICATE: 2, "boot": 1}, 8, True)


async def test_a_filter_narrows_what_is_counted(labelled: RunningService) -> None:
    anybody, anna = labelled.client(None), labelled.client("anna")
    assert await counted(anybody, filter={"label": "cat", "minConfidence": 0.35}) == ({"cat": 2, "dog": 2}, 2, True)
    assert await counted(anybody, filter={"purpose": "PROFILE"}, first=1) == ({"dog": 1}, 2, True)
    assert await counted(anna, filter={"label": NEAR_DUPLICATE}) == ({"dog": 1, NEAR_DUPLICATE: 1}, 1, True)
    assert await counted(anybody, filter={"label": NEAR_DUPLICATE}) == ({}, 0, True), (
        "nobody learns of others' likeness"
    )


async def test_what_goes_beyond_the_newest_is_told(labelled: RunningService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_counts, "MAX_COUNTED", 2)
    assert await counted(labelled.client(None)) == ({"dog": 1}, 2, False)


@pytest.mark.parametrize("first", [0, -1, 101])
async def test_impossible_numbers_of_labels_are_refused(labelled: RunningService, first: int) -> None:
    answer = await labelled.client(None).post(QUERY, first=first)
    assert answer["errors"][0]["extensions"]["code"] == "INVALID_INPUT"
