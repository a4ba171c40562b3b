"""A media that somebody was shown, with every address of it that they were given."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx

from service.delivery import Delivery
from tests.integration.conftest import RunningService
from tests.integration.kept_objects import LONG_AGO
from tests.integration.rendered_media import change, document_of, forget, keys_of, ready, render, retire
from tests.integration.test_cookies_after_upgrade import cookie_of_anybody


@dataclass(frozen=True)
class Shown:
    """A media, what it is shown with, and every address of that which somebody was given."""

    media_id: UUID
    keys: set[str]
    addresses: list[str]
    content: Counter[str]

    async def opens(self, service: RunningService, http: httpx.AsyncClient) -> set[int]:
        """What the edge answers to those who have the addresses, and to those who have cookies of today."""
        cookie, base_url = cookie_of_anybody(service), service.settings.delivery.base_url
        asked = [await http.get(address) for address in self.addresses]
        asked += [await http.get(f"{base_url}/{key}", headers=cookie) for key in sorted(self.keys)]
        return {each.status_code for each in asked}


async def content_of(service: RunningService, keys: set[str]) -> Counter[str]:
    store = service.runtime.object_store
    objects = [await store.get(store.media_bucket, key) for key in keys]
    return Counter(hashlib.sha256(each.body).hexdigest() for each in objects if each is not None)


async def shown(service: RunningService, http: httpx.AsyncClient, *, visibility: str = "PUBLIC") -> Shown:
    media_id = await ready(service)
    # Its session was over long ago: nothing can be written any more that was asked for before.
    await service.runtime.database.uploads.update_one({"_id": media_id}, {"$set": {"expires_at": LONG_AGO}})
    if visibility == "PRIVATE":
        await change(service, media_id, visibility=visibility)
        await render(service)
        await retire(service)
        await forget(service)
    media: Any = await document_of(service, media_id)
    delivery = Delivery(service.settings.delivery)
    addresses = [
        delivery.sign(media, each, together=together).url for each in media["renditions"] for together in (False, True)
    ]
    # Edges have them in their caches from now on.
    assert {(await http.get(address)).status_code for address in addresses} == {200}
    keys = keys_of(media)
    return Shown(media_id, keys, addresses, await content_of(service, keys))


async def put_back(service: RunningService, was: Shown) -> str:
    """What a worker does that slept through all of it: it writes under a key that somebody has an address of."""
    store, key = service.runtime.object_store, min(was.keys)
    body = b"late"
    await store.put(
        store.media_bucket,
        key,
        body,
        content_type="image/jpeg",
        cache_control="public, max-age=600",
        metadata={},
        sha256=hashlib.sha256(body).hexdigest(),
    )
    return key
