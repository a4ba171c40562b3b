"""HTTP dates as clients and origins send them: RFC 9110 section 5.6.7."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def http_date(text: str) -> datetime | None:
    """The moment in UTC; None for what is no date, names no zone, or lies outside the calendar."""
    try:
        moment = parsedate_to_datetime(text)
        return None if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
