"""The working group's own audit of GraphQL over HTTP servers, against a listening server."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.transport.server import GracefulServer
from tests.graphql_app import GraphQLApp
from tests.integration.conftest import RunningService

AUDIT = Path(__file__).parents[1] / "audit"
DIRECTIONS = f"needs Node.js 18 or later and its two packages: run `npm ci` in {AUDIT.relative_to(Path.cwd())}"


@pytest.fixture
def node() -> str:
    executable = shutil.which("node")
    if executable is None or not (AUDIT / "node_modules" / "graphql-http").is_dir():
        if os.environ.get("CI"):
            pytest.fail(DIRECTIONS)
        pytest.skip(DIRECTIONS)
    return executable


@pytest.fixture
def address() -> Iterator[str]:
    """A real server on a free loopback port, in a thread of its own."""
    listener = socket.create_server(("127.0.0.1", 0))
    app = GraphQLApp()
    server = GracefulServer(app.asgi, app.settings, app.sockets.drain)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/graphql"
    server.should_exit = True
    thread.join()
    listener.close()


def test_every_audit_of_the_working_group_passes(node: str, address: str) -> None:
    run = subprocess.run([node, AUDIT / "run.mjs", address], check=False, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == {"total": 61, "passed": 61, "failed": 0}


async def test_the_service_itself_passes(node: str, service: RunningService) -> None:
    run = await asyncio.create_subprocess_exec(
        node, AUDIT / "run.mjs", f"{service.url}/graphql", stdout=asyncio.subprocess.PIPE
    )
    output, _ = await run.communicate()
    assert json.loads(output) == {"total": 61, "passed": 61, "failed": 0}


def test_a_body_over_the_limit_is_told_so_while_it_is_sent(address: str) -> None:
    for _ in range(5):
        response = httpx.post(address, content=b" " * 5_000_000, headers={"content-type": "application/json"})
        assert response.status_code == 413


def test_what_is_not_http_does_not_disturb_others(address: str) -> None:
    host, port = address.removeprefix("http://").removesuffix("/graphql").split(":")
    for raw in (
        b"\x00" * 100,
        b"GET /graphql HTTP/1.1\r\n\r\n",
        b"POST /graphql HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    ):
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            connection.sendall(raw)
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(65_536)
        assert not answer or answer.split(b" ")[1].startswith(b"4")
    assert httpx.post(address, json={"query": "{ hello }"}).status_code == 200
