"""The embedded stack as `make run` starts it, and a browser whose every complaint fails the test."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect
from pydantic import SecretStr

from service.dev.processes import Children
from service.object_store import ObjectStore
from service.settings import StorageSettings
from tests.e2e.bundling import ESBUILD
from tests.e2e.running_stack import REPOSITORY, Stack
from tests.e2e.storage_proxy import StorageProxy, running_proxy

# The first draws nothing for windows that nobody sees, and takes half of the CPU.
CHROMIUM_NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
NO_CHROMIUM = (
    "There is no Chromium for the browser tests: sudo apt-get install chromium-headless-shell (or chromium), "
    "or name one in CHROMIUM=/path/to/it."
)
NO_BUNDLER = "This needs Node.js 20 or later, Uppy and a bundler: npm ci --prefix tests/e2e/uppy"
# Far more than anything takes, for machines that are busy with other things.
PATIENCE_MS = 40_000
# No calls home, and no protocol that the stack does not speak.
ARGUMENTS = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """`python -m service dev` in a folder of its own, without samples."""
    folder = tmp_path_factory.mktemp("stack")
    children = Children(tmp_path_factory.mktemp("stack-logs"))
    env = {**os.environ, "DEV_FOLDER": str(folder), "DEV_SAMPLES": "false", "MEDIA_LOG_LEVEL": "DEBUG"}
    child = await children.start("dev", [sys.executable, "-m", "service", "dev"], env=env, cwd=REPOSITORY, grace_s=30)
    try:

        async def announced() -> bool:
            return (folder / "urls.json").exists()

        await children.wait_until(child, announced, timeout_s=90)
        urls, keys = (json.loads((folder / name).read_text()) for name in ("urls.json", "keys.json"))
        secret = SecretStr(keys["storage_secret_key"])
        store = ObjectStore(
            StorageSettings(endpoint=urls["s3"], access_key=keys["storage_access_key"], secret_key=secret)
        )
        yield Stack(urls, store, folder)
        await store.close()
    finally:
        await children.stop_all()


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Chromium; sandboxed unless this runs as root, where it cannot be."""
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    if path is None:
        pytest.fail(NO_CHROMIUM) if os.environ.get("CI") else pytest.skip(NO_CHROMIUM)
    expect.set_options(timeout=PATIENCE_MS)
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(
            executable_path=path, args=ARGUMENTS, chromium_sandbox=os.geteuid() != 0
        )
        yield launched
        await launched.close()


@pytest.fixture(scope="session")
def esbuild() -> Path:
    """The bundler; beside it are the packages that the guide's examples import."""
    if shutil.which("node") is None or not ESBUILD.exists():
        pytest.fail(NO_BUNDLER) if os.environ.get("CI") else pytest.skip(NO_BUNDLER)
    return ESBUILD


@pytest.fixture
def expected_complaints() -> list[str]:
    """Beginnings of console messages that a test provokes; everything else fails it."""
    return []


@pytest.fixture
async def context(browser: Browser, stack: Stack) -> AsyncIterator[BrowserContext]:
    """A fresh profile at 1280 x 800 that speaks English."""
    opened = await browser.new_context(
        base_url=stack.urls["demo"], viewport={"width": 1280, "height": 800}, locale="en-GB", timezone_id="UTC"
    )
    opened.set_default_timeout(PATIENCE_MS)
    yield opened
    await opened.close()


@pytest.fixture(scope="session")
async def running() -> AsyncIterator[tuple[StorageProxy, str]]:
    """One proxy for all tests; the test's own fixture is `proxy`."""
    async with running_proxy() as proxy_and_address:
        yield proxy_and_address


@pytest.fixture
def proxy(running: tuple[StorageProxy, str]) -> StorageProxy:
    """What stands between the pages of `proxied` and storage; it lets everything through until it is told otherwise."""
    running[0].reset()
    return running[0]


@pytest.fixture
async def proxied(
    browser: Browser, stack: Stack, running: tuple[StorageProxy, str], proxy: StorageProxy
) -> AsyncIterator[BrowserContext]:
    """A fresh profile whose requests to storage, and no others, go through `proxy`."""
    others = [stack.urls[name].split("/")[2] for name in ("demo", "edge")]
    opened = await browser.new_context(
        base_url=stack.urls["demo"], locale="en-GB", proxy={"server": running[1], "bypass": ",".join(others)}
    )
    opened.set_default_timeout(PATIENCE_MS)
    yield opened
    proxy.go_on()
    await opened.close()


@pytest.fixture
async def page(context: BrowserContext, expected_complaints: list[str]) -> AsyncIterator[Page]:
    """A tab. What the console or a script complains of fails the test: refusals by the content policy among them."""
    opened = await context.new_page()
    complaints: list[str] = []
    opened.on("console", lambda said: complaints.append(said.text) if said.type in {"error", "warning"} else None)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("dialog", lambda dialog: complaints.append(f"a dialog: {dialog.message}"))
    yield opened
    unexpected = [said for said in complaints if not said.startswith(tuple(expected_complaints))]
    assert unexpected == []
