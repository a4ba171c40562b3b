"""What the edge serves: which paths lead to which bucket, and whose signatures open them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from service.delivery import load_signers

if TYPE_CHECKING:
    from service.settings import Settings

DAY = 86_400


@dataclass(frozen=True, slots=True)
class Behavior:
    """A cache behaviour: requests under `path_pattern` (`*` any text, `?` one character) go to `bucket`.

    `trusted_keys` maps the id of each key pair to its public key as PEM. Other key pairs do not open these paths.
    """

    path_pattern: str
    bucket: str
    trusted_keys: Mapping[str, str]

    def covers(self, path: str) -> bool:
        """Whether the path of a request, as it arrived, belongs to this behaviour."""
        pattern = re.escape(self.path_pattern.removeprefix("/")).replace(r"\*", ".*").replace(r"\?", ".")
        return re.fullmatch(pattern, path.removeprefix("/"), re.DOTALL) is not None


@dataclass(frozen=True, slots=True)
class EdgeSettings:
    """`behaviors` are tried in order. Lifetimes in seconds; the defaults are CloudFront's."""

    behaviors: tuple[Behavior, ...]
    allowed_origins: frozenset[str] = field(default_factory=frozenset)
    cache_bytes: int = 64_000_000
    default_ttl_s: int = DAY
    error_ttl_s: int = 10


def edge_settings(settings: Settings) -> EdgeSettings:
    """The edge's configuration for a service running with `settings`; ConfigurationError without usable keys."""
    signers = load_signers(settings.delivery)
    renditions = {signer.key_pair_id: signer.public_key for signer in (signers.public, signers.private)}
    return EdgeSettings(
        behaviors=(
            Behavior(
                "*/raw/*", settings.storage.upload_bucket, {signers.original.key_pair_id: signers.original.public_key}
            ),
            Behavior("*/processed/*", settings.storage.media_bucket, renditions),
        ),
        allowed_origins=frozenset((*settings.storage.allowed_origins, *settings.http.allowed_origins)),
    )
