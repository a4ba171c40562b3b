"""Followers: who is sent what, until when, and how they carry on with a new token."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from resolvers.api import build_schema
from schema.field_rules import RULE_OF, Rule
from schema.global_id import encode_id
from service.app import create_app
from service.dev.tokens import mint_token
from service.lifecycle import MediaStatus
from service.settings import Settings
from tests.authorisation_documents import Selections
from tests.authorisation_world import IDENTITIES, OWNER, SHOWN, STORED, World, generous
from tests.documents import ready_media
from tests.integration.authorised_world import world_of
from tests.integration.conftest import RunningService, served
from tests.issuer_stand import EC_KEY, ED_KEY, issuing, jwk, token

FOLLOW = """subscription ($ids: [ID!]!, $after: String) {
  mediaStatus(ids: $ids, after: $after) { status cursor media { id } } }"""
Event = dict[str, Any]


@pytest.fixture(scope="module")
def settings(settings: Settings) -> Settings:
    return generous(settings)


@pytest.fixture(scope="module")
async def world(service: RunningService) -> World:
    return await world_of(service)


class Follower:
    """One with a token, over either transport."""

    def __init__(
        self, service: RunningService, subject: str | None, roles: tuple[str, ...] = (), *, lives_s: float = 3_600
    ) -> None:
        self._url = service.url
        issuer = service.settings.auth.issuers[0]
        lifetime = timedelta(seconds=lives_s)
        self._token = None if subject is None else mint_token(issuer, subject, roles=roles, lifetime=lifetime)

    async def stream(self, query: str, **variables: Any) -> AsyncIterator[Event]:
        """Answers over Server-Sent Events, to the end of the stream."""
        headers = {"accept": "text/event-stream"}
        if self._token is not None:
            headers["authorization"] = f"Bearer {self._token}"
        body = {"query": query, "variables": variables}
        async with (
            httpx.AsyncClient(timeout=20) as client,
            client.stream("POST", f"{self._url}/graphql", json=body, headers=headers) as answer,
        ):
            async for line in answer.aiter_lines():
                if line.startswith("data: {"):
                    yield json.loads(line.removeprefix("data: "))

    async def socket(self, query: str, **variables: Any) -> AsyncIterator[Event]:
        """The same over graphql-transport-ws; the last one is the code that the socket was closed with, if it was."""
        address = self._url.replace("http", "ws", 1) + "/graphql"
        async with connect(address, subprotocols=["graphql-transport-ws"], proxy=None) as socket:  # type: ignore[list-item]
            try:
                async for message in self._over(socket, query, variables):
                    yield message
            except ConnectionClosed:
                yield {"closed": socket.close_code}

    async def _over(self, socket: ClientConnection, query: str, variables: dict[str, Any]) -> AsyncIterator[Event]:
        await socket.send(json.dumps({"type": "connection_init", "payload": {"authToken": self._token}}))
        assert json.loads(await socket.recv())["type"] == "connection_ack"
        payload = {"query": query, "variables": variables}
        await socket.send(json.dumps({"type": "subscribe", "id": "1", "payload": payload}))
        while (message := json.loads(await socket.recv()))["type"] != "complete":
            if message["type"] == "error":
                yield {"errors": message["payload"]}
                return
            yield message["payload"]


def code_of(event: Event) -> str:
    [error] = event["errors"]
    return str(error["extensions"]["code"])


@pytest.mark.parametrize("identity", IDENTITIES)
async def test_followers_are_sent_what_the_rules_say(service: RunningService, world: World, identity: str) -> None:
    subject, roles = IDENTITIES[identity]
    follower = Follower(service, subject, roles)
    selections = Selections(build_schema()._schema)
    status = (
        f"subscription ($ids: [ID!]!) {{ mediaStatus(ids: $ids) {{ status media {{ ...Flat }} }} }} {selections.flat}"
    )
    for label in STORED:
        for follow in (follower.stream, follower.socket):
            events = [event async for event in follow(status, ids=[world.id(label)])]
            text = json.dumps(events)
            assert world.leaked(identity, text) == []
            if label not in SHOWN[Rule.FOLLOWERS][identity]:
                assert code_of(events[0]) == "NOT_FOUND"
                continue
            [event] = events
            shown = event["data"]["mediaStatus"]["media"]
            assert shown["id"] == world.id(label)
            for name, value in shown.items():
                rule = RULE_OF.get(f"Media.{name}", Rule.WITH_OBJECT)
                if rule in SHOWN and label not in SHOWN[rule][identity]:
                    assert value is None, f"{identity} was sent {label}.{name}"
    deletion = "subscription ($id: ID!) { deletionProgress(id: $id) { certificate } }"
    for follow in (follower.stream, follower.socket):
        [event] = [event async for event in follow(deletion, id=world.id("gone", "Deletion"))]
        if "gone" in SHOWN[Rule.DELETERS][identity]:
            assert event["data"]["deletionProgress"] == {"certificate": "gone-certificate"}
        else:
            assert code_of(event) == "NOT_FOUND"


async def test_a_capture_of_others_is_as_unknown_as_one_that_never_was(service: RunningService) -> None:
    hidden = ready_media(owner_id=OWNER, capture_id="hidden-capture", visibility="PRIVATE")
    await service.runtime.database.media.insert_one(hidden)
    follower = Follower(service, "somebody-else")
    query = "subscription ($id: ID!) { captureStatus(captureId: $id) { status } }"
    answers = [[event async for event in follower.stream(query, id=each)] for each in ("hidden-capture", "no-capture")]
    for [event] in answers:
        event["errors"][0]["extensions"].pop("requestId", None)
    assert answers[0] == answers[1]
    assert code_of(answers[0][0]) == "NOT_FOUND"


async def test_what_is_open_ends_with_the_withdrawal_of_its_key(
    service: RunningService, settings: Settings, ports: Iterator[int]
) -> None:
    media = ready_media(owner_id="anna")
    media |= {"status": "PROCESSING", "status_sequence": 3, "status_history": media["status_history"][:3]}  # type: ignore[operator]
    await service.runtime.database.media.insert_one(media)
    ids = [encode_id("Media", media["_id"])]
    async with issuing() as issuer:
        issuer.keys = [jwk(EC_KEY, "one", "ES256"), jwk(ED_KEY, "two", "EdDSA")]
        auth = issuer.settings.model_copy(update={"jwks_refresh_s": 0.1})
        async with (
            asyncio.timeout(20),
            served(create_app(settings.model_copy(update={"auth": auth})), next(ports)) as url,
        ):
            follower = Follower(service, None)
            follower._url, follower._token = url, token(EC_KEY, "ES256", "one")
            streamed, socketed = follower.stream(FOLLOW, ids=ids), follower.socket(FOLLOW, ids=ids)
            first = [await anext(events) for events in (streamed, socketed)]
            assert [event["data"]["mediaStatus"]["status"] for event in first] == ["PROCESSING"] * 2
            issuer.keys = issuer.keys[1:]
            assert [code_of(event) async for event in streamed] == ["UNAUTHENTICATED"]
            assert [event async for event in socketed] == [{"closed": 4403}]


async def test_at_its_tokens_end_a_follower_is_sent_nothing_more_and_carries_on_with_a_new_one(
    service: RunningService,
) -> None:
    media = ready_media(owner_id=OWNER)
    media |= {"status": "PROCESSING", "status_sequence": 3, "status_history": media["status_history"][:3]}  # type: ignore[operator]
    media_id: UUID = media["_id"]
    await service.runtime.database.media.insert_one(media)
    ids = [encode_id("Media", media_id)]
    brief = Follower(service, OWNER, lives_s=3)

    async def heard(events: AsyncIterator[Event]) -> list[Event]:
        return [event async for event in events]

    async with asyncio.timeout(20):
        streamed, socketed = await asyncio.gather(
            heard(brief.stream(FOLLOW, ids=ids)), heard(brief.socket(FOLLOW, ids=ids))
        )
    assert [event["data"]["mediaStatus"]["status"] for event in (streamed[0], socketed[0])] == ["PROCESSING"] * 2
    assert code_of(streamed[1]) == "UNAUTHENTICATED"
    assert socketed[1] == {"closed": 4403}
    assert len(streamed) == len(socketed) == 2

    assert await service.runtime.stores.media.transition(media_id, MediaStatus.READY) is not None
    # Clocks differ a little, so that requests with it are answered for some seconds more; nobody follows anything.
    [late] = await heard(brief.stream(FOLLOW, ids=ids))
    assert code_of(late) == "UNAUTHENTICATED"
    assert await heard(brief.socket(FOLLOW, ids=ids)) == [{"closed": 4403}]

    renewed = Follower(service, OWNER)
    for first, follow in ((streamed[0], renewed.stream), (socketed[0], renewed.socket)):
        cursor = first["data"]["mediaStatus"]["cursor"]
        events = await heard(follow(FOLLOW, ids=ids, after=cursor))
        assert [event["data"]["mediaStatus"]["status"] for event in events] == ["READY"]
    # A cursor opens nothing: it is the token that does.
    stranger = Follower(service, "somebody-else")
    assert await service.runtime.stores.media.transition(media_id, MediaStatus.QUARANTINED) is not None
    [refused] = await heard(stranger.stream(FOLLOW, ids=ids, after=cursor))
    assert code_of(refused) == "NOT_FOUND"
