"""What CloudFront is asked to forget for some objects, in as few items as its quotas have room for. Pure."""

from __future__ import annotations

import enum
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import UUID

from service.distribution import cache_tag
from service.object_keys import media_of_rendition

if TYPE_CHECKING:
    from service.stores.invalidations import InvalidationDocument

# On their way at once, for one distribution; a tag counts as a path:
# https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/InvalidationLimits.html
MAX_PATHS: Final = 3_000
MAX_WILDCARDS: Final = 15
_WILDCARD: Final = "*"


class By(enum.Flag):
    """How renditions are named to CloudFront; both ways, while it holds some that it cached without their tags."""

    PATH = enum.auto()
    TAG = enum.auto()


@dataclass(frozen=True, slots=True)
class Room:
    """How many items CloudFront would still take now; of those, how many with a wildcard."""

    paths: int = MAX_PATHS
    wildcards: int = MAX_WILDCARDS

    def without(self, items: Iterable[str]) -> Room:
        """What is left of it beside `items`; negative where they do not fit."""
        given = list(items)
        return Room(self.paths - len(given), self.wildcards - sum(item.endswith(_WILDCARD) for item in given))

    @property
    def is_overdrawn(self) -> bool:
        return self.paths < 0 or self.wildcards < 0


def fitting(requests: Sequence[InvalidationDocument], room: Room, *, by: By) -> list[str]:
    """The ids of as many `requests` as there is room for, in their order: none overtakes one that needs more room."""
    chosen: list[str] = []
    for request, left in _spend(requests, room, {}, by=by):
        if left.is_overdrawn:
            break
        chosen.append(request["_id"])
    return chosen


def cover(requests: Sequence[InvalidationDocument], room: Room, *, by: By) -> list[str]:
    """The items that stand for all of `requests`, whether or not there is room for them; each once."""
    items: dict[str, None] = {}
    for _ in _spend(requests, room, items, by=by):
        pass
    return list(items)


def _spend(
    requests: Sequence[InvalidationDocument], room: Room, items: dict[str, None], *, by: By
) -> Iterator[tuple[InvalidationDocument, Room]]:
    """Add what each request needs to `items`, and tell what room is left beside all until then."""
    for request in requests:
        more = [item for item in items_of(request, room, by=by) if item not in items]
        room = room.without(more)
        items |= dict.fromkeys(more)
        yield request, room


def items_of(request: InvalidationDocument, room: Room, *, by: By) -> list[str]:
    """The items of one request: its media's tag for all renditions, or paths, those of a folder as one if that is less.

    Where `room` has no wildcards left, a folder's paths are listed one by one. Originals are listed in any case: their
    uploaders wrote them, without tags.
    """
    renditions = [key for key in request["keys"] if media_of_rendition(key) is not None]
    tags = _tags([request["media_id"]] if renditions and By.TAG in by else [])
    items = [*tags, *(f"/{key}" for key in request["keys"] if media_of_rendition(key) is None)]
    return [*items, *_paths(renditions, room)] if By.PATH in by else items


def _paths(renditions: Iterable[str], room: Room) -> Iterator[str]:
    wildcards = room.wildcards
    for folder, keys in _by_folder(renditions).items():
        if len(keys) > 1 and wildcards > 0:
            wildcards -= 1
            yield f"/{folder}/{_WILDCARD}"
        else:
            yield from (f"/{key}" for key in keys)


def _tags(media_ids: Iterable[UUID]) -> list[str]:
    # https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/invalidation-specifying-tags.html
    return [f"#{cache_tag(media_id)}" for media_id in media_ids]


def _by_folder(keys: Iterable[str]) -> dict[str, list[str]]:
    folders = defaultdict(list)
    for key in keys:
        folders[key.rpartition("/")[0]].append(key)
    return folders
