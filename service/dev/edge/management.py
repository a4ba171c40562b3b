"""How the edge is told to forget: CloudFront's CreateInvalidation, as its clients send it, on the same port.

No signature is checked. It listens on this machine only, and whoever can reach it can do no more than empty a cache.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from starlette.responses import Response
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request

# https://docs.aws.amazon.com/cloudfront/latest/APIReference/API_CreateInvalidation.html
_PATH: Final = "/2020-05-31/distribution/{distribution_id}/invalidation"
_ITEM: Final = re.compile(r"<Path>([^<]{1,4096})</Path>")
_REFERENCE: Final = re.compile(r"<CallerReference>([^<]{1,512})</CallerReference>")
_MAX_BODY_BYTES: Final = 8 * 1024 * 1024

_CREATED: Final = """<?xml version="1.0"?>
<Invalidation xmlns="http://cloudfront.amazonaws.com/doc/2020-05-31/"><Id>{id}</Id><Status>Completed</Status>\
<CreateTime>{at}</CreateTime><InvalidationBatch><Paths><Quantity>{quantity}</Quantity></Paths>\
<CallerReference>{reference}</CallerReference></InvalidationBatch></Invalidation>"""


def management_routes(invalidate_paths: Callable[[Iterable[str]], None]) -> list[Route]:
    """A route for every distribution: there is one, whatever it is called."""

    async def create_invalidation(request: Request) -> Response:
        body = (await request.body())[:_MAX_BODY_BYTES].decode("utf-8", "replace")
        paths, reference = _ITEM.findall(body), _REFERENCE.search(body)
        if not paths or reference is None:
            return Response("<ErrorResponse><Error><Code>MalformedXML</Code></Error></ErrorResponse>", 400)
        invalidate_paths(html.unescape(path) for path in paths)
        created = _CREATED.format(
            id=uuid4().hex[:14].upper(),
            at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            quantity=len(paths),
            reference=reference[1],
        )
        return Response(created, 201, media_type="text/xml")

    return [Route(_PATH, create_invalidation, methods=["POST"])]
