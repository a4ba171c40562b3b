"""The feed by Strawberry and motor as their documentation shows it, or with all the advantages they can be given.

`python -m benchmarks.peers.strawberry_peer`, told what to do by PEER_SETTINGS (`benchmarks/feed/servers.py`).
"""

from __future__ import annotations

import base64
import enum
import os
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import orjson
import strawberry
import uvicorn
from motor.motor_asyncio import AsyncIOMotorClient
from strawberry.asgi import GraphQL
from strawberry.extensions import ParserCache, ValidationCache
from strawberry.schema.config import StrawberryConfig

from benchmarks.peers.python_delivery import Signing, signing_of
from benchmarks.peers.starlette_peer import choose, id_of
from schema.scalars import SCALAR_MAP
from service.transport.server import spare_the_garbage_collector

SETTINGS: Mapping[str, Any] = orjson.loads(os.environ["PEER_SETTINGS"])
SIGNING: Signing = signing_of(SETTINGS)


@strawberry.enum
class MediaPurpose(enum.Enum):
    COMMUNITY = "COMMUNITY"


@strawberry.enum
class RenditionName(enum.Enum):
    THUMBNAIL = "THUMBNAIL"
    FEED = "FEED"
    FULL = "FULL"


@strawberry.enum
class MediaFormat(enum.Enum):
    JPEG = "JPEG"
    WEBP = "WEBP"
    AVIF = "AVIF"


@strawberry.input
class DisplayHint:
    width: int
    accept: list[MediaFormat] | None = None


@strawberry.type
class Rendition:
    name: RenditionName
    format: MediaFormat
    width: int
    height: int
    sign: strawberry.Private[Callable[[], str]]

    @strawberry.field
    def url(self) -> str:
        return self.sign()


def rendition_of(stored: Mapping[str, Any], sign: Callable[[], str]) -> Rendition:
    return Rendition(
        name=RenditionName(stored["name"]),
        format=MediaFormat(stored["format"]),
        width=stored["width"],
        height=stored["height"],
        sign=sign,
    )


@strawberry.type
class Media:
    id: strawberry.ID
    title: str | None
    alt_text: str | None
    created_at: datetime
    width: int | None
    height: int | None
    thumbhash: str | None
    document: strawberry.Private[Mapping[str, Any]]

    @strawberry.field
    def display(self, hint: DisplayHint) -> Rendition | None:
        formats = frozenset({"JPEG", *(each.value for each in hint.accept or ())})
        chosen = choose(self.document["renditions"], hint.width, formats)
        return rendition_of(chosen, lambda: SIGNING.one(self.document["_id"], chosen))

    @strawberry.field
    def renditions(self, names: list[RenditionName], formats: list[MediaFormat]) -> list[Rendition]:
        wanted, encoded = {each.value for each in names}, {each.value for each in formats}
        matching = [
            each for each in self.document["renditions"] if each["name"] in wanted and each["format"] in encoded
        ]
        urls: list[str] = []

        def sign(index: int) -> str:
            if not urls:
                urls.extend(SIGNING.together(self.document["_id"], matching))
            return urls[index]

        return [rendition_of(each, lambda index=index: sign(index)) for index, each in enumerate(matching)]  # type: ignore[misc]


@strawberry.type
class MediaEdge:
    cursor: str
    node: Media


@strawberry.type
class PageInfo:
    has_next_page: bool
    end_cursor: str | None


@strawberry.type
class MediaConnection:
    edges: list[MediaEdge]
    page_info: PageInfo


def _media_of(document: Mapping[str, Any]) -> Media:
    return Media(
        id=strawberry.ID(base64.b64encode(f"Media:{document['_id']}".encode()).decode()),
        title=document["title"],
        alt_text=document["alt_text"],
        created_at=document["created_at"],
        width=document["content"]["width"],
        height=document["content"]["height"],
        thumbhash=document["placeholder"]["thumbhash"],
        document=document,
    )


@strawberry.type
class Query:
    @strawberry.field
    async def feed(
        self, info: strawberry.Info, purpose: MediaPurpose, first: int, after: str | None = None
    ) -> MediaConnection:
        query: dict[str, Any] = {"purpose": purpose.value, "status": "READY", "visibility": "PUBLIC"}
        if after is not None:
            query["_id"] = {"$lt": id_of(after)}
        name = info.operation.name
        projection = SETTINGS["projections"][name.value] if SETTINGS["advantages"] and name else None
        cursor = info.context["media"].find(query, projection).sort("_id", -1).limit(first + 1)
        found = await cursor.to_list(first + 1)
        edges = [
            MediaEdge(cursor=base64.urlsafe_b64encode(b"m1" + each["_id"].bytes).decode(), node=_media_of(each))
            for each in found[:first]
        ]
        info_ = PageInfo(has_next_page=len(found) > first, end_cursor=edges[-1].cursor if edges else None)
        return MediaConnection(edges=edges, page_info=info_)


class App(GraphQL[Any, Any]):
    """Connects once the server's event loop runs."""

    media: Any = None

    async def get_context(self, request: Any, response: Any) -> dict[str, Any]:
        if self.media is None:
            client: Any = AsyncIOMotorClient(SETTINGS["mongoUri"], uuidRepresentation="standard", tz_aware=True)
            self.media = client[SETTINGS["database"]]["media"]
        return {"media": self.media}


class QuickApp(App):
    def encode_json(self, data: object) -> bytes:
        return orjson.dumps(data)


if __name__ == "__main__":
    quick = SETTINGS["advantages"]
    scalars = StrawberryConfig(scalar_map={datetime: SCALAR_MAP[datetime]})
    extensions: list[Any] = [ParserCache(), ValidationCache()] if quick else []
    if quick:
        spare_the_garbage_collector()
    app = (QuickApp if quick else App)(strawberry.Schema(Query, config=scalars, extensions=extensions))
    uvicorn.run(app, host="127.0.0.1", port=SETTINGS["port"], log_level="warning", access_log=False)
