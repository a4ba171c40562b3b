"""The upload queue: nothing lost, nothing sent twice, whatever ends the process and whenever."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from service.client import FileDetails, Progress, UploadQueue
from service.client import queue_run as queue_run_module
from service.client.queue_rows import QueueRows
from service.commands.upload import Order, upload_queued
from tests.client_stand import PACES, Seen, UploadStand, busy, times
from tests.queue_stand import LARGE, SMALL, drained, enqueued, left_in, written


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_run_module, "PAUSES_S", (0.0,))
    monkeypatch.setattr(queue_run_module, "POLL_S", 0.01)


@pytest.fixture
def stand() -> UploadStand:
    return UploadStand()


async def test_queued_files_are_sent_by_a_later_process(stand: UploadStand, tmp_path: Path) -> None:
    photos, file = written(tmp_path, SMALL, LARGE), tmp_path / "queue.db"
    await enqueued(
        file, *photos, visibility="PRIVATE", capture_id="walk", details=FileDetails(title="Miso", tags=("cat",))
    )
    assert [(each.path, each.status) for each in await left_in(file)] == [(photo, "QUEUED") for photo in photos]
    assert stand.seen == []
    seen: list[Progress] = []
    results = await drained(stand, file, on_progress=seen.append)
    assert [(result.path, result.error, result.is_sent) for result in results] == [(p, None, True) for p in photos]
    bodies = {f"m-{session.id}": session.body for session in stand.sessions.values()}
    assert [bodies[result.media_id or ""] for result in results] == [SMALL, LARGE]
    first = stand.asked("createUploads")[0]
    assert {given["captureId"] for given in stand.asked("createUploads")} == {"walk"}
    assert (first["visibility"], first["files"][0]["title"], first["files"][0]["tags"]) == ("PRIVATE", "Miso", ["cat"])
    assert await left_in(file) == []
    assert {progress.path: progress.bytes_sent for progress in seen} == {photos[0]: 900, photos[1]: len(LARGE)}


# Those of one large file: create, policy, session, sign, three parts, complete.
@pytest.mark.parametrize("at", range(8))
@pytest.mark.parametrize("when", ["before it arrives", "before its answer arrives"])
async def test_death_at_any_request_loses_nothing_and_repeats_nothing(
    stand: UploadStand, tmp_path: Path, at: int, when: str
) -> None:
    photos, file, found = written(tmp_path, LARGE), tmp_path / "queue.db", tmp_path / "after" / "queue.db"
    await enqueued(file, *photos)
    found.parent.mkdir()
    died = asyncio.Event()

    def die() -> None:
        # What a killed process leaves: the files as they are, the lease still held.
        for each in tmp_path.glob("queue.db*"):
            shutil.copy(each, found.parent / each.name)
        stand.is_stopped = True
        died.set()

    def before(seen: Seen) -> None:
        if when == "before it arrives" and len(stand.seen) > at and not died.is_set():
            die()

    def after(seen: Seen) -> None:
        if when == "before its answer arrives" and len(stand.seen) > at and not died.is_set():
            die()

    stand.fault, stand.afterwards = before, after
    running = asyncio.create_task(drained(stand, file, lease_s=0.05))
    await asyncio.wait_for(died.wait(), 10)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    confirmed = set(stand.session.parts) if stand.sessions else set()
    stand.fault, stand.afterwards, stand.is_stopped = (lambda seen: None), (lambda seen: None), False
    stand.seen.clear()

    [result] = await drained(stand, found)
    assert result.error is None
    assert stand.session.body == LARGE
    assert stand.session.status == "UPLOADED"
    assert confirmed.isdisjoint(stand.puts())
    assert len({given["idempotencyKey"] for given in stand.asked("createUploads")}) == 1
    assert await left_in(found) == []


async def test_it_waits_for_an_api_that_does_not_answer(stand: UploadStand, tmp_path: Path) -> None:
    photos, file = written(tmp_path, SMALL), tmp_path / "queue.db"
    await enqueued(file, *photos)
    stand.fault = times(20, lambda: httpx.ConnectError("no network"), "createUploads")
    seen: list[Progress] = []
    [result] = await drained(stand, file, on_progress=seen.append)
    assert result.error is None
    assert "OFFLINE" in [progress.status for progress in seen]
    assert seen[-1].status == "SENT"
    assert len(stand.sessions) == 1


async def test_the_command_says_that_it_waits(
    stand: UploadStand, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, file = written(tmp_path, SMALL), tmp_path / "queue.db"
    tried = asyncio.Event()

    def offline(seen: Seen) -> Exception:
        if len(stand.seen) > 9:
            tried.set()
        return httpx.ConnectError("no network")

    stand.fault = offline
    order = Order("COMMUNITY", private=False, details=FileDetails(), titles_from_names=True)
    waiting = asyncio.create_task(upload_queued(stand.client(), photos, order, file, all_urls=False, as_json=False))
    await tried.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    said = capsys.readouterr()
    assert said.out == ""
    told = "Trying again until it does; Ctrl-C ends that, the queue is kept."
    assert said.err == f"The API at https://api.example/graphql does not answer (no network). {told}\n"
    # Given back, not left to run out: the next run need not wait.
    assert [each.status for each in await left_in(file)] == ["QUEUED"]


async def test_what_was_sent_is_kept_on_request_and_may_be_sent_again(stand: UploadStand, tmp_path: Path) -> None:
    [photo], file = written(tmp_path, SMALL), tmp_path / "queue.db"
    await enqueued(file, photo)
    async with UploadQueue(file) as queue, stand.client() as client:
        await queue.run(client, keep_sent=True)
        assert [(each.status, each.media_id) for each in await queue.status()] == [("SENT", "m-u1")]
        assert await queue.run(client, keep_sent=True) == []
        # The same name for other bytes, before anybody has asked for the first.
        photo.write_bytes(LARGE)
        await queue.enqueue([photo], purpose="COMMUNITY")
        [result] = await queue.run(client)
        assert (result.error, result.media_id) == (None, "m-u2")
        assert await queue.status() == []
    assert [session.body for session in stand.sessions.values()] == [SMALL, LARGE]


async def test_a_queue_of_the_version_before_is_drained(stand: UploadStand, tmp_path: Path) -> None:
    file = tmp_path / "queue.db"
    await enqueued(file, *written(tmp_path, SMALL))
    with closing(sqlite3.connect(file)) as before:
        before.execute("ALTER TABLE entries DROP COLUMN media_id")
        before.execute("PRAGMA user_version = 1")
    [result] = await drained(stand, file)
    assert result.error is None


async def test_storage_that_is_away_holds_nobody_else_up(stand: UploadStand, tmp_path: Path) -> None:
    photos, file = written(tmp_path, SMALL, LARGE), tmp_path / "queue.db"
    await enqueued(file, *photos)
    stand.fault = times(9, busy, number=2)
    results = await drained(stand, file)
    assert [result.error for result in results] == [None, None]
    assert stand.puts().count(1) == 1
    assert stand.puts().count(3) == 1


async def test_two_processes_send_each_file_once(stand: UploadStand, tmp_path: Path) -> None:
    photos = written(tmp_path, *(SMALL + bytes([number]) for number in range(8)))
    file = tmp_path / "queue.db"
    await enqueued(file, *photos)
    both = await asyncio.gather(drained(stand, file), drained(stand, file))
    assert sorted(result.path for results in both for result in results) == photos
    assert len(stand.sessions) == 8
    assert stand.puts() == [0] * 8
    assert len(stand.asked("completeUpload")) == 8


@pytest.mark.parametrize("network", PACES)
@pytest.mark.parametrize("is_large", [False, True], ids=["whole files", "parts"])
async def test_as_much_is_under_way_as_the_network_bears(
    stand: UploadStand, tmp_path: Path, network: str, is_large: bool
) -> None:
    file, (files, parts) = tmp_path / "queue.db", PACES[network]
    await enqueued(file, *written(tmp_path, *((LARGE if is_large else SMALL) + bytes([number]) for number in range(8))))
    stand.held_for = files * (parts if is_large else 1)
    async with asyncio.timeout(10):
        await drained(stand, file, network=network)
    assert stand.puts_at_once == stand.held_for
    assert stand.asked("uploadPolicy") == [{"purpose": "COMMUNITY", "network": network}]
    assert {given["client"]["network"] for given in stand.asked("createUploads")} == {network}


async def test_what_the_caller_has_already_is_not_sent(stand: UploadStand, tmp_path: Path) -> None:
    photos, file = written(tmp_path, LARGE), tmp_path / "queue.db"
    await enqueued(file, *photos)
    async with UploadQueue(file) as queue:
        [waiting] = await queue.status()
    assert waiting.byte_size is None
    stand.owned[hashlib.sha256(LARGE).hexdigest()] = "m-old"
    [result] = await drained(stand, file)
    assert (result.media_id, result.is_duplicate, result.is_sent, result.error) == ("m-old", True, True, None)
    assert stand.puts() == []
    assert stand.asked("completeUpload") == []
    assert await left_in(file) == []


async def test_the_same_bytes_under_two_names_are_sent_once(stand: UploadStand, tmp_path: Path) -> None:
    file = tmp_path / "queue.db"
    await enqueued(file, *written(tmp_path, LARGE, LARGE, SMALL, SMALL))
    results = await drained(stand, file)
    assert [(result.error, result.is_sent) for result in results] == [(None, True)] * 4
    assert len({result.media_id for result in results}) == 2
    assert stand.puts() == [0, 1, 2, 3]


async def test_the_same_file_waits_once_for_each_purpose(tmp_path: Path) -> None:
    [photo], file = written(tmp_path, SMALL), tmp_path / "queue.db"
    await enqueued(file, photo, photo)
    await enqueued(file, photo)
    async with UploadQueue(file) as queue:
        await queue.enqueue([photo], purpose="PROFILE")
    assert [each.purpose for each in await left_in(file)] == ["COMMUNITY", "PROFILE"]


async def test_what_another_process_took_over_is_let_go(stand: UploadStand, tmp_path: Path) -> None:
    photos, file = written(tmp_path, LARGE), tmp_path / "queue.db"
    await enqueued(file, *photos)
    asked = asyncio.Event()
    stand.is_stopped = True
    stand.fault = lambda seen: asked.set()
    async with UploadQueue(file, lease_s=0.05) as queue, stand.client() as client:
        slow = asyncio.create_task(queue.run(client))
        await asked.wait()
        rows = QueueRows(file)
        # As if this process had slept past its lease.
        rows._database.execute("UPDATE entries SET leased_until = 0, leased_by = NULL")
        taken = rows.claim("another", 60)
        assert taken is not None
        rows.remove(taken.id, "another")
        rows.close()
        assert await asyncio.wait_for(slow, 10) == []
    assert stand.puts() == []
