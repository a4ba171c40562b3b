"""The behaviours of the distribution as a service's settings fill them in: buckets by name, key groups as keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

from service.cloudfront import check_public_key
from service.delivery import load_signers
from service.distribution import BEHAVIORS, KeyGroup, Origin
from service.errors import ConfigurationError

if TYPE_CHECKING:
    from service.cloudfront import Signer
    from service.settings import Settings, SigningKey


@dataclass(frozen=True, slots=True)
class PathRule:
    """Requests under `path_pattern` go to `bucket` and are opened by `trusted_keys`: ids to public keys as PEM. What
    they are answered with gets `response_headers`.
    """

    path_pattern: str
    bucket: str
    trusted_keys: Mapping[str, str]
    response_headers: Mapping[str, str]


def path_rules(settings: Settings) -> tuple[PathRule, ...]:
    """The rules of a distribution in front of the two buckets, in the order in which they are to be tried.

    Raises ConfigurationError if a key is missing or not usable.
    """
    keys, signers, storage = settings.delivery, load_signers(settings.delivery), settings.storage
    private_key = keys.private_key or keys.public_key
    groups = {
        KeyGroup.PUBLIC: _key_group(signers.public, keys.public_key),
        KeyGroup.PRIVATE: _key_group(signers.private, private_key),
        KeyGroup.ORIGINALS: _key_group(signers.original, keys.original_key or private_key),
    }
    buckets = {Origin.UPLOADS: storage.upload_bucket, Origin.RENDITIONS: storage.media_bucket}
    return tuple(
        PathRule(
            each.path_pattern,
            buckets[each.origin],
            reduce(_joined, (groups[name] for name in each.key_groups)),
            each.response_headers,
        )
        for each in BEHAVIORS
    )


def _key_group(signer: Signer, key: SigningKey | None) -> dict[str, str]:
    group = {signer.key_pair_id: signer.public_key}
    for other in () if key is None else key.also_trusted:
        group = _joined(group, {other.key_pair_id: check_public_key(other.key_pair_id, other.public_key)})
    return group


def _joined(keys: Mapping[str, str], others: Mapping[str, str]) -> dict[str, str]:
    for key_pair_id in keys.keys() & others.keys():
        if keys[key_pair_id] != others[key_pair_id]:
            raise ConfigurationError(f"Two different delivery keys are called {key_pair_id}.")
    return {**keys, **others}
