"""Media as a large collection has them, always the same: owners, subjects, tags and labels with long tails.

A document is that of the feed's benchmark, with what searches look at laid over it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from random import Random
from typing import Any, Final
from uuid import UUID, uuid5

import numpy as np
from numpy.typing import NDArray

from benchmarks.feed.population import BETWEEN, FIRST, media_document, stored_hashes
from benchmarks.search.hashes import realistic
from service.annotation_layout import MAX_LABELS
from service.annotation_places import place_of
from service.labels import summarise
from service.models import MediaPurpose
from service.stores.media import SCHEMA_VERSION

OWNERS: Final = 100_000
SUBJECTS: Final = 20_000
LABELS: Final = 1_000
TAGS: Final = 2_000

# One media in so many has more annotations than its document holds.
MOVED_EVERY: Final = 2_000
MOVED: Final = (101, 1_000)
# Of a purpose that few upload for.
RARE: Final = 0.002
MODEL: Final = "model:detector@3"

_MARKED: Final = 100
_STRIPPED: Final = (
    "title", "alt_text", "tags", "album_ids", "focus", "location", "captured_at", "subject", "capture_id", "content",
    "original", "renditions", "placeholder", "hashes", "retired_renditions", "first_viewable_at", "embedded",
    "metadata_choice",
)  # fmt: skip
_UNFINISHED: Final = ("FAILED", "DELETED", "DELETED", "EXPIRED", "PROCESSING")


@dataclass(frozen=True, slots=True)
class Cast:
    """Who took which media, and its perceptual hash as stored, by the media's number."""

    hashes: NDArray[np.int64]
    owners: NDArray[np.int64]


def cast(count: int) -> Cast:
    """For the media 0 to `count`: a few owners have thousands, most have a few, and a burst is one owner's."""
    found = realistic(count)
    owners = (OWNERS * np.random.default_rng(7).random(count) ** 3).astype(np.int64)
    for number in np.flatnonzero(found.burst_of != np.arange(count)).tolist():
        owners[number] = owners[found.burst_of[number]]
    return Cast(found.stored, owners)


def owner_name(number: int) -> str:
    """The id of an owner: the lower its number, the more media it has."""
    return f"owner-{number}"


def subject_id(number: int) -> str:
    """As with owners."""
    return f"trail-{number}"


def tag_name(number: int) -> str:
    """The lower its number, the more media carry it."""
    return f"tag-{number}"


def label_name(number: int) -> str:
    """The lower its number, the more often it is found."""
    return f"thing {number}"


def mark() -> str:
    """Changes with whatever is written: data that were kept from before are then of no use."""
    who = cast(_MARKED)
    made = [search_document(number, int(who.owners[number]), int(who.hashes[number])) for number in range(_MARKED)]
    return sha256(repr(made).encode()).hexdigest()


def first_id_after(count: int) -> UUID:
    """Above the ids of the media 0 to `count`, below all later ones."""
    milliseconds = round((FIRST + count * BETWEEN).timestamp() * 1000)
    return UUID(int=milliseconds << 80 | 0x7 << 76 | 0x2 << 62)


def search_document(number: int, owner: int, stored_hash: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The media of that number, and those of its annotations that are not in it."""
    random = Random(-1 - number)
    document = media_document(number)
    document["owner_id"] = owner_name(owner)
    document["schema_version"] = SCHEMA_VERSION
    if document["status"] != "READY":
        return _unfinished(document, random.choice(_UNFINISHED)), []
    if random.random() < RARE:
        _move(document, MediaPurpose.COVER)
    document["tags"] = sorted({tag_name(_log_uniform(random, TAGS)) for _ in range(random.randrange(6))})
    if random.random() < 0.25:
        document["subject"] = {"type": "trail", "id": subject_id(int(SUBJECTS * random.random() ** 2))}
    if random.random() < 0.15:
        document["album_ids"] = [f"album-{owner}-{random.randrange(5)}"]
    document["hashes"] = stored_hashes(stored_hash)
    return document, _annotate(document, number, random)


def _move(document: dict[str, Any], purpose: MediaPurpose) -> None:
    """To another purpose, which is part of its objects' keys."""
    before = f"{MediaPurpose(document['purpose']).slug}/"
    document["purpose"] = purpose.value
    for each in (*document["renditions"], document["original"]):
        each["key"] = each["key"].replace(before, f"{purpose.slug}/", 1)


def _log_uniform(random: Random, count: int) -> int:
    """A number below `count`, each rank as often as its inverse says (Zipf's law with exponent 1)."""
    return int((count + 1) ** random.random()) - 1


def _unfinished(document: dict[str, Any], status: str) -> dict[str, Any]:
    for name in ("hashes", "placeholder", "first_viewable_at", *(_STRIPPED if status == "DELETED" else ())):
        document.pop(name, None)
    document["status"] = document["status_history"][-1]["status"] = status
    if status == "DELETED":
        del document["processing"]["receipts"]
    elif status == "PROCESSING":
        document["waiting_since"] = document["updated_at"]
    return document


def _annotate(document: dict[str, Any], number: int, random: Random) -> list[dict[str, Any]]:
    """Write annotations into `document`; those that are too many are returned as rows of `annotations`."""
    is_moved = number % MOVED_EVERY == 0
    count = random.randint(*MOVED) if is_moved else _usual_number(random)
    if not count:
        return []
    at = document["updated_at"] + timedelta(seconds=5)
    labels = _labels()[:MAX_LABELS] if is_moved else _labels()
    made = [_annotation(random, at, labels) for _ in range(count)]
    document["labels"] = summarise(made)
    document["annotation_count"] = count
    if not is_moved:
        document["annotations"] = made
        return []
    segment = UUID(bytes=random.randbytes(16), version=4)
    document["annotation_segments"] = [{"id": segment, "source": MODEL, "count": count}]
    return [_row(each, document["_id"], segment) for each in made]


def _usual_number(random: Random) -> int:
    """None of two in five media; of the others 1 to 40, five on average."""
    return 0 if random.random() < 0.4 else min(1 + int(random.expovariate(1 / 4)), 40)


@lru_cache(1)
def _labels() -> tuple[str, ...]:
    return tuple(map(label_name, range(LABELS)))


def _annotation(random: Random, at: datetime, labels: Sequence[str]) -> Any:
    x, y = random.random() * 0.7, random.random() * 0.7
    return {
        "id": UUID(bytes=random.randbytes(16), version=4),
        "label": labels[_log_uniform(random, len(labels))],
        "confidence": random.betavariate(5, 2),
        "bounding_box": {"x": x, "y": y, "width": random.uniform(0.05, 1 - x), "height": random.uniform(0.05, 1 - y)},
        "text": None,
        "source": MODEL,
        "created_at": at,
    }


def _row(annotation: dict[str, Any], media_id: UUID, segment: UUID) -> dict[str, Any]:
    rest = {name: value for name, value in annotation.items() if name != "id"}
    place = place_of(annotation["confidence"], annotation["id"])
    named = {"annotation_id": annotation["id"], "media_id": media_id, "segment": segment, "place": place}
    return {"_id": uuid5(segment, str(annotation["id"])), **named, **rest}
