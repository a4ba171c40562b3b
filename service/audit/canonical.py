"""JSON in the one form that hashes are taken of: RFC 8785, the JSON Canonicalization Scheme (JCS)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from decimal import Decimal

# Beyond it a double, which JSON's numbers are to most readers, does not hold every integer (RFC 7493, 2.2).
LARGEST_INTEGER = 2**53 - 1
# ECMAScript's Number::toString writes numbers below 10^21 without an exponent, and down to 10^-6.
_MOST_DIGITS = 21
_MOST_ZEROS = 6


def canonical_json(value: object) -> bytes:
    """`value` as RFC 8785 writes it: no blanks, keys in the order of their UTF-16 code units, numbers as ECMAScript.

    Takes None, booleans, integers up to 2^53 - 1, floats, strings, lists, tuples, and mappings with strings as keys.
    Raises ValueError for what has no canonical form: NaN, infinities, larger integers, lone surrogates, other types,
    and hundreds of lists in one another.
    """
    try:
        return _written(value).encode()
    except RecursionError:
        raise ValueError("it is nested too deeply to have a canonical form") from None


def _written(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, int | float):
        return _number(value)
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_written, value))}]"
    if isinstance(value, Mapping):
        members = (f"{_string(key)}:{_written(value[key])}" for key in sorted(value, key=_utf_16))
        return f"{{{','.join(members)}}}"
    raise ValueError(f"{type(value).__name__} has no canonical form")


def _utf_16(key: object) -> bytes:
    if not isinstance(key, str):
        raise ValueError(f"keys are strings, not {type(key).__name__}")  # noqa: TRY004 - as all that has no form
    # UnicodeEncodeError, for a lone surrogate, is a ValueError.
    return key.encode("utf-16-be")


def _string(text: str) -> str:
    # Where nothing but ASCII is to be escaped, json writes exactly the escapes of RFC 8785, 3.2.2.2.
    return json.dumps(text, ensure_ascii=False)


def _number(number: float) -> str:
    if isinstance(number, int):
        if abs(number) > LARGEST_INTEGER:
            raise ValueError(f"{number} is beyond what a double holds exactly")
        return str(number)
    if not math.isfinite(number):
        raise ValueError(f"{number} is no number of JSON")
    if number == 0:
        return "0"
    sign = "-" if number < 0 else ""
    return sign + _positive(abs(number))


def _positive(number: float) -> str:
    """ECMAScript's Number::toString; Python's repr has the same, shortest digits, and sets them otherwise."""
    _, digit_values, exponent = Decimal(repr(number)).normalize().as_tuple()
    digits, point = "".join(map(str, digit_values)), len(digit_values) + int(exponent)
    if len(digits) <= point <= _MOST_DIGITS:
        return digits + "0" * (point - len(digits))
    if 0 < point <= _MOST_DIGITS:
        return f"{digits[:point]}.{digits[point:]}"
    if -_MOST_ZEROS < point <= 0:
        return f"0.{'0' * -point}{digits}"
    mantissa = digits[0] + (f".{digits[1:]}" if len(digits) > 1 else "")
    return f"{mantissa}e{point - 1:+d}"
