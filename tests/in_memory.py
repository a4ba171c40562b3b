"""A database in memory, for what needs no server time, change streams or explain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import bson
import mongomock.collection
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions
from mongomock_motor import AsyncMongoMockClient, AsyncMongoMockCollection, AsyncMongoMockDatabase

from service.stores.database import Database, bind_database

_CODEC: CodecOptions[Any] = CodecOptions(uuid_representation=UuidRepresentation.STANDARD)


class _StandardUuids:
    """mongomock only checks that a document can be encoded, but without saying how UUIDs are."""

    @staticmethod
    def encode(document: dict[str, Any], check_keys: bool = False) -> bytes:
        return bson.encode(document, check_keys, _CODEC)


mongomock.collection.BSON = _StandardUuids


class _RawBatches:
    """What mongomock does not know: a cursor whose documents come as BSON, here all in one batch."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    def __getattr__(self, name: str) -> Callable[..., _RawBatches]:
        def chained(*arguments: Any) -> _RawBatches:
            return _RawBatches(getattr(self._cursor, name)(*arguments))

        return chained

    async def to_list(self, _length: int | None) -> list[bytes]:
        return [b"".join([bson.encode(each, codec_options=_CODEC) for each in await self._cursor.to_list(None)])]

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for batch in await self.to_list(None):
            yield batch


def _find_raw_batches(collection: Any, query: Any, projection: Any, *, batch_size: int = 0) -> _RawBatches:
    del batch_size
    return _RawBatches(collection.find(query, projection))


AsyncMongoMockCollection.find_raw_batches = _find_raw_batches


async def _hello(_database: Any, command: str) -> dict[str, Any]:
    assert command == "hello"
    return {"localTime": datetime.now(UTC)}


AsyncMongoMockDatabase.command = _hello


class NoStreams:
    """A database whose change streams never open: whoever works on it asks now and then."""

    @property
    def client(self) -> NoStreams:
        return self

    def __getitem__(self, _collection: str) -> NoStreams:
        return self

    @asynccontextmanager
    async def start_session(self, **_: object) -> AsyncIterator[None]:
        yield

    async def watch(self, *_: object, **__: object) -> None:
        await asyncio.Event().wait()


def in_memory_database() -> Database:
    return bind_database(AsyncMongoMockClient(tz_aware=True)["media"], watching=NoStreams())
