"""What the processes of a stack log at DEBUG, in good times and bad: nothing that opens, or tells on anybody."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from service.dev.tokens import dev_issuer, mint_token
from tests.api_client import ApiClient
from tests.e2e.running_stack import REPOSITORY, Stack
from tests.hostile import page as web_page
from tests.photos import phone_photo

pytestmark = pytest.mark.timeout(120)

E_MAIL = "jane.canary@example.org"
LATITUDE, LONGITUDE = 48.137154321, 11.576124321
SHOWN = "query($id: ID!) { media(id: $id) { location { latitude } original { url } display { url } } }"
OUR_LOGS = ("api.log", "worker.log", "edge.log")


def secrets_of(value: Any) -> Iterator[str]:
    """Every line of every text in the stack's own keys."""
    if isinstance(value, dict):
        for each in value.values():
            yield from secrets_of(each)
    elif isinstance(value, str):
        yield from (line for line in value.splitlines() if len(line) > 20 and not line.startswith("-----"))


def signatures_of(*urls: str) -> Iterator[str]:
    for url in urls:
        query = parse_qs(urlsplit(url).query)
        yield from (value for name in ("Signature", "X-Amz-Signature", "Policy") for value in query.get(name, ()))


async def goes_right(stack: Stack) -> list[str]:
    """An upload with a position in its file and beside it, shown to its owner; the signatures that were given out."""
    client, photo = stack.client(), phone_photo(400, 300)
    details = {
        "title": E_MAIL,
        "altText": E_MAIL,
        "fileName": f"{E_MAIL}.jpg",
        "tags": [E_MAIL],
        "location": {"latitude": LATITUDE, "longitude": LONGITUDE},
    }
    [outcome] = (await client.create(photo, purpose="COMMUNITY", details=details))["outcomes"]
    upload = outcome["upload"]
    assert upload is not None, outcome
    await client.put(upload, photo)
    # Sent once more, and altered.
    await client.put(upload, photo)
    altered = {**upload, "target": {**upload["target"], "url": upload["target"]["url"] + "0"}}
    assert (await client.put(altered, photo)).status_code == 403
    media_id = (await client.complete(upload["id"]))["media"]["id"]
    assert await client.wait(media_id) == {media_id: "READY"}
    shown = (await client.run(SHOWN, id=media_id))["media"]
    urls = [upload["target"]["url"], shown["original"]["url"], shown["display"]["url"]]
    async with httpx.AsyncClient() as http:
        for url in urls[1:]:
            assert (await http.get(url)).status_code == 200
            assert (await http.get(url.replace("Signature=", "Signature=x"))).status_code == 403
    await client.delete(media_id)
    return list(signatures_of(*urls))


async def goes_wrong(stack: Stack, bad: str) -> None:
    """A file that is none, requests that are none, and tokens that do not hold, wherever one can be put."""
    client = stack.client()
    failed = await client.send(web_page(), details={"title": E_MAIL})
    assert (await client.wait(failed))[failed] in {"FAILED", "QUARANTINED"}
    stranger = ApiClient(client.url, bad)
    await stranger.post("{ viewer { id } }")
    position = f'{{ media(id: "{E_MAIL}") {{ id }} nope(latitude: {LATITUDE}) }}'
    async with httpx.AsyncClient(base_url=client.url) as http:
        for header in (f"Bearer {bad}", f"Basic {bad}", bad):
            await http.post("/graphql", content=b"{", headers={"Authorization": header, "X-Request-Id": bad})
        for address in (f"/graphql?query={{viewer{{id}}}}&access_token={bad}", f"/{bad}", f"/nowhere?token={bad}"):
            await http.get(address)
        await http.post("/graphql", json={"query": position, "variables": {"location": {"latitude": LATITUDE}}})
        await http.post("/events/storage", json={"Key": E_MAIL}, headers={"Authorization": f"Bearer {bad}"})
        await http.post("/graphql", json={"query": "{ viewer { id } }"}, headers={"Origin": f"https://{E_MAIL}"})
    async with connect(
        client.url.replace("http", "ws") + "/graphql", subprotocols=[Subprotocol("graphql-transport-ws")], proxy=None
    ) as socket:
        await socket.send(json.dumps({"type": "connection_init", "payload": {"authorization": f"Bearer {bad}"}}))
        await socket.wait_closed()


async def said_by(command: str, **variables: str) -> str:
    """All that a process says that cannot start."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MEDIA_")}
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "service", command,
        cwd=REPOSITORY, env={**inherited, "MEDIA_LOG_LEVEL": "DEBUG", **variables},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await asyncio.wait_for(child.communicate(), 60)
    return said.decode()


async def test_no_line_holds_a_secret_or_a_person(stack: Stack) -> None:
    keys = json.loads((stack.folder / "keys.json").read_text())
    bad = mint_token(dev_issuer(uuid4().hex * 2), "mallory")
    uri = "mongodb://media:canary-password@127.0.0.1:1/?replicaSet=rs0&serverSelectionTimeoutMS=100"
    away = said_by(
        "worker",
        MEDIA_ENVIRONMENT="development",
        MEDIA_MONGO__URI=uri,
        MEDIA_STORAGE__SECRET_KEY="canary-storage-secret",
        MEDIA_STORAGE__ACCESS_KEY="canary",
        MEDIA_STORAGE__ENDPOINT="http://127.0.0.1:1",
    )
    signatures, _, said = await asyncio.gather(goes_right(stack), goes_wrong(stack, bad), away)
    lines = {name: (stack.folder / "logs" / name).read_text() for name in OUR_LOGS} | {"a worker that is away": said}
    # So that none of it is empty, and what went wrong was seen.
    assert "MongoDB does not answer" in said
    assert lines["worker.log"]
    assert '"status":401' in lines["api.log"]
    assert "edge.denied" in lines["edge.log"]
    tokens = [stack.urls["token"], stack.urls["moderator_token"], stack.urls["service_token"], bad]
    forbidden = [
        E_MAIL, "canary-password", "canary-storage-secret", "canary@", str(LATITUDE), str(LONGITUDE),
        # As they stand in the photo.
        "52.52", "12.34", "SN-8675309", "Jane Q. Private",
        *signatures, *tokens, *(token.rpartition(".")[2] for token in tokens), *secrets_of(keys),
    ]  # fmt: skip
    assert len(signatures) >= 3
    for name, written in lines.items():
        # Any number with two places stands in some moment.
        text = re.sub(r'"timestamp":"[^"]*"', "", written)
        for secret in forbidden:
            assert secret not in text, f"{name} holds {secret}"
        assert not re.search(r"eyJ[\w-]{8,}\.|X-Amz-Signature=(?!\[)|[?&]Signature=(?!\[)", text), name
    for line in "".join(lines[name] for name in OUR_LOGS).splitlines():
        assert {"timestamp", "level", "event"} <= json.loads(line).keys()
