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
from tests.chaos.fate import Fate, draw_fate, stream
from tests.chaos.files import write_photo
from tests.chaos.ledger import Ledger, Life
from tests.chaos.probes import Probes, change, open_slots
from tests.chaos.reading import look_for, read_on
from tests.chaos.world import World

OWNERS = 8
TITLES = 3
_PROBER = "prober"
_DELAYS_S = (0.25, 0.5, 1.0)
_LOOK_S = 0.1


class Load:
    """`begin`, `end`, then `close` it. A life goes on after `ready_within_s` seconds, READY or not.

    What a life does follows from `seed` and its number; when, and how many there are, from how fast all goes.
    `failovers`: how many faults are to end a primary.
    """

    def __init__(
        self, world: World, ledger: Ledger, seed: int, *, lives_per_s: float, ready_within_s: float, failovers: int
    ) -> None:
        self._world, self.ledger, self._seed, self._failovers = world, ledger, seed, failovers
        self._pause_s, self._ready_within_s = 1 / lives_per_s, ready_within_s
        self._followers: set[asyncio.Task[None]] = set()
        self._lives: set[asyncio.Task[Any]] = set()
        self._background: list[asyncio.Task[None]] = []
        self._given_up = False
        self._clients: dict[str, tuple[MediaClient, Caller]] = {}
        # One for each API: an HTTP client keeps to the connection that it has.
        self._readers: dict[str, list[Caller]] = {}
        self._probes: Probes | None = None
        self._folder = world.folder / "photos"
        self._folder.mkdir()

    async def begin(self) -> None:
        for owner in (*(f"owner-{number}" for number in range(OWNERS)), _PROBER):
            self._add_caller(owner)
        slots = await open_slots(self._failovers, self._open_slot)
        self._probes = Probes(slots, self._clients[_PROBER][1], self.ledger)
        reading = read_on(self._readers.__getitem__, OWNERS, self.ledger, stream(self._seed, "reads"))
        loops = (self._spawn(), reading, self._probes.run())
        self._background = [asyncio.create_task(loop) for loop in loops]

    async def end(self, *, patience_s: float) -> None:
        """Begin nothing more, let what was begun end, and give up on what does not. Who follows media goes on."""
        await self._stop(self._background)
        begun = self._lives | (self._probes.under_way if self._probes is not None else set())
        if begun:
            await asyncio.wait(begun, timeout=patience_s)
        self._given_up = True
        await self._stop(begun)

    async def close(self, *, patience_s: float) -> None:
        """Wait until who follows media has heard what became of them, and disconnect."""
        if self._followers:
            await asyncio.wait(self._followers, timeout=patience_s)
        await self._stop(self._followers)
        for client, caller in self._clients.values():
            await client.__aexit__(None, None, None)
            await caller.close()
        for reader in (each for readers in self._readers.values() for each in readers):
            await reader.close()

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
        gateway, *readers = (
            Caller(url, token, self.ledger, lambda: self._given_up) for url in (self._world.url, *self._world.api_urls)
        )
        self._clients[owner], self._readers[owner] = (client, gateway), readers

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
        client, caller = self._clients[owner]
        fate, life = draw_fate(self._seed, number), Life(owner, f"create-{number}")
        file = await self._photo(life.capture_id, fate)
        self.ledger.lives.append(life)
        session = await self._create(life, client, caller, file, fate)
        if session is None:
            return
        self._followers.add(asyncio.create_task(self._follow(life, client, caller)))
        await self._send(life, client, caller, session, file, fate)
        file.path.unlink()
        if fate.is_deleted_early:
            await self._delete(life, caller)
        deadline = time.monotonic() + self._ready_within_s
        while not life.has_ended and time.monotonic() < deadline:  # noqa: ASYNC110 - both may come
            await asyncio.sleep(_LOOK_S)
        await self._describe(life, caller, number)
        if fate.is_deleted:
            await self._delete(life, caller)

    async def _photo(self, name: str, fate: Fate) -> LocalFile:
        path = self._folder / f"{name}.jpg"
        await to_thread.run_sync(lambda: write_photo(path, Random(fate.pixels), in_parts=fate.in_parts))
        return await inspect_file(path)

    async def _open_slot(self, number: int) -> Life:
        client, caller = self._clients[_PROBER]
        life, fate = Life(_PROBER, f"probe-{number}"), Fate(stream(self._seed, f"probe {number}").getrandbits(64))
        file = await self._photo(life.capture_id, fate)
        self.ledger.lives.append(life)
        await self._create(life, client, caller, file, fate)
        return life

    async def _create(
        self, life: Life, client: MediaClient, caller: Caller, file: LocalFile, fate: Fate
    ) -> UploadSession | None:
        session: UploadSession | None = None
        key = life.capture_id
        for _ in range(fate.created):
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
        self, life: Life, client: MediaClient, caller: Caller, session: UploadSession, file: LocalFile, fate: Fate
    ) -> None:
        if not fate.is_sent:
            return
        parts = await caller.insist("send", lambda: client.send(session, file))
        if parts is None:
            return
        life.is_sent = True
        for _ in range(fate.completed):
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
        if await change(life, caller, {"title": title, "idempotencyKey": title}):
            life.titles.acknowledged.append(title)

    async def _delete(self, life: Life, caller: Caller) -> None:
        if life.deletion_tried:
            return
        life.deletion_tried = True
        given = {"ids": [life.media_id], "idempotencyKey": f"delete-{life.media_id}"}
        if await caller.write(api.DELETE, "deleteMedia", given) is None:
            return
        life.deleted_at = time.monotonic()
        await look_for(life, self._readers[life.owner])


def _done(call: Callable[[], Any]) -> Callable[[], Any]:
    async def attempt() -> bool:
        await call()
        return True

    return attempt
