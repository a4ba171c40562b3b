"""Generates the function that completes one selection on one object type, with all that lies below it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from graphql import (
    GraphQLField,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    Undefined,
    is_abstract_type,
    is_leaf_type,
    is_list_type,
)
from graphql.execution.collect_fields import FieldDetailsList, GroupedFieldSet
from graphql.pyutils import Path
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.cast import TYPE_CAST_ATTRIBUTE

from service.graphql_compiler.leaves import leaf_completer, write_leaf
from service.graphql_compiler.runtime import (
    AbstractValue,
    DeepObject,
    ListCheck,
    ObjectCheck,
    Place,
)
from service.graphql_compiler.selection import NotCompilable, Selection
from service.graphql_compiler.source import MAX_BLOCKS, Source
from service.graphql_compiler.values import write_value

# From the executor, the object and its path to the completed fields; raises what cannot be null.
Completion = Callable[[Any, Any, Path | None], dict[str, Any]]
# Tells which completions are needed besides: of objects of a type, selected by these fields.
Need = Callable[[GraphQLObjectType, FieldDetailsList], None]


@dataclass(frozen=True, slots=True)
class _Position:
    """A value in the making: its type, the field it belongs to, and the way there from the object at the beginning."""

    type: GraphQLOutputType
    definition: GraphQLField
    parent_type: GraphQLObjectType
    selected_by: FieldDetailsList
    keys: tuple[tuple[str, str] | None, ...]
    indexes: tuple[str, ...]
    null_message: str | None = None

    @property
    def name(self) -> str:
        return f"{self.parent_type.name}.{self.selected_by[0].node.name.value}"

    @property
    def place(self) -> Place:
        return Place(self.keys, self.type, self.selected_by)

    @property
    def indexes_text(self) -> str:
        return f"({''.join(f'{index}, ' for index in self.indexes)})"

    def nullable(self) -> _Position:
        """The same without the outermost non-null, which becomes a message."""
        if not isinstance(self.type, GraphQLNonNull):
            return self
        return replace(
            self, type=self.type.of_type, null_message=f"Cannot return null for non-nullable field {self.name}."
        )


class UnitWriter:
    """Writes one completion. Raises NotCompilable, TooLong."""

    def __init__(self, selection: Selection, need: Need, *, max_lines: int) -> None:
        self._selection = selection
        self._need = need
        self._source = Source(max_lines)
        self._source.names["Undefined"] = Undefined

    @property
    def lines(self) -> int:
        """How long the function is."""
        return self._source.lines

    def write(self, object_type: GraphQLObjectType, fields: GroupedFieldSet, label: str) -> Completion:
        """The function for objects of this type."""
        result = self._fields(object_type, fields, "holder", (), ())
        self._source.line(f"return {result}")
        try:
            return self._source.function("executor, holder, base", label)
        except SyntaxError as error:
            raise NotCompilable(str(error)) from error

    def _fields(
        self,
        object_type: GraphQLObjectType,
        fields: GroupedFieldSet,
        holder: str,
        keys: tuple[tuple[str, str] | None, ...],
        indexes: tuple[str, ...],
    ) -> str:
        """Complete all fields of one object; returns an expression for them."""
        results = []
        for key, selected_by in fields.items():
            definition = self._selection.schema.get_field(object_type, selected_by[0].node.name.value)
            if definition is None:
                raise NotCompilable(f"{object_type.name} has no such field")
            position = _Position(
                definition.type, definition, object_type, selected_by, (*keys, (key, object_type.name)), indexes
            )
            results.append(f"{key!r}: {self._field(position, holder)}")
        return f"{{{', '.join(results)}}}"

    def _field(self, position: _Position, holder: str) -> str:
        source = self._source
        if position.selected_by[0].node.name.value == "__typename":
            return repr(position.parent_type.name)
        target = source.variable()
        with source.block("try:"):
            value = source.variable()
            expression = write_value(
                source, self._selection.schema, position.definition, position.parent_type, position.selected_by, holder
            )
            source.line(f"{value} = {expression}")
            self._complete(position, value, target)
        self._except(position, target)
        return target

    def _except(self, position: _Position, target: str) -> None:
        place = self._source.constant("place", position.place)
        with self._source.block("except Exception as error:"):
            self._source.line(f"{target} = {place}.failed(executor, base, {position.indexes_text}, error)")

    def _complete(self, position: _Position, value: str, target: str) -> None:
        position = position.nullable()
        if is_list_type(position.type):
            self._list(position, position.type, value, target)
        elif is_leaf_type(position.type):
            completer = leaf_completer(position.type, position.null_message)
            write_leaf(self._source, position.type, value, target, self._source.constant("leaf", completer))
        elif is_abstract_type(position.type):
            self._abstract(position, value, target)
        elif isinstance(position.type, GraphQLObjectType):
            self._object(position, position.type, value, target)
        else:
            raise NotCompilable(f"{position.name} is of an unknown kind")

    def _list(self, position: _Position, list_type: GraphQLList[Any], value: str, target: str) -> None:
        source = self._source
        check = source.constant("list", ListCheck(position.name, position.null_message))
        items, index, item = source.variable(), source.variable(), source.variable()
        source.line(f"{items} = {value} if type({value}) is list else {check}({value})")
        source.line(f"{target} = None")
        with source.block(f"if {items} is not None:"):
            source.line(f"{target} = []")
            of_item = replace(
                position,
                type=list_type.of_type,
                keys=(*position.keys, None),
                indexes=(*position.indexes, index),
                null_message=None,
            )
            with source.block(f"for {index}, {item} in enumerate({items}):"):
                completed = source.variable()
                with source.block("try:"):
                    self._complete(of_item, item, completed)
                place = source.constant("place", of_item.place)
                with source.block("except Exception as error:"):
                    arguments = f"executor, base, {of_item.indexes_text}, error, {items}"
                    source.line(f"{completed} = {place}.item_failed({arguments})")
                source.line(f"{target}.append({completed})")

    def _object(self, position: _Position, object_type: GraphQLObjectType, value: str, target: str) -> None:
        source = self._source
        check = ObjectCheck(object_type, position.selected_by, position.null_message)
        if source.blocks > MAX_BLOCKS:
            self._need(object_type, position.selected_by)
            deep = source.constant("deep", DeepObject(object_type, check, position.place))
            source.line(f"{target} = {deep}(executor, base, {position.indexes_text}, {value})")
            return
        checked = f"{source.constant('object', check)}(executor, {value})"
        class_ = _class_of(object_type)
        if class_ is not None:
            own = source.constant("class", class_)
            cast = f" and not hasattr({value}, {TYPE_CAST_ATTRIBUTE!r})" if object_type.is_type_of else ""
            source.line(f"{value} = {value} if type({value}) is {own}{cast} else {checked}")
        else:
            source.line(f"{value} = {checked}")
        source.line(f"{target} = None")
        with source.block(f"if {value} is not None:"):
            fields = self._selection.fields_of(object_type, position.selected_by)
            source.line(f"{target} = {self._fields(object_type, fields, value, position.keys, position.indexes)}")

    def _abstract(self, position: _Position, value: str, target: str) -> None:
        for object_type in self._selection.schema.get_possible_types(position.type):  # type: ignore[arg-type]
            self._need(object_type, position.selected_by)
        abstract = AbstractValue(position.definition, position.parent_type, position.place)
        source = self._source
        source.line(
            f"{target} = {source.constant('abstract', abstract)}(executor, base, {position.indexes_text}, {value})"
        )
        if position.null_message is not None:
            source.line(f"if {target} is None: raise TypeError({position.null_message!r})")


def _class_of(object_type: GraphQLObjectType) -> type | None:
    definition = object_type.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
    origin = getattr(definition, "origin", None)
    if not isinstance(origin, type):
        return None
    # A generic type stands for several GraphQL types.
    return None if getattr(definition, "concrete_of", None) or getattr(definition, "is_type_of", None) else origin
