"""What goes wrong, and when: drawn from a seed, or read from a file that an earlier round wrote."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from pathlib import Path
from random import Random

from pydantic import BaseModel, ConfigDict, TypeAdapter

from tests.chaos.world import APIS, LEASE_S, WORKERS


class Kind(enum.StrEnum):
    """KILL: as by `kill -9`, started again afterwards. PAUSE: stopped and continued. SKEW: the wall clock is wrong.

    Of connections: CUT, all are reset and new ones too; SILENCE, nothing passes and nothing ends; DELAY; THROTTLE;
    ANSWER_503. Of storage's events: LOSE, and REPEAT, in another order.
    """

    KILL = "kill"
    PAUSE = "pause"
    SKEW = "skew"
    CUT = "cut"
    SILENCE = "silence"
    DELAY = "delay"
    THROTTLE = "throttle"
    ANSWER_503 = "answer 503"
    LOSE = "lose"
    REPEAT = "repeat"


PRIMARY, EVENTS = "primary", "storage events"


class Fault(BaseModel):
    """`at_s` from the beginning of the load, for `lasts_s`; `amount`: seconds of skew or delay, or bytes a second.

    `target`: a process, PRIMARY, EVENTS, or a connection such as `worker to storage`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    at_s: float
    kind: Kind
    target: str
    lasts_s: float
    amount: float = 0

    def __str__(self) -> str:
        amount = f" ({self.amount:g})" if self.amount else ""
        return f"{self.at_s:6.1f} s  {self.kind} {self.target}{amount} for {self.lasts_s:.1f} s"

    @property
    def name(self) -> str:
        return f"{self.kind} {self.target}"

    @property
    def is_failover(self) -> bool:
        return self.target == PRIMARY


_PLAN = TypeAdapter(tuple[Fault, ...])

# Longer than leases, and than the database needs to elect.
_PAUSE_S = (LEASE_S + 1.0, LEASE_S + 5.0)
_OUTAGE_S = (2.0, 7.0)
_REPERTOIRE: Sequence[tuple[Kind, Sequence[str], tuple[float, float], tuple[float, ...]]] = (
    (Kind.KILL, APIS, (0.5, 2.0), (0,)),
    (Kind.KILL, WORKERS, (0.5, 2.0), (0,)),
    (Kind.KILL, (PRIMARY,), (6.0, 9.0), (0,)),
    (Kind.PAUSE, APIS, _PAUSE_S, (0,)),
    (Kind.PAUSE, WORKERS, _PAUSE_S, (0,)),
    (Kind.PAUSE, (PRIMARY,), (6.0, 9.0), (0,)),
    (Kind.SKEW, (*APIS, *WORKERS), (5.0, 10.0), (-300, -45, 45, 300)),
    (Kind.CUT, ("api to database", "worker to database"), _OUTAGE_S, (0,)),
    (Kind.CUT, ("api to storage", "worker to storage", "client to storage"), _OUTAGE_S, (0,)),
    (Kind.SILENCE, ("api to database", "worker to database"), _OUTAGE_S, (0,)),
    (Kind.SILENCE, ("worker to storage", "client to storage"), _OUTAGE_S, (0,)),
    (Kind.DELAY, ("api to database", "worker to database", "worker to storage"), _OUTAGE_S, (0.05, 0.2)),
    (Kind.THROTTLE, ("client to storage", "worker to storage"), _OUTAGE_S, (20_000, 200_000)),
    (Kind.ANSWER_503, ("api to storage", "worker to storage", "client to storage"), _OUTAGE_S, (0,)),
    (Kind.LOSE, (EVENTS,), (5.0, 10.0), (0,)),
    (Kind.REPEAT, (EVENTS,), (5.0, 10.0), (0,)),
)
# How often a fault begins while another lasts, and the pause otherwise.
_TOGETHER, _PAUSE_BETWEEN_S = 0.3, (2.0, 5.0)
# After those that end a primary: it starts again, and follows.
_RECOVERY_S = 8.0
_FIRST_AT_S = 3.0


def draw_plan(seed: int, *, seconds: float) -> tuple[Fault, ...]:
    """Faults for so long, every kind once before any comes again; the same for the same arguments.

    None lies over one that ends a primary: how soon writes are back is measured there.
    """
    random, plan, at_s = Random(seed), list[Fault](), _FIRST_AT_S
    while True:
        for kind, targets, (shortest, longest), amounts in random.sample(_REPERTOIRE, len(_REPERTOIRE)):
            fault = Fault(
                at_s=round(at_s, 1),
                kind=kind,
                target=random.choice(targets),
                lasts_s=round(random.uniform(shortest, longest), 1),
                amount=random.choice(amounts),
            )
            if plan and (plan[-1].is_failover or fault.is_failover):
                fault = fault.model_copy(update={"at_s": round(max(at_s, _clear_after(plan)), 1)})
            if fault.at_s + fault.lasts_s > seconds:
                return tuple(plan)
            plan.append(fault)
            is_joined = random.random() < _TOGETHER
            pause = random.uniform(*_PAUSE_BETWEEN_S)
            at_s = fault.at_s + (fault.lasts_s / 2 if is_joined else fault.lasts_s + pause)


def _clear_after(plan: Sequence[Fault]) -> float:
    """When everything of `plan` is over and has recovered."""
    return max(each.at_s + each.lasts_s + (_RECOVERY_S if each.is_failover else 3.0) for each in plan)


def read_plan(path: Path) -> tuple[Fault, ...]:
    """A plan as `write_plan` wrote it. Raises pydantic's ValidationError."""
    return _PLAN.validate_json(path.read_bytes())


def write_plan(plan: Sequence[Fault], path: Path) -> None:
    """A plan as JSON, to be read again and repeated."""
    path.write_bytes(_PLAN.dump_json(tuple(plan), indent=1, exclude_defaults=True) + b"\n")
