"""Opens MongoDB; the only file that imports the drivers' asynchronous clients."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions
from pymongo import AsyncMongoClient, ReadPreference
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import (
    ConnectionFailure,
    ExecutionTimeout,
    NetworkTimeout,
    NotPrimaryError,
    OperationFailure,
    WriteConcernError,
    WTimeoutError,
)
from pymongo.uri_parser import parse_uri

from service.errors import ConfigurationError, MediaServiceError, TemporarilyUnavailable
from service.settings import MongoSettings

# Before the import below, which reads it. Every call waits in a thread, and motor starts 5 for each core: far fewer
# than a burst of uploads has under way.
os.environ.setdefault("MOTOR_MAX_WORKERS", "64")

from motor.motor_asyncio import (
    AsyncIOMotorClient,
    AsyncIOMotorCollection,
    AsyncIOMotorDatabase,
)

Collection = AsyncIOMotorCollection[Any]
# What both drivers offer in the same words: find, sort, limit, hint, to_list, iteration.
ReadCollection = AsyncIOMotorCollection[Any] | AsyncCollection[Any]
WatchedDatabase = AsyncDatabase[Any]

_BAD_VALUE = 2

# A library counts there, which wants it by name.
RATE_LIMITS = "rate_limits"

# The outcome is unknown and the same call may be made again.
OUTAGE_ERRORS: tuple[type[Exception], ...] = (
    ConnectionFailure,
    NetworkTimeout,
    NotPrimaryError,
    ExecutionTimeout,
    WTimeoutError,
    WriteConcernError,
)


def expected_error(error: Exception) -> MediaServiceError | None:
    """What a caller may be told: the error itself if it is one of ours, an outage as one; None for a bug."""
    if isinstance(error, MediaServiceError):
        return error
    if isinstance(error, OUTAGE_ERRORS):
        return TemporarilyUnavailable("The service cannot reach its database; send the same request again.")
    if _misses_index(error):
        return TemporarilyUnavailable("An index that this needs is being built; send the same request again later.")
    return None


def describe_outage(error: Exception) -> str:
    """The same for a log: what the driver says of servers, and nothing of what was asked of them."""
    if _misses_index(error):
        return "an index is missing or being built: `indexes --check` tells which"
    return repr(error)


def _misses_index(error: Exception) -> bool:
    # Lists name their index, and are refused without it: a release may come before its indexes are built.
    return isinstance(error, OperationFailure) and error.code == _BAD_VALUE and "hint provided" in str(error)


@dataclass(frozen=True, slots=True)
class Database:
    """The collections, and what is needed to watch them. `watching` has no operation deadline: change streams wait.

    `media_reads` and `annotation_reads` are `media` and `annotations` again, for pages: PyMongo's own asyncio client
    needs no threads, which cost motor as much as all the rest of a page and far more than a change stream's event.
    """

    media: Collection
    media_reads: ReadCollection
    annotations: Collection
    annotation_reads: ReadCollection
    annotation_rounds: Collection
    uploads: Collection
    contents: Collection
    jobs: Collection
    deletions: Collection
    idempotency: Collection
    quotas: Collection
    rate_limits: Collection
    embeddings: Collection
    embedding_models: Collection
    handle: AsyncIOMotorDatabase[Any]
    watching: WatchedDatabase

    async def ping(self) -> None:
        """Answers within the operation deadline, or raises one of `OUTAGE_ERRORS`."""
        await self.handle.command("ping")

    async def require_replica_set(self) -> None:
        """Raise ConfigurationError unless a replica set or a sharded cluster answers: change streams need one."""
        try:
            hello = await self.handle.command("hello")
        except OUTAGE_ERRORS as error:
            raise ConfigurationError(
                "MongoDB does not answer. Check that it runs, that MEDIA_MONGO__URI names it and that this machine can "
                "reach it, then start again."
            ) from error
        if "setName" not in hello and hello.get("msg") != "isdbgrid":
            raise ConfigurationError(
                "MongoDB runs as a standalone server. Subscriptions and majority writes need a replica set: "
                "start mongod with --replSet, run rs.initiate() once, and name it in MEDIA_MONGO__URI."
            )


def _bind(
    handle: AsyncIOMotorDatabase[Any],
    watching: WatchedDatabase,
    reading: AsyncIOMotorDatabase[Any] | AsyncDatabase[Any],
) -> Database:
    return Database(
        media=handle["media"],
        media_reads=reading["media"],
        annotations=handle["annotations"],
        annotation_reads=reading["annotations"],
        annotation_rounds=handle["annotation_rounds"],
        uploads=handle["uploads"],
        contents=handle["contents"],
        jobs=handle["jobs"],
        deletions=handle["deletions"],
        idempotency=handle["idempotency"],
        quotas=handle["quotas"],
        rate_limits=handle[RATE_LIMITS],
        embeddings=handle["embeddings"],
        embedding_models=handle["embedding_models"],
        handle=handle,
        watching=watching,
    )


def bind_database(handle: Any, *, watching: Any) -> Database:
    """The collections of an already opened database, e.g. an in-memory one. UUIDs must be stored as subtype 4.

    `watching` is the same by PyMongo's asyncio client, or what stands for it where there are no change streams.
    """
    return _bind(handle, watching, handle)


@asynccontextmanager
async def open_member(settings: MongoSettings, address: str) -> AsyncIterator[WatchedDatabase]:
    """The database as one member of the replica set has it, primary or not; `address` as its own set knows it."""
    known = parse_uri(settings.uri.get_secret_value())
    options = {name: value for name, value in known["options"].items() if name.lower().startswith(("auth", "tls"))}
    if known["username"] is not None:
        options = {"authSource": known["database"] or "admin", "username": known["username"], **options}
    client: AsyncMongoClient[Any] = AsyncMongoClient(
        address,
        directConnection=True,
        password=known["password"],
        serverSelectionTimeoutMS=settings.timeout_ms,
        timeoutMS=settings.timeout_ms,
        tz_aware=True,
        **options,
    )
    try:
        yield client[settings.database]
    finally:
        await client.close()


@asynccontextmanager
async def open_database(settings: MongoSettings) -> AsyncIterator[Database]:
    """Connect lazily; every call has the deadline of `settings.timeout_ms` and writes reach a journaled majority."""
    uri = settings.uri.get_secret_value()
    # What operators call this process in the database's logs goes before our name for all of them.
    named = {} if "appname=" in uri.lower() else {"appname": "media-metadata-service"}
    options: Mapping[str, Any] = {
        "tz_aware": True,
        "uuidRepresentation": "standard",
        "w": "majority",
        "journal": True,
        "retryWrites": True,
        "serverSelectionTimeoutMS": settings.timeout_ms,
        **named,
    }
    client: AsyncIOMotorClient[Any] = AsyncIOMotorClient(uri, timeoutMS=settings.timeout_ms, **options)
    watching: AsyncMongoClient[Any] = AsyncMongoClient(uri, **options)
    reading: AsyncMongoClient[Any] = AsyncMongoClient(uri, timeoutMS=settings.timeout_ms, **options)
    codec: CodecOptions[Any] = CodecOptions(tz_aware=True, uuid_representation=UuidRepresentation.STANDARD)
    try:
        yield _bind(
            client.get_database(settings.database, codec_options=codec),
            # What a viewer may see is decided on what these answer: never by a secondary that lags behind.
            watching.get_database(settings.database, codec_options=codec, read_preference=ReadPreference.PRIMARY),
            reading.get_database(settings.database, codec_options=codec, read_preference=ReadPreference.PRIMARY),
        )
    finally:
        client.close()
        await watching.close()
        await reading.close()
