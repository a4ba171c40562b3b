"""A steady load of clients, each of which lives through one photo's life and writes down what it was told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from contextlib import aclosing
from random import Random
from typing import Any

from anyio import to_thread

from service.client import ApiError, ClientError, LocalFile, MediaClient, UploadSession, inspect_file
from tests.chaos import client as api
from tests.chaos.client import Caller
from tests.chaos.files import write_photo
from tests.chaos.ledger import Ledger, Life
from tests.chaos.world import World

OWNERS = 8
# How the lives differ.
IN_PARTS, TOLD_TWICE, NEVER_COMPLETED, NEVER_SENT, DELETED, DELETED_EARLY = 0.04, 0.3, 0.12, 0.04, 0.3, 0.06
TITLES, READS_EVERY_S, PROBES_EVERY_S, PROBES_AT_ONCE = 3, 0.5, 0.15, 5
_DELAYS_S = (0.25, 0.5, 1.0)
_LOOK_S = 0.1


class Load:
    """`begin`, `end`, then `close` it. A life goes on after `ready_within_s` seconds, READY or not."""

    def __init__(
        self, world: World, ledger: Ledger, random: Random, *, lives_per_s: float, ready_within_s: float
    ) -> None:
        self._world, self.ledger, self._random = world, ledger, random
        self._pause_s, self._ready_within_s = 1 / lives_per_s, ready_within_s
        self._followers: set[asyncio.Task[None]] = set()
        self._lives: set[asyncio.Task[Any]] = set()
        self._background: list[asyncio.Task[None]] = []
        self._given_up = False
        self._callers: dict[str, tuple[MediaClient, Caller]] = {}
        self._folder = world.folder / "photos"
        self._folder.mkdir()

    async def begin(self) -> None:
        for number in range(OWNERS):
            self._add_caller(f"owner-{number}")
        self._add_caller("prober")
        loops = (self._spawn, self._read, self._probe)
        self._background = [asyncio.create_task(loop()) for loop in loops]

    async def end(self, *, patience_s: float) -> None:
        """Begin nothing more, let what was begun end, and give up on what does not. Who follows media goes on."""
        await self._stop(self._background)
        if self._lives:
            await asyncio.wait(self._lives, timeout=patience_s)
        self._given_up = True
        await self._stop(self._lives)

    async def close(self, *, patience_s: float) -> None:
        """Wait until who follows media has heard what became of them, and disconnect."""
        if self._followers:
            await asyncio.wait(self._followers, timeout=patience_s)
        await self._stop(self._followers)
        for client, caller in self._callers.values():
            await client.__aexit__(None, None, None)
            await caller.close()

    @staticmethod
    async def _stop(tasks: Collection[asyncio.Task[Any]]) -> None:
        for task in tasks:
            task.cancel()
        for error in await asyncio.gather(*tasks, return_exceptions=True):
            # A bug of the load itself must not pass for a quiet one.
            if isinstance(error, Exception):
                raise error

    def _add_caller(self, owner: str) -> None:
        token = self._world.token(owner)
        client = MediaClient(self._world.url, token, delays_s=_DELAYS_S)
        self._callers[owner] = client, Caller(self._world.url, token, self.ledger, lambda: self._given_up)

    async def _spawn(self) -> None:
        for number in range(1_000_000):
            task = asyncio.create_task(self._live(number, f"owner-{number % OWNERS}"))
            self._lives.add(task)
            task.add_done_callback(self._forget)
            await asyncio.sleep(self._pause_s)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and task.exception() is None:
            self._lives.discard(task)

    async def _live(self, number: int, owner: str) -> None:
        client, caller = self._callers[owner]
        file = await self._photo(number)
        life = Life(owner, f"create-{number}")
        self.ledger.lives.append(life)
        choices = Random(self._random.getrandbits(64))
        session = await self._create(life, client, caller, file, choices)
        if session is None:
            return
        self._followers.add(asyncio.create_task(self._follow(life, client, caller)))
        await self._send(life, client, caller, session, file, choices)
        file.path.unlink()
        if choices.random() < DELETED_EARLY:
            await self._delete(life, caller)
        deadline = time.monotonic() + self._ready_within_s
        while not life.has_ended and time.monotonic() < deadline:  # noqa: ASYNC110 - both may come
            await asyncio.sleep(_LOOK_S)
        await self._describe(life, caller, number)
        if choices.random() < DELETED:
            await self._delete(life, caller)

    async def _photo(self, number: int) -> LocalFile:
        path = self._folder / f"{number}.jpg"
        in_parts = self._random.random() < IN_PARTS
        await to_thread.run_sync(lambda: write_photo(path, self._random, in_parts=in_parts))
        return await inspect_file(path)

    async def _create(
        self, life: Life, client: MediaClient, caller: Caller, file: LocalFile, choices: Random
    ) -> UploadSession | None:
        session: UploadSession | None = None
        key = life.capture_id
        for _ in range(2 if choices.random() < TOLD_TWICE else 1):
            began = time.monotonic()
            answered = await caller.insist(
                "createUploads",
                lambda: client.create_uploads([file], purpose="COMMUNITY", idempotency_key=key, capture_id=key),
            )
            if answered is None:
                break
            [outcome] = answered
            if not isinstance(outcome, UploadSession):
                told = outcome.code if isinstance(outcome, ApiError) else "a duplicate"
                self.ledger.refused.append(f"createUploads answered {told} for a new file")
                break
            self.ledger.note("createUploads", began)
            life.media_ids.add(outcome.media_id)
            session = outcome
        return session

    async def _send(
        self,
        life: Life,
        client: MediaClient,
        caller: Caller,
        session: UploadSession,
        file: LocalFile,
        choices: Random,
    ) -> None:
        if choices.random() < NEVER_SENT:
            return
        parts = await caller.insist("send", lambda: client.send(session, file))
        if parts is None:
            return
        life.is_sent = True
        if not parts and choices.random() < NEVER_COMPLETED:
            return
        for _ in range(2 if choices.random() < TOLD_TWICE else 1):
            began = time.monotonic()
            if await caller.insist("completeUpload", _done(lambda: client.complete(session.id, parts))):
                life.is_completed = True
                self.ledger.note("completeUpload", began)

    async def _follow(self, life: Life, client: MediaClient, caller: Caller) -> None:
        """As an app does: until the terminal status, through every lost connection, from where it was."""
        cursor: str | None = None
        life.follows = True
        while True:
            try:
                async with aclosing(client.follow([str(life.media_id)], after=cursor)) as updates:
                    async for update in updates:
                        cursor = update.cursor
                        life.heard.append((update.status, update.sequence))
                return
            except ClientError as error:
                if not caller.take(error, "mediaStatus") or self._given_up:
                    return
                await asyncio.sleep(api.PAUSES_S[-2])

    async def _describe(self, life: Life, caller: Caller, number: int) -> None:
        if life.deletion_tried:
            return
        for count in range(TITLES):
            await self._retitle(life, caller, f"title {count} of {number}")
        text = f"text of {number}"
        life.annotations_tried.add(text)
        given = [{"label": "seen", "text": text}, {"label": "seen", "text": f"{text}, to be removed"}]
        life.annotations_tried.add(given[1]["text"])
        written = await caller.write(
            api.ANNOTATE,
            "annotateMedia",
            {
                "mediaId": life.media_id,
                "source": f"user:{life.owner}",
                "annotations": given,
                "idempotencyKey": f"annotate-{number}",
            },
        )
        if written is None:
            return
        life.annotations = {each["text"]: each["id"] for each in written["annotations"]}
        surplus = life.annotations[given[1]["text"]]
        life.removals[surplus] = False
        removal = {"ids": [surplus], "idempotencyKey": f"remove-{number}"}
        life.removals[surplus] = await caller.write(api.REMOVE, "deleteAnnotations", removal) is not None

    async def _retitle(self, life: Life, caller: Caller, title: str) -> None:
        life.titles.tried.append(title)
        if await self._change(life, caller, {"title": title, "idempotencyKey": title}):
            life.titles.acknowledged.append(title)

    @staticmethod
    async def _change(life: Life, caller: Caller, given: dict[str, Any]) -> bool:
        life.changes_tried += 1
        is_made = await caller.write(api.UPDATE, "updateMedia", {"id": life.media_id, **given}) is not None
        life.changes += is_made
        return is_made

    async def _delete(self, life: Life, caller: Caller) -> None:
        if life.deletion_tried:
            return
        life.deletion_tried = True
        given = {"ids": [life.media_id], "idempotencyKey": f"delete-{life.media_id}"}
        if await caller.write(api.DELETE, "deleteMedia", given) is None:
            return
        life.deleted_at = time.monotonic()
        # Each of the APIs in turn: hidden is what it is everywhere.
        for _ in range(2):
            answer = await caller.read(api.MEDIA, id=life.media_id)
            shown = (answer or {}).get("media")
            life.shown_after_deletion += shown is not None and shown["status"] != "DELETED"

    async def _read(self) -> None:
        while True:
            owner = f"owner-{self._random.randrange(OWNERS)}"
            document = self._random.choice((api.FEED, api.OWN))
            await self._callers[owner][1].read(document)
            await asyncio.sleep(READS_EVERY_S)

    async def _probe(self) -> None:
        """Small writes at short intervals, a few at once: they tell when writes are back."""
        client, caller = self._callers["prober"]
        file = await self._photo(1_000_001)
        life = Life("prober", "prober")
        self.ledger.lives.append(life)
        if await self._create(life, client, caller, file, Random(0)) is None:
            return
        slots = asyncio.Semaphore(PROBES_AT_ONCE)
        for number in range(1_000_000):
            await slots.acquire()
            given = {"position": number, "idempotencyKey": f"probe-{number}"}
            probe = asyncio.create_task(self._change(life, caller, given))
            self._lives.add(probe)
            probe.add_done_callback(self._forget)
            probe.add_done_callback(lambda _: slots.release())
            await asyncio.sleep(PROBES_EVERY_S)


def _done(call: Callable[[], Any]) -> Callable[[], Any]:
    async def attempt() -> bool:
        await call()
        return True

    return attempt
