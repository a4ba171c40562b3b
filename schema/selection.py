"""From what a client selected to what MongoDB is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from graphql import (
    FieldNode,
    FragmentSpreadNode,
    GraphQLNamedType,
    GraphQLResolveInfo,
    InlineFragmentNode,
    SelectionNode,
    SelectionSetNode,
    get_named_type,
)
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.nodes import convert_value
from strawberry.utils.str_converters import to_camel_case

from schema.context import Info
from schema.stored import paths_of
from service.graphql_compiler import by_selection

# Where in the document of a media the objects of these types are read from.
_STORED_AT = {"Media": "", "Rendition": "renditions."}


@cache
def _paths_by_field(type_: GraphQLNamedType) -> Mapping[str, tuple[str, ...]]:
    prefix = _STORED_AT.get(type_.name)
    if prefix is None:
        return {}
    definition = type_.extensions[GraphQLCoreConverter.DEFINITION_BACKREF]
    paths = paths_of(definition.origin)
    return {to_camel_case(name): tuple(f"{prefix}{path}" for path in of_field) for name, of_field in paths.items()}


def media_fields(info: Info) -> frozenset[str]:
    """The document paths that every Media selected below this root field needs, taken together."""
    return _media_fields(info._raw_info)


@by_selection
def _media_fields(raw: GraphQLResolveInfo[Any]) -> frozenset[str]:
    paths: set[str] = set()
    for node in raw.field_nodes:
        if node.selection_set is not None:
            _collect(raw, node.selection_set, get_named_type(raw.return_type), paths, set())
    return frozenset(paths)


def _collect(
    raw: GraphQLResolveInfo[Any],
    selections: SelectionSetNode,
    parent: Any,
    paths: set[str],
    spread: set[tuple[str, str]],
) -> None:
    for selection in selections.selections:
        if not is_included(raw, selection):
            continue
        match selection:
            case FieldNode():
                _collect_field(raw, selection, parent, paths, spread)
            case InlineFragmentNode():
                condition = selection.type_condition
                inner = parent if condition is None else raw.schema.get_type(condition.name.value)
                _collect(raw, selection.selection_set, inner, paths, spread)
            case FragmentSpreadNode():
                # A fragment means the same wherever it is spread on the same type, so once is enough.
                if (visit := (selection.name.value, parent.name)) not in spread:
                    spread.add(visit)
                    fragment = raw.fragments[selection.name.value]
                    definition = getattr(fragment, "definition", fragment)
                    inner = raw.schema.get_type(definition.type_condition.name.value)
                    _collect(raw, definition.selection_set, inner, paths, spread)


def _collect_field(
    raw: GraphQLResolveInfo[Any], node: FieldNode, parent: Any, paths: set[str], spread: set[tuple[str, str]]
) -> None:
    name = node.name.value
    paths.update(_paths_by_field(parent).get(name, ()))
    field = parent.fields.get(name)
    if node.selection_set is not None and field is not None:
        _collect(raw, node.selection_set, get_named_type(field.type), paths, spread)


def is_included(raw: GraphQLResolveInfo[Any], node: SelectionNode) -> bool:
    """Whether `@skip` and `@include` leave a selection in."""
    for directive in node.directives or ():
        if directive.name.value in {"skip", "include"}:
            [argument] = directive.arguments or ()
            condition = convert_value(raw, argument.value)
            if condition is (directive.name.value == "skip"):
                return False
    return True
