"""Errors as clients see them: expected ones in full, bugs masked and logged."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import structlog
from graphql import GraphQLError

from service.errors import MediaServiceError
from service.telemetry import current_request_id

log = structlog.get_logger("service.graphql")


def format_errors(errors: Iterable[GraphQLError]) -> list[dict[str, Any]]:
    """The `errors` entry of a GraphQL response.

    A MediaServiceError keeps its message and adds `extensions.code`, `retryable` and `retryAfterMs`. GraphQL's own
    errors (syntax, validation, coercion, or raised on purpose) pass. Anything else is a bug: the client gets
    "Internal error" and the request id under which the trace is logged.
    """
    return [_format(error) for error in errors]


def bug(error: Exception) -> GraphQLError:
    """Wrap what escaped from outside any field, so that format_errors masks and logs it."""
    return GraphQLError("Internal error", path=[], original_error=error)


def describe(error: MediaServiceError) -> dict[str, Any]:
    """The `extensions` of an expected error."""
    extensions: dict[str, Any] = {"code": error.code.value, "retryable": error.retryable}
    if error.retry_after_ms is not None:
        extensions["retryAfterMs"] = error.retry_after_ms
    return extensions


def _format(error: GraphQLError) -> dict[str, Any]:
    formatted: dict[str, Any] = {**error.formatted}
    if not formatted.get("path"):
        formatted.pop("path", None)
    cause = _cause(error)
    if isinstance(cause, MediaServiceError):
        formatted["message"] = cause.message
        formatted["extensions"] = describe(cause)
    # Without a path nothing had run yet: the cause is a scalar that refused what the client sent.
    elif cause is None or error.path is None:
        formatted["extensions"] = {"code": "BAD_USER_INPUT", **(error.extensions or {})}
    else:
        log.error("unexpected error in a resolver", path=error.path, exc_info=cause)
        formatted["message"] = "Internal error"
        formatted["extensions"] = {"code": "INTERNAL", "requestId": current_request_id()}
    return formatted


def _cause(error: GraphQLError) -> Exception | None:
    cause: Exception | None = error
    while isinstance(cause, GraphQLError):
        cause = cause.original_error
    return cause
