"""Reading a GraphQL request out of an HTTP request, and agreeing on the media type of the answer."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from email.message import Message
from functools import lru_cache
from typing import Any

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.types import Scope

from service.transport.documents import GraphQLRequest
from service.transport.received import received_bytes
from service.transport.reply import RawHeaders, header_of
from service.transport.trusted_documents import sha256_hex

GRAPHQL_RESPONSE = "application/graphql-response+json"
JSON = "application/json"
JSON_TYPES = (GRAPHQL_RESPONSE, JSON)

# Time a client may take to send its body, in seconds.
_BODY_TIMEOUT_S = 15

# In the order in which they count.
_DOCUMENT_ID_PARAMETERS = ("documentId", "doc_id", "id")
_MAX_DOCUMENT_ID = 200

# Longer headers are read anew each time, so that nobody fills the memory of those that were read.
_REMEMBERED_CHARACTERS = 200

_MEDIA_RANGE = re.compile(r"\s*([\w!#$%&'*+.^`|~-]+/[\w!#$%&'*+.^`|~-]+)\s*((?:;[^;]*)*)")
_QUALITY = re.compile(r"(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)")


class RequestRefused(Exception):
    """An HTTP request that is not a GraphQL request, or not one this service takes.

    `extensions`: what the error says besides its code. `raw_headers` are sent beside `headers`.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        headers: Mapping[str, str] | None = None,
        *,
        extensions: Mapping[str, object] | None = None,
        raw_headers: RawHeaders = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers
        self.extensions = extensions or {}
        self.raw_headers = raw_headers


def negotiate(accept: str | None) -> str:
    """The media type to answer in; raises RequestRefused (406).

    `application/json` where the client leaves the choice to us, as the GraphQL over HTTP draft and its audit want.
    """
    if accept is None:
        return JSON
    return _negotiate_remembered(accept) if len(accept) <= _REMEMBERED_CHARACTERS else _negotiate(accept)


def _negotiate(accept: str) -> str:
    if not accept.strip():
        return JSON
    ranges = _media_ranges(accept)
    best, best_rank = JSON, (0.0, 0, False)
    for offered in JSON_TYPES:
        quality, precision = _match(offered, ranges)
        rank = (quality, precision, (offered == GRAPHQL_RESPONSE) == (precision == 3))
        if quality > 0 and rank > best_rank:
            best, best_rank = offered, rank
    if best_rank[0] == 0:
        raise RequestRefused(406, "NOT_ACCEPTABLE", f"Answers are {GRAPHQL_RESPONSE} or {JSON}; accept one of them.")
    return best


_negotiate_remembered = lru_cache(maxsize=256)(_negotiate)


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


def stream_quality(accept: str, stream_type: str) -> tuple[float, float]:
    """How much `accept` wants `stream_type`, which it must name, and how much any of `JSON_TYPES`: 0 to 1 each."""
    ranges = _media_ranges(accept)
    return ranges.get(stream_type, 0.0), max(_match(offered, ranges)[0] for offered in JSON_TYPES)


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
    scope = request.scope
    _check_content_type(scope)
    announced = header_of(scope, b"content-length") or "0"
    if not announced.isdecimal() or len(announced) > 18 or int(announced) > max_bytes:
        raise _too_large(max_bytes)
    body, more = bytearray(), True
    try:
        async with asyncio.timeout(_BODY_TIMEOUT_S):
            while more:
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                body += message.get("body", b"")
                if len(body) > max_bytes:
                    raise _too_large(max_bytes)
                more = message.get("more_body", False)
    except TimeoutError:
        text = f"The body did not arrive within {_BODY_TIMEOUT_S} s; try again."
        raise RequestRefused(408, "TIMEOUT", text, {"Connection": "close"}) from None
    received_bytes.add(len(body))
    return parse_parameters(_load(body))


def _too_large(max_bytes: int) -> RequestRefused:
    # The connection stays, for as long as the server lets it send the rest: most clients read no answer before that.
    return RequestRefused(413, "TOO_LARGE", f"A request may have {max_bytes} bytes; split it.")


