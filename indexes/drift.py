"""How a collection's indexes differ from their declarations, and what is to be done about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from indexes.declaration import Index

# In a row: the index is still being built, and no query can use it yet.
BEING_BUILT = "being_built"

# What is told of an index besides what it is; a hidden one is the same index, which the planner passes over.
_NO_PART_OF_IT = frozenset({"v", "ns", "background", "hidden", BEING_BUILT})


@dataclass(frozen=True, slots=True)
class Drift:
    """How a collection differs from its declaration, by index name.

    `hidden` and `building` are declared ones that no query can use, or not yet.
    """

    collection: str
    missing: tuple[str, ...]
    undeclared: tuple[str, ...]
    different: tuple[str, ...]
    hidden: tuple[str, ...] = ()
    building: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.missing or self.undeclared or self.different or self.hidden or self.building)


@dataclass(frozen=True, slots=True)
class Difference:
    """One sentence about one index, and what to do. `is_fault`: queries suffer; otherwise only writes do."""

    text: str
    remedy: str
    is_fault: bool


def compare(collection: str, declared: Sequence[Index], rows: Mapping[str, Mapping[str, Any]]) -> Drift:
    """`rows`: what `listIndexes` answers, by name, without the index of `_id`; BEING_BUILT marks some of them."""
    present = [index for index in declared if index.name in rows]
    return Drift(
        collection=collection,
        missing=tuple(index.name for index in declared if index.name not in rows),
        undeclared=tuple(sorted(rows.keys() - {index.name for index in declared})),
        different=tuple(index.name for index in present if _differs(index, rows[index.name])),
        hidden=tuple(index.name for index in present if rows[index.name].get("hidden")),
        building=tuple(index.name for index in present if BEING_BUILT in rows[index.name]),
    )


def _differs(index: Index, row: Mapping[str, Any]) -> bool:
    stored = {key: value for key, value in row.items() if key not in _NO_PART_OF_IT}
    return stored != index.specification() or tuple(row["key"].items()) != index.keys


def explain_drift(drift: Drift) -> Iterator[Difference]:
    """A sentence for each index that differs."""
    for name in drift.missing:
        yield Difference(
            f"{drift.collection} lacks {name}.", "Create it: python -m service indexes --apply", is_fault=True
        )
    for name in drift.different:
        place = f"{drift.collection}.{name}"
        yield Difference(
            f"{place} is another index than the one declared under that name.",
            "A name never changes what it means: give the declaration a new one. If somebody made this index by hand, "
            f"when nothing asks for it by name: indexes --hide {place}, then --drop {place}, then --apply",
            is_fault=True,
        )
    for name in drift.building:
        yield Difference(
            f"{drift.collection}.{name} is being built.",
            "See how far it is: python -m service indexes --apply",
            is_fault=True,
        )
    for name in drift.hidden:
        place = f"{drift.collection}.{name}"
        yield Difference(
            f"{place} is hidden: no query uses it.",
            f"Show it: python -m service indexes --unhide {place}",
            is_fault=True,
        )
    for name in drift.undeclared:
        place = f"{drift.collection}.{name}"
        yield Difference(
            f"{place} is declared nowhere; every write pays for it.",
            "Once no process of an earlier release is left that uses it: python -m service indexes --hide "
            f"{place}, and if nothing misses it, --drop {place}",
            is_fault=False,
        )
