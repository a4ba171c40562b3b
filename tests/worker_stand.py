"""Workers that can be held up, fail or be cut off at will: the real jobs on a real database, objects held in memory."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions
from motor.motor_asyncio import AsyncIOMotorClient
from pydantic import SecretStr

from service.errors import NotFound, ProcessingFailed, TooLarge
from service.models import Fingerprints, MediaFormat, ProcessedFile, Rendition, StoredObject
from service.object_store import ListedObject, ObjectStore
from service.processing.jail import Jail
from service.processing.wire import ProcessingRequest
from service.runtime import Runtime
from service.settings import MongoSettings, Settings, WorkerSettings
from service.stores import bind_stores
from service.stores.database import Database, bind_database
from service.telemetry import Metrics
from tests.in_memory import NoStreams

_JPEG = b"\xff\xd8\xff\xe0"


@dataclass
class Gate:
    """Holds up whoever passes `place` for the `passage`th time, until it is opened."""

    place: str
    passage: int = 1
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    opened: asyncio.Event = field(default_factory=asyncio.Event)

    async def pass_through(self, place: str) -> None:
        if place != self.place:
            return
        self.passage -= 1
        if self.passage == 0:
            self.reached.set()
            await self.opened.wait()


# Of the attempt that asks: set in its task, and inherited by those that it starts.
_gate: ContextVar[Gate | None] = ContextVar("gate", default=None)
_failure: ContextVar[ProcessingFailed | None] = ContextVar("failure", default=None)


@contextmanager
def holding_up(gate: Gate) -> Iterator[None]:
    """What is begun in this block stops at `gate`."""
    token = _gate.set(gate)
    try:
        yield
    finally:
        _gate.reset(token)


@contextmanager
def failing(failure: ProcessingFailed) -> Iterator[None]:
    """What is decoded in this block fails."""
    token = _failure.set(failure)
    try:
        yield
    finally:
        _failure.reset(token)


async def _pass(place: str) -> None:
    if (gate := _gate.get()) is not None:
        await gate.pass_through(place)


class ObjectsInMemory:
    """What jobs and uploads ask of an `ObjectStore`. Keeps a checksum of each object, as S3 does.

    `cache_control`: with which header each rendition was written.
    """

    upload_bucket, media_bucket = "uploads", "renditions"

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], bytes] = {}
        self.cache_control: dict[tuple[str, str], str] = {}

    async def head(self, bucket: str, key: str) -> StoredObject | None:
        await _pass("head")
        body = self.objects.get((bucket, key))
        return None if body is None else StoredObject(bucket, key, len(body), "", "", _digest(body))

    async def download(self, bucket: str, key: str, path: Path, *, max_bytes: int) -> str:
        body = self.objects.get((bucket, key))
        if body is None:
            raise NotFound(key)
        if len(body) > max_bytes:
            raise TooLarge(key)
        await asyncio.to_thread(path.write_bytes, body)
        return _digest(body)

    async def put(
        self, bucket: str, key: str, body: bytes, *, sha256: str, cache_control: str, **_headers: object
    ) -> None:
        await _pass("put")
        assert _digest(body) == sha256
        self.objects[bucket, key], self.cache_control[bucket, key] = body, cache_control

    async def copy(self, bucket: str, source: str, key: str, *, cache_control: str, **_headers: object) -> bool:
        await _pass("put")
        if (body := self.objects.get((bucket, source))) is None:
            return False
        self.objects[bucket, key], self.cache_control[bucket, key] = body, cache_control
        return True

    async def delete(self, bucket: str, keys: Sequence[str], *, written_before: datetime | None = None) -> None:
        for key in keys:
            await _pass("delete")
            self.objects.pop((bucket, key), None)

    async def list_objects(self, bucket: str, prefix: str) -> AsyncIterator[StoredObject]:
        for holder, key in sorted(self.objects):
            if holder == bucket and key.startswith(prefix):
                yield StoredObject(bucket, key, len(self.objects[holder, key]), "", "")

    async def versioned_keys(self, bucket: str, prefix: str) -> set[str]:
        return {key for holder, key in self.objects if holder == bucket and key.startswith(prefix)}

    async def list_pages(self, bucket: str, *, after: str = "") -> AsyncIterator[list[ListedObject]]:
        moment = datetime(2020, 1, 1, tzinfo=UTC)
        yield [
            ListedObject(key, len(body), moment)
            for (holder, key), body in sorted(self.objects.items())
            if holder == bucket and key > after
        ]

    async def mark_kept(self, bucket: str, key: str) -> None:
        if (bucket, key) not in self.objects:
            raise NotFound(key)

    async def mark_quarantined(self, bucket: str, key: str) -> None:
        await self.mark_kept(bucket, key)


class QuickJail(Jail):
    """Answers what a decoder could have, made of the file's bytes and of what was asked, without decoding."""

    def __init__(self) -> None:
        super().__init__(memory_bytes=1, cpu_s=1)

    async def process(self, path: Path, request: ProcessingRequest) -> ProcessedFile:
        await _pass("decode")
        if (failure := _failure.get()) is not None:
            raise failure
        original = path.read_bytes()

        def rendition(name: Any, format_: MediaFormat) -> Rendition:
            made_of = f"{name}{format_}{request.focus}".encode() + original
            return Rendition(name, format_, 8, 8, _JPEG + hashlib.sha256(made_of).digest())

        return ProcessedFile(
            content_type=request.content_type,
            width=8,
            height=8,
            renditions=tuple(rendition(policy.name, each) for policy in request.renditions for each in policy.formats),
            fingerprints=Fingerprints("1QcSHQRnh493V4dIh4eXh1h4kJUI", "#808080", "0" * 16),
        )


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def open_motor(uri: str, name: str, loop: asyncio.AbstractEventLoop) -> tuple[AsyncIOMotorClient[Any], Database]:
    """A database for one `loop`. Nothing here outlives the server: writes need not reach its disk."""
    client: AsyncIOMotorClient[Any] = AsyncIOMotorClient(
        uri, io_loop=loop, tz_aware=True, uuidRepresentation="standard", w=1, journal=False
    )
    codec: CodecOptions[Any] = CodecOptions(tz_aware=True, uuid_representation=UuidRepresentation.STANDARD)
    return client, bind_database(client.get_database(name, codec_options=codec), watching=NoStreams())


def open_stand(uri: str, database: Database, objects: ObjectsInMemory) -> Runtime:
    """A runtime for a worker on `database`, with `objects` for storage. A job that failed is due again at once."""
    settings = Settings(
        mongo=MongoSettings(uri=SecretStr(uri)),
        worker=WorkerSettings(concurrency=1, poll_s=0.02, backoff_s=(0.001,), outage_retry_s=0.001),
    )
    return Runtime(settings, database, bind_stores(database), cast(ObjectStore, objects), Metrics())
