"""Whoever is given the address of an original is on record before: no address without its entry."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from service.audit import AuditAction, Deed, Note, moment
from service.errors import TemporarilyUnavailable
from service.gathering import Gathering
from service.stores.audit import PAGE, AuditStore

# Addresses that are known to be on record, about 0.4 kB each: no more are given out within one window.
CAPACITY: Final = 50_000
# While chains cannot be written to, those who ask are refused without waiting for a deadline each.
_REFUSAL_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Access:
    """One viewer's address of the original of one media, which opens until `until`: the same all through a window."""

    viewer_id: str
    owner_id: str
    media_id: UUID
    until: datetime

    def deed(self) -> Deed:
        """As it goes on record: once for each window."""
        viewer = hashlib.sha256(self.viewer_id.encode()).hexdigest()[:16]
        note = Note(AuditAction.ORIGINAL_ACCESSED, actor=self.viewer_id, details={"until": moment(self.until)})
        entry_id = f"original:{self.media_id}:{viewer}:{int(self.until.timestamp())}"
        return Deed(entry_id, note, owner=self.owner_id, subject=str(self.media_id))


class OriginalAccess:
    """One a process. What is asked for at the same time, by whomever, goes on record together."""

    def __init__(self, audit: AuditStore, *, capacity: int = CAPACITY) -> None:
        self._audit = audit
        self._capacity = capacity
        self._on_record: OrderedDict[Access, None] = OrderedDict()
        self._refused_until = 0.0
        # The resolvers of a page run within one turn of the event loop: nobody has to linger.
        self._gathering = Gathering(self._record, limit=PAGE, linger_s=0)

    def is_on_record(self, access: Access) -> bool:
        """Whether this process knows that it is."""
        return access in self._on_record

    async def put_on_record(self, access: Access) -> None:
        """Return once it is on record. Raises TemporarilyUnavailable: the address must not be given out then."""
        if access not in self._on_record:
            await self._gathering.add(access)

    async def put_all_on_record(self, accesses: Iterable[Access]) -> None:
        """The same for many, ahead of their use. Raises nothing: who uses one that is not on record is refused."""
        if missing := [access for access in accesses if access not in self._on_record]:
            with suppress(TemporarilyUnavailable):
                await self._record(missing)

    async def _record(self, accesses: list[Access]) -> None:
        if time.monotonic() < self._refused_until:
            raise _refusal()
        wanted = list(dict.fromkeys(accesses))
        try:
            await self._audit.record([access.deed() for access in wanted])
        except TemporarilyUnavailable as error:
            self._refused_until = time.monotonic() + _REFUSAL_S
            raise _refusal() from error
        for access in wanted:
            self._on_record[access] = None
        while len(self._on_record) > self._capacity:
            self._on_record.popitem(last=False)


def _refusal() -> TemporarilyUnavailable:
    return TemporarilyUnavailable(
        "That you look at the original cannot be put on record at the moment, so its address is not given. Try again."
    )
