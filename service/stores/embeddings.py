"""The `embeddings` collection: one vector a media and model, kept out of the media's own document.

A row carries whose media it is of, and its status and visibility, so that a search can leave out beforehand what its
viewer may not see. These follow the media: whatever changes them there notes in the same write that rows are due
(`EMBEDDINGS_DUE`), and `settle` brings them in step. The media itself always has the last word.
"""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID, uuid5

from bson.binary import Binary, BinaryVectorDtype
from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from service.audit import SERVICE_ACTOR, AuditAction
from service.documents import EmbeddingDocument, MediaDocument
from service.lifecycle import MediaStatus
from service.stores.audit_outbox import OUTBOX, PAST_EMPTIED_OUTBOXES, noted
from service.stores.change_streams import Signal, Told, watch
from service.stores.database import Database
from service.stores.expressions import NOW, after_now, literals, next_due

SCHEMA_VERSION: Final = 1
COLLECTION: Final = "embeddings"

# Longer than any writer takes that is still alive.
GRACE_S: Final = 600.0
# Rows to a batch: decoding one must not keep others waiting.
_BATCH = 100
# The data type and the padding of a BSON vector come before its numbers
# (https://github.com/mongodb/specifications/blob/master/source/bson-binary-vector/bson-binary-vector.md).
_HEADER = 2

# Models that may have embedded one media.
MAX_MODELS: Final = 10

_WITHOUT_VECTOR: Final[Mapping[str, int]] = {"vector": 0}


def row_id(media_id: UUID, model: str) -> UUID:
    """Where the embedding of a media by a model is kept."""
    return uuid5(media_id, model)


def packed(vector: Sequence[float]) -> bytes:
    """A vector as it is stored: BSON's own form for 32-bit floats. Raises OverflowError for what is none."""
    return Binary.from_vector(list(vector), BinaryVectorDtype.FLOAT32)


def numbers(stored: bytes) -> bytes:
    """The 32-bit floats of a stored vector, little-endian, one after the other."""
    return stored[_HEADER:]


def unpacked(stored: bytes) -> list[float]:
    """A stored vector as numbers."""
    return list(struct.unpack(f"<{(len(stored) - _HEADER) // 4}f", numbers(stored)))


