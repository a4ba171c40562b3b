"""Who does not answer, while that is so: told at the first failure, when the reason changes, and when it is over."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import httpx

from service.client.errors import INCOMPLETE, RATE_LIMITED, ClientError, Unreachable, UnusableFile

T = TypeVar("T")

# Whoever says so does answer.
_NO_OUTAGE = (INCOMPLETE, RATE_LIMITED)


@dataclass(frozen=True, slots=True)
class Outage:
    """What to say of a place, "The API at https://host/graphql" or "Storage at https://host".

    `reason`: what it does instead of serving, e.g. "does not answer (connection refused, nothing listens there)"; None
    once it serves again.
    """

    place: str
    reason: str | None


OnOutage = Callable[[Outage], None]


class Outages:
    """What is known of each place; `listener` hears of changes only."""

    def __init__(self) -> None:
        self.listener: OnOutage = lambda outage: None
        self._reasons: dict[str, str] = {}

    async def reach(self, place: str, attempt: Callable[[], Awaitable[T]]) -> T:
        """The result of `attempt`, or what it raises; either says whether `place` answers."""
        try:
            result = await attempt()
        except ClientError as error:
            # A file that cannot be read says nothing of whoever was to get it.
            if not isinstance(error, UnusableFile):
                self.note(place, error)
            raise
        self.note(place, None)
        return result

    def note(self, place: str, error: ClientError | None) -> None:
        """`place` has served (None), or answered or failed with `error`."""
        reason = None if error is None else _reason(error)
        if reason == self._reasons.get(place):
            return
        if reason is None:
            del self._reasons[place]
        else:
            self._reasons[place] = reason
        self.listener(Outage(place, reason))


def _reason(error: ClientError) -> str | None:
    """None if whoever was asked did answer."""
    if isinstance(error, Unreachable):
        return error.reason
    is_outage = error.retryable and error.code not in _NO_OUTAGE
    return f"answers {error.code} ({error.message.rstrip('.')})" if is_outage else None


def in_words(error: Exception) -> str:
    """Why a connection failed, from whichever of the errors that led to `error` knows best."""
    if isinstance(error, httpx.TimeoutException):
        return "no answer in time"
    return next(filter(None, map(_known, _causes(error))), None) or str(error) or type(error).__name__


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    # What this client was busy with already explains nothing.
    while error is not None and not isinstance(error, ClientError):
        # One for each address of a host; the first is as good as any.
        error = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error
        yield error
        # httpcore drops the cause, for shorter tracebacks.
        error = error.__cause__ or error.__context__


def _known(error: BaseException) -> str | None:
    match error:
        case ConnectionRefusedError():
            return "connection refused, nothing listens there"
        case socket.gaierror() | ssl.SSLError():
            return error.strerror
        case OSError(errno=int(number)):
            return os.strerror(number)
        case _:
            return None
