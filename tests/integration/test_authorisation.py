"""Every field of the schema, by every way to it, for everybody who may ask: what the table of rules says, no more."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import orjson
import pytest
from graphql import GraphQLSchema
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from resolvers.api import build_schema
from schema.field_rules import Rule
from schema.rule_check import fields_of
from service.dev.tokens import mint_token
from service.settings import Settings
from service.transport.documents import GraphQLRequest
from service.transport.operations import Operations
from tests.authorisation_documents import Selections, by_node, direct, known_contents, listed, near_to, node_ids, pages
from tests.authorisation_expectations import Expectation, answered, lasting, visible_nodes
from tests.authorisation_world import IDENTITIES, OWNER, SESSIONS, SHOWN, SIGNED_IN, STORED, World, generous
from tests.bad_tokens import bad_tokens
from tests.integration.authorised_world import world_of
from tests.integration.conftest import RunningService

ALL_ROLES = ("moderator", "service")
# Answered to changes and to followers alone, or only where there are cookies for pictures.
ELSEWHERE = {"UploadOutcome", "UploadPartTarget", "MediaStatusEvent", "UserError", "Rendition.unsignedUrl", "Node.id"}


@pytest.fixture(scope="module")
def settings(settings: Settings) -> Settings:
    return generous(settings)


@dataclass(frozen=True)
class Asked:
    """Who asks, over one connection, and what they sent."""

    service: RunningService
    http: httpx.AsyncClient
    tokens: Mapping[str, str | None]

    async def post(self, identity: str, query: str, *, accept: str = "application/json") -> httpx.Response:
        return await self.http.post("/graphql", json={"query": query}, headers=self._headers(identity, accept))

    async def get(self, identity: str, query: str) -> httpx.Response:
        """By the document's hash, which an earlier request has registered."""
        digest = {"persistedQuery": {"version": 1, "sha256Hash": hashlib.sha256(query.encode()).hexdigest()}}
        both = {"query": query, "extensions": digest}
        await self.http.post("/graphql", json=both, headers=self._headers(identity, "application/json"))
        parameters = {"extensions": json.dumps(digest)}
        return await self.http.get("/graphql", params=parameters, headers=self._headers(identity, "application/json"))

    def _headers(self, identity: str, accept: str) -> dict[str, str]:
        token = self.tokens[identity]
        return {"accept": accept, **({} if token is None else {"authorization": f"Bearer {token}"})}

    async def over_socket(self, identity: str, query: str) -> dict[str, Any]:
        """The one answer of an operation over graphql-transport-ws. Raises ConnectionClosed where that refuses."""
        address = self.service.url.replace("http", "ws", 1) + "/graphql"
        async with connect(address, subprotocols=["graphql-transport-ws"], proxy=None, max_size=None) as socket:  # type: ignore[list-item]
            await socket.send(json.dumps({"type": "connection_init", "payload": {"authToken": self.tokens[identity]}}))
            await socket.recv()
            await socket.send(json.dumps({"type": "subscribe", "id": "1", "payload": {"query": query}}))
            message = orjson.loads(await socket.recv())
            payload: dict[str, Any] = (
                message["payload"] if message["type"] == "next" else {"errors": message["payload"]}
            )
            return payload


@pytest.fixture(scope="module")
def wrong_tokens(service: RunningService) -> dict[str, str]:
    return bad_tokens(service.settings.auth.issuers[0], OWNER, ALL_ROLES)


@pytest.fixture(scope="module")
async def asked(service: RunningService, wrong_tokens: dict[str, str]) -> AsyncIterator[Asked]:
    issuer = service.settings.auth.issuers[0]
    tokens: dict[str, str | None] = {
        name: None if subject is None else mint_token(issuer, subject, roles=roles)
        for name, (subject, roles) in IDENTITIES.items()
    }
    tokens |= {"all-seeing": mint_token(issuer, OWNER, roles=ALL_ROLES), **wrong_tokens}
    async with httpx.AsyncClient(base_url=service.url, timeout=30) as http:
        yield Asked(service, http, tokens)


@pytest.fixture(scope="module")
async def world(service: RunningService) -> World:
    return await world_of(service)


@pytest.fixture(scope="module")
def schema() -> GraphQLSchema:
    return build_schema()._schema


@pytest.fixture(scope="module")
def selections(schema: GraphQLSchema) -> Selections:
    return Selections(schema)


def data_of(answer: httpx.Response) -> dict[str, Any]:
    body: dict[str, Any] = answer.json()
    assert "errors" not in body, body["errors"]
    data: dict[str, Any] = body["data"]
    return data


@pytest.fixture(scope="module")
async def truth(asked: Asked, world: World, selections: Selections) -> dict[str, Any]:
    """Everything about each media: what one who owns it and has every role is answered."""
    data = lasting(data_of(await asked.post("all-seeing", direct(selections, world))))
    return {label: data[label] for label in world.media if data[label] is not None}


@pytest.fixture
def expected(world: World, truth: dict[str, Any]) -> Mapping[str, Expectation]:
    return {identity: Expectation(world, identity, truth) for identity in IDENTITIES}


async def test_the_world_has_a_value_for_every_field(
    asked: Asked, world: World, selections: Selections, schema: GraphQLSchema
) -> None:
    """A field that is null for everybody would pass whatever its rule."""
    found: set[str] = set()
    for query in (direct(selections, world), listed(selections), known_contents(selections)):
        found |= answered(data_of(await asked.post("all-seeing", query)))
    fields = {name for name, _ in fields_of(schema)}
    readable = {name for name in fields if not name.partition(".")[0].endswith("Payload")}
    types = {"Query", "Mutation", "Subscription", *ELSEWHERE}
    assert {name for name in readable - found if not {name, name.partition(".")[0]} & types} == set()


