"""What the benchmark of searches writes is such as the service stores, and what it says of costs adds up."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.search import scale
from benchmarks.search.hashes import FLAT, Hashes, flipped, realistic
from benchmarks.search.population import MOVED_EVERY, cast, search_document
from service.annotation_layout import MAX_EMBEDDED, MAX_LABELS
from service.labels import summarise
from service.perceptual_hash import bands_of, distance, is_telling

COUNT = 5_000


@pytest.fixture(scope="module")
def hashes() -> Hashes:
    return realistic(COUNT)


def documents() -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    who = cast(COUNT)
    numbers = [*range(0, COUNT, MOVED_EVERY), *range(1, 300)]
    return [search_document(each, int(who.owners[each]), int(who.hashes[each])) for each in numbers]


def test_hashes_are_those_of_pictures_and_come_in_clusters(hashes: Hashes) -> None:
    bits = np.bitwise_count(hashes.stored.view(np.uint64))
    telling = hashes.stored[(bits >= 16) & (bits <= 48)]

    assert (np.bitwise_count(telling.view(np.uint64)) == 32).all()
    assert len(telling) / COUNT == pytest.approx(1 - FLAT, abs=0.01)
    apart = np.bitwise_count(telling[:, None].view(np.uint64) ^ telling[None, :].view(np.uint64))
    near = (apart <= 10).sum(axis=1) - 1
    assert 0.3 < (near > 0).mean() < 0.9
    assert near.max() > 5 * near.mean()
    assert (realistic(COUNT).stored == hashes.stored).all()


def test_a_near_hash_is_as_far_as_was_asked(hashes: Hashes) -> None:
    asked = np.array([each for each in hashes.stored.tolist() if is_telling(each)][:100])

    for pairs in (1, 2, 5):
        found = flipped(asked, pairs, seed=1)
        assert {distance(*each) for each in zip(asked.tolist(), found.tolist(), strict=True)} == {2 * pairs}


def test_annotations_and_bands_are_stored_as_the_service_does() -> None:
    moved = 0
    for document, rows in documents():
        if document["status"] != "READY":
            assert "hashes" not in document
            continue
        assert document["hashes"].get("bands") == bands_of(document["hashes"]["phash"])
        held = document.get("annotations", rows)
        assert document.get("labels", []) == summarise(held)
        assert document.get("annotation_count", 0) == len(held)
        assert len(document.get("labels", [])) <= MAX_LABELS
        if rows:
            moved += 1
            [segment] = document["annotation_segments"]
            assert {row["segment"] for row in rows} == {segment["id"]}
            assert segment["count"] == len(rows) > MAX_EMBEDDED
    assert moved


def test_costs_follow_from_prices_and_sessions() -> None:
    prices = scale.Prices(cdn_gb=1, cdn_request=0.001, get=0.01)
    one = scale.Sessions("", shown_kb=500, from_device=0.5, missed=0.1, sessions=10, pages=2, pictures=10)

    assert (one.shown, one.fetched) == (200, 100)
    requests, transfer, storage, everything = scale.session_costs(one, prices)[-4:]
    assert (requests, transfer, storage, everything) == ("0.10", "0.05", "0.10", "0.25")
