"""The pages written by hand on Starlette: no GraphQL, no authorisation, nothing that is not needed for them.

`python -m benchmarks.peers.starlette_peer`, told what to do by PEER_SETTINGS (`benchmarks/feed/servers.py`).
"""

from __future__ import annotations

import base64
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import orjson
import uvicorn
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import AsyncMongoClient
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from benchmarks.peers.python_delivery import Signing, signing_of
from service.transport.server import spare_the_garbage_collector

FEED = {"purpose": "COMMUNITY", "status": "READY", "visibility": "PUBLIC"}
WANTED = frozenset({"THUMBNAIL", "FEED"})

Document = Mapping[str, Any]
Pictures = Callable[[Document], Mapping[str, Any]]
Endpoint = Callable[[Request], Awaitable[Response]]


def opened(settings: Mapping[str, Any]) -> Any:
    """The collection, by the driver that `settings` name."""
    client: Any = AsyncIOMotorClient if settings["driver"] == "motor" else AsyncMongoClient
    return client(settings["mongoUri"], uuidRepresentation="standard")[settings["database"]]["media"]


def choose(renditions: Sequence[Document], width: int, formats: frozenset[str]) -> Document:
    """The smallest file among the narrowest renditions that are sharp in a slot of `width` pixels."""
    usable = [each for each in renditions if each["format"] in formats]
    widths = [each["width"] for each in usable]
    wanted = min((each for each in widths if each >= width), default=max(widths))
    best: Document | None = None
    for each in usable:
        if each["width"] == wanted and (best is None or each["bytes"] < best["bytes"]):
            best = each
    return best or usable[0]


def _named(rendition: Document) -> dict[str, Any]:
    return {
        "name": rendition["name"],
        "format": rendition["format"],
        "width": rendition["width"],
        "height": rendition["height"],
    }


def _matching(media: Document) -> list[Document]:
    return [each for each in media["renditions"] if each["name"] in WANTED and each["format"] == "JPEG"]


def unsigned(media: Document) -> Mapping[str, Any]:
    return {"renditions": [_named(each) for each in _matching(media)]}


def canned(signing: Signing) -> Pictures:
    jpeg, webp = frozenset({"JPEG"}), frozenset({"JPEG", "WEBP"})

    def one(media: Document, chosen: Document) -> Mapping[str, Any]:
        return {"width": chosen["width"], "height": chosen["height"], "url": signing.one(media["_id"], chosen)}

    def pictures(media: Document) -> Mapping[str, Any]:
        renditions = media["renditions"]
        return {
            "thumbnail": one(media, choose(renditions, 200, jpeg)),
            "picture": one(media, choose(renditions, 720, webp)),
        }

    return pictures


def wildcard(signing: Signing) -> Pictures:
    def pictures(media: Document) -> Mapping[str, Any]:
        matching = _matching(media)
        urls = signing.together(media["_id"], matching)
        return {"renditions": [{**_named(each), "url": url} for each, url in zip(matching, urls, strict=True)]}

    return pictures


def id_of(cursor: str) -> UUID:
    """The media that a page comes after."""
    return UUID(bytes=base64.urlsafe_b64decode(cursor)[2:])


def edge(media: Document, pictures: Pictures) -> dict[str, Any]:
    media_id, content = media["_id"], media["content"]
    return {
        "cursor": base64.urlsafe_b64encode(b"m1" + media_id.bytes).decode(),
        "node": {
            "id": base64.b64encode(b"Media:%b" % str(media_id).encode()).decode(),
            "title": media["title"],
            "altText": media["alt_text"],
            "createdAt": media["created_at"].isoformat(timespec="milliseconds") + "Z",
            "width": content["width"],
            "height": content["height"],
            "thumbhash": media["placeholder"]["thumbhash"],
            **pictures(media),
        },
    }


def page(
    collection: Any, projection: Mapping[str, int], pictures: Pictures
) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        first = int(request.query_params["first"])
        after = request.query_params.get("after")
        query = FEED if after is None else {**FEED, "_id": {"$lt": id_of(after)}}
        cursor = collection.find(query, projection).sort("_id", -1).limit(first + 1)
        found = await cursor.to_list(first + 1)
        edges = [edge(media, pictures) for media in found[:first]]
        info = {"hasNextPage": len(found) > first, "endCursor": edges[-1]["cursor"] if edges else None}
        body = orjson.dumps({"data": {"feed": {"edges": edges, "pageInfo": info}}})
        return Response(body, media_type="application/json")

    return answer


def create_app(settings: Mapping[str, Any]) -> Starlette:
    signing, projections, app = signing_of(settings), settings["projections"], Starlette()
    pages = {"Unsigned": unsigned, "Canned": canned(signing), "Wildcard": wildcard(signing)}

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        collection = opened(settings)
        for name, projection in projections.items():
            answer = page(collection, projection, pages[name.removeprefix("Later")])
            app.router.routes.append(Route(f"/{name}", answer))
        if settings["advantages"]:
            spare_the_garbage_collector()
        yield

    app.router.lifespan_context = lifespan
    return app


if __name__ == "__main__":
    told = orjson.loads(os.environ["PEER_SETTINGS"])
    uvicorn.run(create_app(told), host="127.0.0.1", port=told["port"], log_level="warning", access_log=False)
