"""Invalidations of the dev edge over its management API: what is taken, what is refused, and when it takes effect."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from xml.etree.ElementTree import fromstring
from xml.sax.saxutils import escape

import pytest

from tests.edge_stand import FEED, FULL, ID, Stand

DELAY_S = 30
API = "/2020-05-31/distribution/DEV/invalidation"
XMLNS = "http://cloudfront.amazonaws.com/doc/2020-05-31/"


@pytest.fixture
async def stand() -> AsyncIterator[Stand]:
    stand = Stand(invalidation_delay_s=DELAY_S)
    async with stand.client:
        yield stand


def batch(*items: str, reference: str = "r", quantity: int | None = None) -> str:
    paths = "".join(f"<Path>{escape(item)}</Path>" for item in items)
    return (
        f'<InvalidationBatch xmlns="{XMLNS}"><Paths><Quantity>{len(items) if quantity is None else quantity}</Quantity>'
        f"<Items>{paths}</Items></Paths><CallerReference>{reference}</CallerReference></InvalidationBatch>"
    )


async def create(stand: Stand, *items: str, reference: str = "r") -> dict[str, str]:
    """What came back: the status, the code of a refusal, and what the invalidation says of itself."""
    return described(await stand.client.post(API, content=batch(*items, reference=reference)))


def described(answer: Any) -> dict[str, str]:
    found = {"http": str(answer.status_code)}
    for element in fromstring(answer.content).iter():
        found.setdefault(element.tag.removeprefix(f"{{{XMLNS}}}"), element.text or "")
    return found


async def x_cache(stand: Stand, key: str = FEED) -> str:
    return (await stand.get(stand.signed(key))).headers["x-cache"].split()[0]


async def test_nothing_is_forgotten_until_an_invalidation_completes(stand: Stand) -> None:
    await stand.get()
    created = await create(stand, f"/{FEED}")
    assert (created["http"], created["Status"]) == ("201", "InProgress")
    stand.clock.now += DELAY_S - 0.5
    assert await x_cache(stand) == "Hit"
    stand.clock.now += 0.5
    assert described(await stand.client.get(f"{API}/{created['Id']}"))["Status"] == "Completed"
    assert await x_cache(stand) == "Miss"
    assert await x_cache(stand) == "Hit"


async def test_completion_does_not_wait_for_somebody_to_ask_about_it(stand: Stand) -> None:
    await stand.get()
    await create(stand, "/community/*")
    stand.clock.now += DELAY_S
    assert await x_cache(stand) == "Miss"


async def test_what_was_fetched_again_meanwhile_is_forgotten_too(stand: Stand) -> None:
    """Edges hear of it one after the other, so an object that one of them asks for early may come from another."""
    await create(stand, f"/{FEED}")
    await stand.get()
    stand.clock.now += DELAY_S
    assert await x_cache(stand) == "Miss"


async def test_a_tag_in_any_case_forgets_all_renditions_of_a_media_and_no_wildcards_work(stand: Stand) -> None:
    for key in (FEED, FULL):
        await stand.get(stand.signed(key))
    await create(stand, "#media-*", "#owner-2", reference="none")
    stand.clock.now += DELAY_S
    assert [await x_cache(stand, key) for key in (FEED, FULL)] == ["Hit", "Hit"]
    await create(stand, f"#MEDIA-{str(ID).upper()}", reference="both")
    stand.clock.now += DELAY_S
    assert [await x_cache(stand, key) for key in (FEED, FULL)] == ["Miss", "Miss"]


async def test_the_same_request_again_is_the_same_invalidation(stand: Stand) -> None:
    first = await create(stand, "/a", "/b&c")
    await stand.get()
    stand.clock.now += DELAY_S
    again = await create(stand, "/a", "/b&c")
    assert (again["Id"], again["Status"], again["http"]) == (first["Id"], "Completed", "201")
    other = await create(stand, "/a")
    assert (other["http"], other["Code"]) == ("409", "InvalidationBatchAlreadyExists")
    assert (await create(stand, "/a", reference="other"))["Id"] != first["Id"]


async def test_three_thousand_items_and_fifteen_wildcards_may_be_in_progress(stand: Stand) -> None:
    await stand.get()
    paths = [f"/community/{number}" for number in range(2_999)]
    assert (await create(stand, *paths, reference="paths"))["http"] == "201"
    assert (await create(stand, *["/w/*"] * 15, reference="wildcards"))["http"] == "201"
    assert (await create(stand, "#tag", reference="tag"))["http"] == "201"
    for item in (f"/{FEED}", "#tag", "/*"):
        refused = await create(stand, item, reference=f"too many {item}")
        assert (refused["http"], refused["Code"]) == ("400", "TooManyInvalidationsInProgress")
    assert await x_cache(stand) == "Hit"
    stand.clock.now += DELAY_S
    assert await x_cache(stand) == "Hit"
    # What was refused is not held against those who ask again under the same reference.
    assert (await create(stand, f"/{FEED}", reference=f"too many /{FEED}"))["http"] == "201"
    assert (await create(stand, "/*", reference="too many /*"))["http"] == "201"
    refused = await create(stand, *paths, "/one", "/two", reference="in one")
    assert (refused["http"], refused["Code"]) == ("413", "BatchTooLarge")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("", "MissingBody"),
        ("<", "MalformedXML"),
        (b"\xff\xfe\x00", "MalformedXML"),
        (batch("/a").replace(XMLNS, "urn:other"), "MalformedXML"),
        (batch("/a", reference=""), "MalformedXML"),
        ('<!DOCTYPE x [<!ENTITY a "aaaa">]>' + batch("/a"), "MalformedXML"),
        (('<?xml version="1.0" encoding="UTF-16"?>' + batch("/a")).encode("utf-16"), "MalformedXML"),
        (('<!DOCTYPE x [<!ENTITY a "aaaa">]>' + batch("/a")).encode("utf-16"), "MalformedXML"),
        (batch("/a", quantity=2), "InconsistentQuantities"),
        (batch(), "InvalidArgument"),
        (batch("a"), "InvalidArgument"),
        (batch(""), "InvalidArgument"),
        (batch("*"), "InvalidArgument"),
        (batch("/*/a"), "InvalidArgument"),
        (batch("/a b"), "InvalidArgument"),
        (batch("#"), "InvalidArgument"),
        (batch("#a,b"), "InvalidArgument"),
        (batch(f"#{'t' * 257}"), "InvalidArgument"),
        (batch("/a", "/b", "c"), "InvalidArgument"),
    ],
    ids=lambda value: str(value)[-60:],
)
async def test_what_is_no_invalidation_is_refused_and_forgets_nothing(
    stand: Stand, body: str | bytes, code: str
) -> None:
    await stand.get()
    answer = described(await stand.client.post(API, content=body))
    assert (answer["http"], answer["Code"]) == ("400", code)
    assert described(await stand.client.get(API))["Quantity"] == "0"
    stand.clock.now += DELAY_S
    assert await x_cache(stand) == "Hit"


async def test_a_body_without_end_is_cut_off(stand: Stand) -> None:
    answer = described(await stand.client.post(API, content=b"<" * 9_000_000))
    assert (answer["http"], answer["Code"]) == ("413", "BatchTooLarge")


async def test_they_are_listed_from_the_newest_on_in_pages(stand: Stand) -> None:
    ids = [(await create(stand, "/a", reference=str(number)))["Id"] for number in range(3)]
    first = (await stand.client.get(API, params={"MaxItems": "2"})).content
    second = (await stand.client.get(API, params={"MaxItems": "2", "Marker": ids[1]})).content

    def listed(page: bytes) -> list[str]:
        return [element.text or "" for element in fromstring(page).iter(f"{{{XMLNS}}}Id")]

    assert (listed(first), listed(second)) == ([ids[2], ids[1]], [ids[0]])
    assert fromstring(first).findtext(f"{{{XMLNS}}}NextMarker") == ids[1]
    assert fromstring(second).findtext(f"{{{XMLNS}}}IsTruncated") == "false"
    for odd in ({"MaxItems": "x"}, {"Marker": "\x01"}, {"Marker": ids[0].lower()}):
        refused = await stand.client.get(API, params=odd)
        assert (refused.status_code, described(refused)["Code"]) == (400, "InvalidArgument")
    assert described(await stand.client.get(f"{API}/NONE"))["Code"] == "NoSuchInvalidation"
