"""JSON out: orjson, and an answer even for values that orjson refuses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import orjson
from starlette.responses import Response


def encode_json(value: Any) -> bytes:
    """Encode `value` as UTF-8 JSON.

    A lone surrogate (a client may echo one through an alias or a message) and integers beyond 64 bits are beyond
    orjson; the slower standard encoder escapes the one and writes the other. NaN and infinities become null.
    """
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return json.dumps(value, separators=(",", ":"), allow_nan=False, default=str).encode()


def json_response(
    status: int, *, code: str, message: str, headers: Mapping[str, str] | None = None, **extensions: Any
) -> Response:
    """One error outside any GraphQL operation, in the shape GraphQL clients know."""
    body = {"errors": [{"message": message, "extensions": {"code": code, **extensions}}]}
    return Response(encode_json(body), status, headers, media_type="application/json")
