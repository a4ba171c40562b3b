"""Memory of messages that have begun to arrive and not ended, over all sockets of a process."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final, Generic, TypeVar

# What each socket may hold however many there are: operations of ordinary length.
FREE_BYTES: Final = 16 * 1024

Socket = TypeVar("Socket", bound=Hashable)


class UnfinishedMessages(Generic[Socket]):
    """Counts what sockets hold beyond FREE_BYTES each; at most `limit` bytes in all."""

    def __init__(self, limit: int = 64 * 1024 * 1024) -> None:
        self._limit = limit
        self._total = 0
        # In the order in which their messages outgrew what is free.
        self._held: dict[Socket, int] = {}

    def hold(self, socket: Socket, size: int) -> list[Socket]:
        """Note that `socket` holds `size` bytes; the sockets to be given up for it, who took longest first.

        What is sent at once takes its bytes for moments: to fill the memory takes time, and who takes it has to go.
        """
        if size <= FREE_BYTES:
            self.forget(socket)
        else:
            self._note(socket, size - FREE_BYTES)
        excess, slowest = self._total - self._limit, []
        for other, held in self._held.items():
            if excess <= 0:
                break
            slowest.append(other)
            excess -= held
        return slowest

    def forget(self, socket: Socket) -> None:
        """`socket` holds no unfinished message any more."""
        self._total -= self._held.pop(socket, 0)

    def _note(self, socket: Socket, excess: int) -> None:
        self._total += excess - self._held.get(socket, 0)
        self._held[socket] = excess
