"""Hostile requests to the real API: refused with a reason, in bounded memory; nothing runs, nothing is written.

Single cases stand with each transport (docs/security.md); here all go to one API that is served as in production,
which afterwards has written nothing and serves as before.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import resource
from collections.abc import AsyncIterator
from typing import Any

import brotli
import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.integration.effects import effects
from tests.security.conftest import Api
from tests.security.hostile_documents import REFUSED, REFUSED_VARIABLES, body_of
from tests.servers import ORIGIN

JSON = {"Content-Type": "application/json"}
MODERN = {**JSON, "Accept": "application/graphql-response+json"}
STREAM = {**JSON, "Accept": "text/event-stream"}
MUTATION = (
    'mutation { createUploads(input: {idempotencyKey: "hostile", purpose: COMMUNITY, '
    'files: [{contentType: "image/jpeg", byteSize: 1}]}) { userErrors { code } } }'
)
# What an answer must not hold: places in files, our own or libraries' names, the server's software, and hints.
TELLTALE = re.compile(
    rb"Traceback|\.py\b|/service/|site-packages|graphql\.error|pymongo|uvicorn|Did you mean", re.IGNORECASE
)


@pytest.fixture(scope="module", autouse=True)
async def _nothing_is_written(api: Api) -> AsyncIterator[None]:
    """Whatever this module sends, nothing of it shows in database and buckets, and memory stays within bounds."""
    before, memory = await api.witness.look(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    # Requests are counted, whatever they are.
    written = effects(before, await api.witness.look())
    assert not [what for what in written if not what.endswith(" rate_limits")]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 100_000  # kB
    async with httpx.AsyncClient() as client:
        answer = await client.post(f"{api.url}/graphql", content=body_of("{ viewer { id } }"), headers=JSON)
    assert answer.json()["data"] == {"viewer": None}


@pytest.fixture(scope="module")
async def client(api: Api) -> AsyncIterator[httpx.AsyncClient]:
    """Signed in, so that nothing is refused for that alone."""
    headers = {"Authorization": f"Bearer {api.token}"}
    async with httpx.AsyncClient(base_url=api.url, headers=headers, timeout=10) as client:
        yield client


def reason(answer: httpx.Response, *codes: str) -> str:
    """The code of a refusal; fails if the answer has data or tells too much."""
    body = answer.json()
    assert body.get("data") is None
    assert not TELLTALE.search(answer.content), answer.text
    code: str = body["errors"][0]["extensions"]["code"]
    assert not codes or code in codes, answer.text
    return code


@pytest.mark.parametrize("what", REFUSED)
async def test_costly_and_curious_documents_are_refused_over_each_transport(
    api: Api, client: httpx.AsyncClient, what: str
) -> None:
    query, codes = REFUSED[what]
    plain = await client.post("/graphql", content=body_of(query), headers=MODERN)
    assert plain.status_code == 400
    reason(plain, *codes)
    streamed = await client.post("/graphql", content=body_of(query), headers=STREAM)
    assert streamed.headers["content-type"].startswith("text/event-stream")
    assert any(f'"{code}"' in streamed.text for code in codes)
    assert not TELLTALE.search(streamed.content)
    async with connect(
        api.url.replace("http", "ws") + "/graphql", subprotocols=["graphql-transport-ws"], proxy=None
    ) as socket:  # type: ignore[list-item]
        await socket.send('{"type": "connection_init"}')
        await socket.recv()
        await socket.send(json.dumps({"type": "subscribe", "id": "1", "payload": {"query": query}}))
        told = json.loads(await socket.recv())
    assert (told["type"], told["payload"][0]["extensions"]["code"] in codes) == ("error", True)


@pytest.mark.parametrize("what", REFUSED_VARIABLES)
async def test_variables_that_do_not_fit_are_refused(client: httpx.AsyncClient, what: str) -> None:
    query, variables = REFUSED_VARIABLES[what]
    answer = await client.post("/graphql", content=body_of(query, variables), headers=MODERN)
    assert answer.status_code == 400
    assert reason(answer) in {"BAD_USER_INPUT", "VARIABLES_TOO_LARGE", "QUERY_TOO_COMPLEX", "BAD_REQUEST"}
    # As short as what went wrong, not as long as what was sent.
    assert len(answer.content) < 20_000


BODIES: dict[str, tuple[bytes, dict[str, str], int]] = {
    "an array of operations": (b"[" + b",".join([body_of(MUTATION)] * 50) + b"]", {}, 400),
    "deep arrays": (b"[" * 100_000 + b"]" * 100_000, {}, 400),
    "deep objects": (b'{"a":' * 40_000 + b"1" + b"}" * 40_000, {}, 400),
    "NaN": (b'{"query": "{ viewer { id } }", "variables": {"x": NaN}}', {}, 400),
    "a lone surrogate": (b'{"query": "{ media(id: \\"\\ud800\\") { id } }"}', {}, 400),
    "bytes that are no text": (b'{"query": "\xff\xfe"}', {}, 400),
    "half of it": (body_of(MUTATION)[:-9], {}, 400),
    "nothing": (b"", {}, 400),
    "gzip": (gzip.compress(b" " * 10_000_000), {"Content-Encoding": "gzip"}, 415),
    "brotli": (brotli.compress(b" " * 10_000_000, quality=1), {"Content-Encoding": "br"}, 415),
    "two codings": (gzip.compress(body_of(MUTATION)), {"Content-Encoding": "identity, gzip"}, 415),
    "a form": (b"query=" + MUTATION.encode(), {"Content-Type": "application/x-www-form-urlencoded"}, 415),
    "text": (body_of(MUTATION), {"Content-Type": "text/plain"}, 415),
    "text that calls itself JSON": (body_of(MUTATION), {"Content-Type": "text/plain; a=application/json"}, 415),
    "parts": (
        b'--x\r\nContent-Disposition: form-data; name="operations"\r\n\r\n' + body_of(MUTATION) + b"\r\n--x--",
        {"Content-Type": "multipart/form-data; boundary=x", "Apollo-Require-Preflight": "1"},
        415,
    ),
    "no type": (body_of(MUTATION), {"Content-Type": ""}, 415),
    "another alphabet": (body_of(MUTATION), {"Content-Type": "application/json; charset=utf-7"}, 415),
    "too many bytes": (b" " * 300_000, {}, 413),
}


@pytest.mark.parametrize("what", BODIES)
async def test_bodies_that_are_no_request_are_refused(client: httpx.AsyncClient, what: str) -> None:
    body, headers, status = BODIES[what]
    answer = await client.post("/graphql", content=body, headers={**JSON, **headers})
    assert answer.status_code == status
    reason(answer)


async def test_the_last_of_equal_names_counts_everywhere_alike(client: httpx.AsyncClient) -> None:
    """Who looks at requests on the way and who runs them must not read two."""
    twice = b'{"query": "mutation { nope }", "query": "{ __typename }"}'
    answer = await client.post("/graphql", content=twice, headers=JSON)
    assert answer.json()["data"] == {"__typename": "Query"}
    asked = await client.get("/graphql", params=[("query", "mutation { nope }"), ("query", "{ __typename }")])
    assert asked.json()["data"] == {"__typename": "Query"}


@pytest.mark.parametrize(
    "named",
    ["../../etc/passwd", "..%2f..%2fetc%2fpasswd", "sha256:../../x", "/etc/passwd", "a" * 5_000, "\x00", "__proto__"],
)
async def test_names_of_documents_are_no_paths(client: httpx.AsyncClient, named: str) -> None:
    for parameters in ({"documentId": named}, {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": named}}}):
        answer = await client.post("/graphql", json=parameters, headers=MODERN)
        assert answer.status_code in {200, 400}
        assert reason(answer) in {"PERSISTED_QUERY_NOT_FOUND", "PERSISTED_DOCUMENT_NOT_FOUND", "BAD_REQUEST"}


@pytest.mark.parametrize("node_id", ["../../x", "bWVkaWE6Li4vLi4=", "$where", "0" * 10_000, "\x00", "%00", "{$gt:''}"])
async def test_ids_are_no_paths_and_no_queries(client: httpx.AsyncClient, node_id: str) -> None:
    query = (
        "query($id: ID!) { media(id: $id) { id } node(id: $id) { id } upload(id: $id) { id } deletion(id: $id) { id } }"
    )
    answer = await client.post("/graphql", content=body_of(query, {"id": node_id}), headers=JSON)
    assert set((answer.json().get("data") or {"": None}).values()) == {None}
    assert not TELLTALE.search(answer.content)


async def exchanged(api: Api, request: bytes) -> bytes:
    """What comes back for raw bytes, up to the first 64 kB."""
    reader, writer = await asyncio.open_connection(*api.address)
    writer.write(request)
    try:
        async with asyncio.timeout(5):
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head.lower())
            return head + await reader.readexactly(int(length[1]) if length else 0)
    except asyncio.IncompleteReadError as left:
        return left.partial
    finally:
        writer.close()


HOST = b"Host: api.example\r\n"
QUERY = b"/graphql?query=%7B__typename%7D"
GET = b"GET " + QUERY + b" HTTP/1.1\r\n"
POSTED = b"POST /graphql HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"
MALFORMED: dict[str, bytes] = {
    "two lengths": POSTED + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcd",
    "length and chunks": POSTED + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "an unknown coding": POSTED + b"Transfer-Encoding: xchunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    "a negative length": POSTED + b"Content-Length: -1\r\n\r\n",
    "a length in words": POSTED + b"Content-Length: four\r\n\r\nabcd",
    "a space before the colon": GET + HOST + b"X-A : b\r\n\r\n",
    "a folded header": GET + HOST + b"X-A: b\r\n c\r\n\r\n",
    "a bare CR": GET + HOST + b"X-A: b\rSet-Cookie: c=d\r\n\r\n",
    "a bare LF": b"GET " + QUERY + b" HTTP/1.1\n" + HOST.replace(b"\r", b"") + b"\n",
    "NUL": GET + HOST + b"X-A: b\x00c\r\n\r\n",
    "an injected name": GET + HOST + b"X-A(b): c\r\n\r\n",
    "no ASCII": b"GET /gr\xff HTTP/1.1\r\n" + HOST + b"\r\n",
    "CONNECT": b"CONNECT internal:27017 HTTP/1.1\r\n" + HOST + b"\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a path with a newline": b"GET /graphql\r\n/x HTTP/1.1\r\n" + HOST + b"\r\n",
}


@pytest.mark.parametrize("what", MALFORMED)
async def test_what_servers_read_in_different_ways_is_refused(api: Api, what: str) -> None:
    """The stuff that request smuggling and response splitting are made of."""
    answer = await exchanged(api, MALFORMED[what])
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"set-cookie" not in answer.lower()
    assert not TELLTALE.search(answer)


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "TRACE", "TRACK", "PUT", "DELETE", "PATCH", "PROPFIND"])
async def test_other_methods_are_refused_and_nothing_is_sent_back(client: httpx.AsyncClient, method: str) -> None:
    answer = await client.request(method, "/graphql", content=body_of(MUTATION), headers=JSON)
    assert answer.status_code in {400, 405}
    assert b"Bearer" not in answer.content


@pytest.mark.parametrize("header", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"])
async def test_a_get_changes_nothing_whatever_it_calls_itself(client: httpx.AsyncClient, header: str) -> None:
    for accept in ("*/*", "text/event-stream"):
        answer = await client.get("/graphql", params={"query": MUTATION}, headers={header: "POST", "Accept": accept})
        assert answer.status_code == 405 or "METHOD_NOT_ALLOWED" in answer.text


async def test_where_a_request_says_it_goes_changes_nothing(api: Api) -> None:
    """No answer, header or address is made from what a client calls this host."""
    for head in (
        b"GET http://evil.example" + QUERY + b" HTTP/1.1\r\n" + HOST,
        GET + b"Host: evil.example\r\n",
        b"GET "
        + QUERY
        + b" HTTP/1.1\r\n"
        + HOST
        + b"X-Forwarded-Host: evil.example\r\nForwarded: host=evil.example\r\n",
        GET + HOST + b"X-Original-URL: /metrics\r\nX-Rewrite-URL: /metrics\r\n",
    ):
        answer = await exchanged(api, head + b"\r\n")
        assert answer.endswith(b'{"data":{"__typename":"Query"},"extensions":{"cost":{"requested":1,"limit":20000}}}')
        assert b"evil.example" not in answer
        assert b"server:" not in answer.lower()


ELSEWHERE = """
/../../etc/passwd /%2e%2e/%2e%2e/etc/passwd /graphql/..%2fmetrics //evil.example/ /.git/config /.env
/demo /graphiql /docs /debug
"""


@pytest.mark.parametrize("path", ELSEWHERE.split())
async def test_there_is_nothing_else(api: Api, path: str) -> None:
    answer = await exchanged(api, b"GET " + path.encode() + b" HTTP/1.1\r\n" + HOST + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert b"location:" not in answer.lower()


@pytest.mark.parametrize("origin", ["https://evil.example", "null", ORIGIN + ".evil.example", "http://127.0.0.1:1"])
async def test_pages_of_other_origins_are_told_nothing(api: Api, client: httpx.AsyncClient, origin: str) -> None:
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    preflight = await client.options("/graphql", headers=asked)
    assert preflight.status_code == 400
    for headers in (JSON, STREAM):
        answer = await client.post("/graphql", content=body_of("{ __typename }"), headers={**headers, "Origin": origin})
        assert "access-control-allow-origin" not in answer.headers
    assert "access-control-allow-origin" not in preflight.headers
    with pytest.raises(InvalidStatus, match="403"):
        async with connect(api.socket_url, origin=origin, proxy=None):  # type: ignore[arg-type]
            pass


@pytest.mark.parametrize("protocols", [["graphql-ws"], ["subscriptions-transport-ws"], None])
async def test_sockets_of_older_protocols_are_refused(api: Api, protocols: Any) -> None:
    async with connect(api.socket_url, subprotocols=protocols, proxy=None) as socket:
        with pytest.raises(Exception, match="4406"):
            await socket.recv()


async def test_every_answer_keeps_to_its_place(client: httpx.AsyncClient) -> None:
    for answer in (
        await client.post("/graphql", content=body_of("{ viewer { id } }"), headers=JSON),
        await client.post("/graphql", content=b"", headers=JSON),
        await client.get("/nowhere"),
        await client.get("/healthz"),
    ):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert "server" not in answer.headers
    signed_in = await client.post("/graphql", content=body_of("{ viewer { id } }"), headers=JSON)
    assert signed_in.headers["cache-control"] == "no-store"
