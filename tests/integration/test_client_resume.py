"""The Python client cut off in the middle of large files: nothing that storage has confirmed is sent again."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import httpx
import orjson
import pytest

from service.assembly import assemble
from service.client import (
    MediaClient,
    Progress,
    Unreachable,
    UploadQueue,
    UploadSession,
    inspect_file,
    queue_run,
    see_ready,
)
from service.settings import Settings
from tests.integration.conftest import RunningService, served
from tests.integration.mutation_scenarios import uuid_of
from tests.photos import large_png, small_photo
from tests.servers import StorageServer
from tests.storage_relay import StorageRelay

REPOSITORY = Path(__file__).parents[2]
# Three parts of 15 MiB, as asked for on a good network, the last one short.
LARGE, PARTS = 33_000_000, (1, 2, 3)
QUICK = (0.01, 0.02)


@pytest.fixture(scope="module")
async def relay(seaweed: StorageServer, ports: Iterator[int]) -> AsyncIterator[tuple[StorageRelay, str]]:
    between = StorageRelay(seaweed.endpoint)
    async with served(between.app, next(ports)) as url:
        yield between, url
        await between.close()


@pytest.fixture(scope="module")
def settings(settings: Settings, relay: tuple[StorageRelay, str]) -> Settings:
    """Clients are sent to the relay."""
    storage = settings.storage.model_copy(update={"public_endpoint": relay[1]})
    return settings.model_copy(update={"storage": storage})


@pytest.fixture
def storage(relay: tuple[StorageRelay, str]) -> Iterator[StorageRelay]:
    """What clients take for storage, with nothing counted yet."""
    relay[0].confirmed.clear()
    yield relay[0]
    relay[0].go_on()


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "large.png"
    path.write_bytes(large_png(LARGE))
    return path


def by_part(storage: StorageRelay) -> dict[int, int]:
    """How often storage has confirmed each part, 0 standing for whole objects."""
    counted: dict[int, int] = {}
    for (_, number), count in storage.confirmed.items():
        counted[number] = counted.get(number, 0) + count
    return counted


async def command(service: RunningService, subject: str, *words: str | Path) -> Process:
    """`upload` as a process of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MEDIA_", "DEV_"))}
    told = {"MEDIA_URL": service.url, "MEDIA_TOKEN": service.client(subject).token or "", "DEV_FOLDER": "/nonexistent"}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "service", "upload", *map(str, words)),
        cwd=REPOSITORY,
        env={**kept, **told},
        stdout=PIPE,
        stderr=PIPE,
    )


async def ended(process: Process) -> tuple[int | None, str, str]:
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert b"Traceback" not in err, err.decode()
    return process.returncode, out.decode(), err.decode()


async def media_of(service: RunningService, subject: str) -> int:
    count: int = await service.runtime.database.media.count_documents({"owner_id": subject})
    return count


async def test_a_photo_cut_off_in_its_second_part_goes_on_there(
    service: RunningService, storage: StorageRelay, photo: Path
) -> None:
    storage.stop_after(1)
    seen: list[Progress] = []
    async with service.working(), MediaClient(service.url, service.client("nora").token, delays_s=QUICK) as client:

        async def upload() -> None:
            [result] = await client.upload([photo], purpose="COMMUNITY", idempotency_key="k", on_progress=seen.append)
            assert result.error is None
            assert result.media is not None
            assert result.media.status == "READY"

        cut = asyncio.create_task(upload())
        await storage.stopped.wait()
        await storage.arrivals(1)
        cut.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cut
        assert sum(by_part(storage).values()) == 1
        storage.go_on()
        await upload()
    assert by_part(storage) == dict.fromkeys(PARTS, 1)
    assert max(progress.bytes_sent for progress in seen) == photo.stat().st_size
    assert await media_of(service, "nora") == 1


async def test_storage_that_breaks_off_costs_the_missing_parts_only(
    service: RunningService, storage: StorageRelay, photo: Path
) -> None:
    storage.stop_after(2)
    async with service.working(), MediaClient(service.url, service.client("olga").token, delays_s=()) as client:
        uploading = asyncio.create_task(client.upload([photo], purpose="COMMUNITY", idempotency_key="k"))
        await storage.stopped.wait()
        storage.go_on()
        [failed] = await uploading
        assert isinstance(failed.error, Unreachable)
        [result] = await client.upload([photo], purpose="COMMUNITY", idempotency_key="k")
        assert (result.error, result.media_id) == (None, failed.media_id)
    assert by_part(storage) == dict.fromkeys(PARTS, 1)


