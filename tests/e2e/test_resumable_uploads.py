"""Large uploads from the demo page over a bad network, counted at storage: nothing is sent twice or left behind."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from playwright.async_api import BrowserContext, WebSocketRoute, expect

from tests.e2e.demo_page import DemoPage, on_disk, photo_file
from tests.e2e.running_stack import Stack, eventually
from tests.e2e.storage_proxy import StorageProxy
from tests.photos import large_png, small_photo

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


async def test_an_upload_goes_on_after_an_outage_and_after_a_reload(
    proxied: BrowserContext, proxy: StorageProxy, stack: Stack, tmp_path: Path
) -> None:
    large = on_disk(tmp_path / "large.png", large_png(41_000_000))
    assert large.stat().st_size > 40_000_000
    page = await proxied.new_page()
    demo = await DemoPage.opened(page)
    proxy.hold_after(2)
    await demo.choose(large)
    await eventually(proxy.is_holding)

    await proxied.set_offline(True)
    await expect(demo.status_of("large.png")).to_contain_text("Waiting for the network")
    proxy.go_on()
    proxy.hold_after(1)
    await proxied.set_offline(False)
    await eventually(proxy.is_holding)
    assert len(proxy.parts_taken()) == 3

    await page.reload()
    proxy.go_on()
    await demo.is_ready("large.png")
    assert sorted(proxy.parts_taken()) == [1, 2, 3, 4, 5]
    assert sum(each.byte_size for each in proxy.taken()) == large.stat().st_size
    assert await stack.statuses("large") == ["READY"]
    await expect(demo.tile("large")).to_be_visible()


async def test_a_paused_upload_waits_through_a_reload_until_it_is_resumed(
    proxied: BrowserContext, proxy: StorageProxy, stack: Stack, tmp_path: Path
) -> None:
    page = await proxied.new_page()
    demo = await DemoPage.opened(page)
    proxy.hold_after(1)
    await demo.choose(on_disk(tmp_path / "later.png", large_png(17_000_000, seed=1)))
    await eventually(proxy.is_holding)
    await demo.upload("later.png").get_by_role("button", name="Pause").click()
    await expect(demo.status_of("later.png")).to_contain_text("Paused")
    await page.reload()
    await expect(demo.status_of("later.png")).to_contain_text("Paused")
    proxy.go_on()
    # Whoever waits does not hold up others.
    await demo.choose(photo_file(small_photo(110), "meanwhile.jpg"))
    await demo.is_ready("meanwhile.jpg")
    assert len(proxy.parts_taken()) == 1
    await demo.upload("later.png").get_by_role("button", name="Resume").click()
    await demo.is_ready("later.png")
    assert sorted(proxy.parts_taken()) == [1, 2, 3]
    assert await stack.statuses("later") == ["READY"]


async def test_a_cancelled_upload_leaves_nothing_behind(
    proxied: BrowserContext, proxy: StorageProxy, stack: Stack, tmp_path: Path
) -> None:
    page = await proxied.new_page()
    demo = await DemoPage.opened(page)
    stored, unfinished = await stack.stored_keys(), await stack.unfinished_uploads()
    proxy.hold_after(1)
    await demo.choose(on_disk(tmp_path / "unwanted.png", large_png(17_000_000, seed=2)))
    await eventually(proxy.is_holding)
    assert len(await stack.unfinished_uploads() - unfinished) == 1
    await demo.upload("unwanted.png").get_by_role("button", name="Cancel").click()
    await expect(demo.status_of("unwanted.png")).to_have_text("Cancelled")

    async def is_forgotten() -> bool:
        return await stack.statuses("unwanted") == ["EXPIRED"] and await stack.unfinished_uploads() == unfinished

    await eventually(is_forgotten)
    proxy.go_on()
    await page.reload()
    await expect(page.locator("#grid")).to_have_attribute("aria-busy", "false")
    await expect(page.locator(".upload")).to_have_count(0)
    assert await stack.stored_keys() == stored
    assert len(proxy.taken()) == 1


async def test_a_photo_that_is_here_already_is_not_sent_again(proxied: BrowserContext, proxy: StorageProxy) -> None:
    page = await proxied.new_page()
    demo = await DemoPage.opened(page)
    await demo.choose(photo_file(small_photo(111), "first.jpg"))
    await demo.is_ready("first.jpg")
    await page.reload()
    await demo.choose(photo_file(small_photo(111), "first.jpg"))
    await expect(demo.status_of("first.jpg")).to_have_text("Already here, nothing was sent")
    await expect(demo.tile("first")).to_have_count(1)
    assert len(proxy.taken()) == 1


async def test_new_photos_of_bytes_that_storage_has_are_followed_to_their_end(
    proxied: BrowserContext, proxy: StorageProxy, stack: Stack
) -> None:
    page, news = await proxied.new_page(), asyncio.Event()

    async def hold_until_there_are_to_be_news(socket: WebSocketRoute) -> None:
        async def to_page(message: str | bytes) -> None:
            await news.wait()
            socket.send(message)

        server = socket.connect_to_server()
        server.on_message(lambda message: asyncio.ensure_future(to_page(message)))

    await page.route_web_socket("**/graphql", hold_until_there_are_to_be_news)
    news.set()
    demo = await DemoPage.opened(page)
    sound, damaged = small_photo(112), small_photo(113)[:2_000]
    await demo.choose(photo_file(sound, "sound.jpg"), photo_file(damaged, "damaged.jpg"))
    await demo.is_ready("sound.jpg")
    why = await demo.has_failed("damaged.jpg")
    await demo.open_large("sound")
    await demo.delete_open()
    await expect(demo.tile("sound")).to_have_count(0)
    await page.get_by_role("button", name="Clear finished").click()

    news.clear()
    # The deleted one again, another of the same bytes, and the one that cannot be shown.
    names = ["sound.jpg", "titled.jpg", "damaged.jpg"]
    for name in names:
        await demo.choose(photo_file(damaged if name == "damaged.jpg" else sound, name))
        await expect(demo.status_of(name)).to_have_text("Nothing was sent: storage had it")
    news.set()
    await demo.is_ready("sound.jpg", "titled.jpg")
    for title in ("sound", "titled"):
        await expect(demo.tile(title)).to_have_count(1)
    assert await demo.has_failed("damaged.jpg") == why
    assert sorted(await stack.statuses("damaged")) == ["FAILED", "FAILED"]
    assert len(proxy.taken()) == 2
