"""What clients do with a few media, and storage tells of them, in any order, as Hypothesis chooses it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Coroutine
from contextlib import suppress
from datetime import UTC, datetime
from itertools import count
from typing import Any, TypeVar
from uuid import UUID, uuid4

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from service.access import Viewer
from service.deletion import request_deletions
from service.errors import MediaServiceError
from service.event_intake import handle_storage_event
from service.finalisation import complete_upload
from service.media_changes import update_media
from service.processing_retry import retry_processing
from service.runtime import Runtime
from service.storage_events import EventKind, StorageEvent
from service.uploads import create_uploads
from tests.job_promises import Promises
from tests.worker_stand import ObjectsInMemory

T = TypeVar("T")

ANNA = Viewer("anna")
MAX_MEDIA = 3

numbers = st.integers(0, 11)


class ClientMachine(RuleBasedStateMachine):
    """The real use cases on a real database. `objects` is the storage of `runtime`."""

    def __init__(self, runtime: Runtime, objects: ObjectsInMemory, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.runtime, self.objects, self.loop = runtime, objects, loop
        self.stores, self.database = runtime.stores, runtime.database
        self.promises = Promises(objects)
        self.files: dict[UUID, bytes] = {}
        self.events: list[StorageEvent] = []
        self.sequencers = count(1)

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    @staticmethod
    def _one_of(choices: list[T], number: int) -> T:
        return choices[number % len(choices)]

    def _try(self, work: Coroutine[Any, Any, object]) -> None:
        """Ask for something that may be refused."""
        with suppress(MediaServiceError):
            self.do(work)

    @initialize(again=st.booleans())
    def begin(self, again: bool) -> None:
        self.create(again=False, private=False, is_sent=True)
        self.create(again=again, private=False, is_sent=True)
        for number, _ in enumerate(self.files):
            self.complete(number)

    @rule(again=st.booleans(), private=st.booleans(), is_sent=st.sampled_from([True, True, True, False]))
    @precondition(lambda self: len(self.files) < MAX_MEDIA)
    def create(self, again: bool, private: bool, is_sent: bool) -> None:
        """A photo, or the same one again for another place; most often its bytes follow at once."""
        known = list(self.files.values())
        photo = known[0] if again and known else f"photo {len(self.files)}".encode()
        described = {"contentType": "image/jpeg", "byteSize": len(photo), "sha256": hashlib.sha256(photo).hexdigest()}
        batch = {
            "purpose": "COMMUNITY",
            "visibility": "PRIVATE" if private else "PUBLIC",
            "captureId": uuid4().hex,
            "idempotencyKey": uuid4().hex,
            "files": [described],
        }
        [planned] = self.do(create_uploads(ANNA, batch, stores=self.stores, object_store=self.runtime.object_store))
        media_id = planned.upload_id or planned.duplicate_id
        assert media_id is not None
        self.files[media_id] = photo
        if is_sent:
            self._send(media_id)

    @rule(number=numbers)
    @precondition(lambda self: self.files)
    def send(self, number: int) -> None:
        self._send(self._one_of(list(self.files), number))

    def _send(self, media_id: UUID) -> None:
        """As a presigned PUT does: once, and while the session lasts."""
        upload = self.do(self.stores.uploads.get(media_id))
        if (
            upload is None
            or upload.get("linked")
            or "completed_at" in upload
            or upload["expires_at"] < datetime.now(UTC)
        ):
            return
        place = (upload["bucket"], upload["key"])
        if place not in self.objects.objects:
            self.objects.objects[place] = self.files[media_id]
            self.events.append(StorageEvent(EventKind.CREATED, *place, sequencer=f"{next(self.sequencers):04}"))

    @rule(number=numbers)
    @precondition(lambda self: self.events)
    def deliver_event(self, number: int) -> None:
        """Any that there was, in any order and any number of times."""
        event = self._one_of(self.events, number)
        self.do(handle_storage_event(event, stores=self.stores, object_store=self.runtime.object_store))

    @rule(number=numbers)
    @precondition(lambda self: self.files)
    def complete(self, number: int) -> None:
        media_id = self._one_of(list(self.files), number)
        self._try(
            complete_upload(
                ANNA,
                media_id,
                idempotency_key=uuid4().hex,
                stores=self.stores,
                object_store=self.runtime.object_store,
            )
        )

    @rule(number=numbers)
    @precondition(lambda self: self.files)
    def retry(self, number: int) -> None:
        media_id = self._one_of(list(self.files), number)
        self.promises.retries[media_id] += 1
        self._try(
            retry_processing(
                ANNA,
                media_id,
                idempotency_key=uuid4().hex,
                stores=self.stores,
                object_store=self.runtime.object_store,
            )
        )

    @rule(number=numbers, corner=st.sampled_from([0.0, 0.25, 0.5]), private=st.sampled_from([None, True, False]))
    @precondition(lambda self: self.files)
    def change(self, number: int, corner: float, private: bool | None) -> None:
        media_id = self._one_of(list(self.files), number)
        raw: dict[str, Any] = {
            "idempotency_key": uuid4().hex, "focus": {"x": corner, "y": 0.0, "width": 0.2, "height": 0.2},
        }  # fmt: skip
        if private is not None:
            raw["visibility"] = "PRIVATE" if private else "PUBLIC"
        self._try(update_media(ANNA, media_id, raw, stores=self.stores))

    @rule(number=numbers, sure=st.sampled_from([False, False, False, True]))
    @precondition(lambda self: self.files)
    def delete(self, number: int, sure: bool) -> None:
        """Seldom: afterwards there is little to see."""
        if not sure:
            return
        media_id = self._one_of(list(self.files), number)
        self.do(
            request_deletions(
                ANNA,
                [media_id],
                idempotency_key=uuid4().hex,
                stores=self.stores,
                media_bucket=self.objects.media_bucket,
            )
        )
