"""GraphQL over HTTP, seen from the client: one request, and what its answer means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import orjson

from service.client.connection import Connection
from service.client.errors import ApiError, Unreachable
from service.client.outages import in_words

_ACCEPT = "application/graphql-response+json, application/json;q=0.9"
_TRY_AGAIN = (408, 425, 429)


async def run_operation(
    http: httpx.AsyncClient, connection: Connection, query: str, variables: Mapping[str, Any]
) -> dict[str, Any]:
    """The data of one operation. Raises ApiError, or Unreachable if there is no usable answer."""
    body = orjson.dumps({"query": query, "variables": variables})
    headers = {"Accept": _ACCEPT, "Content-Type": "application/json", **connection.headers}
    try:
        response = await http.post(connection.url, content=body, headers=headers)
    except httpx.HTTPError as error:
        reason = f"does not answer ({in_words(error)})"
        raise Unreachable(f"{connection.place} {reason}.", reason=reason) from error
    return _data(connection, response)


def _data(connection: Connection, response: httpx.Response) -> dict[str, Any]:
    answer = _json_object(response)
    if errors := answer.get("errors"):
        raise api_error(errors, retryable=_may_pass(response.status_code), retry_after_s=_retry_after(response))
    if isinstance(data := answer.get("data"), dict):
        return data
    if _may_pass(response.status_code):
        reason = f"answers with status {response.status_code}"
        raise Unreachable(f"{connection.place} {reason}.", reason=reason, retry_after_s=_retry_after(response))
    message = f"{connection.url} answers with status {response.status_code} but not in GraphQL; is the address right?"
    raise ApiError("NOT_GRAPHQL", message)


def _json_object(response: httpx.Response) -> dict[str, Any]:
    try:
        answer = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _may_pass(status: int) -> bool:
    return status >= 500 or status in _TRY_AGAIN


def _retry_after(response: httpx.Response) -> float:
    seconds = response.headers.get("retry-after", "")
    return float(seconds) if seconds.isdecimal() else 0


def api_error(errors: Sequence[Any], *, retryable: bool = False, retry_after_s: float = 0) -> ApiError:
    """The first of GraphQL's `errors`. The other arguments hold where it does not say so itself."""
    first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
    extensions = first.get("extensions") or {}
    return ApiError(
        str(extensions.get("code", "GRAPHQL_ERROR")),
        str(first.get("message", "The API answered with an error that it does not explain.")),
        retryable=bool(extensions.get("retryable", retryable)),
        retry_after_s=(extensions.get("retryAfterMs") or retry_after_s * 1000) / 1000,
    )


def user_error(error: Mapping[str, Any]) -> ApiError:
    """One entry of a payload's `userErrors`."""
    return ApiError(
        error["code"],
        error["message"],
        retryable=error["retryable"],
        retry_after_s=(error["retryAfterMs"] or 0) / 1000,
    )
