"""Whether the page costs the same however many media there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pymongo import MongoClient

from benchmarks.feed.measuring import Cell
from benchmarks.feed.pages import FIRST, Page
from benchmarks.feed.report import table
from service.settings import MongoSettings


@dataclass(frozen=True, slots=True)
class Examined:
    """What the database looked at for one page (explain's executionStats)."""

    index: str
    keys: int
    documents: int
    returned: int


def explain(mongo: MongoSettings, page: Page, before: UUID) -> Examined:
    """How the database answers the query of `page`, which begins before that media, for somebody without a token."""
    query = {"purpose": "COMMUNITY", "status": "READY", "visibility": "PUBLIC", "_id": {"$lt": before}}
    with MongoClient[dict[str, Any]](mongo.uri.get_secret_value(), uuidRepresentation="standard") as client:
        cursor = client[mongo.database]["media"].find(query, page.projection).sort("_id", -1).limit(FIRST + 1)
        explained = cursor.explain()
    stats, stage = explained["executionStats"], explained["queryPlanner"]["winningPlan"]
    while "inputStage" in stage:
        stage = stage["inputStage"]
    return Examined(
        stage.get("indexName", stage["stage"]),
        stats["totalKeysExamined"],
        stats["totalDocsExamined"],
        stats["nReturned"],
    )


def growth(found: Sequence[tuple[int, Cell, Examined]]) -> str:
    """One line for each number of media."""
    first = found[0][1]
    return table(
        ["Media", "CPU ms", "x", "mongod ms", "p50, p99 ms", "Index", "Keys, documents, returned"],
        (
            [
                f"{count:,}",
                f"{cell.cpu_ms:.2f}",
                f"{cell.cpu_ms / first.cpu_ms:.2f}",
                f"{cell.database_ms:.2f}",
                f"{cell.p50_ms:.1f}, {cell.p99_ms:.1f}",
                examined.index,
                f"{examined.keys}, {examined.documents}, {examined.returned}",
            ]
            for count, cell, examined in found
        ),
    )
