"""A world in which every field that clients can read has a value that gives away whose it is, and who may have it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from uuid6 import uuid7

from schema.field_rules import Rule
from schema.global_id import encode_id
from service.access import MODERATOR_ROLE, SERVICE_ROLE
from service.errors import FailureCode
from service.perceptual_hash import bands_of, from_stored
from service.runtime import Runtime
from service.settings import Settings
from service.settings.limits import PerOwner, PerRole
from service.stores.embeddings import packed, row_id
from tests.documents import MOMENT, ready_media

OWNER: Final = "owner-of-all"
MODEL: Final = "tell-tale@1"
CAPTURE: Final = "one-walk"

# Who asks, by subject and roles. Nothing here is theirs but the owner's.
IDENTITIES: Final[Mapping[str, tuple[str | None, tuple[str, ...]]]] = {
    "anonymous": (None, ()),
    "owner": (OWNER, ()),
    "other": ("somebody-else", ()),
    "moderator": ("a-moderator", (MODERATOR_ROLE,)),
    "service": ("a-job", (SERVICE_ROLE,)),
}

# A scanner has `locked` one away, a moderator the `moderated` one.
STORED: Final = ("open", "shut", "failed", "locked", "moderated", "gone")
SESSIONS: Final = ("single", "parts")
_LIVE: Final = frozenset({"open", "shut", "failed", "locked", "moderated", *SESSIONS})
_EVERY: Final = _LIVE | {"gone"}
_OPEN: Final = frozenset({"open"})
_NONE: Final[frozenset[str]] = frozenset()


def _shown(**by_identity: frozenset[str]) -> Mapping[str, frozenset[str]]:
    return {identity: by_identity.get(identity, _NONE) for identity in IDENTITIES}


# Of which media each rule shows something to whom: written down here a second time, without the access table.
SHOWN: Final[Mapping[Rule, Mapping[str, frozenset[str]]]] = {
    Rule.READERS: _shown(anonymous=_OPEN, other=_OPEN, service=_OPEN, owner=_LIVE, moderator=_LIVE),
    Rule.FOLLOWERS: _shown(anonymous=_OPEN, other=_OPEN, service=_OPEN, owner=_EVERY, moderator=_EVERY),
    Rule.DETAILS: _shown(owner=_LIVE, moderator=_LIVE),
    Rule.ORIGINAL: _shown(owner=frozenset({"open", "shut"}), moderator=frozenset({"open", "shut", "moderated"})),
    Rule.CHANGERS: _shown(owner=_LIVE, moderator=_LIVE),
    Rule.ANNOTATORS: _shown(owner=_LIVE, moderator=_LIVE, service=_LIVE),
    Rule.DELETERS: _shown(owner=_EVERY, moderator=_EVERY),
    Rule.MODERATORS: _shown(moderator=_LIVE),
    Rule.UPLOADER: _shown(owner=frozenset(SESSIONS)),
}
# With a token of one's own; what it then shows is one's own.
SIGNED_IN: Final = frozenset(IDENTITIES) - {"anonymous"}


def generous(settings: Settings) -> Settings:
    """Everybody may ask for everything at once, and as often as they like; how much one may store is known.

    Nothing is asked of the database but for a request, so that what a request takes can be counted.
    """
    at_once = {"max_query_cost": 1_000_000, "max_query_tokens": 10_000, "max_root_fields": 50}
    often = {name: PerRole() for name in ("reads", "writes", "live")} | {"failed_authentications": 0}
    often |= {"max_queue_age_s": 0, "max_database_ms": 0}
    stored = {"total_bytes": PerOwner(user=10**12, moderator=10**12, service=10**12)}
    return settings.model_copy(
        update={
            "http": settings.http.model_copy(update=at_once),
            "limits": settings.limits.model_copy(update={**often, **stored}),
        }
    )


@dataclass(frozen=True)
class World:
    """`media`: ids by label. `secrets`: texts that may only be in answers to those whom a rule shows that media."""

    media: Mapping[str, UUID]
    annotations: Mapping[str, UUID]
    secrets: Mapping[tuple[str, Rule], tuple[str, ...]]

    def id(self, label: str, kind: str = "Media") -> str:
        return encode_id(kind, self.media[label])

    def leaked(self, identity: str, text: str) -> list[str]:
        """What is in an answer that must not be."""
        return [
            f"{label}: {secret}"
            for (label, rule), secrets in self.secrets.items()
            if label not in SHOWN[rule][identity]
            for secret in secrets
            if secret in text
        ]


def _number(label: str) -> int:
    return STORED.index(label) + 1


def sha256_of(label: str) -> str:
    return hashlib.sha256(label.encode()).hexdigest()


def _perceptual_hash(label: str) -> int:
    # One bit apart from that of the first, so that all look alike.
    return 0x0F0F_3C3C_5A5A_6969 ^ (1 << (4 * _number(label)))


def perceptual_hash_of(label: str) -> str:
    return from_stored(_perceptual_hash(label))


_STATUSES: Final = {"failed": "FAILED", "locked": "QUARANTINED", "moderated": "QUARANTINED", "gone": "DELETED"}
_CODES: Final = {"failed": "failed-code", "locked": "locked-code", "moderated": FailureCode.MODERATED.value}


def _document(label: str, annotation_id: UUID, twin_of: UUID) -> dict[str, Any]:
    number = _number(label)
    visibility = "PRIVATE" if label == "shut" else "PUBLIC"
    media: dict[str, Any] = dict(ready_media(owner_id=OWNER, visibility=visibility, purpose="COMMUNITY"))
    media |= {
        "capture_id": CAPTURE,
        "position": number,
        "subject": {"type": f"{label}-subject-type", "id": f"{label}-subject-id"},
        "album_ids": [f"{label}-album"],
        "title": f"{label}-title",
        "alt_text": f"{label}-alt-text",
        "tags": [f"{label}-tag"],
        "focus": {"x": number / 100, "y": 0.1, "width": 0.5, "height": 0.5},
        "location": {"type": "Point", "coordinates": [number + 0.123456, number + 0.654321]},
        "captured_at": None,
        "content": {
            **media["content"], "bytes": 3_000_000 + number, "sha256": sha256_of(label), "duration_ms": 4_000 + number
        },
        "embedded": {
            "captured_at": MOMENT.replace(year=1990 + number),
            "camera": {"make": f"{label}-camera-make", "model": f"{label}-camera-model"},
        },
        "hashes": {"phash": _perceptual_hash(label), "bands": bands_of(_perceptual_hash(label))},
        "first_viewable_at": MOMENT,
        "processing": {"complete": True},
        "moderation": [
            {"id": label, "decision": "RELEASE", "by": f"{label}-decider", "at": MOMENT, "reason": f"{label}-reason"}
        ],
        "annotations": [
            _annotation(annotation_id, f"{label}-label", 0.9, f"{label}-recognised"),
            _annotation(uuid7(), "near-duplicate", 0.8, str(twin_of)),
        ],
        "labels": [
            {"label": f"{label}-label", "step": 9, "confidence": 0.9},
            {"label": "near-duplicate", "step": 8, "confidence": 0.8},
        ],
        "has_embeddings": True,
    }  # fmt: skip
    if code := _CODES.get(label):
        media["failure"] = {"code": code, "message": f"{label}-message", "retryable": True}
    if status := _STATUSES.get(label):
        media["status"] = media["status_history"][-1]["status"] = status
    return media


def _annotation(annotation_id: UUID, label: str, confidence: float, text: str) -> dict[str, Any]:
    box = {"x": 0.1, "y": 0.2, "width": 0.3, "height": 0.4}
    source = f"user:{OWNER}"
    return {
        "id": annotation_id, "label": label, "confidence": confidence, "bounding_box": box, "text": text,
        "source": source, "created_at": MOMENT,
    }  # fmt: skip


def _embedding(label: str, media: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "_id": row_id(media["_id"], MODEL),
        "media_id": media["_id"],
        "owner_id": OWNER,
        "status": media["status"],
        "visibility": media["visibility"],
        "as_of": MOMENT,
        "created_at": MOMENT,
        "model": MODEL,
        "place": 0,
        "dimensions": 3,
        "vector": packed([1.0, 2.0, 3.0 + _number(label) / 16]),
        "last_change": {"id": "1", "record": "1"},
    }


def _secrets(label: str, media: Mapping[str, Any], twin_of: UUID) -> dict[tuple[str, Rule], tuple[str, ...]]:
    names = ("title", "alt-text", "subject-type", "subject-id", "album", "tag", "label", "recognised", "message")
    return {
        (label, Rule.FOLLOWERS if label == "gone" else Rule.READERS): (
            *(f"{label}-{name}" for name in names), perceptual_hash_of(label), str(media["_id"]),
        ),
        (label, Rule.DETAILS): (
            sha256_of(label), str(media["location"]["coordinates"][0]), f"{label}-camera", encode_id("Media", twin_of),
        ),
        (label, Rule.ORIGINAL): (media["original"]["key"],),
        (label, Rule.MODERATORS): (f"{label}-decider", f"{label}-reason"),
        (label, Rule.ANNOTATORS): (str(3.0 + _number(label) / 16),),
    }  # fmt: skip


async def make_world(runtime: Runtime, sessions: Mapping[str, UUID]) -> World:
    """Put it into the database, around the upload `sessions` that there are already."""
    annotations, twins = ({label: uuid7() for label in STORED} for _ in range(2))
    documents = {label: _document(label, annotations[label], twins[label]) for label in STORED}
    database = runtime.database
    await database.media.insert_many(list(documents.values()))
    await database.embeddings.insert_many([_embedding(label, media) for label, media in documents.items()])
    await runtime.stores.embeddings.introduce(MODEL, 3)
    gone = documents["gone"]["_id"]
    await runtime.stores.deletions.request(
        gone, owner_id=OWNER, requested_by=OWNER, purpose="COMMUNITY", objects=[{"bucket": "b", "key": "gone-key"}]
    )
    moments = dict.fromkeys(("cdn_invalidated_at", "verified_at", "blocked_until"), MOMENT)
    ended = {"stage": "VERIFIED", "objects_removed": 1, "certificate": "gone-certificate", **moments}
    await database.deletions.update_one({"_id": gone}, {"$set": ended})
    secrets: dict[tuple[str, Rule], tuple[str, ...]] = {("gone", Rule.DELETERS): ("gone-certificate",)}
    for label, media in documents.items():
        secrets |= _secrets(label, media, twins[label])
    ids = {label: media["_id"] for label, media in documents.items()}
    return World({**ids, **sessions}, annotations, secrets)
