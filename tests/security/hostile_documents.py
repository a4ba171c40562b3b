"""GraphQL documents made to cost much or to tell what they should not; each is refused before it runs."""

from __future__ import annotations

import json
from typing import Any, Final

_CREATE: Final = 'createUploads(input: {idempotencyKey: "k", purpose: COMMUNITY, files: []}) { __typename }'


def _aliases(number: int, field: str) -> str:
    return " ".join(f"a{n}: {field}" for n in range(number))


def _spreading(levels: int) -> str:
    """Twice as many fields with each fragment: 2 to the power of `levels`."""
    fragments = "".join(f"fragment F{n} on Media {{ ...F{n + 1} ...F{n + 1} }} " for n in range(levels))
    return (
        f"{{ feed(purpose: COMMUNITY) {{ nodes {{ ...F0 }} }} }} {fragments} fragment F{levels} on Media {{ id title }}"
    )


def _nested(levels: int) -> str:
    similar = "similar(first: 1) { media { "
    return "{ feed(purpose: COMMUNITY, first: 1) { nodes { " + similar * levels + "id" + " } }" * levels + " } } }"


# By what they do: the document, and the codes it may be refused with.
REFUSED: Final[dict[str, tuple[str, set[str]]]] = {
    "aliases of a root field": (
        "{ " + _aliases(60, "uploadPolicy(purpose: COMMUNITY) { maxFiles }") + " }",
        {"TOO_MANY_ROOT_FIELDS"},
    ),
    "aliases of a mutation": ("mutation { " + _aliases(21, _CREATE) + " }", {"TOO_MANY_ROOT_FIELDS"}),
    "aliases of a list": (
        "{ feed(purpose: COMMUNITY, first: 100) { " + _aliases(300, "nodes { id title tags }") + " } }",
        {"QUERY_TOO_COMPLEX", "QUERY_TOO_LONG"},
    ),
    "aliases of meta fields": ("{ " + _aliases(300, "__typename") + " }", {"TOO_MANY_ROOT_FIELDS", "QUERY_TOO_LONG"}),
    "directives": (
        "{ viewer " + "@include(if: true) " * 900 + "{ id } }",
        {"QUERY_TOO_LONG", "GRAPHQL_VALIDATION_FAILED"},
    ),
    "unknown directives": ("{ viewer " + "@aa " * 900 + "{ id } }", {"GRAPHQL_VALIDATION_FAILED"}),
    "a cycle of fragments": (
        "{ viewer { ...A } } fragment A on Viewer { ...B } fragment B on Viewer { ...A }",
        {"GRAPHQL_VALIDATION_FAILED"},
    ),
    "a fragment in itself": ("{ viewer { ...A } } fragment A on Viewer { id ...A }", {"GRAPHQL_VALIDATION_FAILED"}),
    "spreads that double": (_spreading(40), {"QUERY_TOO_COMPLEX"}),
    "depth": (_nested(12), {"QUERY_TOO_DEEP"}),
    "depth of brackets": ("{ viewer " * 20_000, {"QUERY_TOO_LONG", "QUERY_TOO_DEEP"}),
    "depth of a list": (
        "{ nodes(ids: " + "[" * 50_000 + "]" * 50_000 + ") { id } }",
        {"QUERY_TOO_LONG", "QUERY_TOO_DEEP"},
    ),
    "width": ("{ feed(purpose: COMMUNITY, first: 1) { nodes { " + "id " * 3_000 + "} } }", {"QUERY_TOO_LONG"}),
    "a huge page": ("{ feed(purpose: COMMUNITY, first: 2147483647) { nodes { id } } }", {"QUERY_TOO_COMPLEX"}),
    "pages in pages": (
        "{ feed(purpose: COMMUNITY, first: 100) { nodes { similar(first: 100) { media { id title } } } } }",
        {"QUERY_TOO_COMPLEX"},
    ),
    "fields that conflict": (
        "{ feed(purpose: COMMUNITY, first: 1) { nodes { " + "a: id a: title " * 400 + "} } }",
        {"GRAPHQL_VALIDATION_FAILED", "QUERY_TOO_COMPLEX", "QUERY_TOO_LONG"},
    ),
    "a string without end": ('{ media(id: "' + "x" * 100_000, {"GRAPHQL_PARSE_FAILED", "QUERY_TOO_LONG"}),
    "comments": ("#\n" * 50_000 + "{ viewer { id } }", {"QUERY_TOO_LONG"}),
    "the schema": ("{ __schema { types { name } } }", {"GRAPHQL_VALIDATION_FAILED"}),
    "one type": ('{ __type(name: "Media") { fields { name } } }', {"GRAPHQL_VALIDATION_FAILED"}),
    "the schema by fragment": (
        "query Q { ...A } fragment A on Query { __schema { queryType { name } } }",
        {"GRAPHQL_VALIDATION_FAILED"},
    ),
    "a field that is nearly right": ("{ feeed(purpose: COMMUNITY) { nodes { id } } }", {"GRAPHQL_VALIDATION_FAILED"}),
    "a type that is nearly right": ("{ node(id: 1) { ... on Meda { id } } }", {"GRAPHQL_VALIDATION_FAILED"}),
    "an argument that is nearly right": (
        "{ feed(purposes: COMMUNITY) { nodes { id } } }",
        {"GRAPHQL_VALIDATION_FAILED"},
    ),
    "a value that is nearly right": ("{ feed(purpose: COMUNITY) { nodes { id } } }", {"GRAPHQL_VALIDATION_FAILED"}),
    "another schema": (
        "schema { query: Query } type Query { a: Int }",
        {"OPERATION_RESOLUTION_FAILURE", "GRAPHQL_VALIDATION_FAILED"},
    ),
}

