"""A media as clients see it: a view on the part of its document that they selected."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import strawberry

from schema.annotations import AnnotationConnection, annotations_of
from schema.by_rule import by_rule
from schema.context import Info
from schema.cursors import encode_cursor
from schema.embeddings import Embedding, embeddings_of
from schema.global_id import encode_id
from schema.look_alikes import DEFAULT_DISTANCE, DEFAULT_FIRST, SimilarMedia, similar_media
from schema.node import Node
from schema.originals import ORIGINAL_FIELDS, original_of
from schema.rendition import Rendition
from schema.scalars import SHA256, ByteSize, PerceptualHash
from schema.stored import computed, needs, stored, stored_list
from schema.values import (
    BoundingBox,
    Camera,
    DisplayHint,
    GeoPoint,
    MediaFailure,
    ModerationRecord,
    PageInfo,
    SignedUrl,
    StatusChange,
    Subject,
)
from service.access import Action, may
from service.annotation_reads import PLACE_FIELDS
from service.display import choose_for_slot, choose_named, choose_srcset
from service.documents import MediaDocument, RenditionDocument
from service.labels import composed
from service.lifecycle import MediaStatus
from service.look_alikes import asked_of_media
from service.models import MediaFormat, MediaKind, MediaPurpose, ModerationDecision, RenditionName, Visibility
from service.perceptual_hash import from_stored
from service.policies import POLICIES
from service.stores.annotation_rows import Wanted


def _geo_point(stored_point: dict[str, Any]) -> GeoPoint:
    longitude, latitude = stored_point["coordinates"]
    return GeoPoint(latitude=latitude, longitude=longitude)


def _of_renditions(*names: str) -> dict[str, Any]:
    """Field metadata: what is read of a media's renditions to choose among them; the rest is for what is selected."""
    return needs("purpose", *(f"renditions.{name}" for name in names))


_DISPLAYED = {purpose.value: policy.display for purpose, policy in POLICIES.items()}


