"""Cookies for PUBLIC pictures: who gets them, what they open at the edge, and that they stay the same for a window."""

from __future__ import annotations

from datetime import datetime
from http.cookies import SimpleCookie
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.routing import Route

from service.app import create_app
from service.cloudfront import HashAlgorithm
from service.delivery import Delivery, load_signers
from service.errors import ConfigurationError
from service.models import MediaFormat, MediaPurpose, RenditionName, Visibility
from service.object_keys import rendition_key
from service.policies import POLICIES
from service.settings import DeliverySettings, Environment, HttpSettings, Settings
from service.signed_cookies import PURPOSES_WITH_COOKIES, CookieIssuer, SignedCookies
from tests.documents import ready_media
from tests.edge_stand import BASE, FEED, ID, NOW, PICTURE, Clock, Stand, delivery_settings

APP = "https://app.example.org"


def with_cookies(domain: str = "edge.test", **changed: Any) -> DeliverySettings:
    return delivery_settings().model_copy(update={"cookie_domain": domain, **changed})


def header(values: dict[str, str]) -> dict[str, str]:
    return {"cookie": "; ".join(f"{name}={value}" for name, value in values.items())}


def unsigned(settings: DeliverySettings, key: str, visibility: str = "PUBLIC") -> str | None:
    rendition: Any = {"key": key}
    return Delivery(settings).unsigned_url(ready_media(visibility=visibility), rendition)


def community(clock: Clock | None = None, **changed: Any) -> SignedCookies:
    cookies = CookieIssuer(with_cookies(**changed), clock=clock or Clock()).cookies_for(MediaPurpose.COMMUNITY)
    assert cookies is not None
    return cookies


def api(domain: str = "edge.test") -> httpx.AsyncClient:
    settings = Settings(
        environment=Environment.DEVELOPMENT, delivery=with_cookies(domain), http=HttpSettings(allowed_origins=(APP,))
    )
    return httpx.AsyncClient(transport=httpx.ASGITransport(create_app(settings)), base_url="http://api.test")


async def test_a_page_gets_cookies_that_open_public_pictures_at_the_edge() -> None:
    async with api() as client:
        answer = await client.post("/delivery/cookies/community", headers={"origin": APP})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == APP
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert answer.headers["cache-control"] == "no-store"
    jar: SimpleCookie = SimpleCookie()
    for line in answer.headers.get_list("set-cookie"):
        jar.load(line)
    names = {"CloudFront-Policy", "CloudFront-Signature", "CloudFront-Key-Pair-Id", "CloudFront-Hash-Algorithm"}
    assert set(jar) == names
    for cookie in jar.values():
        assert (cookie["domain"], cookie["path"], cookie["samesite"]) == ("edge.test", "/community/processed/", "lax")
        assert cookie["secure"]
        assert cookie["httponly"]
        assert not cookie["max-age"]
    stand = Stand()
    body = answer.json()
    stand.clock.now = datetime.fromisoformat(body["expiresAt"]).timestamp() - 1
    given_out = {name: cookie.value for name, cookie in jar.items()}
    address = unsigned(with_cookies(), FEED)
    assert address == f"{BASE}/{FEED}"
    assert (await stand.client.get(address, headers=header(given_out))).content == PICTURE.body
    assert (await stand.client.get(address)).status_code == 403
    stand.clock.now += 1
    assert (await stand.client.get(address, headers=header(given_out))).status_code == 403
    assert body["path"] == "/community/processed/"
    assert body["renewAt"] < body["expiresAt"]


@pytest.mark.parametrize("origin", [None, "null", "https://evil.example", "https://app.example.org.evil.example"])
async def test_other_pages_get_none(origin: str | None) -> None:
    async with api() as client:
        answer = await client.post("/delivery/cookies/community", headers={"origin": origin} if origin else {})
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers
        assert "access-control-allow-credentials" not in answer.headers
        # A link or an <img> is a GET, and brings nothing about.
        assert (await client.get("/delivery/cookies/community", headers={"origin": APP})).status_code == 405


@pytest.mark.parametrize("purpose", ["medical", "unknown", "COMMUNITY", "pet_tag"])
async def test_purposes_without_public_pictures_have_none(purpose: str) -> None:
    async with api() as client:
        answer = await client.post(f"/delivery/cookies/{purpose}", headers={"origin": APP})
    assert answer.status_code == 404
    assert "set-cookie" not in answer.headers


async def test_without_a_domain_there_are_neither_cookies_nor_unsigned_addresses() -> None:
    async with api(domain="") as client:
        assert (await client.post("/delivery/cookies/community", headers={"origin": APP})).status_code == 404
    assert unsigned(delivery_settings(), FEED) is None


