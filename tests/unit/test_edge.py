"""The dev edge as a client meets it: who gets in, and what comes back whole, in part or unchanged."""

from __future__ import annotations

from collections.abc import AsyncIterator
from email.parser import BytesParser
from email.policy import HTTP
from uuid import UUID

import pytest
from typer.testing import CliRunner

from service.__main__ import app as command_line
from service.cloudfront import encode, policy_text
from service.models import RenditionName, Visibility
from service.settings import Settings, StorageSettings
from tests.documents import signed
from tests.edge_stand import BASE, FEED, FULL, ID, NOW, ORIGINAL, PICTURE, Stand, delivery_settings, xml


@pytest.fixture
async def stand() -> AsyncIterator[Stand]:
    stand = Stand()
    async with stand.client:
        yield stand


async def test_every_rendition_of_a_media_opens_under_their_one_signature(stand: Stand) -> None:
    urls = [
        signed(stand.delivery, ID, key, name, visibility=Visibility.PRIVATE, together=True)
        for name, key in ((RenditionName.FEED, FEED), (RenditionName.FULL, FULL))
    ]
    assert [(await stand.get(url.url)).status_code for url in urls] == [200, 200]
    other = urls[0].url.replace(str(ID), str(UUID(int=1)))
    assert (await stand.get(other)).text == xml("AccessDenied", "Access denied")
    assert len(stand.bucket.asked) == 2


async def test_urls_that_do_not_open_get_cloudfronts_xml_and_the_origin_is_not_asked(stand: Stand) -> None:
    url = stand.signed()
    cases = {
        url.partition("?")[0]: xml("MissingKey", "Missing Key-Pair-Id query parameter or cookie value"),
        url.replace("KPUBLIC", "KOTHER"): xml("InvalidKey", "Unknown Key"),
        url.replace("Expires=1", "Expires=2"): xml("AccessDenied", "Access denied"),
        url.replace("Signature=", "Signature=*"): xml("MalformedSignature", "Could not unencode Signature"),
        url.replace("Expires=", "Policy=@"): xml("MalformedPolicy", "Malformed Policy"),
        url.replace("/feed/", "/full/"): xml("AccessDenied", "Access denied"),
        f"{BASE}/": xml("AccessDenied", "Access denied"),
        f"{BASE}/healthz?{url.partition('?')[2]}": xml("AccessDenied", "Access denied"),
    }
    for case, body in cases.items():
        answer = await stand.get(case, origin="https://app.example.org")
        assert (answer.status_code, answer.text) == (403, body), case
        assert answer.headers["content-type"] == "text/xml"
        assert answer.headers["x-cache"] == "Error from cloudfront"
        assert "access-control-allow-origin" not in answer.headers
    assert stand.bucket.asked == []


async def test_what_is_cached_still_needs_a_signature_that_is_alive(stand: Stand) -> None:
    url = stand.signed()
    assert (await stand.get(url)).status_code == 200
    assert (await stand.get(url.partition("?")[0])).status_code == 403
    stand.clock.now += 86_400
    assert (await stand.get(url)).text == xml("AccessDenied", "Access denied")
    assert (await stand.get()).status_code == 200


async def test_each_class_of_object_opens_only_with_its_own_key(stand: Stand) -> None:
    expires = int(NOW) + 300
    signers = stand.signers
    verdicts = {
        (name, key): (await stand.get(getattr(signers, name).sign(key, expires))).status_code
        for name in ("public", "private", "original")
        for key in (FEED, ORIGINAL)
    }
    assert {pair for pair, status in verdicts.items() if status == 200} == {
        ("public", FEED),
        ("private", FEED),
        ("original", ORIGINAL),
    }
    assert sorted(set(stand.bucket.asked)) == [("media", FEED), ("uploads", ORIGINAL)]


@pytest.mark.parametrize(
    "path",
    [
        f"/community/processed/x/{ID}/../../../../uploads/{ORIGINAL}",
        f"/community/processed/x/{ID}/%2e%2e/1.webp",
        f"/community/processed/x/{ID}//1.webp",
        f"/community/processed/x/{ID}/%2F..%2F1.webp",
        f"/community/processed/x/{ID}/é.webp",
    ],
)
async def test_a_wildcard_is_no_way_out_of_the_media(stand: Stand, path: str) -> None:
    query = stand.signers.public.sign_pattern(f"community/processed/*/{ID}/*", int(NOW) + 300)
    assert (await stand.raw(path, query))[0] == 403
    assert stand.bucket.asked == []


