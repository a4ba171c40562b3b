"""What the edge answers: objects whole, in part or unchanged (RFC 9110), and CloudFront's own errors."""

from __future__ import annotations

import re
from datetime import UTC
from email.utils import format_datetime, parsedate_to_datetime
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from starlette.responses import Response

from service.dev.edge.cache import Failure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.datastructures import Headers

    from service.dev.edge.verification import DenialCode
    from service.object_store import ObjectBody

_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
_ENTITY_TAG = re.compile(r'(?:W/)?("[^"]*")')

_ERROR_HEADERS = {"X-Cache": "Error from cloudfront"}
_METHOD_REFUSED = (
    "<!DOCTYPE html><HTML><HEAD><TITLE>ERROR: The request could not be satisfied</TITLE></HEAD><BODY>"
    "<H1>403 ERROR</H1>This distribution is not configured to allow the HTTP request method that was used for this "
    "request. The distribution supports only cachable requests.</BODY></HTML>"
)


def denied(code: DenialCode) -> Response:
    """CloudFront's own refusal, byte for byte."""
    return _error(403, code, code.message)


def failed(failure: Failure) -> Response:
    """What comes back when the origin has no object: a bucket that may only be read says 403 for what is not there."""
    if failure is Failure.MISSING:
        return _error(403, "AccessDenied", "Access Denied")
    return _error(503, "ServiceUnavailable", "The origin did not answer; try again shortly.")


def method_refused() -> Response:
    """For anything but GET and HEAD."""
    return Response(_METHOD_REFUSED, 403, _ERROR_HEADERS, "text/html")


def _error(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> Response:
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f"<Error><Code>{escape(code)}</Code><Message>{escape(message)}</Message></Error>"
    )
    return Response(body, status, {**_ERROR_HEADERS, **(headers or {}), "Content-Type": "text/xml"})


def serve(method: str, asked: Headers, found: ObjectBody, headers: Mapping[str, str]) -> Response:
    """The object, the part of it or the 304 that a GET or HEAD with the headers `asked` gets."""
    described = {
        **headers,
        "ETag": f'"{found.etag}"',
        "Last-Modified": format_datetime(found.last_modified.astimezone(UTC), usegmt=True),
        "Accept-Ranges": "bytes",
        "X-Content-Type-Options": "nosniff",
    }
    if found.cache_control is not None:
        described["Cache-Control"] = found.cache_control
    if _unchanged(asked, found):
        return Response(status_code=304, headers=described)
    described["Content-Type"] = found.content_type
    if method == "HEAD":
        return Response(headers={**described, "Content-Length": str(len(found.body))})
    return _whole_or_part(asked, found, described)


def _whole_or_part(asked: Headers, found: ObjectBody, described: dict[str, str]) -> Response:
    size = len(found.body)
    part = _part(asked.get("range", ""), size) if _range_applies(asked, found) else None
    if part is None:
        return Response(found.body, headers=described)
    if not part:
        message = "The requested range is not satisfiable"
        return _error(416, "InvalidRange", message, {"Content-Range": f"bytes */{size}"})
    described["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{size}"
    return Response(found.body[part.start : part.stop], 206, described)


def _part(value: str, size: int) -> range | None:
    """The bytes asked for: None for all of them (also when not understood), an empty range if there are none such."""
    match = _RANGE.fullmatch(value.strip())
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        return range(max(0, size - int(match[2])), size)
    first, last = int(match[1]), int(match[2] or size)
    return None if match[2] and last < first else range(first, min(last + 1, size))


def _unchanged(asked: Headers, found: ObjectBody) -> bool:
    if "if-none-match" in asked:
        tags = asked["if-none-match"]
        return tags.strip() == "*" or f'"{found.etag}"' in _ENTITY_TAG.findall(tags)
    return not _changed_since(asked.get("if-modified-since"), found)


def _changed_since(date: str | None, found: ObjectBody) -> bool:
    if date is None:
        return True
    try:
        since = parsedate_to_datetime(date)
    except ValueError:
        return True
    # A date without a zone cannot be compared; HTTP dates always carry GMT.
    return since.tzinfo is None or found.last_modified.replace(microsecond=0) > since


def _range_applies(asked: Headers, found: ObjectBody) -> bool:
    """If-Range: a part is only any use to a client that holds the rest of the same bytes."""
    condition = asked.get("if-range")
    if condition is None:
        return True
    if condition.startswith('"'):
        return condition == f'"{found.etag}"'
    return not _changed_since(condition, found)
