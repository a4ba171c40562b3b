"""Scalars that GraphQL does not have, each checked in both directions."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NewType

import orjson
import strawberry
from graphql import GraphQLError

ByteSize = NewType("ByteSize", int)
SHA256 = NewType("SHA256", str)
PerceptualHash = NewType("PerceptualHash", str)
URL = NewType("URL", str)

MAX_SAFE_INTEGER = 2**53 - 1


def _parse_byte_size(value: Any) -> ByteSize:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_SAFE_INTEGER:
        raise GraphQLError("ByteSize must be a whole number of bytes from 0 to 2^53-1.")
    return ByteSize(value)


def _parse_text(name: str, pattern: str, expected: str) -> Callable[[Any], str]:
    compiled = re.compile(pattern)

    def parse(value: Any) -> str:
        if not isinstance(value, str) or not compiled.fullmatch(value):
            raise GraphQLError(f"{name} must be {expected}.")
        return value

    return parse


def _parse_date_time(value: Any) -> datetime:
    try:
        parsed = datetime.fromisoformat(value)
        moment = None if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, TypeError, OverflowError):
        moment = None
    if moment is None:
        raise GraphQLError("DateTime must be RFC 3339 with an offset, e.g. 2026-01-31T12:00:00Z.")
    return moment


def _serialize_date_time(value: datetime) -> str:
    if not isinstance(value, datetime):
        raise TypeError("not a moment")
    # orjson writes a datetime in a third of the time that `isoformat` takes, with as many digits as there are.
    text = orjson.dumps(value, option=orjson.OPT_UTC_Z)[1:-1].decode()
    if not text.endswith("Z"):
        return _serialize_date_time(value.astimezone(UTC))
    return f"{text[:19]}.{text[20:23] or '000'}Z"


SCALAR_MAP: dict[object, Any] = {
    ByteSize: strawberry.scalar(
        name="ByteSize",
        description="Whole number of bytes, up to 2^53-1.",
        serialize=int,
        parse_value=_parse_byte_size,
    ),
    SHA256: strawberry.scalar(
        name="SHA256",
        description="Lower-case hex SHA-256, 64 characters.",
        parse_value=_parse_text("SHA256", "[0-9a-f]{64}", "64 lower-case hex characters"),
    ),
    PerceptualHash: strawberry.scalar(
        name="PerceptualHash",
        description="64-bit perceptual hash, 16 lower-case hex characters.",
        parse_value=_parse_text("PerceptualHash", "[0-9a-f]{16}", "16 lower-case hex characters"),
    ),
    URL: strawberry.scalar(
        name="URL",
        description="An absolute address.",
        specified_by_url="https://url.spec.whatwg.org/",
        parse_value=_parse_text("URL", "https?://[^ ]+", "an absolute http or https address"),
    ),
    datetime: strawberry.scalar(
        name="DateTime",
        description="RFC 3339 in UTC with milliseconds.",
        specified_by_url="https://scalars.graphql.org/andimarek/date-time.html",
        serialize=_serialize_date_time,
        parse_value=_parse_date_time,
    ),
}
