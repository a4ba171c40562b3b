"""Cookies that open the PUBLIC renditions of one purpose, for pages whose addresses of pictures are never to change."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import UUID

from service.delivery import load_signers, shared_lifetime, window_end
from service.errors import ConfigurationError
from service.models import MediaPurpose, Visibility
from service.object_keys import renditions_folder
from service.policies import POLICIES

if TYPE_CHECKING:
    from service.settings import DeliverySettings

_DOMAIN = re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)*")
# Top-level domains, CloudFront's own one and the rests of IP addresses. Other public suffixes (co.uk) browsers know.
_SHARED_BY_STRANGERS = re.compile(r"[a-z0-9-]+|cloudfront\.net|(?:.*\.)?[0-9]+")
# Everybody has the same cookies, so their windows need no phases.
_NOBODYS = UUID(int=0)

PURPOSES_WITH_COOKIES = frozenset(
    purpose for purpose, policy in POLICIES.items() if Visibility.PUBLIC in policy.allowed_visibilities
)


@dataclass(frozen=True, slots=True)
class SignedCookies:
    """Cookies by name, for `path` on `domain`. They open it until `expires_at`; from `renew_at` on there are others."""

    values: Mapping[str, str]
    domain: str
    path: str
    renew_at: datetime
    expires_at: datetime


class CookieIssuer:
    """Signs cookies with the key of PUBLIC renditions; the same for everybody and all through a window.

    Raises ConfigurationError unless browsers would send cookies of the domain in question to the CDN.
    """

    def __init__(self, settings: DeliverySettings, *, clock: Callable[[], float] = time.time) -> None:
        _check_domain(settings.cookie_domain, settings.base_url)
        self._domain = settings.cookie_domain
        self._signer = load_signers(settings).public
        self._clock = clock
        self._sign = lru_cache(len(MediaPurpose))(self._signer.cookies)

    def cookies_for(self, purpose: MediaPurpose) -> SignedCookies | None:
        """Those of one purpose; None for one whose media are never PUBLIC."""
        if purpose not in PURPOSES_WITH_COOKIES:
            return None
        lifetime = shared_lifetime(purpose)
        expires = window_end(self._clock(), _NOBODYS, lifetime)
        # A policy whose path begins with a wildcard would reach into folders that are not public.
        folder = renditions_folder(purpose, Visibility.PUBLIC)
        return SignedCookies(
            self._sign(f"{folder}*", expires),
            self._domain,
            f"/{folder}",
            datetime.fromtimestamp(expires - lifetime.minimum_s, UTC),
            datetime.fromtimestamp(expires, UTC),
        )


def _check_domain(domain: str, base_url: str) -> None:
    host = urlsplit(base_url).hostname or ""
    is_above = f".{host}".endswith(f".{domain}") and not _SHARED_BY_STRANGERS.fullmatch(domain)
    if not _DOMAIN.fullmatch(domain) or not (domain == host or is_above):
        raise ConfigurationError(
            f"MEDIA_DELIVERY__COOKIE_DOMAIN {domain!r} must be the host of MEDIA_DELIVERY__BASE_URL or a domain of "
            "yours above it, such as example.org: browsers would not take the cookies, or not send them there."
        )
