"""What a file says of how it was taken: which of it is read at all, and how the media's document keeps it. Pure."""

from __future__ import annotations

from typing import Any

from service.documents import EmbeddedDocument, MediaDocument
from service.models import EmbeddedMetadata, MediaPurpose, MetadataField
from service.policies import POLICIES, MetadataPolicy

# What `fields_to_read` and `kept` need of a media.
METADATA_FIELDS = ("purpose", "metadata_choice", "captured_at", "location", "is_location_settled")


def fields_to_read(media: MediaDocument) -> frozenset[MetadataField]:
    """What of its file's metadata `media` (with METADATA_FIELDS) is to keep: by its purpose, or its owner's choice.

    What the owner has said already is not read again from the file, nor is a location that they have cleared.
    """
    policy = POLICIES[MediaPurpose(media["purpose"])]
    chosen = {MetadataField(field) for field in media.get("metadata_choice", ())}
    wanted = policy.metadata_under(MetadataPolicy.KEEP_PRIVATE) | (
        chosen & policy.metadata_under(MetadataPolicy.USER_CHOICE)
    )
    said = set()
    if media.get("captured_at") is not None:
        said.add(MetadataField.CAPTURED_AT)
    if media.get("location") is not None or media.get("is_location_settled"):
        said.add(MetadataField.LOCATION)
    return frozenset(wanted - said)


def kept(media: MediaDocument, embedded: EmbeddedMetadata) -> dict[str, Any]:
    """What the document of `media` is to hold of `embedded`: only the fields to read, as far as they were found."""
    wanted, values = fields_to_read(media), EmbeddedDocument()
    if MetadataField.CAPTURED_AT in wanted and embedded.captured_at is not None:
        values["captured_at"] = embedded.captured_at
    if MetadataField.CAMERA in wanted and (embedded.camera_make or embedded.camera_model):
        values["camera"] = {"make": embedded.camera_make, "model": embedded.camera_model}
    if MetadataField.LOCATION in wanted and embedded.location is not None:
        latitude, longitude = embedded.location
        # GeoJSON (RFC 7946): longitude first.
        values["location"] = {"type": "Point", "coordinates": [longitude, latitude]}
    return {"embedded": values} if values else {}
