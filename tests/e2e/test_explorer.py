"""The GraphQL explorer in a real browser."""

from __future__ import annotations

import json
import re

import pytest
from playwright.async_api import Page, expect

from tests.e2e.running_stack import Stack
from tests.photos import small_photo

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]


async def run(page: Page, query: str, variables: dict[str, object] | None = None) -> None:
    await page.get_by_label("Operation").last.fill(query)
    await page.get_by_label("Variables").fill(json.dumps(variables or {}))
    await page.keyboard.press("Control+Enter")


async def test_a_query_runs_as_the_development_user_and_as_nobody(page: Page, expected_complaints: list[str]) -> None:
    expected_complaints.append("Failed to load resource: the server responded with a status of 400")
    await page.goto("/demo/explorer")
    token = page.get_by_label("Bearer token")
    await expect(token).not_to_have_value("")
    await run(page, "query First { viewer { id } }\nquery Second { __typename }")
    await expect(page.locator("#answer")).to_contain_text('"__typename": "Query"')
    await run(page, "{ viewer { id } }")
    await expect(page.locator("#answer")).to_contain_text('"id": "demo"')
    await token.fill("")
    await run(page, "{ viewer { id } }")
    await expect(page.locator("#answer")).to_contain_text('"viewer": null')
    await run(page, "{ nothingSuch }")
    await expect(page.locator("#answer")).to_contain_text("Cannot query field 'nothingSuch'")


async def test_a_subscription_shows_every_event_and_ends(page: Page, stack: Stack) -> None:
    media_id = await stack.client().send(small_photo(60))
    await page.goto("/demo/explorer")
    await expect(page.get_by_label("Bearer token")).not_to_have_value("")
    await run(page, "subscription($ids: [ID!]!) { mediaStatus(ids: $ids) { status } }", {"ids": [media_id]})
    await expect(page.locator("#timing")).to_contain_text("complete")
    await expect(page.locator("#answer")).to_contain_text('"status": "READY"')


async def test_the_schema_can_be_read(page: Page) -> None:
    await page.goto("/demo/explorer")
    docs = page.locator("#docs")
    await docs.get_by_role("button", name="Query", exact=True).click()
    await expect(docs).to_contain_text("feed(purpose: MediaPurpose!")
    await docs.get_by_role("button", name="MediaConnection").first.click()
    await expect(docs).to_contain_text("A page of media, newest first.")
    await page.get_by_role("button", name="Back").click()
    await expect(docs).to_contain_text("feed(purpose: MediaPurpose!")


async def test_graphiql_gives_way_to_the_explorer_without_a_network(page: Page, expected_complaints: list[str]) -> None:
    expected_complaints += [
        "Failed to load resource: net::ERR_FAILED",
        "Cookies is not defined",
        "GraphiQL is not defined",
    ]
    await page.route(re.compile("^https:"), lambda route: route.abort())
    await page.goto("/graphql")
    await page.wait_for_url("**/demo/explorer")
    await run(page, "{ viewer { id } }")
    await expect(page.locator("#answer")).to_contain_text('"id": "demo"')
