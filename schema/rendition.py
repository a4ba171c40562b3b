"""A stored rendition, signed only where a client asks for its URL."""

from __future__ import annotations

from datetime import datetime

import strawberry

from schema.scalars import URL, ByteSize
from schema.stored import computed, needs, stored
from service.delivery import Delivery
from service.documents import MediaDocument, RenditionDocument
from service.models import MediaFormat, RenditionName


@strawberry.type(description="One stored size and format of a media.")
class Rendition:
    document: strawberry.Private[RenditionDocument]
    media: strawberry.Private[MediaDocument]
    delivery: strawberry.Private[Delivery]
    # Whether it is read with others of its media, which then share a signature.
    together: strawberry.Private[bool] = False

    name: RenditionName = stored("name", RenditionName)
    format: MediaFormat = stored("format", MediaFormat)
    width: int = stored("width")
    height: int = stored("height")
    byte_size: ByteSize = stored("bytes")
    cache_key: str = stored(
        "key", description="Stays the same while the bytes stay the same: key client caches by this, not by url."
    )

    url: URL = computed(
        "SOURCE.delivery.sign(SOURCE.media, SOURCE.document, together=SOURCE.together).url",
        needed=("name", "key"),
        description="Signed for CloudFront; stable within its window, so that caches hit.",
    )
    url_expires_at: datetime = computed(
        "SOURCE.delivery.sign(SOURCE.media, SOURCE.document, together=SOURCE.together).expires_at",
        needed=("name", "key"),
    )

    @strawberry.field(
        metadata=needs("key"),
        description="Stays the same while the bytes do, and opens for pages that hold delivery cookies; null where no "
        "cookies would open it, as for what is not PUBLIC.",
    )
    def unsigned_url(self) -> URL | None:
        address = self.delivery.unsigned_url(self.media, self.document)
        return None if address is None else URL(address)
