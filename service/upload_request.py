"""What a client may say of its media and ask of `createUploads`, field by field; errors name the offending input."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from service.errors import InvalidInput, MediaServiceError, SeveralInvalid, TooLarge, TypeNotAllowed
from service.models import MediaKind, MediaPurpose, MetadataField, NetworkQuality, Visibility
from service.policies import MAX_BYTES, MEGABYTE, POLICIES, MetadataPolicy, PurposePolicy, kind_of

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

MAX_FILES = 20
# Things that are wrong in one input.
MAX_TOLD = 5

# What pydantic finds, by its own names (https://docs.pydantic.dev/latest/errors/validation_errors/), for people.
_SENTENCES: Mapping[str, str] = {
    "missing": "{name} is missing.",
    "too_short": "{name} is empty; fill it in.",
    "string_too_short": "{name} is empty; fill it in.",
    "too_long": "{name} takes up to {max_length} {unit}; shorten it.",
    "string_too_long": "{name} takes up to {max_length} {unit}; shorten it.",
    "greater_than": "{name} must be more than {gt:g}.",
    "greater_than_equal": "{name} must be {ge:g} or more.",
    "less_than_equal": "{name} must be {le:g} or less.",
    "finite_number": "{name} must be a number, and not an infinite one.",
    "value_error": "{name}: {error}.",
}
_OF_BOXES = frozenset({"x", "y", "width", "height"})


def _trimmed(value: Any) -> Any:
    return value.strip() if isinstance(value, str) else value


def _without_control_characters(value: str) -> str:
    if any(ord(character) < 32 and character not in "\n\t" for character in value):
        raise ValueError("control characters are not allowed")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("lone surrogates are not text") from None
    return value


def _in_order_without_repeats(values: list[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _type_only(value: Any) -> Any:
    # "image/jpeg; charset=binary" declares image/jpeg.
    return value.split(";")[0].strip().lower() if isinstance(value, str) else value


Text = Annotated[str, BeforeValidator(_trimmed), AfterValidator(_without_control_characters)]
Name = Annotated[Text, Field(min_length=1, max_length=100)]
IdempotencyKey = Annotated[Text, Field(min_length=1, max_length=200)]
Tags = Annotated[
    list[Annotated[Text, Field(min_length=1, max_length=50)]],
    Field(max_length=30),
    AfterValidator(_in_order_without_repeats),
]
Title = Annotated[Text, Field(max_length=200)]
AltText = Annotated[Text, Field(max_length=1_000)]
AlbumIds = Annotated[list[Name], Field(max_length=20), AfterValidator(_in_order_without_repeats)]


class Request(BaseModel):
    """Input under its GraphQL names."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class SubjectRequest(Request):
    type: Name
    id: Name


class BoxRequest(Request):
    x: float = Field(ge=0, le=1, allow_inf_nan=False)
    y: float = Field(ge=0, le=1, allow_inf_nan=False)
    width: float = Field(gt=0, le=1, allow_inf_nan=False)
    height: float = Field(gt=0, le=1, allow_inf_nan=False)

    @model_validator(mode="after")
    def _inside_the_picture(self) -> BoxRequest:
        # A box computed in single precision may end a hair outside.
        if self.x + self.width > 1 + 1e-6 or self.y + self.height > 1 + 1e-6:
            raise ValueError("the box reaches outside the picture: x + width and y + height must not exceed 1")
        return self


class LocationRequest(Request):
    latitude: float = Field(ge=-90, le=90, allow_inf_nan=False)
    longitude: float = Field(ge=-180, le=180, allow_inf_nan=False)

    def as_point(self) -> dict[str, Any]:
        """GeoJSON (RFC 7946): longitude first."""
        return {"type": "Point", "coordinates": [self.longitude, self.latitude]}


class ClientRequest(Request):
    """Where uploads succeed and fail, by device, system, network and capture mode."""

    device_class: Annotated[Text, Field(max_length=100)] | None = None
    os: Annotated[Text, Field(max_length=100)] | None = None
    app_version: Annotated[Text, Field(max_length=100)] | None = None
    network: NetworkQuality | None = None
    capture_mode: Annotated[Text, Field(max_length=100)] | None = None


class FileRequest(Request):
    """One file of a batch. `byte_size` in bytes, `sha256` in lower-case hex.

    `keep_metadata`: what to keep of the file's own metadata, where its purpose leaves that to whoever uploads it.
    """

    content_type: Annotated[str, BeforeValidator(_type_only)] = Field(min_length=1, max_length=100)
    byte_size: int = Field(gt=0)
    sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    file_name: Annotated[Text, Field(max_length=255)] | None = None
    title: Title | None = None
    alt_text: AltText | None = None
    tags: Tags = []
    album_ids: AlbumIds = []
    focus: BoxRequest | None = None
    location: LocationRequest | None = None
    captured_at: datetime | None = None
    keep_metadata: frozenset[MetadataField] = frozenset()

    def metadata_choice(self, policy: PurposePolicy) -> list[MetadataField]:
        """Those of `keep_metadata` that `policy` leaves open; others are kept without being asked for, or never."""
        return sorted(self.keep_metadata & policy.metadata_under(MetadataPolicy.USER_CHOICE))


class BatchRequest(Request):
    """What holds for all files of a batch; the files are checked one by one."""

    idempotency_key: IdempotencyKey
    purpose: MediaPurpose
    capture_id: Name | None = None
    subject: SubjectRequest | None = None
    visibility: Visibility | None = None
    client: ClientRequest | None = None
    files: list[dict[str, Any]] = Field(min_length=1, max_length=MAX_FILES)

    @property
    def effective_visibility(self) -> Visibility:
        return self.visibility or POLICIES[self.purpose].default_visibility


