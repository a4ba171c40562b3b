"""Whichever process dies, and wherever: every upload still ends once, and nothing is left behind.

A real process is killed at each named place between createUploads and READY. Then life goes on in one of three ways,
and an auditor of its own looks at everything there is.
"""

from __future__ import annotations

import asyncio
import hashlib
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from random import Random
from typing import Any
from uuid import uuid4

import httpx
import pytest
from pymongo import MongoClient

from indexes.ensure import ensure
from service.dev.environment import environment_of
from service.dev.tokens import mint_token
from service.failpoints import Failpoint as P
from service.processing.jail import Jail
from service.runtime import open_runtime
from service.settings import Settings
from tests.api_client import ApiClient
from tests.audit_storage import Auditor
from tests.commit_ledger import CommitLedger
from tests.crash_stand import AttemptsHeard, Killable, Stand, Upload
from tests.deletion_killable import DELETING
from tests.killable import IN_PARTS, send_small_files_in_parts
from tests.photos import small_photo

FINALISING = (P.BYTES_CONFIRMED, P.COMPLETION_NOTED, P.UPLOADED_WRITTEN, P.PROCESSING_ENQUEUED)
OPENING = (P.UPLOADS_PLANNED, P.QUOTA_RESERVED, P.MEDIA_INITIATED, P.SESSIONS_WRITTEN)
FETCHING = (P.JOB_CLAIMED, P.MEDIA_HELD, P.ORIGINAL_KEPT, P.ORIGINAL_FETCHED, P.CONTENT_REGISTERED)
RENDERING = (
    *(P.RENDITION_STORED, P.RENDITIONS_CONFIRMED, P.READY_WRITTEN, P.RENDERING_ENQUEUED),
    P.JOB_COMPLETED,
)

# The places on each way from a file to a READY media, by the step in which a process passes them.
PATHS: Mapping[str, Mapping[str, tuple[P, ...]]] = {
    "single": {"create": OPENING, "complete": FINALISING, "work": (*FETCHING, *RENDERING)},
    "in_parts": {
        "create": OPENING,
        "sign": (P.MULTIPART_CREATED, P.MULTIPART_REMEMBERED, P.UPLOADING_WRITTEN),
        "complete": (P.MULTIPART_ASSEMBLED, *FINALISING),
        "work": (*FETCHING, *RENDERING),
    },
    # Sent in parts without saying what it is, and found to be what the owner has already.
    "copy": {"work": (P.CONTENT_REGISTERED, P.ORIGINAL_LINKED, P.COPY_REMOVED, *RENDERING)},
    # Recognised before a byte is sent: another media of a content that is stored.
    "linked": {"create": (*OPENING, P.CONTENT_LINKED, *FINALISING), "work": (*FETCHING, *RENDERING)},
    # Recognised as the very media that there is.
    "duplicate": {"create": OPENING},
    # Looked at already, and given the rest of its renditions.
    "viewable": {"work": (P.ORIGINAL_FETCHED, P.RENDITION_STORED, P.RENDITIONS_CONFIRMED, P.RENDERED, P.JOB_COMPLETED)},
    # All there, and then no longer for everybody.
    "turned_private": {"work": (P.RENDITIONS_COPIED,)},
}
AFTERWARDS = ("client_returns", "event_comes", "nobody_comes")


def _worth_trying(path: str, step: str) -> tuple[str, ...]:
    if step in {"sign", "complete"}:
        return AFTERWARDS
    if step == "create" or path in {"single", "copy"}:
        # Nothing has been sent, or all is known: no event has anything to say.
        return ("client_returns", "nobody_comes")
    # A worker goes the same way as with a single upload, from another beginning.
    return ("client_returns",) if path in {"linked", "viewable"} else ("nobody_comes",)


CASES = [
    pytest.param(path, step, point, afterwards, id=f"{point}-{path}-{afterwards}")
    for point in P
    for path, steps in PATHS.items()
    for step, points in steps.items()
    for afterwards in AFTERWARDS
    if point in points and afterwards in _worth_trying(path, step)
]


def test_every_failpoint_lies_on_a_path_that_is_walked() -> None:
    walked = {point for steps in PATHS.values() for points in steps.values() for point in points}
    assert walked | set(DELETING) == set(P)


