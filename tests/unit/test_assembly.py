"""Two calls that complete one upload at once, told apart by what storage has at which moment."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from service.assembly import ClaimedPart, assemble
from service.errors import UploadIncomplete

UPLOAD: Any = {
    "_id": None,
    "bucket": "uploads",
    "key": "community/raw/x.png",
    "storage_upload_id": "u",
    "part_size": 5,
    "part_count": 2,
    "bytes": 8,
}
CLAIMED = [ClaimedPart(1, "a"), ClaimedPart(2, "b")]
WHOLE = SimpleNamespace(bytes=8)


class Storage:
    """Whose parts are being taken away, because another call has just put them together."""

    def __init__(self, whole: object) -> None:
        self._whole = whole
        self.multipart = self

    async def list_parts(self, _key: str, _upload_id: str) -> list[Any]:
        return []

    async def head(self, _bucket: str, _key: str) -> object:
        return self._whole


async def test_parts_that_are_gone_because_the_whole_is_there_are_not_missing() -> None:
    found = await assemble(UPLOAD, CLAIMED, stores=SimpleNamespace(), object_store=Storage(WHOLE))  # type: ignore[arg-type]
    assert found is WHOLE


async def test_parts_that_never_came_are_missing() -> None:
    with pytest.raises(UploadIncomplete, match="1-2"):
        await assemble(UPLOAD, CLAIMED, stores=SimpleNamespace(), object_store=Storage(None))  # type: ignore[arg-type]
