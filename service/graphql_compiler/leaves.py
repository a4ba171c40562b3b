"""Completing leaf values: the usual case as an expression, everything else as graphql-core does it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from graphql import (
    GraphQLBoolean,
    GraphQLEnumType,
    GraphQLFloat,
    GraphQLID,
    GraphQLInt,
    GraphQLLeafType,
    GraphQLString,
)
from graphql.execution import Executor

from service.graphql_compiler.runtime import is_null
from service.graphql_compiler.source import Source

# Whether a value of the type is its own serialisation. NaN and the infinities compare unequal when subtracted.
_AS_THEY_ARE = {
    GraphQLString.name: "type({v}) is str",
    GraphQLID.name: "type({v}) is str",
    GraphQLInt.name: "type({v}) is int and -2147483648 <= {v} <= 2147483647",
    GraphQLFloat.name: "type({v}) is float and {v} - {v} == 0.0",
    GraphQLBoolean.name: "{v} is True or {v} is False",
}


# Certainly nothing to wait for, and no error.
_PLAIN = frozenset({str, int, float, bool, bytes, dict, list, tuple, datetime, date, time, Decimal, UUID})


def write_leaf(source: Source, leaf: GraphQLLeafType, value: str, target: str, complete: str) -> None:
    """Complete `value` into `target`; `complete` names the function for all that is unusual, null included."""
    condition = _AS_THEY_ARE.get(leaf.name)
    if condition is not None and _is_specified(leaf):
        source.line(f"{target} = {value} if {condition.format(v=value)} else {complete}({value})")
    elif isinstance(leaf, GraphQLEnumType):
        names = source.constant("names", _names(leaf))
        kinds = source.constant("kinds", {str, getattr(leaf, "wrapped_cls", str)})
        source.line(f"{target} = {names}.get({value}) if type({value}) in {kinds} else None")
        source.line(f"if {target} is None: {target} = {complete}({value})")
    else:
        serialize = source.constant("serialize", leaf.coerce_output_value)
        plain = source.constant("plain", _PLAIN)
        source.line(f"{target} = {serialize}({value}) if type({value}) in {plain} else None")
        source.line(f"if {target} is None or {target} is Undefined: {target} = {complete}({value})")


def _is_specified(leaf: GraphQLLeafType) -> bool:
    return leaf in (GraphQLString, GraphQLID, GraphQLInt, GraphQLFloat, GraphQLBoolean)


def _names(enum: GraphQLEnumType) -> dict[Any, str]:
    texts = {each.value: name for name, each in enum.values.items() if type(each.value) is str}
    members = getattr(enum, "wrapped_cls", ())
    return {**texts, **{member: texts[member.value] for member in members if member.value in texts}}


def leaf_completer(leaf: GraphQLLeafType, null_message: str | None) -> Callable[[Any], Any]:
    """graphql-core's `complete_value` for one leaf type. `null_message`: raised for null, unless None."""

    def complete(value: Any) -> Any:
        return None if is_null(value, null_message) else Executor.complete_leaf_value(leaf, value)

    return complete
