"""Holds the table of rules against the schema that is built: what it does not name is not served."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from graphql import (
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
)
from strawberry.schema.schema_converter import GraphQLCoreConverter

from schema.by_rule import is_shown_by_rule, rule_held_by
from schema.field_rules import NARROWING, WIDENING, Rule, rules

_TABLE = "schema/field_rules.py"
_OF_ROOTS_ALONE = frozenset({Rule.EVERYBODY, Rule.SIGNED_IN, Rule.UPLOADER})
_OF_OBJECTS_ALONE = frozenset({Rule.WITH_OBJECT, Rule.PARTLY, Rule.DETAILS, Rule.ORIGINAL})


class RulesDoNotFit(Exception):
    """The schema is not built: the message says which fields and rules do not belong together."""


def check_rules(schema: GraphQLSchema) -> None:
    """Raises RulesDoNotFit unless each field has one rule that is enforced, and each rule a field."""
    problems = [*_rows(schema), *_enforcement(schema), *_arguments(schema)]
    if problems:
        raise RulesDoNotFit(f"The schema and {_TABLE} do not fit:\n" + "\n".join(f"- {each}" for each in problems))


def fields_of(schema: GraphQLSchema) -> Iterator[tuple[str, GraphQLField]]:
    """`Type.field` and its definition, of all types but those of introspection."""
    for type_ in schema.type_map.values():
        if isinstance(type_, GraphQLObjectType | GraphQLInterfaceType) and not type_.name.startswith("__"):
            for name, field in type_.fields.items():
                yield f"{type_.name}.{name}", field


def _rows(schema: GraphQLSchema) -> Iterator[str]:
    rows = Counter(name for name, _ in rules())
    fields = {name for name, _ in fields_of(schema)}
    yield from (f"{name} has no rule: say who may have it" for name in sorted(fields - rows.keys()))
    yield from (f"there is no field {name}: take its rule away" for name in sorted(rows.keys() - fields))
    yield from (f"{name} has {count} rules: decide on one" for name, count in sorted(rows.items()) if count > 1)


def _enforcement(schema: GraphQLSchema) -> Iterator[str]:
    roots = {type_.name for type_ in (schema.query_type, schema.mutation_type, schema.subscription_type) if type_}
    rule_of = dict(rules())
    for name, field in fields_of(schema):
        rule = rule_of.get(name)
        if rule is None:
            continue
        is_root = name.partition(".")[0] in roots
        if rule in (_OF_OBJECTS_ALONE if is_root else _OF_ROOTS_ALONE):
            yield f"{name}: {rule.name} is no rule for {'a root field' if is_root else 'a field of an object'}"
        elif is_root and (held := rule_held_by(_resolver(field))) is not rule:
            said = "does not say what it holds to" if held is None else f"holds to {held.name}"
            yield f"{name}: its rule is {rule.name}, and its resolver {said}"
        elif not is_root and (rule.action is not None) is not is_shown_by_rule(_resolver(field)):
            yield f"{name}: @by_rule belongs before the resolver where the rule has an action, and only there"
        elif not is_root and rule.action is not None and isinstance(field.type, GraphQLNonNull):
            yield f"{name}: it must be nullable, as {rule.name} shows it to some only"
        if name.startswith("Mutation.") and rule is Rule.EVERYBODY:
            yield f"{name}: nobody changes anything without signing in"


def _resolver(field: GraphQLField) -> object:
    definition = field.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
    return getattr(getattr(definition, "base_resolver", None), "wrapped_func", None)


def _arguments(schema: GraphQLSchema) -> Iterator[str]:
    narrowing = (f"{owner}.{name}" for owner, names in NARROWING.items() for name in names.split())
    declared = Counter([*WIDENING, *narrowing])
    given = set(_given(schema))
    yield from (f"{name} is in neither table of arguments: does it widen?" for name in sorted(given - declared.keys()))
    yield from (f"there is no argument {name}: take its row away" for name in sorted(declared.keys() - given))
    yield from (f"{name} is in the tables of arguments {n} times" for name, n in sorted(declared.items()) if n > 1)


def _given(schema: GraphQLSchema) -> Iterator[str]:
    """`Type.field.argument`, and `Input.field` of what these take; of mutations none, whose use cases judge them."""
    inputs: dict[str, GraphQLInputObjectType] = {}
    for name, field in fields_of(schema):
        if not name.startswith("Mutation."):
            yield from (f"{name}.{argument}" for argument in field.args)
            _collect(inputs, (argument.type for argument in field.args.values()))
    for input_type in inputs.values():
        yield from (f"{input_type.name}.{name}" for name in input_type.fields)


def _collect(inputs: dict[str, GraphQLInputObjectType], types: Iterable[object]) -> None:
    for type_ in types:
        named = get_named_type(type_)  # type: ignore[call-overload]
        if isinstance(named, GraphQLInputObjectType) and named.name not in inputs:
            inputs[named.name] = named
            _collect(inputs, (field.type for field in named.fields.values()))
