"""Signed URLs for renditions and originals: the same for a whole window, live for at least the policy's minimum."""

from __future__ import annotations

import time
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from service.cloudfront import HashAlgorithm, Signer
from service.errors import ConfigurationError
from service.models import MediaPurpose, RenditionName, Visibility
from service.object_keys import media_of_original, media_of_rendition, rendition_prefix
from service.policies import ORIGINAL_URL_LIFETIME_S, POLICIES, UrlLifetime

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from service.settings import DeliverySettings, SigningKey

# About 1 kB each: enough for the media of many feeds at once, without a bound that matters to the process.
MEMOISED_SIGNATURES = 20_000

_ORIGINAL_LIFETIME = UrlLifetime(window_s=60, minimum_s=ORIGINAL_URL_LIFETIME_S)

_LIFETIMES = {
    (purpose, rendition.name): rendition.url_lifetime
    for purpose, policy in POLICIES.items()
    for rendition in policy.renditions
}

# One signature opens all renditions of a media, so it may live no longer than the most short-lived of them.
_SHARED_LIFETIMES = {
    purpose: min(
        (rendition.url_lifetime for rendition in policy.renditions), key=lambda life: life.window_s + life.minimum_s
    )
    for purpose, policy in POLICIES.items()
}

# Sensitive enough that each picture is signed on its own.
_SIGNED_ONE_BY_ONE = frozenset({MediaPurpose.MEDICAL})


@dataclass(frozen=True, slots=True)
class SignedUrl:
    """An address that opens without credentials until `expires_at` (UTC)."""

    url: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Signers:
    """One key pair for each class of object, so that each can be revoked alone."""

    public: Signer
    private: Signer
    original: Signer

    def of(self, visibility: Visibility) -> Signer:
        return self.public if visibility is Visibility.PUBLIC else self.private


def load_signers(settings: DeliverySettings) -> Signers:
    """The signers of all classes; ConfigurationError if no key is set, or one is not usable."""
    if settings.public_key is None:
        raise ConfigurationError(
            "No key signs delivery URLs: set MEDIA_DELIVERY__PUBLIC_KEY__KEY_PAIR_ID and "
            "MEDIA_DELIVERY__PUBLIC_KEY__PRIVATE_KEY."
        )
    algorithm = HashAlgorithm(settings.hash_algorithm)

    def signer(key: SigningKey) -> Signer:
        return Signer(settings.base_url, key.key_pair_id, key.private_key.get_secret_value(), algorithm)

    private = settings.private_key or settings.public_key
    return Signers(
        public=signer(settings.public_key), private=signer(private), original=signer(settings.original_key or private)
    )


def window_end(now: float, media_id: UUID, lifetime: UrlLifetime) -> int:
    """When a URL signed at `now` expires, in Unix seconds: more than `minimum_s` ahead, and equal all through a window.

    Each media's windows begin at its own phase: otherwise every URL of the service would change in the same second.
    """
    window = lifetime.window_s
    phase = zlib.crc32(media_id.bytes) % window
    return ((int(now) - phase) // window + 1) * window + phase + lifetime.minimum_s


def cache_control(purpose: MediaPurpose, rendition: RenditionName, visibility: Visibility) -> str:
    """The Cache-Control to store with a rendition's bytes. KeyError if the purpose does not make it."""
    max_age = POLICIES[purpose].rendition(rendition).cache_max_age_s
    if visibility is Visibility.PUBLIC:
        return f"public, max-age={max_age}, immutable"
    return f"private, max-age={max_age}"


class Delivery:
    """Signs for everyone who asks. Synchronous and quick: a repeat inside the window costs no cryptography."""

    def __init__(self, settings: DeliverySettings, *, clock: Callable[[], float] = time.time) -> None:
        self._base_url = settings.base_url
        self._signers = load_signers(settings)
        self._clock = clock
        self._sign_rendition = lru_cache(MEMOISED_SIGNATURES)(_sign_rendition)
        self._sign_original = lru_cache(MEMOISED_SIGNATURES)(_sign_original)
        self._sign_all = lru_cache(MEMOISED_SIGNATURES)(_sign_all)

    def rendition_url(
        self, *, media_id: UUID, purpose: MediaPurpose, visibility: Visibility, rendition: RenditionName, key: str
    ) -> SignedUrl:
        """The URL of one rendition. ValueError if `key` is not a rendition of this media."""
        # Renditions outlive the policy that made them: one it no longer lists is as short-lived as any.
        lifetime = _LIFETIMES.get((purpose, rendition), _SHARED_LIFETIMES[purpose])
        expires = window_end(self._clock(), media_id, lifetime)
        return self._sign_rendition(self._signers.of(visibility), key, media_id, expires)

    def rendition_urls(
        self,
        *,
        media_id: UUID,
        purpose: MediaPurpose,
        visibility: Visibility,
        renditions: Sequence[tuple[RenditionName, str]],
    ) -> list[SignedUrl]:
        """The URLs of several renditions of one media, in order, under one signature except where each needs its own.

        ValueError if a key is not a rendition of this media.
        """
        if len(renditions) == 1 or purpose in _SIGNED_ONE_BY_ONE:
            return [
                self.rendition_url(media_id=media_id, purpose=purpose, visibility=visibility, rendition=name, key=key)
                for name, key in renditions
            ]
        expires = window_end(self._clock(), media_id, _SHARED_LIFETIMES[purpose])
        shared = self._sign_all(self._signers.of(visibility), purpose, media_id, expires)
        return [self._under(shared, key) for _, key in renditions]

    def _under(self, shared: _SharedSignature, key: str) -> SignedUrl:
        if media_of_rendition(key) != shared.media_id:
            raise _not_a_rendition(key, shared.media_id)
        return SignedUrl(f"{self._base_url}/{key}?{shared.query}", shared.expires_at)

    def original_url(self, *, media_id: UUID, key: str) -> SignedUrl:
        """The URL of an original, for minutes. ValueError if `key` is not the original of this media."""
        expires = window_end(self._clock(), media_id, _ORIGINAL_LIFETIME)
        return self._sign_original(self._signers.original, key, media_id, expires)


@dataclass(frozen=True, slots=True)
class _SharedSignature:
    media_id: str
    query: str
    expires_at: datetime


def _not_a_rendition(key: str, media_id: UUID | str) -> ValueError:
    # Never an original, whatever a document may say: one key pair may serve both classes.
    return ValueError(f"{key!r} is not a rendition of media {media_id}")


def _sign_rendition(signer: Signer, key: str, media_id: UUID, expires: int) -> SignedUrl:
    if media_of_rendition(key) != str(media_id):
        raise _not_a_rendition(key, media_id)
    return SignedUrl(signer.sign(key, expires), datetime.fromtimestamp(expires, UTC))


def _sign_original(signer: Signer, key: str, media_id: UUID, expires: int) -> SignedUrl:
    if media_of_original(key) != str(media_id):
        raise ValueError(f"{key!r} is not the original of media {media_id}")
    return SignedUrl(signer.sign(key, expires), datetime.fromtimestamp(expires, UTC))


def _sign_all(signer: Signer, purpose: MediaPurpose, media_id: UUID, expires: int) -> _SharedSignature:
    query = signer.sign_pattern(f"{rendition_prefix(purpose, '*', media_id)}*", expires)
    return _SharedSignature(str(media_id), query, datetime.fromtimestamp(expires, UTC))
