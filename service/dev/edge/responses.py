"""What the edge answers: objects whole, in part or unchanged (RFC 9110), and CloudFront's own errors."""

from __future__ import annotations

import re
from datetime import UTC
from email.utils import format_datetime
from typing import TYPE_CHECKING
from uuid import uuid4
from xml.sax.saxutils import escape

from starlette.responses import Response

from service.dev.edge.dates import http_date
from service.dev.edge.origin import Failure
from service.dev.edge.ranges import parse_ranges

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.datastructures import Headers

    from service.dev.edge.denials import DenialCode
    from service.dev.edge.origin import OriginObject

_ENTITY_TAG = re.compile(r'(?:W/)?("[^"]*")')

_ERROR_HEADERS = {"X-Cache": "Error from cloudfront"}
_REFUSED = (
    "<!DOCTYPE html><HTML><HEAD><TITLE>ERROR: The request could not be satisfied</TITLE></HEAD><BODY>"
    "<H1>{status} ERROR</H1>{explanation}</BODY></HTML>"
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
    explanation = (
        "This distribution is not configured to allow the HTTP request method that was used for this request. "
        "The distribution supports only cachable requests."
    )
    return _refused(403, explanation)


def url_too_long() -> Response:
    """For a URL of more than 8,192 bytes."""
    return _refused(414, "Request URI is too long.")


def _refused(status: int, explanation: str) -> Response:
    return Response(_REFUSED.format(status=status, explanation=explanation), status, _ERROR_HEADERS, "text/html")


def _error(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> Response:
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f"<Error><Code>{escape(code)}</Code><Message>{escape(message)}</Message></Error>"
    )
    return Response(body, status, {**_ERROR_HEADERS, **(headers or {}), "Content-Type": "text/xml"})


def serve(method: str, asked: Headers, found: OriginObject, headers: Mapping[str, str]) -> Response:
    """The object, the part of it or the 304 that a GET or HEAD with the headers `asked` gets."""
    described = {
        **headers,
        "ETag": f'"{found.etag}"',
        "Last-Modified": format_datetime(found.last_modified.astimezone(UTC), usegmt=True),
        "Accept-Ranges": "bytes",
    }
    if found.cache_control is not None:
        described["Cache-Control"] = found.cache_control
    if found.expires is not None:
        described["Expires"] = found.expires
    if _unchanged(asked, found):
        return Response(status_code=304, headers=described)
    if method == "HEAD":
        described["Content-Length"] = str(len(found.body))
        return Response(headers={**described, "Content-Type": found.content_type})
    return _whole_or_part(asked, found, described)


def _whole_or_part(asked: Headers, found: OriginObject, described: dict[str, str]) -> Response:
    size = len(found.body)
    parts = parse_ranges(asked.get("range", "").strip(), size) if _range_applies(asked, found) else None
    if parts is None:
        return Response(found.body, headers={**described, "Content-Type": found.content_type})
    if not parts:
        message = "The requested range is not satisfiable"
        return _error(416, "InvalidRange", message, {"Content-Range": f"bytes */{size}"})
    if len(parts) > 1:
        return _several(found, parts, described)
    part = parts[0]
    described |= {"Content-Type": found.content_type, "Content-Range": _content_range(part, size)}
    return Response(found.body[part.start : part.stop], 206, described)


def _several(found: OriginObject, parts: list[range], described: Mapping[str, str]) -> Response:
    """RFC 9110 section 14.6."""
    boundary = uuid4().hex
    body = bytearray()
    for part in parts:
        head = f"Content-Type: {found.content_type}\r\nContent-Range: {_content_range(part, len(found.body))}"
        body += f"--{boundary}\r\n{head}\r\n\r\n".encode() + found.body[part.start : part.stop] + b"\r\n"
    body += f"--{boundary}--\r\n".encode()
    return Response(bytes(body), 206, {**described, "Content-Type": f"multipart/byteranges; boundary={boundary}"})


def _content_range(part: range, size: int) -> str:
    return f"bytes {part.start}-{part.stop - 1}/{size}"


def _unchanged(asked: Headers, found: OriginObject) -> bool:
    if "if-none-match" in asked:
        tags = asked["if-none-match"]
        return tags.strip() == "*" or f'"{found.etag}"' in _ENTITY_TAG.findall(tags)
    return not _changed_since(asked.get("if-modified-since"), found)


def _changed_since(date: str | None, found: OriginObject) -> bool:
    if date is None:
        return True
    since = http_date(date)
    return since is None or found.last_modified.replace(microsecond=0) > since


def _range_applies(asked: Headers, found: OriginObject) -> bool:
    """If-Range: a part is only any use to a client that holds the rest of the same bytes."""
    condition = asked.get("if-range")
    if condition is None:
        return True
    if condition.startswith('"'):
        return condition == f'"{found.etag}"'
    return not _changed_since(condition, found)
