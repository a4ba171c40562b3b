"""SeaweedFS's webhook payloads, as the objects they announce."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_BUCKETS = "/buckets/"
# Parts of unfinished multipart uploads, and its own bookkeeping, live inside the bucket's folder.
_INTERNAL = frozenset({".uploads", ".system"})
# In a bucket with versions an object is a folder, with a file for each version and each delete marker.
_VERSIONS, _VERSION = ".versions", "v_"
_DELETE_MARKER = "Seaweed-X-Amz-Delete-Marker"


def created_object(payload: Mapping[str, Any]) -> tuple[str, str] | None:
    """`(bucket, key)` of the object that now stands there, or None for folders, deletions and internal entries.

    A payload is `{"event_type", "key": "/buckets/<bucket>/<key>", "message": {"new_entry", "new_parent_path"}}`
    (SeaweedFS 4.48, `weed/notification/webhook`). Shapes that are not understood are None as well: an event is a hint.
    """
    message = payload.get("message")
    entry = message.get("new_entry") if isinstance(message, Mapping) else None
    if not isinstance(message, Mapping) or not isinstance(entry, Mapping) or entry.get("is_directory"):
        return None
    path = f"{message.get('new_parent_path')}/{entry.get('name')}"
    bucket, _, key = path.removeprefix(_BUCKETS).partition("/")
    if not path.startswith(_BUCKETS) or not key or _INTERNAL & {bucket, *key.split("/")}:
        return None
    if _DELETE_MARKER in (entry.get("extended") or {}):
        return None
    return bucket, _without_version(key)


def _without_version(key: str) -> str:
    folder, _, name = key.rpartition("/")
    return folder.removesuffix(_VERSIONS) if folder.endswith(_VERSIONS) and name.startswith(_VERSION) else key
