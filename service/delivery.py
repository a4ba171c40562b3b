"""Signed URLs for renditions and originals: the same for a whole window, live for at least the policy's minimum."""

from __future__ import annotations

import time
import zlib
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING
from uuid import UUID

from service.cloudfront import HashAlgorithm, Signer
from service.errors import ConfigurationError
from service.models import MediaPurpose, RenditionName, Visibility
from service.object_keys import media_of_original, rendition_prefix, visibility_of_rendition
from service.policies import ORIGINAL_URL_LIFETIME_S, POLICIES, UrlLifetime

if TYPE_CHECKING:
    from collections.abc import Callable

    from service.documents import MediaDocument, RenditionDocument
    from service.settings import DeliverySettings, SigningKey

# In each of five memories, about 1 kB each: enough for the media of many feeds at once, and 100 MB where all are full.
MEMOISED_URLS = 20_000

# Looking a member up in its enumeration would be a tenth of a repeated URL.
_PUBLIC = Visibility.PUBLIC

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


def shared_lifetime(purpose: MediaPurpose) -> UrlLifetime:
    """How long a signature lives that opens every rendition of that purpose's media, or of one of them."""
    return _SHARED_LIFETIMES[purpose]


def cache_control(purpose: MediaPurpose, rendition: RenditionName, visibility: Visibility) -> str:
    """The Cache-Control to store with a rendition's bytes. KeyError if the purpose does not make it."""
    max_age = POLICIES[purpose].rendition(rendition).cache_max_age_s
    if visibility is Visibility.PUBLIC:
        return f"public, max-age={max_age}, immutable"
    return f"private, max-age={max_age}"


class _Memory:
    """Signed URLs by object key, each for its window; the oldest are let go."""

    __slots__ = ("_entries", "get")

    def __init__(self) -> None:
        # The window's first second, the one after its last, the media as a number, and what was signed.
        self._entries: OrderedDict[str, tuple[int, int, int, SignedUrl]] = OrderedDict()
        self.get = self._entries.get

    def find(self, key: str, now: float) -> SignedUrl | None:
        """What was signed for `key` in the window of `now`."""
        found = self.get(key)
        if found is None:
            return None
        since, until, _, signed = found
        # A clock that was ahead may be set back: hence both ends of the window.
        return signed if since <= now < until else None

    def keep(self, key: str, media_id: UUID, lifetime: UrlLifetime, expires: int, url: str) -> SignedUrl:
        # What is signed anew counts as new: it must not be the next to go because it was known before.
        self._entries.pop(key, None)
        if len(self._entries) >= MEMOISED_URLS:
            self._entries.popitem(last=False)
        signed = SignedUrl(url, datetime.fromtimestamp(expires, UTC))
        until = expires - lifetime.minimum_s
        self._entries[key] = (until - lifetime.window_s, until, media_id.int, signed)
        return signed


class Delivery:
    """Signs for everyone who asks. Synchronous and quick: a repeat inside the window costs one look into a dict."""

    def __init__(self, settings: DeliverySettings, *, clock: Callable[[], float] = time.time) -> None:
        self._base_url = settings.base_url
        self._has_cookies = bool(settings.cookie_domain)
        self._signers = load_signers(settings)
        self._clock = clock
        self._public, self._private, self._originals = _Memory(), _Memory(), _Memory()
        self._shared_public, self._shared_private = _Memory(), _Memory()
        self._sign_pattern = lru_cache(MEMOISED_URLS)(Signer.sign_pattern)

    def sign(self, media: MediaDocument, rendition: RenditionDocument, *, together: bool) -> SignedUrl:
        """The URL of a rendition of `media`; `together`: under the signature that all renditions of it share.

        A shared signature lives by the most short-lived rendition of the purpose, one of its own by its own policy.
        MEDICAL renditions share none.

        ValueError if a document names another object than a rendition of its own.
        """
        media_id, key, is_public = media["_id"], rendition["key"], media["visibility"] == _PUBLIC
        is_shared = together and media["purpose"] not in _SIGNED_ONE_BY_ONE
        if is_shared:
            memory = self._shared_public if is_public else self._shared_private
        else:
            memory = self._public if is_public else self._private
        # A page of a feed asks for dozens, so a hit does nothing more than this: `find`, without its call.
        if (found := memory.get(key)) is not None:
            since, until, number, signed = found
            if since <= self._clock() < until and number == media_id.int:
                return signed
        purpose, visibility = MediaPurpose(media["purpose"]), Visibility(media["visibility"])
        name, now = RenditionName(rendition["name"]), self._clock()
        signer = self._signer(media_id, purpose, visibility, name, key)
        if is_shared:
            lifetime = _SHARED_LIFETIMES[purpose]
            expires = window_end(now, media_id, lifetime)
            folder = visibility_of_rendition(key) or visibility
            query = self._sign_pattern(signer, f"{rendition_prefix(purpose, folder, '*', media_id)}*", expires)
            return memory.keep(key, media_id, lifetime, expires, f"{self._base_url}/{key}?{query}")
        # Renditions outlive the policy that made them: one it no longer lists is as short-lived as any.
        lifetime = _LIFETIMES.get((purpose, name), _SHARED_LIFETIMES[purpose])
        expires = window_end(now, media_id, lifetime)
        return memory.keep(key, media_id, lifetime, expires, signer.sign(key, expires))

    def unsigned_url(self, media: MediaDocument, rendition: RenditionDocument) -> str | None:
        """The address of a rendition of `media` for those who hold delivery cookies.

        None where none are given out, and for a media that is not PUBLIC or whose objects are not (yet) among such.
        """
        key = rendition["key"]
        is_public = media["visibility"] == _PUBLIC and visibility_of_rendition(key) is _PUBLIC
        is_opened = self._has_cookies and is_public
        return f"{self._base_url}/{key}" if is_opened else None

    def original_url(self, *, key: str) -> SignedUrl:
        """The URL of an original, for minutes: of what the document of a media lists as its original.

        Media of one owner that have the same content share the object of the first of them, whose id is in the key. So
        the document decides which it is, and whoever asks has read it. ValueError if `key` is not that of an original.
        """
        now = self._clock()
        if (known := self._originals.find(key, now)) is not None:
            return known
        named = media_of_original(key)
        if named is None:
            raise ValueError(f"{key!r} is not the original of a media")
        media_id = UUID(named)
        expires = window_end(now, media_id, _ORIGINAL_LIFETIME)
        return self._originals.keep(
            key, media_id, _ORIGINAL_LIFETIME, expires, self._signers.original.sign(key, expires)
        )

    def _signer(
        self, media_id: UUID, purpose: MediaPurpose, visibility: Visibility, rendition: RenditionName, key: str
    ) -> Signer:
        """Whose signature opens `key`: that of its folder, and never a public one for a media that turned private."""
        folder = visibility_of_rendition(key)
        # Never an original, whatever a document may say: one key pair may serve both classes.
        if folder is None or not key.startswith(rendition_prefix(purpose, folder, rendition, media_id)):
            raise ValueError(f"{key!r} is not rendition {rendition} of media {media_id}")
        is_public = visibility is Visibility.PUBLIC and folder is Visibility.PUBLIC
        return self._signers.public if is_public else self._signers.private
