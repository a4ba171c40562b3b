"""How the value of a Strawberry field is read from its object, as a Python expression."""

from __future__ import annotations

from typing import Any

from graphql import GraphQLField, GraphQLSchema
from graphql.execution import Executor
from graphql.execution.collect_fields import FieldDetailsList
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types import Info
from strawberry.types.field import StrawberryField
from strawberry.types.fields.resolver import StrawberryResolver

from service.graphql_compiler.arguments import ArgumentsOf
from service.graphql_compiler.inline import inline_of, over
from service.graphql_compiler.selection import NotCompilable
from service.graphql_compiler.source import Source

_MADE_BY_STRAWBERRY = GraphQLCoreConverter.from_resolver.__qualname__ + ".<locals>"


def strawberry_field(definition: GraphQLField, name: str, *, may_be_async: bool = False) -> StrawberryField:
    """The definition behind a GraphQL field, if its resolver does nothing but call Python. Raises NotCompilable."""
    field = definition.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
    made = getattr(definition.resolve, "__qualname__", "").startswith(_MADE_BY_STRAWBERRY)
    if not isinstance(field, StrawberryField) or not made:
        raise NotCompilable(f"{name} has a resolver that is not Strawberry's")
    if type(field).get_result is not StrawberryField.get_result:
        raise NotCompilable(f"{name} is a field of a class of its own")
    if field.extensions:
        raise NotCompilable(f"{name} has extensions")
    if field.is_async and not may_be_async:
        raise NotCompilable(f"{name} is asynchronous")
    return field


class SharedInfo:
    """The `info` of one selected field, for all objects of a request."""

    def __init__(
        self, definition: GraphQLField, parent_type: Any, selected_by: FieldDetailsList, field: StrawberryField
    ) -> None:
        self._definition = definition
        self._parent_type = parent_type
        self._nodes = [details.node for details in selected_by]
        self._field = field

    def __call__(self, executor: Executor[Any]) -> Info:
        # No path: it would be another one for every object.
        raw: Any = executor.build_resolve_info(self._definition, self._nodes, self._parent_type, None)  # type: ignore[arg-type]
        config = executor.schema._strawberry_schema.config  # type: ignore[attr-defined]
        info: Info = config.info_class(_raw_info=raw, _field=self._field)
        return info


def write_value(
    source: Source,
    schema: GraphQLSchema,
    definition: GraphQLField,
    parent_type: Any,
    selected_by: FieldDetailsList,
    holder: str,
) -> str:
    """An expression for the field's value of the object called `holder`. Raises NotCompilable."""
    field = strawberry_field(definition, f"{parent_type.name}.{selected_by[0].node.name.value}")
    if (expression := inline_of(field.metadata)) is not None:
        source.names.update(expression.names)
        return f"({over(expression, holder)})"
    resolver = field.base_resolver
    if resolver is None:
        if field.default_resolver is getattr:
            return f"{holder}.{field.python_name}"
        return f"{source.constant('default', field.default_resolver)}({holder}, {field.python_name!r})"
    return _write_call(source, schema, definition, parent_type, selected_by, field, resolver, holder)


def _write_call(
    source: Source,
    schema: GraphQLSchema,
    definition: GraphQLField,
    parent_type: Any,
    selected_by: FieldDetailsList,
    field: StrawberryField,
    resolver: StrawberryResolver[Any],
    holder: str,
) -> str:
    given = [holder] if resolver.self_parameter else []
    holders = (resolver.parent_parameter, resolver.root_parameter)
    given += [f"{parameter.name}={holder}" for parameter in holders if parameter]
    if resolver.info_parameter:
        info = source.constant("info", SharedInfo(definition, parent_type, selected_by, field))
        source.before(f"shared_{info} = {info}(executor)")
        given.append(f"{resolver.info_parameter.name}=shared_{info}")
    if definition.args or selected_by[0].node.arguments:
        arguments = source.constant("arguments", ArgumentsOf(schema, definition, selected_by, field))
        source.before(f"shared_{arguments} = None")
        given.append(f"**shared_{arguments}")
        # Refused arguments are an error of each object's field, so they are looked at where the first one is read.
        source.line(f"if shared_{arguments} is None: shared_{arguments} = {arguments}(executor)")
    return f"{source.constant('resolve', resolver.wrapped_func)}({', '.join(given)})"
