"""Which media a picture is: by an id of ours, in a field or in a name, else by the SHA-256 of its original."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from service.annotation_exchange.records import PictureRecord, Unreadable, told
from service.annotation_exchange.spool import SpooledPicture
from service.documents import MediaDocument
from service.global_ids import decode_id, encode_id
from service.lifecycle import MediaStatus
from service.stores import Stores

_TYPE: Final = "Media"
# Base64 of the type with its colon, which is a whole number of groups, and of a UUID, as clients are given it.
_GLOBAL_ID: Final = re.compile(r"TWVkaWE6[A-Za-z0-9+/]{48}")
_UUID: Final = re.compile(
    r"(?<![0-9a-fA-F])[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}(?![0-9a-fA-F])"
)
_SHA256: Final = re.compile(r"(?<![0-9a-fA-F])[0-9a-fA-F]{64}(?![0-9a-fA-F])")


@dataclass(frozen=True, slots=True)
class Hints:
    """What a picture may be: one of these media, else one with one of these contents."""

    ids: frozenset[UUID]
    sha256s: frozenset[str]


def global_id(media_id: UUID) -> str:
    """The id of a media as clients know it."""
    return encode_id(_TYPE, media_id)


def find_id(text: str) -> UUID | None:
    """The one media that `text` names by an id of ours; None if it names none, or several."""
    found = set(_ids_in(text))
    return found.pop() if len(found) == 1 else None


def hints_of(picture: PictureRecord) -> Hints:
    """What the fields of a picture say, or else its names."""
    names = [picture.media_id] if picture.media_id is not None else picture.names
    ids = {media_id for name in names for media_id in _ids_in(name)}
    told_sha256s = [picture.sha256] if picture.sha256 is not None else picture.names
    sha256s = () if picture.media_id is not None else (each for name in told_sha256s for each in _SHA256.findall(name))
    return Hints(frozenset(ids), frozenset(each.lower() for each in sha256s))


def _ids_in(name: str) -> list[UUID]:
    encoded = (decode_id(each) for each in _GLOBAL_ID.findall(name))
    return [*map(UUID, _UUID.findall(name)), *(each[1] for each in encoded if each is not None)]


async def find_media(
    pictures: Sequence[SpooledPicture], *, owner_id: str | None, stores: Stores
) -> tuple[dict[int, UUID], dict[int, Unreadable]]:
    """Which media pictures are, by their numbers, and why the others are none.

    With `owner_id`: only media of that owner. Without it contents say nothing: owners share them.
    """
    hints = {each.number: hints_of(each.record) for each in pictures}
    by_id = await stores.media.get_many({each for one in hints.values() for each in one.ids}, fields=())
    wanted = {each for one in hints.values() for each in one.sha256s}
    by_content: dict[str, list[MediaDocument]] = {}
    if owner_id is not None and wanted:
        for media in await stores.media.find_by_content(
            owner_id, wanted, statuses={MediaStatus.READY}, fields=("content.sha256",)
        ):
            by_content.setdefault(media["content"]["sha256"], []).append(media)
    found: dict[int, UUID] = {}
    unknown: dict[int, Unreadable] = {}
    for picture in pictures:
        media_id, reason = _choose(hints[picture.number], by_id, by_content, owner_id)
        if media_id is not None:
            found[picture.number] = media_id
        else:
            unknown[picture.number] = Unreadable(picture.record.place, f"{_named(picture.record)} {reason}")
    return found, unknown


def _choose(
    hints: Hints,
    by_id: Mapping[UUID, MediaDocument],
    by_content: Mapping[str, Sequence[MediaDocument]],
    owner_id: str | None,
) -> tuple[UUID | None, str]:
    known = [by_id[each] for each in hints.ids if each in by_id and _is_of(by_id[each], owner_id)]
    if not known:
        known = [media for sha256 in hints.sha256s for media in by_content.get(sha256, ())]
    if len(known) > 1:
        return None, f"may be {len(known)} media"
    if not known:
        return None, _why_unknown(hints, owner_id)
    [media] = known
    if media["status"] != MediaStatus.READY:
        return None, f"is a media that is {media['status']}, not READY"
    return media["_id"], ""


def _is_of(media: Mapping[str, Any], owner_id: str | None) -> bool:
    return media["status"] != MediaStatus.DELETED and owner_id in {None, media["owner_id"]}


def _why_unknown(hints: Hints, owner_id: str | None) -> str:
    if hints.sha256s and owner_id is None:
        return "names a content only; say whose with --owner"
    return "is no media" if owner_id is None else "is no media of this owner"


def _named(picture: PictureRecord) -> str:
    return told(picture.media_id or picture.sha256 or (picture.names[0] if picture.names else picture.key))
