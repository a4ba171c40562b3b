"""Random valid GraphQL operations over any schema, as Hypothesis strategies.

They select through aliases, fragments, inline fragments with and without a type condition, interfaces and unions,
repeat fields so that they have to be merged, skip and include, and fill arguments with literals, variables, defaults,
nulls and nothing. Documents are valid by construction; of the variables' values a few are not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from graphql import (
    GraphQLCompositeType,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
    SchemaMetaFieldDef,
    TypeMetaFieldDef,
    TypeNameMetaFieldDef,
    get_named_type,
    is_composite_type,
    is_leaf_type,
)
from graphql.utilities import do_types_overlap
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from tests.argument_generator import PERCENT, Arguments, Choices, Vocabulary, to_literal

# graphql-core refuses introspection that nests three of these lists.
_LISTS_OF_TYPES: Final = frozenset({"fields", "interfaces", "possibleTypes", "inputFields"})
_NESTED_LISTS_OF_TYPES: Final = 2

# A few short ones, so that fields meet under one name.
_ALIASES: Final = ("a", "b", "id", "title", "nodes")


@dataclass(frozen=True, slots=True)
class Shape:
    """How large operations get, and of which kinds they are."""

    depth: int = 5
    fields: int = 40
    roots: tuple[str, ...] = ("query",)
    introspection: bool = False
    # Fields that most selections prefer, where there are any: those that lead to much.
    favoured: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Generated:
    """A request: source text, variables as a client would send them, and the operation that it names."""

    query: str
    variables: dict[str, Any]
    operation_name: str | None


@dataclass(slots=True)
class _Scope:
    """What an operation or fragment uses by itself."""

    variables: set[str] = field(default_factory=set)
    fragments: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Fragment:
    name: str
    condition: GraphQLCompositeType
    text: str
    scope: _Scope


@dataclass(frozen=True, slots=True)
class _Selected:
    parent: str
    in_object: bool
    call: str
    type: str

    def may_meet(self, other: _Selected) -> bool:
        """Whether both may stand under one response key, whatever objects they turn out to be of."""
        apart = self.in_object and other.in_object and self.parent != other.parent
        return self.type == other.type and (apart or self.call == other.call)


def operations(
    schema: GraphQLSchema, vocabulary: Vocabulary | None = None, shape: Shape | None = None
) -> SearchStrategy[Generated]:
    """Requests that are valid in `schema`. Variables, in about one of ten, are missing or of a wrong kind."""
    return _generate(schema, vocabulary or Vocabulary(), shape or Shape())


@st.composite
def _generate(draw: DrawFn, schema: GraphQLSchema, vocabulary: Vocabulary, shape: Shape) -> Generated:
    return _Document(draw, schema, vocabulary, shape).write()


class _Document:
    """One document while it is being written."""

    def __init__(self, draw: DrawFn, schema: GraphQLSchema, vocabulary: Vocabulary, shape: Shape) -> None:
        self._choices = Choices(draw)
        self._arguments = Arguments(self._choices, vocabulary, self._note_use)
        self._schema = schema
        self._shape = shape
        self._left = 0
        self._lists_of_types = 0
        self._scope = _Scope()
        self._fragments: dict[str, _Fragment] = {}
        self._selected: dict[str, list[_Selected]] = {}

    def write(self) -> Generated:
        """The document, with the variables of all its operations."""
        several = self._choices.chance(15)
        names = ["One", "Two"] if several else [self._choices.pick(["", "", "Only"])]
        parts = [self._operation(name) for name in names]
        used = {each for part in parts for each in self._reach(part[1]).fragments}
        text = [part[0] for part in parts] + [self._fragments[name].text for name in sorted(used)]
        name = self._choices.pick(names) or None
        if not several and self._choices.chance(50):
            name = None
        if self._choices.chance(5):
            self._arguments.values["unknown"] = 1
        return Generated("\n".join(text), self._arguments.values, name)

    def _operation(self, name: str) -> tuple[str, _Scope]:
        kind = self._choices.pick(self._shape.roots)
        root = {"query": self._schema.query_type, "mutation": self._schema.mutation_type}[kind]
        assert root is not None
        self._left = self._shape.fields
        scope, selections = self._within(lambda: self._selections(root, self._shape.depth))
        variables = sorted(self._reach(scope).variables)
        declared = ", ".join(self._arguments.variables[each].declaration for each in variables)
        head = f"{kind} {name}{f'({declared})' if declared else ''}".rstrip()
        return ("" if head == "query" and self._choices.chance(50) else head + " ") + selections, scope

    def _within(self, write: Callable[[], str]) -> tuple[_Scope, str]:
        outer, self._scope = self._scope, _Scope()
        try:
            text = write()
            return self._scope, text
        finally:
            self._scope = outer

    def _reach(self, scope: _Scope) -> _Scope:
        """What `scope` uses, itself and through the fragments it spreads."""
        reached = _Scope(set(scope.variables), set(scope.fragments))
        for name in scope.fragments:
            below = self._reach(self._fragments[name].scope)
            reached.variables |= below.variables
            reached.fragments |= below.fragments
        return reached

    def _note_use(self, variable: str) -> None:
        self._scope.variables.add(variable)

    # Selections

    def _selections(self, parent: GraphQLCompositeType, depth: int) -> str:
        written = [self._selection(parent, depth)]
        for _ in range(self._choices.number(6) - 1):
            if self._left > 0:
                written.append(self._selection(parent, depth))  # noqa: PERF401 - each leaves less for the next
        return "{ " + " ".join(written) + " }"

    def _selection(self, parent: GraphQLCompositeType, depth: int) -> str:
        # Of an interface or union there is little to select but through fragments.
        plain = 76 if isinstance(parent, GraphQLObjectType) else 30
        kind = self._choices.draw(PERCENT)
        if kind < plain or depth <= 0 or self._left <= 0:
            return self._field(parent, depth)
        if kind < plain + 12:
            return self._inline_fragment(parent, depth)
        return self._spread(parent, depth)

    def _inline_fragment(self, parent: GraphQLCompositeType, depth: int) -> str:
        if self._choices.chance(25):
            return f"... {self._directives()}{self._selections(parent, depth)}"
        inner = self._overlapping(parent)
        return f"... on {inner.name} {self._directives()}{self._selections(inner, depth)}"

    def _spread(self, parent: GraphQLCompositeType, depth: int) -> str:
        if parent.name.startswith("__"):
            # How deep a fragment may be spread again would have to be known.
            return self._inline_fragment(parent, depth)
        known = [each for each in self._fragments.values() if self._overlap(each.condition, parent)]
        if known and self._choices.chance(60):
            fragment = self._choices.pick(known)
        else:
            inner = self._overlapping(parent)
            scope, selections = self._within(lambda: self._selections(inner, depth))
            name = f"F{len(self._fragments)}"
            fragment = _Fragment(name, inner, f"fragment {name} on {inner.name} {selections}", scope)
            self._fragments[name] = fragment
        self._scope.fragments.add(fragment.name)
        return f"...{fragment.name} {self._directives()}"

    def _overlapping(self, parent: GraphQLCompositeType) -> GraphQLCompositeType:
        if isinstance(parent, GraphQLObjectType) and self._choices.chance(60):
            return parent
        return self._choices.pick(
            [
                type_
                for name, type_ in self._schema.type_map.items()
                if not name.startswith("__") and is_composite_type(type_) and self._overlap(type_, parent)
            ]
            or [parent]
        )

    def _overlap(self, one: GraphQLCompositeType, other: GraphQLCompositeType) -> bool:
        return do_types_overlap(self._schema, one, other)

    def _field(self, parent: GraphQLCompositeType, depth: int) -> str:
        self._left -= 1
        fields = self._fields_of(parent)
        if depth <= 0 or self._left <= 0:
            fields = {name: each for name, each in fields.items() if is_leaf_type(get_named_type(each.type))}
        if parent.name == "__Type" and self._lists_of_types == _NESTED_LISTS_OF_TYPES:
            fields = {name: each for name, each in fields.items() if name not in _LISTS_OF_TYPES}
        name = self._choose_field(fields)
        chosen = fields.get(name, TypeNameMetaFieldDef)
        call = name + self._arguments.write(name, chosen)
        key = self._response_key(parent, name, call, chosen)
        inner = get_named_type(chosen.type)
        is_list_of_types = parent.name == "__Type" and name in _LISTS_OF_TYPES
        self._lists_of_types += is_list_of_types
        below = self._selections(inner, depth - 1) if is_composite_type(inner) else ""
        self._lists_of_types -= is_list_of_types
        return f"{'' if key == name else key + ': '}{call} {self._directives()}{below}".rstrip()

    def _choose_field(self, fields: Mapping[str, GraphQLField]) -> str:
        if not fields or self._choices.chance(6):
            return "__typename"
        favoured = [name for name in fields if name in self._shape.favoured]
        return self._choices.pick(favoured if favoured and self._choices.chance(40) else list(fields))

    def _fields_of(self, parent: GraphQLCompositeType) -> dict[str, GraphQLField]:
        if isinstance(parent, GraphQLUnionType):
            return {}
        assert isinstance(parent, GraphQLObjectType | GraphQLInterfaceType)
        if self._shape.introspection and parent is self._schema.query_type:
            return {**parent.fields, "__schema": SchemaMetaFieldDef, "__type": TypeMetaFieldDef}
        return parent.fields

    def _response_key(self, parent: GraphQLCompositeType, name: str, call: str, chosen: GraphQLField) -> str:
        selected = _Selected(parent.name, isinstance(parent, GraphQLObjectType), call, str(chosen.type))
        wanted = self._choices.pick(_ALIASES) if self._choices.chance(15) else name
        for key in (wanted, name, *(f"{name.strip('_')}{number}" for number in range(2, 1_000))):
            others = self._selected.setdefault(key, [])
            if all(selected.may_meet(other) for other in others):
                others.append(selected)
                return key
        raise AssertionError(call)

    def _directives(self) -> str:
        if not self._choices.chance(10):
            return ""
        names = self._choices.pick((["skip"], ["include"], ["skip"], ["include"], ["include", "skip"]))
        condition = GraphQLNonNull(self._schema.type_map["Boolean"])
        return "".join(f"@{name}(if: {to_literal(self._arguments.value(condition, 'if'))}) " for name in names)
