"""Asks an API over HTTP, one request after another on one connection, and notes how long each took."""

from __future__ import annotations

import http.client
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import orjson
from pymongo.database import Database

from benchmarks.search.loading import connect
from benchmarks.search.questions import Question
from indexes.ensure import DECLARED

_PROFILE_BYTES: Final = 64 << 20
_WARMING_UP: Final = 5
# What the profiler says of an index that was read.
_INDEX_READ: Final = re.compile(r"IXSCAN (\{.*?\})|(IDHACK|COLLSCAN|COUNT_SCAN|SORT)")


@dataclass(frozen=True, slots=True)
class Times:
    """Milliseconds, and how many were measured; of few no percentile but the median is worth its name."""

    p50: float
    p95: float
    p99: float
    worst: float
    count: int


@dataclass(frozen=True, slots=True)
class Work:
    """What MongoDB did for one request on average, as its profiler tells; `index`: those it read, most often first."""

    queries: float
    keys: float
    documents: float
    returned: float
    index: str


def times_of(seconds: Sequence[float]) -> Times:
    """The percentiles of measured durations."""
    ordered = sorted(1e3 * each for each in seconds)

    def at(share: float) -> float:
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)]

    return Times(at(0.5), at(0.95), at(0.99), ordered[-1], len(ordered))


class Api:
    """A connection that is kept open; every request bears the token."""

    def __init__(self, port: int, token: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self._headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}

    def ask(self, query: str, variables: Mapping[str, Any]) -> tuple[dict[str, Any], float]:
        """The data, and the seconds from the first byte sent to the last received. RuntimeError for errors."""
        body = orjson.dumps({"query": query, "variables": variables})
        started = time.perf_counter()
        self._connection.request("POST", "/graphql", body, self._headers)
        answer = self._connection.getresponse().read()
        seconds = time.perf_counter() - started
        said = orjson.loads(answer)
        if "errors" in said or "data" not in said:
            raise RuntimeError(f"{query[:80]}...: {answer[:500]!r}")
        return said["data"], seconds

    def time(self, question: Question) -> Times:
        """Each of its variables once, after some that warm up."""
        for variables in question.asked[-_WARMING_UP:]:
            self.ask(question.query, variables)
        return times_of([self.ask(question.query, variables)[1] for variables in question.asked])

    def close(self) -> None:
        self._connection.close()


@contextmanager
def asking(port: int, token: str) -> Iterator[Api]:
    """A connection to the API at that port."""
    api = Api(port, token)
    try:
        yield api
    finally:
        api.close()


def examine(api: Api, uri: str, database: str, question: Question, times: int) -> Work:
    """What `question` makes MongoDB look at. Profiling slows it down, so this is apart from `time`."""
    with connect(uri) as client:
        target = client[database]
        target.command({"profile": 0})
        target.drop_collection("system.profile")
        target.create_collection("system.profile", capped=True, size=_PROFILE_BYTES)
        target.command({"profile": 2})
        try:
            asked = question.asked[:times]
            for variables in asked:
                api.ask(question.query, variables)
        finally:
            target.command({"profile": 0})
        return _work(target, len(asked))


def _work(database: Database[dict[str, Any]], requests: int) -> Work:
    rows = [
        row
        for row in database["system.profile"].find({"op": {"$in": ["query", "command", "getmore"]}})
        if row["ns"].endswith((".media", ".annotations"))
    ]
    read = Counter(name for row in rows for name in _read(row.get("planSummary", "")))

    def total(name: str) -> float:
        return float(sum(row.get(name, 0) for row in rows)) / requests

    return Work(
        queries=len(rows) / requests,
        keys=total("keysExamined"),
        documents=total("docsExamined"),
        returned=total("nreturned"),
        index=", ".join(name for name, _ in read.most_common()),
    )


def _read(summary: str) -> set[str]:
    """The names of the indexes in the summary of a plan; those with the same keys cannot be told apart there."""
    found = {_NAMES.get(keys, keys) or stage for keys, stage in _INDEX_READ.findall(summary)}
    return found or {summary}


def _shown(keys: tuple[tuple[str, int], ...]) -> str:
    return "{ " + ", ".join(f"{path}: {order}" for path, order in keys) + " }"


_NAMES: Final = {"{ _id: 1 }": "_id_"} | {
    _shown(index.keys): index.name for declared in DECLARED.values() for index in reversed(declared)
}
