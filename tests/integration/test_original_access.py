"""Looking at originals: whoever is given an address is on record before, and who cannot be is not given one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import pytest
from pymongo.errors import AutoReconnect
from structlog.testing import capture_logs

from schema.global_id import encode_id
from service.perceptual_hash import bands_of
from service.stores.audit import AuditStore
from tests.documents import ready_media
from tests.integration.conftest import RunningService

# Of a picture that others can look like.
PHASH = 0x5A5A_3C3C_0F0F_7171
PAGE = """query Page($owner: ID!, $first: Int!) { mediaList(first: $first, filter: { ownerId: $owner }) {
  nodes { id original { url expiresAt } } } }"""
NODES = "query Nodes($ids: [ID!]!) { nodes(ids: $ids) { ... on Media { title original { url } } } }"
SIMILAR = """query Similar($owner: ID!) { mediaList(first: 10, filter: { ownerId: $owner }) {
  nodes { id ...Others } } }
  fragment Others on Media { similar { media { title original { url } } } }"""
FOLLOW = "subscription Follow($ids: [ID!]!) { mediaStatus(ids: $ids) { media { original { url } } } }"
CHANGE = """mutation Change($input: UpdateMediaInput!) {
  updateMedia(input: $input) { media { original { url } } userErrors { code } } }"""


class Stand:
    """One owner's media, and what is on record of them."""

    def __init__(self, service: RunningService) -> None:
        self.service, self.owner = service, f"owner-{uuid4().hex[:8]}"
        self.anna = service.client(self.owner)

    async def store(self, count: int, **changed: Any) -> list[UUID]:
        media: list[Any] = [ready_media(owner_id=self.owner, **changed) for _ in range(count)]
        await self.service.runtime.database.media.insert_many(media)
        return [each["_id"] for each in media]

    async def page(self, first: int = 10, *, moderator: str | None = None) -> list[Any]:
        """The originals of a page of the owner's media."""
        client = self.anna if moderator is None else self.service.client(moderator, roles=("moderator",))
        page = await client.run(PAGE, owner=self.owner, first=first)
        return [node["original"] for node in page["mediaList"]["nodes"]]

    async def on_record(self) -> Counter[tuple[str, str]]:
        """Who looked at which original, as often as is on record."""
        query = {"owner": self.owner, "action": "original.accessed"}
        rows = self.service.runtime.database.handle["audit"].find(query)
        return Counter([(row["actor"], row["subject"]) async for row in rows])


@pytest.fixture
def stand(service: RunningService) -> Stand:
    return Stand(service)


def each_once(viewer: str, ids: Sequence[UUID]) -> Counter[tuple[str, str]]:
    return Counter([(viewer, str(each)) for each in ids])


async def test_each_viewer_is_on_record_once_a_window_however_often_they_ask(stand: Stand) -> None:
    ids = await stand.store(5)
    pages = [await stand.page() for _ in range(5)]
    assert all(page == pages[0] and all(page) for page in pages), "compiled from the third time on"
    assert await stand.on_record() == each_once(stand.owner, ids)
    # Another process does not know what this one has appended.
    stand.service.app.state.originals._on_record.clear()
    assert await stand.page() == pages[0]
    assert await stand.on_record() == each_once(stand.owner, ids)
    assert all(await stand.page(2, moderator="mo"))
    assert await stand.on_record() == each_once(stand.owner, ids) + each_once("mo", ids[-2:])


async def test_every_way_to_an_original_is_on_record(stand: Stand) -> None:
    [listed] = await stand.store(1)
    await stand.anna.run(NODES, ids=[encode_id("Media", listed)])
    [followed] = await stand.store(1)
    async for event in stand.anna.subscribe(FOLLOW, ids=[encode_id("Media", followed)]):
        assert event["media"]["original"]
    [changed] = await stand.store(1)
    given = {"id": encode_id("Media", changed), "title": "x", "idempotencyKey": uuid4().hex}
    assert (await stand.anna.run(CHANGE, input=given))["updateMedia"]["media"]["original"]
    assert await stand.on_record() == each_once(stand.owner, [listed, followed, changed])


