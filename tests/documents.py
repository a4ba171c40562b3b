"""Documents as the service would have stored them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from uuid6 import uuid7

from service.delivery import Delivery, SignedUrl
from service.documents import MediaDocument, RenditionDocument
from service.models import MediaFormat, MediaPurpose, RenditionName, Visibility
from service.object_keys import rendition_key

SIZES = {RenditionName.THUMBNAIL: (200, 200), RenditionName.FEED: (720, 540), RenditionName.FULL: (1080, 810)}
MOMENT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def renditions_of(
    media_id: UUID, purpose: MediaPurpose, visibility: Visibility = Visibility.PUBLIC
) -> list[RenditionDocument]:
    return [
        RenditionDocument(
            name=name.value,
            format=media_format.value,
            width=width,
            height=height,
            bytes=width * (9 if media_format is MediaFormat.WEBP else 10),
            key=rendition_key(purpose, visibility, name, media_id, "g1", media_format),
            sha256="0" * 64,
        )
        for name, (width, height) in SIZES.items()
        for media_format in (MediaFormat.JPEG, MediaFormat.WEBP)
    ]


def ready_media(**changed: Any) -> MediaDocument:
    """A READY, PUBLIC media of `anna`, but for what is `changed`."""
    media_id = changed.pop("_id", None) or uuid7()
    purpose = MediaPurpose(changed.get("purpose", "COMMUNITY"))
    history = [
        {"status": status, "sequence": index, "at": MOMENT}
        for index, status in enumerate(("INITIATED", "UPLOADED", "PROCESSING", "READY"), start=1)
    ]
    whole: dict[str, Any] = {
        "_id": media_id,
        "schema_version": 3,
        "owner_id": "anna",
        "kind": "IMAGE",
        "purpose": purpose.value,
        "visibility": "PUBLIC",
        "status": "READY",
        "status_sequence": 4,
        "status_history": history,
        "capture_id": "walk",
        "position": 0,
        "subject": {"type": "post", "id": "1"},
        "album_ids": ["summer"],
        "title": "Miso",
        "alt_text": "A cat asleep",
        "tags": ["cat", "garden"],
        "focus": None,
        "location": {"type": "Point", "coordinates": [13.4, 52.5]},
        "captured_at": MOMENT,
        "content": {"type": "image/jpeg", "bytes": 3_000_000, "sha256": "a" * 64, "width": 4032, "height": 3024},
        "original": {"bucket": "media-uploads", "key": f"{purpose.slug}/raw/{media_id}.jpg"},
        "renditions": renditions_of(media_id, purpose, Visibility(changed.get("visibility", "PUBLIC"))),
        "placeholder": {"thumbhash": "1QcSHQRnh493V4dIh4eXh1h4kJUI", "dominant_color": "#807060"},
        "hashes": {"phash": -1},
        "created_at": MOMENT,
        "updated_at": MOMENT,
        **changed,
    }
    document: MediaDocument = whole  # type: ignore[assignment]
    return document


def signed(
    delivery: Delivery,
    media_id: UUID,
    key: str,
    name: RenditionName = RenditionName.FEED,
    *,
    purpose: MediaPurpose = MediaPurpose.COMMUNITY,
    visibility: Visibility = Visibility.PUBLIC,
    together: bool = False,
) -> SignedUrl:
    """What `delivery` signs for a media of which no more is known than this."""
    media: Any = {"_id": media_id, "purpose": purpose.value, "visibility": visibility.value}
    rendition: Any = {"name": name.value, "key": key}
    return delivery.sign(media, rendition, together=together)
