"""Receipts of the steps that a worker itself takes for a media, and how receipts are kept in its document."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from service.models import Receipt


@dataclass(slots=True)
class _Step:
    """What is learnt of a step while it runs."""

    tool: str
    parameters: dict[str, str | int | float | bool] = field(default_factory=dict)


class Receipts:
    """The receipts of one job, in the order of its steps."""

    def __init__(self) -> None:
        self._kept: list[Receipt] = []

    @contextmanager
    def of(self, step: str, tool: str) -> Iterator[_Step]:
        """Keep a receipt of what the block does, unless it raises. Its CPU is shared with other jobs: not counted."""
        running, started = _Step(tool), time.perf_counter()
        yield running
        wall_ms = round(1e3 * (time.perf_counter() - started), 3)
        self._kept.append(Receipt(step, wall_ms, 0.0, running.tool, running.parameters))

    def add(self, receipts: Sequence[Receipt]) -> None:
        """Add those that came out of the jail."""
        self._kept.extend(receipts)

    def as_document(self, input_sha256: str) -> list[dict[str, Any]]:
        """As the media's document keeps them; every step of a job works on the same original."""
        return [{**asdict(receipt), "input_sha256": input_sha256} for receipt in self._kept]
