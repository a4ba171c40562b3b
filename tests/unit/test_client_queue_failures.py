"""The upload queue when files, sessions, tokens or the queue itself are no good: what is kept, and why."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import httpx
import pytest

from service.client import ApiError, FileDetails, UnusableQueue, UploadQueue
from service.client import queue_run as queue_run_module
from service.client.queue_rows import QueueRows
from service.commands.upload import Order, upload_queued
from tests.client_stand import Seen, UploadStand, times, xml
from tests.queue_stand import LARGE, SMALL, drained, enqueued, left_in, written


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_run_module, "PAUSES_S", (0.0,))
    monkeypatch.setattr(queue_run_module, "POLL_S", 0.01)


@pytest.fixture
def stand() -> UploadStand:
    return UploadStand()


async def test_a_refused_file_is_kept_with_its_reason(stand: UploadStand, tmp_path: Path) -> None:
    text, photo = written(tmp_path, b"only words", SMALL)
    file = tmp_path / "queue.db"
    await enqueued(file, text, photo, tmp_path / "missing.jpg")
    refused, fine, missing = await drained(stand, file)
    assert [result.error and result.error.code for result in (refused, fine, missing)] == [
        "TYPE_NOT_ALLOWED",
        None,
        "UNUSABLE_FILE",
    ]
    left = await left_in(file)
    assert [(each.path, each.status, each.error_code) for each in left] == [
        (text, "FAILED", "TYPE_NOT_ALLOWED"),
        (tmp_path / "missing.jpg", "FAILED", "UNUSABLE_FILE"),
    ]
    stand.seen.clear()
    assert await drained(stand, file) == []
    assert stand.seen == []

    text.write_bytes(LARGE)
    async with UploadQueue(file) as queue:
        assert await queue.retry([left[0].id]) == 1
    [result] = await drained(stand, file)
    assert (result.path, result.error) == (text, None)
    # A new request, under a key of its own.
    assert len({given["idempotencyKey"] for given in stand.asked("createUploads")}) == 3
    async with UploadQueue(file) as queue:
        assert await queue.forget([left[1].id]) == 1
        assert await queue.status() == []


async def test_the_command_keeps_only_what_may_still_go_up(
    stand: UploadStand, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, photo = written(tmp_path, b"only words", SMALL)
    file = tmp_path / "queue.db"
    # Of storage, and about the moment rather than the file.
    stand.fault = times(99, lambda: xml(400, "EntityTooSmall", "Not now."))
    order = Order("COMMUNITY", private=False, details=FileDetails(), titles_from_names=True)
    shown_as = {"all_urls": False, "as_json": False}
    assert await upload_queued(stand.client(), [text, photo], order, file, **shown_as) == 1
    said = capsys.readouterr().err
    assert f"Taken out of the queue, no later try would do better: {text}\n1 stay in the queue." in said
    assert said.index("TYPE_NOT_ALLOWED: No.") < said.index("Taken out")
    assert [(each.path, each.status) for each in await left_in(file)] == [(photo, "FAILED")]
    stand.seen.clear()
    assert await upload_queued(stand.client(), [], order, file, **shown_as) == 1
    assert text.name not in capsys.readouterr().err
    assert stand.puts() == [0]


async def test_a_session_that_ran_out_is_opened_again(stand: UploadStand, tmp_path: Path) -> None:
    photos, file = written(tmp_path, LARGE), tmp_path / "queue.db"
    await enqueued(file, *photos)

    def expire(seen: Seen) -> None:
        if seen.name == "PUT" and len(stand.sessions) == 1:
            stand.session.status = "EXPIRED"

    stand.afterwards = expire
    [result] = await drained(stand, file)
    assert result.error is None
    assert [session.status for session in stand.sessions.values()] == ["EXPIRED", "UPLOADED"]
    assert result.media_id == "m-u2"


async def test_what_arrived_while_the_api_was_down_is_not_failed(stand: UploadStand, tmp_path: Path) -> None:
    photos, file = written(tmp_path, LARGE), tmp_path / "queue.db"
    await enqueued(file, *photos)
    attempts = 0

    def die(seen: Seen) -> Exception | None:
        nonlocal attempts
        attempts += seen.name == "completeUpload"
        if seen.name != "completeUpload" or attempts > 3:
            return None
        stand.session.assemble()
        return httpx.RemoteProtocolError("Server disconnected without sending a response.")

    stand.fault = die
    [result] = await drained(stand, file)
    assert (result.error, result.is_sent) == (None, True)
    assert stand.session.status == "UPLOADED"
    assert stand.puts() == [1, 2, 3]
    assert len(stand.sessions) == 1
    assert await left_in(file) == []


async def test_sessions_are_not_opened_for_ever(stand: UploadStand, tmp_path: Path) -> None:
    photos, file = written(tmp_path, LARGE), tmp_path / "queue.db"
    await enqueued(file, *photos)
    stand.fault = times(99, lambda: xml(404, "NoSuchUpload", "The upload is over."))
    [result] = await drained(stand, file)
    assert result.error is not None
    assert result.error.code == "NoSuchUpload"
    assert len(stand.sessions) == 4


async def test_what_the_service_never_finds_complete_is_given_up(stand: UploadStand, tmp_path: Path) -> None:
    photos, file = written(tmp_path, LARGE), tmp_path / "queue.db"
    await enqueued(file, *photos)
    # As if what storage confirms and what it answered to the PUT had nothing in common.
    stand.afterwards = lambda seen: stand.session.parts.update({2: b"other"}) if seen.name == "PUT" else None
    [result] = await drained(stand, file)
    assert result.error is not None
    assert result.error.code == "UPLOAD_INCOMPLETE"
    assert [each.status for each in await left_in(file)] == ["FAILED"]


async def test_a_file_that_changed_between_two_runs_is_not_mixed(stand: UploadStand, tmp_path: Path) -> None:
    [photo], file = written(tmp_path, LARGE), tmp_path / "queue.db"
    await enqueued(file, photo)
    reached = asyncio.Event()
    stand.afterwards = lambda seen: reached.set() if seen.number == 1 else None
    running = asyncio.create_task(drained(stand, file))
    await reached.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    photo.write_bytes(LARGE[::-1] + b"more")
    stand.seen.clear()

    [result] = await drained(stand, file)
    assert result.error is not None
    assert "changed before it was uploaded" in result.error.message
    assert [(each.error_code, each.is_final) for each in await left_in(file)] == [("FILE_CHANGED", False)]
    assert stand.session.status == "EXPIRED"
    assert stand.puts() == []
    assert stand.asked("completeUpload") == []


async def test_a_wrong_token_leaves_everything_queued(stand: UploadStand, tmp_path: Path) -> None:
    photos, file = written(tmp_path, SMALL, LARGE), tmp_path / "queue.db"
    await enqueued(file, *photos)
    denial = {"errors": [{"message": "The token is not valid.", "extensions": {"code": "UNAUTHENTICATED"}}]}
    stand.fault = times(99, lambda: httpx.Response(401, json=denial), "createUploads")
    with pytest.raises(ApiError, match="token"):
        await drained(stand, file)
    assert stand.puts() == []
    assert [each.status for each in await left_in(file)] == ["QUEUED", "QUEUED"]
    stand.fault = lambda seen: None
    assert [result.error for result in await drained(stand, file)] == [None, None]


async def test_a_queue_that_breaks_while_it_is_used_says_so(
    stand: UploadStand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "queue.db"
    await enqueued(file, *written(tmp_path, SMALL, LARGE))

    def full(*given: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(QueueRows, "note_session", full)
    with pytest.raises(UnusableQueue, match="disk is full"):
        await drained(stand, file)
    monkeypatch.undo()
    assert [each.status for each in await left_in(file)] == ["QUEUED", "QUEUED"]


def test_a_file_that_is_no_queue_is_named(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("This is not a database, though it is long enough to be taken for one." * 20)
    with pytest.raises(UnusableQueue, match=r"notes\.txt cannot be used"):
        UploadQueue(file)
    with pytest.raises(UnusableQueue):
        UploadQueue(tmp_path / "no such folder" / "queue.db")
