"""Random arguments and variables for `tests.operation_generator`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLScalarType,
    Undefined,
    is_required_argument,
    is_required_input_field,
)
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

T = TypeVar("T")

PERCENT: Final = st.integers(0, 99)
_NUMBERS: Final = {top: st.integers(1, top) for top in (4, 6)}
_WRONG: Final = ("wrong", -7, 2.5, True, [], {}, [None], {"width": None}, 10**12)

SCALARS: Final[Mapping[str, SearchStrategy[Any]]] = {
    "Boolean": st.booleans(),
    "Int": st.integers(-3, 12) | st.sampled_from([2**31 - 1, -(2**31)]),
    "Float": st.sampled_from([0.0, 0.5, 1, 2.25, -1e3]),
    "String": st.sampled_from(["", "a", "cat", 'quote " and \\', "ä ☃ 😀", "line\nbreak"]),
    "ID": st.sampled_from(["", "1", "x"]),
}


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What arguments and input fields are filled with: by `field.argument`, their own name, or that of their scalar."""

    named: Mapping[str, SearchStrategy[Any]] = field(default_factory=dict)
    scalars: Mapping[str, SearchStrategy[Any]] = field(default_factory=lambda: SCALARS)


@dataclass(frozen=True, slots=True)
class Name:
    """An enum value, or a variable with its dollar: written without quotes."""

    text: str


@dataclass(frozen=True, slots=True)
class Variable:
    """`location`: what it was made for. `declaration`: as it stands in the head of an operation."""

    location: str
    declaration: str


def to_literal(value: Any) -> str:
    """`value` in GraphQL's own notation; names stand without quotes."""
    match value:
        case Name(text):
            return text
        case dict():
            return "{" + ", ".join(f"{key}: {to_literal(each)}" for key, each in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(to_literal, value)) + "]"
        case _:
            return json.dumps(value)


def to_json(value: Any) -> Any:
    """`value` as it stands among the variables of a request."""
    match value:
        case Name(text):
            return text
        case dict():
            return {key: to_json(each) for key, each in value.items()}
        case list():
            return [to_json(each) for each in value]
        case _:
            return value


class Choices:
    """Drawn so that the first options are the simplest, for shrinking goes there."""

    def __init__(self, draw: DrawFn) -> None:
        self.draw = draw

    def chance(self, percent: int) -> bool:
        """True in so many cases of a hundred."""
        return bool(self.draw(PERCENT) >= 100 - percent)

    def number(self, top: int) -> int:
        """1 to `top`, which is 4 or 6."""
        return self.draw(_NUMBERS[top])

    def pick(self, options: Sequence[T]) -> T:
        """Any of `options`."""
        return options[self.draw(st.integers(0, len(options) - 1))]


