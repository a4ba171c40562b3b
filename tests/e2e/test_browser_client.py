"""The browser client as the guide shows it, on a page of somebody else's making."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import BrowserContext, Page, Route, expect

from tests.e2e.bundling import PAGES, bundled, js_examples
from tests.e2e.demo_page import on_disk
from tests.e2e.running_stack import REPOSITORY, Stack, eventually
from tests.e2e.storage_proxy import StorageProxy
from tests.photos import large_png, phone_photo, small_photo

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

GUIDE = (REPOSITORY / "docs" / "client-guide.md").read_text()
AROUND_IT = """
async function session() {
  return (await fetch('/demo/session', { method: 'POST' })).json();
}
async function signIn() {
  return (await session()).token;
}
async function viewerId() {
  return (await session()).subject;
}
Object.assign(window, { client, signIn, viewerId });
document.title = 'ready';
"""
# Stored lying on its side: 2400 x 1800 with an orientation, and a place.
RESIZING = """async () => {
  const { MemoryStore, UploadClient } = await import('/demo/client/index.js');
  const who = { owner: await viewerId(), getToken: signIn };
  const small = new UploadClient({ url: '/graphql', ...who, store: new MemoryStore(), resize: true });
  document.querySelector('input').onchange = async ({ target }) => {
    const [upload] = await small.add(target.files, { purpose: 'COMMUNITY', describe: ({ name }) => ({ title: name }) });
    await upload.finished;
    window.media = upload.media;
  };
}"""
HTML = '<!doctype html><meta charset="utf-8"><input type="file" multiple><script type="module" src="page.js"></script>'


@pytest.fixture
async def said(proxied: BrowserContext, esbuild: Path) -> tuple[Page, list[str]]:
    """A page with the guide's example, and what it says on the console."""
    [example] = [block for block in js_examples(GUIDE) if "UploadClient" in block]
    script = await bundled(esbuild, example + AROUND_IT, PAGES)

    async def answer(route: Route) -> None:
        if route.request.url.endswith(".js"):
            await route.fulfill(body=script, content_type="text/javascript")
        else:
            await route.fulfill(body=HTML, content_type="text/html")

    await proxied.route("**/example/**", answer)
    page, lines = await proxied.new_page(), list[str]()
    page.on("console", lambda message: lines.append(message.text))
    await page.goto("/example/")
    await expect(page).to_have_title("ready")
    return page, lines


async def test_the_example_of_the_guide_uploads(
    said: tuple[Page, list[str]], proxy: StorageProxy, tmp_path: Path
) -> None:
    page, lines = said
    files = [
        on_disk(tmp_path / "guide.jpg", small_photo(95)),
        on_disk(tmp_path / "guide.png", large_png(17_000_000, seed=30)),
    ]
    await page.set_input_files("input", files)
    await page.wait_for_function("client.uploads.length === 0")
    for file in files:
        [last] = [line for line in lines if line.startswith(f"{file.name} sent")]
        size = file.stat().st_size
        assert last.startswith(f"{file.name} sent {size} {size} ")
    assert sorted(each.part or 0 for each in proxy.taken()) == [0, 1, 2, 3]


async def test_two_tabs_never_work_on_one_upload(
    said: tuple[Page, list[str]], proxied: BrowserContext, proxy: StorageProxy, tmp_path: Path
) -> None:
    first, _ = said
    proxy.hold_after(0)
    await first.set_input_files("input", on_disk(tmp_path / "shared.jpg", small_photo(96)))
    await first.wait_for_function("client.uploads[0]?.state === 'sending'")
    second = await proxied.new_page()
    await second.goto("/example/")
    await expect(second).to_have_title("ready")
    assert await second.evaluate("client.uploads.length") == 0
    await first.close()
    await second.wait_for_function("client.uploads[0]?.state === 'sending'")
    proxy.go_on()
    await second.wait_for_function("client.uploads.length === 0")
    assert len(proxy.taken()) == 1


async def test_pictures_are_made_smaller_where_the_page_wants_it(
    said: tuple[Page, list[str]], proxy: StorageProxy, stack: Stack, tmp_path: Path
) -> None:
    page, _ = said
    photo = on_disk(tmp_path / "phone.jpg", phone_photo(2400, 1800, seed=7))
    await page.evaluate(RESIZING)
    await page.set_input_files("input", photo)
    await page.wait_for_function("window.media")
    [sent] = proxy.taken()
    assert sent.byte_size < photo.stat().st_size / 2
    query = "query ($id: ID!) { media(id: $id) { status width height location { latitude } } }"

    async def is_upright_and_small() -> bool:
        media = (await stack.client().run(query, id=await page.evaluate("media.id")))["media"]
        return media == {"status": "READY", "width": 1080, "height": 1440, "location": None}

    await eventually(is_upright_and_small)
