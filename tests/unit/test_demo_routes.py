"""The demo's routes: who gets a session, what is served under which policy, and never outside development."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from service.auth import Authenticator
from service.dev.demo import demo_routes, graphiql_response
from service.dev.demo.assets import CLIENT, STATIC
from service.dev.tokens import dev_issuer
from service.errors import ConfigurationError
from service.settings import (
    AuthSettings,
    DeliverySettings,
    Environment,
    HttpSettings,
    IssuerSettings,
    Settings,
    StorageSettings,
)

ORIGIN = "http://127.0.0.1:8080"
ISSUER = dev_issuer("k" * 40)


def settings(*, demo: bool = True, graphiql: bool = True, issuer: IssuerSettings = ISSUER) -> Settings:
    return Settings(
        environment=Environment.DEVELOPMENT,
        storage=StorageSettings(endpoint="http://127.0.0.1:9000"),
        delivery=DeliverySettings(base_url="http://127.0.0.1:8090"),
        auth=AuthSettings(issuers=(issuer,)),
        http=HttpSettings(allowed_origins=(ORIGIN, "http://localhost:8080"), demo=demo, graphiql=graphiql),
    )


def client_of(configured: Settings, base_url: str = ORIGIN) -> httpx.AsyncClient:
    app = Starlette(routes=[*demo_routes(configured), Route("/graphql", graphiql_response(), methods=["GET"])])
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=base_url)


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(settings()) as opened:
        yield opened


async def test_our_own_page_gets_a_session_that_the_api_honours(client: httpx.AsyncClient) -> None:
    answer = await client.post("/demo/session", headers={"Origin": ORIGIN})
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    viewer = await Authenticator(settings().auth).authenticate(answer.json()["token"])
    assert viewer.id == answer.json()["subject"] == "demo"
    assert not viewer.is_moderator


@pytest.mark.parametrize(
    ("base_url", "headers"),
    [
        (ORIGIN, {}),
        (ORIGIN, {"Origin": "null"}),
        (ORIGIN, {"Origin": "http://evil.example"}),
        (ORIGIN, {"Origin": "http://localhost:8080"}),
        ("http://evil.example:8080", {"Origin": "http://evil.example:8080"}),
    ],
    ids=["a script", "a sandboxed frame", "another site", "another of our names", "a name that was rebound to us"],
)
async def test_nobody_else_gets_one(base_url: str, headers: dict[str, str]) -> None:
    async with client_of(settings(), base_url) as client:
        answer = await client.post("/demo/session", headers=headers)
        assert (await client.get("/demo/session", headers={"Origin": ORIGIN})).status_code == 404
    assert answer.status_code == 403
    assert set(answer.json()) == {"message"}


async def test_without_a_shared_secret_no_session_is_made() -> None:
    public_key = IssuerSettings(issuer="elsewhere", audience="media-api", algorithm="RS256", key="a public key")
    async with client_of(settings(issuer=public_key)) as client:
        answer = await client.post("/demo/session", headers={"Origin": ORIGIN})
    assert answer.status_code == 501
    assert "MEDIA_AUTH__ISSUERS" in answer.json()["message"]


@pytest.mark.parametrize("path", ["/", "/demo/explorer"])
async def test_pages_allow_no_inline_code_and_nothing_from_elsewhere(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert policy["frame-ancestors"] == "'none'"
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=", answer.text)
    loaded = re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="([^"]+)"', answer.text)
    assert loaded
    for address in loaded:
        assert (await client.get(address)).status_code == 200, address


async def test_the_page_may_reach_the_edge_storage_and_its_own_sockets(client: httpx.AsyncClient) -> None:
    policy = (await client.get("/")).headers["content-security-policy"]
    assert "img-src 'self' blob: http://127.0.0.1:8090;" in f"{policy};"
    assert policy.endswith("; media-src http://127.0.0.1:8090")
    sockets = "ws://127.0.0.1:8080 ws://localhost:8080"
    assert f"connect-src 'self' {sockets} http://127.0.0.1:9000;" in f"{policy};"


@pytest.mark.parametrize(
    ("suffix", "media_type"),
    [(".js", "text/javascript; charset=utf-8"), (".css", "text/css; charset=utf-8"), (".svg", "image/svg+xml")],
)
async def test_files_have_their_type_and_are_asked_for_again(
    client: httpx.AsyncClient, suffix: str, media_type: str
) -> None:
    for file in STATIC.glob(f"*{suffix}"):
        answer = await client.get(f"/demo/{file.name}")
        assert answer.content == file.read_bytes()
        assert answer.headers["content-type"] == media_type
        assert answer.headers["cache-control"] == "no-cache"
        again = await client.get(f"/demo/{file.name}", headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


async def test_the_browser_client_is_served_as_it_stands(client: httpx.AsyncClient) -> None:
    modules = sorted(CLIENT.glob("*.js"))
    assert "index.js" in {module.name for module in modules}
    for module in modules:
        answer = await client.get(f"/demo/client/{module.name}")
        assert answer.content == module.read_bytes()
        assert answer.headers["content-type"] == "text/javascript; charset=utf-8"


@pytest.mark.parametrize("path", ["index.html", "explorer.html", "../session.py", "%2e%2e/session.py", "none.js", ""])
async def test_nothing_else_is_served(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(f"{ORIGIN}/demo/{path}")).status_code == 404


async def test_each_page_is_there_only_where_it_is_turned_on() -> None:
    assert demo_routes(settings(demo=False, graphiql=False)) == []
    async with client_of(settings(demo=False)) as client:
        assert (await client.get("/")).status_code == 404
        assert (await client.get("/demo/explorer.js")).status_code == 200


def test_outside_development_there_are_no_routes_at_all() -> None:
    with pytest.raises(ConfigurationError, match="MEDIA_HTTP__DEMO"):
        demo_routes(settings().model_copy(update={"environment": Environment.PRODUCTION}))


def test_our_modules_never_hand_a_string_to_the_html_parser() -> None:
    risky = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|setAttribute\(")
    for module in [*STATIC.glob("*.js"), *CLIENT.glob("*.js")]:
        assert not risky.search(module.read_text()), module.name
        assert "http://" not in module.read_text(), module.name


async def test_graphiql_may_run_its_own_scripts_and_no_others(client: httpx.AsyncClient) -> None:
    answer = await client.get("/graphql")
    assert "GraphiQL.createFetcher" in answer.text
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert "'unsafe-inline'" not in policy["script-src"]
    [inline] = re.findall(r"<script>(.*?)</script>", answer.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in policy["script-src"]
    scripts = re.findall(r"<script\s[^>]*>", answer.text)
    assert all('integrity="sha384-' in script or 'src="/demo/' in script for script in scripts)
