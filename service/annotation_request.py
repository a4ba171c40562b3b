"""What a client may ask of annotations, field by field; errors name the offending input."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import Annotated, Any, Final
from uuid import UUID, uuid5

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError, field_validator

from service.documents import AnnotationDocument
from service.errors import InvalidInput
from service.labels import composed
from service.upload_request import BoxRequest, IdempotencyKey, Request, Text, invalid_inputs

# In one call.
MAX_ANNOTATIONS: Final = 1_000
MAX_IDS: Final = 1_000

MODEL_SOURCE: Final = "model:"
USER_SOURCE: Final = "user:"


# Unicode's general categories: control, format, line and paragraph separators.
_UNSEEN: Final = frozenset({"Cc", "Cf", "Zl", "Zp"})
# Persian, the scripts of India and emoji are written with joiners: after and before such characters.
_JOINERS: Final = frozenset({"\u200c", "\u200d"})
_JOINED: Final = (frozenset({"Lo", "Mn", "Mc", "So", "Sk"}), frozenset({"Lo", "So", "Sm"}))


def _visible(text: str) -> str:
    """The same text, if people who see it can tell it from others."""
    for index, character in enumerate(text):
        if unicodedata.category(character) in _UNSEEN and not _joins(text, index):
            raise ValueError("line breaks, control characters and invisible ones are not allowed")
    return text


def _joins(text: str, index: int) -> bool:
    if text[index] not in _JOINERS or not 0 < index < len(text) - 1:
        return False
    return all(
        unicodedata.category(neighbour) in categories
        for neighbour, categories in zip((text[index - 1], text[index + 1]), _JOINED, strict=True)
    )


def _known_source(source: str) -> str:
    name, _, version = source.removeprefix(MODEL_SOURCE).rpartition("@")
    is_model = source.startswith(MODEL_SOURCE) and bool(name) and bool(version) and "@" not in name
    is_user = source.startswith(USER_SOURCE) and len(source) > len(USER_SOURCE)
    if not is_model and not is_user:
        raise ValueError("it is user:<id> or model:<name>@<version>")
    # Ids are compared as they are in tokens.
    return composed(source) if is_model else source


Label = Annotated[Text, AfterValidator(_visible), AfterValidator(composed), Field(min_length=1, max_length=200)]
Source = Annotated[Text, AfterValidator(_visible), AfterValidator(_known_source), Field(max_length=200)]


class AnnotationRequest(Request):
    """One annotation. The box is in fractions of the whole upright picture, the confidence from 0 to 1."""

    label: Label
    confidence: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 1.0
    bounding_box: BoxRequest | None = None
    text: Annotated[Text, Field(max_length=2_000)] | None = None

    @field_validator("confidence", mode="before")
    @classmethod
    def _certain_unless_said(cls, confidence: Any) -> Any:
        return 1.0 if confidence is None else confidence


class AnnotateRequest(Request):
    """What a source says of a media. `replace`: instead of all that it has said before."""

    idempotency_key: IdempotencyKey
    source: Source
    replace: bool = False
    annotations: Annotated[list[AnnotationRequest], Field(max_length=MAX_ANNOTATIONS)]

    @field_validator("replace", mode="before")
    @classmethod
    def _added_unless_said(cls, replace: Any) -> Any:
        return False if replace is None else replace

    def documents(self, change: UUID) -> Iterator[AnnotationDocument]:
        """The annotations as they are stored, but for when they were made; their ids follow from the change's."""
        for index, each in enumerate(self.annotations):
            yield AnnotationDocument(
                id=uuid5(change, str(index)),
                label=each.label,
                confidence=each.confidence,
                bounding_box=None if each.bounding_box is None else each.bounding_box.model_dump(),
                text=each.text,
                source=self.source,
            )


def parse_annotate(raw: dict[str, Any]) -> AnnotateRequest:
    """Check what was given. Raises InvalidInput naming each field that is wrong, up to five."""
    try:
        request = AnnotateRequest.model_validate(raw)
    except ValidationError as error:
        raise invalid_inputs(error) from None
    if not request.annotations and not request.replace:
        raise InvalidInput("Give at least one annotation, or `replace: true` to take back what this source said.")
    return request


_KEY: TypeAdapter[str] = TypeAdapter(IdempotencyKey)


def check_deletion(idempotency_key: str, ids: int) -> None:
    """Raises InvalidInput for a useless key, or none or too many ids."""
    try:
        _KEY.validate_python(idempotency_key)
    except ValidationError:
        raise InvalidInput("idempotencyKey takes 1 to 200 characters.", field=["idempotencyKey"]) from None
    if not 1 <= ids <= MAX_IDS:
        raise InvalidInput(f"Give 1 to {MAX_IDS:,} ids.", field=["ids"])
