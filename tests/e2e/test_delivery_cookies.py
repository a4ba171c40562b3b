"""A real browser with the cookies for public pictures: three origins of one site, as pages, API and CDN are."""

from __future__ import annotations

import asyncio
import io
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

from PIL import Image
from playwright.async_api import Browser
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from service.app import create_app
from service.dev.edge import Edge
from service.dev.edge.configuration import edge_settings
from service.settings import Environment, HttpSettings, Settings, StorageSettings
from service.transport.server import GracefulServer
from tests.edge_stand import FEED, ID, PICTURE, Bucket, delivery_settings

# What a page does with an address: the width of the picture, or null where it does not open.
SHOW = """address => new Promise(resolve => {
  const picture = new Image()
  picture.onload = () => resolve(picture.naturalWidth)
  picture.onerror = () => resolve(null)
  picture.src = address
})"""
ASK = "address => fetch(address, {method: 'POST', credentials: 'include'}).then(answer => answer.json())"


async def nothing() -> None:
    """No sockets to say goodbye to."""


@asynccontextmanager
async def serving(app: ASGIApp, bound: socket.socket) -> AsyncIterator[None]:
    server = GracefulServer(app, HttpSettings(), nothing)
    server.config.lifespan = "off"
    running = asyncio.create_task(server.serve(sockets=[bound]))
    try:
        yield
    finally:
        server.should_exit = True
        await running


def webp(width: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, 5)).save(buffer, "WEBP")
    return buffer.getvalue()


async def test_a_page_shows_unsigned_addresses_once_it_has_cookies(browser: Browser) -> None:
    bound = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    page_at, api_at, edge_at = (f"http://127.0.0.1:{each.getsockname()[1]}" for each in bound)
    delivery = delivery_settings().model_copy(update={"base_url": edge_at, "cookie_domain": "127.0.0.1"})
    settings = Settings(
        environment=Environment.DEVELOPMENT,
        storage=StorageSettings(upload_bucket="uploads", media_bucket="media"),
        delivery=delivery,
        http=HttpSettings(allowed_origins=(page_at,)),
    )
    bucket, private = Bucket(), f"community/private/feed/{ID}/1.webp"
    bucket.objects = {("media", key): replace(PICTURE, body=webp(7)) for key in (FEED, private)}
    pages = Starlette(routes=[Route("/", lambda _request: HTMLResponse("<!doctype html><title>Page</title>"))])
    apps = (pages, create_app(settings), Edge(edge_settings(settings), bucket))
    async with AsyncExitStack() as stack:
        for app, at in zip(apps, bound, strict=True):
            await stack.enter_async_context(serving(app, at))
        page = await stack.enter_async_context(await browser.new_page())
        await page.goto(page_at)
        assert await page.evaluate(SHOW, f"{edge_at}/{FEED}") is None
        answer = await page.evaluate(ASK, f"{api_at}/delivery/cookies/community")
        assert answer["path"] == "/community/processed/"
        assert await page.evaluate(SHOW, f"{edge_at}/{FEED}") == 7
        assert await page.evaluate(SHOW, f"{edge_at}/{private}") is None
        assert await page.evaluate("document.cookie") == ""
    assert bucket.asked == [("media", FEED)]
