"""What an operation would cost, from its text and variables alone, in time linear in its text.

A fragment is weighed once and shared, however often it is spread: twenty fragments that each spread the next one twice
describe a million fields but are weighed as twenty nodes. Cycles weigh nothing here; validation refuses them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from graphql import (
    BooleanValueNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLCompositeType,
    GraphQLSchema,
    InlineFragmentNode,
    NamedTypeNode,
    NonNullTypeNode,
    OperationDefinitionNode,
    OperationType,
    SelectionNode,
    SelectionSetNode,
    TypeNode,
    ValueNode,
    VariableNode,
    get_named_type,
    is_composite_type,
    is_leaf_type,
)

from service.transport.field_costs import ARGUMENT_SURCHARGES, ITEM_SURCHARGES, LIST_SIZES, SURCHARGES
from service.transport.sizes import FREE_VALUES, ONE, Size, Values, count_literals, items_of, size_of

# Fields, inline fragments and spreads inside one another; the walk below must stay far from the interpreter's limit.
MAX_NESTING = 100


class NestedTooDeeply(Exception):
    """Selections and fragments are nested beyond MAX_NESTING."""


@dataclass(eq=False, slots=True)
class Weight:
    """A selection set: fields of its own, how deep it goes, and what hangs below it, each so many times."""

    fields: int = 0
    depth: int = 0
    below: tuple[tuple[Size, Weight], ...] = ()

    def total(self, variables: Mapping[str, Any]) -> int:
        """Fields an answer can hold at most, given the variables."""
        return _total(self, variables, {})

    def depends_on_variables(self) -> bool:
        """Whether any size below is what a variable says."""
        return _depends(self, set())


_VALUE = Weight(1)


def _total(weight: Weight, variables: Mapping[str, Any], known: dict[int, int]) -> int:
    if not weight.below:
        return weight.fields
    if (total := known.get(id(weight))) is None:
        total = weight.fields + sum(
            size.given(variables) * _total(below, variables, known) for size, below in weight.below
        )
        known[id(weight)] = total
    return total


def _depends(weight: Weight, seen: set[int]) -> bool:
    if id(weight) in seen:
        return False
    seen.add(id(weight))
    return any(size.variable is not None or _depends(below, seen) for size, below in weight.below)


class Scales:
    """Weighs the operations of one document."""

    def __init__(self, schema: GraphQLSchema, document: DocumentNode) -> None:
        self._schema = schema
        self._fragments = {
            definition.name.value: definition
            for definition in document.definitions
            if isinstance(definition, FragmentDefinitionNode)
        }
        self._known: dict[str, Weight] = {}
        self._defaults: dict[str, ValueNode] = {}
        self._collections: set[str] = set()

    def weigh(self, operation: OperationDefinitionNode) -> Weight:
        """The weight of `operation`; raises NestedTooDeeply."""
        self._known.clear()
        self._defaults = {
            definition.variable.name.value: definition.default_value
            for definition in operation.variable_definitions or ()
            if definition.default_value is not None
        }
        self._collections = {
            definition.variable.name.value
            for definition in operation.variable_definitions or ()
            if not is_leaf_type(self._named_input(definition.type))
        }
        return self._weigh(operation.selection_set, self._root_type(operation.operation), 0)

    def count_root_fields(self, operation: OperationDefinitionNode) -> int:
        """Fields selected at the root, through fragments too, each alias counted."""
        return sum(1 for _ in self._root_fields(operation.selection_set, set()))

    def _root_fields(self, selection_set: SelectionSetNode, seen: set[str]) -> Iterator[FieldNode]:
        for selection in selection_set.selections:
            if isinstance(selection, FieldNode):
                yield selection
            elif isinstance(selection, InlineFragmentNode):
                yield from self._root_fields(selection.selection_set, seen)
            elif isinstance(selection, FragmentSpreadNode) and selection.name.value not in seen:
                seen.add(selection.name.value)
                if fragment := self._fragments.get(selection.name.value):
                    yield from self._root_fields(fragment.selection_set, seen)

    def _weigh(self, selection_set: SelectionSetNode, parent: GraphQLCompositeType | None, nesting: int) -> Weight:
        if nesting > MAX_NESTING:
            raise NestedTooDeeply
        fields, depth, below = 0, 0, []
        for selection in selection_set.selections:
            size, inner, step = self._weigh_selection(selection, parent, nesting + 1)
            fields += step
            depth = max(depth, inner.depth + step)
            if size is ONE and not inner.below:
                fields += inner.fields
            else:
                below.append((size, inner))
        return Weight(fields, depth, tuple(below))

    def _weigh_selection(
        self, selection: SelectionNode, parent: GraphQLCompositeType | None, nesting: int
    ) -> tuple[Size, Weight, int]:
        if isinstance(selection, FieldNode):
            return self._weigh_field(selection, parent, nesting)
        if isinstance(selection, InlineFragmentNode):
            condition = self._named(selection.type_condition) or parent
            return ONE, self._weigh(selection.selection_set, condition, nesting), 0
        if isinstance(selection, FragmentSpreadNode):
            return ONE, self._weigh_fragment(selection.name.value, nesting), 0
        return ONE, Weight(), 0

    def _weigh_field(
        self, field: FieldNode, parent: GraphQLCompositeType | None, nesting: int
    ) -> tuple[Size, Weight, int]:
        definition = self._schema.get_field(parent, field.name.value) if parent else None
        key = (parent.name if parent else "", field.name.value)
        size = size_of(field, definition, LIST_SIZES.get(key), self._defaults)
        own = SURCHARGES.get(key, 0) + sum(
            ARGUMENT_SURCHARGES.get((*key, argument.name.value), 0)
            for argument in field.arguments or ()
            if not (isinstance(argument.value, BooleanValueNode) and not argument.value.value)
        )
        read: tuple[tuple[Size, Weight], ...] = tuple((values, _VALUE) for values in self._values_of(field))
        if item := ITEM_SURCHARGES.get(key):
            name, each = item
            read += tuple((items_of(a.value, name, self._defaults), Weight(each)) for a in field.arguments or ())
        if not field.selection_set:
            return ONE, Weight(own + size.count - 1 if key in LIST_SIZES else own, 0, read), 1
        child = _composite(get_named_type(definition.type)) if definition else None
        inner = self._weigh(field.selection_set, child, nesting)
        if not own and not read:
            return size, inner, 1
        # Arguments are read once for the field, not for each of the objects it answers with.
        return ONE, Weight(own, inner.depth, ((size, inner), *read)), 1

    def _weigh_fragment(self, name: str, nesting: int) -> Weight:
        if (weight := self._known.get(name)) is not None:
            return weight
        fragment = self._fragments.get(name)
        if fragment is None:
            return Weight()
        # Stands in while the fragment is on the path, so that a cycle ends here.
        self._known[name] = Weight()
        weight = self._weigh(fragment.selection_set, self._named(fragment.type_condition), nesting)
        self._known[name] = weight
        return weight

    def _values_of(self, field: FieldNode) -> Iterator[Values]:
        for argument in field.arguments or ():
            if isinstance(argument.value, VariableNode):
                if argument.value.name.value in self._collections:
                    yield Values(0, argument.value.name.value)
            elif (count := count_literals(argument.value) - FREE_VALUES) > 0:
                yield Values(count)

    def _root_type(self, operation: OperationType) -> GraphQLCompositeType | None:
        return self._schema.get_root_type(operation)

    def _named_input(self, type_: TypeNode) -> Any:
        """The type of a variable that holds one value; None for lists."""
        inner = type_.type if isinstance(type_, NonNullTypeNode) else type_
        return self._schema.get_type(inner.name.value) if isinstance(inner, NamedTypeNode) else None

    def _named(self, condition: NamedTypeNode | None) -> GraphQLCompositeType | None:
        return _composite(self._schema.get_type(condition.name.value)) if condition else None


def _composite(type_: Any) -> GraphQLCompositeType | None:
    return type_ if is_composite_type(type_) else None
