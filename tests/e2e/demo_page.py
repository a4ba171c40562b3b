"""What a person does on the demo page, and what they see there."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Self

from PIL import Image
from playwright.async_api import FilePayload, Locator, Page, Request, expect


def photo_file(body: bytes, name: str = "photo.jpg", media_type: str = "image/jpeg") -> FilePayload:
    """A file as the picker hands it to the page."""
    return {"name": name, "mimeType": media_type, "buffer": body}


def on_disk(path: Path, body: bytes) -> Path:
    """A file to pick that is too large to hand over in memory."""
    path.write_bytes(body)
    return path


class DemoPage:
    """The page, once its feed has loaded."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.tiles = page.locator("#grid .tile")
        self.viewer = page.get_by_role("dialog")

    @classmethod
    async def opened(cls, page: Page) -> Self:
        await page.goto("/")
        await expect(page.locator("#grid")).to_have_attribute("aria-busy", "false")
        return cls(page)

    async def choose(self, *files: FilePayload | Path) -> None:
        """Picks files: all in memory, or all on disk."""
        await self.page.get_by_label("Choose photos").set_input_files(list(files))  # type: ignore[arg-type]

    def status_of(self, name: str) -> Locator:
        """The status of an upload, as text."""
        return self.upload(name).locator(".status")

    async def is_ready(self, *names: str) -> None:
        """Waits until each upload says so."""
        for name in names:
            await expect(self.status_of(name)).to_have_text("Ready")

    async def has_failed(self, name: str) -> str:
        """Waits until the upload has failed; what the page says about it."""
        await expect(self.upload(name)).to_have_attribute("data-state", "failed")
        return await self.status_of(name).inner_text()

    async def try_again(self, name: str) -> None:
        await self.upload(name).get_by_role("button", name="Try again").click()

    def tile(self, title: str) -> Locator:
        return self.tiles.filter(has=self.page.get_by_text(title, exact=True))

    async def picture_in(self, place: Locator) -> Locator:
        """The loaded picture in a tile or in the viewer."""
        image = place.locator("img.shown")
        await expect(image).to_be_visible()
        return image

    async def open_large(self, title: str) -> Locator:
        """Opens a tile; the large picture, once it is there."""
        await self.tile(title).get_by_role("button").click()
        return await self.picture_in(self.viewer)

    async def delete_open(self) -> None:
        """Deletes what the viewer shows, and confirms."""
        await self.viewer.get_by_role("button", name="Delete").click()
        await self.page.get_by_role("alertdialog").get_by_role("button", name="Delete").click()

    def upload(self, name: str) -> Locator:
        """The line of an upload in the list."""
        return self.page.locator(".upload").filter(has=self.page.get_by_text(name, exact=True))


async def seen(place: Locator) -> Image.Image:
    """What the screen shows there, once it has faded in."""
    await place.evaluate("image => Promise.all(image.getAnimations().map(each => each.finished))")
    return Image.open(io.BytesIO(await place.screenshot()))


def recorded(page: Page) -> list[Request]:
    """Every request of the page from now on."""
    requests: list[Request] = []

    def record(request: Request) -> None:
        requests.append(request)

    page.on("request", record)
    return requests
