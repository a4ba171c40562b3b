"""Which bytes a Range header asks for, as CloudFront takes it (RFC 9110 section 14, and stricter on lists).

Rules: Amazon CloudFront Developer Guide, "How CloudFront processes partial requests for an object (range GETs)".
"""

from __future__ import annotations

import re

_UNIT = "bytes="
_SPEC = re.compile(r"([0-9]{0,18})-([0-9]{0,18})")


def parse_ranges(header: str, size: int) -> list[range] | None:
    """The ranges of an object of `size` bytes that `header` asks for: none if all lie beyond its end.

    None stands for the whole object: for a header that is not understood, and for ranges that overlap or are out of
    order.
    """
    if not header.startswith(_UNIT):
        return None
    asked: list[range] = []
    for spec in header.removeprefix(_UNIT).split(","):
        part = _parse(spec.strip(), size)
        if part is None or (asked and part.start < asked[-1].stop):
            return None
        asked.append(part)
    return [part for part in asked if part]


def _parse(spec: str, size: int) -> range | None:
    match = _SPEC.fullmatch(spec)
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        return range(max(0, size - int(match[2])), size)
    first = int(match[1])
    last = int(match[2]) if match[2] else max(first, size - 1)
    return None if last < first else range(first, max(first, min(last + 1, size)))
