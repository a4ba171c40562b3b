"""Errors as clients see them: expected ones in full, bugs masked and logged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import structlog
from graphql import GraphQLError

from service.log_lines import current_request_id
from service.stores.database import describe_outage, expected_error

log = structlog.get_logger("service.graphql")


def format_errors(errors: Iterable[GraphQLError]) -> list[dict[str, Any]]:
    """The `errors` entry of a GraphQL response.

    A MediaServiceError keeps its message and adds `extensions.code`, `retryable` and `retryAfterMs`. GraphQL's own
    errors (syntax, validation, coercion, or raised on purpose) pass. Anything else is a bug: the client gets
    "Internal error" and the request id under which the trace is logged.

    The errors lose their tracebacks: those hold the frames that hold the errors, and with them all of the request,
    until the garbage collector comes by.
    """
    formatted = []
    for error in errors:
        formatted.append(_format(error))
        _release(error)
    return formatted


def format_exception(error: Exception) -> dict[str, Any]:
    """The same for what was raised outside any field."""
    return _explain(error)


def _release(error: BaseException) -> None:
    pending: list[BaseException | None] = [error]
    while pending:
        # What has no traceback was not raised, or has been here before.
        if (each := pending.pop()) is None or (each.__traceback__ is None and each is not error):
            continue
        each.__traceback__ = None
        pending += (each.__cause__, each.__context__, getattr(each, "original_error", None))


def _format(error: GraphQLError) -> dict[str, Any]:
    formatted: dict[str, Any] = {**error.formatted}
    cause = _cause(error)
    # Without a path nothing had run yet: the cause is a scalar that refused what the client sent.
    if cause is None or error.path is None:
        return formatted | {"extensions": {"code": "BAD_USER_INPUT", **(error.extensions or {})}}
    return formatted | _explain(cause, error.path)


def _explain(error: Exception, path: Sequence[str | int] | None = None) -> dict[str, Any]:
    expected = expected_error(error)
    if expected is not None:
        if expected is not error:
            log.warning("database does not answer", path=path, error=describe_outage(error))
        extensions: dict[str, Any] = {"code": expected.code.value, "retryable": expected.retryable}
        if expected.retry_after_ms is not None:
            extensions["retryAfterMs"] = expected.retry_after_ms
        return {"message": expected.message, "extensions": extensions}
    log.error("unexpected error", path=path, exc_info=error)
    return {"message": "Internal error", "extensions": {"code": "INTERNAL", "requestId": current_request_id()}}


def _cause(error: GraphQLError) -> Exception | None:
    cause: Exception | None = error
    while isinstance(cause, GraphQLError):
        cause = cause.original_error
    return cause
