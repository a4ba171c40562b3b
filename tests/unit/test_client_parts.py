"""Files in parts: what is sent, what is sent again, and what never is."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from service.client import (
    ApiError,
    ClientError,
    LocalFile,
    StorageRefused,
    Unreachable,
    UnusableFile,
    UploadSession,
    inspect_file,
)
from service.client import retrying as retrying_module
from service.client.media_client import MediaClient
from service.client.sending import send_and_complete
from service.client.tracking import Progress, TrackedFile
from tests.client_stand import PART_BYTES, Seen, UploadStand, busy, problem, times, xml
from tests.photos import small_photo

# Five parts, the last one short.
BODY = (small_photo() * 5)[: 4 * PART_BYTES + 300]


@pytest.fixture
def stand() -> UploadStand:
    return UploadStand()


@pytest.fixture
async def photo(tmp_path: Path) -> LocalFile:
    path = tmp_path / "photo.jpg"
    path.write_bytes(BODY)
    return await inspect_file(path)


async def opened(client: MediaClient, file: LocalFile, key: str = "k") -> UploadSession:
    [session] = await client.create_uploads([file], purpose="COMMUNITY", idempotency_key=key)
    assert isinstance(session, UploadSession)
    return session


async def sent(client: MediaClient, file: LocalFile, seen: list[Progress] | None = None) -> None:
    tracked = TrackedFile(0, file.path, (seen if seen is not None else []).append)
    tracked.measured(file.byte_size)
    await send_and_complete(client, await opened(client, file), file, tracked, parts_at_once=2)


async def test_a_large_file_arrives_in_parts_that_are_vouched_for(stand: UploadStand, photo: LocalFile) -> None:
    seen: list[Progress] = []
    async with stand.client() as client:
        await sent(client, photo, seen)
    assert stand.session.body == BODY
    assert stand.session.status == "UPLOADED"
    assert stand.puts() == [1, 2, 3, 4, 5]
    assert stand.puts_at_once == 2
    [signed] = stand.asked("signUploadParts")
    slices = [BODY[start : start + PART_BYTES] for start in range(0, len(BODY), PART_BYTES)]
    assert [each["sha256"] for each in signed["partChecksums"]] == [hashlib.sha256(s).hexdigest() for s in slices]
    amounts = [progress.bytes_sent for progress in seen]
    assert amounts == sorted(amounts)
    assert amounts[-1] == len(BODY)


async def test_only_the_part_that_failed_is_tried_again(stand: UploadStand, photo: LocalFile) -> None:
    stand.fault = times(2, busy, number=3)
    async with stand.client() as client:
        await sent(client, photo)
    assert stand.puts() == [1, 2, 3, 3, 3, 4, 5]
    assert stand.session.body == BODY


async def test_parts_are_signed_anew_when_their_time_is_up(stand: UploadStand, photo: LocalFile) -> None:
    def run_out(seen: Seen) -> None:
        # The first to arrive: part 5 is not under way yet.
        if seen.name == "PUT" and not stand.session.good:
            stand.session.good = len(stand.seen)

    stand.afterwards = run_out
    async with stand.client() as client:
        await sent(client, photo)
    assert stand.session.body == BODY
    _, *later = [given["partNumbers"] for given in stand.asked("signUploadParts")]
    again = [number for group in later for number in group]
    assert 5 in again
    assert len(again) == len(set(again))
    # Those under way are refused; those that were only signed with them are not even tried.
    assert len(stand.puts()) <= 5 + 2


async def test_a_refusal_of_what_was_just_signed_is_final(stand: UploadStand, photo: LocalFile) -> None:
    stand.fault = times(99, lambda: xml(403, "AccessDenied", "Not yours."))
    async with stand.client() as client:
        with pytest.raises(StorageRefused) as raised:
            await sent(client, photo)
    assert raised.value.code == "AccessDenied"
    assert max(stand.puts().count(number) for number in range(1, 6)) == 2
    assert stand.asked("completeUpload") == []


async def test_a_part_too_large_is_not_tried_again(stand: UploadStand, photo: LocalFile) -> None:
    stand.fault = times(1, lambda: httpx.Response(413), number=2)
    async with stand.client() as client:
        with pytest.raises(StorageRefused, match="413"):
            await sent(client, photo)
    assert stand.puts().count(2) == 1
    assert stand.asked("completeUpload") == []


async def test_what_storage_has_confirmed_is_not_sent_again(stand: UploadStand, photo: LocalFile) -> None:
    stand.fault = times(3, lambda: httpx.ConnectError("gone"), number=4)
    async with stand.client() as client:
        with pytest.raises(Unreachable):
            await sent(client, photo)
    before = set(stand.session.parts)
    assert before
    assert 4 not in before
    confirmed = sum(map(len, stand.session.parts.values()))
    stand.seen.clear()
    progress: list[Progress] = []
    async with stand.client() as client:
        await sent(client, photo, progress)
    assert stand.puts() == sorted({1, 2, 3, 4, 5} - before)
    assert stand.session.body == BODY
    sending = [each.bytes_sent for each in progress if each.status == "SENDING"]
    assert min(sending) >= confirmed


async def test_a_cancelled_upload_goes_on_where_it_was(stand: UploadStand, photo: LocalFile) -> None:
    reached = asyncio.Event()
    stand.afterwards = lambda seen: reached.set() if seen.number == 3 else None
    async with stand.client() as client:
        sending = asyncio.create_task(sent(client, photo))
        await reached.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
    before = set(stand.session.parts)
    assert 3 in before
    stand.seen.clear()
    async with stand.client() as client:
        await sent(client, photo)
    assert stand.puts() == sorted({1, 2, 3, 4, 5} - before)
    assert stand.session.body == BODY


async def test_parts_are_signed_in_groups_when_they_are_needed(stand: UploadStand, tmp_path: Path) -> None:
    path = tmp_path / "long.jpg"
    path.write_bytes((small_photo() * 60)[: 45 * PART_BYTES])
    async with stand.client() as client:
        await sent(client, await inspect_file(path))
    assert [len(given["partNumbers"]) for given in stand.asked("signUploadParts")] == [20, 20, 5]
    first_group = [seen.name for seen in stand.seen].index("signUploadParts")
    second_group = [seen.name for seen in stand.seen].index("signUploadParts", first_group + 1)
    assert [seen.name for seen in stand.seen[first_group:second_group]].count("PUT") >= 18


async def test_a_part_that_storage_lost_is_sent_again_before_completing(stand: UploadStand, photo: LocalFile) -> None:
    def lose(seen: Seen) -> httpx.Response | None:
        if seen.name == "completeUpload":
            stand.session.parts.pop(2, None) if len(stand.asked("completeUpload")) == 0 else None
        return None

    stand.fault = lose
    async with stand.client() as client:
        await sent(client, photo)
    assert stand.puts() == [1, 2, 2, 3, 4, 5]
    assert stand.session.body == BODY
    first, second = stand.asked("completeUpload")
    # The parts are the same but need not be: a key stands for its parts.
    assert [part["number"] for part in first["parts"]] == [part["number"] for part in second["parts"]]


async def test_a_lost_answer_to_the_completion_costs_nothing(stand: UploadStand, photo: LocalFile) -> None:
    async with stand.client() as client:
        await sent(client, photo)
        stand.seen.clear()
        await sent(client, photo)
    assert stand.puts() == []
    assert stand.session.status == "UPLOADED"


def arrive_by_another_way(stand: UploadStand) -> None:
    """All parts get there and become one object, by calls that this client hears nothing of."""
    slices = [BODY[start : start + PART_BYTES] for start in range(0, len(BODY), PART_BYTES)]
    stand.session.parts = dict(enumerate(slices, start=1))
    stand.session.assemble()


# After the API died putting them together: known when the client looks, or not before it asks for more.
@pytest.mark.parametrize(("name", "number"), [("upload", 0), ("signUploadParts", 0), ("PUT", 2)])
async def test_parts_that_have_become_one_object_are_completed_and_not_sent(
    stand: UploadStand, photo: LocalFile, name: str, number: int
) -> None:
    def arrive(seen: Seen) -> None:
        if seen == Seen(name, number) and stand.session.body is None:
            arrive_by_another_way(stand)

    stand.fault = arrive
    async with stand.client() as client:
        await sent(client, photo)
    assert stand.session.status == "UPLOADED"
    assert stand.session.body == BODY
    # Nothing but what was under way already.
    assert len(stand.puts()) <= (2 if name == "PUT" else 0)
    [completed] = stand.asked("completeUpload")
    assert "parts" not in completed


async def test_a_conflict_over_bytes_that_are_not_there_is_an_error(stand: UploadStand, photo: LocalFile) -> None:
    payload = {"signUploadParts": {"parts": [], "userErrors": [problem("STATE_CONFLICT")]}}
    stand.fault = times(99, lambda: httpx.Response(200, json={"data": payload}), "signUploadParts")
    async with stand.client() as client:
        with pytest.raises(ApiError) as raised:
            await sent(client, photo)
    assert raised.value.code == "STATE_CONFLICT"
    assert len(stand.asked("upload")) == 2
    assert stand.puts() == []
    assert stand.asked("completeUpload") == []


async def test_a_file_that_changes_ends_its_session(stand: UploadStand, photo: LocalFile) -> None:
    def rewrite(seen: Seen) -> None:
        # The first to arrive: others are still to be read.
        if seen.name == "PUT":
            photo.path.write_bytes(BODY[::-1])
            os.utime(photo.path, ns=(0, 0))

    stand.afterwards = rewrite
    async with stand.client() as client:
        with pytest.raises(UnusableFile, match="changed while it was being uploaded"):
            await sent(client, photo)
    assert stand.session.status == "EXPIRED"
    assert stand.session.body is None
    assert stand.asked("completeUpload") == []


async def test_a_whole_file_gets_a_new_target_when_its_own_has_run_out(stand: UploadStand, tmp_path: Path) -> None:
    path = tmp_path / "small.jpg"
    path.write_bytes(small_photo()[:900])
    file = await inspect_file(path)
    async with stand.client() as client:
        session = await opened(client, file)
        stand.session.good = len(stand.seen) + 1
        assert await client.send(session, file) == ()
        await client.complete(session.id)
    assert stand.session.body == path.read_bytes()
    assert stand.puts() == [0, 0]


async def test_the_caller_learns_what_is_theirs_already(stand: UploadStand, photo: LocalFile) -> None:
    stand.owned[photo.sha256] = "m-old"
    async with stand.client() as client:
        found = await client.find_duplicates([photo.sha256, "0" * 64])
    assert {sha256: media.id for sha256, media in found.items()} == {photo.sha256: "m-old"}


@pytest.mark.parametrize(("given", "expected"), [(None, (0.01, 0.02, 0.04)), ((0.5,), (0.5,))])
async def test_pauses_are_the_services_unless_the_caller_knows_better(
    stand: UploadStand,
    photo: LocalFile,
    monkeypatch: pytest.MonkeyPatch,
    given: Sequence[float] | None,
    expected: Sequence[float],
) -> None:
    paused: list[float] = []

    async def note(error: ClientError, delay_s: float) -> None:
        paused.append(delay_s)

    async with stand.client(delays_s=given) as client:
        await client.pace("COMMUNITY")
        session = await opened(client, photo)
        monkeypatch.setattr(retrying_module, "pause", note)
        stand.fault = times(99, busy, "completeUpload")
        with pytest.raises(Unreachable):
            await client.complete(session.id)
    assert paused == list(expected)


async def test_the_policy_says_how_to_upload(stand: UploadStand) -> None:
    async with stand.client() as client:
        policy = await client.upload_policy("COMMUNITY", "THREE_G")
    assert (policy.part_size, policy.max_concurrent_parts) == (PART_BYTES, 2)
    assert stand.asked("uploadPolicy") == [{"purpose": "COMMUNITY", "network": "THREE_G"}]
