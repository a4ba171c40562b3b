"""The jail holds, whatever runs inside; and what comes out of it is never taken on trust."""

from __future__ import annotations

import asyncio
import ctypes.util
import json
import os
import socket
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from service.errors import ConfigurationError, FailureCode, ProcessingFailed
from service.models import BasePicture, MediaFormat, RenditionName
from service.policies import RenditionPolicy, UrlLifetime
from service.processing.fork_client import ForkClient
from service.processing.jail import Jail
from service.processing.wire import ProcessingRequest
from tests import photos
from tests.jail_probe import DEEDS

REQUEST = ProcessingRequest(
    content_type="image/jpeg",
    renditions=(
        RenditionPolicy(
            name=RenditionName.FEED,
            max_side=8,
            formats=(MediaFormat.JPEG,),
            url_lifetime=UrlLifetime(window_s=1, minimum_s=1),
            cache_max_age_s=0,
        ),
    ),
)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def probed() -> AsyncIterator[Jail]:
    with pytest.MonkeyPatch.context() as patch, socket.socket() as stray:
        stray.set_inheritable(True)
        patch.setenv("MEDIA_STORAGE__SECRET_KEY", "hunter2")
        async with Jail(memory_bytes=600_000_000, cpu_s=2, wall_s=60, work="tests.jail_probe") as jail:
            yield jail


@pytest.fixture
def order(tmp_path: Path) -> Path:
    return tmp_path / "order"


async def refusal(jail: Jail, order: Path, action: str) -> ProcessingFailed:
    order.write_text(action)
    with pytest.raises(ProcessingFailed) as caught:
        await jail.process(order, REQUEST)
    return caught.value


async def assert_unharmed(jail: Jail, order: Path) -> None:
    order.write_text("honest")
    assert (await jail.process(order, REQUEST)).renditions[0].body.startswith(b"\xff\xd8\xff")


async def test_a_captured_decoder_can_reach_nothing(probed: Jail, order: Path) -> None:
    kept = Path("/tmp/kept")
    kept.write_text("still here")
    report = json.loads((await refusal(probed, order, "attempts")).__notes__[0])
    # A thread that cannot start is a RuntimeError in Python, whatever the kernel said.
    assert report["outcomes"] == dict.fromkeys(DEEDS, "EPERM") | {"thread": "RuntimeError"}
    assert not Path("/tmp/escaped").exists()
    assert kept.read_text() == "still here"
    kept.unlink()


async def test_a_captured_decoder_finds_no_secret_and_no_foreign_descriptor(probed: Jail, order: Path) -> None:
    report = json.loads((await refusal(probed, order, "attempts")).__notes__[0])
    assert "hunter2" not in json.dumps(report)
    assert not [name for name in report["environment"] if name.startswith(("MEDIA_", "AWS_"))]
    assert report["descriptors"] == 5, "standard streams to /dev/null, the original, the reply"


@pytest.mark.parametrize(
    ("action", "failure", "quarantine", "retryable"),
    [
        ("spin", FailureCode.DECODE_LIMIT_EXCEEDED, True, False),
        ("segfault", FailureCode.DECODE_LIMIT_EXCEEDED, True, False),
        ("flood", FailureCode.DECODE_LIMIT_EXCEEDED, True, False),
        ("garbage", FailureCode.DECODE_LIMIT_EXCEEDED, True, False),
        ("pickle", FailureCode.DECODE_LIMIT_EXCEEDED, True, False),
        ("a page as picture", FailureCode.DECODE_LIMIT_EXCEEDED, True, False),
        ("unasked rendition", FailureCode.DECODE_LIMIT_EXCEEDED, True, False),
        ("with a base", FailureCode.DECODE_LIMIT_EXCEEDED, True, False),
        ("exit", FailureCode.INTERNAL, False, True),
        ("cut short", FailureCode.INTERNAL, False, True),
        ("allocate", FailureCode.INTERNAL, False, True),
    ],
)
async def test_every_misbehaviour_ends_in_a_clear_failure(
    probed: Jail, order: Path, action: str, failure: FailureCode, quarantine: bool, retryable: bool
) -> None:
    error = await refusal(probed, order, action)
    assert (error.failure, error.quarantine, error.retryable) == (failure, quarantine, retryable)
    assert not Path("/tmp/escaped").exists()
    await assert_unharmed(probed, order)


