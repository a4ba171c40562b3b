"""The one mapping from errors to what a client sees in `userErrors`."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

import structlog

from service.errors import MediaServiceError, Problem
from service.stores.database import OUTAGE_ERRORS, expected_error

T = TypeVar("T")

EXPECTED_ERRORS: tuple[type[Exception], ...] = (MediaServiceError, *OUTAGE_ERRORS)

log = structlog.get_logger(__name__)


async def outcome_of(work: Awaitable[T]) -> tuple[T | None, list[Problem]]:
    """The result of a use case, or the expected problems it raised. Anything unexpected goes on up, to be masked."""
    try:
        return await work, []
    except EXPECTED_ERRORS as error:
        expected = expected_error(error)
        if expected is not error:
            log.warning("database does not answer", error=repr(error))
        return None, [] if expected is None else expected.problems()
