"""Running operations of a Strawberry schema: the one path that HTTP and WebSocket share."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, cast

import strawberry
from graphql import ExecutionResult, create_source_event_stream, execute, map_source_to_response_event
from graphql.execution import Executor, execute_subscription_event
from strawberry.execution import optimized_is_awaitable

from service.graphql_compiler import Programs, Road
from service.graphql_compiler import compiling as compiled_executor
from service.settings import HttpSettings
from service.transport.documents import Documents, GraphQLRequest, Operation
from service.transport.problems import format_errors


@dataclass(frozen=True, slots=True)
class Answer:
    """A GraphQL response. `ran` is False where the request was refused before any resolver was called."""

    body: dict[str, Any]
    ran: bool

    @classmethod
    def of(cls, result: ExecutionResult) -> Answer:
        errors = result.errors or []
        # graphql-core reports refused variables as a result too; only errors of fields carry a path.
        ran = result.data is not None or any(error.path is not None for error in errors)
        body: dict[str, Any] = {"data": result.data} if ran else {}
        if errors:
            body["errors"] = format_errors(errors)
        return cls(body, ran)


class Operations:
    """Prepares and runs operations. One per schema, shared by all transports, so that documents are parsed once.

    `compiling`: queries are compiled when they are run for the `compile_after`-th time; the answers are the same.

    Documents run on graphql-core directly: extensions of the Strawberry schema would not be called, so a schema that
    has any is refused with ValueError.
    """

    def __init__(
        self, schema: strawberry.Schema, limits: HttpSettings, *, compiling: bool = True, compile_after: int = 3
    ) -> None:
        if schema.extensions or schema.directives:
            raise ValueError("schema extensions and custom directives are not run by this transport; remove them")
        self._schema = schema._schema
        self._executor = cast("type[Executor[Any]]", schema.execution_context_class)
        self._programs = Programs(after=compile_after)
        if compiling:
            self._executor = compiled_executor(self._executor, self._programs)
        self._documents = Documents(self._schema, limits)
        self._hide_suggestions = not limits.introspection

    def prepare(self, request: GraphQLRequest) -> Operation:
        """The operation named by `request`, parsed, weighed and valid; raises DocumentRefused."""
        return self._documents.prepare(request)

    def is_new(self, request: GraphQLRequest) -> bool:
        """Whether `prepare` would have to parse, weigh and validate a text."""
        return self._documents.is_new(request)

    def road(self, operation: Operation) -> Road:
        """Whether the operation is compiled once it has been run often enough, and if not, why."""
        executor = self._executor.build(
            self._schema,
            operation.document,
            raw_variable_values=dict(operation.request.variables),
            operation_name=operation.name,
            hide_suggestions=self._hide_suggestions,
        )
        if isinstance(executor, list):
            return Road(compiled=False, reason="its variables are refused")
        return self._programs.road(executor)

    async def run(self, operation: Operation, context: object) -> Answer:
        """Run a query or mutation to its end. What resolvers raise becomes errors of the answer."""
        result = execute(
            self._schema,
            operation.document,
            context_value=context,
            variable_values=dict(operation.request.variables),
            operation_name=operation.name,
            executor_class=self._executor,
            hide_suggestions=self._hide_suggestions,
            is_awaitable=cast("Any", optimized_is_awaitable),
        )
        return Answer.of(await result if inspect.isawaitable(result) else result)

    async def follow(
        self, operation: Operation, make_context: Callable[[], Awaitable[object]]
    ) -> AsyncGenerator[Answer, None]:
        """Run a subscription: one answer per event, each resolved in a context of its own.

        A context made once would let its loaders answer later events from what they remember of earlier ones. Ends
        after an answer that did not run; raises what the source of events raises once it flows.
        """
        results = await self._subscribe(operation, make_context)
        if isinstance(results, ExecutionResult):
            yield Answer.of(results)
            return
        async with aclosing(cast("AsyncGenerator[ExecutionResult, None]", results)) as events:
            async for result in events:
                yield Answer.of(result)

    async def _subscribe(
        self, operation: Operation, make_context: Callable[[], Awaitable[object]]
    ) -> AsyncIterator[ExecutionResult] | ExecutionResult:
        executor = self._executor.build(
            self._schema,
            operation.document,
            context_value=await make_context(),
            raw_variable_values=dict(operation.request.variables),
            operation_name=operation.name,
            hide_suggestions=self._hide_suggestions,
            is_awaitable=cast("Any", optimized_is_awaitable),
        )
        if isinstance(executor, list):
            return ExecutionResult(None, executor)
        source = create_source_event_stream(executor)
        if inspect.isawaitable(source):
            source = await source
        if isinstance(source, ExecutionResult):
            return source

        async def run_event(event: Executor[Any]) -> ExecutionResult:
            event.context_value = await make_context()
            # graphql-core 3.3 shares it between a subscription and all of its events, each of which adds to it.
            event._relevant_sub_fields = {}
            result = execute_subscription_event(event)
            return await result if inspect.isawaitable(result) else result

        return map_source_to_response_event(executor, cast("Any", source), cast("Any", run_event))
