"""What is asked of the API: each kind of search and list, with other values each time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final
from uuid import UUID

import numpy as np

from benchmarks.search.hashes import flipped, fresh_hashes
from benchmarks.search.loading import Population
from benchmarks.search.population import MOVED_EVERY, SUBJECTS, label_name, owner_name, subject_id, tag_name
from schema.cursors import encode_cursor
from schema.global_id import encode_id
from service.label_counts import MAX_COUNTED
from service.perceptual_hash import from_stored, is_telling

DISTANCES: Final = (3, 6, 8, 10)
FIRST: Final = 20
# The signed-in viewer who asks: also looks through media of their own, of which there are a few.
VIEWER: Final = 5_000

_CARD: Final = (
    "id title createdAt width height thumbhash renditions(names: [FEED], formats: [JPEG]) { width height url }"
)
_PAGE: Final = f"{{ nodes {{ {_CARD} }} pageInfo {{ hasNextPage endCursor }} }}"
_LIST: Final = f"query($filter: MediaFilter) {{ mediaList(filter: $filter, first: {FIRST}) {_PAGE} }}"
_FEED: Final = f"query($after: String) {{ feed(purpose: COMMUNITY, first: {FIRST}, after: $after) {_PAGE} }}"
_RARER_FEED: Final = _FEED.replace("COMMUNITY", "COVER")
_SIMILAR_MEDIA: Final = (
    "query($hash: PerceptualHash!, $distance: Int!, $first: Int!) {"
    " similarMedia(perceptualHash: $hash, maxDistance: $distance, first: $first) { distance media { id } } }"
)
_SIMILAR: Final = (
    f"query($id: ID!) {{ media(id: $id) {{ similar(maxDistance: 6) {{ distance media {{ {_CARD} }} }} }} }}"
)
_ANNOTATIONS: Final = (
    "query($id: ID!) { media(id: $id) { annotations(first: 50)"
    " { nodes { id label confidence source } pageInfo { hasNextPage } } } }"
)
_COUNTS: Final = (
    "query($filter: MediaFilter) { labelCounts(filter: $filter) { labels { label count } mediaCounted isComplete } }"
)

Variables = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Question:
    """`asked`: the variables of each time it is asked."""

    name: str
    title: str
    query: str
    asked: Sequence[Variables]


@dataclass(frozen=True, slots=True)
class Asked:
    """A hash that look-alikes are asked for, and how far they may be."""

    stored: int
    distance: int

    def variables(self, first: int) -> Variables:
        """For `similarMedia`."""
        return {"hash": from_stored(self.stored), "distance": self.distance, "first": first}


def asked_hashes(population: Population, count: int) -> list[int]:
    """Half of them near to what is there, one to four bits away on either side of the median; half of new pictures."""
    there = np.flatnonzero(population.is_telling)
    chosen = population.hashes[np.random.default_rng(1).choice(there, count)]
    near = flipped(chosen, 1, seed=2)
    near[::2] = flipped(chosen[::2], 2, seed=3)
    mixed = [each for pair in zip(near.tolist(), fresh_hashes(count, seed=4).tolist(), strict=True) for each in pair]
    return [each for each in mixed if is_telling(each)][:count]


def look_alikes(population: Population, times: int) -> list[Question]:
    """`similarMedia` at each distance."""
    hashes = asked_hashes(population, times)
    return [
        Question(
            f"similar_{distance}",
            f"Look-alikes within {distance}",
            _SIMILAR_MEDIA,
            [Asked(each, distance).variables(FIRST) for each in hashes],
        )
        for distance in DISTANCES
    ]


def exact_look_alikes(population: Population, distance: int, times: int) -> tuple[str, list[Asked]]:
    """The query and what to ask, to be compared with brute force: half of it where very many look alike."""
    half = times // 2
    hashes = [*crowded_hashes(population, half), *asked_hashes(population, times - half)]
    return _SIMILAR_MEDIA, [Asked(each, distance) for each in hashes]


def crowded_hashes(population: Population, count: int) -> list[int]:
    """Hashes out of the largest clusters, a cluster each, flat ones left out; every other one two bits away."""
    there = population.hashes[population.is_telling]
    values, often = np.unique(there, return_counts=True)
    chosen: list[int] = []
    # The most frequent hash of a cluster is that of what was posted first.
    for value in values[np.argsort(-often, kind="stable")].tolist():
        if all((value ^ each).bit_count() > max(DISTANCES) for each in chosen):
            chosen.append(value)
        if len(chosen) == count:
            break
    moved = flipped(np.array(chosen, np.int64), 1, seed=5).tolist()
    return [
        other if place % 2 and is_telling(other) else each
        for place, (each, other) in enumerate(zip(chosen, moved, strict=True))
    ]


def _later(cursors: Sequence[UUID], times: int) -> list[Variables]:
    return [{"after": encode_cursor(each)} for each in cursors[:times]]


def lists(population: Population, cursors: Sequence[UUID], times: int) -> list[Question]:
    """Every other kind. `cursors`: media at about page 1,000 of the feed."""
    random = Random(8)
    owners = population.owners.tolist()
    moved = range(0, len(owners), MOVED_EVERY)
    telling = np.flatnonzero(population.is_telling & population.is_public).tolist()

    def many(make: Callable[[], Variables]) -> list[Variables]:
        return [make() for _ in range(times)]

    def narrowed(**condition: Any) -> Variables:
        return {"filter": condition}

    def media(number: int) -> Variables:
        return {"id": encode_id("Media", UUID(bytes=population.ids[number].tobytes()))}

    return [
        Question("feed_1", "Feed, page 1", _FEED, many(lambda: {"after": None})),
        Question("feed_1000", "Feed, page 1,000", _FEED, _later(cursors, times)),
        Question("feed_rare", "Feed of a rare purpose, from the middle", _RARER_FEED, _later(cursors, times)),
        Question("owner", "Owner's list", _LIST, many(lambda: narrowed(ownerId=owner_name(random.choice(owners))))),
        Question(
            "celebrity",
            "Owner's list, the ten with most",
            _LIST,
            many(lambda: narrowed(ownerId=owner_name(random.randrange(10)))),
        ),
        Question(
            "subject",
            "Subject's list",
            _LIST,
            many(lambda: narrowed(subject={"type": "trail", "id": subject_id(int(SUBJECTS * random.random() ** 2))})),
        ),
        Question("tag", "Tag, of everybody", _LIST, many(lambda: narrowed(tags=[tag_name(random.randrange(200))]))),
        Question(
            "label",
            "Label, confidence 0.75 or more",
            _LIST,
            many(lambda: narrowed(label=label_name(random.randrange(20)), minConfidence=0.75)),
        ),
        Question(
            "rare_label",
            "Rare label, confidence 0.9 or more",
            _LIST,
            many(lambda: narrowed(label=label_name(random.randrange(500, 1_000)), minConfidence=0.9)),
        ),
        Question("similar", "`similar` of one media, within 6", _SIMILAR, many(lambda: media(random.choice(telling)))),
        Question("annotations", "50 annotations, embedded", _ANNOTATIONS, many(lambda: media(random.choice(telling)))),
        Question("moved", "50 annotations, moved", _ANNOTATIONS, many(lambda: media(random.choice(moved)))),
        Question(
            "owner_counts",
            "Label counts of an owner",
            _COUNTS,
            many(lambda: narrowed(ownerId=owner_name(random.choice(owners)))),
        ),
        Question(
            "feed_counts",
            f"Label counts of the newest {MAX_COUNTED:,} of a purpose",
            _COUNTS,
            many(lambda: narrowed(purpose="COMMUNITY", status=["READY"]))[: max(times // 10, 3)],
        ),
    ]
