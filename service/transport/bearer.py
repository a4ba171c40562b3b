"""The bearer token of a request, wherever the client could put it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.datastructures import Headers

from service.auth import Unauthenticated


def token_of_headers(headers: Headers) -> str | None:
    """The token of the `Authorization` header, None without one; raises Unauthenticated for another form."""
    values = headers.getlist("authorization")
    if len(values) > 1:
        raise Unauthenticated("Send one Authorization header.")
    return _token(values[0]) if values else None


def token_of_params(params: Mapping[str, Any]) -> str | None:
    """The token of `connection_init`: `{"authorization": "Bearer ..."}` in any case, or `{"authToken": "..."}`.

    None where neither is given; raises Unauthenticated for another form.
    """
    for name, value in params.items():
        if name.lower() == "authorization" and value is not None:
            return _token(value)
    token = params.get("authToken")
    if token is not None and not isinstance(token, str):
        raise Unauthenticated("authToken must be a string.")
    return token


def _token(header: object) -> str:
    scheme, _, token = header.partition(" ") if isinstance(header, str) else ("", "", "")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated("Send the token as `Bearer <token>`.")
    return token.strip()
