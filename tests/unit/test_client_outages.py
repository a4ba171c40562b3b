"""What the Python client tells of an API or a storage that does not answer."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import httpx
import pytest

from service.client import ClientError, MediaClient, Outage, UploadQueue
from service.client import queue_run as queue_run_module
from service.commands.outages import telling_outages
from service.commands.printing import problem_console
from tests.client_stand import UploadStand, busy, times
from tests.queue_stand import LARGE, enqueued, written

API = "The API at https://api.example/graphql"


async def told_of(client: MediaClient) -> list[Outage]:
    outages: list[Outage] = []
    client.on_outage = outages.append
    async with client:
        with pytest.raises(ClientError):
            await client.upload_policy("COMMUNITY")
    return outages


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1:1/graphql", "does not answer (connection refused, nothing listens there)"),
        ("http://localhost:1/graphql", "does not answer (connection refused, nothing listens there)"),
    ],
)
async def test_an_outage_is_told_once_in_words(url: str, reason: str) -> None:
    assert await told_of(MediaClient(url, delays_s=(0, 0))) == [Outage(f"The API at {url}", reason)]


async def test_a_name_that_is_not_known_is_told_as_that(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unknown(*given: object, **named: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
    outages = await told_of(MediaClient("http://nowhere.example", delays_s=(0,)))
    assert outages == [
        Outage("The API at http://nowhere.example/graphql", "does not answer (Name or service not known)")
    ]


@pytest.mark.parametrize("name", ["RATE_LIMITED", "TYPE_NOT_ALLOWED", "UNAUTHENTICATED"])
async def test_an_answer_is_no_outage(name: str) -> None:
    stand = UploadStand()
    denial = {"errors": [{"message": "No.", "extensions": {"code": name, "retryable": name == "RATE_LIMITED"}}]}
    stand.fault = lambda seen: httpx.Response(200, json=denial)
    assert await told_of(stand.client()) == []


async def test_a_service_that_cannot_just_now_is_an_outage() -> None:
    stand = UploadStand()
    extensions = {"code": "TEMPORARILY_UNAVAILABLE", "retryable": True}
    error = {"message": "Storage does not answer.", "extensions": extensions}
    stand.fault = lambda seen: httpx.Response(503, json={"errors": [error]})
    reason = "answers TEMPORARILY_UNAVAILABLE (Storage does not answer)"
    assert await told_of(stand.client()) == [Outage(API, reason)]


async def test_each_change_is_one_line_and_no_signature_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(queue_run_module, "PAUSES_S", (0.0,))
    stand, file = UploadStand(), tmp_path / "queue.db"
    answers = iter([httpx.ConnectError("no network")] * 4 + [busy()] * 3)
    storage = times(4, lambda: httpx.ReadTimeout(""))
    stand.fault = lambda seen: next(answers, None) if seen.name == "createUploads" else storage(seen)
    await enqueued(file, *written(tmp_path, LARGE))
    # Parts one at a time: nothing succeeds in between.
    async with UploadQueue(file) as queue, stand.client(network="TWO_G") as client:
        client.on_outage = telling_outages(problem_console())
        [result] = await queue.run(client)
    assert result.error is None
    assert capsys.readouterr().err.splitlines() == [
        f"{API} does not answer (no network). Trying again.",
        f"{API} answers with status 503. Trying again.",
        f"{API} answers again.",
        "Storage at https://storage.example does not answer (no answer in time). Trying again.",
        "Storage at https://storage.example answers again.",
    ]