@pytest.mark.parametrize(("command", "point"), [("api", P.UPLOADS_PLANNED), ("worker", P.JOB_CLAIMED)])
async def test_environment_arms_the_processes_themselves(
    command: str, point: P, stand: Stand, ports: Iterator[int]
) -> None:
    port, upload = next(ports), Upload(stand, uuid4().hex, PHOTO, batch("single"))
    settings = stand.settings.model_copy(update={"http": stand.settings.http.model_copy(update={"port": port})})
    environment = environment_of(settings, ("mongo", "storage", "delivery", "auth", "http", "worker"))
    if command == "worker":
        await upload.finish()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "service", command),
        env={**environment, "MEDIA_FAILPOINT": point},
        stdout=asyncio.subprocess.DEVNULL,
    )
    if command == "api":
        anna = ApiClient(f"http://127.0.0.1:{port}", mint_token(settings.auth.issuers[0], upload.owner))
        await answers(stand.http, anna.url)
        with pytest.raises(httpx.RemoteProtocolError):
            await anna.create(PHOTO)
    async with asyncio.timeout(30):
        assert await process.wait() == -signal.SIGKILL
    await nobody_comes(upload)
    assert list((await stand.media_of(upload.owner)).values()) == (["READY"] if command == "worker" else [])
    await stand.audit()


async def answers(http: httpx.AsyncClient, url: str) -> None:
    async with asyncio.timeout(30):
        while True:
            with suppress(httpx.ConnectError):
                await http.get(f"{url}/healthz")
                return
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("seed", range(4))
async def test_whoever_acts_in_whatever_order_and_however_often_the_end_is_the_same(
    seed: int, stand: Stand, owner_of_the_photo: str
) -> None:
    random = Random(seed)
    strangers = [Upload(stand, uuid4().hex, PHOTO, batch(path)) for path in ("single", "in_parts") * 2]
    known = [Upload(stand, owner_of_the_photo, PHOTO, batch(path)) for path in ("linked", "copy")]
    before = await stand.media_of(owner_of_the_photo)
    for upload in (*strangers, *known):
        await upload.run("create")
        await upload.run("send")
    acts = [
        act
        for upload in (*strangers, *known)
        for act in (partial(upload.run, "complete"), upload.deliver_event, partial(upload.run, "create"))
        for _ in range(random.randint(1, 3))
    ]
    acts += [stand.sweep for _ in range(random.randint(1, 3))]
    acts += [partial(stand.work_briefly, random.random() / 2) for _ in range(random.randint(1, 3))]
    random.shuffle(acts)
    slots = asyncio.Semaphore(4)

    async def take_part(act: Callable[[], Awaitable[None]]) -> None:
        async with slots:
            await act()

    await asyncio.gather(*map(take_part, acts))
    await stand.let_leases_end()
    await stand.work()
    ends = [status for upload in strangers for status in (await stand.media_of(upload.owner)).values()]
    after = await stand.media_of(owner_of_the_photo)
    ends += [status for media_id, status in after.items() if media_id not in before]
    assert ends == ["READY"] * 6
    await stand.audit(*after)


async def test_worker_after_worker_is_killed_and_nothing_is_committed_twice(stand: Stand) -> None:
    random, owner = Random(1), uuid4().hex
    media = MongoClient[dict[str, Any]](stand.settings.mongo.uri.get_secret_value(), uuidRepresentation="standard")
    ledger = CommitLedger(media[stand.settings.mongo.database].media)
    for number in range(12):
        photo = small_photo(100 + number, 64, 48)
        await Upload(stand, owner, photo, {**batch("single"), "files": [described(photo)]}).finish()
    deaths = 0
    while deaths < 8 and await stand.work_is_left():
        await stand.killable.work_and_die(random.uniform(0.2, 0.6))
        await stand.let_leases_end()
        deaths += 1
    await stand.work()
    ids = await stand.media_of(owner)
    await asyncio.to_thread(ledger.close)
    media.close()
    assert deaths > 1
    assert list(ids.values()) == ["READY"] * 12
    assert (ledger.doubled(list(ids)), ledger.missed(list(ids))) == ([], [])
    await stand.audit(*ids)


