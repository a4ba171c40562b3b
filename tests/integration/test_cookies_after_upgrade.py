"""PRIVATE pictures that release 0.1.0 stored among the PUBLIC ones: found, moved, and closed to holders of cookies."""

from __future__ import annotations

from uuid import UUID

import httpx
import pytest

from service.doctor import Level
from service.doctor.cookies import check_cookies
from service.models import MediaPurpose, Visibility
from service.object_keys import visibility_of_rendition
from service.reprocessing import Progress, parse_where, reprocess
from service.settings import DeliverySettings
from service.signed_cookies import CookieIssuer
from tests.integration.conftest import RunningService
from tests.integration.jobs_by_hand import no_job
from tests.integration.rendered_media import (
    change,
    document_of,
    forget,
    headers_of,
    keys_of,
    ready,
    render,
    retire,
)


@pytest.fixture(autouse=True)
async def empty_queue(service: RunningService) -> None:
    await service.runtime.database.jobs.delete_many({})


def with_cookies(service: RunningService) -> DeliverySettings:
    return service.settings.delivery.model_copy(update={"cookie_domain": "127.0.0.1"})


def cookie_of_anybody(service: RunningService) -> dict[str, str]:
    cookies = CookieIssuer(with_cookies(service)).cookies_for(MediaPurpose.COMMUNITY)
    assert cookies is not None
    return {"cookie": "; ".join(f"{name}={value}" for name, value in cookies.values.items())}


async def as_an_earlier_release_left_it(service: RunningService) -> UUID:
    """A PRIVATE media whose renditions lie in the one folder there was, with the document of that time."""
    media_id, store = await ready(service), service.runtime.object_store
    await change(service, media_id, visibility="PRIVATE")
    await render(service)
    await retire(service)
    await forget(service)
    renditions = (await document_of(service, media_id))["renditions"]
    for each in renditions:
        source, each["key"] = each["key"], each["key"].replace("/private/", "/processed/")
        found = await store.get(store.media_bucket, source)
        assert found is not None
        await store.copy(
            store.media_bucket,
            source,
            each["key"],
            content_type=found.content_type,
            cache_control="private, max-age=60",
            metadata={},
        )
        await store.delete(store.media_bucket, [source])
    unset = dict.fromkeys(("processing.made_for", "processing.rendition_generation"), "")
    await service.runtime.database.media.update_one(
        {"_id": media_id}, {"$set": {"renditions": renditions}, "$unset": unset}
    )
    return media_id


async def move_private_ones(service: RunningService) -> Progress:
    return await reprocess(
        parse_where(["visibility=PRIVATE"]),
        rate=1_000,
        after=None,
        apply=True,
        database=service.runtime.database,
        stores=service.runtime.stores,
        on_page=lambda progress: None,
    )


async def test_reprocessing_takes_them_away_from_cookies(service: RunningService, http: httpx.AsyncClient) -> None:
    media_id, cookie = await as_an_earlier_release_left_it(service), cookie_of_anybody(service)
    before = keys_of(await document_of(service, media_id))
    addresses = [f"{service.settings.delivery.base_url}/{key}" for key in sorted(before)]
    [finding] = await check_cookies(with_cookies(service), service.settings.mongo)
    assert finding.level is Level.PROBLEM
    assert str(media_id) in finding.text
    assert "reprocess --where visibility=PRIVATE --apply" in (finding.remedy or "")

    assert (await move_private_ones(service)).enqueued == 1
    await render(service)
    await retire(service)
    await no_job(service)
    after = await document_of(service, media_id)
    assert {visibility_of_rendition(key) for key in keys_of(after)} == {Visibility.PRIVATE}
    assert len(after["renditions"]) == len(before)
    assert set(await headers_of(service, before)) == {None}
    assert {(await http.get(address, headers=cookie)).status_code for address in addresses} == {403}
    assert (await move_private_ones(service)).matched == 0
    [finding] = await check_cookies(with_cookies(service), service.settings.mongo)
    assert finding.level is Level.OK


async def test_what_turns_private_at_this_moment_is_no_finding(service: RunningService) -> None:
    media_id = await ready(service)
    await change(service, media_id, visibility="PRIVATE")
    [finding] = await check_cookies(with_cookies(service), service.settings.mongo)
    assert finding.level is Level.OK
    await render(service)
    await retire(service)


async def test_without_cookies_nothing_is_looked_for(service: RunningService) -> None:
    assert await check_cookies(service.settings.delivery, service.settings.mongo) == []