@strawberry.type(description="A picture and what is known of it; never its bytes.")
class Media(Node):
    document: strawberry.Private[MediaDocument]
    feed_hint: strawberry.Private[DisplayHint | None] = None

    id: strawberry.ID = computed("ENCODE('Media', SOURCE.document['_id'])", ENCODE=encode_id)

    kind: MediaKind = stored("kind", MediaKind)
    purpose: MediaPurpose = stored("purpose", MediaPurpose)
    status: MediaStatus = stored("status", MediaStatus)
    status_sequence: int = stored("status_sequence", description="Grows by one with every change of status.")
    visibility: Visibility = stored("visibility", Visibility)
    owner_id: strawberry.ID = stored("owner_id")
    subject: Subject | None = stored("subject", lambda value: Subject(**value))
    capture_id: strawberry.ID | None = stored("capture_id", description="One capture event groups several media.")
    position: int | None = stored("position")
    album_ids: list[strawberry.ID] = stored_list("album_ids")
    title: str | None = stored("title")
    alt_text: str | None = stored("alt_text")
    tags: list[str] = stored_list("tags")
    focus: BoundingBox | None = stored(
        "focus", lambda value: BoundingBox(**value), description="The part of the picture that matters."
    )
    created_at: datetime = stored("created_at")
    updated_at: datetime = stored("updated_at")
    content_type: str | None = stored("content.type")
    byte_size: ByteSize | None = stored("content.bytes")
    width: int | None = stored("content.width")
    height: int | None = stored("content.height")
    duration_ms: int | None = stored("content.duration_ms", description="Of a clip or an animated picture.")
    first_viewable_at: datetime | None = stored(
        "first_viewable_at", description="When a thumbnail and a feed picture were first there to be shown."
    )
    thumbhash: str | None = stored("placeholder.thumbhash", description="Base64, to paint before the picture is there.")
    dominant_color: str | None = stored("placeholder.dominant_color", description="As #rrggbb.")
    perceptual_hash: PerceptualHash | None = stored("hashes.phash", lambda value: PerceptualHash(from_stored(value)))

    @strawberry.field(metadata=needs("status_history"))
    def status_history(self) -> list[StatusChange]:
        entries = self.document.get("status_history", [])
        return [
            StatusChange(status=MediaStatus(entry["status"]), sequence=entry["sequence"], at=entry["at"])
            for entry in entries
        ]

    @strawberry.field(
        metadata=needs("processing.complete"),
        description="A READY media has its thumbnail and feed picture as JPEG; true once no more will follow.",
    )
    def renditions_complete(self) -> bool:
        return bool(self.document.get("processing", {}).get("complete"))

    @strawberry.field(metadata=needs("failure"))
    def failure(self) -> MediaFailure | None:
        failure = self.document.get("failure")
        return None if failure is None else MediaFailure(**failure)

    @strawberry.field(
        metadata=needs("moderation"),
        description="What moderators decided, the oldest of the last 20 first. Shown to moderators only.",
    )
    @by_rule
    def moderation(self, info: Info) -> list[ModerationRecord] | None:
        return [
            ModerationRecord(
                decision=ModerationDecision(each["decision"]),
                by=strawberry.ID(each["by"]),
                at=each["at"],
                reason=each["reason"],
            )
            for each in self.document.get("moderation", [])
        ]

    @strawberry.field(
        metadata=needs("captured_at", "embedded.captured_at"),
        description="As the owner said; otherwise, for the owner and moderators only, as the file said.",
    )
    def captured_at(self, info: Info) -> datetime | None:
        # What nobody typed, nobody chose to publish.
        of_file = self.document.get("embedded", {}) if self._shows_details(info) else {}
        return self.document.get("captured_at") or of_file.get("captured_at")

    @strawberry.field(
        metadata=needs("location", "embedded.location", "is_location_settled"),
        description="As the owner said, or else as the file said. Shown to the owner and to moderators only.",
    )
    @by_rule
    def location(self, info: Info) -> GeoPoint | None:
        settled, embedded = self.document.get("is_location_settled"), self.document.get("embedded", {})
        point = self.document.get("location") or (None if settled else embedded.get("location"))
        return None if point is None else _geo_point(point)

    @strawberry.field(
        metadata=needs("embedded.camera"), description="As the file said. Shown to the owner and to moderators only."
    )
    @by_rule
    def camera(self, info: Info) -> Camera | None:
        camera = self.document.get("embedded", {}).get("camera")
        return None if camera is None else Camera(make=camera["make"], model=camera["model"])

    @strawberry.field(metadata=needs("content.sha256"), description="Shown to the owner and to moderators only.")
    @by_rule
    def sha256(self, info: Info) -> SHA256 | None:
        digest = self.document.get("content", {}).get("sha256")
        return None if digest is None else SHA256(digest)

    @strawberry.field(
        metadata=_of_renditions("name", "format", "width", "bytes"),
        description="The one rendition to show here, chosen from the hint, or from the feed it was read through.",
    )
    def display(self, info: Info, hint: DisplayHint | None = None) -> Rendition | None:
        hint = hint or self.feed_hint
        if hint is None:
            chosen = choose_named(self._renditions(), _DISPLAYED[self.document["purpose"]])
        else:
            chosen = choose_for_slot(self._renditions(), hint.slot)
        return (
            None if chosen is None else Rendition(document=chosen, media=self.document, delivery=info.context.delivery)
        )

    @strawberry.field(metadata=_of_renditions("name", "format"), description="Every stored rendition that matches.")
    def renditions(
        self, info: Info, names: list[RenditionName] | None = None, formats: list[MediaFormat] | None = None
    ) -> list[Rendition]:
        matching = self._renditions()
        if formats is not None:
            matching = [each for each in matching if each["format"] in formats]
        if names is not None:
            matching = [each for each in matching if each["name"] in names]
        # By what is asked for and not by what there is: what is made meanwhile must not change anybody's address.
        is_one = names is not None and formats is not None and len(names) == len(formats) == 1
        delivery, together = info.context.delivery, not is_one
        return [
            Rendition(document=each, media=self.document, delivery=delivery, together=together) for each in matching
        ]

    @strawberry.field(
        metadata=_of_renditions("name", "format", "width", "bytes", "key"),
        description="An HTML srcset in the best accepted format, or null.",
    )
    def srcset(self, info: Info, accept: list[MediaFormat] | None = None) -> str | None:
        chosen = choose_srcset(self._renditions(), accept or ())
        sign = info.context.delivery.sign
        return ", ".join(f"{sign(self.document, each, together=True).url} {each['width']}w" for each in chosen) or None

    @strawberry.field(
        metadata=needs(*ORIGINAL_FIELDS),
        description="The untouched original: owner and moderators only, for minutes, and on record. Of a QUARANTINED "
        "media for moderators alone, and only where one of them took it out of sight.",
    )
    @by_rule
    def original(self, info: Info) -> SignedUrl | None:
        signed: SignedUrl | None = original_of(info, self.document)
        return signed

    @strawberry.field(metadata=needs(*PLACE_FIELDS), description="What was found in it, the surest first.")
    def annotations(
        self,
        info: Info,
        label: str | None = None,
        min_confidence: float | None = None,
        source: str | None = None,
        first: int | None = 50,
        after: str | None = None,
    ) -> AnnotationConnection:
        name = None if label is None else composed(label)
        wanted = Wanted(name, min_confidence, source, details=self._shows_details(info))
        # To be awaited where they have moved; a resolver that is asynchronous always is never compiled.
        page: AnnotationConnection = annotations_of(
            self.document, wanted, first=50 if first is None else first, after=after, stores=info.context.runtime.stores
        )
        return page

    @strawberry.field(metadata=needs("owner_id"), description="What models made of it, for searches by `nearestMedia`.")
    async def embeddings(self, info: Info, models: list[str] | None = None) -> list[Embedding]:
        return await embeddings_of(info, self.document, models)

    @strawberry.field(
        metadata=needs("hashes.phash", "hashes.transformed"),
        description="Other media that the viewer may see whose pictures look like this one, nearest first. Misses none "
        "within maxDistance (0 to 10 bits); nothing looks like a flat picture. Mirrored and rotated ones on request.",
    )
    async def similar(
        self,
        info: Info,
        max_distance: int | None = DEFAULT_DISTANCE,
        first: int | None = DEFAULT_FIRST,
        include_transformed: bool = False,
    ) -> list[SimilarMedia]:
        asked = asked_of_media(self.document.get("hashes"), include_transformed=include_transformed)
        return await similar_media(
            info, asked, max_distance=max_distance, first=first, media_of=media_of, besides=self.document["_id"]
        )

    @property
    def media_document(self) -> MediaDocument:
        """What decides who is shown what of it."""
        return self.document

    def _shows_details(self, info: Info) -> bool:
        return may(info.context.viewer, Action.READ_DETAILS, self.document)

    def _renditions(self) -> Sequence[RenditionDocument]:
        # Nothing but a READY media is ever signed, whatever an earlier pass may have left in its document.
        return self.document.get("renditions", []) if self.document["status"] == MediaStatus.READY else []


def media_of(document: MediaDocument, *, feed_hint: DisplayHint | None = None) -> Media:
    return Media(document=document, feed_hint=feed_hint)


@strawberry.type(description="A content that the viewer already has, and the oldest of their media that has it.")
class DuplicateMatch:
    sha256: SHA256
    media: Media


@strawberry.type
class MediaEdge:
    node: Media
    cursor: str = computed("ENCODE(SOURCE.node.document['_id'])", ENCODE=encode_cursor)


@strawberry.type(description="A page of media, newest first.")
class MediaConnection:
    edges: list[MediaEdge]
    page_info: PageInfo

    @strawberry.field
    def nodes(self) -> list[Media]:
        return [edge.node for edge in self.edges]