@pytest.mark.parametrize("identity", IDENTITIES)
async def test_by_id_everybody_is_shown_what_the_rules_say(
    asked: Asked, world: World, selections: Selections, expected: Mapping[str, Expectation], identity: str
) -> None:
    answer = await asked.post(identity, direct(selections, world))
    data, readable = data_of(answer), SHOWN[Rule.READERS][identity]
    expected[identity].hold(data)
    assert {label for label in world.media if data[label] is not None} == readable
    assert {label for label in SESSIONS if data[f"upload_{label}"] is not None} == SHOWN[Rule.UPLOADER][identity]
    assert (data["deletion_gone"] is not None) is ("gone" in SHOWN[Rule.DELETERS][identity])
    assert (data["viewer"] is not None) is (identity in SIGNED_IN)
    assert world.leaked(identity, answer.text) == []

    answer = await asked.post(identity, by_node(selections, world))
    data, ids = data_of(answer), list(node_ids(world).values())
    expected[identity].hold(data)
    shown = [None if each is None else each["id"] for each in data["nodes"]]
    visible = visible_nodes(world, identity)
    assert shown == [each if each in visible else None for each in ids]
    assert {label for label in world.media if data[f"Media_{label}"] is not None} == readable
    assert world.leaked(identity, answer.text) == []


@pytest.mark.parametrize("identity", IDENTITIES)
async def test_lists_and_searches_show_what_the_rules_say(
    asked: Asked, world: World, selections: Selections, expected: Mapping[str, Expectation], identity: str
) -> None:
    answer = await asked.post(identity, listed(selections))
    data, hold = data_of(answer), expected[identity].hold
    readable, details = SHOWN[Rule.READERS][identity], SHOWN[Rule.DETAILS][identity]
    stored = readable & set(STORED)
    assert hold(data["feed"]) == readable & {"open", "shut"}
    assert hold(data["mine"]) == readable
    assert hold(data["walk"]) == hold(data["similar"]) == stored
    assert hold(data["twins"]) == details & set(STORED)
    assert hold(data["nearest"]) == stored
    exact = SHOWN[Rule.ANNOTATORS][identity]
    for each in data["nearest"]:
        [label] = [label for label in STORED if world.id(label) == each["media"]["id"]]
        assert label in exact or each["similarity"] == round(each["similarity"], 3)
    assert data["counts"]["mediaCounted"] == len(readable)
    assert data["twinCounts"]["mediaCounted"] == len(details & set(STORED))
    labels = {each["label"] for each in data["counts"]["labels"]} - {"near-duplicate"}
    assert labels == {f"{label}-label" for label in stored}
    assert world.leaked(identity, answer.text) == []

    known = (await asked.post(identity, known_contents(selections))).json()
    if identity in SIGNED_IN:
        # Of the owner's own, those whose bytes are sound.
        assert hold(known["data"]) == ({"open", "shut"} if identity == "owner" else set())
    else:
        assert known["data"] is None
        assert known["errors"][0]["extensions"]["code"] == "NOT_PERMITTED"
    for label in STORED:
        answer = await asked.post(identity, near_to(selections, world, label))
        if label in readable:
            assert hold(data_of(answer)) == stored - {label}
        else:
            assert answer.json()["data"] is None
            assert answer.json()["errors"][0]["extensions"]["code"] == "NOT_FOUND"
        assert world.leaked(identity, answer.text) == []


@pytest.mark.parametrize("identity", IDENTITIES)
async def test_all_roads_and_transports_answer_the_same(
    asked: Asked, selections: Selections, schema: GraphQLSchema, identity: str
) -> None:
    # A document of each one's own: run for the first time it is not compiled, run for the third time it is.
    query = pages(selections, identity)
    operations = Operations(build_schema(), asked.service.settings.http)
    assert operations.road(operations.prepare(GraphQLRequest(query))).compiled
    plain, *_, compiled = [await asked.post(identity, query) for _ in range(4)]
    assert lasting(compiled.json()) == lasting(plain.json())
    expected = lasting(data_of(plain))
    assert lasting(data_of(await asked.get(identity, query))) == expected
    streamed = (await asked.post(identity, query, accept="text/event-stream")).text
    [event] = [line.removeprefix("data: ") for line in streamed.splitlines() if line.startswith("data: {")]
    assert lasting(json.loads(event)["data"]) == expected
    assert lasting((await asked.over_socket(identity, query))["data"]) == expected


async def test_tokens_that_do_not_hold_are_answered_nothing(
    asked: Asked, world: World, selections: Selections, wrong_tokens: dict[str, str]
) -> None:
    """Not even what the anonymous are shown: 401, or the socket closes with 4403, and no resolver has been called."""
    query = direct(selections, world)
    for identity in wrong_tokens:
        answers = [await asked.post(identity, query), await asked.get(identity, query)]
        answers.append(await asked.post(identity, query, accept="text/event-stream"))
        for answer in answers:
            assert answer.status_code == 401, identity
            [error] = answer.json()["errors"]
            assert error["extensions"]["code"] == "UNAUTHENTICATED"
            assert answer.json().keys() == {"errors"}
            assert all(not world.leaked("anonymous", text) for text in (answer.text, str(answer.headers)))
        with pytest.raises(ConnectionClosed) as closed:
            await asked.over_socket(identity, query)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4403
