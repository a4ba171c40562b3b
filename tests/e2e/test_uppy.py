"""Uppy 5 and 6 in a browser, on the mapping of the browser client: whole files, parts, pauses, cancels, bad days."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from playwright.async_api import BrowserContext, Page, Route
from starlette.requests import Request

from tests.e2e.bundling import PAGES, bundled, js_examples
from tests.e2e.demo_page import on_disk, recorded
from tests.e2e.running_stack import REPOSITORY, Stack, eventually
from tests.e2e.storage_proxy import StorageProxy
from tests.photos import large_png, small_photo

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

GUIDE = (REPOSITORY / "docs" / "client-guide.md").read_text()
# What a test needs beside the guide's example: a sign-in, files, and Uppy's buttons.
AROUND_IT = """
async function signIn() {
  return (await (await fetch('/demo/session', { method: 'POST' })).json()).token;
}
document.querySelector('input').onchange = ({ target }) => {
  for (const file of target.files) uppy.addFile({ name: file.name, type: file.type, data: file });
};
Object.assign(window, { uppy });
"""
HTML = '<!doctype html><meta charset="utf-8"><input type="file" multiple><script type="module" src="page.js"></script>'

# What became of the files, once Uppy has nothing more to do: their names, by outcome.
UPLOAD = """async () => {
  const { successful, failed } = await uppy.upload();
  return { successful: successful.map(({ name }) => name), failed: failed.map(({ name }) => name) };
}"""
RETRY = UPLOAD.replace("upload()", "retryAll()")

Opened = Callable[[int], Awaitable[Page]]


@pytest.fixture(scope="session")
async def bundles(esbuild: Path) -> dict[int, bytes]:
    """The guide's example for each version of Uppy, as scripts."""
    [example] = [block for block in js_examples(GUIDE) if "@uppy/aws-s3" in block]
    page = example + AROUND_IT
    return {
        6: await bundled(esbuild, page, PAGES / "uppy6"),
        5: await bundled(esbuild, page.replace("uppyOptions", "uppy5Options"), PAGES / "uppy5"),
    }


@pytest.fixture
async def opened(proxied: BrowserContext, bundles: dict[int, bytes]) -> Opened:
    """Opens a page with Uppy of a version, at the service's own address."""

    async def open_page(version: int) -> Page:
        async def answer(route: Route) -> None:
            if route.request.url.endswith(".js"):
                await route.fulfill(body=bundles[version], content_type="text/javascript")
            else:
                await route.fulfill(body=HTML, content_type="text/html")

        page = await proxied.new_page()
        await page.route("**/uppy/**", answer)
        await page.goto("/uppy/")
        return page

    return open_page


async def becomes_ready(stack: Stack, title: str) -> None:
    async def is_ready() -> bool:
        return await stack.statuses(title) == ["READY"]

    await eventually(is_ready)


def unavailable_once(proxy: StorageProxy) -> Counter[str]:
    """Storage answers 503 to the first PUT of each address; how often each was asked."""
    asked: Counter[str] = Counter()

    def refuse(request: Request) -> int | None:
        if request.method != "PUT":
            return None
        name = f"{request.url.path} {request.query_params.get('partNumber', 'whole')}"
        asked[name] += 1
        return 503 if asked[name] == 1 else None

    proxy.refusal = refuse
    return asked


@pytest.mark.parametrize("version", [5, 6])
async def test_a_small_file_goes_up_whole_on_the_second_try(
    version: int, opened: Opened, proxy: StorageProxy, stack: Stack, tmp_path: Path
) -> None:
    name = f"uppy{version}-small.jpg"
    page = await opened(version)
    asked = unavailable_once(proxy)
    await page.set_input_files("input", on_disk(tmp_path / name, small_photo(70 + version)))
    outcome = await page.evaluate(UPLOAD)
    if version == 5:
        # It tries parts again by itself; whole files when people press its button.
        assert outcome == {"successful": [], "failed": [name]}
        outcome = await page.evaluate(RETRY)
    assert outcome == {"successful": [name], "failed": []}
    assert list(asked.values()) == [2]
    assert len(proxy.taken()) == 1
    await becomes_ready(stack, name)


@pytest.mark.parametrize("version", [5, 6])
async def test_a_large_file_goes_up_in_parts_and_goes_on_after_a_pause(
    version: int, opened: Opened, proxy: StorageProxy, stack: Stack, tmp_path: Path
) -> None:
    name = f"uppy{version}-large.png"
    page, unfinished = await opened(version), await stack.unfinished_uploads()
    asked = unavailable_once(proxy)
    requests = recorded(page)
    await page.set_input_files("input", on_disk(tmp_path / name, large_png(17_000_000, seed=10 + version)))
    proxy.hold_after(1)
    uploading = asyncio.create_task(page.evaluate(UPLOAD))
    await eventually(proxy.is_holding)
    await page.evaluate("uppy.pauseAll()")
    proxy.go_on()
    assert len(proxy.parts_taken()) == 1
    await page.evaluate("uppy.resumeAll()")
    assert await uploading == {"successful": [name], "failed": []}
    assert sorted(proxy.parts_taken()) == [1, 2, 3]
    assert min(asked.values()) >= 2
    # Version 6 completes at storage itself, which must not replace anything there; version 5 asks the service to.
    completions = [each for each in requests if each.method == "POST" and "uploadId=" in each.url]
    once = [await each.header_value("if-none-match") for each in completions]
    assert once == (["*"] if version == 6 else [])
    await becomes_ready(stack, name)
    assert await stack.unfinished_uploads() == unfinished


