"""The placeholder that the page paints, against what its inventor's own code decodes."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from playwright.async_api import Page

from tests.e2e.running_stack import REPOSITORY

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

VECTORS = json.loads((REPOSITORY / "tests" / "fixtures" / "thumbhash.json").read_text())["vectors"]

DECODE = """async hash => {
  const { decode } = await import('/demo/thumbhash.js');
  const { width, height, rgba } = decode(Uint8Array.from(hash));
  return { width, height, rgba: [...rgba] };
}"""
PAINT = """async text => {
  const { placeholder } = await import('/demo/thumbhash.js');
  const { width, height } = placeholder(text);
  return [width, height];
}"""
UNTOUCHED_CANVAS = [300, 150]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
async def test_it_decodes_as_the_reference_does(page: Page, vector: dict[str, Any]) -> None:
    await page.goto("/")
    decoded = await page.evaluate(DECODE, list(base64.b64decode(vector["hash"])))
    assert (decoded["width"], decoded["height"]) == (vector["width"], vector["height"])
    expected = base64.b64decode(vector["rgba"])
    # The reference cuts fractions off, a clamped array rounds them.
    assert max(abs(mine - theirs) for mine, theirs in zip(decoded["rgba"], expected, strict=True)) <= 1
    assert await page.evaluate(PAINT, vector["hash"]) == [vector["width"], vector["height"]]


@pytest.mark.parametrize("text", [None, "", "1Q==", "?not base64?"])
async def test_what_is_no_thumbhash_paints_nothing(page: Page, text: str | None) -> None:
    await page.goto("/")
    assert await page.evaluate(PAINT, text) == UNTOUCHED_CANVAS
