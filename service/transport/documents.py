"""Documents: parsed, weighed and validated once, remembered while they are in use."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    GraphQLSyntaxError,
    NoSchemaIntrospectionCustomRule,
    OperationDefinitionNode,
    OperationType,
    get_operation_ast,
    parse,
    specified_rules,
    validate,
)
from graphql.validation.rules import overlapping_fields_can_be_merged
from graphql.validation.validate import ValidationAbortedError
from strawberry.schema.validation_rules.maybe_null import MaybeNullValidationRule
from strawberry.schema.validation_rules.one_of import OneOfInputValidationRule

from service.settings import HttpSettings
from service.transport.cost import MAX_NESTING, NestedTooDeeply, Scales, Weight
from service.transport.variables import MAX_VALUES, count_values

# Characters of source kept parsed; a parsed document takes 100 to 400 times its source.
_CACHE_CHARACTERS = 128_000

# Comparing fields of one name is quadratic. With graphql-core's own budget of 500,000 a document of 4,500 characters
# keeps the event loop for half a second; with this one for 25 ms. The introspection query needs less than 100.
overlapping_fields_can_be_merged.MAX_COMPLEXITY_BUDGET = 20_000
_MAX_VALIDATION_ERRORS = 20

# How graphql-core words the two limits it enforces while parsing.
_OVER_LIMIT = ("contains more than", "nested too deeply")


class DocumentRefused(Exception):
    """A document that will not run. `over_limit`: it may be valid, but costs more than this service gives away."""

    def __init__(self, errors: Sequence[GraphQLError], *, over_limit: bool = False) -> None:
        super().__init__(errors[0].message)
        self.errors = errors
        self.over_limit = over_limit


@dataclass(frozen=True, slots=True)
class GraphQLRequest:
    """The four parameters of a GraphQL request, as the client sent them."""

    query: str
    variables: Mapping[str, Any] = field(default_factory=dict)
    operation_name: str | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation, ready to run."""

    document: DocumentNode
    node: OperationDefinitionNode
    request: GraphQLRequest

    @property
    def type(self) -> OperationType:
        return self.node.operation

    @property
    def name(self) -> str | None:
        return self.node.name.value if self.node.name else None


@dataclass(slots=True)
class _Known:
    document: DocumentNode
    scales: Scales
    weights: dict[str | None, Weight] = field(default_factory=dict)


class Documents:
    """Turns requests into operations of one schema. Only valid documents are remembered."""

    def __init__(self, schema: GraphQLSchema, limits: HttpSettings) -> None:
        self._schema = schema
        self._limits = limits
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._characters = 0
        self._rules = (*specified_rules, MaybeNullValidationRule, OneOfInputValidationRule)
        if not limits.introspection:
            self._rules += (NoSchemaIntrospectionCustomRule,)

    def prepare(self, request: GraphQLRequest) -> Operation:
        """The operation `request` names; raises DocumentRefused."""
        known = self._known.get(request.query)
        if known is not None:
            self._known.move_to_end(request.query)
            operation = _choose(known.document, request.operation_name)
            self._check_cost(known, operation, request.variables)
            return Operation(known.document, operation, request)
        known = self._parse(request.query)
        operation = _choose(known.document, request.operation_name)
        # Weighed before it is validated: validation is the dearer of the two.
        self._check_cost(known, operation, request.variables)
        self._validate(known.document)
        self._remember(request.query, known)
        return Operation(known.document, operation, request)

    def _parse(self, query: str) -> _Known:
        tokens = self._limits.max_query_tokens
        try:
            document = parse(query, max_lexical_tokens=tokens, max_comments=tokens)
        except GraphQLSyntaxError as error:
            if any(words in error.message for words in _OVER_LIMIT):
                raise _over_limit("QUERY_TOO_LONG", error.message) from None
            raise DocumentRefused([_coded(error, "GRAPHQL_PARSE_FAILED")]) from None
        return _Known(document, Scales(self._schema, document))

    def _validate(self, document: DocumentNode) -> None:
        errors = validate(
            self._schema,
            document,
            self._rules,
            max_errors=_MAX_VALIDATION_ERRORS,
            hide_suggestions=not self._limits.introspection,
        )
        if errors and isinstance(errors[0], ValidationAbortedError):
            raise _over_limit("QUERY_TOO_COMPLEX", "Too many fields share a name or nest fragments; select each once.")
        if errors:
            raise DocumentRefused([_coded(error, "GRAPHQL_VALIDATION_FAILED") for error in errors])

    def _check_cost(self, known: _Known, operation: OperationDefinitionNode, variables: Mapping[str, Any]) -> None:
        name = operation.name.value if operation.name else None
        weight = known.weights.get(name)
        if weight is None:
            weight = known.weights[name] = self._weigh(known.scales, operation)
        if count_values(variables) * known.scales.count_root_fields(operation) > MAX_VALUES:
            raise _over_limit(
                "VARIABLES_TOO_LARGE",
                f"Variables may hold {MAX_VALUES} values, counted once for each root field; send several requests.",
            )
        if weight.total(variables) > self._limits.max_query_cost:
            raise _over_limit(
                "QUERY_TOO_COMPLEX",
                f"The answer could hold more than {self._limits.max_query_cost} fields; "
                "ask for smaller pages or fewer fields.",
            )

    def _weigh(self, scales: Scales, operation: OperationDefinitionNode) -> Weight:
        limits = self._limits
        try:
            weight = scales.weigh(operation)
            if weight.depth > limits.max_query_depth:
                raise NestedTooDeeply
        except NestedTooDeeply:
            raise _over_limit(
                "QUERY_TOO_DEEP",
                f"Fields may be nested {limits.max_query_depth} deep, fragments {MAX_NESTING}; select less at once.",
            ) from None
        if scales.count_root_fields(operation) > limits.max_root_fields:
            raise _over_limit(
                "TOO_MANY_ROOT_FIELDS",
                f"One operation may select {limits.max_root_fields} root fields, aliases included; send several.",
            )
        return weight

    def _remember(self, query: str, known: _Known) -> None:
        if len(query) > _CACHE_CHARACTERS // 4:
            return
        self._known[query] = known
        self._characters += len(query)
        while self._characters > _CACHE_CHARACTERS:
            oldest, _ = self._known.popitem(last=False)
            self._characters -= len(oldest)


def _choose(document: DocumentNode, name: str | None) -> OperationDefinitionNode:
    if (operation := get_operation_ast(document, name)) is not None:
        return operation
    message = "Name one operation of the document in operationName." if name is None else "No operation has this name."
    raise DocumentRefused([GraphQLError(message, extensions={"code": "OPERATION_RESOLUTION_FAILURE"})])


def _coded(error: GraphQLError, code: str) -> GraphQLError:
    error.extensions = {"code": code, **(error.extensions or {})}
    return error


def _over_limit(code: str, message: str) -> DocumentRefused:
    return DocumentRefused([GraphQLError(message, extensions={"code": code})], over_limit=True)
