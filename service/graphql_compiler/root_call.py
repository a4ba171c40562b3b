"""Asynchronous root fields, called straight, where Strawberry would go through four functions to do the same."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from graphql import GraphQLField, GraphQLObjectType, GraphQLResolveInfo
from graphql.execution import Executor
from graphql.execution.collect_fields import FieldDetailsList
from graphql.pyutils import Path

from service.graphql_compiler.arguments import ArgumentsOf
from service.graphql_compiler.selection import NotCompilable
from service.graphql_compiler.values import strawberry_field


class RootCall:
    """One selected root field. Raises NotCompilable where its resolver is not a plain coroutine function."""

    def __init__(self, executor: Executor[Any], definition: GraphQLField, selected_by: FieldDetailsList) -> None:
        schema = executor.schema
        self.definition = definition
        self._field = strawberry_field(definition, selected_by[0].node.name.value, may_be_async=True)
        resolver = self._field.base_resolver
        if resolver is None or not self._field.is_async:
            raise NotCompilable("a root field that is not asynchronous")
        self._resolve: Any = resolver.wrapped_func
        self._takes_self = resolver.self_parameter is not None
        self._holders = [each.name for each in (resolver.parent_parameter, resolver.root_parameter) if each]
        self._info = resolver.info_parameter.name if resolver.info_parameter else None
        self._info_class = schema._strawberry_schema.config.info_class  # type: ignore[attr-defined]
        self._has_arguments = bool(definition.args or selected_by[0].node.arguments)
        self._arguments = ArgumentsOf(schema, definition, selected_by, self._field)
        self._nodes = [details.node for details in selected_by]

    def info(self, executor: Executor[Any], parent_type: GraphQLObjectType, path: Path) -> GraphQLResolveInfo[Any]:
        """What graphql-core tells of the field."""
        return executor.build_resolve_info(self.definition, self._nodes, parent_type, path)

    def __call__(self, executor: Executor[Any], source: Any, info: GraphQLResolveInfo[Any]) -> Awaitable[Any]:
        """What is to be awaited for the field's value; raises GraphQLError for arguments that GraphQL refuses."""
        given = self._arguments.given(executor) if self._has_arguments else {}
        return self._resolved(source, info, given)

    async def _resolved(self, source: Any, raw_info: GraphQLResolveInfo[Any], given: dict[str, Any]) -> Any:
        info = self._info_class(_raw_info=raw_info, _field=self._field)
        arguments = self._arguments.converted(given, info)
        for name in self._holders:
            arguments[name] = source
        if self._info is not None:
            arguments[self._info] = info
        return await (self._resolve(source, **arguments) if self._takes_self else self._resolve(**arguments))
