"""GraphQL over HTTP (https://graphql.github.io/graphql-over-http/draft/): POST of JSON, and GET for queries."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from graphql import OperationType
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.auth import Unauthenticated
from service.errors import MediaServiceError, NotPermitted, RateLimited, TemporarilyUnavailable
from service.settings import HttpSettings
from service.telemetry import current_request_id
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
from service.transport.operations import Operations
from service.transport.problems import format_errors

_HEADERS = {"Cache-Control": "no-store", "Vary": "Accept, Authorization", "X-Content-Type-Options": "nosniff"}
_STATUS_OF = {NotPermitted: 403, RateLimited: 429, TemporarilyUnavailable: 503}


class GraphQLOverHTTP:
    """ASGI endpoint. `get_context` is called once per request, after it was read and before it is parsed.

    `get_context` may raise Unauthenticated or a MediaServiceError to refuse the request.
    `graphiql` is what a browser gets when it opens the address without a query.
    """

    def __init__(
        self,
        operations: Operations,
        get_context: Callable[[Request], Awaitable[object]],
        settings: HttpSettings,
        *,
        graphiql: Response | None = None,
    ) -> None:
        self._operations = operations
        self._get_context = get_context
        self._max_bytes = settings.max_body_bytes
        self._graphiql = graphiql

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            response = await self._respond(request)
        except ClientDisconnect:
            return
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        if self._graphiql is not None and _is_browser_visit(request):
            return self._graphiql
        media_type = JSON
        try:
            if request.method not in ("GET", "POST"):
                message = "Use POST, or GET for queries."
                raise RequestRefused(405, "METHOD_NOT_ALLOWED", message, {"Allow": "GET, POST"})
            media_type = negotiate(_joined(request, "accept"))
            return await self._answer(request, media_type)
        except RequestRefused as refused:
            return _refuse(refused, media_type)
        except DocumentRefused as refused:
            # The draft wants 200 for documents that are wrong, where the client only knows application/json.
            status = 400 if refused.over_limit or media_type == GRAPHQL_RESPONSE else 200
            return _render(status, media_type, {"errors": format_errors(refused.errors)})

    async def _answer(self, request: Request, media_type: str) -> Response:
        read = read_query_string(request, self._max_bytes) if request.method == "GET" else None
        read = read or await read_body(request, self._max_bytes)
        context = await self._context(request)
        operation = self._prepare(request, read)
        answer = await self._operations.run(operation, context)
        status = 200 if answer.ran or media_type == JSON else 400
        return _render(status, media_type, answer.body)

    async def _context(self, request: Request) -> object:
        try:
            return await self._get_context(request)
        except Unauthenticated as error:
            raise RequestRefused(401, "UNAUTHENTICATED", str(error), {"WWW-Authenticate": "Bearer"}) from error
        except MediaServiceError as error:
            raise _refused_by(error) from error

    def _prepare(self, request: Request, read: GraphQLRequest) -> Operation:
        operation = self._operations.prepare(read)
        note(request.scope, operation=operation.type.value)
        if operation.type is OperationType.SUBSCRIPTION:
            message = "Subscriptions need a WebSocket (subprotocol graphql-transport-ws) at this address."
            raise RequestRefused(400, "SUBSCRIPTION_NEEDS_WEBSOCKET", message)
        if operation.type is OperationType.MUTATION and request.method == "GET":
            raise RequestRefused(405, "METHOD_NOT_ALLOWED", "Send mutations as POST.", {"Allow": "POST"})
        return operation


def _is_browser_visit(request: Request) -> bool:
    wants_html = "text/html" in request.headers.get("accept", "")
    return request.method == "GET" and wants_html and "query" not in request.query_params


def _joined(request: Request, header: str) -> str | None:
    values = request.headers.getlist(header)
    return ",".join(values) if values else None


def _refused_by(error: MediaServiceError) -> RequestRefused:
    status = next((status for kind, status in _STATUS_OF.items() if isinstance(error, kind)), 400)
    headers = {}
    if error.retry_after_ms is not None:
        headers["Retry-After"] = str(-(-error.retry_after_ms // 1000))
    return RequestRefused(status, error.code.value, error.message, headers)


def _refuse(refused: RequestRefused, media_type: str) -> Response:
    extensions = {"code": refused.code, "requestId": current_request_id()}
    body = {"errors": [{"message": refused.message, "extensions": extensions}]}
    return _render(refused.status, media_type, body, refused.headers)


def _render(status: int, media_type: str, body: object, headers: Mapping[str, str] | None = None) -> Response:
    return Response(
        encode_json(body), status, {**_HEADERS, **(headers or {}), "Content-Type": f"{media_type}; charset=utf-8"}
    )
