"""Which index serves a list of media, in order; and which lists none does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Final

from service.errors import InvalidInput
from service.models import MediaPurpose
from service.stores.restriction import restrict

# What lies together because somebody put it there: few enough that whatever else is asked is looked for among them.
# Left alone, the planner may gather these through the viewer's grants and sort them in memory.
_TOGETHER: Final = {"capture_id": "capture", "subject.id": "subject", "album_ids": "albums"}

# MongoDB reads so many stretches of an index side by side and merges them in order (internalQueryMaxScansToExplode is
# 200); of more it gathers everything and sorts it in memory.
MAX_STRETCHES: Final = 190

_PURPOSES: Final = tuple(sorted(purpose.value for purpose in MediaPurpose))


@dataclass(frozen=True, slots=True)
class Read:
    """One query and the index that it is read from; None where the planner has no wrong choice."""

    query: dict[str, Any]
    index: str | None


def plan_list(query: Mapping[str, Any], access: Sequence[Mapping[str, Any]]) -> list[Read]:
    """What to read, newest first, for the media that match `query` and that `access` lets through.

    Several reads may find the same media; of their results, merged, the newest are the page. An empty list: there can
    be none. Raises InvalidInput where no index holds all that is asked: the database would have to look through
    everybody's media for a few.
    """
    narrowed = restrict(query, access)
    if narrowed is None:
        return []
    for path, index in _TOGETHER.items():
        if path in query:
            return [Read(narrowed, index)]
    branches = list(_branches(narrowed))
    if len(branches) > 1 and not {"labels", "tags", "kind"} & query.keys():
        return [Read(narrowed, None)]
    return [_of_one_owner(branch) if "owner_id" in branch else _of_everybody(branch) for branch in branches]


def _branches(narrowed: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    common = {path: condition for path, condition in narrowed.items() if path != "$or"}
    for branch in narrowed.get("$or", [{}]):
        yield {**common, **branch}


def _of_one_owner(query: dict[str, Any]) -> Read:
    """Whatever no index holds is looked for among one person's media."""
    if "labels" in query:
        return Read(query, "owner_labels")
    if "tags" in query:
        return Read(query, "owner_tags")
    return Read(query, "owner_feed" if "purpose" in query else "owner_recent")


def _of_everybody(query: dict[str, Any]) -> Read:
    asked = sorted({"labels", "tags", "kind"} & query.keys())
    if not asked:
        return Read(query, "feed" if "purpose" in query else "recent")
    if len(asked) > 1 or ("tags" in query and len(query["tags"]["$all"]) > 1):
        raise _too_wide("Of `label`, `kind` and `tags` with one tag, one can be asked of everybody's media")
    query = {"purpose": {"$in": list(_PURPOSES)}, **query}
    if _stretches(query) > MAX_STRETCHES:
        raise _too_wide("So many statuses and purposes cannot be looked through together; give `purpose` or `status`")
    return Read(query, {"labels": "labels", "tags": "tags_by_purpose", "kind": "kinds"}[asked[0]])


def _stretches(query: Mapping[str, Any]) -> int:
    conditions = [query.get(path) for path in ("purpose", "status", "visibility")]
    if "labels" in query:
        conditions.append(query["labels"]["$elemMatch"]["step"])
    return prod(len(condition["$in"]) for condition in conditions if isinstance(condition, Mapping))


def _too_wide(reason: str) -> InvalidInput:
    return InvalidInput(
        f"{reason}. Or add `ownerId`, `captureId`, `subject` or `albumId`: then everything else may be combined.",
        field=["filter"],
    )
