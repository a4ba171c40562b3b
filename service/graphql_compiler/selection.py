"""What one operation selects, as graphql-core collects it, for one set of values of the variables of its directives."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, Generic, TypeVar

from graphql import (
    DirectiveNode,
    DocumentNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLObjectType,
    GraphQLResolveInfo,
    OperationDefinitionNode,
    SelectionSetNode,
    VariableNode,
)
from graphql.execution import Executor
from graphql.execution.collect_fields import FieldDetailsList, GroupedFieldSet, collect_fields, collect_subfields

T = TypeVar("T")

# Of one operation, by the values of the variables in its directives; clients choose those.
MAX_SPECIALISATIONS = 16


class NotCompilable(Exception):
    """Why a selection is left to graphql-core."""


def directives_of(operation: OperationDefinitionNode, document: DocumentNode) -> Iterator[DirectiveNode]:
    """Every directive on the selections of an operation and of the fragments that it spreads."""
    fragments = {each.name.value: each for each in document.definitions if isinstance(each, FragmentDefinitionNode)}
    return _directives(operation.selection_set, fragments, set())


def _directives(
    selections: SelectionSetNode | None, fragments: dict[str, FragmentDefinitionNode], seen: set[str]
) -> Iterator[DirectiveNode]:
    for selection in selections.selections if selections else ():
        yield from selection.directives or ()
        if not isinstance(selection, FragmentSpreadNode):
            yield from _directives(getattr(selection, "selection_set", None), fragments, seen)
        elif selection.name.value not in seen:
            seen.add(selection.name.value)
            yield from _directives(fragments[selection.name.value].selection_set, fragments, seen)


def variables_of(directives: Iterable[DirectiveNode]) -> tuple[str, ...]:
    """The variables that decide what is selected. Raises NotCompilable for a directive that is not skip or include."""
    names = set()
    for directive in directives:
        if directive.name.value not in {"skip", "include"}:
            raise NotCompilable(f"@{directive.name.value}")
        names |= {each.value.name.value for each in directive.arguments or () if isinstance(each.value, VariableNode)}
    return tuple(sorted(names))


class Selection:
    """The fields that an operation selects, given the variables of an executor that is about to run it."""

    def __init__(self, executor: Executor[Any]) -> None:
        if any(fragment.variable_signatures for fragment in executor.fragments.values()):
            raise NotCompilable("fragment variables")
        self.schema = executor.schema
        self.operation = executor.operation
        self._fragments = executor.fragments
        self._variables = executor.variable_values
        self._hide_suggestions = executor.hide_suggestions

    def root_fields(self, root_type: GraphQLObjectType) -> GroupedFieldSet:
        """The merged fields of the operation, by response key."""
        collected = collect_fields(
            self.schema, self._fragments, self._variables, root_type, self.operation, self._hide_suggestions
        )
        return dict(collected.grouped_field_set)

    def fields_of(self, object_type: GraphQLObjectType, selected_by: FieldDetailsList) -> GroupedFieldSet:
        """The merged fields of an object of this type, by response key."""
        collected = collect_subfields(
            self.schema,
            self._fragments,
            self._variables,
            self.operation,
            object_type,
            selected_by,
            self._hide_suggestions,
        )
        return dict(collected.grouped_field_set)


class PerOperation(Generic[T]):
    """One value for each parsed operation, for as long as somebody keeps its document."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        # By identity: nodes of equal text are equal, and comparing them walks all of it.
        self._values: dict[int, tuple[weakref.ref[OperationDefinitionNode], T]] = {}

    def of(self, operation: OperationDefinitionNode) -> T:
        """The value of this operation, made when first asked for."""
        key = id(operation)
        found = self._values.get(key)
        if found is None:
            forget = weakref.ref(operation, lambda _: self._values.pop(key, None))
            found = self._values[key] = (forget, self._make())
        return found[1]


@dataclass(slots=True)
class _Remembered(Generic[T]):
    variables: tuple[str, ...] | None = None
    answers: dict[Hashable, T] = field(default_factory=dict)


def by_selection(function: Callable[[GraphQLResolveInfo[Any]], T]) -> Callable[[GraphQLResolveInfo[Any]], T]:
    """Remember what `function` says of the selection below a root field.

    It may depend on the field, the fragments and the variables of directives, and on nothing else of the request.
    """
    operations: PerOperation[_Remembered[T]] = PerOperation(_Remembered)

    @wraps(function)
    def remembered(info: GraphQLResolveInfo[Any]) -> T:
        if info.path.prev is not None:
            return function(info)
        memory = operations.of(info.operation)
        if memory.variables is None:
            document = DocumentNode(definitions=(info.operation, *info.fragments.values()))
            try:
                memory.variables = variables_of(directives_of(info.operation, document))
            except NotCompilable:
                return function(info)
        # Strawberry's own executor hands out the values alone.
        coerced: Any = getattr(info.variable_values, "coerced", info.variable_values)
        key = (info.path.key, *[coerced.get(name) for name in memory.variables])
        if key not in memory.answers:
            if len(memory.answers) >= MAX_SPECIALISATIONS:
                return function(info)
            memory.answers[key] = function(info)
        return memory.answers[key]

    return remembered
