"""Embeddings of media: written and removed once a request, and never over a newer write."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from uuid6 import uuid7

from service.access import Action, Viewer, granted_filters
from service.audit import OPERATOR_ACTOR
from service.embedding_request import EmbedRequest, RemovalRequest, parsed
from service.errors import InvalidInput, NotFound, NotPermitted, StateConflict, TemporarilyUnavailable
from service.stores import Stores
from service.stores.embeddings import MAX_MODELS, packed, row_id
from service.stores.idempotency import Remembered

# Each round that is lost was won by another write of the same embedding.
_ROUNDS = 50
# Media that the sweeper reads at a time, how many of them it attends to at once, and for how long.
_DUE_A_PAGE = 1_000
_DUE_AT_ONCE = 8
_SETTLING_S = 20.0

log = structlog.get_logger(__name__)

Mark = Mapping[str, str]


async def embed_media(viewer: Viewer, media_id: UUID | None, raw: Mapping[str, Any], *, stores: Stores) -> UUID:
    """Write the embedding of a media by a model, instead of the one that it may have, unless the same request did so
    before; the id of the media.

    Raises NotPermitted, InvalidInput, NotFound, StateConflict, IdempotencyKeyReused, and TemporarilyUnavailable if
    others write the same embedding all the time.
    """
    viewer_id = _signed_in(viewer)
    request = parsed(EmbedRequest, raw)
    content = {"id": str(media_id), "model": request.model, "vector": packed(request.vector).hex()}

    async def recall() -> Remembered:
        return await _recall(viewer_id, "embedMedia", request.idempotency_key, content, stores)

    await recall()
    known_id = await _find(viewer, media_id, stores)
    await _check_model(viewer, request.model, len(request.vector), stores)

    write = _writer(known_id, request.model, request.vector, viewer_id, stores)
    await _once(known_id, request.model, recall, write, stores)
    await stores.audit.settle("embeddings", [row_id(known_id, request.model)])
    return known_id


async def replace_embedding(media_id: UUID, model: str, vector: list[float], *, stores: Stores) -> None:
    """Write an embedding that nobody repeats by a key, checked as an EmbeddingRequest and of a model that is known.

    Raises NotFound, StateConflict and TemporarilyUnavailable as `embed_media` does.
    """
    change = {"change": str(uuid7())}

    async def recall() -> Remembered:
        return Remembered(id="", plan=change, applied=False)

    await _once(media_id, model, recall, _writer(media_id, model, vector, OPERATOR_ACTOR, stores), stores)


async def check_place(media_id: UUID, model: str, *, stores: Stores) -> None:
    """Raise StateConflict if as many other models have embedded a media as may."""
    await _places(media_id, model, stores)


async def delete_embeddings(
    viewer: Viewer, media_id: UUID | None, raw: Mapping[str, Any], *, stores: Stores
) -> tuple[UUID, list[str]]:
    """Remove embeddings of a media, unless the same request did so before; its id, and the models whose went.

    Raises as `embed_media` does.
    """
    viewer_id = _signed_in(viewer)
    request = parsed(RemovalRequest, raw)
    key, content = request.idempotency_key, {"id": str(media_id), "models": sorted(set(request.models))}
    known_id = await _found(viewer, media_id, stores)
    held = [] if known_id is None else (await stores.embeddings.of_media([known_id], models=request.models))[known_id]
    plan = {"models": [each["model"] for each in held]}
    models: list[str] = (
        await stores.idempotency.remember(
            owner_id=viewer_id, operation="deleteEmbeddings", key=key, content=content, plan=plan
        )
    )["models"]
    known_id = await _find(viewer, media_id, stores)
    for model in models:
        await _remove(viewer_id, known_id, model, key, stores)
    await stores.audit.settle("embeddings", [row_id(known_id, model) for model in models])
    return known_id, models


async def _remove(viewer_id: str, media_id: UUID, model: str, key: str, stores: Stores) -> None:
    """A record for each model: what says that a removal was made would otherwise say it of all."""
    content = {"id": str(media_id), "model": model}

    async def recall() -> Remembered:
        return await _recall(viewer_id, f"deleteEmbeddings {model}", key, content, stores)

    async def write(mark: Mark, last: Mark | None) -> bool:
        # Without a mark it went with its media.
        return last is None or await stores.embeddings.clear(
            media_id, model, mark=mark, replacing=last, actor=viewer_id
        )

    await _once(media_id, model, recall, write, stores)


async def settle_due(*, stores: Stores) -> None:
    """Bring embeddings in step with media whose status or visibility has changed, and after writers that died.

    Takes all there are, or as many as fit into 20 seconds. What cannot be settled is logged, and left to the next time.
    """
    ends = time.monotonic() + _SETTLING_S
    now = await stores.media.server_time()
    failed: set[UUID] = set()
    slots = asyncio.Semaphore(_DUE_AT_ONCE)

    async def settle(media_id: UUID, due_at: datetime) -> None:
        async with slots:
            if time.monotonic() >= ends:
                return
            try:
                if not await stores.embeddings.settle(media_id, due_at):
                    failed.add(media_id)
            except Exception:
                failed.add(media_id)
                log.exception("embeddings could not be brought in step with their media", media_id=str(media_id))

    while time.monotonic() < ends:
        due = await stores.embeddings.list_due(before=now, limit=_DUE_A_PAGE + len(failed))
        due = [each for each in due if each[0] not in failed]
        if not due:
            return
        async with asyncio.TaskGroup() as group:
            for each in due:
                group.create_task(settle(*each))


async def check_dimensions(model: str, dimensions: int, *, stores: Stores, field: Sequence[str] = ("vector",)) -> None:
    """Raise NotFound if nothing has been embedded by `model`, InvalidInput if its vectors have other dimensions."""
    known = await stores.embeddings.dimensions_of(model)
    if known is None:
        raise NotFound(f"Nothing has been embedded by a model {model} here.", field=["model"])
    if known != dimensions:
        raise wrong_dimensions(model, known, dimensions, field=field)


def wrong_dimensions(model: str, known: int, dimensions: int, *, field: Sequence[str] = ("vector",)) -> InvalidInput:
    """What is wrong with a vector of so many `dimensions`, where all others of its model have `known`."""
    return InvalidInput(
        f"Vectors of {model} have {known} numbers, this one has {dimensions}. A model that gives others needs "
        "another version in its name.",
        field=list(field),
    )


async def forget_model(model: str, *, stores: Stores) -> int:
    """Forget a model by which nothing is embedded, so that the next vector says anew how many numbers it has; how many
    it had.

    Raises NotFound for an unknown model, and StateConflict for one that media have embeddings by.
    """
    in_use = StateConflict(f"Media have embeddings by {model}. Delete those first, or give the model another version.")
    if await stores.embeddings.count_of(model, limit=1):
        raise in_use
    dimensions = await stores.embeddings.forget_model(model)
    if dimensions is None:
        raise NotFound(f"No model {model} is known here.", field=["model"])
    # Whoever had looked the model up before that may have written since.
    if await stores.embeddings.count_of(model, limit=1):
        await stores.embeddings.introduce(model, dimensions)
        raise in_use
    return dimensions


def _signed_in(viewer: Viewer) -> str:
    if viewer.id is None:
        raise NotPermitted("Sign in to write embeddings.")
    return viewer.id


async def _recall(owner_id: str, operation: str, key: str, content: Any, stores: Stores) -> Remembered:
    return await stores.idempotency.recall(
        owner_id=owner_id, operation=operation, key=key, content=content, plan={"change": str(uuid7())}
    )


async def _found(viewer: Viewer, media_id: UUID | None, stores: Stores) -> UUID | None:
    if media_id is None:
        return None
    found = await stores.media.get(media_id, fields=(), access=granted_filters(viewer, Action.ANNOTATE))
    return None if found is None else media_id


async def _find(viewer: Viewer, media_id: UUID | None, stores: Stores) -> UUID:
    found = await _found(viewer, media_id, stores)
    if found is not None:
        return found
    if media_id is not None and await stores.media.get(
        media_id, fields=(), access=granted_filters(viewer, Action.READ)
    ):
        raise NotPermitted("Embeddings are written by a media's owner, and by jobs.", field=["mediaId"])
    raise NotFound("There is no such media.", field=["mediaId"])


async def _check_model(viewer: Viewer, model: str, dimensions: int, stores: Stores) -> None:
    if await stores.embeddings.dimensions_of(model) is None:
        if not (viewer.is_service or viewer.is_moderator):
            # Whoever is first says how many dimensions all others must have.
            raise NotPermitted(
                f"No model {model} is known here. A job or a moderator must embed something by it first.",
                field=["model"],
            )
        await stores.embeddings.introduce(model, dimensions)
    await check_dimensions(model, dimensions, stores=stores)


def _writer(
    media_id: UUID, model: str, vector: list[float], actor: str, stores: Stores
) -> Callable[[Mark, Mark | None], Awaitable[bool]]:
    async def write(mark: Mark, last: Mark | None) -> bool:
        places = await _places(media_id, model, stores)
        media = await stores.embeddings.announce(media_id)
        if media is None:
            raise NotFound("There is no such media.", field=["mediaId"])
        # Not the first of them, which whoever writes at the same time would take, too.
        place = secrets.choice(places)
        written = await stores.embeddings.put(media, model, vector, place=place, mark=mark, replacing=last, actor=actor)
        await stores.embeddings.settle(media_id, media["embeddings_due_at"])
        return written

    return write


async def _places(media_id: UUID, model: str, stores: Stores) -> list[int]:
    places = await stores.embeddings.free_places(media_id, model)
    if not places:
        raise StateConflict(f"{MAX_MODELS} models have embedded this media already; delete those of one first.")
    return places


async def _once(
    media_id: UUID,
    model: str,
    recall: Callable[[], Awaitable[Remembered]],
    write: Callable[[Mark, Mark | None], Awaitable[bool]],
    stores: Stores,
) -> None:
    """Have `write` make a change and leave its mark, unless that was done before (docs/decisions/0014)."""
    for _ in range(_ROUNDS):
        # In this order: a change that is not the last one at this moment has been noted in its record by now.
        last = await stores.embeddings.mark_of(media_id, model)
        record = await recall()
        mark = {"id": record.plan["change"], "record": record.id}
        if record.applied or mark == last:
            return
        # Without a record it is that of a write which nobody repeats.
        if last is not None and last["record"]:
            await stores.idempotency.mark_applied(last["record"], {"change": last["id"]})
        if await write(mark, last):
            return
    raise TemporarilyUnavailable("Others are writing this embedding; send the same request again.")