async def test_a_client_that_has_the_bytes_gets_304(stand: Stand) -> None:
    for headers in (
        {"if_none_match": '"abc"'},
        {"if_none_match": '"x", W/"abc"'},
        {"if_none_match": "*"},
        {"if_modified_since": "Thu, 01 Jan 2026 12:00:00 GMT"},
    ):
        answer = await stand.get(**headers, origin="https://app.example.org")
        assert (answer.status_code, answer.content) == (304, b""), headers
        assert answer.headers["etag"] == '"abc"'
        assert answer.headers["cache-control"] == PICTURE.cache_control
        assert answer.headers["access-control-allow-origin"] == "https://app.example.org"
    for headers in (
        {"if_none_match": '"xabc"'},
        {"if_none_match": "abc"},
        {"if_none_match": '"x"', "if_modified_since": "Thu, 01 Jan 2026 12:00:00 GMT"},
        {"if_modified_since": "Thu, 01 Jan 2026 11:59:59 GMT"},
        {"if_modified_since": "yesterday"},
        {"if_modified_since": "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"},
        {"if_modified_since": "Mon, 01 Jan 2026 00:00:00 +99999999999999999999"},
        {"if_modified_since": "Mon, 01 Jan 2026 12:00:00"},
        {"if_range": "Mon, 01 Jan 99999999999999999999 00:00:00 GMT", "range": "bytes=0-1"},
    ):
        assert (await stand.get(**headers)).status_code == 200, headers
    bare = stand.signed().partition("?")[0]
    assert (await stand.get(bare, if_none_match='"abc"')).status_code == 403


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-9", 0, 9),
        ("bytes=90-", 90, 99),
        ("bytes=-10", 90, 99),
        ("bytes=-1000", 0, 99),
        ("bytes=50-5000", 50, 99),
    ],
)
async def test_one_range_is_served(stand: Stand, asked: str, first: int, last: int) -> None:
    answer = await stand.get(range=asked)
    assert answer.status_code == 206
    assert answer.content == PICTURE.body[first : last + 1]
    assert answer.headers["content-range"] == f"bytes {first}-{last}/100"


@pytest.mark.parametrize(
    "asked",
    [
        "bytes=5-2",
        "bytes=-",
        "items=0-1",
        "bytes=a-b",
        "bytes=0-1" + "0" * 99,
        "bytes=5-6,0-1",
        "bytes=0-5,5-6",
        "bytes=0-1,5-2",
        "bytes=0-1,",
        "bytes=-5,0-1",
    ],
)
async def test_ranges_not_understood_or_out_of_order_get_everything(stand: Stand, asked: str) -> None:
    answer = await stand.get(range=asked)
    assert (answer.status_code, answer.content) == (200, PICTURE.body)


@pytest.mark.parametrize("asked", ["bytes=0-1,5-6,98-", "bytes=0-1, 5-6 ,-2", "bytes=0-1,5-6,98-500,600-"])
async def test_several_ranges_come_as_parts_of_one_answer(stand: Stand, asked: str) -> None:
    answer = await stand.get(range=asked)
    assert answer.status_code == 206
    assert "content-range" not in answer.headers
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    parts = list(BytesParser(policy=HTTP).parsebytes(head + answer.content).iter_parts())
    assert [(part["content-range"], part.get_content()) for part in parts] == [
        (f"bytes {first}-{last}/100", PICTURE.body[first : last + 1]) for first, last in ((0, 1), (5, 6), (98, 99))
    ]
    assert {part.get_content_type() for part in parts} == {"image/webp"}


async def test_ranges_that_touch_do_not_overlap(stand: Stand) -> None:
    answer = await stand.get(range="bytes=0-1,2-3")
    assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (206, "multipart/byteranges")


async def test_of_several_ranges_the_one_that_exists_is_served_alone(stand: Stand) -> None:
    answer = await stand.get(range="bytes=90-94,100-,200-300")
    assert (answer.status_code, answer.headers["content-range"]) == (206, "bytes 90-94/100")
    assert answer.content == PICTURE.body[90:95]


