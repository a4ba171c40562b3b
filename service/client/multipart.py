"""One file in parts: several at once, each retried alone, and none that storage has confirmed sent again."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from service.client.answers import UploadPart, UploadSession, UploadTarget
from service.client.errors import ApiError, ClientError, StorageRefused, TargetExpired
from service.client.local_file import LocalFile
from service.client.retrying import retrying
from service.client.transfer import BytesSent, FilePart

PARTS_AT_ONCE = 3
# The API signs up to 100 in one call; a group is hashed first, and what is signed early runs out while it waits.
SIGNED_TOGETHER = 20


@dataclass(frozen=True, slots=True)
class PartCalls:
    """What a transfer asks of others: to sign parts (by number, SHA-256 in hex), and to send one to its target."""

    sign: Callable[[Mapping[int, str]], Awaitable[dict[int, UploadTarget]]]
    put: Callable[[UploadTarget, FilePart, BytesSent], Awaitable[str | None]]


def parts_of(session: UploadSession, file: LocalFile) -> list[FilePart]:
    """How `file` is cut: every part of the session's size, the last one the rest. Raises ApiError if it has no size."""
    if not session.part_size:
        raise ApiError("PROTOCOL_ERROR", "The API asks for parts without saying how large they are.")
    offsets = range(0, file.byte_size, session.part_size)
    return [
        FilePart(number, offset, min(session.part_size, file.byte_size - offset))
        for number, offset in enumerate(offsets, start=1)
    ]


async def send_parts(
    file: LocalFile,
    parts: Sequence[FilePart],
    confirmed: Sequence[UploadPart],
    calls: PartCalls,
    *,
    at_once: int,
    delays_s: Sequence[float],
    on_bytes: BytesSent,
) -> tuple[UploadPart, ...]:
    """Send those of `parts` that are not `confirmed`, `at_once` at a time; all of them in order, as storage has them.

    `on_bytes` hears how many bytes of the file are out, confirmed ones included. After a failure, which is raised as
    the ClientError it is, no other part is begun, but what is under way may arrive: it need not be sent again.
    """
    transfer = _Transfer(file, parts, confirmed, calls, delays_s, on_bytes)
    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(transfer.work())
    if transfer.failure is not None:
        raise transfer.failure
    return tuple(transfer.done[part.number] for part in parts)


class _Transfer:
    """What the tasks that send one file share."""

    def __init__(
        self,
        file: LocalFile,
        parts: Sequence[FilePart],
        confirmed: Sequence[UploadPart],
        calls: PartCalls,
        delays_s: Sequence[float],
        on_bytes: BytesSent,
    ) -> None:
        lengths = {part.number: part.length for part in parts}
        self.done = {part.number: part for part in confirmed if lengths.get(part.number) == part.byte_size}
        self.failure: ClientError | None = None
        self._file = file
        self._calls = calls
        self._delays_s = delays_s
        self._on_bytes = on_bytes
        self._bytes = {number: part.byte_size for number, part in self.done.items()}
        self._missing = deque(part for part in parts if part.number not in self.done)
        self._signed: deque[tuple[FilePart, str, UploadTarget]] = deque()
        self._signing = asyncio.Lock()

    async def work(self) -> None:
        """Send part after part until none is left, or one has failed."""
        try:
            while self.failure is None and (signed := await self._next()) is not None:
                await self._send(*signed)
        except ClientError as error:
            self.failure = self.failure or error

    async def _next(self) -> tuple[FilePart, str, UploadTarget] | None:
        async with self._signing:
            if not self._signed and self._missing and self.failure is None:
                await self._sign_group()
            return self._signed.popleft() if self._signed else None

    async def _sign_group(self) -> None:
        group = [self._missing.popleft() for _ in range(min(SIGNED_TOGETHER, len(self._missing)))]
        digests = {part.number: await self._file.part_sha256(part.offset, part.length) for part in group}
        targets = await self._calls.sign(digests)
        self._signed.extend((part, digests[part.number], targets[part.number]) for part in group)

    async def _send(self, part: FilePart, sha256: str, target: UploadTarget) -> None:
        self._note(part, 0)
        try:
            etag = await self._put(part, target)
        except TargetExpired:
            # What was signed together runs out together.
            self._missing.extendleft(reversed([part for part, _, _ in self._signed]))
            self._signed.clear()
            # Once: what is refused right after it was signed is refused for another reason.
            target = (await self._calls.sign({part.number: sha256}))[part.number]
            etag = await self._put(part, target)
        if not etag:
            raise StorageRefused("NO_ETAG", f"Storage confirmed part {part.number} without an ETag.")
        self.done[part.number] = UploadPart(number=part.number, byte_size=part.length, etag=etag)

    async def _put(self, part: FilePart, target: UploadTarget) -> str | None:
        return await retrying(
            lambda: self._calls.put(target, part, lambda sent: self._note(part, sent)), self._delays_s
        )

    def _note(self, part: FilePart, sent: int) -> None:
        self._bytes[part.number] = sent
        self._on_bytes(sum(self._bytes.values()))
