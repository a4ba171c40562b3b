"""Text that people and models write, as scripts: what any page of ours shows of it is text."""

from __future__ import annotations

from uuid import uuid4

import pytest
from playwright.async_api import Page, expect

from tests.e2e.demo_page import DemoPage
from tests.e2e.running_stack import Stack
from tests.photos import small_photo

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

# Each calls what the page was given to be told of it.
SCRIPTS = (
    "<script>ran('script')</script>",
    "\"><img src=x onerror=ran('attribute')>",
    "<svg/onload=ran('svg')>",
    "javascript:ran('address')",
    "</title><script>ran('title')</script>",
    "{{constructor.constructor('ran(1)')()}}",
    "\u2028ran('line')//",
)
EVERYTHING = " ".join(SCRIPTS)
ANNOTATE = "mutation($i: AnnotateMediaInput!) { annotateMedia(input: $i) { userErrors { code message } } }"
READ = """
query($id: ID!) { media(id: $id) {
  title altText tags subject { type id } annotations(first: 10) { nodes { label text source } } } }
"""


async def written(stack: Stack) -> str:
    """A photo of the development user with scripts in every text that a client can write; its id."""
    client = stack.client()
    details = {"title": EVERYTHING[:200], "altText": EVERYTHING, "tags": list(SCRIPTS), "fileName": f"{SCRIPTS[0]}.jpg"}
    subject = {"type": "x", "id": SCRIPTS[1]}
    media_id = await client.send(small_photo(71), details=details, subject=subject)
    await client.wait_for_all_renditions(media_id)
    annotations = [{"label": script, "text": EVERYTHING} for script in SCRIPTS]
    given = {"idempotencyKey": uuid4().hex, "mediaId": media_id, "source": "user:demo", "annotations": annotations}
    assert (await client.run(ANNOTATE, i=given))["annotateMedia"]["userErrors"] == []
    return media_id


async def test_no_text_of_a_media_runs_on_any_page(page: Page, stack: Stack) -> None:
    ran: list[str] = []

    def note(what: str) -> None:
        ran.append(what)

    await page.expose_function("ran", note)
    media_id = await written(stack)
    demo = await DemoPage.opened(page)
    tile = demo.tiles.filter(has_text="ran('script')").first
    await tile.get_by_role("button").click()
    large = await demo.picture_in(demo.viewer)
    assert await large.get_attribute("alt") == EVERYTHING
    await page.goto("/demo/explorer")
    await expect(page.get_by_label("Bearer token")).not_to_have_value("")
    await page.get_by_label("Operation").last.fill(READ)
    await page.get_by_label("Variables").fill(f'{{"id": "{media_id}"}}')
    await page.keyboard.press("Control+Enter")
    await expect(page.locator("#answer")).to_contain_text("ran('svg')")
    # That the oracle would have heard it, and was not merely silenced by the page's policy.
    assert await page.evaluate("typeof window.ran") == "function"
    for element in ("script:not([src])", "img[src='x']", "svg[onload]", "[onerror]", "a[href^='javascript:']"):
        assert await page.locator(element).count() == 0, element
    assert ran == []
