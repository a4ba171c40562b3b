"""Reading a GraphQL request out of an HTTP request, and agreeing on the media type of the answer."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from email.message import Message
from typing import Any

import orjson
from starlette.requests import Request

from service.transport.documents import GraphQLRequest

GRAPHQL_RESPONSE = "application/graphql-response+json"
JSON = "application/json"

# Time a client may take to send its body, in seconds.
_BODY_TIMEOUT_S = 15

_MEDIA_RANGE = re.compile(r"\s*([\w!#$%&'*+.^`|~-]+/[\w!#$%&'*+.^`|~-]+)\s*((?:;[^;]*)*)")
_QUALITY = re.compile(r"(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)")


class RequestRefused(Exception):
    """An HTTP request that is not a GraphQL request, or not one this service takes."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers


def negotiate(accept: str | None) -> str:
    """The media type to answer in; raises RequestRefused (406).

    `application/json` where the client leaves the choice to us, as the GraphQL over HTTP draft and its audit want.
    """
    if accept is None or not accept.strip():
        return JSON
    ranges = _media_ranges(accept)
    best, best_rank = JSON, (0.0, 0, False)
    for offered in (GRAPHQL_RESPONSE, JSON):
        quality, precision = _match(offered, ranges)
        rank = (quality, precision, (offered == GRAPHQL_RESPONSE) == (precision == 3))
        if quality > 0 and rank > best_rank:
            best, best_rank = offered, rank
    if best_rank[0] == 0:
        raise RequestRefused(406, "NOT_ACCEPTABLE", f"Answers are {GRAPHQL_RESPONSE} or {JSON}; accept one of them.")
    return best


def _media_ranges(accept: str) -> dict[str, float]:
    ranges: dict[str, float] = {}
    for part in accept.lower().split(","):
        if not (match := _MEDIA_RANGE.fullmatch(part)):
            continue
        quality = 1.0
        for parameter in match[2].split(";"):
            name, _, value = (piece.strip(' "') for piece in parameter.partition("="))
            if name == "charset" and value not in ("utf-8", "utf8"):
                quality = 0.0
            elif name == "q":
                quality = min(quality, float(value)) if _QUALITY.fullmatch(value) else quality
        ranges[match[1]] = max(quality, ranges.get(match[1], 0.0))
    return ranges


def _match(offered: str, ranges: Mapping[str, float]) -> tuple[float, int]:
    for precision, candidate in ((3, offered), (2, "application/*"), (1, "*/*")):
        if candidate in ranges:
            return ranges[candidate], precision
    return 0.0, 0


def read_query_string(request: Request, max_bytes: int) -> GraphQLRequest:
    """The request in the query string of a GET; raises RequestRefused (400, 414)."""
    if len(request.scope["query_string"]) > max_bytes:
        raise RequestRefused(414, "TOO_LARGE", f"Send more than {max_bytes} bytes as POST, in smaller operations.")
    parameters: dict[str, Any] = dict(request.query_params)
    for name in ("variables", "extensions"):
        if parameters.get(name):
            parameters[name] = _load(parameters[name].encode("utf-8", "surrogatepass"))
        else:
            parameters.pop(name, None)
    return parse_parameters(parameters)


async def read_body(request: Request, max_bytes: int) -> GraphQLRequest:
    """The request in the JSON body of a POST; raises RequestRefused (400, 408, 413, 415).

    Reading stops at `max_bytes`, whatever length was announced. Only `application/json` is taken: no HTML form can
    send it, so a page of another origin must ask by preflight first.
    """
    _check_content_type(request)
    too_large = RequestRefused(
        413, "TOO_LARGE", f"A request may have {max_bytes} bytes; split it.", {"Connection": "close"}
    )
    announced = request.headers.get("content-length", "0")
    if not announced.isdecimal() or len(announced) > 18 or int(announced) > max_bytes:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(_BODY_TIMEOUT_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > max_bytes:
                    raise too_large
    except TimeoutError:
        message = f"The body did not arrive within {_BODY_TIMEOUT_S} s; try again."
        raise RequestRefused(408, "TIMEOUT", message, {"Connection": "close"}) from None
    return parse_parameters(_load(bytes(body)))


def _check_content_type(request: Request) -> None:
    header = Message()
    header["content-type"] = request.headers.get("content-type", "")
    charset = header.get_param("charset", "utf-8")
    encoded = request.headers.get("content-encoding", "identity").lower() != "identity"
    # `get_content_type` answers text/plain for what it cannot read.
    if header.get_content_type() != JSON or str(charset).lower() not in ("utf-8", "utf8") or encoded:
        raise RequestRefused(
            415,
            "UNSUPPORTED_MEDIA_TYPE",
            f"Send {JSON}, in UTF-8, uncompressed.",
            {"Accept": JSON, "Accept-Post": JSON},
        )


def _load(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        message = f"This is not JSON (RFC 8259, UTF-8): {error.msg} at line {error.lineno}, column {error.colno}."
        raise RequestRefused(400, "BAD_REQUEST", message) from None


def parse_parameters(parameters: Any) -> GraphQLRequest:
    """Check the types of the four parameters; raises RequestRefused (400)."""
    if not isinstance(parameters, dict):
        raise RequestRefused(400, "BAD_REQUEST", "Send one JSON object with a query; batches are not taken.")
    query = parameters.get("query")
    if not isinstance(query, str) or not query.strip():
        raise RequestRefused(400, "BAD_REQUEST", "`query` must be a GraphQL document, as a string.")
    variables = parameters.get("variables")
    extensions = parameters.get("extensions")
    for name, value in (("variables", variables), ("extensions", extensions)):
        if value is not None and not isinstance(value, dict):
            raise RequestRefused(400, "BAD_REQUEST", f"`{name}` must be an object or null.")
    operation_name = parameters.get("operationName")
    if operation_name is not None and not isinstance(operation_name, str):
        raise RequestRefused(400, "BAD_REQUEST", "`operationName` must be a string or null.")
    return GraphQLRequest(query, variables or {}, operation_name or None)
