"""What CloudFront is asked to forget: everything that was removed, in few items, within its quotas."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.invalidation.paths import MAX_WILDCARDS, By, Room, cover, fitting
from service.models import MediaFormat, MediaPurpose, RenditionName, Visibility
from service.object_keys import original_key, rendition_key
from service.stores.invalidations import InvalidationDocument

IDS = [UUID(f"0195a000-0000-7000-8000-{number:012x}") for number in range(400)]
FORMATS = (MediaFormat.JPEG, MediaFormat.WEBP, MediaFormat.AVIF)


def renditions(
    media_id: UUID, names: Sequence[RenditionName] = (RenditionName.THUMBNAIL, RenditionName.FEED, RenditionName.FULL)
) -> list[str]:
    return [
        rendition_key(MediaPurpose.COMMUNITY, Visibility.PUBLIC, name, media_id, "g1", each)
        for name in names
        for each in FORMATS
    ]


def request(media_id: UUID, keys: Sequence[str]) -> InvalidationDocument:
    return InvalidationDocument(
        _id=f"{media_id}:delete:1",
        media_id=media_id,
        keys=list(keys),
        state="waiting",
        requested_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def covers(items: Sequence[str], key: str) -> bool:
    path = f"/{key}"
    return any(path == item or (item.endswith("*") and path.startswith(item[:-1])) for item in items)


def test_a_tag_stands_for_all_renditions_and_the_original_is_named() -> None:
    original = original_key(MediaPurpose.COMMUNITY, IDS[0], "image/jpeg")
    asked = request(IDS[0], [*renditions(IDS[0]), original])
    assert cover([asked], Room(), by=By.TAG) == [f"#{IDS[0]}", f"/{original}"]


def test_an_original_alone_costs_no_tag() -> None:
    original = original_key(MediaPurpose.COMMUNITY, IDS[0], "image/jpeg")
    assert cover([request(IDS[0], [original])], Room(), by=By.TAG) == [f"/{original}"]


def test_two_requests_for_one_media_are_one_tag() -> None:
    asked = request(IDS[0], renditions(IDS[0]))
    assert cover([asked, asked], Room(), by=By.TAG) == [f"#{IDS[0]}"]


def test_without_tags_a_folder_is_one_path_and_a_single_object_its_own() -> None:
    alone = renditions(IDS[1])[0]
    items = cover([request(IDS[0], renditions(IDS[0])), request(IDS[1], [alone])], Room(), by=By.PATH)
    folder = f"/community/processed/{{}}/{IDS[0]}/*"
    assert items == [*(folder.format(name) for name in ("thumbnail", "feed", "full")), f"/{alone}"]


def test_objects_are_named_one_by_one_where_no_wildcard_is_left() -> None:
    keys = renditions(IDS[0])
    items = cover([request(IDS[0], keys)], Room(wildcards=1), by=By.PATH)
    assert [item for item in items if item.endswith("*")] == [f"/community/processed/thumbnail/{IDS[0]}/*"]
    assert len(items) == 1 + 6
    assert all(covers(items, key) for key in keys)


def test_a_batch_is_as_large_as_the_quotas_and_nobody_is_overtaken() -> None:
    waiting = [request(media_id, renditions(media_id)) for media_id in IDS]
    chosen = fitting(waiting, Room(), by=By.PATH)
    # Five media have the wildcards, the others nine paths each.
    assert chosen == [each["_id"] for each in waiting[: 5 + (3_000 - MAX_WILDCARDS) // 9]]
    assert len(fitting(waiting, Room(), by=By.TAG)) == len(waiting)
    large, small = request(IDS[0], renditions(IDS[0])), request(IDS[1], renditions(IDS[1])[:1])
    assert fitting([large, small], Room(paths=3, wildcards=0), by=By.PATH) == []


@given(
    st.lists(st.tuples(st.sampled_from(IDS[:20]), st.sets(st.integers(0, 8))), max_size=30),
    st.integers(0, 60),
    st.integers(0, MAX_WILDCARDS),
)
def test_whatever_is_asked_everything_is_covered_and_what_fits_does_fit(
    asked: list[tuple[UUID, set[int]]], paths: int, wildcards: int
) -> None:
    waiting = [request(media_id, [renditions(media_id)[n] for n in sorted(chosen)]) for media_id, chosen in asked]
    items, room = cover(waiting, Room(), by=By.PATH), Room(paths, wildcards)
    assert len(set(items)) == len(items)
    assert all(covers(items, key) for each in waiting for key in each["keys"])
    # A wildcard stands for nobody else's objects.
    assert not any(covers(items, key) for media_id in IDS[20:22] for key in renditions(media_id))
    count = len(fitting(waiting, room, by=By.PATH))
    assert not room.without(cover(waiting[:count], room, by=By.PATH)).is_overdrawn


@pytest.mark.parametrize("by", [By.PATH, By.TAG, By.PATH | By.TAG])
def test_nothing_removed_is_nothing_to_forget(by: By) -> None:
    assert cover([request(IDS[0], [])], Room(), by=by) == []
