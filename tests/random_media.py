"""Random stored documents: whole ones of every kind, with gaps, and broken ones that make resolvers fail."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from schema.global_id import encode_id
from service.lifecycle import MediaStatus
from service.models import MediaPurpose, UploadMethod, Visibility
from tests.documents import MOMENT, ready_media

Document = dict[str, Any]

OWNERS: Final = ("anna", "bert")
# UUIDv7 of one millisecond each, oldest first.
MEDIA_IDS: Final = tuple(UUID(f"0195a000-000{n}-7000-8000-00000000000{n}") for n in range(8))
_ANNOTATION_IDS: Final = tuple(UUID(f"0195a000-000{n}-7000-9000-00000000000{n}") for n in range(3))
UNKNOWN: Final = UUID("0195a000-0009-7000-8000-000000000009")

ANNOTATION_GLOBAL_IDS: Final = tuple(encode_id("Annotation", each) for each in _ANNOTATION_IDS)


def global_ids(type_name: str) -> tuple[str, ...]:
    """Ids of media, or of uploads and deletions, which are stored under the same; the last is unknown."""
    return (*(encode_id(type_name, each) for each in MEDIA_IDS[:5]), encode_id(type_name, UNKNOWN))


_ABSENT: Final = object()

_BOX: Final = {"x": 0.1, "y": 0.1, "width": 0.5, "height": 0.5}

# (path, what may stand there instead of what should). A star is any one of a list.
_DAMAGE: Final[tuple[tuple[str, tuple[Any, ...]], ...]] = (
    ("kind", (_ABSENT, None, "HOLOGRAM")),
    ("purpose", ("SELFIE",)),
    ("visibility", ("FRIENDS",)),
    ("status_sequence", (_ABSENT, None, "four", 2**40, 1.5, True)),
    ("status_history", (_ABSENT, None, [], "none")),
    ("status_history.*.status", (_ABSENT, "LOST", None)),
    ("status_history.*.sequence", (None, "one", 2**31)),
    ("status_history.*.at", (None, "yesterday", 5)),
    ("capture_id", (_ABSENT, None, 5, ["x"], {"a": 1})),
    ("position", (None, "first", -(2**31) - 1, 0.5)),
    ("subject", (_ABSENT, None, {}, {"type": "post"}, {"type": None, "id": "1"}, {"type": "post", "id": {}}, "post")),
    ("album_ids", (_ABSENT, None, [], [None], ["a", None, "b"], [{}], "summer", 7)),
    ("title", (_ABSENT, None, "", 5, {"de": "Miso"}, "\N{SNOWMAN}")),
    ("alt_text", (_ABSENT, None, ["x"], 1.0, True)),
    ("tags", (_ABSENT, None, [], ["cat", 7], [["cat"]], [None], "cat", 0)),
    ("focus", (_BOX, {"x": 0.1}, {**_BOX, "width": "w"}, {**_BOX, "x": None})),
    ("location", (_ABSENT, None, {"coordinates": [1.0]}, {"coordinates": ["x", None]})),
    ("location.coordinates", ([float("inf"), 1],)),
    ("captured_at", (_ABSENT, None, "2026", 0)),
    ("created_at", (_ABSENT, None, "2026", 12)),
    ("updated_at", (_ABSENT, None, datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, tzinfo=UTC))),
    ("content", (_ABSENT, None, {}, "jpeg")),
    ("content.type", (_ABSENT, 5)),
    ("content.bytes", (_ABSENT, None, -1, "3e6", 2**60)),
    ("content.width", (_ABSENT, None, "wide", 2**31, 10.0)),
    ("content.height", (_ABSENT, None, [], 0.25)),
    ("content.sha256", (_ABSENT, None, 5)),
    ("content.duration_ms", (4_200, "long")),
    ("original", (_ABSENT, None, {}, {"key": "elsewhere"}, {"key": 5})),
    ("placeholder", (_ABSENT, None, {}, 5)),
    ("placeholder.thumbhash", (_ABSENT, None, 5)),
    ("hashes", (_ABSENT, None, {}, {"phash": None}, {"phash": "f"}, {"phash": 2**62})),
    ("renditions", (_ABSENT, None, [], "none")),
    ("renditions.*", (None, {}, "FEED")),
    ("renditions.*.name", (_ABSENT, "HUGE", None)),
    ("renditions.*.format", (_ABSENT, "BMP", None)),
    ("renditions.*.width", (_ABSENT, None, "w", 2**31)),
    ("renditions.*.height", (_ABSENT, None, "h", 7.5)),
    ("renditions.*.bytes", (_ABSENT, None, "b", -5, 1e300)),
    ("renditions.*.key", (_ABSENT, None, "community/processed/feed/nobody/g1.jpg")),
    ("annotations", (None, [], "none")),
    ("annotations.*.label", (None, 5)),
    ("annotations.*.confidence", (None, "sure", 7, True)),
    ("annotations.*.bounding_box", (_BOX, {"x": 0}, {**_BOX, "x": "x"})),
    ("annotations.*.text", (_ABSENT, "Salt 0.1 g", 5, {})),
    ("annotations.*.source", (_ABSENT, None)),
    ("annotations.*.created_at", (_ABSENT, "today")),
    ("failure", ({"code": "C", "message": "m", "retryable": True}, {"code": "C"})),
    ("failure", ({"code": None, "message": {}, "retryable": 0},)),
    ("moderation", ([{"id": "d", "decision": "RELEASE", "by": "mo", "at": MOMENT, "reason": "m"}], [{}], None)),
    ("embedded", ({"camera": {"make": "M", "model": None}}, {"captured_at": MOMENT}, {"camera": {}}, None)),
    ("is_location_settled", (True, None)),
    ("processing", ({"complete": True}, {"complete": "yes"}, None, {})),
    ("first_viewable_at", (MOMENT, None, "soon")),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stored:
    """What the collections hold."""

    media: Sequence[Document]
    uploads: Sequence[Document]
    deletions: Sequence[Document]


def annotation(number: int) -> Document:
    """One of a few annotations; the last tells of another media."""
    return {
        "id": _ANNOTATION_IDS[number],
        "label": ("cat", "text", "near-duplicate")[number],
        "confidence": (0.9, 0.5, 1.0)[number],
        "bounding_box": None,
        "text": (None, "Fat 3 g", str(MEDIA_IDS[0]))[number],
        "source": "model:tesseract@5" if number else "user:anna",
        "created_at": MOMENT,
    }


def _upload(media: Document, method: UploadMethod) -> Document:
    return {
        "_id": media["_id"],
        "owner_id": media["owner_id"],
        "purpose": media["purpose"],
        "method": method.value,
        "bucket": "media-uploads",
        "key": f"community/raw/{media['_id']}.jpg",
        "content_type": "image/jpeg",
        "bytes": 3_000_000,
        "sha256": "a" * 64,
        "client": {},
        "created_at": MOMENT,
        "expires_at": MOMENT + timedelta(days=36_500),
        **({"part_size": 1_000_000, "part_count": 3} if method is UploadMethod.MULTIPART else {}),
    }


def _deletion(media: Document, stage: str) -> Document:
    return {
        "_id": media["_id"],
        "requested_at": MOMENT,
        "stage": stage,
        "objects": [{"bucket": "b", "key": "k"}],
        "objects_removed": 0,
    }


@st.composite
def media_documents(draw: DrawFn, damaged: int = 5) -> list[Document]:
    """Up to six media, newest last, each with up to `damaged` things missing or wrong."""
    return [draw(_media(each, damaged)) for each in MEDIA_IDS[: draw(st.sampled_from([4, 5, 6, 0, 1, 2]))]]


@st.composite
def _media(draw: DrawFn, media_id: UUID, damaged: int) -> Document:
    status = draw(st.sampled_from([*([MediaStatus.READY] * 18), *MediaStatus]))
    whole: Any = ready_media(
        _id=media_id,
        owner_id=draw(st.sampled_from(OWNERS)),
        status=status.value,
        visibility=draw(st.sampled_from([*([Visibility.PUBLIC] * 4), Visibility.PRIVATE])).value,
        purpose=draw(st.sampled_from([*([MediaPurpose.COMMUNITY] * 6), *MediaPurpose])).value,
    )
    if annotations := draw(st.integers(0, 3)):
        whole["annotations"] = [annotation(number) for number in range(annotations)]
    for _ in range(draw(st.integers(0, damaged))):
        path, instead = draw(st.sampled_from(_DAMAGE))
        _damage(whole, path.split("."), draw(st.sampled_from(instead)), draw(st.integers(0, 5)))
    return dict(whole)


def _damage(place: Any, path: Sequence[str], instead: Any, which: int) -> None:
    key: Any = path[0]
    if isinstance(place, list) and place and key == "*":
        key = which % len(place)
    elif not isinstance(place, dict) or key == "*":
        return
    if path[1:]:
        _damage(place[key] if isinstance(key, int) else place.get(key), path[1:], instead, which)
    elif instead is not _ABSENT:
        place[key] = copy.deepcopy(instead)
    elif isinstance(place, dict):
        place.pop(key, None)


@st.composite
def _stored(draw: DrawFn) -> Stored:
    media = draw(media_documents())
    uploads, deletions = [], []
    for each in media:
        kind = draw(st.integers(0, 3))
        if kind < 2:
            uploads.append(_upload(each, (UploadMethod.SINGLE, UploadMethod.MULTIPART)[kind]))
        if kind == 2:
            deletions.append(_deletion(each, draw(st.sampled_from(["HIDDEN", "VERIFIED", "LOST"]))))
    return Stored(media, uploads, deletions)


def stored_documents() -> SearchStrategy[Stored]:
    """Everything that the root fields may find, with the ids of `MEDIA_IDS`."""
    return _stored()
