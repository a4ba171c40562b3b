"""How the lives of photos differ: drawn from the seed and the number of each, whatever else is drawn when."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

# The shares of lives that go so.
IN_PARTS, TOLD_TWICE, NEVER_COMPLETED, NEVER_SENT, DELETED, DELETED_EARLY = 0.04, 0.3, 0.12, 0.04, 0.3, 0.06


@dataclass(frozen=True, slots=True)
class Fate:
    """`pixels`: what its photo is drawn from. `created`, `completed`: how often its client says so, under one key."""

    pixels: int
    in_parts: bool = False
    created: int = 1
    is_sent: bool = True
    completed: int = 1
    is_deleted_early: bool = False
    is_deleted: bool = False


def stream(seed: int, name: str) -> Random:
    """Random numbers of one part of a round, which no other part draws from."""
    return Random(f"{seed}:{name}")


def draw_fate(seed: int, number: int) -> Fate:
    """The same for the same arguments. What is sent in parts is always completed: only its client can."""
    random = stream(seed, f"life {number}")
    pixels = random.getrandbits(64)
    in_parts, twice, again, never_sent, never_completed, early, late = (random.random() for _ in range(7))
    return Fate(
        pixels=pixels,
        in_parts=in_parts < IN_PARTS,
        created=1 + (twice < TOLD_TWICE),
        is_sent=never_sent >= NEVER_SENT,
        completed=0 if never_completed < NEVER_COMPLETED and in_parts >= IN_PARTS else 1 + (again < TOLD_TWICE),
        is_deleted_early=early < DELETED_EARLY,
        is_deleted=late < DELETED,
    )
