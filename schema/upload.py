"""Upload sessions: what to send where, and what storage has confirmed."""

from __future__ import annotations

import asyncio
from datetime import datetime

import strawberry

from schema.context import Info
from schema.global_id import encode_id
from schema.media import Media
from schema.node import Node
from schema.scalars import URL, ByteSize
from schema.stored import stored
from service.assembly import Confirmed
from service.documents import UploadDocument
from service.lifecycle import AWAITING_BYTES, MediaStatus
from service.models import UploadMethod
from service.presigning import PresignedRequest
from service.upload_sessions import find_confirmed, remaining_s


@strawberry.type
class HttpHeader:
    name: str
    value: str


@strawberry.type(description="A request to make as it stands: with exactly these headers, and the announced bytes.")
class UploadTarget:
    method: str
    url: URL
    headers: list[HttpHeader]
    expires_at: datetime


def target_of(request: PresignedRequest) -> UploadTarget:
    headers = [HttpHeader(name=name, value=value) for name, value in request.headers.items()]
    return UploadTarget(method=request.method, url=URL(request.url), headers=headers, expires_at=request.expires_at)


@strawberry.type(description="A part as storage confirms it.")
class UploadPart:
    number: int
    byte_size: ByteSize
    etag: str


@strawberry.type(description="Where to send one part: exactly so many bytes.")
class UploadPartTarget:
    number: int
    byte_size: ByteSize
    target: UploadTarget


@strawberry.type(description="The session in which one file is uploaded.")
class Upload(Node):
    document: strawberry.Private[UploadDocument]
    media: Media
    asked: strawberry.Private[asyncio.Future[Confirmed] | None] = None

    method: UploadMethod = stored("method", UploadMethod)
    byte_size: ByteSize = stored("bytes")
    part_size: ByteSize | None = stored("part_size", description="MULTIPART: bytes of each part but the last.")
    part_count: int | None = stored("part_count")
    expires_at: datetime = stored("expires_at")
    object_key: str = stored("key", description="For upload libraries that sign through signStorageRequest.")

    @strawberry.field(description="SINGLE only, and only until it is finished: send the bytes with these headers.")
    def target(self, info: Info) -> UploadTarget | None:
        upload, remaining = self.document, remaining_s(self.document)
        if upload["method"] != UploadMethod.SINGLE or upload.get("linked") or not self._is_open() or remaining < 1:
            return None
        request = info.context.runtime.object_store.presign_put(
            key=upload["key"],
            content_type=upload["content_type"],
            byte_size=upload["bytes"],
            sha256=upload["sha256"],
            expires_s=remaining,
        )
        return target_of(request)

    @strawberry.field(description="What storage has confirmed, never what a client claimed; empty once it is finished.")
    async def parts(self, info: Info) -> list[UploadPart]:
        return [
            UploadPart(number=part.number, byte_size=ByteSize(part.byte_size), etag=part.etag)
            for part in (await self._confirmed(info)).parts
        ]

    @strawberry.field(
        description="What storage has confirmed, in whole parts. If that is all, only completeUpload is left."
    )
    async def bytes_confirmed(self, info: Info) -> ByteSize:
        if "completed_at" in self.document:
            return ByteSize(self.document["bytes"])
        return ByteSize((await self._confirmed(info)).byte_size)

    def _is_open(self) -> bool:
        return MediaStatus(self.media.document["status"]) in AWAITING_BYTES

    async def _confirmed(self, info: Info) -> Confirmed:
        if self.asked is None:
            runtime = info.context.runtime
            # Asked of storage once, however many fields show it.
            self.asked = asyncio.ensure_future(
                find_confirmed(
                    self.document,
                    MediaStatus(self.media.document["status"]),
                    stores=runtime.stores,
                    object_store=runtime.object_store,
                )
            )
        return await self.asked


def upload_of(document: UploadDocument, media: Media) -> Upload:
    return Upload(id=encode_id("Upload", document["_id"]), document=document, media=media)
