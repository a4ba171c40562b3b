"""The client's judgement: what a file is, what an answer means, when trying again may help."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from graphql import parse, validate

from resolvers.api import build_schema
from service.client import (
    ApiError,
    ClientError,
    InvalidConnection,
    LocalFile,
    MediaClient,
    StatusUpdate,
    StorageRefused,
    Unreachable,
    UnusableFile,
    UploadResult,
    UploadSession,
    completeness,
    documents,
    inspect_file,
    see_complete,
)
from service.client import retrying as retrying_module
from service.client.connection import Connection
from service.client.local_file import CHUNK_BYTES
from service.client.retrying import DELAYS_S, MAX_WAIT_S, pause_s, retrying
from service.commands.connecting import open_client
from service.models import MediaPurpose
from service.policies import POLICIES
from tests.clips import clip, content_type_of
from tests.photos import animation, phone_heic, small_photo

DOCUMENTS = [name for name in vars(documents) if name.isupper() and not name.startswith("_")]
STACK = {"graphql": "http://127.0.0.1:1/graphql", "token": "stack-token"}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_client_asks_for_what_there_is(name: str) -> None:
    assert validate(build_schema()._schema, parse(getattr(documents, name))) == []


async def test_a_file_is_what_its_bytes_say(tmp_path: Path) -> None:
    photo = tmp_path / "holiday.txt"
    photo.write_bytes(small_photo())
    assert await inspect_file(photo) == LocalFile(
        photo, len(small_photo()), hashlib.sha256(small_photo()).hexdigest(), "image/jpeg"
    )
    text = tmp_path / "note.jpg"
    text.write_text("not a photo")
    assert (await inspect_file(text)).content_type == "text/plain"


@pytest.mark.parametrize(
    ("content_type", "made"),
    [
        ("image/heic", lambda: phone_heic(6)),
        ("image/avif", lambda: animation("AVIF")),
        ("image/webp", lambda: animation("WEBP")),
        ("image/gif", lambda: animation("GIF")),
        *((content_type_of(kind), functools.partial(clip, kind, seconds=0.2)) for kind in ("mp4", "mov", "webm")),
    ],
)
async def test_pictures_and_clips_are_known_whatever_they_are_called(
    tmp_path: Path, content_type: str, made: Callable[[], bytes]
) -> None:
    file = tmp_path / "IMG_0001.jpg"
    file.write_bytes(made())
    assert (await inspect_file(file)).content_type == content_type
    assert content_type in POLICIES[MediaPurpose.COMMUNITY].content_types


@pytest.mark.parametrize("name", ["missing", "folder", "empty", "pipe", "locked"])
async def test_what_cannot_be_uploaded_is_named_in_a_sentence(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    said = {
        "missing": "There is no file",
        "folder": "is a folder; name the photos in it.",
        "empty": "is empty.",
        "pipe": "is not a file.",
        "locked": "may not be read by this user.",
    }
    match name:
        case "folder":
            path.mkdir()
        case "empty":
            path.touch()
        case "pipe":
            os.mkfifo(path)
        case "locked":
            path.write_bytes(b"x")
            path.chmod(0)
            if os.access(path, os.R_OK):
                pytest.skip("root may read everything")
    with pytest.raises(UnusableFile) as refused:
        await inspect_file(path)
    assert said[name] in refused.value.message
    assert not refused.value.retryable


async def test_a_name_of_any_bytes_can_be_said(tmp_path: Path) -> None:
    with pytest.raises(UnusableFile) as refused:
        await inspect_file(tmp_path / os.fsdecode(b"\xff\x1b[31m.jpg"))
    assert refused.value.message.encode().decode().isprintable()


@pytest.mark.parametrize("change", ["shrink", "rewrite", "rewrite while it is read"])
async def test_a_file_that_changes_on_the_way_is_reported(tmp_path: Path, change: str) -> None:
    path = tmp_path / "photo.jpg"
    body = small_photo().ljust(CHUNK_BYTES + 1)
    path.write_bytes(body)
    file = await inspect_file(path)
    chunks = file.chunks()
    if change == "rewrite while it is read":
        await anext(chunks)
    path.write_bytes(body[:100] if change == "shrink" else body[::-1])
    with pytest.raises(UnusableFile, match="changed while it was being uploaded"):
        [chunk async for chunk in chunks]
    assert not file.is_unchanged()


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("https://media.example", "https://media.example/graphql"),
        ("https://media.example/", "https://media.example/graphql"),
        (" http://127.0.0.1:8080/graphql/ ", "http://127.0.0.1:8080/graphql"),
        ("https://media.example/api/graphql", "https://media.example/api/graphql"),
    ],
)
def test_addresses_lead_to_the_endpoint(given: str, used: str) -> None:
    assert Connection.to(given, None).url == used


def test_websockets_are_as_secure_as_the_api() -> None:
    assert Connection.to("https://media.example", None).websocket_url == "wss://media.example/graphql"
    assert Connection.to("http://localhost:1", None).websocket_url == "ws://localhost:1/graphql"


@pytest.mark.parametrize(
    ("url", "token"),
    [("media.example", None), ("ftp://x", None), ("http://", None), ("https://x", "a b"), ("https://x", "t\n\rX: y")],
)
def test_unusable_addresses_and_tokens_are_refused_at_once(url: str, token: str | None) -> None:
    with pytest.raises(InvalidConnection) as refused:
        MediaClient(url, token)
    assert token is None or token not in refused.value.message


def test_a_token_is_not_shown() -> None:
    assert "hidden" not in repr(Connection.to("https://x", "hidden"))


async def test_the_stacks_token_goes_to_the_stack_only() -> None:
    async with open_client(None, None, STACK) as to_stack, open_client("https://other", None, STACK) as to_other:
        assert to_stack._connection == Connection.to(STACK["graphql"], STACK["token"])
        assert to_other._connection.token is None


def test_without_any_address_the_ways_to_name_one_are_listed() -> None:
    with pytest.raises(InvalidConnection, match=r"make run.*--url.*MEDIA_URL"):
        open_client(None, "token", {})


def test_the_delays_are_those_of_the_documentation() -> None:
    assert DELAYS_S == (1, 2, 4, 8, 16)
    assert pause_s(Unreachable("busy", retry_after_s=5), 2) == 5
    assert pause_s(Unreachable("busy", retry_after_s=5), 8) == 8
    assert pause_s(Unreachable("busy", retry_after_s=86_400), 8) == MAX_WAIT_S


async def test_retries_end_with_the_last_error() -> None:
    tried = []

    async def fail() -> None:
        tried.append(None)
        raise Unreachable("down")

    with pytest.raises(Unreachable):
        await retrying(fail, [0, 0])
    assert len(tried) == 3


async def test_pauses_are_those_delays_and_up_to_a_quarter_more(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def note(seconds: float) -> None:
        slept.append(seconds)

    async def fail() -> None:
        raise Unreachable("down")

    monkeypatch.setattr(asyncio, "sleep", note)
    for _ in range(20):
        with pytest.raises(Unreachable):
            await retrying(fail, DELAYS_S)
    assert all(delay <= pause <= delay * 1.25 for pause, delay in zip(slept, DELAYS_S * 20, strict=True))
    # Clients that one outage has stopped do not come back in step.
    assert len(set(slept)) > len(DELAYS_S)


def answering(*answers: httpx.Response) -> tuple[MediaClient, list[httpx.Request]]:
    """A client that gets `answers` in turn, and what it asked."""
    requests: list[httpx.Request] = []

    async def answer(request: httpx.Request) -> httpx.Response:
        await request.aread()
        requests.append(request)
        return answers[len(requests) - 1]

    transport = httpx.MockTransport(answer)
    return MediaClient("https://api.example", "the-token", delays_s=[0, 0], transport=transport), requests


def refused(status: int, code: str, **extensions: Any) -> httpx.Response:
    return httpx.Response(status, json={"errors": [{"message": "No.", "extensions": {"code": code, **extensions}}]})


@pytest.mark.parametrize(
    ("response", "kind", "code", "retryable"),
    [
        (refused(401, "UNAUTHENTICATED"), ApiError, "UNAUTHENTICATED", False),
        (refused(200, "INTERNAL"), ApiError, "INTERNAL", False),
        (refused(429, "RATE_LIMITED"), ApiError, "RATE_LIMITED", True),
        (refused(200, "TEMPORARILY_UNAVAILABLE", retryable=True), ApiError, "TEMPORARILY_UNAVAILABLE", True),
        (httpx.Response(502, text="<h1>Bad gateway</h1>"), Unreachable, "UNREACHABLE", True),
        (httpx.Response(404, text="<h1>Not here</h1>"), ApiError, "NOT_GRAPHQL", False),
        (httpx.Response(200, text="[1, 2"), ApiError, "NOT_GRAPHQL", False),
        (httpx.Response(200, json=[1]), ApiError, "NOT_GRAPHQL", False),
        (httpx.Response(200, json={"errors": "odd"}), ApiError, "GRAPHQL_ERROR", False),
        (httpx.Response(302, headers={"Location": "https://evil.example"}), ApiError, "NOT_GRAPHQL", False),
    ],
)
async def test_answers_become_typed_errors(
    response: httpx.Response, kind: type[ClientError], code: str, retryable: bool
) -> None:
    client, requests = answering(response, response, response)
    async with client:
        with pytest.raises(kind) as raised:
            await client.feed(purpose="COMMUNITY")
    assert (raised.value.code, raised.value.retryable) == (code, retryable)
    assert "the-token" not in raised.value.message
    assert len(requests) == (3 if retryable else 1)
    assert {request.url.host for request in requests} == {"api.example"}


async def test_a_client_that_asks_too_much_waits_as_long_as_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(retrying_module.asyncio, "sleep", sleep)
    page = {"data": {"feed": {"nodes": [], "pageInfo": {"hasNextPage": False, "endCursor": None}}}}
    told = refused(429, "RATE_LIMITED", retryable=True, retryAfterMs=7_000)
    client, _ = answering(told, httpx.Response(200, json=page))
    async with client:
        await client.feed(purpose="COMMUNITY")
    [waited] = slept
    assert 7 <= waited <= 7 * 1.25


async def test_a_passing_failure_is_not_noticed() -> None:
    page = {"data": {"feed": {"nodes": [], "pageInfo": {"hasNextPage": False, "endCursor": None}}}}
    client, requests = answering(httpx.Response(503), refused(503, "X"), httpx.Response(200, json=page))
    async with client:
        assert (await client.feed(purpose="COMMUNITY")).media == ()
    assert len(requests) == 3


SESSION = UploadSession.model_validate(
    {
        "id": "upload",
        "media": {"id": "media"},
        "target": {
            "method": "PUT",
            "url": "https://storage.example/key?X-Amz-Signature=secret",
            "headers": [{"name": "If-None-Match", "value": "*"}, {"name": "Content-Type", "value": "image/jpeg"}],
        },
    }
)


def followed(*complete: str) -> httpx.Response:
    nodes = [{"id": f"m{at}", "renditionsComplete": each == "all"} for at, each in enumerate(complete)]
    return httpx.Response(200, json={"data": {"nodes": nodes}})


def ready(media_id: str) -> UploadResult:
    update = {"status": "READY", "sequence": 4, "cursor": "c", "media": {"id": media_id}}
    return UploadResult(Path(media_id), media_id, StatusUpdate.model_validate(update), is_sent=True)


@pytest.mark.parametrize(
    ("last", "asked"),
    [
        (followed("all", "all"), 3),
        # Deleted by somebody meanwhile.
        (httpx.Response(200, json={"data": {"nodes": [None, None]}}), 3),
        # The uploads have succeeded all the same.
        (refused(401, "UNAUTHENTICATED"), 3),
    ],
)
async def test_whoever_wants_all_renditions_asks_until_they_are_there(
    monkeypatch: pytest.MonkeyPatch, last: httpx.Response, asked: int
) -> None:
    monkeypatch.setattr(completeness, "FIRST_PAUSE_S", 0.001)
    client, requests = answering(followed("some", "some"), followed("some", "all"), last)
    failed = UploadResult(Path("m2"), error=UnusableFile("It is empty."))
    async with client:
        results = await see_complete(client, [ready("m0"), failed, ready("m1"), ready("m0")])
    complete = [result.media.renditions_complete if result.media else None for result in results]
    assert complete == [last.json().get("data") == followed("all", "all").json()["data"], None, True, complete[0]]
    assert len(requests) == asked
    assert [result.error for result in results] == [None, failed.error, None, None]


async def test_whoever_loses_patience_gets_what_there_is() -> None:
    client, requests = answering(followed("some"))
    async with client:
        [result] = await see_complete(client, [ready("m0")], patience_s=0)
    assert (result.error, result.media and result.media.renditions_complete) == (None, False)
    assert len(requests) == 1


def storage_error(status: int, code: str) -> httpx.Response:
    return httpx.Response(status, text=f"<Error><Code>{code}</Code><Message>Says storage.</Message></Error>")


@pytest.fixture
async def photo(tmp_path: Path) -> LocalFile:
    path = tmp_path / "photo.jpg"
    path.write_bytes(small_photo())
    return await inspect_file(path)


async def test_storage_gets_the_bytes_and_the_signed_headers_but_no_token(photo: LocalFile) -> None:
    client, requests = answering(httpx.Response(200))
    sent: list[int] = []
    async with client:
        await client.send(SESSION, photo, on_bytes=sent.append)
    [request] = requests
    assert request.content == small_photo()
    assert request.headers["content-length"] == str(photo.byte_size)
    assert request.headers["if-none-match"] == "*"
    assert request.headers["content-type"] == "image/jpeg"
    assert "transfer-encoding" not in request.headers
    assert "authorization" not in request.headers
    assert sent == sorted(sent)
    assert sent[-1] == photo.byte_size


@pytest.mark.parametrize(
    "first",
    [
        storage_error(503, "SlowDown"),
        storage_error(409, "ConditionalRequestConflict"),
        storage_error(400, "RequestTimeout"),
    ],
)
@pytest.mark.parametrize("then", [200, 412])
async def test_a_put_is_tried_again_until_storage_has_it(photo: LocalFile, first: httpx.Response, then: int) -> None:
    client, requests = answering(first, httpx.Response(then))
    async with client:
        await client.send(SESSION, photo)
    assert [request.content for request in requests] == [small_photo()] * 2


@pytest.mark.parametrize(("status", "code"), [(403, "SignatureDoesNotMatch"), (400, "BadDigest"), (413, "HTTP_413")])
async def test_a_refused_put_is_not_tried_again(photo: LocalFile, status: int, code: str) -> None:
    answer = httpx.Response(status) if code.startswith("HTTP") else storage_error(status, code)
    client, requests = answering(answer)
    async with client:
        with pytest.raises(StorageRefused) as raised:
            await client.send(SESSION, photo)
    assert raised.value.code == code
    assert "secret" not in raised.value.message
    assert len(requests) == 1


async def test_what_is_already_up_is_not_sent(photo: LocalFile) -> None:
    client, requests = answering()
    async with client:
        await client.send(SESSION.model_copy(update={"target": None}), photo)
    assert requests == []


async def test_the_presigned_address_is_not_shown() -> None:
    assert "secret" not in repr(SESSION)


async def test_a_call_can_be_given_up() -> None:
    reached = asyncio.Event()

    async def never(request: httpx.Request) -> httpx.Response:
        reached.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with MediaClient("https://api.example", transport=httpx.MockTransport(never)) as client:
        call = asyncio.create_task(client.complete("upload"))
        await reached.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
