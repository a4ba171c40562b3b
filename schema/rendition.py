"""A stored rendition, signed only where a client asks for its URL."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import strawberry

from schema.context import Info
from schema.scalars import URL, ByteSize
from schema.stored import stored
from service import delivery
from service.documents import RenditionDocument
from service.models import MediaFormat, RenditionName


@strawberry.type(description="One stored size and format of a media.")
class Rendition:
    document: strawberry.Private[RenditionDocument]
    sign: strawberry.Private[Callable[[], delivery.SignedUrl]]

    name: RenditionName = stored("name", RenditionName)
    format: MediaFormat = stored("format", MediaFormat)
    width: int = stored("width")
    height: int = stored("height")
    byte_size: ByteSize = stored("bytes")
    cache_key: str = stored(
        "key", description="Stays the same while the bytes stay the same: key client caches by this, not by url."
    )

    @strawberry.field(description="Signed for CloudFront; stable within its window, so that caches hit.")
    def url(self) -> URL:
        return URL(self.sign().url)

    @strawberry.field(
        description="Stays the same while the bytes do, and opens for pages that hold delivery cookies; null where no "
        "cookies would open it, as for what is not PUBLIC."
    )
    def unsigned_url(self, info: Info) -> URL | None:
        address = info.context.delivery.unsigned_url(self.document["key"])
        return None if address is None else URL(address)

    @strawberry.field
    def url_expires_at(self) -> datetime:
        return self.sign().expires_at
