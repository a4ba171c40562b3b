"""What a client may ask of embeddings, field by field; errors name the offending input."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, TypeVar

from pydantic import AfterValidator, Field, ValidationError

from service.stores.embeddings import MAX_MODELS, packed, unpacked
from service.upload_request import IdempotencyKey, Request, invalid_input

MIN_DIMENSIONS: Final = 2
MAX_DIMENSIONS: Final = 4_096

_MODEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./-]*@[A-Za-z0-9][A-Za-z0-9_.-]*")

R = TypeVar("R", bound=Request)


def _usable(vector: list[float]) -> list[float]:
    if not MIN_DIMENSIONS <= len(vector) <= MAX_DIMENSIONS:
        raise ValueError(f"it needs {MIN_DIMENSIONS} to {MAX_DIMENSIONS:,} numbers, not {len(vector):,}")
    if not all(map(math.isfinite, vector)):
        raise ValueError("each number must be finite")
    try:
        stored = packed(vector)
    except OverflowError:
        raise ValueError("each number must fit 32 bits, up to 3.4e38") from None
    if not any(vector):
        raise ValueError("a vector of zeros points nowhere")
    if not any(unpacked(stored)):
        raise ValueError("its numbers are too small for 32 bits, all become 0; scale them up")
    return vector


def _versioned(model: str) -> str:
    if not _MODEL.fullmatch(model):
        raise ValueError("it is name@version, such as clip@1, in letters, digits and _ . - /, the version without /")
    return model


Vector = Annotated[list[float], AfterValidator(_usable)]
Model = Annotated[str, Field(max_length=150), AfterValidator(_versioned)]


class EmbeddingRequest(Request):
    """One embedding. `model`: its name and version, `name@version`."""

    model: Model
    vector: Vector


class EmbedRequest(EmbeddingRequest):
    """An embedding that is to be written once."""

    idempotency_key: IdempotencyKey


class NearestRequest(Request):
    """What embeddings are to be near to: a vector, or None where a media says it."""

    model: Model
    vector: Vector | None


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
