"""The query root."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from uuid import UUID

import strawberry

from resolvers.embedding_queries import EmbeddingQueries
from resolvers.filters import action_of, media_query
from resolvers.look_alike_queries import LookAlikeQueries
from resolvers.pages import feed_page, media_page
from schema.annotations import Annotation, annotation_of
from schema.by_rule import holds_to
from schema.context import Info
from schema.deletion import Deletion, deletion_of
from schema.field_rules import Rule
from schema.global_id import decode_id, id_of
from schema.label_counts import LabelCounts, label_counts_of
from schema.media import DuplicateMatch, Media, MediaConnection, media_of
from schema.media_filter import MediaFilter
from schema.node import Node
from schema.scalars import SHA256
from schema.selection import media_fields
from schema.upload import Upload, upload_of
from schema.upload_policy import UploadPolicy, upload_policy_of
from schema.values import DisplayHint
from schema.viewer import Viewer
from service.access import Action, granted_filters
from service.annotation_reads import find_annotations
from service.deletion import find_deletions
from service.errors import InvalidInput
from service.known_content import find_duplicates
from service.label_counts import count_labels
from service.models import MediaPurpose, NetworkQuality
from service.upload_policy import UPLOAD_POLICIES

MAX_NODES = 100


async def load_media(info: Info, media_ids: Sequence[UUID]) -> dict[UUID, Media]:
    """Media by id, as far as the viewer may see them and as the selection needs them."""
    documents = await info.context.runtime.stores.media.get_many(
        media_ids, fields=media_fields(info), access=granted_filters(info.context.viewer, Action.READ)
    )
    return {media_id: media_of(document) for media_id, document in documents.items()}


async def load_uploads(info: Info, upload_ids: Sequence[UUID]) -> dict[UUID, Upload]:
    """The viewer's own upload sessions by id, each with its media."""
    viewer = info.context.viewer
    if viewer.id is None or not upload_ids:
        return {}
    # Under the same ids, so that neither has to wait for the other.
    documents, media = await asyncio.gather(
        info.context.runtime.stores.uploads.get_many(upload_ids, owner_id=viewer.id), load_media(info, upload_ids)
    )
    return {
        upload_id: upload_of(document, media[upload_id])
        for upload_id, document in documents.items()
        if upload_id in media
    }


async def load_deletions(info: Info, media_ids: Sequence[UUID]) -> dict[UUID, Deletion]:
    """Deletions by the id of their media, for those who may delete it."""
    documents = await find_deletions(info.context.viewer, media_ids, stores=info.context.runtime.stores)
    return {media_id: deletion_of(document) for media_id, document in documents.items()}


async def load_annotations(info: Info, annotation_ids: Sequence[UUID]) -> dict[UUID, Annotation]:
    """Annotations by id, of media that the viewer may see, as far as they are for this viewer."""
    found = await find_annotations(info.context.viewer, annotation_ids, stores=info.context.runtime.stores)
    return {annotation_id: annotation_of(document) for annotation_id, document in found.items()}


_LOADERS: Mapping[str, Callable[[Info, Sequence[UUID]], Awaitable[Mapping[UUID, Node]]]] = {
    "Media": load_media,
    "Upload": load_uploads,
    "Deletion": load_deletions,
    "Annotation": load_annotations,
}


async def _load_nodes(info: Info, ids: Sequence[str]) -> list[Node | None]:
    decoded = [decode_id(global_id) for global_id in ids]
    found: dict[tuple[str, UUID], Node] = {}
    for type_name, load in _LOADERS.items():
        wanted = [parts[1] for parts in decoded if parts is not None and parts[0] == type_name]
        nodes = await load(info, wanted) if wanted else {}
        found.update({(type_name, key): node for key, node in nodes.items()})
    return [None if parts is None else found.get(parts) for parts in decoded]


