"""What a client may ask of embeddings, field by field; errors name the offending input."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Final, TypeVar

from pydantic import AfterValidator, Field, ValidationError

from service.stores.embeddings import MAX_MODELS, packed, unpacked
from service.upload_request import IdempotencyKey, Request, invalid_input

MIN_DIMENSIONS: Final = 2
MAX_DIMENSIONS: Final = 4_096

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


class EmbeddingRequest(Request):
    """One embedding. `model`: its name and version, `name@version`."""

    model: Model
    vector: Vector


class EmbedRequest(EmbeddingRequest):
    """An embedding that is to be written once."""

    idempotency_key: IdempotencyKey


class RemovalRequest(Request):
    """Which embeddings are to go."""

    idempotency_key: IdempotencyKey
    models: Annotated[list[Model], Field(min_length=1, max_length=MAX_MODELS)]


def parsed(type_: type[R], raw: Mapping[str, Any]) -> R:
    """Check what was given. Raises InvalidInput naming the field."""
    try:
        return type_.model_validate(raw)
    except ValidationError as error:
        raise invalid_input(error) from None
