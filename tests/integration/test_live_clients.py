"""Subscriptions as the libraries that people use follow them: graphql-ws, graphql-sse and urql."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.graphql_app import GraphQLApp, listening

CLIENTS = Path(__file__).parents[1] / "live-clients"
DIRECTIONS = f"needs Node.js 20 or later: run `npm ci` in {CLIENTS.relative_to(CLIENTS.parents[1])}"
COUNTED = [{"data": {"count": number}} for number in range(3)]


@pytest.fixture(scope="module")
async def told() -> dict[str, Any]:
    """What each library was told by a real server."""
    node = shutil.which("node")
    if node is None or not (CLIENTS / "node_modules" / "graphql-sse").is_dir():
        if os.environ.get("CI"):
            pytest.fail(DIRECTIONS)
        pytest.skip(DIRECTIONS)
    async with listening() as listener:
        listener.serve(GraphQLApp())
        run = await asyncio.create_subprocess_exec(
            node, CLIENTS / "run.mjs", f"http://{listener.address}/graphql", stdout=asyncio.subprocess.PIPE
        )
        output, _ = await asyncio.wait_for(run.communicate(), 30)
    parsed: dict[str, Any] = json.loads(output)
    return parsed


@pytest.mark.parametrize("library", ["graphql-ws", "graphql-sse"])
def test_operations_arrive_whole_and_end(told: dict[str, Any], library: str) -> None:
    heard = told[library]
    assert heard["subscription"] == COUNTED
    assert [each["data"] for each in heard["query"]] == [{"hello": "hello world"}]
    codes = [error["extensions"]["code"] for error in (*heard["refused"], *heard["invalid"])]
    assert codes == ["NOT_FOUND", "GRAPHQL_VALIDATION_FAILED"]


def test_urql_streams_subscriptions_and_nothing_else(told: dict[str, Any]) -> None:
    heard = told["urql"]
    assert [each for each in heard["subscription"] if each.get("data")][:3] == COUNTED
    assert heard["query"] == [{"data": {"hello": "hello world"}}]
    stream, plain = heard["types"]
    assert stream.startswith("text/event-stream")
    assert "json" in plain