@pytest.mark.parametrize("version", [5, 6])
async def test_cancelling_leaves_nothing_behind(
    version: int, opened: Opened, proxy: StorageProxy, stack: Stack, tmp_path: Path
) -> None:
    name = f"uppy{version}-unwanted.png"
    page = await opened(version)
    stored, unfinished = await stack.stored_keys(), await stack.unfinished_uploads()
    await page.set_input_files("input", on_disk(tmp_path / name, large_png(17_000_000, seed=20 + version)))
    proxy.hold_after(1)
    uploading = asyncio.create_task(page.evaluate(UPLOAD))
    await eventually(proxy.is_holding)
    assert len(await stack.unfinished_uploads() - unfinished) == 1
    await page.evaluate("uppy.cancelAll()")

    async def is_forgotten() -> bool:
        return await stack.statuses(name) == ["EXPIRED"] and await stack.unfinished_uploads() == unfinished

    await eventually(is_forgotten)
    assert await uploading == {"successful": [], "failed": []}
    assert len(proxy.parts_taken()) == 1
    assert await stack.stored_keys() == stored


@pytest.mark.parametrize("version", [5, 6])
async def test_what_is_here_already_is_not_sent_and_what_is_refused_says_why(
    version: int, opened: Opened, proxy: StorageProxy, stack: Stack, tmp_path: Path
) -> None:
    for name in ("first.jpg", "again.jpg"):
        (tmp_path / f"uppy{version}-{name}").write_bytes(small_photo(80 + version))
    (tmp_path / "letter.pdf").write_bytes(b"%PDF-1.7")
    page = await opened(version)
    await page.set_input_files("input", tmp_path / f"uppy{version}-first.jpg")
    await page.evaluate(UPLOAD)
    await becomes_ready(stack, f"uppy{version}-first.jpg")
    await page.set_input_files("input", [tmp_path / f"uppy{version}-again.jpg", tmp_path / "letter.pdf"])
    assert await page.evaluate(UPLOAD) == {"successful": [f"uppy{version}-again.jpg"], "failed": ["letter.pdf"]}
    assert len(proxy.taken()) == 1
    known, refused = await page.evaluate("uppy.getFiles().slice(1).map(({ meta, error }) => ({ ...meta, error }))")
    assert known["isDuplicate"]
    assert "application/pdf" in refused["error"]
    await becomes_ready(stack, f"uppy{version}-again.jpg")


@pytest.mark.parametrize("version", [5, 6])
async def test_a_file_whose_answer_was_lost_is_not_sent_twice(
    version: int, opened: Opened, proxy: StorageProxy, stack: Stack, tmp_path: Path
) -> None:
    name = f"uppy{version}-echo.jpg"
    page = await opened(version)
    proxy.loses = lambda request: request.method == "PUT" and len(proxy.passed) == 1
    await page.set_input_files("input", on_disk(tmp_path / name, small_photo(100 + version)))
    outcome = await page.evaluate(UPLOAD)
    if version == 5:
        outcome = await page.evaluate(RETRY)
    assert outcome == {"successful": [name], "failed": []}
    assert len(proxy.taken()) == 1
    await becomes_ready(stack, name)


@pytest.mark.parametrize(("version", "sent"), [(5, [1, 2, 3]), (6, [1, 1, 2, 3])])
async def test_what_a_closed_page_left_half_sent_is_not_in_the_way(
    version: int, sent: list[int], opened: Opened, proxy: StorageProxy, stack: Stack, tmp_path: Path
) -> None:
    name = f"uppy{version}-left.png"
    photo = on_disk(tmp_path / name, large_png(17_000_000, seed=40 + version))
    page, unfinished = await opened(version), await stack.unfinished_uploads()
    proxy.hold_after(1)
    await page.set_input_files("input", photo)
    await page.evaluate("() => void uppy.upload()")
    await eventually(proxy.is_holding)
    await page.reload()
    proxy.go_on()
    await page.set_input_files("input", photo)
    assert await page.evaluate(UPLOAD) == {"successful": [name], "failed": []}
    assert sorted(proxy.parts_taken()) == sent

    async def is_ready() -> bool:
        return "READY" in await stack.statuses(name)

    await eventually(is_ready)
    assert await stack.unfinished_uploads() == unfinished