class DyingApi(httpx.AsyncBaseTransport):
    """The network to an API that dies over the first `operation`, after `meanwhile` has come to pass there.

    If it `answers`, it is another process that has done so, and the request goes on to the API as it is.
    """

    def __init__(self, operation: str, meanwhile: Callable[[], Awaitable[object]], *, answers: bool = False) -> None:
        self._network = httpx.AsyncHTTPTransport()
        self._operation = operation.encode()
        self._meanwhile = meanwhile
        self._answers = answers
        self.died = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST" and self._operation in await request.aread() and not self.died:
            self.died += 1
            await self._meanwhile()
            if not self._answers:
                raise httpx.RemoteProtocolError("Server disconnected without sending a response.")
        return await self._network.handle_async_request(request)

    async def aclose(self) -> None:
        await self._network.aclose()


async def put_together(service: RunningService, subject: str) -> None:
    """What the API does before it has said so anywhere."""
    [upload] = await service.runtime.database.uploads.find({"owner_id": subject}).to_list(None)
    await assemble(upload, None, stores=service.runtime.stores, object_store=service.runtime.object_store)
    media = await service.runtime.database.media.find_one({"owner_id": subject})
    assert media is not None
    assert media["status"] == "UPLOADING"


async def test_a_queue_goes_on_after_the_api_died_putting_parts_together(
    service: RunningService,
    storage: StorageRelay,
    photo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(queue_run, "PAUSES_S", (0.01,))
    network = DyingApi("completeUpload", lambda: put_together(service, "quinn"))
    token = service.client("quinn").token
    async with (
        service.working(),
        UploadQueue(tmp_path / "uploads.db") as queue,
        MediaClient(service.url, token, delays_s=(), transport=network) as client,
    ):
        await queue.enqueue([photo], purpose="COMMUNITY")
        sent = await queue.run(client)
        [result] = await see_ready(client, sent)
        assert await queue.status() == []
    assert result.error is None
    assert result.media is not None
    assert result.media.status == "READY"
    assert network.died == 1
    assert by_part(storage) == dict.fromkeys(PARTS, 1)
    assert await media_of(service, "quinn") == 1


async def test_an_upload_that_its_twin_has_brought_to_an_object_is_completed(
    service: RunningService, storage: StorageRelay, photo: Path
) -> None:
    token = service.client("rosa").token

    async def finish_first() -> None:
        async with MediaClient(service.url, token, delays_s=QUICK) as twin:
            file = await inspect_file(photo)
            [session] = await twin.create_uploads([file], purpose="COMMUNITY", idempotency_key="k-0")
            assert isinstance(session, UploadSession)
            await twin.send(session, file)
        await put_together(service, "rosa")

    network = DyingApi("signUploadParts", finish_first, answers=True)
    async with service.working(), MediaClient(service.url, token, delays_s=QUICK, transport=network) as client:
        [result] = await client.upload([photo], purpose="COMMUNITY", idempotency_key="k")
    assert result.error is None
    assert result.media is not None
    assert result.media.status == "READY"
    assert network.died == 1
    assert by_part(storage) == dict.fromkeys(PARTS, 1)
    assert await media_of(service, "rosa") == 1


async def test_a_killed_queue_is_drained_by_the_next_command(
    service: RunningService, storage: StorageRelay, photo: Path, tmp_path: Path
) -> None:
    small, queue = tmp_path / "small.jpg", tmp_path / "uploads.db"
    small.write_bytes(small_photo(91))
    storage.stop_after(2)
    killed = await command(service, "paula", photo, small, "--queue", queue)
    await storage.stopped.wait()
    await storage.arrivals(2)
    killed.send_signal(signal.SIGKILL)
    await killed.communicate()
    storage.go_on()
    async with service.working():
        code, out, err = await ended(await command(service, "paula", "--queue", queue, "--json"))
        assert code == 0, err
        lines = [orjson.loads(line) for line in out.splitlines()]
        # The small one may have been through already.
        assert (str(photo), "READY") in [(line["file"], line["status"]) for line in lines]
        assert by_part(storage) == {0: 1, **dict.fromkeys(PARTS, 1)}
        assert await media_of(service, "paula") == 2

        code, out, err = await ended(await command(service, "paula", photo, small, "--queue", queue))
    assert code == 0, err
    assert out.count("already yours, nothing sent") == 2
    assert by_part(storage) == {0: 1, **dict.fromkeys(PARTS, 1)}
    assert await media_of(service, "paula") == 2


@pytest.mark.parametrize("queued", [True, False], ids=["with a queue", "without"])
async def test_ctrl_c_says_how_to_go_on(
    service: RunningService, storage: StorageRelay, tmp_path: Path, queued: bool
) -> None:
    photo, queue = tmp_path / "photo.jpg", tmp_path / "my uploads.db"
    photo.write_bytes(small_photo(92))
    storage.stop_after(0)
    process = await command(service, f"ctrl-{queued}", photo, *(("--queue", queue) if queued else ()))
    await storage.stopped.wait()
    process.send_signal(signal.SIGINT)
    code, out, err = await ended(process)
    assert (code, out) == (130, "")
    storage.go_on()
    assert not storage.confirmed
    if not queued:
        assert "The same command goes on" in err
        assert "--queue FILE" in err
        return
    assert f"to go on: python -m service upload --queue '{queue}'" in err
    async with service.working():
        code, out, err = await ended(await command(service, f"ctrl-{queued}", "--queue", queue))
    assert code == 0, err
    assert f"{photo}  READY" in out
    assert await media_of(service, f"ctrl-{queued}") == 1


async def test_the_same_command_goes_on_after_ctrl_c(
    service: RunningService, storage: StorageRelay, photo: Path
) -> None:
    storage.stop_after(2)
    process = await command(service, "again", photo)
    await storage.stopped.wait()
    await storage.arrivals(2)
    process.send_signal(signal.SIGINT)
    code, out, err = await ended(process)
    assert (code, out) == (130, "")
    assert "of a large one that was on its way only the missing parts" in err
    storage.go_on()
    async with service.working():
        code, out, err = await ended(await command(service, "again", photo))
    assert code == 0, err
    assert f"{photo}  READY" in out
    assert by_part(storage) == dict.fromkeys(PARTS, 1)
    assert await media_of(service, "again") == 1


async def test_a_queue_lets_go_of_what_can_never_be_uploaded(
    service: RunningService, storage: StorageRelay, tmp_path: Path
) -> None:
    text, empty, queue = tmp_path / "note.jpg", tmp_path / "empty.jpg", tmp_path / "uploads.db"
    text.write_text("only words")
    empty.touch()
    code, out, err = await ended(await command(service, "rita", text, empty, "--queue", queue))
    assert (code, out) == (1, "")
    assert f"Not uploaded: {text}\n  TYPE_NOT_ALLOWED" in err
    assert f"Not uploaded: {empty}\n  UNUSABLE_FILE" in err
    assert f"Taken out of the queue, no later try would do better: {text}, {empty}\n" in err
    assert "stay in the queue" not in err
    assert await ended(await command(service, "rita", "--queue", queue)) == (0, "Nothing was waiting.\n", "")
    code, out, err = await ended(await command(service, "rita", "--queue", tmp_path / "other.db"))
    assert code == 1
    assert "There is no queue" in err
    assert not (tmp_path / "other.db").exists()
    assert not storage.confirmed


async def test_an_address_where_nothing_listens_is_named_at_once(service: RunningService, tmp_path: Path) -> None:
    photo, queue = tmp_path / "photo.jpg", tmp_path / "uploads.db"
    photo.write_bytes(small_photo(93))
    process = await command(service, "nobody", photo, "--queue", queue, "--url", "http://127.0.0.1:1/graphql")
    assert process.stderr is not None
    line = (await asyncio.wait_for(process.stderr.readline(), 30)).decode()
    assert line == (
        "The API at http://127.0.0.1:1/graphql does not answer (connection refused, nothing listens there). "
        "Trying again until it does; Ctrl-C ends that, the queue is kept.\n"
    )
    process.send_signal(signal.SIGINT)
    code, out, err = await ended(process)
    assert (code, out) == (130, "")
    assert err.startswith("Interrupted. What was sent is kept")


async def test_what_an_interrupted_run_had_sent_is_reported_by_the_next(
    service: RunningService, storage: StorageRelay, tmp_path: Path
) -> None:
    sent, gone, waiting = (tmp_path / f"{name}.jpg" for name in ("sent", "gone", "waiting"))
    for seed, photo in enumerate((sent, gone, waiting), start=94):
        photo.write_bytes(small_photo(seed))
    queue = tmp_path / "uploads.db"
    # Nobody processes anything: this run waits after its uploads.
    process = await command(service, "erin", sent, gone, "--queue", queue)
    async with UploadQueue(queue) as rows:
        while [each.status for each in await rows.status()] != ["SENT", "SENT"]:
            assert process.returncode is None
            await asyncio.sleep(0.05)
        ids = [each.media_id for each in await rows.status()]
    process.send_signal(signal.SIGINT)
    assert (await ended(process))[0] == 130
    await service.runtime.database.media.delete_one({"_id": uuid_of(ids[1] or "")})
    async with service.working():
        code, out, err = await ended(await command(service, "erin", waiting, "--queue", queue))
        assert f"{sent}  READY  {ids[0]}" in out
        assert f"{waiting}  READY" in out
        assert f"Uploaded, but not seen to become READY: {gone} (id {ids[1]})\n  NOT_FOUND" in err
        assert code == 1
        # Told once.
        assert await ended(await command(service, "erin", "--queue", queue)) == (0, "Nothing was waiting.\n", "")
    assert by_part(storage) == {0: 3}