def _check_content_type(scope: Scope) -> None:
    content_type = header_of(scope, b"content-type") or ""
    encoded = (header_of(scope, b"content-encoding") or "identity").lower() != "identity"
    short = len(content_type) <= _REMEMBERED_CHARACTERS
    if encoded or not (_is_json_remembered if short else _is_json)(content_type):
        raise RequestRefused(
            415,
            "UNSUPPORTED_MEDIA_TYPE",
            f"Send {JSON}, in UTF-8, uncompressed.",
            {"Accept": JSON, "Accept-Post": JSON},
        )


def _is_json(content_type: str) -> bool:
    header = Message()
    header["content-type"] = content_type
    charset = str(header.get_param("charset", "utf-8"))
    # `get_content_type` answers text/plain for what it cannot read.
    return header.get_content_type() == JSON and charset.lower() in ("utf-8", "utf8")


_is_json_remembered = lru_cache(maxsize=256)(_is_json)


def _load(text: bytes | bytearray) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        message = f"This is not JSON (RFC 8259, UTF-8): {error.msg} at line {error.lineno}, column {error.colno}."
        raise RequestRefused(400, "BAD_REQUEST", message) from None


def parse_parameters(parameters: Any) -> GraphQLRequest:
    """Check the types of the parameters; raises RequestRefused (400).

    A document is sent as `query`, or named: by `documentId` (https://github.com/graphql/graphql-over-http, appendix on
    persisted documents), under the names `doc_id` or `id` as Relay's network layers send it, or by
    `extensions.persistedQuery.sha256Hash` as Apollo and urql do.
    """
    if not isinstance(parameters, dict):
        raise RequestRefused(400, "BAD_REQUEST", "Send one JSON object with a query; batches are not taken.")
    variables = parameters.get("variables")
    extensions = parameters.get("extensions")
    for name, value in (("variables", variables), ("extensions", extensions)):
        if value is not None and not isinstance(value, dict):
            raise RequestRefused(400, "BAD_REQUEST", f"`{name}` must be an object or null.")
    operation_name = parameters.get("operationName")
    if operation_name is not None and not isinstance(operation_name, str):
        raise RequestRefused(400, "BAD_REQUEST", "`operationName` must be a string or null.")
    query = parameters.get("query")
    if extensions and extensions.get("persistedQuery") is not None:
        text, digest = _persisted(query, extensions["persistedQuery"])
        return GraphQLRequest(text, variables or {}, operation_name or None, digest, automatic=True)
    if isinstance(query, str) and query and not query.isspace():
        if parameters.get("documentId") is not None:
            raise RequestRefused(400, "BAD_REQUEST", "Send `query` or `documentId`, not both.")
        return GraphQLRequest(query, variables or {}, operation_name or None)
    if query:
        raise RequestRefused(400, "BAD_REQUEST", "`query` must be a GraphQL document, as a string.")
    return GraphQLRequest("", variables or {}, operation_name or None, _document_id(parameters))


def _document_id(parameters: Mapping[str, Any]) -> str:
    for name in _DOCUMENT_ID_PARAMETERS:
        if (value := parameters.get(name)) is not None:
            if not isinstance(value, str) or not 0 < len(value) <= _MAX_DOCUMENT_ID:
                message = f"`{name}` must be a string of 1 to {_MAX_DOCUMENT_ID} characters."
                raise RequestRefused(400, "BAD_REQUEST", message)
            return value
    raise RequestRefused(400, "BAD_REQUEST", "`query` must be a GraphQL document, as a string; or send a `documentId`.")


def _persisted(query: object, persisted: object) -> tuple[str, str]:
    """The text, empty if it was not sent, and the hash of a persisted query."""
    version, digest = (persisted.get("version"), persisted.get("sha256Hash")) if isinstance(persisted, dict) else (0, 0)
    if version != 1 or not isinstance(digest, str) or not 0 < len(digest) <= _MAX_DOCUMENT_ID:
        message = "`extensions.persistedQuery` needs version 1 and a sha256Hash, as a string."
        raise RequestRefused(400, "BAD_REQUEST", message)
    if not query:
        return "", digest
    if not isinstance(query, str):
        raise RequestRefused(400, "BAD_REQUEST", "`query` must be a GraphQL document, as a string.")
    if sha256_hex(query) != digest.lower():
        raise RequestRefused(400, "PERSISTED_QUERY_HASH_MISMATCH", "provided sha does not match query")
    return query, digest
