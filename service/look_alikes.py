"""Look-alikes: media whose perceptual hash is within a distance of another's. Exact duplicates are another matter."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final, Protocol
from uuid import UUID

from service.errors import InvalidInput
from service.perceptual_hash import MAX_DISTANCE, TRANSFORMS, Transform, derived, distance, is_telling
from service.stores.look_alikes import LookAlikeStore
from service.stores.media_lists import MAX_STRETCHES
from service.stores.media_reads import AccessFilters

MAX_PAGE: Final = 100

# Hashes that are asked for at once, and the media that are taken at once: beyond, distance by distance.
_HASHES_AT_ONCE: Final = MAX_STRETCHES
_MEDIA_AT_ONCE: Final = 500

# What is looked for: the hash of the picture, and where asked for, those of its transforms.
Asked = Mapping[Transform, int]


class HashSearch(Protocol):
    """Knows all telling hashes that are stored: the database, or this process' memory."""

    async def hashes_near(self, asked: Collection[int], max_distance: int) -> set[int]:
        """The stored hashes within `max_distance` bits of any of `asked`, whoever may see the media that have them."""


@dataclass(frozen=True, slots=True)
class LookAlike:
    """A media that looks like what was asked for, once that is turned by `transform`; `distance` is in bits."""

    media_id: UUID
    distance: int
    transform: Transform


def asked_of_hash(value: int, *, include_transformed: bool) -> Asked:
    """What to look for, given a stored hash and nothing else. Empty if it tells nothing."""
    wanted = tuple(Transform) if include_transformed else (Transform.IDENTITY,)
    return {transform: derived(value, transform) for transform in wanted} if is_telling(value) else {}


def asked_of_media(hashes: Mapping[str, Any] | None, *, include_transformed: bool) -> Asked:
    """What to look for, given the `hashes` of a media's document. Empty if they tell nothing."""
    value = (hashes or {}).get("phash")
    if value is None:
        return {}
    asked = asked_of_hash(value, include_transformed=include_transformed)
    known = (hashes or {}).get("transformed") or ()
    if not asked or not include_transformed or len(known) != len(TRANSFORMS):
        return asked
    return {Transform.IDENTITY: value, **dict(zip(TRANSFORMS, known, strict=True))}


async def find_look_alikes(
    asked: Asked,
    *,
    search: HashSearch,
    store: LookAlikeStore,
    access: AccessFilters,
    max_distance: int,
    first: int,
    besides: UUID | None = None,
) -> Sequence[LookAlike]:
    """Media within `max_distance` bits of what is asked that `access` lets through, nearest first, then newest first.

    None within the distance is missed, but for flat pictures, whose hashes tell nothing. At most `first`, without
    `besides`. Raises InvalidInput, TemporarilyUnavailable.
    """
    _check(max_distance, first)
    if not asked:
        return []
    near = await search.hashes_near(tuple(asked.values()), max_distance)
    ranks = {value: _rank(asked, value) for value in near}
    wanted = first if besides is None else first + 1
    found: list[LookAlike] = []
    for group in _nearest_first(ranks):
        rows = await store.newest_with(group, access=access, limit=_MEDIA_AT_ONCE)
        if len(rows) == _MEDIA_AT_ONCE:
            rows = await _by_distance(group, ranks, store=store, access=access, limit=wanted)
        found += [LookAlike(media_id, *ranks[value]) for media_id, value in rows if media_id != besides]
        if len(found) >= first:
            break
    # Ids are UUIDv7: their order is time's.
    return sorted(found, key=lambda each: (each.distance, -each.media_id.int))[:first]


def _check(max_distance: int, first: int) -> None:
    if not 0 <= max_distance <= MAX_DISTANCE:
        message = f"`maxDistance` must be 0 to {MAX_DISTANCE} bits: beyond, other pictures are as near as copies."
        raise InvalidInput(message, field=["maxDistance"])
    if not 1 <= first <= MAX_PAGE:
        raise InvalidInput(f"`first` must be 1 to {MAX_PAGE}.", field=["first"])


def _rank(asked: Asked, value: int) -> tuple[int, Transform]:
    """How near `value` is, and by which transform: the first of the nearest."""
    return min(((distance(value, each), transform) for transform, each in asked.items()), key=lambda rank: rank[0])


def _nearest_first(ranks: Mapping[int, tuple[int, Transform]]) -> Iterator[list[int]]:
    """All hashes by distance: whole distances, as many of them together as stay within _HASHES_AT_ONCE."""
    group: list[int] = []
    for _, equally_far in groupby(sorted(ranks, key=lambda value: ranks[value][0]), lambda value: ranks[value][0]):
        hashes = list(equally_far)
        if group and len(group) + len(hashes) > _HASHES_AT_ONCE:
            yield group
            group = []
        group += hashes
    if group:
        yield group


async def _by_distance(
    group: Sequence[int],
    ranks: Mapping[int, tuple[int, Transform]],
    *,
    store: LookAlikeStore,
    access: AccessFilters,
    limit: int,
) -> list[tuple[UUID, int]]:
    """The nearest `limit` media with these hashes, where there are too many to take them all."""
    found: list[tuple[UUID, int]] = []
    for _, equally_far in groupby(group, lambda value: ranks[value][0]):
        found += await store.newest_with(list(equally_far), access=access, limit=limit - len(found))
        if len(found) >= limit:
            break
    return found