async def test_only_what_was_given_out_is_on_record(stand: Stand) -> None:
    """Not whose others were looked at, nor what a stranger was shown without its original."""
    hashes = {"phash": PHASH, "bands": bands_of(PHASH)}
    first, second = await stand.store(1, hashes=hashes), await stand.store(1, hashes=hashes)
    shown = await stand.anna.run(SIMILAR, owner=stand.owner)
    alike = [each["media"]["original"] for node in shown["mediaList"]["nodes"] for each in node["similar"]]
    assert len(alike) == 2
    assert all(alike)
    assert await stand.on_record() == each_once(stand.owner, [*first, *second])
    stranger = await stand.service.client("stranger").run(NODES, ids=[encode_id("Media", first[0])])
    assert stranger["nodes"] == [{"title": "Miso", "original": None}]
    await stand.anna.run("query Q($id: ID!) { media(id: $id) { title } }", id=encode_id("Media", first[0]))
    assert await stand.on_record() == each_once(stand.owner, [*first, *second])


@pytest.mark.parametrize("runs", [1, 4])
async def test_without_an_entry_there_is_no_address_and_all_else_is_answered(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, runs: int
) -> None:
    ids = await stand.store(3)
    query = f"""query Refused{runs}($owner: ID!) {{ mediaList(first: 9, filter: {{ ownerId: $owner }}) {{
      nodes {{ title original {{ url }} }} }} }}"""

    async def away(*_: object) -> None:
        raise AutoReconnect("gone")

    with monkeypatch.context() as broken:
        broken.setattr(AuditStore, "append", away)
        for _ in range(runs):
            body = await stand.anna.post(query, owner=stand.owner)
    assert body["data"]["mediaList"]["nodes"] == [{"title": "Miso", "original": None}] * 3
    assert [
        (error["path"], error["extensions"]["code"], error["extensions"]["retryable"]) for error in body["errors"]
    ] == [(["mediaList", "nodes", index, "original"], "TEMPORARILY_UNAVAILABLE", True) for index in range(3)]
    assert await stand.on_record() == Counter()
    stand.service.app.state.originals._refused_until = 0.0
    assert all(await stand.page())
    assert await stand.on_record() == each_once(stand.owner, ids)


async def test_shared_content_opens_for_each_of_its_media_and_a_broken_one_costs_itself_alone(stand: Stand) -> None:
    """The second points to the object of the first, as sending a photo twice leaves it."""
    [first] = await stand.store(1)
    media = stand.service.runtime.database.media
    content = (await media.find_one({"_id": first}))["original"]
    [linked] = await stand.store(1, original=content)
    for _ in range(2):
        [second, one] = await stand.page(9)
        assert one["url"] == second["url"]
        assert str(first) in one["url"]
    assert set(await stand.on_record()) == set(each_once(stand.owner, [linked, first]))
    [broken] = await stand.store(1, original={**content, "key": f"community/processed/feed/{first}/1.webp"})
    with capture_logs():
        # Compiled from the third time on.
        page = await stand.anna.post(PAGE, owner=stand.owner, first=9)
        nodes = await stand.anna.post(NODES, ids=[encode_id("Media", each) for each in (broken, linked)])
    assert [bool(each["original"]) for each in page["data"]["mediaList"]["nodes"]] == [False, True, True]
    assert [each["path"] for each in page["errors"]] == [["mediaList", "nodes", 0, "original"]]
    assert [bool(each["original"]) for each in nodes["data"]["nodes"]] == [False, True]
    assert set(await stand.on_record()) == set(each_once(stand.owner, [linked, first]))


async def test_a_page_of_a_hundred_is_one_append(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    ids, appended, append = await stand.store(100), [], AuditStore._append

    async def counted(self: AuditStore, bucket: int, pending: Sequence[Any]) -> None:
        appended.append(len(pending))
        await append(self, bucket, pending)

    monkeypatch.setattr(AuditStore, "_append", counted)
    assert all(await stand.page(100))
    assert appended == [100]
    # Without what runs ahead of generated functions: the resolvers of one page are gathered.
    stand.service.app.state.originals._on_record.clear()
    asked = [encode_id("Media", each) for each in ids]
    assert all(node["original"] for node in (await stand.anna.run(NODES, ids=asked))["nodes"])
    assert appended == [100, 100]
    assert await stand.on_record() == each_once(stand.owner, ids)
