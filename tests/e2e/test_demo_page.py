"""The demo page in a real browser, on the embedded stack: from choosing a photo to deleting it."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path

import httpx
import pytest
from PIL import Image
from playwright.async_api import Browser, Locator, Page, Route, expect

from service.dev.sample_upload import samples
from tests.clips import clip
from tests.e2e.demo_page import DemoPage, photo_file, seen
from tests.e2e.running_stack import REPOSITORY, Stack, eventually
from tests.photos import MAKER_NOTE, OWNER, SERIAL, is_upright, phone_heic, phone_photo, small_photo

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

FEED = "{ feed(purpose: COMMUNITY, first: 100) { nodes { title } } }"
HOSTILE = "<img src=x onerror=\"document.title='owned'\">"

# With what moved, so that a failure names it.
RECORD_SHIFTS = """
  window.shifts = [];
  const named = ({ node, previousRect, currentRect }) =>
    `${node?.nodeName}#${node?.id}.${node?.className}: ${JSON.stringify([previousRect, currentRect])}`;
  // The button below the grid makes way for what it brought, in view if no frame came between.
  const isButton = ({ node }) => node?.parentElement?.closest('.more') ?? node?.closest?.('.more');
  new PerformanceObserver(list => list.getEntries().forEach(({ value, sources }) => {
    if (!sources.length || !sources.every(isButton)) shifts.push({ value, moved: sources.map(named) });
  })).observe({ type: 'layout-shift', buffered: true });
