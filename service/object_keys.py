"""Where bytes lie in the two buckets: how object keys are built, recognised and kept to an alphabet safe in URLs."""

from __future__ import annotations

import hashlib
import re
from datetime import date
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from service.models import Visibility

if TYPE_CHECKING:
    from service.models import MediaFormat, MediaPurpose, RenditionName

EXTENSIONS = {
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/webp": "webp",
    "image/avif": "avif",
    "image/heic": "heic",
    "image/heif": "heif",
    "image/gif": "gif",
    "video/mp4": "mp4",
    "video/quicktime": "mov",
    "video/webm": "webm",
}

# Inside this alphabet every signer, browser and S3 server agrees on each byte of a URL; outside it they do not.
_SAFE = re.compile(r"[A-Za-z0-9_.-]+(?:/[A-Za-z0-9_.-]+)*")
_DOT_SEGMENT = re.compile(r"(?:^|/)\.{1,2}(?:/|$)")

_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_ORIGINAL = re.compile(rf"[a-z-]+/raw/({_UUID})\.[a-z0-9]+")
_RENDITION = re.compile(rf"[a-z-]+/(processed|private)/[a-z]+/({_UUID})/([A-Za-z0-9_-]+)\.[a-z0-9]+")
# Generations of renditions that are made have none.
_KEPT = "kept-"
# Where workers may write. The other prefix is that of development stacks up to release 0.1.0.
_PROBE = re.compile(r"(?:probe/processed|readiness)/[0-9a-f]{32}")
_ANCHOR = re.compile(r"audit/[^/]+/heads/(\d{4}-\d\d-\d\d)\.json")

# Key groups open paths, so what opens PUBLIC renditions must not lead to the others.
_FOLDERS = {Visibility.PUBLIC: "processed", Visibility.PRIVATE: "private"}
_VISIBILITIES = {folder: visibility for visibility, folder in _FOLDERS.items()}

ORIGINALS_PATTERN = "*/raw/*"
# Those of one visibility, as the path patterns of a distribution and of access policies write them.
RENDITIONS_PATTERNS = {visibility: f"*/{folder}/*" for visibility, folder in _FOLDERS.items()}


def original_key(purpose: MediaPurpose, media_id: UUID, content_type: str) -> str:
    """The key of an original in the upload bucket, e.g. `pet-tag/raw/{id}.jpg`.

    Raises KeyError for a content type no policy takes.
    """
    return f"{purpose.slug}/raw/{media_id}.{EXTENSIONS[content_type]}"


def originals_prefix(purpose: MediaPurpose, media_id: UUID) -> str:
    """What the key of a media's original starts with, whatever type it is of."""
    return f"{purpose.slug}/raw/{media_id}."


def rendition_key(
    purpose: MediaPurpose,
    visibility: Visibility,
    name: RenditionName,
    media_id: UUID,
    generation: int | str,
    media_format: MediaFormat,
) -> str:
    """The key of a rendition in the media bucket: `cover/processed/feed/{id}/1.webp` if it is PUBLIC, and
    `cover/private/feed/{id}/1.webp` if it is not.

    `generation` must change whenever the bytes do: objects are cached for ever. Raises ValueError if it would
    leave the alphabet.
    """
    key = f"{rendition_prefix(purpose, visibility, name, media_id)}{generation}.{media_format.extension}"
    if not _RENDITION.fullmatch(key):
        raise ValueError(f"generation {generation!r} must be made of letters, digits, - and _")
    return key


def rendition_prefix(purpose: MediaPurpose, visibility: Visibility, name: RenditionName | str, media_id: UUID) -> str:
    """What every generation and format of one rendition starts with; `*` as name stands for all renditions."""
    return f"{renditions_folder(purpose, visibility)}{name.lower()}/{media_id}/"


def renditions_folder(purpose: MediaPurpose, visibility: Visibility) -> str:
    """What the renditions of all media of that purpose and visibility start with, e.g. `cover/processed/`."""
    return f"{purpose.slug}/{_FOLDERS[visibility]}/"


def probe_key() -> str:
    """A new key in the media bucket for an object that is written only to see whether storage keeps it."""
    return f"probe/processed/{uuid4().hex}"


def is_probe(key: str) -> bool:
    """Whether `key` is that of such an object, which nobody needs once it was read again."""
    return _PROBE.fullmatch(key) is not None


def day_of_anchor(key: str) -> date | None:
    """The day (UTC) whose anchor is under `key`; None for another key."""
    named = _ANCHOR.fullmatch(key)
    try:
        return None if named is None else date.fromisoformat(named[1])
    except ValueError:
        return None


def anchor_prefix(database: str) -> str:
    """Where in the media bucket the heads of a database's audit chains are anchored."""
    return f"audit/{database}/heads/"


def is_anchor(key: str) -> bool:
    """Whether `key` is that of such an anchor, which belongs to no media and stays."""
    return _ANCHOR.fullmatch(key) is not None


def parse_key(key: str) -> UUID | None:
    """The media an object belongs to, or None for a key that this service did not make."""
    media_id = media_of_original(key) or media_of_rendition(key)
    return UUID(media_id) if media_id else None


def media_of_original(key: str) -> str | None:
    """The id, as text, of the media whose original lies under `key`; None for any other key."""
    match = _ORIGINAL.fullmatch(key)
    return match[1] if match else None


def media_of_rendition(key: str) -> str | None:
    """The id, as text, of the media that `key` is a rendition of; None for any other key."""
    match = _RENDITION.fullmatch(key)
    return match[2] if match else None


def generation_of_rendition(key: str) -> str | None:
    """The generation that a rendition's `key` belongs to; None for any other key."""
    match = _RENDITION.fullmatch(key)
    return match[3] if match else None


def visibility_of_rendition(key: str) -> Visibility | None:
    """Whom the folder of a rendition's `key` is meant for; None for any other key.

    A media's own visibility is ahead of it for as long as its objects are being moved.
    """
    match = _RENDITION.fullmatch(key)
    return _VISIBILITIES[match[1]] if match else None


def kept_rendition_key(key: str, secret: str) -> str:
    """Where what a media was shown with under `key` is kept for as long as it must not be removed.

    In the private folder, whoever it was for; and an address that opens all renditions of the media opens none without
    its key, which nobody can tell who does not know `secret`. Raises ValueError for the key of anything else.
    """
    if media_of_rendition(key) is None:
        raise ValueError(f"{key} is not the key of a rendition")
    slug, _, name, media_id, file = key.split("/")
    generation = _KEPT + hashlib.sha256(f"{secret}:{key}".encode()).hexdigest()[:32]
    return f"{slug}/{_FOLDERS[Visibility.PRIVATE]}/{name}/{media_id}/{generation}.{file.partition('.')[2]}"


def is_kept_rendition(key: str) -> bool:
    """Whether `key` is one that `kept_rendition_key` gave."""
    generation = generation_of_rendition(key)
    return generation is not None and generation.startswith(_KEPT)


def is_safe_key(key: str) -> bool:
    """Whether `key` keeps to `[A-Za-z0-9/_.-]`, without empty or dot segments."""
    return _SAFE.fullmatch(key) is not None and _DOT_SEGMENT.search(key) is None
