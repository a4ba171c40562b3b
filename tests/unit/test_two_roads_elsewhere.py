"""The compiler on a schema that is not this service's: it agrees with graphql-core, or leaves the work to it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from tests.argument_generator import SCALARS, Vocabulary
from tests.made_up_schema import MISHAPS, World, build_made_up_schema
from tests.operation_generator import Generated, Shape, operations
from tests.two_roads import TwoRoads, examples

SCHEMA = build_made_up_schema()
VOCABULARY = Vocabulary(
    named={"kind": st.sampled_from(["Cat", "Dog", "Robot", "Toy", "Stranger"])},
    scalars={**SCALARS, "Even": st.sampled_from([2, 0, -4])},
)
# A completion that is given up for the executor's leaves behind what others had begun to wait for.
pytestmark = pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
QUERIES = Shape(depth=6, fields=30, favoured=frozenset({"home", "maybeHome", "cats", "inhabitants", "grid", "toy"}))
EVERYTHING = Shape(depth=4, fields=10, roots=("query", "mutation"), introspection=True)
FIELDS = sorted(
    f"{name}.{field}"
    for name, type_ in SCHEMA._schema.type_map.items()
    if not name.startswith("__")
    for field in getattr(type_, "fields", ())
)
mishaps = st.dictionaries(
    st.sampled_from([*FIELDS, "Grown", "Awake"]), st.sampled_from(MISHAPS), min_size=1, max_size=8
)


@pytest.fixture
def roads() -> TwoRoads:
    return TwoRoads(SCHEMA)


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner, structlog.contextvars.bound_contextvars(request_id="r1"):
        yield runner


@pytest.mark.parametrize("shape", [QUERIES, EVERYTHING], ids=["queries", "everything"])
def test_random_operations_with_mishaps(roads: TwoRoads, runner: asyncio.Runner, shape: Shape) -> None:
    @examples(40)
    @given(operations(SCHEMA._schema, VOCABULARY, shape), mishaps)
    def agree(generated: Generated, mishaps: dict[str, str]) -> None:
        runner.run(roads.compare(generated, lambda calls: World(mishaps, calls), settling=3))

    agree()
    assert roads.answers["refused"] == 0, roads.answers
    assert roads.compiled_share > (0.3 if shape is QUERIES else 0)
    assert roads.answers["in part"] + roads.answers["nothing left"]


# (operation, variables, mishaps, whether all of it is compiled, what the answer holds)
DIRECTED: tuple[tuple[str, dict[str, Any], dict[str, str], bool, str], ...] = (
    # Nulls travel up to the nearest place that may be null: an item, a list, a field, the whole answer.
    ("{ maybeHome { numbers } }", {}, {}, True, '"numbers":[1,null,null,3]'),
    ("{ cats { toy { moods } } }", {}, {"Cat.toy": "error"}, True, '"data":null'),
    ("{ maybeHome { inhabitants { ... on Cat { toy { price } } } } }", {}, {}, True, '"inhabitants":[null,null,'),
    ("{ maybeHome { grid { name shouted } } }", {}, {"Robot.shouted": "null"}, True, '"grid":[null,null,[]]'),
    ("{ thing { ... on Cat { toy { price } } } maybeHome { numbers } }", {}, {}, True, '"thing":null'),
    ("{ cats { prey } }", {}, {"Cat.prey": "list"}, True, '"data":null'),
    ("{ cats { toy { moods } } }", {}, {"Toy.moods": "list"}, True, '"data":null'),
    # Several errors, in the order in which they happened.
    ("{ a: maybeHome { numbers } thing { __typename } b: cats { shouted } }", {},
     {"Query.thing": "coded", "Cat.shouted": "error"}, True, '"code":"AGREED","at":"Query.thing"'),
    ("{ cats { secret } }", {}, {"Grown": ""}, False, "For grown-ups."),
    ('{ thing(kind: "Robot") { ... on Robot { thought } } }', {}, {"Awake": ""}, False, '"code":"ASLEEP"'),
    ('{ thing(kind: "Dog") { ... on Dog { growl bark(mood: WILD) } } }', {}, {}, False, '"growl":"GRR"'),
    # Arguments that cannot be coerced: literals are refused before, variables with a request, nulls at their field.
    ("query ($n: Int = 2) { cats { shouted(times: $n) } }", {"n": None}, {}, True, '"data":null'),
    ("query ($n: Int = 2) { cats { shouted(times: $n) } }", {}, {}, True, '"shouted":"TOMTOM"'),
    ("query ($n: Int!) { cats { shouted(times: $n) } }", {}, {}, False, "BAD_USER_INPUT"),
    ("query ($n: Int!) { cats { shouted(times: $n) } }", {"n": "2"}, {}, False, "BAD_USER_INPUT"),
    ("query ($e: Even!) { named(even: $e) { name } }", {"e": 3}, {}, False, '"code":"ODD"'),
    ("query ($e: Even! = 2) { named(even: $e) { name } }", {"e": None}, {}, False, "BAD_USER_INPUT"),
    ("query ($u: String) { cats { prey(size: {width: 1, unit: $u}) } }", {}, {}, True, "UNSET"),
    ("query ($u: String) { cats { prey(size: {width: 1, unit: $u}) } }", {"u": None}, {}, True, "None"),
    ("query ($c: [Colour!]!) { cats { prey(size: {width: 1, colours: $c}) } }", {"c": "VERDANT"}, {}, True, "GREEN"),
    ("{ cats { prey(size: {width: 1}) } }", {}, {}, True, "[<Colour.RED: 'r'>, <Colour.GREEN: 'g'>]"),
    ("{ cats { a: prey b: prey(size: {width: 2}) } }", {}, {}, True, '"b":'),
    # Skipping and including, merged fields, fragments within fragments with variables.
    ("query ($s: Boolean!) { ...A @skip(if: $s) cats { name } } fragment A on Query { cats { age } }",
     {"s": True}, {}, True, '{"cats":[{"name":"Tom"},{"name":"Kit"}]}'),
    ("query ($s: Boolean!) { ...A @skip(if: $s) cats { name } } fragment A on Query { cats { age } }",
     {"s": False}, {}, True, '{"age":3,"name":"Tom"}'),
    ("query ($s: Boolean = false) { cats { name @skip(if: $s) age } }", {"s": None}, {}, False, "provided to non-null"),
    ("{ cats { toy @skip(if: true) { price } age @include(if: false) } }", {}, {}, True, '{"cats":[{},{}]}'),
    ("query ($n: Int!) { ...A } fragment A on Query { cats { ...B } } fragment B on Named { shouted(times: $n) }",
     {"n": 2}, {}, True, '"shouted":"TOMTOM"'),
    ("{ cats { toy { price } toy { colour } ... on Living { ... on Cat { toy { moods } } } } }", {},
     {"Toy.moods": "null"}, True, '"data":null'),
    # Values that the type cannot hold, and those of no type at all.
    ('{ thing(kind: "Toy") { ... on Toy { price } } }', {}, {}, True, '"thing":null'),
    ('{ thing(kind: "Stranger") { __typename } }', {}, {}, True, '"thing":null'),
    ("{ home { haunted { name } } }", {}, {}, True, '"haunted":null'),
    ('{ thing(kind: "Toy") { ... on Toy { colour(fallback: VERDANT) moods } } }', {}, {}, True, '"VERDANT"'),
    ('{ thing(kind: "Toy") { ... on Toy { colour } } }', {}, {"Toy.colour": "text"}, True, '"colour":null'),
    ('{ thing(kind: "Robot") { ... on Robot { weight serial } } }', {}, {}, True, '"weight":1'),
    ("{ home { lazily stream } }", {}, {}, True, '"lazily":["a","b","c"],"stream":[0,1,2]'),
    ("{ home { promised } }", {}, {}, True, '"promised":[1,2,null]'),
    ("{ cats(names: []) { name } }", {}, {}, True, '{"cats":[]}'),
    ("mutation { a: adopt(name: \"x\") { name } feed { ... on Toy { price } } }", {}, {}, False, '"feed":{"price":2}'),
    ("{ __typename __schema { queryType { name } } cats { __typename } }", {}, {}, False, '"name":"Query"'),
)  # fmt: skip


@pytest.mark.parametrize(
    ("query", "variables", "mishaps", "compiled", "holds"), DIRECTED, ids=[each[0][:60] for each in DIRECTED]
)
def test_directed(
    roads: TwoRoads,
    runner: asyncio.Runner,
    query: str,
    variables: dict[str, Any],
    mishaps: dict[str, str],
    compiled: bool,
    holds: str,
) -> None:
    generated = Generated(query, variables, None)
    journey = runner.run(roads.compare(generated, lambda calls: World(mishaps, calls), settling=3))
    assert holds in journey.body.decode()
    assert (roads.roads["compiled"] == 1) == compiled


@pytest.mark.parametrize(
    "query",
    [
        "{ cats { name @shout } }",
        "{ cats { a: name a: age } }",
        "{ cats { shouted(times: 1) shouted(times: 2) } }",
        "query One { home { numbers } } query Two { cats { name } }",
        '{ cats { shouted(times: "two") } }',
        "{ named(even: 3) { name } }",
        "{ cats }",
        "{",
    ],
)
def test_both_refuse_alike_before_anything_runs(roads: TwoRoads, runner: asyncio.Runner, query: str) -> None:
    assert runner.run(roads.compare(Generated(query, {}, None), lambda calls: World({}, calls))) is None
    assert roads.answers["refused"] == 1


def test_the_operation_that_is_named_runs(roads: TwoRoads, runner: asyncio.Runner) -> None:
    query = "query One { home { numbers } } query Two { cats { name } } mutation Three { feed { __typename } }"
    for name, holds in (("One", "numbers"), ("Two", "cats"), ("Three", "Toy")):
        journey = runner.run(roads.compare(Generated(query, {}, name), lambda calls: World({}, calls)))
        assert holds in journey.body.decode()


def test_deep_nesting(roads: TwoRoads, runner: asyncio.Runner) -> None:
    inner = "name growl"
    for _ in range(10):
        inner = f"home {{ inhabitants {{ ... on Dog {{ {inner} }} ... on Cat {{ name }} __typename }} }}"
    generated = Generated(f'{{ thing(kind: "Dog") {{ ... on Dog {{ {inner} }} }} }}', {}, None)
    journey = runner.run(roads.compare(generated, lambda calls: World({}, calls), settling=3))
    assert b'"name":"Kit"' in journey.body
