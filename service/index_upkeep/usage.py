"""Which indexes nothing uses, as far as the members of the replica set can tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from indexes.declaration import Index
from indexes.ensure import DECLARED
from service.stores.index_usage import Unreachable, Usage

# What is used every week has been used by then; a member that was started since cannot tell.
LONG_ENOUGH: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of one index: what each member counted and since when, whether it is unused, and what is to be said of it."""

    collection: str
    index: str
    counts: Sequence[Usage]
    is_unused: bool
    remark: str


def judge(usages: Sequence[Usage], away: Sequence[Unreachable], *, now: datetime) -> list[Verdict]:
    """A verdict for each index that any member has, in the order of collections and names."""
    by_index: dict[tuple[str, str], list[Usage]] = {}
    for usage in usages:
        by_index.setdefault((usage.collection, usage.index), []).append(usage)
    return [
        Verdict(collection, name, counts, *_judgement(collection, name, counts, away, now))
        for (collection, name), counts in sorted(by_index.items())
    ]


def _judgement(
    collection: str, name: str, counts: Sequence[Usage], away: Sequence[Unreachable], now: datetime
) -> tuple[bool, str]:
    if any(usage.operations for usage in counts):
        return False, ""
    declared = {index.name: index for index in DECLARED.get(collection, ())}
    if reason := _excuse(name, declared):
        return False, reason
    since = max(usage.since for usage in counts)
    if now - since < LONG_ENOUGH:
        return False, f"not used yet, but counted for {_in_words(now - since)} only"
    if away:
        return False, "not used by the members that answered"
    return True, "unused; " + ("is its query still asked?" if name in declared else "hide it, then drop it")


def _excuse(name: str, declared: Mapping[str, Index]) -> str:
    if name == "_id_":
        return "belongs to its collection"
    index = declared.get(name)
    if index is not None and index.works_unasked:
        return "works without being asked: removes what has expired, or refuses duplicates"
    return "seldom used, by design" if index is not None and index.seldom else ""


def _in_words(span: timedelta) -> str:
    hours = span / timedelta(hours=1)
    return f"{hours:.0f} hours" if hours < 48 else f"{span.days} days"
