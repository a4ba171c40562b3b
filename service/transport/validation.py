"""Validation of documents against the schema: all rules of the specification, in bounded time."""

from __future__ import annotations

from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    NoSchemaIntrospectionCustomRule,
    specified_rules,
    validate,
)
from graphql.validation.rules import overlapping_fields_can_be_merged
from graphql.validation.validate import ValidationAbortedError
from strawberry.schema.validation_rules.maybe_null import MaybeNullValidationRule
from strawberry.schema.validation_rules.one_of import OneOfInputValidationRule

# Comparing fields of one name is quadratic. With graphql-core's own budget of 500,000 a document of 4,500 characters
# keeps the event loop for half a second; with this one for 25 ms. The introspection query needs less than 100.
overlapping_fields_can_be_merged.MAX_COMPLEXITY_BUDGET = 20_000
_MAX_ERRORS = 20


class OverBudget(Exception):
    """A document so repetitive that comparing its fields was given up."""


class Validator:
    """Validates documents for one schema. Without `introspection`, questions about the schema itself are errors."""

    def __init__(self, schema: GraphQLSchema, *, introspection: bool) -> None:
        self._schema = schema
        self._hide_suggestions = not introspection
        self._rules = (*specified_rules, MaybeNullValidationRule, OneOfInputValidationRule)
        if not introspection:
            self._rules += (NoSchemaIntrospectionCustomRule,)

    def errors(self, document: DocumentNode) -> list[GraphQLError]:
        """What is wrong with `document`, at most 21 entries; raises OverBudget."""
        errors = validate(
            self._schema, document, self._rules, max_errors=_MAX_ERRORS, hide_suggestions=self._hide_suggestions
        )
        if errors and isinstance(errors[0], ValidationAbortedError):
            raise OverBudget("Too many fields share a name or nest fragments; select each once.")
        return errors