def invalid_input(error: ValidationError, prefix: Sequence[str | int] = ()) -> InvalidInput:
    """The first thing that pydantic found, in a sentence; its field is named from `prefix` on."""
    return _invalid(error.errors(include_url=False)[0], prefix)


def invalid_inputs(error: ValidationError) -> SeveralInvalid:
    """All that pydantic found, in a sentence each, as far as one answer holds so many."""
    return SeveralInvalid([_invalid(each, ()) for each in error.errors(include_url=False)[:MAX_TOLD]])


def _invalid(found: ErrorDetails, prefix: Sequence[str | int]) -> InvalidInput:
    path = [to_camel(part) if isinstance(part, str) else part for part in found["loc"]]
    return InvalidInput(_sentence(found, path), field=[*prefix, *path])


def _sentence(error: ErrorDetails, path: Sequence[str | int]) -> str:
    name = next((part for part in reversed(path) if isinstance(part, str)), "The input")
    if path and isinstance(path[-1], int):
        name = f"Each of {name}"
    if name == "byteSize" and error["type"] == "greater_than":
        return "The file is empty: byteSize must be more than 0. Choose another file."
    if name in _OF_BOXES and error["type"] == "less_than_equal":
        return f"{name} must be 1 or less: boxes are in fractions of the picture, not in pixels."
    unit = "characters" if isinstance(error["input"], str) else "entries"
    sentence = _SENTENCES.get(error["type"], "{name}: {message}.")
    return sentence.format(name=name, unit=unit, message=error["msg"], **error.get("ctx", {}))


def parse_batch(raw: dict[str, Any]) -> BatchRequest:
    """Check everything but the files. Raises InvalidInput naming the field."""
    try:
        batch = BatchRequest.model_validate(raw)
    except ValidationError as error:
        raise invalid_input(error) from None
    if batch.visibility is not None:
        check_visibility(batch.visibility, batch.purpose)
    return batch


def check_visibility(visibility: Visibility, purpose: MediaPurpose) -> None:
    """Raises InvalidInput if media of this purpose may not be so visible."""
    if visibility not in POLICIES[purpose].allowed_visibilities:
        raise InvalidInput(f"{purpose} media cannot be {visibility}.", field=["visibility"])


def parse_file(
    raw: dict[str, Any], purpose: MediaPurpose, position: int, largest_file: int | None = None
) -> FileRequest | MediaServiceError:
    """One file, or the error that refuses it, so that one bad file does not hold up the others of its batch.

    `largest_file`: more bytes than these are refused for any purpose; None: what the purpose takes.
    """
    at: list[str | int] = ["files", position]
    try:
        file = FileRequest.model_validate(raw)
    except ValidationError as error:
        return invalid_input(error, at)
    policy = POLICIES[purpose]
    if file.content_type not in policy.content_types:
        return TypeNotAllowed(_type_refusal(file.content_type[:60], policy), field=[*at, "contentType"])
    max_bytes = min(policy.max_bytes_of(file.content_type), largest_file or MAX_BYTES)
    if file.byte_size > max_bytes:
        return TooLarge(_size_refusal(file, policy.purpose, max_bytes), field=[*at, "byteSize"])
    if file.sha256 is None and file.byte_size <= policy.multipart_threshold:
        return InvalidInput("A SHA-256 is required: storage checks the bytes against it.", field=[*at, "sha256"])
    if never_kept := file.keep_metadata & policy.metadata_under(MetadataPolicy.STRIP):
        names = " and ".join(sorted(never_kept))
        return InvalidInput(
            f"{purpose} media keep no {names} of their files: leave it out.", field=[*at, "keepMetadata"]
        )
    return file


# What people call the types that a purpose may take.
_NAMES = {
    "image/jpeg": "JPEG",
    "image/png": "PNG",
    "image/webp": "WebP",
    "image/avif": "AVIF",
    "image/heic": "HEIC",
    "image/heif": "HEIF",
    "image/gif": "GIF",
    "video/mp4": "MP4",
    "video/quicktime": "MOV",
    "video/webm": "WebM",
}


def _type_refusal(content_type: str, policy: PurposePolicy) -> str:
    *others, last = [_NAMES[taken] for taken in policy.content_types]
    taken = f"{policy.purpose} takes {', '.join(others)} and {last}"
    if content_type.startswith("video/"):
        if policy.max_clip_bytes:
            return f"{taken}, not {content_type}: save the clip as MP4 and upload that."
        return f"{taken}, no clips: choose a photo."
    if content_type.startswith("image/"):
        kind = content_type.removeprefix("image/").upper()
        return f"{taken}, not {kind}: save the photo as JPEG and upload that."
    if content_type == "application/octet-stream":
        return f"{taken}, and this file is of no type that is known: save the photo as JPEG and upload that."
    return f"{taken}, not {content_type}: choose a photo."


def _size_refusal(file: FileRequest, purpose: MediaPurpose, max_bytes: int) -> str:
    # Rounded apart: a file that is too large by a byte must not read as one that fits.
    size, limit = math.ceil(file.byte_size * 10 / MEGABYTE) / 10, math.floor(max_bytes * 10 / MEGABYTE) / 10
    what = "clips" if kind_of(file.content_type) is MediaKind.VIDEO else "pictures"
    return f"{purpose} takes {what} up to {limit:g} MB, and this one has {size:g} MB: upload a smaller version."