async def test_a_base_is_taken_only_as_large_as_the_picture_asks_for(probed: Jail, order: Path) -> None:
    request = REQUEST.model_copy(update={"keep_base": True})
    order.write_text("with a base")
    assert (await probed.process(order, request)).base == BasePicture("RGB", 8, 8, bytes(8 * 8 * 3), (8, 8))
    order.write_text("with a base of another size")
    with pytest.raises(ProcessingFailed) as caught:
        await probed.process(order, request)
    assert caught.value.quarantine
    await assert_unharmed(probed, order)


async def test_a_job_that_lasts_too_long_is_killed_and_may_be_tried_again(order: Path) -> None:
    async with Jail(memory_bytes=600_000_000, cpu_s=30, wall_s=0.3, work="tests.jail_probe") as jail:
        error = await refusal(jail, order, "spin")
        assert (error.failure, error.retryable) == (FailureCode.DECODE_LIMIT_EXCEEDED, True)
        assert await ended(children_of(fork_server()))
        await assert_unharmed(jail, order)


async def test_a_cancelled_job_leaves_no_process_behind(order: Path) -> None:
    async with Jail(memory_bytes=600_000_000, cpu_s=30, work="tests.jail_probe") as jail:
        order.write_text("spin")
        job = asyncio.create_task(jail.process(order, REQUEST))
        server = fork_server()
        await first_child_of(server)
        running = children_of(server)
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        assert await ended(running)
        await assert_unharmed(jail, order)


async def test_clips_that_hang_take_no_place_of_pictures(order: Path, tmp_path: Path) -> None:
    hanging = tmp_path / "hanging"
    hanging.write_text("spin")
    probe = "tests.jail_probe"
    async with Jail(memory_bytes=600_000_000, cpu_s=30, concurrency=1, work=probe, clip_work=probe) as jail:
        clip = REQUEST.model_copy(update={"content_type": "video/mp4"})
        jobs = [asyncio.create_task(jail.process(hanging, clip)) for _ in range(3)]
        await assert_unharmed(jail, order)
        assert not any(job.done() for job in jobs)
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)


