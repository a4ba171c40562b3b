"""What the edge serves: which paths lead to which bucket, and whose signatures open them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from service.dev.edge.freshness import Lifetimes
from service.dev.edge.patterns import matches
from service.key_groups import path_rules

if TYPE_CHECKING:
    from service.settings import Settings


@dataclass(frozen=True, slots=True)
class Behavior:
    """A cache behaviour: requests under `path_pattern` (`*` any text, `?` one character) go to `bucket`.

    `trusted_keys` maps the id of each key pair to its public key as PEM. Other key pairs do not open these paths.
    `response_headers` go with every object.
    """

    path_pattern: str
    bucket: str
    trusted_keys: Mapping[str, str]
    response_headers: Mapping[str, str] = field(default_factory=dict)

    def covers(self, path: str) -> bool:
        """Whether a path in normal form belongs to this behaviour."""
        return matches(self.path_pattern.removeprefix("/"), path.removeprefix("/"))


@dataclass(frozen=True, slots=True)
class EdgeSettings:
    """`behaviors` are tried in order; all share one cache policy.

    An invalidation completes, and takes effect, `invalidation_delay_s` after it was created.
    """

    behaviors: tuple[Behavior, ...]
    allowed_origins: frozenset[str] = field(default_factory=frozenset)
    cache_bytes: int = 64_000_000
    lifetimes: Lifetimes = field(default_factory=Lifetimes)
    invalidation_delay_s: float = 0.0


def edge_settings(settings: Settings) -> EdgeSettings:
    """The edge's configuration for a service running with `settings`; ConfigurationError without usable keys."""
    return EdgeSettings(
        behaviors=tuple(
            Behavior(rule.path_pattern, rule.bucket, rule.trusted_keys, rule.response_headers)
            for rule in path_rules(settings)
        ),
        allowed_origins=frozenset((*settings.storage.allowed_origins, *settings.http.allowed_origins)),
    )