@pytest.fixture(scope="module")
async def stand(settings: Settings, jail: Jail) -> AsyncIterator[Stand]:
    # Whoever dies here dies of a signal: no job is to blame, however often it is met by one.
    worker = settings.worker.model_copy(update={"poll_s": 0.1, "concurrency": 1, "max_attempts": 100})
    settings = settings.model_copy(update={"worker": worker})
    auditor, attempts = Auditor(settings), AttemptsHeard()
    with pytest.MonkeyPatch.context() as patch:
        send_small_files_in_parts(patch.setattr)
        async with (
            open_runtime(settings, attempts) as runtime,
            Killable.started(settings) as killable,
            httpx.AsyncClient(timeout=30) as http,
        ):
            await ensure(runtime.database.handle)
            yield Stand(settings, runtime, jail, killable, auditor, http, attempts)
    auditor.close()


PHOTO = small_photo(1, 64, 48)


def described(photo: bytes) -> dict[str, Any]:
    return {"contentType": "image/jpeg", "byteSize": len(photo), "sha256": hashlib.sha256(photo).hexdigest()}


def batch(path: str) -> dict[str, Any]:
    file = described(PHOTO)
    if path == "copy":
        del file["sha256"]
    purpose = IN_PARTS if path in {"in_parts", "copy"} else "COMMUNITY"
    place = {"captureId": uuid4().hex} if path == "linked" else {}
    return {"purpose": str(purpose), "files": [file], **place}


@pytest.fixture(scope="module")
async def owner_of_the_photo(stand: Stand) -> str:
    upload = Upload(stand, uuid4().hex, PHOTO, batch("single"))
    await upload.finish()
    await stand.work()
    stand.needed_again.update(await stand.media_of(upload.owner))
    return upload.owner


@pytest.mark.parametrize(("path", "step", "point", "afterwards"), CASES)
async def test_dying_anywhere_loses_nothing_and_leaves_nothing(
    path: str, step: str, point: P, afterwards: str, stand: Stand, owner_of_the_photo: str
) -> None:
    owner = owner_of_the_photo if path in {"copy", "linked", "duplicate"} else uuid4().hex
    before = await stand.media_of(owner)
    upload = Upload(stand, owner, PHOTO, batch(path))
    if path == "viewable":
        await upload.finish()
        await stand.make_viewable()
    elif path == "turned_private":
        await upload.finish()
        await stand.work()
        await upload.turn_private()
    await walk(upload, step, point)
    await {"client_returns": client_returns, "event_comes": event_comes, "nobody_comes": nobody_comes}[afterwards](
        upload
    )
    after = await stand.media_of(owner)
    new = {media_id: status for media_id, status in after.items() if media_id not in before}
    assert list(new.values()) == expected(path, step, point, afterwards)
    assert upload.parts_sent <= 1, "confirmed bytes were sent again"
    if path == "turned_private":
        await stand.retire_all()
        assert await upload.cache_controls() == {"private"}
    await stand.audit(*new)


async def walk(upload: Upload, step: str, point: P) -> None:
    """As far as `point`, where the process that passes it is killed."""
    for each in ("create", "send", "complete"):
        # What is signed is signed in order to be sent.
        if each == step or (each, step) == ("send", "sign"):
            break
        await upload.run(each)
    await upload.stand.killable.die(step, point, upload.given(step))


async def client_returns(upload: Upload) -> None:
    """It repeats all it did, storage speaks up as well, and a new worker comes; no sweeper is needed."""
    await upload.finish()
    await upload.deliver_event()
    await upload.run("complete")
    await upload.stand.let_leases_end()
    await upload.stand.work()


async def event_comes(upload: Upload) -> None:
    """The client is gone for good; storage tells of what arrived, late and twice."""
    await upload.deliver_event()
    await nobody_comes(upload)


async def nobody_comes(upload: Upload) -> None:
    """Neither client nor event: the sweeper, early and once the session is over, and a new worker."""
    await upload.stand.sweep()
    await upload.stand.let_days_pass()
    await upload.stand.sweep()
    await upload.stand.work()
    await upload.stand.let_days_pass()
    await upload.stand.sweep()


def expected(path: str, step: str, point: P, afterwards: str) -> list[str]:
    """The media there are in the end: READY if the bytes were there or came, EXPIRED if not, none if none was begun."""
    if path == "duplicate":
        return []
    if afterwards == "client_returns" or step in {"complete", "work"}:
        return ["READY"]
    if point in {P.UPLOADS_PLANNED, P.QUOTA_RESERVED}:
        return []
    is_linked = path == "linked" and point not in {P.MEDIA_INITIATED, P.CONTENT_LINKED}
    return ["READY" if is_linked else "EXPIRED"]
