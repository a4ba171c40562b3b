"""The working group's own audit of GraphQL over HTTP servers, against a listening server."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn

from tests.graphql_app import GraphQLApp

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
    server = uvicorn.Server(uvicorn.Config(GraphQLApp().asgi, log_config=None, access_log=False, lifespan="off"))
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
