"""How many objects or values a field of a document stands for, from literals and variables alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from graphql import (
    FieldNode,
    GraphQLField,
    IntValueNode,
    ListValueNode,
    NullValueNode,
    ObjectValueNode,
    ValueNode,
    VariableNode,
)

from service.transport.field_costs import ListSize
from service.transport.variables import count_values

# Arguments that say how many objects a field answers with.
_SIZE_ARGUMENTS = ("first", "last", "ids", "sha256")

# What a value counts as that is none of a size: it is refused when it is read, and must not seem cheap until then.
_LARGEST_PAGE = 100

# Values of one argument that cost nothing: any list of formats or names, any hint.
FREE_VALUES = 20


@dataclass(frozen=True, slots=True)
class Size:
    """How many objects: `count`, or what the variable says; `of_null` where it says null."""

    count: int
    variable: str | None = None
    of_null: int = 1

    def given(self, variables: Mapping[str, Any]) -> int:
        """The number with these variables, as they were sent; at least 1."""
        if self.variable is None or self.variable not in variables:
            return self.count
        value = variables[self.variable]
        if value is None:
            return self.of_null
        if isinstance(value, list):
            return max(1, len(value))
        # Int takes 100.0 and 1e2 for 100, and a list takes one value for a list of it.
        if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
            return max(1, int(value))
        return 1 if isinstance(value, str) else _LARGEST_PAGE


ONE = Size(1)


@dataclass(frozen=True, slots=True)
class Values(Size):
    """How many values of a list or an input object are read for each object that the field is asked of."""

    def given(self, variables: Mapping[str, Any]) -> int:
        """The number with these variables beyond those that are free."""
        if self.variable is None:
            return self.count
        return max(0, count_values({"": variables.get(self.variable)}) - FREE_VALUES)


@dataclass(frozen=True, slots=True)
class Items(Size):
    """How many items the list `name` has of the input object that is the variable."""

    name: str = ""

    def given(self, variables: Mapping[str, Any]) -> int:
        """The number with these variables, as they were sent."""
        given = variables.get(self.variable or "")
        items = given.get(self.name) if isinstance(given, dict) else None
        # A list takes one value for a list of it.
        return len(items) if isinstance(items, list) else self.count


def items_of(value: ValueNode, name: str, defaults: Mapping[str, ValueNode]) -> Size:
    """How many items the list `name` of an input object has. `defaults`: those of variables."""
    if isinstance(value, VariableNode):
        literal = defaults.get(value.name.value)
        return Items(1 if literal is None else items_of(literal, name, {}).count, value.name.value, name=name)
    for entry in value.fields if isinstance(value, ObjectValueNode) else ():
        if entry.name.value == name:
            return _size_given(entry.value, 1, defaults)
    return ONE


def size_of(
    field: FieldNode, definition: GraphQLField | None, list_: ListSize | None, defaults: Mapping[str, ValueNode]
) -> Size:
    """How many objects `field` answers with at most.

    That is what an argument for the size of a page says, or else what `list_` does. `defaults`: those of variables.
    """
    default = _default_size(definition)
    for argument in field.arguments or ():
        if argument.name.value in _SIZE_ARGUMENTS:
            return _size_given(argument.value, default, defaults)
    items = default if list_ is None else _filtered(field, list_)
    return ONE if items == 1 else Size(items)


def count_literals(value: ValueNode) -> int:
    """Values in a literal, one that is nested in it counted too; a document has 2,000 tokens at most."""
    count, pending = 0, [value]
    while pending:
        count += 1
        node = pending.pop()
        if isinstance(node, ListValueNode):
            pending += node.values
        elif isinstance(node, ObjectValueNode):
            pending += (entry.value for entry in node.fields)
    return count


def _size_given(value: ValueNode, default: int, defaults: Mapping[str, ValueNode]) -> Size:
    if not isinstance(value, VariableNode):
        return Size(_literal_size(value, default))
    literal = defaults.get(value.name.value)
    return Size(default if literal is None else _literal_size(literal, default), value.name.value, default)


def _filtered(field: FieldNode, list_: ListSize) -> int:
    """The items that filters leave, where they are literals; what variables hold may be all there is."""
    items, product = list_.items, 1
    counts = {
        argument.name.value: max(1, len(argument.value.values)) if isinstance(argument.value, ListValueNode) else 1
        for argument in field.arguments or ()
        if argument.name.value in list_.per_value and not isinstance(argument.value, VariableNode | NullValueNode)
    }
    for name, count in counts.items():
        items = min(items, count * list_.per_value[name])
        product *= count
    return min(items, product) if counts and len(counts) == len(list_.per_value) else items


def _default_size(field: GraphQLField | None) -> int:
    for name in _SIZE_ARGUMENTS if field else ():
        if field and (argument := field.args.get(name)):
            default = argument.default.value if argument.default else argument.default_value
            if isinstance(default, int):
                return default
    return 1


def _literal_size(value: ValueNode, default: int) -> int:
    if isinstance(value, IntValueNode):
        # More digits than any page has: heavy enough to refuse, without parsing thousands of them.
        return max(1, int(value.value)) if len(value.value) < 12 else 10**12
    if isinstance(value, NullValueNode):
        return default
    return max(1, len(value.values)) if isinstance(value, ListValueNode) else 1
