"""One operation on both roads, the compiled one and graphql-core's: what each answered, asked for and logged."""

from __future__ import annotations

import copy
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
import strawberry
import structlog
from hypothesis import HealthCheck, settings

from service.settings import HttpSettings
from service.transport.documents import DocumentRefused, GraphQLRequest
from service.transport.json_response import encode_json
from service.transport.operations import Operations
from tests.operation_generator import Generated

# So large that what is generated is never refused for its size.
LIMITS: Final = HttpSettings(
    introspection=True, max_query_tokens=50_000, max_query_depth=90, max_query_cost=10**99, max_root_fields=1_000
)


def examples(quick: int) -> settings:
    """`quick` examples, or as many as TWO_ROADS_EXAMPLES says (10,000 take an hour: `pytest --timeout 0`)."""
    return settings(
        max_examples=int(os.environ.get("TWO_ROADS_EXAMPLES", quick)),
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )


@dataclass(frozen=True, slots=True)
class Journey:
    """What came of one operation. `calls`: what was asked of databases and signers, in order."""

    body: bytes
    ran: bool
    calls: list[str]
    logs: list[dict[str, Any]]


@dataclass(slots=True)
class TwoRoads:
    """Both ways to run the operations of one schema, and how many of them were really compiled."""

    schema: strawberry.Schema
    limits: HttpSettings = LIMITS
    roads: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    compiling: Operations = field(init=False)
    ordinary: Operations = field(init=False)

    def __post_init__(self) -> None:
        self.compiling = Operations(self.schema, self.limits, compiling=True, compile_after=1)
        self.ordinary = Operations(self.schema, self.limits, compiling=False)

    @property
    def compiled_share(self) -> float:
        """Of the operations that ran and select more than leaves, how many were compiled throughout: 0 to 1.

        Those with asynchronous fields below the root do not count: no compiled function awaits.
        """
        asynchronous = sum(count for reason, count in self.roads.items() if reason.endswith("is asynchronous"))
        others = self.roads.total() - self.roads[""] - self.roads["its variables are refused"] - asynchronous
        return self.roads["compiled"] / max(1, others)

    def is_compiled(self, generated: Generated) -> bool:
        """Whether this valid operation takes the compiled road; counted, with the reason why not."""
        road = self.compiling.road(self.compiling.prepare(_request(generated)))
        self.roads["compiled" if road.compiled else road.reason] += 1
        return bool(road.compiled)

    async def compare(
        self, generated: Generated, make_context: Callable[[list[str]], object], *, settling: int = 0
    ) -> Journey | None:
        """Run on both roads, each in a fresh context, and fail unless nobody could tell them apart.

        `make_context` is given the list that calls are to be noted in. `settling`: how many more times to run before
        the calls are compared, as the compiler learns by trying which resolvers return what has to be awaited. None
        if the document was refused, by both.
        """
        request = _request(generated)
        refused = _refusal(self.ordinary, request)
        assert _refusal(self.compiling, request) == refused
        if refused is not None:
            self.answers.update(["refused", *(error["message"] for error in refused)])
            return None
        self.is_compiled(generated)
        ordinary = await _travel(self.ordinary, request, make_context)
        # What was begun for an object that an error then takes away goes on for as long as anything else is awaited.
        calls = ["calls"] if not settling or b'"errors":' not in ordinary.body else []
        for left in range(settling, -1, -1):
            compiled = await _travel(self.compiling, request, make_context)
            for name in ("body", "ran", "logs", *([] if left else calls)):
                mine, expected = getattr(compiled, name), getattr(ordinary, name)
                assert mine == expected, f"{name} differ:\n{mine}\nand without compiling:\n{expected}"
        self._count(ordinary)
        return ordinary

    def _count(self, journey: Journey) -> None:
        body = orjson.loads(journey.body)
        codes = {error["extensions"].get("code") for error in body.get("errors", ()) if "extensions" in error}
        self.answers.update(["ran" if journey.ran else "not run", *map(str, codes)])
        if "errors" in body and journey.ran:
            self.answers["nothing left" if body["data"] is None else "in part"] += 1


def _request(generated: Generated) -> GraphQLRequest:
    return GraphQLRequest(generated.query, generated.variables, generated.operation_name)


def _refusal(operations: Operations, request: GraphQLRequest) -> list[Any] | None:
    try:
        operations.prepare(request)
    except DocumentRefused as refused:
        return [error.formatted for error in refused.errors]
    return None


async def _travel(
    operations: Operations, request: GraphQLRequest, make_context: Callable[[list[str]], object]
) -> Journey:
    calls: list[str] = []
    with structlog.testing.capture_logs() as logs:
        answer = await operations.run(operations.prepare(request), make_context(calls))
    return Journey(encode_json(answer.body), answer.ran, calls, [_comparable(entry) for entry in logs])


def _comparable(entry: Any) -> dict[str, Any]:
    """A log entry with its exception as text: each road has a trace of its own."""
    return {name: repr(value) if isinstance(value, BaseException) else value for name, value in entry.items()}


def _in_order(value: Any) -> Any:
    """`value` with all mappings in the order of their keys, which means nothing to a database."""
    if isinstance(value, dict):
        return {key: _in_order(value[key]) for key in sorted(value)}
    return [_in_order(each) for each in value] if isinstance(value, list) else value


class RecordingCollection:
    """A collection that notes every call, and those on its cursors, in `calls`."""

    def __init__(self, collection: Any, name: str, calls: list[str]) -> None:
        self._collection = collection
        self._name = name
        self._calls = calls

    def __getattr__(self, method: str) -> Any:
        attribute = getattr(self._collection, method)
        if not callable(attribute):
            return attribute

        def record(*arguments: Any, **options: Any) -> Any:
            self._calls.append(f"{self._name}.{method}{_in_order([*arguments, options])}")
            # mongomock takes `_id` out of projections that it is given, and the service keeps those.
            answer = attribute(*copy.deepcopy(arguments), **options)
            if answer is self._collection:
                return self
            is_cursor = hasattr(answer, "to_list")
            return RecordingCollection(answer, f"{self._name}.{method}", self._calls) if is_cursor else answer

        return record

    def __aiter__(self) -> Any:
        return self._collection.__aiter__()
