"""Signed cookies at the dev edge: unchanging URLs that open for whoever holds the cookies, and for nobody else."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from service.cloudfront import encode, policy_text
from service.models import Visibility
from tests.edge_stand import BASE, FEED, FULL, ID, NOW, ORIGINAL, PRIVATE_FEED, Stand, xml

EXPIRES = int(NOW) + 300
DENIED = xml("AccessDenied", "Access denied")
MISSING = xml("MissingKey", "Missing Key-Pair-Id query parameter or cookie value")


@pytest.fixture
async def stand() -> AsyncIterator[Stand]:
    stand = Stand()
    async with stand.client:
        yield stand


def cookies_of(query: str) -> dict[str, str]:
    """The cookies that say what the query of a signed URL says."""
    return {f"CloudFront-{name}": value for name, _, value in (each.partition("=") for each in query.split("&"))}


def canned(stand: Stand, key: str = FEED) -> dict[str, str]:
    return cookies_of(stand.signers.public.sign(key, EXPIRES).partition("?")[2])


def for_all_public(stand: Stand) -> dict[str, str]:
    return cookies_of(stand.signers.public.sign_pattern("community/processed/*", EXPIRES))


def header(cookies: dict[str, str]) -> str:
    return "; ".join(f"{name}={value}" for name, value in cookies.items())


async def test_a_custom_policy_in_cookies_opens_every_url_it_covers(stand: Stand) -> None:
    cookie = header({"theme": "dark", **for_all_public(stand), "CloudFront-Other": "x"})
    answers = [await stand.get(f"{BASE}/{key}", cookie=cookie) for key in (FEED, FULL, FEED)]
    assert [(answer.status_code, answer.headers["x-cache"][:4]) for answer in answers] == [
        (200, "Miss"),
        (200, "Miss"),
        (200, "Hit "),
    ]
    for key in (PRIVATE_FEED, ORIGINAL):
        refused = await stand.get(f"{BASE}/{key}", cookie=cookie)
        assert refused.text == xml("InvalidKey", "Unknown Key")
    assert len(stand.bucket.asked) == 2


async def test_a_canned_policy_in_cookies_opens_its_one_url(stand: Stand) -> None:
    cookie = header(canned(stand))
    assert (await stand.get(f"{BASE}/{FEED}", cookie=cookie)).status_code == 200
    for other in (f"{BASE}/{FULL}", f"{BASE}/{FEED}?v=1"):
        assert (await stand.get(other, cookie=cookie)).text == DENIED
    stand.clock.now = EXPIRES
    assert (await stand.get(f"{BASE}/{FEED}", cookie=cookie)).text == DENIED
    assert len(stand.bucket.asked) == 1


async def test_a_query_of_ones_own_is_part_of_what_a_canned_cookie_signs(stand: Stand) -> None:
    policy = policy_text(f"{BASE}/{FEED}?v=1", EXPIRES)
    cookie = header(cookies_of(f"Expires={EXPIRES}{stand.signers.public._signature(policy)}"))
    assert (await stand.get(f"{BASE}/{FEED}?v=1", cookie=cookie)).status_code == 200
    assert (await stand.get(f"{BASE}/{FEED}", cookie=cookie)).text == DENIED


@pytest.mark.parametrize("name", ["Expires", "Policy", "Signature", "Key-Pair-Id", "Hash-Algorithm"])
async def test_a_url_that_looks_signed_is_judged_without_its_cookies(stand: Stand, name: str) -> None:
    cookie = header(for_all_public(stand))
    refused = await stand.get(f"{BASE}/{FEED}?{name}=1", cookie=cookie)
    assert refused.text == (xml("InvalidKey", "Unknown Key") if name == "Key-Pair-Id" else MISSING)
    assert stand.bucket.asked == []
    worthless = header({**for_all_public(stand), "CloudFront-Signature": "AAAA"})
    assert (await stand.get(cookie=worthless)).status_code == 200


@pytest.mark.parametrize("name", ["Expires", "Signature", "Key-Pair-Id", "Hash-Algorithm"])
async def test_cookies_that_lack_one_open_nothing(stand: Stand, name: str) -> None:
    cookies = canned(stand)
    del cookies[f"CloudFront-{name}"]
    refused = await stand.get(f"{BASE}/{FEED}", cookie=header(cookies))
    assert refused.text == (MISSING if name == "Key-Pair-Id" else DENIED)
    assert stand.bucket.asked == []


@pytest.mark.parametrize(
    "changed",
    [
        lambda cookie: cookie.lower(),
        lambda cookie: cookie.replace("CloudFront-", ""),
        lambda cookie: cookie.replace("CloudFront-", "Cloudfront-"),
        lambda cookie: f"{cookie}; CloudFront-Signature=AAAA",
        lambda cookie: f"CloudFront-Key-Pair-Id=KOTHER; {cookie}",
        lambda cookie: cookie.replace("Signature=", 'Signature="').replace("; ", '"; ', 1),
        lambda cookie: cookie.replace("; ", ", "),
    ],
)
async def test_cookies_written_otherwise_open_nothing(stand: Stand, changed: object) -> None:
    assert callable(changed)
    refused = await stand.get(f"{BASE}/{FEED}", cookie=changed(header(for_all_public(stand))))
    assert refused.status_code == 403
    assert stand.bucket.asked == []


async def test_cookies_may_come_in_several_headers(stand: Stand) -> None:
    """As HTTP/2 sends them."""
    several = [("cookie", f"{name}={value}") for name, value in for_all_public(stand).items()]
    assert (await stand.client.get(f"{BASE}/{FEED}", headers=several)).status_code == 200


async def test_pages_of_allowed_origins_may_ask_with_their_cookies(stand: Stand) -> None:
    cookie = header(for_all_public(stand))
    allowed = await stand.get(f"{BASE}/{FEED}", cookie=cookie, origin="https://app.example.org")
    assert allowed.headers["access-control-allow-credentials"] == "true"
    other = await stand.get(f"{BASE}/{FEED}", cookie=cookie, origin="https://evil.example.org")
    assert not [name for name in other.headers if name.startswith("access-control-")]


async def test_however_it_is_signed_an_object_is_cached_once(stand: Stand) -> None:
    wildcard = stand.signers.private.sign_pattern(f"community/processed/*/{ID}/*", EXPIRES)
    public, private = (f"{BASE}/{FEED}?{query}" for query in (stand.signed().partition("?")[2], wildcard))
    for url, headers in (
        (public, {}),
        (stand.signers.public.sign(FEED, EXPIRES), {}),
        (private, {}),
        (f"{BASE}/{FEED}?v=1&{wildcard}", {}),
        (f"{BASE}/{FEED}", {"cookie": header(for_all_public(stand))}),
    ):
        assert (await stand.get(url, **headers)).status_code == 200, url
    assert stand.bucket.asked == [("media", FEED)]


async def test_private_renditions_open_with_the_private_key_alone_and_are_not_kept(stand: Stand) -> None:
    url = stand.signed(PRIVATE_FEED, Visibility.PRIVATE)
    answers = [await stand.get(url) for _ in range(2)]
    assert [(answer.status_code, answer.headers["x-cache"]) for answer in answers] == [
        (200, "Miss from cloudfront")
    ] * 2
    assert stand.bucket.asked == [("media", PRIVATE_FEED)] * 2
    policy = policy_text(f"{BASE}/*", EXPIRES)
    by_public = f"{BASE}/{PRIVATE_FEED}?Policy={encode(policy.encode())}{stand.signers.public._signature(policy)}"
    assert (await stand.get(by_public)).text == xml("InvalidKey", "Unknown Key")
    assert len(stand.bucket.asked) == 2
