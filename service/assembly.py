"""From parts to an object: which parts storage confirms, what is missing or wrong, and putting them together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from service.documents import UploadDocument
from service.errors import PartsMismatch, UploadIncomplete
from service.failpoints import Failpoint, reach
from service.models import StoredObject
from service.multipart import StoredPart
from service.object_store import ObjectStore
from service.part_plan import bytes_of_part
from service.stores import Stores

# Enough to name in one sentence.
_NAMED = 20
# The one thing about a list of parts that time can mend.
_UNSENT = "not in storage"


@dataclass(frozen=True, slots=True)
class ClaimedPart:
    """A part as the client says it was sent."""

    number: int
    etag: str


@dataclass(frozen=True, slots=True)
class Confirmed:
    """What storage holds of an upload that is not finished: parts, or the whole as one object."""

    parts: Sequence[StoredPart] = ()
    whole: StoredObject | None = None

    @property
    def byte_size(self) -> int:
        return sum(part.byte_size for part in self.parts) if self.whole is None else self.whole.bytes


async def confirmed(upload: UploadDocument, *, stores: Stores, object_store: ObjectStore) -> Confirmed:
    """Ask storage, which alone knows. Raises TemporarilyUnavailable."""
    storage_upload_id = upload.get("storage_upload_id")
    if storage_upload_id is not None:
        parts = await object_store.multipart.list_parts(upload["key"], storage_upload_id)
        if parts is not None:
            return Confirmed(parts=_with_checksums(parts, upload))
    whole = await object_store.head(upload["bucket"], upload["key"])
    if whole is None and storage_upload_id is not None:
        # Dropped in storage, by a lifecycle rule or by the client itself: what comes next begins anew.
        await stores.uploads.forget_multipart(upload["_id"], storage_upload_id)
    return Confirmed(whole=whole)


def _with_checksums(parts: Sequence[StoredPart], upload: UploadDocument) -> list[StoredPart]:
    signed = upload.get("part_checksums", {})
    return [
        part if part.checksum is not None else replace(part, checksum=signed.get(str(part.number))) for part in parts
    ]


async def assemble(
    upload: UploadDocument,
    claimed: Sequence[ClaimedPart] | None,
    *,
    stores: Stores,
    object_store: ObjectStore,
) -> StoredObject:
    """Make one object of the parts, if each is there as announced and as `claimed` (None: as storage has them).

    The object that is there already, if another call was faster. Raises UploadIncomplete naming the parts.
    """
    held = await confirmed(upload, stores=stores, object_store=object_store)
    if held.whole is not None:
        return held.whole
    parts = held.parts
    if _unsent(parts, upload):
        # Whoever is faster takes the parts away while we look for them.
        whole = await object_store.head(upload["bucket"], upload["key"])
        if whole is not None:
            return whole
    if claimed is not None:
        _check_claims(claimed, parts, upload)
    if missing := _unsent(parts, upload):
        raise UploadIncomplete(
            f"Storage does not hold {_named(missing)} as announced: send what is missing, then complete again.",
            field=["parts"],
        )
    await object_store.multipart.complete(upload["key"], upload["storage_upload_id"], parts)
    reach(Failpoint.MULTIPART_ASSEMBLED)
    whole = await object_store.head(upload["bucket"], upload["key"])
    if whole is None:
        raise UploadIncomplete("Parts were sent again while they were put together: complete again.", field=["parts"])
    return whole


def _unsent(parts: Sequence[StoredPart], upload: UploadDocument) -> list[int]:
    sizes = {part.number: part.byte_size for part in parts}
    return [
        number
        for number in range(1, upload["part_count"] + 1)
        if sizes.get(number) != bytes_of_part(number, upload["bytes"], upload["part_size"])
    ]


def _check_claims(claimed: Sequence[ClaimedPart], parts: Sequence[StoredPart], upload: UploadDocument) -> None:
    numbers = [part.number for part in claimed]
    etags = {part.number: part.etag for part in parts}
    expected = range(1, upload["part_count"] + 1)
    problems = {
        "listed more than once": [number for number in dict.fromkeys(numbers) if numbers.count(number) > 1],
        "not part of this upload": [number for number in numbers if number not in expected],
        "missing from the list": sorted(set(expected) - set(numbers)),
        "out of order": [after for before, after in pairwise(numbers) if after < before],
        _UNSENT: [number for number in numbers if number in expected and number not in etags],
        "listed with an etag that storage does not have": [
            part.number for part in claimed if part.number in etags and part.etag.strip('"') != etags[part.number]
        ],
    }
    sentences = [f"{_named(found)} {_verb(found)} {what}" for what, found in problems.items() if found]
    if sentences:
        advice = "look at the parts that storage confirms, send the others, and complete with the whole list in order."
        is_right = not any(found for what, found in problems.items() if what != _UNSENT)
        problem = UploadIncomplete if is_right else PartsMismatch
        raise problem(f"{'; '.join(sentences)}: {advice}".capitalize(), field=["parts"])


def _verb(numbers: Sequence[int]) -> str:
    return "is" if len(set(numbers)) == 1 else "are"


def _named(numbers: Sequence[int]) -> str:
    """`part 3`, `parts 1-4 and 7`; a long list is cut short."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    words = [str(first) if first == last else f"{first}-{last}" for first, last in runs]
    if len(words) > _NAMED:
        words = [*words[:_NAMED], f"{len(words) - _NAMED} more ranges"]
    *others, last_word = words
    listed = f"{', '.join(others)} and {last_word}" if others else last_word
    return f"part{'s' if len(set(numbers)) > 1 else ''} {listed}"
