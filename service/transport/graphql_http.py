"""GraphQL over HTTP (https://graphql.github.io/graphql-over-http/draft/): POST of JSON, and GET for queries."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar, cast

from graphql import OperationType
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from service.auth import Unauthenticated
from service.errors import MediaServiceError, NotPermitted, RateLimited, TemporarilyUnavailable
from service.log_lines import current_request_id
from service.settings import HttpSettings
from service.transport.admission import Admission, OverBudget, Seen
from service.transport.compression import choose_coding
from service.transport.documents import DocumentRefused, GraphQLRequest, Operation
from service.transport.http_request import (
    GRAPHQL_RESPONSE,
    JSON,
    RequestRefused,
    negotiate,
    read_body,
    read_query_string,
)
from service.transport.json_response import encode_json
from service.transport.middleware import note
from service.transport.operations import Answer, Operations
from service.transport.problems import format_errors
from service.transport.reply import RawHeaders, Reply, graphql_headers, header_of, raw_headers
from service.transport.server_sent_events import EventStreams, Streaming, resumed, streaming

_T = TypeVar("_T")

_STATUS_OF = {NotPermitted: 403, RateLimited: 429, TemporarilyUnavailable: 503}


class GraphQLOverHTTP:
    """ASGI endpoint. `get_context` is called once per request, after it was read and before it is parsed.

    `get_context` may raise Unauthenticated or a MediaServiceError to refuse the request.
    `streams` answers who accepts `text/event-stream`. `graphiql` is what a browser gets when it opens the address
    without a query. `admission` charges operations to the `viewer` of their context; without it nothing is counted.
    """

    def __init__(
        self,
        operations: Operations,
        get_context: Callable[[Request], Awaitable[object]],
        settings: HttpSettings,
        *,
        streams: EventStreams | None = None,
        graphiql: Response | None = None,
        admission: Admission | None = None,
    ) -> None:
        self._operations = operations
        self._get_context = get_context
        self._max_bytes = settings.max_body_bytes
        self._compression = settings.compression
        self._max_cost = settings.max_query_cost
        self._streams = streams
        self._graphiql = graphiql
        self._admission = admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            reply = await self._respond(request)
        except ClientDisconnect:
            return
        await reply(scope, receive, send)

    async def _respond(self, request: Request) -> ASGIApp:
        if self._graphiql is not None and _is_browser_visit(request):
            return self._graphiql
        media_type, wanted = JSON, Streaming.NEVER
        try:
            if request.method not in ("GET", "POST"):
                message = "Use POST, or GET for queries."
                raise RequestRefused(405, "METHOD_NOT_ALLOWED", message, {"Allow": "GET, POST"})
            accept = header_of(request.scope, b"accept")
            wanted = Streaming.NEVER if self._streams is None else streaming(accept)
            if wanted is not Streaming.ALWAYS:
                media_type = negotiate(accept)
            return await self._answer(request, media_type, wanted)
        except RequestRefused as refused:
            return _refuse(refused, media_type)
        except DocumentRefused as refused:
            if self._streams is not None and wanted is Streaming.ALWAYS:
                return self._streams.refuse(refused.errors)
            return self._refuse_document(refused, media_type)

    async def _answer(self, request: Request, media_type: str, wanted: Streaming) -> ASGIApp:
        read = read_query_string(request, self._max_bytes) if request.method == "GET" else None
        read = read or await read_body(request, self._max_bytes)
        context = await _permitted(self._get_context(request))
        if self._streams is not None and wanted is not Streaming.NEVER:
            operation = await self._prepared(request, resumed(read, request), context, streamed=True)
            if wanted.applies_to(operation):
                return await _permitted(self._streams.open(request, operation))
        else:
            operation = await self._prepared(request, read, context)
        told: RawHeaders = ()
        if self._admission is None:
            answer = await self._operations.run(operation, context)
        else:
            answer, told = await self._admitted(self._admission, request, operation, context)
        status = 200 if answer.ran or media_type == JSON else 400
        body = self._with_cost(encode_json(answer.body), operation.cost)
        coding = choose_coding(header_of(request.scope, b"accept-encoding")) if self._compression else None
        return Reply(status, graphql_headers(media_type) + told, body, coding)

    async def _admitted(
        self, admission: Admission, request: Request, operation: Operation, context: object
    ) -> tuple[Answer, RawHeaders]:
        viewer = cast("Seen", context).viewer
        try:
            told = await admission.admit(request.scope, viewer, operation)
            with admission.under_way(request.scope, viewer):
                return await self._operations.run(operation, context), told
        except RateLimited as error:
            raise _refused_by(error) from None

    async def _prepared(
        self, request: Request, read: GraphQLRequest, context: object, *, streamed: bool = False
    ) -> Operation:
        if self._admission is None:
            operation = self._operations.prepare(read)
        else:
            try:
                viewer = cast("Seen", context).viewer
                operation = await self._admission.read(request.scope, viewer, read, self._operations)
            except RateLimited as error:
                raise _refused_by(error) from None
        _require_fitting(request, operation, streamed=streamed)
        return operation

    def _with_cost(self, body: bytes, cost: int) -> bytes:
        """Add `extensions.cost` to an encoded answer, whoever encoded it: an object that has no extensions yet."""
        return b'%b,"extensions":{"cost":{"requested":%d,"limit":%d}}}' % (body[:-1], cost, self._max_cost)

    def _refuse_document(self, refused: DocumentRefused, media_type: str) -> ASGIApp:
        # The draft wants 200 for documents that are wrong, where the client only knows application/json.
        status = 400 if refused.over_limit or media_type == GRAPHQL_RESPONSE else 200
        body = encode_json({"errors": format_errors(refused.errors)})
        if refused.cost is not None:
            body = self._with_cost(body, refused.cost)
        return Reply(status, graphql_headers(media_type), body)


async def _permitted(entering: Awaitable[_T]) -> _T:
    try:
        return await entering
    except Unauthenticated as error:
        raise RequestRefused(401, "UNAUTHENTICATED", str(error), {"WWW-Authenticate": "Bearer"}) from error
    except MediaServiceError as error:
        raise _refused_by(error) from error


def _require_fitting(request: Request, operation: Operation, *, streamed: bool) -> None:
    note(request.scope, operation=operation.type.value)
    if operation.type is OperationType.SUBSCRIPTION and not streamed:
        message = (
            "Subscriptions need a WebSocket (subprotocol graphql-transport-ws) at this address, "
            "or `Accept: text/event-stream`."
        )
        raise RequestRefused(400, "SUBSCRIPTION_NEEDS_WEBSOCKET", message)
    if operation.type is OperationType.MUTATION and request.method == "GET":
        raise RequestRefused(405, "METHOD_NOT_ALLOWED", "Send mutations as POST.", {"Allow": "POST"})


def _is_browser_visit(request: Request) -> bool:
    wants_html = "text/html" in request.headers.get("accept", "")
    return request.method == "GET" and wants_html and not request.scope["query_string"]


def _refused_by(error: MediaServiceError) -> RequestRefused:
    status = next((status for kind, status in _STATUS_OF.items() if isinstance(error, kind)), 400)
    headers = {}
    if error.retry_after_ms is not None:
        headers["Retry-After"] = str(-(-error.retry_after_ms // 1000))
    extensions: dict[str, object] = {"retryable": error.retryable}
    if error.retry_after_ms is not None:
        extensions["retryAfterMs"] = error.retry_after_ms
    told = error.headers if isinstance(error, OverBudget) else ()
    return RequestRefused(status, error.code.value, error.message, headers, extensions=extensions, raw_headers=told)


def _refuse(refused: RequestRefused, media_type: str) -> ASGIApp:
    extensions = {"code": refused.code, "requestId": current_request_id(), **refused.extensions}
    body = {"errors": [{"message": refused.message, "extensions": extensions}]}
    headers = graphql_headers(media_type) + raw_headers(refused.headers or {}) + refused.raw_headers
    return Reply(refused.status, headers, encode_json(body))
