"""What the dev edge remembers, for how long, and how it is made to forget."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from service.models import MediaFormat, MediaPurpose, RenditionName, Visibility
from service.object_keys import rendition_key
from tests.edge_stand import FEED, FULL, ID, NOW, PICTURE, Stand, xml


@pytest.fixture
async def stand() -> AsyncIterator[Stand]:
    stand = Stand()
    async with stand.client:
        yield stand


async def test_a_signed_url_opens_and_the_second_time_it_comes_from_the_cache(stand: Stand) -> None:
    first = await stand.get()
    stand.clock.now += 42
    second = await stand.get()
    assert first.status_code == second.status_code == 200
    assert first.content == second.content == PICTURE.body
    assert (first.headers["x-cache"], second.headers["x-cache"]) == ("Miss from cloudfront", "Hit from cloudfront")
    assert "age" not in first.headers
    assert second.headers["age"] == "42"
    assert second.headers["content-type"] == "image/webp"
    assert second.headers["cache-control"] == "public, max-age=600, immutable"
    assert second.headers["etag"] == '"abc"'
    assert second.headers["last-modified"] == "Thu, 01 Jan 2026 12:00:00 GMT"
    assert second.headers["x-content-type-options"] == "nosniff"
    assert stand.bucket.asked == [("media", FEED)]


async def test_a_missing_object_looks_denied_and_is_asked_for_again_after_a_moment(stand: Stand) -> None:
    missing = stand.bucket.objects.pop(("media", FEED))
    for _ in range(2):
        answer = await stand.get()
        assert (answer.status_code, answer.text) == (403, xml("AccessDenied", "Access Denied"))
    assert len(stand.bucket.asked) == 1
    stand.bucket.objects["media", FEED] = missing
    stand.clock.now += 11
    assert (await stand.get()).status_code == 200


async def test_an_origin_that_is_down_is_503_for_a_moment(stand: Stand) -> None:
    stand.bucket.reachable = False
    answer = await stand.get(origin="https://app.example.org")
    assert answer.status_code == 503
    assert "access-control-allow-origin" not in answer.headers
    stand.bucket.reachable = True
    stand.clock.now += 11
    assert (await stand.get()).status_code == 200


async def test_objects_stay_as_long_as_their_cache_control_says(stand: Stand) -> None:
    for directives, seconds in {
        "public, max-age=600": 600,
        "max-age=5, s-maxage=700": 700,
        "max-age=99999999": 31_536_000,
        "private, max-age=600": 0,
        "no-store": 0,
        "max-age=0": 0,
        "Max-Age=600, immutable": 600,
        "max-age=soon": 86_400,
        None: 86_400,
    }.items():
        stand.forget(["/*"])
        stand.bucket.asked.clear()
        stand.bucket.objects["media", FEED] = replace(PICTURE, cache_control=directives)
        for later in (0, max(0, seconds - 1), seconds):
            stand.clock.now = NOW + later
            await stand.get()
        stand.clock.now = NOW
        assert len(stand.bucket.asked) == (2 if seconds else 3), directives


async def test_a_crowd_asking_for_one_object_costs_one_fetch(stand: Stand) -> None:
    stand.bucket.open.clear()
    crowd = [asyncio.create_task(stand.get()) for _ in range(20)]
    await stand.bucket.entered.wait()
    crowd[0].cancel()
    stand.bucket.open.set()
    answers = await asyncio.gather(*crowd[1:])
    assert {answer.status_code for answer in answers} == {200}
    assert stand.bucket.asked == [("media", FEED)]


async def test_the_cache_is_bounded_and_forgets_the_least_recently_used() -> None:
    stand = Stand(cache_bytes=5_000)
    keys = [
        FEED,
        FULL,
        rendition_key(MediaPurpose.COMMUNITY, Visibility.PUBLIC, RenditionName.FEED, ID, 2, MediaFormat.WEBP),
    ]
    stand.bucket.objects["media", keys[2]] = PICTURE
    for key in (keys[0], keys[1], keys[0], keys[2]):
        await stand.get(stand.signed(key))
    assert [(await stand.get(stand.signed(key))).headers["x-cache"][:4] for key in keys] == ["Hit ", "Miss", "Miss"]
    stand.bucket.objects["media", FEED] = replace(PICTURE, body=bytes(6_000))
    stand.forget(["/*"])
    assert [(await stand.get()).headers["x-cache"][:4] for _ in range(2)] == ["Miss", "Miss"]


@pytest.mark.parametrize(
    "pattern",
    [f"/{FEED}", "/community/*", "/*", "/community/processed/feed*"],
    ids=["exact", "folder", "all", "prefix"],
)
async def test_invalidated_paths_are_fetched_anew(stand: Stand, pattern: str) -> None:
    await stand.get()
    stand.forget([pattern])
    assert (await stand.get()).headers["x-cache"] == "Miss from cloudfront"


async def test_other_paths_stay_when_some_are_invalidated(stand: Stand) -> None:
    await stand.get()
    stand.forget(["/pet-tag/*", "/community", f"/{FULL}"])
    stand.forget(["#owner-2"])
    assert (await stand.get()).headers["x-cache"] == "Hit from cloudfront"


async def test_a_cache_tag_forgets_all_renditions_of_a_media(stand: Stand) -> None:
    urls = [stand.signed(FEED), stand.signed(FULL)]
    for url in urls:
        await stand.get(url)
    stand.bucket.objects.clear()
    stand.forget([f"#media-{ID}"])
    assert [(await stand.get(url)).status_code for url in urls] == [403, 403]


@pytest.mark.parametrize("by_tag", [False, True])
async def test_an_invalidation_during_a_fetch_keeps_the_old_bytes_out_of_the_cache(stand: Stand, by_tag: bool) -> None:
    stand.bucket.open.clear()
    slow = asyncio.create_task(stand.get())
    await stand.bucket.entered.wait()
    stand.bucket.objects.clear()
    if by_tag:
        stand.forget([f"#media-{ID}"])
    else:
        stand.forget(["/community/*"])
    stand.bucket.open.set()
    assert (await slow).status_code == 200
    assert (await stand.get()).status_code == 403


async def test_an_object_larger_than_the_cache_pushes_nothing_out() -> None:
    stand = Stand(cache_bytes=5_000)
    await stand.get(stand.signed(FULL))
    stand.bucket.objects["media", FEED] = replace(PICTURE, body=bytes(6_000))
    await stand.get(stand.signed(FEED))
    assert (await stand.get(stand.signed(FULL))).headers["x-cache"] == "Hit from cloudfront"
