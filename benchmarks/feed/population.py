"""Media as the pipeline leaves them, many at once and always the same, written straight into a database."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from random import Random
from typing import Any, Final
from uuid import UUID

from pymongo import MongoClient, WriteConcern

import indexes.media
from service.models import MediaFormat, MediaPurpose, RenditionName, Visibility
from service.object_keys import original_key, rendition_key
from service.perceptual_hash import Transform, bands_of, derived
from service.stores.media import SCHEMA_VERSION
from service.wanted_renditions import PIPELINE_VERSION

FIRST: Final = datetime(2026, 1, 1, tzinfo=UTC)
BETWEEN: Final = timedelta(seconds=7)
OWNERS: Final = 5_000
BATCH: Final = 1_000

_LAZY: Final = WriteConcern(w=1, j=False)

_PURPOSES: Final = (*[MediaPurpose.COMMUNITY] * 8, MediaPurpose.PROFILE, MediaPurpose.FOOD_LABEL)
_SIZES: Final = ((4032, 3024), (3024, 4032), (4000, 3000), (1920, 1080), (3000, 2000), (2048, 2048))
_SIDES: Final = ((RenditionName.THUMBNAIL, 200), (RenditionName.FEED, 720), (RenditionName.FULL, 1080))
# Bytes a pixel of each format, as `make bench-images` measures them.
_WEIGHTS: Final = ((MediaFormat.JPEG, 0.22), (MediaFormat.WEBP, 0.18), (MediaFormat.AVIF, 0.13))
_WORDS: Final = tuple(
    "the a of at in my first last evening morning lake dog cat garden Köln winter coffee with and from two".split()  # noqa: SIM905 - to be read
)
_TAGS: Final = ("dog", "cat", "garden", "food", "travel", "winter", "summer", "friends")
_STEPS: Final = (
    "fetch", "open_original", "check_limits", "count_frames", "decode", "read_metadata", "shrink", "to_srgb",
    "strip_metadata", "turn_upright", "resize_all", "encode_all", "describe", "store",
)  # fmt: skip


def _receipts(random: Random) -> list[dict[str, Any]]:
    def milliseconds() -> float:
        return round(random.uniform(0, 120), 3)

    return [
        {"step": step, "wall_ms": milliseconds(), "cpu_ms": milliseconds(), "tool": "Pillow 13.0.0", "parameters": {}}
        for step in _STEPS
    ]


# Made once: they are a third of a document, and nobody reads them here.
_RECEIPTS: Final = tuple(_receipts(Random(number)) for number in range(64))


def populate(uri: str, database: str, numbers: range) -> None:
    """Add the media of these numbers, the greatest the newest, by two processes, and our indexes of `media`."""
    middle = numbers.start + len(numbers) // 2
    halves = (range(numbers.start, middle), range(middle, numbers.stop))
    # Spawned: this process has threads, with which forking is not safe.
    writers = ProcessPoolExecutor(len(halves), get_context("spawn"))
    with MongoClient[dict[str, Any]](uri) as client, writers:
        # Built at once they take seconds; kept up to date meanwhile, most of the time.
        client[database]["media"].drop_indexes()
        for writing in [writers.submit(_write, uri, database, half) for half in halves]:
            writing.result()
        specifications = [index.specification() for index in indexes.media.INDEXES]
        client[database].command({"createIndexes": "media", "indexes": specifications})


def _write(uri: str, database: str, numbers: range) -> None:
    with MongoClient[dict[str, Any]](uri, uuidRepresentation="standard") as client:
        # Nothing here has to survive a crash.
        media = client[database]["media"].with_options(write_concern=_LAZY)
        for batch in _batches(numbers):
            media.insert_many(batch, ordered=False)


def _batches(numbers: range) -> Iterator[list[dict[str, Any]]]:
    for start in range(0, len(numbers), BATCH):
        yield [media_document(number) for number in numbers[start : start + BATCH]]


def media_document(number: int) -> dict[str, Any]:
    """The media of that number: 97 in 100 are READY, 95 of those PUBLIC, 80 of COMMUNITY."""
    random = Random(number)
    created = FIRST + number * BETWEEN
    media_id, purpose = _id_of(created, random), random.choice(_PURPOSES)
    is_ready = random.random() < 0.97
    visibility = Visibility.PUBLIC if random.random() < 0.95 else Visibility.PRIVATE
    width, height = random.choice(_SIZES)
    sha256 = random.randbytes(32).hex()
    generation = sha256[:16]
    ready_at = created + timedelta(seconds=3)

    def key_of(name: RenditionName, format_: MediaFormat) -> str:
        return rendition_key(purpose, visibility, name, media_id, generation, format_)

    return {
        "_id": media_id,
        "owner_id": f"owner-{random.randrange(OWNERS)}",
        "kind": "IMAGE",
        "purpose": purpose.value,
        "visibility": visibility.value,
        "capture_id": str(UUID(bytes=random.randbytes(16))),
        "position": 0,
        "subject": None,
        "album_ids": [],
        "title": _title(random),
        "alt_text": _title(random),
        "tags": random.sample(_TAGS, random.randrange(4)),
        "focus": None,
        "location": None,
        "captured_at": None,
        "metadata_choice": [],
        "content": {
            "type": "image/jpeg",
            "bytes": random.randrange(800_000, 6_000_000),
            "sha256": sha256,
            "announced_sha256": sha256,
            "width": width,
            "height": height,
            "frame_count": 1,
            "duration_ms": None,
        },
        "original": {"bucket": "media-uploads", "key": original_key(purpose, media_id, "image/jpeg")},
        "renditions": _renditions(random, width / height, key_of) if is_ready else [],
        "schema_version": SCHEMA_VERSION,
        "status": "READY" if is_ready else "FAILED",
        "status_sequence": 4,
        "status_history": _history(created, is_ready=is_ready),
        "created_at": created,
        "updated_at": ready_at,
        "first_viewable_at": ready_at,
        "embedded": {"captured_at": created - timedelta(hours=random.randrange(1, 99))},
        "retired_renditions": [],
        "placeholder": {
            "thumbhash": base64.b64encode(random.randbytes(23)).decode(),
            "dominant_color": f"#{random.randbytes(3).hex()}",
        },
        "hashes": stored_hashes(random.getrandbits(64) - 2**63),
        "processing": _processing(random, sha256, visibility, ready_at),
    }


def stored_hashes(value: int) -> dict[str, Any]:
    """The `hashes` of a media whose perceptual hash is stored as `value`; those of turned copies follow from it."""
    bands = bands_of(value)
    transformed = [derived(value, each) for each in Transform if each is not Transform.IDENTITY]
    return {"phash": value, "transformed": transformed} | ({} if bands is None else {"bands": bands})


def _id_of(created: datetime, random: Random) -> UUID:
    """A UUIDv7 of that time (RFC 9562, section 5.7)."""
    milliseconds = round(created.timestamp() * 1000)
    return UUID(int=milliseconds << 80 | 0x7 << 76 | random.getrandbits(12) << 64 | 0x2 << 62 | random.getrandbits(62))


def _title(random: Random) -> str | None:
    return " ".join(random.choices(_WORDS, k=random.randrange(2, 9))) if random.random() < 0.7 else None


def _renditions(
    random: Random, aspect: float, key_of: Callable[[RenditionName, MediaFormat], str]
) -> list[dict[str, Any]]:
    made = []
    for name, side in _SIDES:
        wide, high = (side, round(side / aspect)) if aspect >= 1 else (round(side * aspect), side)
        width, height = (side, side) if name is RenditionName.THUMBNAIL else (wide, high)
        for format_, weight in _WEIGHTS:
            made.append(
                {
                    "name": name.value,
                    "format": format_.value,
                    "width": width,
                    "height": height,
                    "bytes": round(width * height * weight * random.uniform(0.6, 1.4)),
                    "key": key_of(name, format_),
                    "sha256": random.randbytes(32).hex(),
                }
            )
    return made


def _history(created: datetime, *, is_ready: bool) -> list[dict[str, Any]]:
    statuses = ("INITIATED", "UPLOADED", "PROCESSING", "READY" if is_ready else "FAILED")
    return [
        {"status": status, "sequence": index + 1, "at": created + timedelta(seconds=index)}
        for index, status in enumerate(statuses)
    ]


def _processing(random: Random, sha256: str, visibility: Visibility, ready_at: datetime) -> dict[str, Any]:
    generation = sha256[:16]
    return {
        "fence": 1,
        "attempt": 1,
        "lane": "FIRST_VISIBLE",
        "pipeline_version": PIPELINE_VERSION,
        "complete": True,
        "made_from": generation,
        "made_for": visibility.value,
        "rendition_generation": generation,
        "render_fence": 1,
        "rendering_revision": 0,
        "rendered_revision": 0,
        "rendered_round": 1,
        "renders": 1,
        "replaced_at": ready_at,
        "given_up": [],
        "receipts": {
            job: [{**receipt, "input_sha256": sha256} for receipt in random.choice(_RECEIPTS)]
            for job in ("process", "render")
        },
    }