async def test_pictures_do_not_wait_for_the_start_of_what_decodes_clips(
    order: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe, asked = "tests.jail_probe", asyncio.Event()
    async with Jail(memory_bytes=600_000_000, cpu_s=30, work=probe, clip_work="never starts") as jail:

        async def hang(*_: object) -> ForkClient:
            asked.set()
            return await asyncio.Future()

        monkeypatch.setattr(ForkClient, "start", hang)
        clip = asyncio.create_task(jail.process(order, REQUEST.model_copy(update={"content_type": "video/mp4"})))
        await asked.wait()
        await assert_unharmed(jail, order)
        clip.cancel()
        await asyncio.gather(clip, return_exceptions=True)


async def test_somebody_who_waits_for_a_clip_does_not_wait_longer_than_for_a_picture(order: Path) -> None:
    probe = "tests.jail_probe"
    limits = {"memory_bytes": 600_000_000, "cpu_s": 30, "wall_s": 0.3}
    async with Jail(**limits, work=probe, clip_work=probe) as jail:
        order.write_text("spin")
        with pytest.raises(ProcessingFailed, match=r"more than 0\.3 seconds"):
            await jail.process(order, REQUEST.model_copy(update={"content_type": "video/mp4", "urgent": True}))


async def test_closing_ends_the_fork_server_and_its_children(order: Path) -> None:
    jail = Jail(memory_bytes=600_000_000, cpu_s=30, work="tests.jail_probe")
    await jail.start()
    order.write_text("spin")
    job = asyncio.create_task(jail.process(order, REQUEST))
    server = fork_server()
    await first_child_of(server)
    running = [server, *children_of(server)]
    await jail.close()
    with pytest.raises(ProcessingFailed) as caught:
        await job
    assert caught.value.retryable
    assert await ended(running)
    with pytest.raises(ProcessingFailed, match="fault of ours"):
        await jail.process(order, REQUEST)


async def test_a_killed_fork_server_is_replaced(order: Path) -> None:
    async with Jail(memory_bytes=600_000_000, cpu_s=30, work="tests.jail_probe") as jail:
        await assert_unharmed(jail, order)
        server = fork_server()
        order.write_text("spin")
        job = asyncio.create_task(jail.process(order, REQUEST))
        await first_child_of(server)
        orphan = children_of(server)
        os.kill(server, 9)
        with pytest.raises(ProcessingFailed) as caught:
            await job
        assert (caught.value.failure, caught.value.retryable) == (FailureCode.INTERNAL, True)
        assert await ended(orphan)
        await assert_unharmed(jail, order)


WORKER = """
import asyncio, sys, uvloop
from pathlib import Path
from service.processing.jail import Jail
from tests.in_process import request_for

async def main():
    async with Jail(memory_bytes=1_500_000_000, cpu_s=10) as jail:
        image = await jail.process(Path(sys.argv[1]), request_for())
        print(len(image.renditions), type(asyncio.get_running_loop()).__module__, flush=True)
        await asyncio.sleep(60)

uvloop.run(main())
"""


async def test_on_uvloop_and_a_killed_worker_leaves_nothing_behind(order: Path) -> None:
    order.write_bytes(photos.small_photo())
    worker = await asyncio.create_subprocess_exec(sys.executable, "-c", WORKER, str(order), stdout=PIPE)
    assert worker.stdout is not None
    assert await worker.stdout.readline() == b"9 uvloop\n"
    servers = children_of(worker.pid)
    assert len(servers) == 1
    worker.kill()
    await worker.wait()
    assert await ended(servers)


async def test_whoever_keeps_a_jail_loads_no_decoder() -> None:
    script = "import sys, service.processing.jail; sys.exit(bool({'PIL', 'numpy', 'scipy'} & set(sys.modules)))"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script)
    assert await process.wait() == 0


async def test_what_decodes_pictures_loads_no_codecs_of_clips() -> None:
    script = "import sys; from service.processing import pipeline; pipeline.warm_up(); sys.exit('av' in sys.modules)"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script)
    assert await process.wait() == 0


async def test_without_libseccomp_nothing_is_decoded(monkeypatch: pytest.MonkeyPatch, order: Path) -> None:
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: None)
    jail = Jail(memory_bytes=600_000_000, cpu_s=1, work="tests.jail_probe")
    with pytest.raises(ConfigurationError, match="libseccomp2"):
        await jail.start()
    order.write_text("honest")
    with pytest.raises(ConfigurationError):
        await jail.process(order, REQUEST)


async def test_a_jail_too_small_to_start_says_so() -> None:
    with pytest.raises(ConfigurationError, match="memory limit"):
        await Jail(memory_bytes=1_000_000, cpu_s=1, work="tests.jail_probe").start()


async def test_a_link_in_place_of_the_file_is_not_followed(probed: Jail, order: Path) -> None:
    order.symlink_to("/etc/passwd")
    with pytest.raises(OSError, match="symbolic links"):
        await probed.process(order, REQUEST)


def fork_server() -> int:
    """The youngest child of this process that runs a fork server: by birth, as the kernel starts over with low ids."""
    servers = (pid for pid in children_of(os.getpid()) if b"forkserver" in Path(f"/proc/{pid}/cmdline").read_bytes())
    return max(servers, key=lambda pid: int(after_name(pid)[19]))


async def first_child_of(pid: int) -> None:
    while not children_of(pid):  # noqa: ASYNC110 - the kernel tells of children only when asked
        await asyncio.sleep(0.01)


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def ended(pids: list[int], within_s: float = 5) -> bool:
    """Whether every process is gone, or dead and waiting to be reaped by init."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if not any(alive(pid) for pid in pids):
            return True
        await asyncio.sleep(0.01)
    return False


def alive(pid: int) -> bool:
    try:
        return after_name(pid)[0] != "Z"
    except FileNotFoundError:
        return False


def after_name(pid: int) -> list[str]:
    """/proc/<pid>/stat from its third field on: the state first, twentieth the time of birth."""
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