@strawberry.type
class Query(EmbeddingQueries, LookAlikeQueries):
    @strawberry.field(description="Anything by its id; null if unknown or not for this viewer.")
    @holds_to(Rule.EVERYBODY)
    async def node(self, info: Info, id: strawberry.ID) -> Node | None:  # noqa: A002 - the contract's name
        return (await _load_nodes(info, [id]))[0]

    @strawberry.field(description="Up to 100 at once, in the order asked for.")
    @holds_to(Rule.EVERYBODY)
    async def nodes(self, info: Info, ids: list[strawberry.ID]) -> list[Node | None]:
        if len(ids) > MAX_NODES:
            raise InvalidInput(f"Ask for at most {MAX_NODES} ids at once.", field=["ids"])
        return await _load_nodes(info, ids)

    @strawberry.field(description="Who is asking; null without a token.")
    @holds_to(Rule.EVERYBODY)
    def viewer(self, info: Info) -> Viewer | None:
        viewer = info.context.viewer
        return None if viewer.id is None else Viewer(id=strawberry.ID(viewer.id), roles=sorted(viewer.roles))

    @strawberry.field
    @holds_to(Rule.READERS)
    async def media(self, info: Info, id: strawberry.ID) -> Media | None:  # noqa: A002
        media_id = id_of("Media", id)
        return None if media_id is None else (await load_media(info, [media_id])).get(media_id)

    @strawberry.field(description="READY media of one purpose that the viewer may see, newest first.")
    @holds_to(Rule.EVERYBODY)
    async def feed(
        self,
        info: Info,
        purpose: MediaPurpose,
        first: int | None = 20,
        after: str | None = None,
        hint: DisplayHint | None = None,
    ) -> MediaConnection:
        return await feed_page(info, purpose, first=20 if first is None else first, after=after, hint=hint)

    @strawberry.field(description="Any media the viewer may see, newest first.")
    @holds_to(Rule.EVERYBODY)
    async def media_list(
        self,
        info: Info,
        filter: MediaFilter | None = None,  # noqa: A002
        first: int | None = 20,
        after: str | None = None,
    ) -> MediaConnection:
        return await media_page(
            info,
            media_query(filter),
            first=20 if first is None else first,
            after=after,
            action=action_of(filter),
        )

    @strawberry.field(
        description="How many of the media that match, and that the viewer may see, have which label: the most "
        "frequent first. Counted among the newest 5,000."
    )
    @holds_to(Rule.EVERYBODY)
    async def label_counts(
        self,
        info: Info,
        filter: MediaFilter | None = None,  # noqa: A002
        first: int | None = 20,
    ) -> LabelCounts:
        counted = await count_labels(
            info.context.viewer,
            media_query(filter),
            action=action_of(filter),
            first=20 if first is None else first,
            stores=info.context.runtime.stores,
        )
        return label_counts_of(counted)

    @strawberry.field(description="An upload session of the viewer's own.")
    @holds_to(Rule.UPLOADER)
    async def upload(self, info: Info, id: strawberry.ID) -> Upload | None:  # noqa: A002
        upload_id = id_of("Upload", id)
        return None if upload_id is None else (await load_uploads(info, [upload_id])).get(upload_id)

    @strawberry.field(
        description="How to upload on this device and network; the same for everybody, so it needs no token."
    )
    @holds_to(Rule.EVERYBODY)
    def upload_policy(
        self, info: Info, purpose: MediaPurpose, network: NetworkQuality | None = NetworkQuality.UNKNOWN
    ) -> UploadPolicy:
        policy = UPLOAD_POLICIES[purpose, network or NetworkQuality.UNKNOWN]
        return upload_policy_of(policy.within(info.context.runtime.settings.scanner.largest_file))

    @strawberry.field(description="Which of these contents does the viewer already own? Asked before sending a byte.")
    @holds_to(Rule.SIGNED_IN)
    async def find_duplicates(self, info: Info, sha256: list[SHA256]) -> list[DuplicateMatch]:
        found = await find_duplicates(info.context.viewer, sha256, stores=info.context.runtime.stores)
        media = await load_media(info, list(found.values()))
        return [
            DuplicateMatch(sha256=SHA256(each), media=media[media_id])
            for each, media_id in found.items()
            if media_id in media
        ]

    @strawberry.field(description="How far a deletion has come.")
    @holds_to(Rule.DELETERS)
    async def deletion(self, info: Info, id: strawberry.ID) -> Deletion | None:  # noqa: A002
        media_id = id_of("Deletion", id)
        return None if media_id is None else (await load_deletions(info, [media_id])).get(media_id)