"""
# Of a phone's photo: its feed picture, and once it is complete the full one.
BOTH_SIZES = re.compile(r" 540w, .* 810w$")
PAINTED = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


def with_one_character_changed(url: str) -> str:
    at = url.index("Signature=") + len("Signature=") + 9
    return url[:at] + ("A" if url[at] != "A" else "B") + url[at + 1 :]


async def addresses_in(image: Locator) -> list[str]:
    """Every URL of its srcset."""
    return re.findall(r"(\S+) \d+w", await image.get_attribute("srcset") or "")


async def answer_only_once_the_page_has_been_painted(route: Route) -> None:
    """As on a slow day: people see the page between asking for more and having it."""
    # What is asked beside it may be from the page that was left.
    if "query Feed" in (route.request.post_data or ""):
        await route.request.frame.evaluate(PAINTED)
    await route.continue_()


async def test_a_phone_photo_goes_up_and_is_shown_upright_without_its_secrets(page: Page, stack: Stack) -> None:
    demo = await DemoPage.opened(page)
    await demo.choose(photo_file(phone_photo(), "holiday.jpg"))
    await demo.is_ready("holiday.jpg")
    picture = await demo.picture_in(demo.tile("holiday"))
    assert await picture.get_attribute("alt") == "holiday"
    await expect(picture).to_have_attribute("srcset", BOTH_SIZES)
    addresses = await addresses_in(picture)
    async with httpx.AsyncClient() as client:
        for address in addresses:
            assert address.startswith(f"{stack.urls['edge']}/community/processed/")
            answer = await client.get(address)
            assert answer.status_code == 200
            for secret in (SERIAL.encode(), OWNER.encode(), MAKER_NOTE, b"Exif", b"http://ns.adobe.com"):
                assert secret not in answer.content
            served = Image.open(io.BytesIO(answer.content))
            assert is_upright(served)
            assert not served.getexif()
            assert {"exif", "xmp", "comment", "icc_profile"}.isdisjoint(served.info)
            refused = await client.get(with_one_character_changed(address))
            assert refused.status_code == 403
            assert "<Code>AccessDenied</Code>" in refused.text
    large = await demo.open_large("holiday")
    assert await large.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [540, 720]
    assert is_upright(await seen(large))


async def test_a_sharp_screen_is_shown_the_full_rendition(browser: Browser, stack: Stack) -> None:
    async with await browser.new_context(base_url=stack.urls["demo"], device_scale_factor=2) as sharp:
        demo = await DemoPage.opened(await sharp.new_page())
        await demo.choose(photo_file(phone_photo(2400, 1800, seed=2), "sharp.jpg"))
        await demo.is_ready("sharp.jpg")
        await expect(await demo.picture_in(demo.tile("sharp"))).to_have_attribute("srcset", BOTH_SIZES)
        large = await demo.open_large("sharp")
        assert await large.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [810, 1080]


async def test_a_clip_can_be_seen_at_once_and_plays_once_it_is_complete(page: Page) -> None:
    demo = await DemoPage.opened(page)
    await demo.choose(photo_file(clip(seconds=1), "IMG_0002.MOV", ""), photo_file(phone_heic(6), "IMG_0001.HEIC", ""))
    await demo.is_ready("IMG_0002.MOV", "IMG_0001.HEIC")
    await demo.picture_in(demo.tile("IMG_0001"))
    tile = demo.tile("IMG_0002")
    await demo.picture_in(tile)
    await expect(tile.locator(".badge")).to_have_text("▶ 0:01")
    await tile.get_by_role("button").click()
    # Opened too early, it is a still first.
    playing = demo.viewer.locator("video")
    await expect(playing).to_be_visible()
    await playing.evaluate("clip => new Promise(done => { clip.ontimeupdate = () => clip.currentTime > 0 && done(); })")
    assert await playing.evaluate("clip => [clip.muted, clip.loop, clip.videoWidth, clip.videoHeight]") == [
        True,
        True,
        160,
        96,
    ]
    assert await playing.get_attribute("poster")


async def test_deleting_takes_a_photo_from_the_feed_and_from_storage(page: Page, stack: Stack) -> None:
    demo = await DemoPage.opened(page)
    before = await stack.stored_keys()
    await demo.choose(photo_file(small_photo(3), "short-lived.jpg"))
    await demo.is_ready("short-lived.jpg")
    assert len(await stack.stored_keys() - before) == 10  # the original, and three sizes in three formats
    await demo.open_large("short-lived")
    await demo.delete_open()
    await expect(demo.tile("short-lived")).to_have_count(0)
    await expect(demo.viewer).to_have_count(0)

    async def only_the_original_is_left() -> bool:
        left = await stack.stored_keys() - before
        return len(left) == 1 and "/raw/" in left.pop()

    # For as long as its owner may send it again without its bytes.
    await eventually(only_the_original_is_left)
    await page.reload()
    await expect(page.locator("#grid")).to_have_attribute("aria-busy", "false")
    await expect(demo.tile("short-lived")).to_have_count(0)


async def test_nothing_is_deleted_without_a_yes(page: Page, stack: Stack) -> None:
    demo = await DemoPage.opened(page)
    await demo.choose(photo_file(small_photo(4), "kept.jpg"))
    await demo.is_ready("kept.jpg")
    stored = await stack.stored_keys()
    await demo.open_large("kept")
    await demo.viewer.get_by_role("button", name="Delete").click()
    await page.get_by_role("alertdialog").get_by_role("button", name="Keep it").click()
    await page.keyboard.press("Escape")
    await expect(demo.viewer).to_have_count(0)
    await expect(demo.tile("kept")).to_be_visible()
    assert await stack.stored_keys() == stored


async def test_names_and_captions_are_shown_as_the_text_they_are(page: Page) -> None:
    demo = await DemoPage.opened(page)
    await demo.choose(photo_file(small_photo(5), f"{HOSTILE}.jpg"))
    await demo.is_ready(f"{HOSTILE}.jpg")
    await page.get_by_label("Caption").fill(f"{HOSTILE} caption")
    await page.get_by_label("Description").fill(f"{HOSTILE} description")
    await demo.choose(photo_file(small_photo(6), "second.jpg"))
    await demo.is_ready("second.jpg")
    await expect(demo.tile(HOSTILE)).to_be_visible()
    large = await demo.open_large(f"{HOSTILE} caption")
    assert await large.get_attribute("alt") == f"{HOSTILE} description"
    await expect(demo.viewer.get_by_role("heading")).to_have_text(f"{HOSTILE} caption")
    assert await page.title() == "Photos · media service"
    assert await page.locator("img[src='x']").count() == 0


async def test_only_its_owner_is_shown_a_private_photo(page: Page, stack: Stack) -> None:
    demo = await DemoPage.opened(page)
    await page.get_by_label("Only me").check()
    await demo.choose(photo_file(small_photo(7), "diary.jpg"))
    await demo.is_ready("diary.jpg")
    await expect(demo.tile("diary").get_by_text("Only me")).to_be_visible()
    assert {"title": "diary"} in (await stack.client().run(FEED))["feed"]["nodes"]
    assert {"title": "diary"} not in (await stack.stranger().run(FEED))["feed"]["nodes"]


async def test_what_is_no_photo_fails_with_a_sentence(page: Page, tmp_path: Path) -> None:
    demo = await DemoPage.opened(page)
    shown = await demo.tiles.count()
    text = photo_file(b"These are words, whatever the name says.", "words.jpg")
    document = photo_file(b"%PDF-1.7", "letter.pdf", "application/pdf")
    large = tmp_path / "large.jpg"
    large.write_bytes(small_photo())
    os.truncate(large, 100_000_001)
    await demo.choose(large)
    await demo.choose(text, document, photo_file(small_photo(8), "fine.jpg"))
    assert "it is text/plain" in await demo.has_failed("words.jpg")
    assert "not application/pdf" in await demo.has_failed("letter.pdf")
    assert re.search("up to 100(,000,000 bytes|(.0)? MB)", await demo.has_failed("large.jpg"))
    await demo.is_ready("fine.jpg")
    await expect(demo.tiles).to_have_count(shown + 1)
    await page.get_by_role("button", name="Clear finished").click()
    await expect(page.locator(".upload")).to_have_count(0)


async def test_files_that_cannot_be_photos_are_told_apart_and_hold_up_nobody(page: Page) -> None:
    demo = await DemoPage.opened(page)
    await demo.choose(
        photo_file(b"", "empty.jpg"),
        photo_file(b"II*\0and so on", "scan.tif", "image/tiff"),
        photo_file(small_photo(11), "sound.jpg"),
    )
    assert await demo.has_failed("empty.jpg") == "The file is empty. Choose one that holds a photo or a clip."
    assert "not TIFF: save the photo as JPEG" in await demo.has_failed("scan.tif")
    await demo.is_ready("sound.jpg")
    for name in ("empty.jpg", "scan.tif"):
        await expect(demo.upload(name).locator(".preview.none")).to_be_visible()
        await expect(demo.upload(name).locator("img")).to_have_count(0)
    await expect(demo.upload("sound.jpg").locator("img.preview")).to_be_visible()


async def test_only_a_caption_darkens_a_picture(page: Page) -> None:
    demo = await DemoPage.opened(page)
    await demo.choose(photo_file(small_photo(12), "captioned.jpg"))
    await demo.is_ready("captioned.jpg")
    label = demo.tile("captioned").locator(".label")
    await expect(label).to_have_css("background-image", re.compile("gradient"))
    await label.locator(".title").evaluate("title => title.replaceChildren()")
    await expect(page.locator(".label:has(.title:empty)")).to_have_css("background-image", "none")


async def test_the_dot_says_whether_the_service_is_there(page: Page) -> None:
    await DemoPage.opened(page)
    await expect(page.locator("#live-text")).to_have_text("Signed in as demo")
    good = await page.locator(".dot").evaluate("dot => getComputedStyle(dot).backgroundColor")
    await page.locator("#live").evaluate("live => { live.dataset.state = 'connecting'; }")
    await expect(page.locator(".dot")).not_to_have_css("background-color", good)
    await page.locator("#live").evaluate("live => { live.dataset.state = 'on'; }")
    await expect(page.locator(".dot")).to_have_css("background-color", good)


async def test_the_page_works_without_a_mouse(page: Page) -> None:
    demo = await DemoPage.opened(page)
    await demo.choose(photo_file(small_photo(9), "older.jpg"))
    await demo.is_ready("older.jpg")
    await demo.choose(photo_file(small_photo(10), "newer.jpg"))
    await demo.is_ready("newer.jpg")
    opener = demo.tile("newer").get_by_role("button")
    await opener.focus()
    await page.keyboard.press("Enter")
    await expect(demo.viewer.get_by_role("heading")).to_have_text("newer")
    await page.keyboard.press("ArrowRight")
    await expect(demo.viewer.get_by_role("heading")).to_have_text("older")
    await page.keyboard.press("Escape")
    await expect(demo.viewer).to_have_count(0)
    await expect(opener).to_be_focused()


async def test_the_feed_grows_by_scrolling_and_nothing_moves(page: Page, stack: Stack) -> None:
    demo = await DemoPage.opened(page)
    names = [f"many-{number}.jpg" for number in range(21)]
    await demo.choose(*(photo_file(small_photo(20 + number), name) for number, name in enumerate(names)))
    await demo.is_ready(*names)
    feed = (await stack.client().run(FEED))["feed"]["nodes"]
    await page.set_viewport_size({"width": 500, "height": 600})
    await page.add_init_script(RECORD_SHIFTS)
    await page.route("**/graphql", answer_only_once_the_page_has_been_painted)
    await page.reload()
    await expect(demo.tiles).to_have_count(12)
    await expect(page.locator("#feed-count")).to_be_empty()
    await demo.picture_in(demo.tiles.first)
    while (count := await demo.tiles.count()) < len(feed):
        await demo.tiles.last.scroll_into_view_if_needed()
        await expect(demo.tiles.nth(count)).to_be_attached()
    assert await demo.tiles.locator(".title").all_inner_texts() == [media["title"] for media in feed]
    await expect(page.locator("#feed-count")).to_have_text(re.compile(f"^{len(feed)} photos( and clips)?$"))
    shifts = await page.evaluate("shifts")
    assert sum(shift["value"] for shift in shifts) < 0.02, shifts


async def test_the_sample_photos_fill_the_feed(page: Page) -> None:
    """`KEEP_SCREENSHOT=1 pytest tests/e2e -k sample` keeps what it looks like in docs/."""
    demo = await DemoPage.opened(page)
    given = samples()
    await demo.choose(*given)
    await demo.is_ready(*(sample.name for sample in given))
    await page.get_by_role("button", name="Clear finished").click()
    await expect(demo.tiles.locator(".title")).to_contain_text([sample.stem for sample in reversed(given)])
    for sample in given:
        await demo.tile(sample.stem).scroll_into_view_if_needed()
        await seen(await demo.picture_in(demo.tile(sample.stem)))
    await page.evaluate("scrollTo(0, 0)")
    await expect(demo.tiles.first).to_be_in_viewport()
    if "KEEP_SCREENSHOT" in os.environ:
        shown = Image.open(io.BytesIO(await page.screenshot())).convert("RGB")
        # Six bits a channel: no eye sees it, and it saves a third.
        shown.point([level & 0xFC | level >> 6 for level in range(256)] * 3).save(
            REPOSITORY / "docs" / "demo.png", optimize=True
        )
