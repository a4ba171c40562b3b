"""Pages of a list partition it, whatever comes and goes between them."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from service.access import ANONYMOUS, Action, Viewer, granted_filters
from service.documents import MediaDocument
from service.stores.media import MediaStore
from tests.documents import ready_media
from tests.in_memory import in_memory_database

ANNA = Viewer("anna")
# All of one millisecond, so that only the random part of their ids tells them apart.
_MILLISECOND = 0x0196_0000_0000


def _id(random_part: int, milliseconds: int = _MILLISECOND) -> UUID:
    """A UUIDv7 of one of a few milliseconds."""
    return UUID(int=(milliseconds << 80) | (0x7 << 76) | (0x2 << 62) | random_part)


ids = st.builds(_id, st.integers(0, 2**20), st.sampled_from([_MILLISECOND, _MILLISECOND + 1]))
media = st.builds(
    lambda media_id, owner, visibility, tags: ready_media(
        _id=media_id, owner_id=owner, visibility=visibility, tags=tags
    ),
    ids,
    st.sampled_from(["anna", "bert"]),
    st.sampled_from(["PUBLIC", "PRIVATE"]),
    st.sampled_from([["cat"], ["dog"], ["cat", "dog"]]),
)
# What happens before the next page is read: arrivals of any age, and which of the others go.
events = st.lists(st.tuples(st.lists(media, max_size=3), st.integers(0, 2**16)), max_size=30)


async def _walk(
    documents: list[MediaDocument], happenings: list[tuple[list[MediaDocument], int]], query: Any, viewer: Viewer
) -> None:
    database = in_memory_database()
    store, access = MediaStore(database), granted_filters(viewer, Action.READ)
    present = {each["_id"]: each for each in documents}
    stayed, gone = set(present), set()
    await database.media.insert_many(list(present.values()))
    remaining = iter(happenings)
    seen: list[UUID] = []
    before: UUID | None = None
    while page := await store.list_page(query, access=access, before=before, limit=3, fields=()):
        seen += [each["_id"] for each in page]
        assert not gone.intersection(each["_id"] for each in page), "what is deleted is not shown any more"
        before = seen[-1]
        arrivals, choice = next(remaining, ([], 0))
        for fresh in arrivals:
            if fresh["_id"] not in present and fresh["_id"] not in gone:
                present[fresh["_id"]] = fresh
                await database.media.insert_one(fresh)
        if choice and present:
            going = sorted(present)[choice % len(present)]
            del present[going]
            stayed.discard(going)
            gone.add(going)
            await database.media.update_one({"_id": going}, {"$set": {"status": "DELETED"}})
    assert seen == sorted(set(seen), reverse=True), "newest first, each once"
    tag = query.get("tags", {}).get("$all", [None])[0]
    expected = {
        media_id
        for media_id in stayed
        if (viewer.id == present[media_id]["owner_id"] or present[media_id]["visibility"] == "PUBLIC")
        and (tag is None or tag in present[media_id]["tags"])
    }
    assert expected <= set(seen), "what was there all the time is shown"


@given(
    st.lists(media, min_size=1, max_size=25, unique_by=lambda each: each["_id"]),
    events,
    st.sampled_from([{}, {"purpose": "COMMUNITY"}, {"tags": {"$all": ["cat"]}}]),
    st.sampled_from([ANONYMOUS, ANNA]),
)
@settings(deadline=None, max_examples=60)
def test_pages_partition_the_list(
    documents: list[MediaDocument],
    happenings: list[tuple[list[MediaDocument], int]],
    query: dict[str, Any],
    viewer: Viewer,
) -> None:
    asyncio.run(_walk(documents, happenings, query, viewer))
