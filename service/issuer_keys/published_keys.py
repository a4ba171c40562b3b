"""The keys of one issuer as it publishes them: kept in memory, fetched again before anybody waits for them."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping

import structlog

from service.cancellation import end
from service.errors import TemporarilyUnavailable
from service.issuer_keys.fetching import FetchFailed, fetch
from service.issuer_keys.key_set import KeySet, KeySetRefused, parse_key_set
from service.issuer_keys.verification_key import VerificationKey

# Anybody can write an unknown kid into a token: the issuer is asked for them this often at most.
UNKNOWN_KID_S = 30.0
_MAX_PAUSE_S = 30.0

log = structlog.get_logger(__name__)


class PublishedKeys:
    """One for each issuer with a JWKS. `on_removed` is called when a key that was used ceases to hold.

    `refresh_s`: how often the set is fetched. `max_age_s`: how long keys hold that could not be fetched again.
    """

    def __init__(
        self,
        url: str,
        *,
        refresh_s: float,
        max_age_s: float,
        on_removed: Callable[[], None],
        get: Callable[[str], Awaitable[bytes]] = fetch,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._refresh_s = refresh_s
        self._max_age_s = max_age_s
        self._on_removed = on_removed
        self._get = get
        self._clock = clock
        self._keys: Mapping[str | None, VerificationKey] = {}
        self._refused: tuple[str, ...] = ()
        self._failures = 0
        self._asked_at: float | None = None
        self._fetched_at: float | None = None
        self._fetching: asyncio.Task[None] | None = None

    async def find(self, kid: str | None) -> VerificationKey | None:
        """The key of that name, which may be fetched first; None where the issuer has none of that name.

        Without a `kid` the one key of a set that has only one. Raises TemporarilyUnavailable where the key is not
        known and the issuer could not be asked.
        """
        key = self._known(kid)
        if key is None and self._may_ask():
            await self.refresh()
            key = self._known(kid)
        if key is None and (self._failures or self._fetched_at is None):
            raise _unavailable()
        return key

    def holds(self, kid: str | None, key: VerificationKey) -> bool:
        """Whether `key`, found by this name, is still what the issuer publishes under it.

        Raises TemporarilyUnavailable where nobody knows, as the keys could not be fetched for too long.
        """
        if not self._keys and self._failures:
            raise _unavailable()
        return self._known(kid) == key

    def _known(self, kid: str | None) -> VerificationKey | None:
        if kid is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(kid)

    def _may_ask(self) -> bool:
        if self._fetching is not None or self._asked_at is None:
            return True
        return self._clock() - self._asked_at >= UNKNOWN_KID_S

    async def refresh(self) -> None:
        """Fetch the set, or wait for the fetch that is under way. A failure is logged, and keys stay as they are."""
        if self._fetching is None:
            self._asked_at = self._clock()
            self._fetching = asyncio.create_task(self._fetch())
            self._fetching.add_done_callback(self._forget_fetch)
        # Whoever waits may go away; others wait for the same.
        await asyncio.shield(self._fetching)

    def _forget_fetch(self, _: asyncio.Task[None]) -> None:
        self._fetching = None

    async def run(self) -> None:
        """Keep the keys fresh until cancelled."""
        try:
            while True:
                await self.refresh()
                # Processes that were started together must not ask together for ever.
                await asyncio.sleep(self._pause_s() * random.uniform(0.8, 1.0))  # noqa: S311 - no secret
        finally:
            if self._fetching is not None:
                await end(self._fetching)

    def _pause_s(self) -> float:
        if not self._failures:
            return self._refresh_s
        return min(2.0 ** min(self._failures, 10), _MAX_PAUSE_S, self._refresh_s)

    def age_s(self) -> float:
        """Seconds since the keys were last fetched; infinite if they never were."""
        return float("inf") if self._fetched_at is None else self._clock() - self._fetched_at

    async def _fetch(self) -> None:
        try:
            key_set = parse_key_set(await self._get(self._url))
        except (FetchFailed, KeySetRefused) as error:
            self._failures += 1
            log.warning("keys of an issuer were not fetched", url=self._url, reason=str(error), failures=self._failures)
            if self._keys and self.age_s() > self._max_age_s:
                log.error("keys of an issuer are too old to hold", url=self._url, age_s=round(self.age_s()))
                self._replace({})
            return
        self._failures = 0
        self._fetched_at = self._clock()
        self._tell(key_set)
        self._replace(key_set.keys)

    def _tell(self, key_set: KeySet) -> None:
        if key_set.keys != self._keys:
            log.info("keys of an issuer", url=self._url, kids=[kid or "" for kid in key_set.keys])
        if key_set.refused and key_set.refused != self._refused:
            log.warning("keys of an issuer are not used", url=self._url, reasons=key_set.refused[:10])
        self._refused = key_set.refused

    def _replace(self, keys: Mapping[str | None, VerificationKey]) -> None:
        before, self._keys = self._keys, keys
        if any(keys.get(kid) != key for kid, key in before.items()):
            self._on_removed()


def _unavailable() -> TemporarilyUnavailable:
    text = "The keys of the token's issuer cannot be fetched now; try again."
    return TemporarilyUnavailable(text, retry_after_ms=5_000)
