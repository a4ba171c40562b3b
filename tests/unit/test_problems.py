from __future__ import annotations

import pytest
from graphql import GraphQLError
from pymongo.errors import (
    AutoReconnect,
    DuplicateKeyError,
    ExecutionTimeout,
    NetworkTimeout,
    ServerSelectionTimeoutError,
)

from resolvers.problems import outcome_of
from service.errors import ErrorCode, NotFound
from service.transport.problems import format_errors

OUTAGES = [ServerSelectionTimeoutError, AutoReconnect, NetworkTimeout, ExecutionTimeout]


async def failing(error: Exception) -> None:
    raise error


@pytest.mark.parametrize("outage", OUTAGES)
async def test_an_outage_is_a_retryable_problem_on_both_roads(outage: type[Exception]) -> None:
    error = outage("10.0.0.7:27017 refused")
    _, [problem] = await outcome_of(failing(error))
    [formatted] = format_errors([GraphQLError("", path=["feed"], original_error=error)])
    assert (problem.code, problem.retryable) == (ErrorCode.TEMPORARILY_UNAVAILABLE, True)
    assert formatted["extensions"] == {"code": "TEMPORARILY_UNAVAILABLE", "retryable": True, "retryAfterMs": 1000}
    # Where the database stands is nobody's business.
    assert "10.0.0.7" not in f"{problem}{formatted}"


async def test_expected_errors_become_problems_and_bugs_go_on_up() -> None:
    assert (await outcome_of(failing(NotFound("There is no such media."))))[1][0].code is ErrorCode.NOT_FOUND
    with pytest.raises(DuplicateKeyError):
        await outcome_of(failing(DuplicateKeyError("secret")))
    [formatted] = format_errors([GraphQLError("", path=["feed"], original_error=DuplicateKeyError("secret"))])
    assert formatted["extensions"]["code"] == "INTERNAL"
    assert "secret" not in str(formatted)
