"""Documents that are named instead of sent: registered ones, and those that clients register as they go."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner
from websockets.asyncio.client import connect as open_socket
from websockets.typing import Subprotocol

from service.__main__ import app as command_line
from service.errors import ConfigurationError
from service.settings import HttpSettings
from service.transport.documents import GraphQLRequest
from tests.graphql_app import GraphQLApp, listening

HELLO = "query Hello($name: String!) { hello(name: $name) }"
RENAME = 'mutation Rename { rename(title: "x") }'
GRAPHQL = "application/graphql-response+json"


def hashed(text: str, algorithm: str = "sha256") -> str:
    return hashlib.new(algorithm, text.encode()).hexdigest()


def write(folder: Path, name: str, content: object) -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def apollo_manifest(*operations: tuple[str, str, str]) -> dict[str, Any]:
    entries = [{"id": id_, "name": name, "type": "query", "body": body} for id_, name, body in operations]
    return {"format": "apollo-persisted-query-manifest", "version": 1, "operations": entries}


def app_with(path: Path, **settings: Any) -> GraphQLApp:
    return GraphQLApp(HttpSettings(trusted_documents=path, **settings))


async def send(app: GraphQLApp, *, accept: str = GRAPHQL, **parameters: Any) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app.asgi), base_url="http://api.example") as client:
        return await client.post("/graphql", json=parameters, headers={"accept": accept})


async def get(app: GraphQLApp, **parameters: Any) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app.asgi), base_url="http://api.example") as client:
        return await client.get("/graphql", params=parameters)


def code_of(response: httpx.Response) -> str:
    [error] = response.json()["errors"]
    return str(error["extensions"]["code"])


def persisted(text: str, **more: Any) -> dict[str, Any]:
    return {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": hashed(text)}}, **more}


MANIFESTS = {
    "Relay": ("persisted_queries.json", {hashed(HELLO, "md5"): HELLO}, hashed(HELLO, "md5")),
    "graphql-codegen": ("persisted-documents.json", {hashed(HELLO, "sha1"): HELLO}, hashed(HELLO, "sha1")),
    "Apollo": ("manifest.json", apollo_manifest((hashed(HELLO), "Hello", HELLO)), hashed(HELLO)),
    "names of one's own": ("manifest.json", apollo_manifest(("hello-v1", "Hello", HELLO)), "hello-v1"),
    "a plain document": ("hello.graphql", HELLO, "hello"),
}


@pytest.mark.parametrize("source", MANIFESTS)
@pytest.mark.parametrize("as_folder", [False, True])
async def test_a_registered_document_is_run_by_its_id(tmp_path: Path, source: str, as_folder: bool) -> None:
    name, content, document_id = MANIFESTS[source]
    file = write(tmp_path, name, content)
    app = app_with(tmp_path if as_folder else file, trusted_only=True)
    variables = {"name": "Ada"}
    for parameters in (
        {"documentId": document_id},
        {"doc_id": document_id},
        {"id": document_id},
        {"documentId": f"sha256:{hashed(HELLO)}"},
        {"documentId": document_id, "query": ""},
        persisted(HELLO),
        {"query": HELLO},
    ):
        response = await send(app, variables=variables, **parameters)
        assert (response.status_code, response.json().get("data")) == (200, {"hello": "hello Ada"}), parameters
    by_get = await get(app, documentId=document_id, variables='{"name": "Ada"}')
    assert by_get.json()["data"] == {"hello": "hello Ada"}


async def test_trusted_only_runs_nothing_else(tmp_path: Path) -> None:
    app = app_with(write(tmp_path, "m.json", {hashed(HELLO): HELLO}), trusted_only=True)
    for parameters, code in (
        ({"query": RENAME}, "TRUSTED_DOCUMENTS_ONLY"),
        ({"query": HELLO + " "}, "TRUSTED_DOCUMENTS_ONLY"),
        ({"query": "{ __typename }"}, "TRUSTED_DOCUMENTS_ONLY"),
        (persisted(RENAME, query=RENAME), "TRUSTED_DOCUMENTS_ONLY"),
        (persisted(RENAME), "PERSISTED_QUERY_NOT_IN_LIST"),
        ({"documentId": hashed(RENAME)}, "PERSISTED_QUERY_NOT_IN_LIST"),
    ):
        response = await send(app, **parameters)
        assert (response.status_code, code_of(response)) == (400, code), parameters
    assert app.renamed == []
    assert not app.operations._documents._known


async def test_a_registered_mutation_is_not_run_over_get(tmp_path: Path) -> None:
    app = app_with(write(tmp_path, "m.json", {"rename": RENAME}))
    assert (await get(app, documentId="rename")).status_code == 405
    assert app.renamed == []
    assert (await send(app, documentId="rename")).json()["data"] == {"rename": "x"}


async def test_limits_hold_for_registered_documents_too(tmp_path: Path) -> None:
    text = "query($n: Int!) { photos(first: $n) { id } }"
    app = app_with(write(tmp_path, "photos.graphql", text), trusted_only=True)
    assert (await send(app, documentId="photos", variables={"n": 10})).status_code == 200
    assert code_of(await send(app, documentId="photos", variables={"n": 10**6})) == "QUERY_TOO_COMPLEX"


BROKEN = {
    "no hash of its text": ({"0" * 64: HELLO}, r"Hello: its id is not the SHA256 of its text"),
    "another algorithm": ({"0" * 32: HELLO}, r"Hello: its id is not the MD5"),
    "not in the schema": ({"a": "query Old { gone }"}, r"Old: Cannot query field 'gone'"),
    "not GraphQL": ({"a": "query Broken {"}, r"Broken: Syntax Error"),
    "no document": ({"a": 7}, "needs an id and a document"),
    "no operation": ({"a": "fragment F on Query { hello }"}, "never used"),
    "too costly": ({"a": "query Many { photos(first: 100000) { id } }"}, r"Many: The answer could hold"),
    "a list": ([HELLO], "neither an object"),
    "another format": ({"format": "x", "operations": []}, "only version 1"),
    "not JSON": ("{", "json"),
    "nothing": ({}, "holds no manifest"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_the_service_does_not_start_with_a_manifest_that_does_not_hold(tmp_path: Path, what: str) -> None:
    content, sentence = BROKEN[what]
    with pytest.raises(ConfigurationError, match=sentence):
        app_with(write(tmp_path, "m.json", content))


def test_every_problem_is_named_at_once(tmp_path: Path) -> None:
    write(tmp_path, "a.json", {"one": "query One { gone }", "two": "query Two { gone }", "three": HELLO})
    with pytest.raises(ConfigurationError) as refused:
        app_with(tmp_path)
    assert [line.split(": ")[1] for line in str(refused.value).splitlines()] == ["One", "Two"]


def test_one_id_for_two_texts_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "a.json", {"hello": HELLO})
    write(tmp_path, "hello.graphql", "{ hello }")
    with pytest.raises(ConfigurationError, match="stands for another document"):
        app_with(tmp_path)


def test_a_missing_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.json"):
        app_with(tmp_path / "nowhere.json")


def test_trusting_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="name a manifest"):
        HttpSettings(trusted_only=True)


async def test_a_hash_is_asked_for_once_and_then_stands_for_its_text() -> None:
    app = GraphQLApp()
    variables = {"name": "Ada"}
    unknown = await send(app, **persisted(HELLO, variables=variables))
    assert unknown.json()["errors"][0]["message"] == "PersistedQueryNotFound"
    assert code_of(unknown) == "PERSISTED_QUERY_NOT_FOUND"
    assert unknown.headers["cache-control"] == "no-store"
    registered = await send(app, **persisted(HELLO, query=HELLO, variables=variables))
    by_hash = await send(app, **persisted(HELLO, variables=variables))
    by_id = await send(app, documentId=f"sha256:{hashed(HELLO)}", variables=variables)
    extensions = json.dumps(persisted(HELLO)["extensions"])
    by_get = await get(app, extensions=extensions, variables='{"name": "Ada"}')
    for response in (registered, by_hash, by_id, by_get):
        assert (response.status_code, response.json()["data"]) == (200, {"hello": "hello Ada"})


@pytest.mark.parametrize("registered", [True, False])
async def test_a_hash_may_be_written_in_capitals(tmp_path: Path, registered: bool) -> None:
    app = app_with(write(tmp_path, "m.json", {hashed(HELLO): HELLO}), trusted_only=True) if registered else GraphQLApp()
    extensions = {"persistedQuery": {"version": 1, "sha256Hash": hashed(HELLO).upper()}}
    first = await send(app, query=HELLO, extensions=extensions, variables={"name": "Ada"})
    by_hash = await send(app, extensions=extensions, variables={"name": "Ada"})
    by_id = await send(app, documentId=f"sha256:{hashed(HELLO).upper()}", variables={"name": "Ada"})
    for response in (first, by_hash, by_id):
        assert (response.status_code, response.json()["data"]) == (200, {"hello": "hello Ada"})


async def test_an_old_client_gets_the_miss_with_200() -> None:
    response = await send(GraphQLApp(), accept="application/json", **persisted(HELLO))
    assert (response.status_code, code_of(response)) == (200, "PERSISTED_QUERY_NOT_FOUND")


async def test_a_hash_of_another_text_is_400_and_registers_nothing() -> None:
    app = GraphQLApp()
    response = await send(app, accept="application/json", **persisted(HELLO, query=RENAME))
    assert (response.status_code, code_of(response)) == (400, "PERSISTED_QUERY_HASH_MISMATCH")
    assert app.renamed == []
    assert code_of(await send(app, **persisted(HELLO))) == "PERSISTED_QUERY_NOT_FOUND"


async def test_only_valid_documents_are_registered() -> None:
    app = GraphQLApp()
    for text in ("{", "{ gone }", "{ photos(first: 100000) { id } }"):
        assert (await send(app, **persisted(text, query=text))).status_code == 400
        assert code_of(await send(app, **persisted(text))) == "PERSISTED_QUERY_NOT_FOUND"


async def test_a_token_that_does_not_hold_registers_nothing() -> None:
    app = GraphQLApp()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app.asgi), base_url="http://api.example") as client:
        headers = {"authorization": "Bearer bad"}
        assert (await client.post("/graphql", json=persisted(HELLO, query=HELLO), headers=headers)).status_code == 401
    assert code_of(await send(app, **persisted(HELLO))) == "PERSISTED_QUERY_NOT_FOUND"


async def test_a_flood_of_documents_pushes_out_others_but_no_registered_one(tmp_path: Path) -> None:
    app = app_with(write(tmp_path, "hello.graphql", HELLO))
    first = "{ hello }"
    assert (await send(app, **persisted(first, query=first))).status_code == 200
    documents = app.operations._documents
    for number in range(40):
        documents.prepare(GraphQLRequest("{ hello } #" + "x" * 10_000 + str(number)))
    assert documents._characters <= 128_000
    assert set(documents._by_hash) == {hashed(text) for text in documents._known}
    assert code_of(await send(app, **persisted(first))) == "PERSISTED_QUERY_NOT_FOUND"
    assert (await send(app, documentId="hello", variables={"name": "Ada"})).status_code == 200


@pytest.mark.parametrize(
    "parameters",
    [
        {"documentId": 7},
        {"documentId": ""},
        {"documentId": "x" * 201},
        {"documentId": "x", "query": "{ hello }"},
        {"extensions": {"persistedQuery": {"version": 2, "sha256Hash": "x"}}},
        {"extensions": {"persistedQuery": {"version": 1}}},
        {"extensions": {"persistedQuery": "x"}},
        {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": hashed(HELLO)}}, "query": 7},
        {},
    ],
)
async def test_what_names_no_document_is_400(parameters: dict[str, Any]) -> None:
    app = GraphQLApp()
    response = await send(app, accept="application/json", **parameters)
    assert (response.status_code, code_of(response)) == (400, "BAD_REQUEST")
    assert app.contexts == 0


async def test_an_unknown_id_says_so() -> None:
    response = await send(GraphQLApp(), documentId="nobody-knows")
    assert (response.status_code, code_of(response)) == (400, "PERSISTED_DOCUMENT_NOT_FOUND")


async def test_a_socket_obeys_the_same_list(tmp_path: Path) -> None:
    path = write(tmp_path, "count.graphql", "subscription { count(upto: 1) }")
    async with listening() as listener:
        app = listener.serve(app_with(path, trusted_only=True))
        async with open_socket(app.socket_url, subprotocols=[Subprotocol("graphql-transport-ws")]) as socket:

            async def ask(payload: dict[str, Any]) -> dict[str, Any]:
                await socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": payload}))
                answer: dict[str, Any] = json.loads(await asyncio.wait_for(socket.recv(), 5))
                return answer

            await socket.send('{"type": "connection_init"}')
            await socket.recv()
            refused = await ask({"query": "subscription { forever }"})
            unknown = await ask({"documentId": "forever"})
            assert (await ask({"documentId": "count"}))["payload"] == {"data": {"count": 0}}
    assert refused["payload"][0]["extensions"]["code"] == "TRUSTED_DOCUMENTS_ONLY"
    assert unknown["payload"][0]["extensions"]["code"] == "PERSISTED_QUERY_NOT_IN_LIST"
    assert app.alive == []


@pytest.mark.parametrize(
    ("document", "code", "said"),
    [("query Mine { viewer { id } }", 0, "1 documents fit"), ("query Old { gone }", 1, "Old: Cannot query field")],
)
def test_the_command_checks_a_manifest_against_the_schema(tmp_path: Path, document: str, code: int, said: str) -> None:
    result = CliRunner().invoke(command_line, ["documents", str(write(tmp_path, "m.json", {"a": document}))])
    assert result.exit_code == code
    assert said in result.output
