"""Embeddings of media: written and removed once a request, and never over a newer write."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any, Final, TypeVar
from uuid import UUID

from pydantic import AfterValidator, Field, ValidationError
from uuid6 import uuid7

from service.access import Action, Viewer, granted_filters
from service.errors import InvalidInput, NotFound, NotPermitted, StateConflict, TemporarilyUnavailable
from service.stores import Stores
from service.stores.embeddings import packed, unpacked
from service.stores.idempotency import Remembered
from service.upload_request import IdempotencyKey, Request, invalid_input

MIN_DIMENSIONS: Final = 2
MAX_DIMENSIONS: Final = 4_096
# Models that may have embedded one media.
MAX_MODELS: Final = 10

# Each round that is lost was won by another write of the same embedding.
_ROUNDS = 50
# Media that the sweeper attends to in one round, and how many of them at once.
_DUE_A_ROUND = 1_000
_DUE_AT_ONCE = 8

Mark = Mapping[str, str]
R = TypeVar("R", bound=Request)


def _usable(vector: list[float]) -> list[float]:
    if not all(map(math.isfinite, vector)):
        raise ValueError("each number must be finite")
    try:
        stored = packed(vector)
    except OverflowError:
        raise ValueError("each number must fit 32 bits, up to 3.4e38") from None
    if not any(unpacked(stored)):
        raise ValueError("a vector of zeros points nowhere")
    return vector


Vector = Annotated[list[float], Field(min_length=MIN_DIMENSIONS, max_length=MAX_DIMENSIONS), AfterValidator(_usable)]
Model = Annotated[str, Field(max_length=150, pattern=r"^[A-Za-z0-9][A-Za-z0-9_./-]*@[A-Za-z0-9][A-Za-z0-9_.-]*$")]


class EmbedRequest(Request):
    """One embedding. `model`: its name and version, `name@version`."""

    idempotency_key: IdempotencyKey
    model: Model
    vector: Vector


class RemovalRequest(Request):
    """Which embeddings are to go."""

    idempotency_key: IdempotencyKey
    models: Annotated[list[Model], Field(min_length=1, max_length=MAX_MODELS)]


async def embed_media(viewer: Viewer, media_id: UUID | None, raw: Mapping[str, Any], *, stores: Stores) -> UUID:
    """Write the embedding of a media by a model, instead of the one that it may have, unless the same request did so
    before; the id of the media.

    Raises NotPermitted, InvalidInput, NotFound, StateConflict, IdempotencyKeyReused, and TemporarilyUnavailable if
    others write the same embedding all the time.
    """
    viewer_id = _signed_in(viewer)
    request = _parsed(EmbedRequest, raw)
    content = {"id": str(media_id), "model": request.model, "vector": packed(request.vector).hex()}

    async def recall() -> Remembered:
        return await _recall(viewer_id, "embedMedia", request.idempotency_key, content, stores)

    await recall()
    known_id = await _find(viewer, media_id, stores)
    await _check_model(viewer, request.model, len(request.vector), stores)
    await _check_room(known_id, request.model, stores)

    async def write(mark: Mark, last: Mark | None) -> bool:
        media = await stores.embeddings.announce(known_id)
        if media is None:
            raise NotFound("There is no such media.", field=["mediaId"])
        written = await stores.embeddings.put(media, request.model, request.vector, mark=mark, replacing=last)
        await stores.embeddings.settle(known_id, media["embeddings_due_at"])
        return written

    await _once(known_id, request.model, recall, write, stores)
    return known_id


async def delete_embeddings(
    viewer: Viewer, media_id: UUID | None, raw: Mapping[str, Any], *, stores: Stores
) -> tuple[UUID, list[str]]:
    """Remove embeddings of a media, unless the same request did so before; its id, and the models whose went.

    Raises as `embed_media` does.
    """
    viewer_id = _signed_in(viewer)
    request = _parsed(RemovalRequest, raw)
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
    return known_id, models


async def _remove(viewer_id: str, media_id: UUID, model: str, key: str, stores: Stores) -> None:
    """A record for each model: what says that a removal was made would otherwise say it of all."""
    content = {"id": str(media_id), "model": model}

    async def recall() -> Remembered:
        return await _recall(viewer_id, f"deleteEmbeddings {model}", key, content, stores)

    async def write(mark: Mark, last: Mark | None) -> bool:
        # Without a mark it went with its media.
        return last is None or await stores.embeddings.clear(media_id, model, mark=mark, replacing=last)

    await _once(media_id, model, recall, write, stores)


async def settle_due(*, stores: Stores) -> None:
    """Bring embeddings in step with media whose status or visibility has changed, and after writers that died."""
    now = await stores.media.server_time()
    slots = asyncio.Semaphore(_DUE_AT_ONCE)

    async def settle(media_id: UUID, due_at: Any) -> None:
        async with slots:
            await stores.embeddings.settle(media_id, due_at)

    async with asyncio.TaskGroup() as group:
        for media_id, due_at in await stores.embeddings.list_due(before=now, limit=_DUE_A_ROUND):
            group.create_task(settle(media_id, due_at))


async def check_dimensions(model: str, dimensions: int, *, stores: Stores, field: Sequence[str] = ("vector",)) -> None:
    """Raise NotFound if nothing has been embedded by `model`, InvalidInput if its vectors have other dimensions."""
    known = await stores.embeddings.dimensions_of(model)
    if known is None:
        raise NotFound(f"Nothing has been embedded by a model {model} here.", field=["model"])
    if known != dimensions:
        raise InvalidInput(
            f"Vectors of {model} have {known} numbers, this one has {dimensions}. A model that gives others needs "
            "another version in its name.",
            field=list(field),
        )


def _signed_in(viewer: Viewer) -> str:
    if viewer.id is None:
        raise NotPermitted("Sign in to write embeddings.")
    return viewer.id


def _parsed(type_: type[R], raw: Mapping[str, Any]) -> R:
    try:
        return type_.model_validate(raw)
    except ValidationError as error:
        raise invalid_input(error) from None


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


async def _check_room(media_id: UUID, model: str, stores: Stores) -> None:
    models = {each["model"] for each in (await stores.embeddings.of_media([media_id]))[media_id]}
    if model not in models and len(models) >= MAX_MODELS:
        raise StateConflict(f"{MAX_MODELS} models have embedded this media already; delete those of one first.")


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
        if last is not None:
            await stores.idempotency.mark_applied(last["record"], {"change": last["id"]})
        if await write(mark, last):
            return
    raise TemporarilyUnavailable("Others are writing this embedding; send the same request again.")
