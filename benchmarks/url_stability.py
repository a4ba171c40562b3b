"""What stable addresses are worth to caches: a month of one feed and its readers, simulated.

`python -m benchmarks.url_stability`. Every reader opens the feed eight times a day and sees its newest twenty pictures.
Addresses are really signed: naively, anew for each answer, and by `Delivery`, with the same lifetime. Devices cache by
address, as browsers do, or by `cacheKey`; edges as CloudFront does, which leaves signatures out of the cache key, or by
the whole address, as a proxy or another CDN would.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import SecretStr

from service.cloudfront import HashAlgorithm, Signer
from service.delivery import Delivery
from service.models import MediaFormat, MediaPurpose, RenditionName, Visibility
from service.object_keys import rendition_key
from service.policies import DAY, HOUR, POLICIES
from service.settings import DeliverySettings, SigningKey

BASE = "https://cdn.example.org"
BEGIN = 1_767_225_600
DAYS, READERS, SESSIONS, PAGE = 30, 25, 8, 20
# New pictures a day: the page turns over three times.
ARRIVALS = 60
# A device keeps so many pictures: about 25 MB of those that a feed shows.
DEVICE_PICTURES = 500
FEED = POLICIES[MediaPurpose.COMMUNITY].rendition(RenditionName.FEED)

Address = Callable[[UUID, str, int], str]


@dataclass
class Cache:
    """Keeps the most recently used; each for `FEED.cache_max_age_s`, as its Cache-Control says."""

    limit: int | None
    kept: OrderedDict[str, int] = field(default_factory=OrderedDict)
    asked: int = 0
    hits: int = 0

    def has(self, key: str, now: int) -> bool:
        """Whether `key` comes from the cache; from now on it does."""
        self.asked += 1
        stored = self.kept.get(key)
        is_hit = stored is not None and now - stored < FEED.cache_max_age_s
        self.hits += is_hit
        self.kept[key] = stored if is_hit and stored is not None else now
        self.kept.move_to_end(key)
        if self.limit is not None and len(self.kept) > self.limit:
            self.kept.popitem(last=False)
        return is_hit

    @property
    def ratio(self) -> float:
        return self.hits / self.asked if self.asked else 0.0


@dataclass
class Outcome:
    """What a month came to: pictures shown, those that the device had, and how edges did with the others."""

    shown: int = 0
    devices: list[Cache] = field(default_factory=lambda: [Cache(DEVICE_PICTURES) for _ in range(READERS)])
    edge: Cache = field(default_factory=lambda: Cache(None))
    proxy: Cache = field(default_factory=lambda: Cache(None))

    def show(self, reader: int, cached_as: str, key: str, address: str, now: int) -> None:
        self.shown += 1
        if not self.devices[reader].has(cached_as, now):
            self.edge.has(key, now)
            self.proxy.has(address, now)

    @property
    def device_ratio(self) -> float:
        return sum(device.hits for device in self.devices) / self.shown


def pictures() -> list[tuple[int, UUID, str]]:
    """When each picture appears, oldest first, with enough before the first day to fill a page."""
    chance = random.Random(1)
    moments = sorted(BEGIN + chance.randrange(-2 * DAY, DAYS * DAY) for _ in range((DAYS + 2) * ARRIVALS))
    ids = [UUID(int=chance.getrandbits(128), version=4) for _ in moments]
    return [
        (
            moment,
            each,
            rendition_key(MediaPurpose.COMMUNITY, Visibility.PUBLIC, FEED.name, each, "g1", MediaFormat.WEBP),
        )
        for moment, each in zip(moments, ids, strict=True)
    ]


def sessions() -> list[tuple[int, int]]:
    """Moments, in order, each with its reader: spread over the hours from seven to midnight."""
    chance = random.Random(2)
    return sorted(
        (BEGIN + day * DAY + chance.randrange(7 * HOUR, DAY), reader)
        for day in range(DAYS)
        for reader in range(READERS)
        for _ in range(SESSIONS)
    )


def simulate(address_of: Address, *, by_cache_key: bool = False) -> Outcome:
    outcome, all_pictures, appeared = Outcome(), pictures(), 0
    for now, reader in sessions():
        while appeared < len(all_pictures) and all_pictures[appeared][0] <= now:
            appeared += 1
        for _, media_id, key in all_pictures[appeared - PAGE : appeared]:
            address = address_of(media_id, key, now)
            outcome.show(reader, key if by_cache_key else address, key, address, now)
    return outcome


def main() -> None:
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    now = BEGIN
    signing_key = SigningKey(key_pair_id="K1", private_key=SecretStr(pem.decode()))
    delivery = Delivery(DeliverySettings(base_url=BASE, public_key=signing_key), clock=lambda: now)
    signer = Signer(BASE, "K1", pem.decode(), HashAlgorithm.SHA256)
    life = FEED.url_lifetime.window_s + FEED.url_lifetime.minimum_s

    def naive(_media_id: UUID, key: str, moment: int) -> str:
        return signer.sign(key, moment + life)

    def ours(media_id: UUID, key: str, moment: int) -> str:
        nonlocal now
        now = moment
        media: Any = {"_id": media_id, "purpose": "COMMUNITY", "visibility": "PUBLIC"}
        rendition: Any = {"name": FEED.name.value, "key": key}
        return delivery.sign(media, rendition, together=False).url

    rows = {
        "signed anew for each answer": simulate(naive),
        "window-stable": simulate(ours),
        "cacheKey, or cookies": simulate(ours, by_cache_key=True),
    }
    print(f"{READERS} readers, {SESSIONS} sessions a day, {DAYS} days, {PAGE} pictures each, {ARRIVALS} new ones a day")
    print(f"{'':28} {'shown':>9} {'device':>8} {'fetched':>9} {'edge':>8} {'origin':>8} {'edge by whole address':>22}")
    for name, outcome in rows.items():
        edge = outcome.edge
        print(
            f"{name:28} {outcome.shown:9,} {outcome.device_ratio:8.1%} {edge.asked:9,} {edge.ratio:8.1%} "
            f"{edge.asked - edge.hits:8,} {outcome.proxy.ratio:22.1%}"
        )


if __name__ == "__main__":
    main()
