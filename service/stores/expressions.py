"""Aggregation expressions that more than one store needs in its pipeline updates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Expression = Mapping[str, Any]

NOW = "$$NOW"

# A media's next `updated_at`: server time, but never the same moment twice, so that "changed since then?" has an answer
# also within a millisecond and after a change of clocks.
NEXT_UPDATE = {"$max": [NOW, {"$add": ["$updated_at", 1]}]}


def literals(values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` for a pipeline update, where a string that begins with `$` would otherwise be an expression."""
    return {path: {"$literal": value} for path, value in values.items()}


def insert_if_absent(fresh: Mapping[str, Any], *, marker: str) -> list[dict[str, Any]]:
    """An upsert that writes `fresh` in server time, or leaves a document that already has `marker` as it is.

    `$setOnInsert` would say the same, but cannot evaluate `$$NOW`.
    """
    is_new = {"$eq": [{"$type": f"${marker}"}, "missing"]}
    return [{"$replaceWith": {"$cond": [is_new, {"$mergeObjects": ["$$ROOT", dict(fresh)]}, "$$ROOT"]}}]


def after_now(seconds: float) -> dict[str, Any]:
    """Server time plus `seconds`."""
    return {"$dateAdd": {"startDate": NOW, "unit": "millisecond", "amount": round(seconds * 1000)}}


def next_due(moment: Any) -> dict[str, Any]:
    """`moment`, or later: when the embeddings of a media fall due, never twice at the same time."""
    return {"$max": [moment, {"$add": ["$embeddings_due_at", 1]}]}


# For a media whose status or visibility changes: its embeddings, where it has some, are to follow it.
EMBEDDINGS_DUE: Expression = {"$cond": ["$has_embeddings", next_due(NOW), "$$REMOVE"]}

# How often what renditions are made of (the focus, who may see them) has changed.
REVISION: Expression = {"$ifNull": ["$processing.revision", 0]}

# When a media could first be looked at; processing it again does not change that.
FIRST_VIEWABLE: Expression = {"$ifNull": ["$first_viewable_at", NOW]}

# Replaced renditions that are still in storage.
RETIRED: Expression = {"$ifNull": ["$retired_renditions", []]}

# When the sweeper should look at a READY media: since it lacks renditions, when replaced ones fall due, or never.
NEXT_LOOK: Expression = {
    "$cond": [
        {"$ne": [{"$ifNull": ["$processing.rendered_revision", -1]}, REVISION]},
        {"$ifNull": ["$waiting_since", NOW]},
        {"$ifNull": [{"$min": {"$map": {"input": RETIRED, "in": "$$this.due_at"}}}, "$$REMOVE"]},
    ]
}
