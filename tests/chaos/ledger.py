"""What clients were told, kept outside of all that is made to fail: each acknowledged write, each update heard."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

TERMINAL = frozenset({"READY", "FAILED", "QUARANTINED", "EXPIRED", "DELETED"})


@dataclass
class Written:
    """One value that is written over and over by one writer: what was tried, in order, and what was acknowledged."""

    tried: list[str] = field(default_factory=list)
    acknowledged: list[str] = field(default_factory=list)

    @property
    def possible(self) -> set[str]:
        """What may stand there: the last that was acknowledged, or one that was tried since without an answer."""
        last = self.tried.index(self.acknowledged[-1]) if self.acknowledged else 0
        return set(self.tried[last:])


@dataclass
class Life:
    """One file from its upload on, as its client saw it. Ids are the API's; moments are monotonic seconds.

    It is the only one of its capture. `media_ids`: every id that repeats under one idempotency key were given.
    `changes`: calls of updateMedia that were acknowledged, of which some give it another of its `titles`.
    `annotations`: those acknowledged, their ids by their text; `removals`: ids asked to be removed, and whether that
    was acknowledged. `heard`: status and sequence of each update, in the order of arrival. `shown_after_deletion`:
    answers that showed it nevertheless.
    """

    owner: str
    capture_id: str
    media_ids: set[str] = field(default_factory=set)
    is_sent: bool = False
    is_completed: bool = False
    changes_tried: int = 0
    changes: int = 0
    titles: Written = field(default_factory=Written)
    positions: Written = field(default_factory=Written)
    annotations_tried: set[str] = field(default_factory=set)
    annotations: dict[str, str] = field(default_factory=dict)
    removals: dict[str, bool] = field(default_factory=dict)
    deletion_tried: bool = False
    deleted_at: float | None = None
    heard: list[tuple[str, int]] = field(default_factory=list)
    follows: bool = False
    shown_after_deletion: int = 0

    @property
    def media_id(self) -> str | None:
        """Its id, once it has one."""
        return next(iter(self.media_ids), None)

    @property
    def is_deleted(self) -> bool:
        return self.deleted_at is not None

    @property
    def has_ended(self) -> bool:
        """Its client has heard of a terminal status."""
        return any(status in TERMINAL for status, _ in self.heard)


@dataclass
class Failover:
    """Seconds from the fault to the first acknowledgment of a write that began after it; None until there was one.

    `elected_after_s`: until another member of the set was primary, of which the service hears later.
    """

    fault: str
    began: float
    back_after_s: float | None = None
    elected_after_s: float | None = None


@dataclass
class Ledger:
    """`refused`: answers that are neither a success nor an outage, a sentence each. `done`: faults, by their names.

    `delivered`: webhook events in the order in which their receiver took them first, as media, sequence and type.
    """

    lives: list[Life] = field(default_factory=list)
    acknowledged: Counter[str] = field(default_factory=Counter)
    failovers: list[Failover] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    outages: Counter[str] = field(default_factory=Counter)
    read_latencies_s: list[float] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    delivered: list[tuple[str, int, str]] = field(default_factory=list)

    def note(self, operation: str, began: float) -> None:
        """A write that began at `began` was acknowledged just now."""
        self.acknowledged[operation] += 1
        now = time.monotonic()
        for failover in self.failovers:
            if failover.back_after_s is None and began >= failover.began:
                failover.back_after_s = now - failover.began
