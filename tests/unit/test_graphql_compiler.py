"""When an operation is compiled, how long that is remembered, and what is handed back to graphql-core."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable
from typing import Any

import pytest
import strawberry
from graphql import OperationDefinitionNode, parse

from service.graphql_compiler import inline, inlined
from service.graphql_compiler.programs import MAX_KEPT_LINES
from service.graphql_compiler.selection import MAX_SPECIALISATIONS, PerOperation
from service.settings import HttpSettings
from service.transport.documents import GraphQLRequest
from service.transport.operations import Answer, Operations


@strawberry.type
class Picture:
    number: int
    doubled: int = strawberry.field(
        resolver=inline("SOURCE.number * FACTOR", FACTOR=2).resolver(),
        metadata=inlined(inline("SOURCE.number * FACTOR", FACTOR=2)),
    )

    @strawberry.field
    def size(self, unit: str = "px") -> str:
        calls.append(unit)
        return f"{self.number}{unit}"

    @strawberry.field
    async def slowly(self) -> int:
        return self.number

    @strawberry.field
    def later(self) -> int:
        calls.append("later")
        return _later(self.number)  # type: ignore[return-value]

    @strawberry.field
    def counted(self) -> list[int]:
        return (number for number in range(2))  # type: ignore[return-value]

    @strawberry.field
    def among(self) -> list[Picture]:
        return [Picture(number=self.number + 1)]


@strawberry.type
class Query:
    @strawberry.field
    async def pictures(self, first: int = 3) -> list[Picture]:
        return [Picture(number=number) for number in range(first)]


calls: list[str] = []
SCHEMA = strawberry.Schema(query=Query)
LIMITS = HttpSettings(max_query_tokens=20_000, max_query_cost=10**9, max_query_depth=90)


async def _later(number: int) -> int:
    return number


def operations(**more: Any) -> Operations:
    return Operations(SCHEMA, LIMITS, **more)


async def run(on: Operations, query: str, **variables: Any) -> Answer:
    return await on.run(on.prepare(GraphQLRequest(query, variables)), None)


def is_generated(on: Operations, query: str, **variables: Any) -> bool:
    """Whether the operation's next run would go through generated functions."""
    prepared = on.prepare(GraphQLRequest(query, variables))
    variants = on._programs._operations.of(prepared.node).variants.values()
    return any(variant.program is not None for variant in variants)


async def test_an_operation_is_compiled_when_it_comes_for_the_third_time() -> None:
    on, query = operations(), "{ pictures { number } }"
    seen = []
    for _ in range(4):
        await run(on, query)
        seen.append(is_generated(on, query))
    assert seen == [False, False, True, True]


async def test_an_expression_means_the_same_on_both_roads() -> None:
    expected = {"data": {"pictures": [{"doubled": 0}, {"doubled": 2}, {"doubled": 4}]}}
    for on in (operations(compile_after=1), operations(compiling=False)):
        assert (await run(on, "{ pictures { doubled } }")).body["data"] == expected["data"]


async def test_a_variant_for_each_condition_but_not_for_as_many_as_a_client_likes() -> None:
    on = operations(compile_after=1)
    names = [f"v{number}" for number in range(6)]
    declared = ", ".join(f"${name}: Boolean!" for name in names)
    fields = " ".join(f"{name}: number @include(if: ${name})" for name in names)
    query = f"query ({declared}) {{ pictures(first: 1) {{ number {fields} }} }}"
    for number in range(2**6):
        chosen = {name: bool(number >> place & 1) for place, name in enumerate(names)}
        [picture] = (await run(on, query, **chosen)).body["data"]["pictures"]
        assert picture == {"number": 0} | {name: 0 for name in names if chosen[name]}
    prepared = on.prepare(GraphQLRequest(query, dict.fromkeys(names, True)))
    assert len(on._programs._operations.of(prepared.node).variants) == MAX_SPECIALISATIONS


async def test_what_a_program_was_made_of_is_let_go_with_the_document() -> None:
    kept: PerOperation[list[str]] = PerOperation(list)
    document = parse("{ pictures { number } }")
    [operation] = document.definitions
    assert isinstance(operation, OperationDefinitionNode)
    kept.of(operation).append("something")
    assert kept.of(operation) == ["something"]
    del operation, document
    gc.collect()
    assert not kept._values


async def test_many_documents_leave_nothing_behind() -> None:
    on = operations(compile_after=1)
    for number in range(800):
        await run(on, f'{{ pictures {{ number a{number}: size(unit: "{"x" * 200}") }} }}')
    gc.collect()
    # As many as the parsed documents that are remembered.
    assert len(on._programs._operations._values) < 600


async def test_programs_take_no_more_than_they_may_and_come_back_when_they_are_run_again() -> None:
    on = operations(compile_after=1)
    fields = " ".join(f"a{number}: number" for number in range(200))
    queries = [f"query Q{number} {{ pictures {{ {fields} }} }}" for number in range(40)]
    for query in queries:
        await run(on, query)
    assert 0 < on._programs._shelf._lines <= MAX_KEPT_LINES
    assert not is_generated(on, queries[0])
    assert is_generated(on, queries[-1])
    await run(on, queries[0])
    assert is_generated(on, queries[0])
    del on._documents
    gc.collect()
    assert on._programs._shelf._lines == 0


async def test_what_can_be_read_once_is_left_to_the_executor() -> None:
    on = operations(compile_after=1)
    for _ in range(3):
        body = (await run(on, "{ pictures(first: 1) { counted later } }")).body
        assert body["data"] == {"pictures": [{"counted": [0, 1], "later": 0}]}


async def test_what_has_to_be_awaited_after_all_is_given_back() -> None:
    on = operations(compile_after=1)
    query = "{ pictures(first: 2) { number later } }"
    for _ in range(2):
        assert (await run(on, query)).body["data"] == {
            "pictures": [{"number": 0, "later": 0}, {"number": 1, "later": 1}]
        }
    calls.clear()
    await run(on, query)
    # Read once more each: the compiler knows by now.
    assert calls == ["later", "later"]


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("{ pictures { slowly } }", "asynchronous"),
        ("{ pictures { " + " ".join(f"a{number}: number" for number in range(1_500)) + " } }", "too many fields"),
        ("{ __schema { queryType { name } } }", "resolver"),
    ],
    ids=["asynchronous", "long", "introspection"],
)
async def test_what_is_not_compiled_says_why_and_is_answered(query: str, reason: str) -> None:
    on = Operations(SCHEMA, LIMITS.model_copy(update={"introspection": True}), compile_after=1)
    prepared = on.prepare(GraphQLRequest(query))
    road = on.road(prepared)
    assert not road.compiled
    assert reason in road.reason
    answer = await on.run(prepared, None)
    assert "errors" not in answer.body


async def test_deeper_than_python_nests_blocks() -> None:
    on = operations(compile_after=1)
    query = "{ pictures(first: 1) " + "{ number among " * 40 + "{ number }" + "}" * 40 + " }"
    found = (await run(on, query)).body["data"]["pictures"][0]
    for depth in range(40):
        assert found["number"] == depth
        [found] = found["among"]
    assert on.road(on.prepare(GraphQLRequest(query))).compiled


async def test_arguments_without_variables_are_converted_once_and_belong_to_nobody() -> None:
    on, query = operations(compile_after=1), '{ pictures(first: 2) { size(unit: "mm") } }'
    answers: list[Awaitable[Answer]] = [run(on, query) for _ in range(2)]
    for answer in await asyncio.gather(*answers):
        assert answer.body["data"] == {"pictures": [{"size": "0mm"}, {"size": "1mm"}]}
