"""What an index declaration holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Index:
    """`serves` names the query; `targets` says how it routes on a sharded cluster (shard key in docs/decisions)."""

    name: str
    keys: tuple[tuple[str, int], ...]
    serves: str
    targets: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def specification(self) -> dict[str, Any]:
        """The document that `createIndexes` takes."""
        return {"name": self.name, "key": dict(self.keys), **self.options}
