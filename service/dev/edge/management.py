"""CloudFront's management API, as far as invalidations go and as its clients speak it, on the edge's own port.

No signature is checked. It listens on this machine only, and whoever can reach it can do no more than empty a cache.
Formats: CloudFront API Reference 2020-05-31, CreateInvalidation, GetInvalidation, ListInvalidations and, of what
distributions are configured to do, that part of GetDistributionConfig which concerns invalidations.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import wraps
from typing import TYPE_CHECKING, Final
from uuid import uuid4
from xml.etree.ElementTree import Element, ParseError, SubElement, fromstring, tostring

from starlette.responses import Response
from starlette.routing import Route

from service.dev.edge.invalidations import InvalidationRefused
from service.distribution import CACHE_TAG_HEADER

if TYPE_CHECKING:
    from starlette.requests import Request

    from service.dev.edge.invalidations import Invalidation, Invalidations

_NAMESPACE: Final = "http://cloudfront.amazonaws.com/doc/2020-05-31/"
# There is one distribution, whatever it is called.
_DISTRIBUTION: Final = "/2020-05-31/distribution/{distribution_id}"
_PATH: Final = f"{_DISTRIBUTION}/invalidation"
_MAX_BODY_BYTES: Final = 8 * 1024 * 1024
_MAX_ITEMS: Final = 100
_ID: Final = re.compile(r"[A-Z0-9]{0,64}")
_DIGITS: Final = re.compile(r"[0-9]{1,6}")

Handler = Callable[["Request"], Awaitable[Response]]


def management_routes(invalidations: Invalidations) -> list[Route]:
    """The three operations on `invalidations`, and the one that tells whether tags work."""

    async def create(request: Request) -> Response:
        reference, items = _batch(await _body(request))
        created = invalidations.create(reference, items)
        location = {"Location": f"{str(request.url).rstrip('/')}/{created.id}"}
        return _xml(_described(created), 201, location)

    async def get(request: Request) -> Response:
        return _xml(_described(invalidations.get(request.path_params["invalidation_id"])))

    async def list_all(request: Request) -> Response:
        marker, asked = request.query_params.get("Marker", ""), request.query_params.get("MaxItems", str(_MAX_ITEMS))
        if not _DIGITS.fullmatch(asked) or int(asked) == 0:
            raise InvalidationRefused(400, "InvalidArgument", "MaxItems must be a number above 0.")
        if not _ID.fullmatch(marker):
            raise InvalidationRefused(400, "InvalidArgument", "Marker must be the id of an invalidation.")
        return _xml(_page(invalidations.newest_first(), marker, min(int(asked), _MAX_ITEMS)))

    async def get_config(_: Request) -> Response:
        return _xml(_config(), headers={"ETag": "EDGE"})

    return [
        Route(f"{_DISTRIBUTION}/config", get_config, methods=["GET"]),
        Route(_PATH, _explained(create), methods=["POST"]),
        Route(_PATH, _explained(list_all), methods=["GET"]),
        Route(_PATH + "/{invalidation_id}", _explained(get), methods=["GET"]),
    ]


def _explained(handler: Handler) -> Handler:
    """`handler`, with refusals answered in CloudFront's form."""

    @wraps(handler)
    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except InvalidationRefused as refusal:
            root = Element("ErrorResponse", xmlns=_NAMESPACE)
            error = SubElement(root, "Error")
            _add(error, Type="Sender", Code=refusal.code, Message=str(refusal))
            _add(root, RequestId=str(uuid4()))
            return _xml(root, refusal.status)

    return answer


async def _body(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_BODY_BYTES:
            raise InvalidationRefused(413, "BatchTooLarge", "Invalidation batch specified is too large.")
    if not body:
        raise InvalidationRefused(400, "MissingBody", "This operation requires a body.")
    return body


def _batch(body: bytes) -> tuple[str, list[str]]:
    """The reference and the items of an `InvalidationBatch`."""
    try:
        # Not what the document calls its encoding: in another one the next line would see nothing.
        text = body.decode()
        # Entities are declared in a document type, and only they can make a small document large.
        if "<!" in text:
            raise _malformed()
        root = fromstring(text)  # noqa: S314 - what makes it unsafe is refused above  # nosec B314
    except (ParseError, ValueError) as error:
        raise _malformed() from error
    within = {"c": _NAMESPACE}
    reference = root.findtext("c:CallerReference", "", within)
    quantity = root.findtext("c:Paths/c:Quantity", "", within)
    items = [path.text or "" for path in root.findall("c:Paths/c:Items/c:Path", within)]
    if root.tag != f"{{{_NAMESPACE}}}InvalidationBatch" or not reference or not _DIGITS.fullmatch(quantity):
        raise _malformed()
    if int(quantity) != len(items):
        raise InvalidationRefused(
            400, "InconsistentQuantities", "The value of Quantity and the size of Items don't match."
        )
    return reference, items


def _malformed() -> InvalidationRefused:
    return InvalidationRefused(400, "MalformedXML", "The XML you provided was not well-formed or valid.")


def _described(invalidation: Invalidation) -> Element:
    root = Element("Invalidation", xmlns=_NAMESPACE)
    _summarise(root, invalidation)
    batch = SubElement(root, "InvalidationBatch")
    paths = SubElement(batch, "Paths")
    _add(paths, Quantity=str(len(invalidation.items)))
    items = SubElement(paths, "Items")
    for item in invalidation.items:
        _add(items, Path=item)
    _add(batch, CallerReference=invalidation.reference)
    return root


def _config() -> Element:
    root = Element("DistributionConfig", xmlns=_NAMESPACE)
    _add(root, CallerReference="edge", Comment="The development edge", Enabled="true")
    _add(SubElement(root, "CacheTagConfig"), HeaderName=CACHE_TAG_HEADER)
    return root


def _page(newest_first: list[Invalidation], marker: str, size: int) -> Element:
    """Those after the one with the id `marker`, at most `size`."""
    ids = [each.id for each in newest_first]
    rest = newest_first[ids.index(marker) + 1 :] if marker in ids else newest_first
    page = rest[:size]
    root = Element("InvalidationList", xmlns=_NAMESPACE)
    _add(root, Marker=marker)
    if len(rest) > size:
        _add(root, NextMarker=page[-1].id)
    _add(
        root,
        MaxItems=str(size),
        IsTruncated=str(len(rest) > size).lower(),
        Quantity=str(len(page)),
    )
    items = SubElement(root, "Items")
    for each in page:
        _summarise(SubElement(items, "InvalidationSummary"), each)
    return root


def _summarise(element: Element, invalidation: Invalidation) -> None:
    created = datetime.fromtimestamp(invalidation.created_at, UTC).isoformat(timespec="milliseconds")
    _add(
        element,
        Id=invalidation.id,
        Status="Completed" if invalidation.is_completed else "InProgress",
        CreateTime=created.replace("+00:00", "Z"),
    )


def _add(parent: Element, **texts: str) -> None:
    for name, text in texts.items():
        SubElement(parent, name).text = text


def _xml(root: Element, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(
        tostring(root, encoding="utf-8", xml_declaration=True), status, headers or {}, media_type="text/xml"
    )