@pytest.mark.parametrize("asked", ["bytes=100-", "bytes=-0", "bytes=5000-6000", "bytes=100-,200-201"])
async def test_ranges_beyond_the_end_are_416(stand: Stand, asked: str) -> None:
    answer = await stand.get(range=asked, origin="https://app.example.org")
    assert answer.status_code == 416
    assert answer.headers["content-range"] == "bytes */100"
    assert "access-control-allow-origin" not in answer.headers


async def test_a_range_of_other_bytes_than_the_client_holds_gets_everything(stand: Stand) -> None:
    same, other = "Thu, 01 Jan 2026 12:00:00 GMT", "Thu, 01 Jan 2026 11:00:00 GMT"
    statuses = [
        (await stand.get(range="bytes=0-1", if_range=value)).status_code
        for value in ('"abc"', same, '"old"', 'W/"abc"', other)
    ]
    assert statuses == [206, 206, 200, 200, 200]


@pytest.mark.parametrize(
    "path",
    [
        f"/community/processed/../private/feed/{ID}/1.webp",
        f"/community/processed/%2E%2e/private/feed/{ID}/1.webp",
        f"/community/%70rivate/feed/{ID}/1.webp",
        f"/community/./private/processed/{ID}/1.webp",
    ],
)
async def test_a_path_belongs_to_the_behaviour_of_its_normal_form(stand: Stand, path: str) -> None:
    """CloudFront tidies a path before it looks for the behaviour: another spelling doesn't change whose keys count."""
    wildcard = f"{BASE}/*"
    for signer, code in ((stand.signers.public, "InvalidKey"), (stand.signers.private, "AccessDenied")):
        policy = policy_text(wildcard, int(NOW) + 300)
        query = f"Policy={encode(policy.encode())}{signer._signature(policy)}"
        status, body = await stand.raw(path, query)
        assert (status, f"<Code>{code}</Code>" in body) == (403, True)
    assert stand.bucket.asked == []


async def test_a_url_longer_than_cloudfront_takes_is_not_looked_at(stand: Stand) -> None:
    url = stand.signed()
    room = 8_192 - len(url.removeprefix(BASE))
    assert (await stand.get(f"{url}&{'x' * room}")).status_code == 414
    assert (await stand.get(f"{url}&{'x' * (room - 1)}")).status_code == 403
    assert stand.bucket.asked == []


async def test_head_describes_without_sending(stand: Stand) -> None:
    answer = await stand.client.head(stand.signed(), headers={"range": "bytes=0-1"})
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == "100"
    assert (await stand.client.head(stand.signed().partition("?")[0])).status_code == 403


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"])
async def test_nothing_but_get_and_head_is_allowed(stand: Stand, method: str) -> None:
    answer = await stand.client.request(method, stand.signed(), headers={"origin": "https://app.example.org"})
    assert answer.status_code == 403
    assert "supports only cachable requests" in answer.text
    assert "access-control-allow-origin" not in answer.headers
    assert stand.bucket.asked == []


async def test_only_configured_origins_may_read_from_scripts(stand: Stand) -> None:
    allowed = await stand.get(origin="https://app.example.org")
    assert allowed.headers["access-control-allow-origin"] == "https://app.example.org"
    for origin in ("https://evil.example.org", "null", "https://app.example.org.evil", ""):
        assert "access-control-allow-origin" not in (await stand.get(origin=origin)).headers
    assert {(await stand.get(origin=origin)).headers["vary"] for origin in ("https://app.example.org", "x")} == {
        "Origin"
    }
    assert len(stand.bucket.asked) == 1


def test_the_command_takes_nobodys_word_for_his_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """uvicorn would believe `X-Forwarded-For` and `-Proto` of whoever connects from this machine: everybody."""
    started: dict[str, object] = {}
    monkeypatch.setattr("uvicorn.run", lambda _, **options: started.update(options))
    settings = Settings(delivery=delivery_settings(), storage=StorageSettings(access_key="x", secret_key="x"))
    monkeypatch.setattr("service.production.load_settings", lambda _: settings)
    monkeypatch.setattr("service.log_lines.configure_logging", lambda _: None)
    result = CliRunner().invoke(command_line, ["edge"], catch_exceptions=False)
    assert result.exit_code == 0
    assert (started["proxy_headers"], started["host"], started["port"]) == (False, "127.0.0.1", 8090)
