"""How long the dev edge keeps what, and what it does when that time is over: asks again, or makes do without."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from service.dev.edge.freshness import Lifetimes, lifetime
from service.dev.edge.origin import tags_of
from service.dev.edge.patterns import matches, normal_form
from tests.edge_stand import FEED, NOW, PICTURE, PRIVATE_FEED, Stand, xml

# NOW is Thu, 01 Jan 2026 06:46:40 GMT.
LATER, EARLIER = "Thu, 01 Jan 2026 06:56:40 GMT", "Thu, 01 Jan 2026 06:00:00 GMT"
NONE, SOME = Lifetimes(), Lifetimes(minimum_s=60, default_s=30, maximum_s=3600)


@pytest.fixture
async def stand() -> AsyncIterator[Stand]:
    stand = Stand()
    async with stand.client:
        yield stand


@pytest.mark.parametrize(
    ("cache_control", "expires", "with_no_minimum", "with_a_minimum"),
    [
        (None, None, 86_400, 60),
        ("max-age=600", None, 600, 600),
        ("max-age=5", None, 5, 60),
        ("max-age=7200", None, 7200, 3600),
        ("max-age=99999999", None, 31_536_000, 3600),
        ("max-age=5, s-maxage=700", None, 700, 700),
        ("s-maxage=0, max-age=700", None, 0, 60),
        ("max-age=600", EARLIER, 600, 600),
        (None, LATER, 600, 600),
        (None, EARLIER, 0, 60),
        (None, "0", 0, 60),
        (None, "Mon, 01 Jan 99999999999999999999 00:00:00 GMT", 0, 60),
        (None, "Mon, 01 Jan 0001 00:00:00 +2359", 0, 60),
        ("immutable", LATER, 600, 600),
        ("no-cache", LATER, 0, 60),
        ("no-store", None, None, 60),
        ("private, max-age=600", None, None, 60),
        ("PRIVATE", None, None, 60),
    ],
)
def test_lifetimes_are_those_of_the_guides_table(
    cache_control: str | None, expires: str | None, with_no_minimum: int | None, with_a_minimum: int
) -> None:
    found = replace(PICTURE, cache_control=cache_control, expires=expires)
    assert [lifetime(found, limits, NOW) for limits in (NONE, SOME)] == [with_no_minimum, with_a_minimum]


async def test_what_is_stale_is_asked_about_and_unchanged_it_is_fresh_again(stand: Stand) -> None:
    await stand.get()
    stand.clock.now += 600
    answer = await stand.get()
    assert (answer.status_code, answer.content) == (200, PICTURE.body)
    assert (answer.headers["x-cache"], answer.headers["age"]) == ("RefreshHit from cloudfront", "0")
    stand.clock.now += 599
    answer = await stand.get()
    assert (answer.headers["x-cache"], answer.headers["age"]) == ("Hit from cloudfront", "599")
    assert stand.bucket.conditions == [None, "abc"]


async def test_what_is_stale_and_changed_is_replaced(stand: Stand) -> None:
    await stand.get()
    stand.clock.now += 600
    stand.bucket.objects["media", FEED] = replace(PICTURE, body=b"new", etag="def")
    answers = [await stand.get() for _ in range(2)]
    assert [(answer.content, answer.headers["x-cache"]) for answer in answers] == [
        (b"new", "Miss from cloudfront"),
        (b"new", "Hit from cloudfront"),
    ]
    assert (await stand.get(if_none_match='"abc"')).status_code == 200


async def test_what_is_stale_and_gone_is_gone(stand: Stand) -> None:
    await stand.get()
    stand.clock.now += 600
    stand.bucket.objects.clear()
    assert (await stand.get()).text == xml("AccessDenied", "Access Denied")


async def test_no_cache_is_kept_but_asked_about_each_time(stand: Stand) -> None:
    stand.bucket.objects["media", FEED] = replace(PICTURE, cache_control="no-cache")
    assert [(await stand.get()).headers["x-cache"].split()[0] for _ in range(3)] == ["Miss", "RefreshHit", "RefreshHit"]
    assert stand.bucket.conditions == [None, "abc", "abc"]


async def test_while_the_origin_is_down_stale_pictures_are_better_than_none(stand: Stand) -> None:
    await stand.get()
    stand.clock.now += 700
    stand.bucket.reachable = False
    first, second = await stand.get(), await stand.get()
    assert (first.content, first.headers["age"]) == (PICTURE.body, "700")
    assert second.headers["x-cache"] == "Hit from cloudfront"
    assert len(stand.bucket.asked) == 2
    stand.clock.now += 10
    await stand.get()
    assert len(stand.bucket.asked) == 3
    stand.forget([f"/{FEED}"])
    assert (await stand.get()).status_code == 503


@pytest.mark.parametrize(
    ("cache_control", "status"),
    [
        ("max-age=600, must-revalidate", 503),
        ("max-age=600, proxy-revalidate", 503),
        ("max-age=600, stale-if-error=0", 503),
        ("max-age=600, stale-if-error=99", 503),
        ("max-age=600, stale-if-error=101", 200),
        ("no-cache", 503),
        ("private, max-age=600", 503),
    ],
)
async def test_what_may_not_be_served_stale_is_not(stand: Stand, cache_control: str, status: int) -> None:
    stand.bucket.objects["media", FEED] = replace(PICTURE, cache_control=cache_control)
    await stand.get()
    stand.clock.now += 700
    stand.bucket.reachable = False
    assert (await stand.get()).status_code == status


async def test_a_crowd_is_not_given_what_was_fetched_for_one_and_not_to_be_kept(stand: Stand) -> None:
    stand.bucket.open.clear()
    url = stand.signers.private.sign(PRIVATE_FEED, int(NOW) + 300)
    crowd = [asyncio.create_task(stand.get(url)) for _ in range(3)]
    await stand.bucket.entered.wait()
    stand.bucket.open.set()
    assert [answer.headers["x-cache"] for answer in await asyncio.gather(*crowd)] == ["Miss from cloudfront"] * 3
    assert len(stand.bucket.asked) == 3


@pytest.mark.parametrize(
    ("path", "normal"),
    [
        ("/a/b.webp", "/a/b.webp"),
        ("/a/./b/../c", "/a/c"),
        ("/../../a", "/a"),
        ("/a/%2e%2E/b", "/b"),
        ("/%61%2Fb", "/a%2Fb"),
        ("/a%2fb", "/a%2Fb"),
        ("/a//b/", "/a//b/"),
        ("/%zz%4", "/%zz%4"),
        ("/", "/"),
        ("", ""),
    ],
)
def test_normal_forms(path: str, normal: str) -> None:
    assert normal_form(path) == normal


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        ("*/raw/*", "a/raw/b", True),
        ("*/raw/*", "a/b/raw/c/d", True),
        ("*/raw/*", "a/RAW/b", False),
        ("a?c", "abc", True),
        ("a?c", "ac", False),
        ("a.c", "abc", False),
        ("*", "\n", True),
        ("a[b]", "ab", False),
    ],
)
def test_path_patterns(pattern: str, text: str, fits: bool) -> None:
    assert matches(pattern, text) is fits


def test_cache_tags_beyond_cloudfronts_limits_do_not_count() -> None:
    assert tags_of(" A, b ,,a") == {"a", "b"}
    assert len(tags_of(",".join(f"t{number}" for number in range(60)))) == 50
    assert tags_of(f"{'t' * 257}, {'t' * 256}") == {"t" * 256}