class Arguments:
    """Writes the arguments of one document; `variables` and their `values` grow on the way, `use` is told of uses."""

    def __init__(self, choices: Choices, vocabulary: Vocabulary, use: Callable[[str], None]) -> None:
        self._choices = choices
        self._vocabulary = vocabulary
        self._use = use
        self.variables: dict[str, Variable] = {}
        self.values: dict[str, Any] = {}

    def write(self, field_name: str, chosen: GraphQLField) -> str:
        """Arguments for a field, in parentheses; nothing if it is given none."""
        given = {
            name: self.value(each.type, self._topic(field_name, name), defaults=each.default_value is not Undefined)
            for name, each in chosen.args.items()
            if is_required_argument(each) or self._choices.chance(30)
        }
        return "(" + ", ".join(f"{name}: {to_literal(value)}" for name, value in given.items()) + ")" if given else ""

    def _topic(self, field_name: str, argument: str) -> str:
        both = f"{field_name}.{argument}"
        return both if both in self._vocabulary.named else argument

    def value(self, type_: GraphQLInputType, name: str, *, defaults: bool = False, constant: bool = False) -> Any:
        """A value, perhaps a variable, for an argument or input field `name` (which `defaults`, if left out)."""
        if not constant and self._choices.chance(25):
            return self._variable(type_, name, defaults)
        if isinstance(type_, GraphQLNonNull):
            return self._present(type_.of_type, name, constant=constant)
        return None if self._choices.chance(10) else self._present(type_, name, constant=constant)

    def _present(self, type_: GraphQLInputType, name: str, *, constant: bool) -> Any:
        match type_:
            case GraphQLList():
                if self._choices.chance(10):
                    # One value stands for a list of it.
                    return self._present(_nullable(type_.of_type), name, constant=True)
                return [self.value(type_.of_type, name, constant=constant) for _ in range(self._choices.number(4) - 1)]
            case GraphQLInputObjectType():
                return self._input_object(type_, constant)
            case GraphQLEnumType():
                named = self._vocabulary.named.get(name)
                return Name(self._choices.pick(list(type_.values)) if named is None else self._choices.draw(named))
            case GraphQLScalarType():
                return self._choices.draw(self._vocabulary.named.get(name, self._vocabulary.scalars[type_.name]))
        raise AssertionError(type_)

    def _input_object(self, type_: GraphQLInputObjectType, constant: bool) -> dict[str, Any]:
        if _is_one_of(type_):
            name = self._choices.pick(list(type_.fields))
            return {name: self._present(_nullable(type_.fields[name].type), name, constant=True)}
        return {
            name: self.value(each.type, name, defaults=each.default_value is not Undefined, constant=constant)
            for name, each in type_.fields.items()
            if is_required_input_field(each) or self._choices.chance(20)
        }

    def _variable(self, type_: GraphQLInputType, name: str, defaults: bool) -> Name:
        location = f"{type_} {name} {defaults}"
        known = [each for each, variable in self.variables.items() if variable.location == location]
        if known and self._choices.chance(50):
            variable = self._choices.pick(known)
        else:
            variable = f"v{len(self.variables)}"
            self._declare(variable, location, type_, name, defaults)
        self._use(variable)
        return Name(f"${variable}")

    def _declare(self, variable: str, location: str, type_: GraphQLInputType, name: str, defaults: bool) -> None:
        """Declare a variable whose type may stand where `type_` does (IsVariableUsageAllowed of the specification)."""
        bare = _nullable(type_)
        loose = type_ is bare or self._choices.chance(30)
        strict = not loose or self._choices.chance(20)
        declared: GraphQLInputType = GraphQLNonNull(bare) if strict else bare
        # A nullable variable may stand where null may not, if one of the two defaults.
        must_default = not strict and type_ is not bare and not defaults
        default = self._present(bare, name, constant=True) if must_default or self._choices.chance(30) else Undefined
        if default is not Undefined and not strict and type_ is bare and self._choices.chance(15):
            default = None
        text = "" if default is Undefined else f" = {to_literal(default)}"
        self.variables[variable] = Variable(location, f"${variable}: {declared}{text}")
        value = self._given(bare, name, may_be_null=not strict, may_be_absent=not strict or default is not Undefined)
        if value is not Undefined:
            self.values[variable] = to_json(value)

    def _given(self, bare: GraphQLInputType, name: str, *, may_be_null: bool, may_be_absent: bool) -> Any:
        kind = self._choices.draw(PERCENT)
        if kind < 1:
            return self._choices.pick([*_WRONG, None, Undefined])
        if kind < 8 and may_be_null:
            return None
        if kind < 35 and may_be_absent:
            return Undefined
        return self._present(bare, name, constant=True)


def _nullable(type_: GraphQLInputType) -> GraphQLInputType:
    return type_.of_type if isinstance(type_, GraphQLNonNull) else type_


def _is_one_of(type_: GraphQLInputObjectType) -> bool:
    return type_.is_one_of or getattr(type_.extensions.get("strawberry-definition"), "is_one_of", False)
