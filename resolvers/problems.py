"""The one mapping from errors to what a client sees in `userErrors`."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

import structlog

from service.errors import MediaServiceError, Problem, TemporarilyUnavailable
from service.stores.database import OUTAGE_ERRORS

T = TypeVar("T")

log = structlog.get_logger(__name__)


async def outcome_of(work: Awaitable[T]) -> tuple[T | None, list[Problem]]:
    """The result of a use case, or the expected problem it raised. Anything unexpected goes on up, to be masked."""
    try:
        return await work, []
    except MediaServiceError as error:
        return None, [error.problem()]
    except OUTAGE_ERRORS as error:
        log.warning("database does not answer", error=repr(error))
        return None, [
            TemporarilyUnavailable("The service cannot reach its database; send the same request again.").problem()
        ]
