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
    OperationDefinitionNode,
    OperationType,
    get_operation_ast,
    parse,
)

from service.errors import ConfigurationError
from service.settings import HttpSettings
from service.transport.cost import MAX_NESTING, NestedTooDeeply, Scales, Weight
from service.transport.trusted_documents import TrustedDocument, read_trusted_documents, sha256_hex
from service.transport.validation import OverBudget, Validator
from service.transport.variables import MAX_VALUES, count_values

# Characters of source kept parsed; a parsed document takes 100 to 400 times its source.
_CACHE_CHARACTERS = 128_000

_SHA256_DIGITS = 64

# How graphql-core words the two limits it enforces while parsing.
_OVER_LIMIT = ("contains more than", "nested too deeply")


class DocumentRefused(Exception):
    """A document that will not run. `over_limit`: it may be valid, but costs more than this service gives away.

    `cost` is what it would have cost, where that is why.
    """

    def __init__(self, errors: Sequence[GraphQLError], *, over_limit: bool = False, cost: int | None = None) -> None:
        super().__init__(errors[0].message)
        self.errors = errors
        self.over_limit = over_limit
        self.cost = cost


@dataclass(frozen=True, slots=True)
class GraphQLRequest:
    """The parameters of a GraphQL request, as the client sent them.

    `query` is empty where the client names a document by `document_id` instead; `automatic` if it is ready to send the
    text should the document not be known.
    """

    query: str
    variables: Mapping[str, Any] = field(default_factory=dict)
    operation_name: str | None = None
    document_id: str | None = None
    automatic: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation, ready to run. `cost` is how many fields its answer can hold at most."""

    document: DocumentNode
    node: OperationDefinitionNode
    request: GraphQLRequest
    cost: int = 0

    @property
    def type(self) -> OperationType:
        return self.node.operation

    @property
    def name(self) -> str | None:
        return self.node.name.value if self.node.name else None


@dataclass(frozen=True, slots=True)
class _Chosen:
    """One operation of a document: what need not be worked out for each request."""

    node: OperationDefinitionNode
    weight: Weight
    root_fields: int
    # None where variables decide.
    cost: int | None


@dataclass(slots=True)
class _Known:
    document: DocumentNode
    scales: Scales
    chosen: dict[str | None, _Chosen] = field(default_factory=dict)


class Documents:
    """Turns requests into operations of one schema. Only valid documents are remembered.

    Raises ConfigurationError, a sentence for each problem, if a trusted document cannot be read or would be refused.
    """

    def __init__(self, schema: GraphQLSchema, limits: HttpSettings) -> None:
        self._schema = schema
        self._limits = limits
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._by_hash: dict[str, str] = {}
        self._characters = 0
        self._validator = Validator(schema, introspection=limits.introspection)
        # Apart from the others, so that no traffic can push a trusted document out.
        self._trusted: dict[str, _Known] = {}
        self._trusted_texts: dict[str, _Known] = {}
        if limits.trusted_documents is not None:
            self._trust(read_trusted_documents(limits.trusted_documents))

    def prepare(self, request: GraphQLRequest) -> Operation:
        """The operation `request` names; raises DocumentRefused."""
        known = self._find(request)
        if known is not None:
            chosen, cost = self._choose(known, request.operation_name, request.variables)
            return Operation(known.document, chosen.node, request, cost)
        known = self._parse(request.query)
        # Weighed before it is validated: validation is the dearer of the two.
        chosen, cost = self._choose(known, request.operation_name, request.variables)
        self._validate(known.document)
        self._remember(request.query, known)
        return Operation(known.document, chosen.node, request, cost)

    def is_new(self, request: GraphQLRequest) -> bool:
        """Whether its text would have to be read first."""
        return bool(request.query) and request.query not in self._known and request.query not in self._trusted_texts

    def _find(self, request: GraphQLRequest) -> _Known | None:
        """The known document of a request, None for a text that is new; raises DocumentRefused."""
        query = request.query
        if not query and request.document_id is not None:
            return self._named(request.document_id, automatic=request.automatic)
        if self._trusted_texts and (trusted := self._trusted_texts.get(query)) is not None:
            return trusted
        if self._limits.trusted_only:
            raise _refused("TRUSTED_DOCUMENTS_ONLY", "Only registered documents are run; send a documentId.")
        known = self._known.get(query)
        if known is not None:
            self._known.move_to_end(query)
        return known

    def _named(self, document_id: str, *, automatic: bool) -> _Known:
        digest = _digest(document_id)
        if (trusted := self._trusted.get(document_id) or self._trusted.get(digest)) is not None:
            return trusted
        if self._limits.trusted_only:
            raise _refused("PERSISTED_QUERY_NOT_IN_LIST", "No registered document has this id.")
        if not self._limits.persisted_queries:
            if automatic:
                # The messages, not only the codes, are what Apollo Client and urql look for.
                raise _refused("PERSISTED_QUERY_NOT_SUPPORTED", "PersistedQueryNotSupported")
        elif (query := self._by_hash.get(digest)) is not None:
            self._known.move_to_end(query)
            return self._known[query]
        if automatic:
            raise _refused("PERSISTED_QUERY_NOT_FOUND", "PersistedQueryNotFound")
        raise _refused("PERSISTED_DOCUMENT_NOT_FOUND", "No document has this id; send its text as `query`.")

    def _trust(self, documents: Sequence[TrustedDocument]) -> None:
        problems: list[str] = []
        for document in documents:
            try:
                known = self._examine(document.text)
            except DocumentRefused as refused:
                problems += (f"{document.label}: {error.message}" for error in refused.errors)
                continue
            self._trusted_texts[document.text] = known
            self._trusted |= dict.fromkeys(document.ids, known)
        if problems:
            raise ConfigurationError("\n".join(problems))

    def _examine(self, text: str) -> _Known:
        """A document, every operation of which may run if its variables are small."""
        known = self._parse(text)
        self._validate(known.document)
        names = [
            definition.name.value if definition.name else None
            for definition in known.document.definitions
            if isinstance(definition, OperationDefinitionNode)
        ]
        for name in names or (None,):
            self._choose(known, name, {})
        return known

    def _parse(self, query: str) -> _Known:
        tokens = self._limits.max_query_tokens
        try:
            document = parse(query, max_lexical_tokens=tokens, max_comments=tokens)
        except GraphQLSyntaxError as error:
            if any(words in error.message for words in _OVER_LIMIT):
                raise _refused("QUERY_TOO_LONG", error.message, over_limit=True) from None
            raise DocumentRefused([_coded(error, "GRAPHQL_PARSE_FAILED")]) from None
        return _Known(document, Scales(self._schema, document))

    def _validate(self, document: DocumentNode) -> None:
        try:
            errors = self._validator.errors(document)
        except OverBudget as over:
            raise _refused("QUERY_TOO_COMPLEX", str(over), over_limit=True) from None
        if errors:
            raise DocumentRefused([_coded(error, "GRAPHQL_VALIDATION_FAILED") for error in errors])

    def _choose(self, known: _Known, name: str | None, variables: Mapping[str, Any]) -> tuple[_Chosen, int]:
        """The operation of that name and its cost with these variables; raises DocumentRefused."""
        chosen = known.chosen.get(name)
        if chosen is None:
            node = _operation_of(known.document, name)
            weight, root_fields = self._weigh(known.scales, node)
            cost = None if weight.depends_on_variables() else weight.total({})
            chosen = known.chosen[name] = _Chosen(node, weight, root_fields, cost)
        if variables and count_values(variables) * chosen.root_fields > MAX_VALUES:
            raise _refused(
                "VARIABLES_TOO_LARGE",
                f"Variables may hold {MAX_VALUES} values, counted once for each root field; send several requests.",
                over_limit=True,
            )
        cost = chosen.weight.total(variables) if chosen.cost is None else chosen.cost
        if cost > self._limits.max_query_cost:
            raise _refused(
                "QUERY_TOO_COMPLEX",
                f"The answer could hold more than {self._limits.max_query_cost} fields; "
                "ask for smaller pages or fewer fields.",
                over_limit=True,
                cost=cost,
            )
        return chosen, cost

    def _weigh(self, scales: Scales, operation: OperationDefinitionNode) -> tuple[Weight, int]:
        limits = self._limits
        try:
            weight = scales.weigh(operation)
            if weight.depth > limits.max_query_depth:
                raise NestedTooDeeply
        except NestedTooDeeply:
            raise _refused(
                "QUERY_TOO_DEEP",
                f"Fields may be nested {limits.max_query_depth} deep, fragments {MAX_NESTING}; select less at once.",
                over_limit=True,
            ) from None
        root_fields = scales.count_root_fields(operation)
        if root_fields > limits.max_root_fields:
            raise _refused(
                "TOO_MANY_ROOT_FIELDS",
                f"One operation may select {limits.max_root_fields} root fields, aliases included; send several.",
                over_limit=True,
            )
        return weight, root_fields

    def _remember(self, query: str, known: _Known) -> None:
        if len(query) > _CACHE_CHARACTERS // 4:
            return
        self._known[query] = known
        self._by_hash[sha256_hex(query)] = query
        self._characters += len(query)
        while self._characters > _CACHE_CHARACTERS:
            oldest, _ = self._known.popitem(last=False)
            del self._by_hash[sha256_hex(oldest)]
            self._characters -= len(oldest)


def _digest(document_id: str) -> str:
    """The SHA-256 in an id as this service writes it; an id that holds none as it is."""
    digest = document_id.removeprefix("sha256:")
    return digest.lower() if len(digest) == _SHA256_DIGITS else document_id


def _operation_of(document: DocumentNode, name: str | None) -> OperationDefinitionNode:
    if (operation := get_operation_ast(document, name)) is not None:
        return operation
    message = "Name one operation of the document in operationName." if name is None else "No operation has this name."
    raise _refused("OPERATION_RESOLUTION_FAILURE", message)


def _coded(error: GraphQLError, code: str) -> GraphQLError:
    error.extensions = {"code": code, **(error.extensions or {})}
    return error


def _refused(code: str, message: str, *, over_limit: bool = False, cost: int | None = None) -> DocumentRefused:
    return DocumentRefused([GraphQLError(message, extensions={"code": code})], over_limit=over_limit, cost=cost)