def test_the_address_without_a_signature_is_for_what_is_public_and_lies_among_such() -> None:
    private = FEED.replace("/processed/", "/private/")
    given = {
        (visibility, key): unsigned(with_cookies(), key, visibility)
        for visibility in ("PUBLIC", "PRIVATE")
        for key in (FEED, private)
    }
    # Objects move a while after the write that turned their media private, or public.
    assert {case for case, address in given.items() if address is not None} == {("PUBLIC", FEED)}


async def test_they_open_neither_private_pictures_nor_originals_nor_other_purposes() -> None:
    stand, cookies = Stand(), community()
    private, profile = (
        rendition_key(purpose, visibility, RenditionName.FEED, ID, 1, MediaFormat.WEBP)
        for purpose, visibility in (
            (MediaPurpose.COMMUNITY, Visibility.PRIVATE),
            (MediaPurpose.PROFILE, Visibility.PUBLIC),
        )
    )
    for key in (private, profile, f"community/raw/{ID}.jpg", f"community/raw/{ID}.jpg?/community/processed/"):
        stand.bucket.objects["media", key] = stand.bucket.objects["uploads", key] = PICTURE
        answer = await stand.client.get(f"{BASE}/{key}", headers=header(dict(cookies.values)))
        assert answer.status_code == 403
    assert stand.bucket.asked == []
    assert unsigned(with_cookies(), private, "PRIVATE") is None


@given(st.floats(0, 200_000), st.floats(0, 200_000), st.sampled_from(sorted(PURPOSES_WITH_COOKIES)))
def test_they_are_the_same_all_through_a_window_and_live_for_the_minimum(
    first: float, second: float, purpose: MediaPurpose
) -> None:
    clock = Clock()
    clock.now = NOW + min(first, second)
    issuer = CookieIssuer(with_cookies(), clock=clock)
    before = issuer.cookies_for(purpose)
    clock.now = NOW + max(first, second)
    after = CookieIssuer(with_cookies(), clock=clock).cookies_for(purpose)
    assert before is not None
    assert after is not None
    assert (after == before) is (clock.now < before.renew_at.timestamp())
    minimum = min(rendition.url_lifetime.minimum_s for rendition in POLICIES[purpose].renditions)
    assert after.expires_at.timestamp() - clock.now > minimum
    assert before.renew_at < before.expires_at


async def test_sha1_is_not_named_because_cloudfront_takes_it_for_granted() -> None:
    cookies = community(hash_algorithm=HashAlgorithm.SHA1.value)
    assert set(cookies.values) == {"CloudFront-Policy", "CloudFront-Signature", "CloudFront-Key-Pair-Id"}
    stand = Stand()
    assert (await stand.client.get(f"{BASE}/{FEED}", headers=header(dict(cookies.values)))).status_code == 200


def test_only_the_key_of_public_pictures_signs_them() -> None:
    signers = load_signers(delivery_settings())
    assert community().values["CloudFront-Key-Pair-Id"] == signers.public.key_pair_id


@pytest.mark.parametrize("domain", ["example.org", "ge.test", ".edge.test", "Edge.test", "edge.test; Path=/", "*.test"])
def test_domains_that_browsers_would_not_send_to_the_cdn_are_refused(domain: str) -> None:
    with pytest.raises(ConfigurationError, match="MEDIA_DELIVERY__COOKIE_DOMAIN"):
        CookieIssuer(with_cookies(domain))


@pytest.mark.parametrize(
    ("domain", "host"),
    [("org", "media.example.org"), ("cloudfront.net", "d111111abcdef8.cloudfront.net"), ("0.0.1", "127.0.0.1")],
)
def test_domains_that_others_have_a_part_in_are_refused(domain: str, host: str) -> None:
    with pytest.raises(ConfigurationError, match="MEDIA_DELIVERY__COOKIE_DOMAIN"):
        CookieIssuer(with_cookies(domain, base_url=f"https://{host}"))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "media.example.org"])
def test_the_host_of_the_cdn_may_be_the_domain(host: str) -> None:
    assert CookieIssuer(with_cookies(host, base_url=f"https://{host}")).cookies_for(MediaPurpose.COMMUNITY) is not None


def test_a_domain_above_the_cdn_serves_api_and_cdn() -> None:
    key = delivery_settings().public_key
    assert key is not None
    settings = DeliverySettings(base_url="https://media.example.org", public_key=key, cookie_domain="example.org")
    cookies = CookieIssuer(settings).cookies_for(MediaPurpose.PROFILE)
    assert cookies is not None
    assert (cookies.domain, cookies.path) == ("example.org", "/profile/processed/")


def test_the_route_is_not_there_unless_it_was_asked_for() -> None:
    key = delivery_settings().public_key
    assert key is not None
    app = create_app(Settings(environment=Environment.DEVELOPMENT, delivery=DeliverySettings(public_key=key)))
    assert not [route for route in app.routes if isinstance(route, Route) and route.path.startswith("/delivery")]
