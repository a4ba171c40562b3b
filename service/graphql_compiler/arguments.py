"""The arguments of selected fields, from the document to what a Strawberry resolver is called with."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import NoneType
from typing import Any

from graphql import GraphQLField, GraphQLSchema, ListValueNode, ObjectValueNode, ValueNode, VariableNode
from graphql.execution import Executor
from graphql.execution.collect_fields import FieldDetailsList
from graphql.execution.values import get_argument_values
from strawberry.relay import GlobalID
from strawberry.types import Info
from strawberry.types.arguments import _is_leaf_type, convert_argument
from strawberry.types.base import StrawberryMaybe, StrawberryOptional
from strawberry.types.enum import has_enum_definition
from strawberry.types.field import StrawberryField

# Values that nobody can change, so that one may stand in many requests.
_IMMUTABLE = (str, int, float, bool, NoneType, Enum)


class Conversion:
    """What Strawberry's `convert_arguments` does for one field, with all that its types decide decided beforehand."""

    def __init__(self, schema: GraphQLSchema, field: StrawberryField) -> None:
        converter = schema._strawberry_schema.schema_converter  # type: ignore[attr-defined]
        self._config, self._scalars = converter.config, converter.scalar_registry
        self._arguments = [
            (
                self._config.name_converter.from_argument(argument),
                str(argument.python_name),
                None if self._stays_as_it_is(argument.type) else argument.type,
            )
            for argument in field.arguments
        ]

    def __call__(self, given: Mapping[str, Any], info: Info | None) -> dict[str, Any]:
        """Arguments by their Python names; raises what an input type raises that refuses them."""
        converted = {}
        for name, python_name, type_ in self._arguments:
            if name in given:
                value = given[name]
                if type_ is not None:
                    value = convert_argument(value, type_, self._scalars, self._config, info, path=(name,))
                converted[python_name] = value
        return converted

    def _stays_as_it_is(self, type_: Any) -> bool:
        if isinstance(type_, StrawberryOptional) and not isinstance(type_, StrawberryMaybe):
            type_ = type_.of_type
        if type_ is GlobalID:
            return False
        return has_enum_definition(type_) or _is_leaf_type(type_, self._scalars)


class ArgumentsOf:
    """The arguments of one selected field, converted once for all objects of a request.

    Those that name no variable are converted once for all requests, where they are values that nobody can change, or
    lists of such.
    """

    def __init__(
        self, schema: GraphQLSchema, definition: GraphQLField, selected_by: FieldDetailsList, field: StrawberryField
    ) -> None:
        self._definition = definition
        self._details = selected_by[0]
        self._conversion = Conversion(schema, field)
        self._constant: dict[str, Any] | None = None
        self._may_be_constant = not any(_names_a_variable(each.value) for each in self._details.node.arguments or ())

    def given(self, executor: Executor[Any]) -> dict[str, Any]:
        """As GraphQL coerces them; raises GraphQLError for what it refuses."""
        return get_argument_values(
            self._definition,
            self._details.node,
            executor.variable_values,
            self._details.fragment_variable_values,
            executor.hide_suggestions,
        )

    def converted(self, given: Mapping[str, Any], info: Info | None = None) -> dict[str, Any]:
        """As the resolver takes them; raises what an input type raises that refuses them."""
        return self._conversion(given, info)

    def __call__(self, executor: Executor[Any]) -> dict[str, Any]:
        """Both in one; raises what either raises."""
        if self._constant is not None:
            return _copied(self._constant)
        converted = self.converted(self.given(executor))
        if self._may_be_constant and all(map(_is_constant, converted.values())):
            self._constant = _copied(converted)
        return converted


def _copied(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {name: [*each] if type(each) is list else each for name, each in arguments.items()}


def _names_a_variable(value: ValueNode) -> bool:
    if isinstance(value, ListValueNode):
        return any(map(_names_a_variable, value.values))
    if isinstance(value, ObjectValueNode):
        return any(_names_a_variable(each.value) for each in value.fields)
    return isinstance(value, VariableNode)


def _is_constant(value: Any) -> bool:
    if type(value) is list:
        return all(isinstance(each, _IMMUTABLE) for each in value)
    return isinstance(value, _IMMUTABLE)