class EmbeddingStore:
    """`_media` is only ever given what concerns embeddings."""

    def __init__(self, database: Database) -> None:
        self._embeddings = database.embeddings
        self._models = database.embedding_models
        self._media = database.media

    async def dimensions_of(self, model: str) -> int | None:
        """How many numbers the vectors of a model have; None if it has none yet."""
        known = await self._models.find_one({"_id": model})
        return None if known is None else int(known["dimensions"])

    async def introduce(self, model: str, dimensions: int) -> int:
        """How many numbers the vectors of a model have from now on: whoever comes first decides."""
        known = await self._models.find_one_and_update(
            {"_id": model},
            {"$setOnInsert": {"dimensions": dimensions}},
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        return int(known["dimensions"])

    async def forget_model(self, model: str) -> int | None:
        """Forget how many numbers the vectors of a model have; how many that was, or None if it was unknown."""
        known = await self._models.find_one_and_delete({"_id": model})
        return None if known is None else int(known["dimensions"])

    async def announce(self, media_id: UUID) -> MediaDocument | None:
        """Note on a media that its rows are about to be written: should the writer die, the sweeper sees to them.

        What `put` needs of the media, with `embeddings_due_at` to `settle` it by; None if it is DELETED or unknown.
        """
        due = {"has_embeddings": True, "embeddings_due_at": next_due(after_now(GRACE_S))}
        media: MediaDocument | None = await self._media.find_one_and_update(
            {"_id": media_id, "status": {"$ne": MediaStatus.DELETED.value}},
            [{"$set": due}],
            projection={"owner_id": 1, "status": 1, "visibility": 1, "updated_at": 1, "embeddings_due_at": 1},
            return_document=ReturnDocument.AFTER,
        )
        return media

    async def free_places(self, media_id: UUID, model: str) -> list[int]:
        """Those of a media's `MAX_MODELS` places where an embedding by `model` may be kept: its own, and free ones."""
        query = {"media_id": media_id, "place": {"$gte": 0}}
        cursor = self._embeddings.find(query, {"model": 1, "place": 1}).hint("places")
        taken = {row["place"]: row["model"] async for row in cursor}
        return [place for place in range(MAX_MODELS) if taken.get(place, model) == model]

    async def mark_of(self, media_id: UUID, model: str) -> Mapping[str, str] | None:
        """Which request wrote or removed this embedding last; None if none did."""
        row = await self._embeddings.find_one(_at(media_id, model), {"last_change": 1})
        return None if row is None else row["last_change"]

    async def put(
        self,
        media: MediaDocument,
        model: str,
        vector: Sequence[float],
        *,
        place: int,
        mark: Mapping[str, str],
        replacing: Mapping[str, str] | None,
        actor: str = SERVICE_ACTOR,
    ) -> bool:
        """Write an embedding of `actor`'s, leave `mark` and have it on record; False if its last change left another
        mark than `replacing`, or if `place`, one of `free_places`, has been taken.

        `media` is what `announce` gave. What its row says of the media stays as it is, if it does say something.
        """
        of_media = {"status": media["status"], "visibility": media["visibility"], "as_of": media["updated_at"]}
        fresh = {
            "media_id": media["_id"],
            "owner_id": media["owner_id"],
            "model": model,
            "dimensions": len(vector),
            "vector": packed(vector),
            "last_change": dict(mark),
            "schema_version": SCHEMA_VERSION,
        }
        once = {"place": place, **of_media}
        update = {
            **literals(fresh),
            **{name: {"$ifNull": [f"${name}", {"$literal": value}]} for name, value in once.items()},
            "created_at": NOW,
            **_noted(AuditAction.EMBEDDING_WRITTEN, model, mark, actor, {"$literal": media["owner_id"]}, media["_id"]),
        }
        query = {**_at(media["_id"], model), "last_change.id": _last(replacing)}
        try:
            written = await self._embeddings.update_one(query, [{"$set": update}], upsert=replacing is None)
        except DuplicateKeyError:
            return False
        return bool(written.matched_count or written.upserted_id)

    async def clear(
        self,
        media_id: UUID,
        model: str,
        *,
        mark: Mapping[str, str],
        replacing: Mapping[str, str],
        actor: str = SERVICE_ACTOR,
    ) -> bool:
        """Remove an embedding but for `mark`; False if its last change left another mark than `replacing`."""
        bare = {
            "_id": "$_id",
            "media_id": "$media_id",
            "last_change": {"$literal": dict(mark)},
            **_noted(AuditAction.EMBEDDING_DELETED, model, mark, actor, "$owner_id", media_id),
        }
        query = {**_at(media_id, model), "last_change.id": _last(replacing)}
        written = await self._embeddings.update_one(query, [{"$replaceWith": bare}])
        return bool(written.matched_count)

    async def settle(self, media_id: UUID, due_at: datetime) -> bool:
        """Bring the rows of a media in step with it, and note that they are, unless they are due anew since `due_at`.

        A media that is DELETED or gone has none, once what was done to them is on record; False if it is not yet.
        """
        media = await self._media.find_one({"_id": media_id}, {"status": 1, "visibility": 1, "updated_at": 1})
        if media is None or media["status"] == MediaStatus.DELETED:
            if not await self.remove_of(media_id):
                return False
        else:
            await self._embeddings.update_many(
                {"media_id": media_id, "as_of": {"$lt": media["updated_at"]}},
                {
                    "$set": {
                        "status": media["status"],
                        "visibility": media["visibility"],
                        "as_of": media["updated_at"],
                    }
                },
            )
        await self._media.update_one(
            {"_id": media_id, "embeddings_due_at": due_at}, {"$unset": {"embeddings_due_at": ""}}
        )
        return True

    async def settle_if_due(self, media_id: UUID) -> None:
        """`settle` now what the sweeper would see to later."""
        due = await self._media.find_one({"_id": media_id}, {"embeddings_due_at": 1})
        if due is not None and "embeddings_due_at" in due:
            await self.settle(media_id, due["embeddings_due_at"])

    async def list_due(self, *, before: datetime, limit: int) -> list[tuple[UUID, datetime]]:
        """Media whose rows have been due since before `before`, longest first, each with when they fell due."""
        query = {"embeddings_due_at": {"$lt": before}}
        cursor = self._media.find(query, {"embeddings_due_at": 1}).sort("embeddings_due_at", 1).limit(limit)
        return [(media["_id"], media["embeddings_due_at"]) for media in await cursor.to_list(limit)]

    async def remove_of(self, media_id: UUID) -> bool:
        """Remove all that is kept of a media, marks included, but for rows of which not all is in the audit chains yet;
        whether there were none of these.
        """
        await self._embeddings.delete_many({"media_id": media_id, f"{OUTBOX}.id": {"$exists": False}})
        return await self._embeddings.find_one({"media_id": media_id}, {"_id": 1}) is None

    async def of_media(
        self, media_ids: Collection[UUID], *, models: Collection[str] | None = None
    ) -> dict[UUID, list[EmbeddingDocument]]:
        """The embeddings of each of these media, by model, without their vectors; `models`: only those of these."""
        asked = {"$gt": ""} if models is None else {"$in": sorted(models)}
        query = {"media_id": {"$in": sorted(set(media_ids))}, "model": asked}
        cursor = self._embeddings.find(query, dict(_WITHOUT_VECTOR)).sort([("media_id", 1), ("model", 1)])
        found: dict[UUID, list[EmbeddingDocument]] = {media_id: [] for media_id in media_ids}
        async for row in cursor.hint("by_media"):
            found[row["media_id"]].append(row)
        return found

    async def by_ids(self, ids: Collection[UUID]) -> list[EmbeddingDocument]:
        """Those of these rows that hold an embedding, with their vectors."""
        query = {"_id": {"$in": sorted(set(ids))}}
        rows = await self._embeddings.find(query).to_list(len(ids))
        return [row for row in rows if "model" in row]

    async def of_model(self, model: str) -> AsyncIterator[list[EmbeddingDocument]]:
        """All embeddings by one model, a hundred at a time, with their vectors."""
        cursor = self._embeddings.find({"model": model}, batch_size=_BATCH).hint("by_model")
        while rows := await cursor.to_list(_BATCH):
            yield rows

    async def count_of(self, model: str, *, limit: int) -> int:
        """How many embeddings there are by one model, or `limit` if there are more."""
        return int(await self._embeddings.count_documents({"model": model}, limit=limit, hint="by_model"))

    async def page(self, after: UUID | None, *, model: str | None, limit: int) -> list[EmbeddingDocument]:
        """Up to `limit` embeddings, with their vectors, in the order of their ids after `after`."""
        query: dict[str, Any] = {"model": {"$gt": ""} if model is None else model}
        if after is not None:
            query["_id"] = {"$gt": after}
        # In the order of ids: by the index on the model, or by that of the ids, few of which are without a model.
        cursor = self._embeddings.find(query).sort("_id", 1).limit(limit)
        rows: list[EmbeddingDocument] = await cursor.hint("_id_" if model is None else "by_model").to_list(limit)
        return rows


def _at(media_id: UUID, model: str) -> dict[str, Any]:
    # The media names the shard.
    return {"_id": row_id(media_id, model), "media_id": media_id}


def _noted(
    action: AuditAction, model: str, mark: Mapping[str, str], actor: str, owner: Any, media_id: UUID
) -> Mapping[str, Any]:
    entry_id = f"embedding:{mark['id']}"
    return noted(entry_id, action, actor=actor, owner=owner, subject=media_id, details={"model": model})


def _last(replacing: Mapping[str, str] | None) -> Any:
    return {"$exists": False} if replacing is None else replacing["id"]


class Written(NamedTuple):
    """A row that was written or removed. `model`: None where the event does not tell, of one that was there before."""

    row_id: UUID
    model: str | None


async def watch_embeddings(database: Database) -> AsyncIterator[Written | Signal | Told]:
    """Every row that is written or removed; BEGUN first, and again where any may have been missed."""
    model = {"$ifNull": ["$fullDocument.model", "$updateDescription.updatedFields.model"]}
    pipeline: list[Mapping[str, Any]] = [PAST_EMPTIED_OUTBOXES, {"$project": {"documentKey": 1, "model": model}}]
    async for event in watch(database.watching, pipeline, collection=COLLECTION):
        if isinstance(event, Signal | Told):
            yield event
        elif "documentKey" in event:
            yield Written(event["documentKey"]["_id"], event.get("model"))
