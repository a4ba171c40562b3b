"""GraphQL over HTTP: what a client gets for right and for wrong requests."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import structlog
from starlette.responses import HTMLResponse

from service.settings import HttpSettings
from tests.graphql_app import SECRET_DETAIL, GraphQLApp

GRAPHQL = "application/graphql-response+json"
JSON = "application/json"


@pytest.fixture
def app() -> GraphQLApp:
    return GraphQLApp()


@pytest.fixture
async def client(app: GraphQLApp) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app.asgi), base_url="http://api.example") as client:
        yield client


async def post(client: httpx.AsyncClient, query: str, *, accept: str = GRAPHQL, **parameters: Any) -> httpx.Response:
    return await client.post("/graphql", json={"query": query, **parameters}, headers={"accept": accept})


def code_of(response: httpx.Response) -> str:
    return str(response.json()["errors"][0]["extensions"]["code"])


async def test_a_query_is_answered(client: httpx.AsyncClient) -> None:
    response = await post(client, "query Q($n: String!) { hello(name: $n) }", variables={"n": "Zoë"}, operationName="Q")
    assert response.status_code == 200
    assert response.json()["data"] == {"hello": "hello Zoë"}
    assert response.headers["content-type"] == f"{GRAPHQL}; charset=utf-8"
    assert response.headers["cache-control"] == "no-store"


async def test_a_query_is_answered_over_get(client: httpx.AsyncClient) -> None:
    parameters = {"query": "query($n: String!) { hello(name: $n) }", "variables": '{"n": "Ada"}', "extensions": ""}
    response = await client.get("/graphql", params=parameters)
    assert response.status_code == 200
    assert response.json()["data"] == {"hello": "hello Ada"}


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        (JSON, JSON),
        (GRAPHQL, GRAPHQL),
        (f"{GRAPHQL}, {JSON};q=0.9", GRAPHQL),
        (f"{JSON}, {GRAPHQL}", GRAPHQL),
        (f"{GRAPHQL};q=0.5, {JSON}", JSON),
        (f"{GRAPHQL};charset=utf-8, {JSON};charset=utf-8", GRAPHQL),
        (f"{GRAPHQL};q=0, */*", JSON),
        (f"text/html, {GRAPHQL}", GRAPHQL),
        ("garbage, */*", JSON),
    ],
)
async def test_the_media_type_is_negotiated(client: httpx.AsyncClient, accept: str | None, chosen: str) -> None:
    del client.headers["accept"]
    headers = {} if accept is None else {"accept": accept}
    response = await client.post("/graphql", json={"query": "{ hello }"}, headers=headers)
    assert (response.status_code, response.headers["content-type"]) == (200, f"{chosen}; charset=utf-8")


@pytest.mark.parametrize("accept", ["text/html", "garbage", f"{JSON};charset=latin-1", f"{GRAPHQL};q=0", "image/*"])
async def test_an_unknown_accept_is_406(client: httpx.AsyncClient, accept: str) -> None:
    response = await post(client, 'mutation { rename(title: "x") }', accept=accept)
    assert response.status_code == 406
    assert code_of(response) == "NOT_ACCEPTABLE"


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "BREW"])
async def test_other_methods_are_405_with_allow(client: httpx.AsyncClient, method: str) -> None:
    response = await client.request(method, "/graphql")
    assert (response.status_code, response.headers["allow"]) == (405, "GET, POST")


async def test_a_mutation_over_get_is_405_and_changes_nothing(client: httpx.AsyncClient, app: GraphQLApp) -> None:
    response = await client.get("/graphql", params={"query": 'mutation { rename(title: "x") }'})
    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    assert app.renamed == []


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/graphql",
        "application/json; charset=utf-16",
        "text/plain; application/json",
    ],
)
async def test_what_a_form_could_send_is_415_and_changes_nothing(
    client: httpx.AsyncClient, app: GraphQLApp, content_type: str | None
) -> None:
    headers = {} if content_type is None else {"content-type": content_type}
    body = b'{"query": "mutation { rename(title: \\"x\\") }"}'
    response = await client.post("/graphql", content=body, headers=headers)
    assert response.status_code == 415
    assert app.renamed == []


async def test_a_compressed_body_is_415(client: httpx.AsyncClient) -> None:
    headers = {"content-type": JSON, "content-encoding": "gzip"}
    assert (await client.post("/graphql", content=b"x", headers=headers)).status_code == 415


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"1",
        b'"x"',
        b"[]",
        b'[{"query": "{ hello }"}]',
        b"{}",
        b"NaN",
        b'{"query": "{ hello }", "variables": {"x": NaN}}',
        b'{"query": "{ hello }", "variables": {"x": 1e999}}',
        b'{"query": "\xff"}',
        b'{"query": "{ hello }"',
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 40_000 + b"1" + b"}" * 40_000,
        b'{"query": null}',
        b'{"query": ""}',
        b'{"query": 7}',
        b'{"query": "{ hello }", "variables": []}',
        b'{"query": "{ hello }", "variables": "{}"}',
        b'{"query": "{ hello }", "extensions": []}',
        b'{"query": "{ hello }", "operationName": 1}',
        b'{"query": "{ hello(name: \\"\\ud800\\") }"}',
    ],
)
async def test_what_is_not_a_request_is_400(client: httpx.AsyncClient, app: GraphQLApp, body: bytes) -> None:
    response = await client.post("/graphql", content=body, headers={"content-type": JSON})
    assert response.status_code == 400
    assert response.json()["errors"][0]["message"]
    assert app.contexts == 0


@pytest.mark.parametrize("variables", ["[]", "1", "NaN", "{", "nope", "[" * 5000])
async def test_wrong_variables_over_get_are_400(client: httpx.AsyncClient, variables: str) -> None:
    response = await client.get("/graphql", params={"query": "{ hello }", "variables": variables})
    assert response.status_code == 400


async def test_a_body_over_the_limit_is_413_before_it_is_read(app: GraphQLApp) -> None:
    pulled = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal pulled
        while True:
            pulled += 65_536
            yield b" " * 65_536

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app.asgi), base_url="http://api.example") as client:
        streamed = await client.post("/graphql", content=endless(), headers={"content-type": JSON})
        announced = await client.post("/graphql", content=b" " * 300_000, headers={"content-type": JSON})
    assert (streamed.status_code, announced.status_code) == (413, 413)
    assert pulled <= app.settings.max_body_bytes + 2 * 65_536


async def test_a_query_string_over_the_limit_is_414(client: httpx.AsyncClient, app: GraphQLApp) -> None:
    app.http._max_bytes = 100
    response = await client.get("/graphql", params={"query": "{ hello " + "#" * 200 + "\n}"})
    assert response.status_code == 414


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("{", "GRAPHQL_PARSE_FAILED"),
        ("{ nope }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ hello(name: 1) }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }", "GRAPHQL_VALIDATION_FAILED"),
        ("type T { a: Int }", "OPERATION_RESOLUTION_FAILURE"),
        ("query A { hello } query B { hello }", "OPERATION_RESOLUTION_FAILURE"),
    ],
)
async def test_a_wrong_document_is_400_or_200_by_media_type(client: httpx.AsyncClient, query: str, code: str) -> None:
    modern, legacy = await post(client, query), await post(client, query, accept=JSON)
    assert (modern.status_code, legacy.status_code) == (400, 200)
    assert code_of(modern) == code_of(legacy) == code
    assert "data" not in modern.json()


async def test_refused_variables_are_a_request_error_that_says_why(client: httpx.AsyncClient) -> None:
    response = await post(client, "query($f: Int!) { photos(first: $f) { id } }", variables={"f": "many"})
    assert response.status_code == 400
    assert "$f" in response.json()["errors"][0]["message"]
    assert code_of(response) == "BAD_USER_INPUT"
    assert "data" not in response.json()


async def test_an_unknown_operation_name_is_refused(client: httpx.AsyncClient) -> None:
    response = await post(client, "query A { hello }", operationName="B")
    assert (response.status_code, code_of(response)) == (400, "OPERATION_RESOLUTION_FAILURE")


async def test_a_subscription_points_to_the_websocket(client: httpx.AsyncClient) -> None:
    for accept in (GRAPHQL, JSON):
        response = await post(client, "subscription { count }", accept=accept)
        assert (response.status_code, code_of(response)) == (400, "SUBSCRIPTION_NEEDS_WEBSOCKET")
        assert "graphql-transport-ws" in response.json()["errors"][0]["message"]


async def test_a_bug_is_masked_and_logged_under_the_request_id(client: httpx.AsyncClient) -> None:
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
        response = await post(client, "{ bug hello }")
    assert response.status_code == 200
    assert response.json()["data"] == {"bug": None, "hello": "hello world"}
    [error] = response.json()["errors"]
    assert error["message"] == "Internal error"
    assert error["path"] == ["bug"]
    assert error["extensions"] == {"code": "INTERNAL", "requestId": response.headers["x-request-id"]}
    assert "hunter2" not in response.text
    [trace] = [line for line in lines if line["log_level"] == "error"]
    assert SECRET_DETAIL in str(trace["exc_info"])
    assert trace["request_id"] == response.headers["x-request-id"]


async def test_a_bug_in_a_required_field_leaves_data_null(client: httpx.AsyncClient) -> None:
    response = await post(client, "{ requiredBug }")
    assert response.json()["data"] is None
    assert SECRET_DETAIL not in response.text
    assert code_of(response) == "INTERNAL"


async def test_an_expected_error_keeps_its_message_and_code(client: httpx.AsyncClient) -> None:
    response = await post(client, "{ missing limited }")
    missing, limited = response.json()["errors"]
    assert missing["message"] == "No such photo."
    assert missing["extensions"] == {"code": "NOT_FOUND", "retryable": False}
    assert limited["extensions"] == {"code": "RATE_LIMITED", "retryable": True, "retryAfterMs": 1500}


async def test_a_token_is_checked_before_anything_runs(client: httpx.AsyncClient, app: GraphQLApp) -> None:
    query = 'mutation { rename(title: "x") }'
    for authorization in ("Bearer bad", "good", "Basic good", "Bearer "):
        response = await client.post("/graphql", json={"query": query}, headers={"authorization": authorization})
        assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
        assert code_of(response) == "UNAUTHENTICATED"
    assert app.renamed == []
    signed_in = await client.post("/graphql", json={"query": "{ viewerId }"}, headers={"authorization": "bearer good"})
    assert signed_in.json()["data"] == {"viewerId": "ada"}


async def test_two_authorization_headers_are_refused(client: httpx.AsyncClient) -> None:
    headers = [("authorization", "Bearer good"), ("authorization", "Bearer bad")]
    assert (await client.post("/graphql", json={"query": "{ hello }"}, headers=headers)).status_code == 401


async def test_a_rate_limit_says_when_to_come_back(client: httpx.AsyncClient) -> None:
    response = await client.post("/graphql", json={"query": "{ hello }"}, headers={"x-limited": "1"})
    assert (response.status_code, response.headers["retry-after"]) == (429, "2")


async def test_a_crash_outside_resolvers_is_a_masked_500(client: httpx.AsyncClient) -> None:
    response = await client.post("/graphql", json={"query": "{ hello }"}, headers={"x-crash": "1"})
    assert response.status_code == 500
    assert code_of(response) == "INTERNAL"
    assert SECRET_DETAIL not in response.text


@pytest.mark.parametrize("introspection", [True, False])
async def test_introspection_and_suggestions_follow_the_setting(introspection: bool) -> None:
    app = GraphQLApp(HttpSettings(introspection=introspection))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app.asgi), base_url="http://api.example") as client:
        schema = await post(client, "{ __schema { queryType { name } } }")
        typo = await post(client, "{ helo }")
        typename = await post(client, "{ __typename }")
    assert (schema.status_code == 200) is introspection
    assert ("Did you mean" in typo.text) is introspection
    assert typename.json()["data"] == {"__typename": "Query"}


async def test_a_browser_gets_the_page_and_a_script_gets_json(app: GraphQLApp) -> None:
    app.http._graphiql = HTMLResponse("<title>GraphiQL</title>")
    html = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app.asgi), base_url="http://api.example") as client:
        await client.get("/graphql", headers=html)
        page = await client.get("/graphql", headers=html)
        answer = await client.get("/graphql", params={"query": "{ hello }"}, headers=html)
    assert page.headers["content-type"].startswith("text/html")
    assert len(page.headers.get_list("x-request-id")) == 1
    assert json.loads(answer.text)["data"] == {"hello": "hello world"}


def test_a_schema_with_extensions_is_refused_rather_than_half_run() -> None:
    import strawberry
    from strawberry.extensions import MaskErrors

    from service.transport.operations import Operations
    from tests.graphql_app import Query

    with pytest.raises(ValueError, match="extensions"):
        Operations(strawberry.Schema(Query, extensions=[MaskErrors]), HttpSettings())
