"""Persisted queries with the clients that invented them: Apollo Client and urql, against a listening server."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from service.settings import HttpSettings
from service.transport.server import GracefulServer
from tests.graphql_app import GraphQLApp

CLIENTS = Path(__file__).parents[1] / "persisted-clients"
DIRECTIONS = f"needs Node.js 20 or later and its packages: run `npm ci` in {CLIENTS.relative_to(Path.cwd())}"
FLAVOURS = ("apolloPost", "apolloGet", "urqlPost", "urqlGet")


@pytest.fixture
def node() -> str:
    executable = shutil.which("node")
    if executable is None or not (CLIENTS / "node_modules" / "@apollo" / "client").is_dir():
        if os.environ.get("CI"):
            pytest.fail(DIRECTIONS)
        pytest.skip(DIRECTIONS)
    return executable


@contextmanager
def serving(settings: HttpSettings) -> Iterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    app = GraphQLApp(settings)
    server = GracefulServer(app.asgi, app.settings, app.sockets.drain)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/graphql"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def ask(node: str, url: str) -> dict[str, Any]:
    run = subprocess.run([node, CLIENTS / "run.mjs", url, "Q"], check=False, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    found: dict[str, Any] = json.loads(run.stdout)
    assert tuple(found) == FLAVOURS
    for flavour in FLAVOURS:
        who = "Apollo" if flavour.startswith("apollo") else "urql"
        assert found[flavour]["answers"] == [f"hello {who}"] * 2
    return found


def test_the_text_is_sent_once_and_then_only_its_hash(node: str) -> None:
    with serving(HttpSettings()) as url:
        found = ask(node, url)
    for flavour in FLAVOURS:
        requests = found[flavour]["requests"]
        assert [(request["hash"], request["text"]) for request in requests] == [
            (True, False),
            (True, True),
            (True, False),
        ]
        assert requests[-1]["method"] == ("GET" if flavour.endswith("Get") else "POST")


def test_clients_of_a_service_without_them_stop_trying(node: str) -> None:
    with serving(HttpSettings(persisted_queries=False)) as url:
        found = ask(node, url)
    for flavour in FLAVOURS:
        sent = [(request["hash"], request["text"]) for request in found[flavour]["requests"]]
        assert sent == [(True, False), (False, True), (False, True)]
