"""What an index declaration holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Index:
    """`serves` names the query; `targets` says how it routes on a sharded cluster (shard key in docs/decisions).

    `seldom`: nothing asks for it from day to day, so that it is not to be judged by how often it is used.
    """

    name: str
    keys: tuple[tuple[str, int], ...]
    serves: str
    targets: str
    options: Mapping[str, Any] = field(default_factory=dict)
    seldom: bool = False

    def specification(self) -> dict[str, Any]:
        """The document that `createIndexes` takes."""
        return {"name": self.name, "key": dict(self.keys), **self.options}

    @property
    def works_unasked(self) -> bool:
        """Whether the database itself needs it, for what no query asks: removing what is old, refusing duplicates."""
        return "expireAfterSeconds" in self.options or bool(self.options.get("unique"))
