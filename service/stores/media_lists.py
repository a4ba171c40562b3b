"""Which index serves a list of media, in order; and which lists none does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Final

from service.errors import InvalidInput
from service.lifecycle import MediaStatus
from service.models import MediaPurpose, Visibility
from service.stores.restriction import restrict

# MongoDB reads so many stretches of an index side by side and merges them in order (internalQueryMaxScansToExplode is
# 200); of more it gathers everything and sorts it in memory.
MAX_STRETCHES: Final = 190

# What lies together because somebody put it there.
_TOGETHER: Final = {"capture_id": "captured", "subject.id": "of_subject", "album_ids": "in_album"}

# What every index names before `_id`, so that each of its stretches is in order; all values, where none is asked for.
_EVERY: Final[Mapping[str, Sequence[str]]] = {
    "purpose": sorted(purpose.value for purpose in MediaPurpose),
    "status": sorted(status.value for status in MediaStatus),
    "visibility": sorted(visibility.value for visibility in Visibility),
}
_GRANTED: Final = ("status", "visibility")


@dataclass(frozen=True, slots=True)
class Read:
    """One query and the index that it is read from, in order.

    `looks_through`: there is more in the query than in the index, and it is looked for in what the index holds.
    """

    query: dict[str, Any]
    index: str
    looks_through: bool = False


def plan_list(query: Mapping[str, Any], access: Sequence[Mapping[str, Any]]) -> list[Read]:
    """What to read, newest first, for the media that match `query` and that `access` lets through.

    Several reads may find the same media; of their results, merged, the newest are the page. An empty list: there can
    be none. Raises InvalidInput where no index holds all that is asked: the database would have to look through
    everybody's media for a few.
    """
    narrowed = restrict(query, access)
    return [] if narrowed is None else [_read(branch) for branch in _branches(narrowed)]


def _branches(narrowed: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    common = {path: condition for path, condition in narrowed.items() if path != "$or"}
    for branch in narrowed.get("$or", [{}]):
        yield {**common, **branch}


def _read(query: dict[str, Any]) -> Read:
    for path, index in _TOGETHER.items():
        if path in query:
            rest = {"owner_id", "purpose", "kind", "tags", "labels", *_TOGETHER} - {path}
            # Whose they are, these indexes say after `_id`: others' media are passed over, but not read.
            return Read(_filled(query, _GRANTED), index, looks_through=bool(rest & query.keys()))
    return _of_one_owner(query) if "owner_id" in query else _of_everybody(query)


def _of_one_owner(query: dict[str, Any]) -> Read:
    """Whatever no index holds is looked for among one person's media."""
    tags = len(query["tags"]["$all"]) if "tags" in query else 0
    for path, index, is_all in (("labels", "owner_labels", not tags), ("tags", "owner_tags", tags == 1)):
        if path in query:
            looks_through = not is_all or bool({"purpose", "kind"} & query.keys())
            return Read(_filled(query, _GRANTED), index, looks_through)
    names = ("purpose", *_GRANTED) if "purpose" in query else _GRANTED
    index = "owner_by_purpose" if "purpose" in query else "owner_newest"
    return Read(_filled(query, names), index, looks_through="kind" in query)


def _of_everybody(query: dict[str, Any]) -> Read:
    asked = sorted({"labels", "tags", "kind"} & query.keys())
    if not asked:
        is_one = "purpose" in query
        return Read(_filled(query, ("purpose", *_GRANTED) if is_one else _GRANTED), "feed" if is_one else "recent")
    if len(asked) > 1 or ("tags" in query and len(query["tags"]["$all"]) > 1):
        names = {"labels": "`label`", "kind": "`kind`", "tags": "`tags`"}
        what = " and ".join(names[path] for path in asked) + " together" if len(asked) > 1 else "Several `tags`"
        raise _too_wide(f"{what} cannot be looked for among everybody's media")
    query = _filled(query, tuple(_EVERY))
    if _stretches(query) > MAX_STRETCHES:
        raise _too_wide("All statuses of all purposes cannot be looked through at once: give `purpose` or `status`")
    return Read(query, {"labels": "labels", "tags": "tags_by_purpose", "kind": "kinds"}[asked[0]])


def _filled(query: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {**{name: {"$in": list(_EVERY[name])} for name in names if name not in query}, **query}


def _stretches(query: Mapping[str, Any]) -> int:
    conditions = [query[name] for name in _EVERY]
    if "labels" in query:
        conditions.append(query["labels"]["$elemMatch"]["step"])
    return prod(len(condition["$in"]) for condition in conditions if isinstance(condition, Mapping))


def _too_wide(reason: str) -> InvalidInput:
    return InvalidInput(
        f"{reason}. Add `ownerId`, `captureId`, `subject` or `albumId`: within these everything may be combined.",
        field=["filter"],
    )
