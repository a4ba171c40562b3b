"""Putting a query and the viewer's grants together, so that the planner sees no more branches than there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Branch = dict[str, frozenset[str]]


def restrict(query: Mapping[str, Any], access: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """`query` narrowed to what any clause of `access` lets through; None if that can be nothing.

    On fields that `access` speaks of, conditions are one value or a list of values, in `query` as well.

    Conditions on the same field are intersected and branches that another contains are dropped: MongoDB would answer
    the same without it, but sorts in memory what it could have read from an index in order.
    """
    granted = {field for clause in access for field in clause}
    asked = {field: _values(query[field]) for field in granted & query.keys()}
    branches = [branch for clause in access if (branch := _intersection(asked, clause)) is not None]
    branches = _widest(branches)
    if not branches:
        return None
    rest = {field: condition for field, condition in query.items() if field not in granted}
    common = {field for field in granted if all(branch.get(field) == branches[0].get(field) for branch in branches)}
    narrowed = {**rest, **_conditions({field: branches[0][field] for field in common & branches[0].keys()})}
    if len(branches) == 1:
        return narrowed
    return {**narrowed, "$or": [_conditions(_without(branch, common)) for branch in branches]}


def _values(condition: Any) -> frozenset[str]:
    return frozenset(condition["$in"] if isinstance(condition, Mapping) else [condition])


def _intersection(asked: Branch, clause: Mapping[str, Any]) -> Branch | None:
    branch = dict(asked)
    for field, condition in clause.items():
        branch[field] = _values(condition) & asked.get(field, _values(condition))
    return branch if all(branch.values()) else None


def _contains(wide: Branch, narrow: Branch) -> bool:
    return all(field in narrow and narrow[field] <= values for field, values in wide.items())


def _widest(branches: list[Branch]) -> list[Branch]:
    kept: list[Branch] = []
    for branch in branches:
        if not any(_contains(other, branch) for other in kept):
            kept = [other for other in kept if not _contains(branch, other)] + [branch]
    return kept


def _without(branch: Branch, fields: set[str]) -> Branch:
    return {field: values for field, values in branch.items() if field not in fields}


def _conditions(branch: Branch) -> dict[str, Any]:
    return {
        field: next(iter(values)) if len(values) == 1 else {"$in": sorted(values)} for field, values in branch.items()
    }