_CREATE_BY_VARIABLE: Final = "mutation($i: CreateUploadsInput!) { createUploads(input: $i) { userErrors { code } } }"
_BY_IDS: Final = "query($ids: [ID!]!) { nodes(ids: $ids) { id } }"

_FIRST: Final = "query($n: Int) { feed(purpose: COMMUNITY, first: $n) { nodes { id } } }"


def _within(levels: int) -> Any:
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


# By what they do: a document, and variables that it is refused for.
REFUSED_VARIABLES: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "a list where one is wanted": ("query($id: ID!) { media(id: $id) { id } }", {"id": ["a"] * 1_000}),
    "an object for an id": ("query($id: ID!) { media(id: $id) { id } }", {"id": {"$ne": None}}),
    "an operator for a filter": (
        "query($f: MediaFilter) { mediaList(filter: $f) { nodes { id } } }",
        {"f": {"status": {"$gt": ""}}},
    ),
    "many ids": (_BY_IDS, {"ids": ["x"] * 20_000}),
    "a deep list": (_BY_IDS, {"ids": _within(500)}),
    "a fraction for a number": ("query($n: Int) { feed(purpose: COMMUNITY, first: $n) { nodes { id } } }", {"n": 1.5}),
    "a text for a number": (
        "query($n: Int) { feed(purpose: COMMUNITY, first: $n) { nodes { id } } }",
        {"n": "9" * 5_000},
    ),
    "a number beyond": ("query($n: Int) { feed(purpose: COMMUNITY, first: $n) { nodes { id } } }", {"n": 2**62}),
    "unknown fields": (_CREATE_BY_VARIABLE, {"i": {f"x{n}": 1 for n in range(2_000)}}),
    "fields of the prototype": (_CREATE_BY_VARIABLE, {"i": {"__proto__": {"admin": True}, "constructor": 1}}),
}


def body_of(query: str, variables: dict[str, Any] | None = None) -> bytes:
    """A request's JSON."""
    return json.dumps({"query": query, "variables": variables or {}}).encode()
