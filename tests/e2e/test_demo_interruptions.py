"""The demo page when connections break: nothing is lost, and nothing happens twice."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from playwright.async_api import Page, Request, Route, WebSocketRoute, expect

from tests.e2e.demo_page import DemoPage, photo_file, recorded
from tests.e2e.running_stack import Stack, eventually
from tests.photos import small_photo

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

REFUSED = "Failed to load resource: the server responded with a status of"


@pytest.fixture
def expected_complaints() -> list[str]:
    return ["Failed to load resource: net::ERR_", *(f"{REFUSED} {status}" for status in (401, 403, 412))]


def keys_sent(requests: list[Request], operation: str) -> list[str]:
    """The idempotency key of each request that carried this mutation."""
    bodies = [json.loads(request.post_data or "{}") for request in requests if request.url.endswith("/graphql")]
    return [body["variables"]["input"]["idempotencyKey"] for body in bodies if f"mutation {operation}" in body["query"]]


async def test_an_upload_that_breaks_off_is_sent_again(page: Page, stack: Stack) -> None:
    demo, requests, tries = await DemoPage.opened(page), recorded(page), 0

    async def break_the_first(route: Route) -> None:
        nonlocal tries
        tries += 1
        await (route.abort("connectionreset") if tries == 1 else route.continue_())

    await page.route(f"{stack.urls['s3']}/**", break_the_first)
    await demo.choose(photo_file(small_photo(50), "broken.jpg"))
    await demo.is_ready("broken.jpg")
    assert tries == 2
    assert len(keys_sent(requests, "CreateUploads")) == 1
    assert await stack.statuses("broken") == ["READY"]


async def test_a_lost_answer_of_storage_ends_well(page: Page, stack: Stack) -> None:
    demo, answers = await DemoPage.opened(page), []

    async def lose_the_first(route: Route) -> None:
        answer = await route.fetch()
        answers.append(answer.status)
        if len(answers) == 1:
            await route.abort("connectionreset")
        else:
            await route.fulfill(response=answer)

    # The event and the sweeper would finish it without the page; here the page itself must cope with the repeat.
    await page.route(f"{stack.urls['s3']}/**", lose_the_first)
    await demo.choose(photo_file(small_photo(51), "echo.jpg"))
    await demo.is_ready("echo.jpg")
    assert answers[0] == 200
    assert set(answers[1:]) <= {412}
    assert await stack.statuses("echo") == ["READY"]


async def test_after_giving_up_the_page_offers_to_try_again(page: Page, stack: Stack) -> None:
    await page.clock.install()
    demo, requests, down = await DemoPage.opened(page), recorded(page), True

    async def refuse_while_down(route: Route) -> None:
        await (route.abort("connectionrefused") if down else route.continue_())

    await page.route(f"{stack.urls['s3']}/**", refuse_while_down)
    await demo.choose(photo_file(small_photo(52), "patient.jpg"))
    # After 1, 2, 4, 8 and 16 seconds, and up to a quarter more.
    for tries in range(1, 6):
        await _was_sent(requests, stack, tries)
        await page.clock.run_for(20_000)
    assert await demo.has_failed("patient.jpg") == "Storage cannot be reached. Check the connection, then try again."
    assert len(_puts(requests, stack)) == 6
    down = False
    await demo.try_again("patient.jpg")
    await demo.is_ready("patient.jpg")
    assert len(set(keys_sent(requests, "CreateUploads"))) == 1
    assert await stack.statuses("patient") == ["READY"]


def _puts(requests: list[Request], stack: Stack) -> list[Request]:
    return [each for each in requests if each.method == "PUT" and each.url.startswith(stack.urls["s3"])]


async def _was_sent(requests: list[Request], stack: Stack, tries: int) -> None:
    async def so_often() -> bool:
        return len(_puts(requests, stack)) == tries

    await eventually(so_often)


async def test_the_live_status_resumes_where_the_connection_broke(page: Page, stack: Stack) -> None:
    subscribed: list[dict[str, Any]] = []
    resumed = asyncio.Event()

    async def break_after_the_first_event(socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()

        def to_server(message: str | bytes) -> None:
            decoded = json.loads(message)
            if decoded["type"] == "subscribe":
                subscribed.append(decoded["payload"]["variables"])
                if len(subscribed) == 2:
                    resumed.set()
            server.send(message)

        async def to_page(message: str | bytes) -> None:
            socket.send(message)
            if len(subscribed) == 1 and json.loads(message)["type"] == "next":
                await socket.close(code=1012, reason="Service restart")

        socket.on_message(to_server)
        server.on_message(lambda message: asyncio.ensure_future(to_page(message)))

    async def hold_until_resumed(route: Route) -> None:
        await resumed.wait()
        await route.continue_()

    await page.route_web_socket("**/graphql", break_after_the_first_event)
    await page.route(f"{stack.urls['s3']}/**", hold_until_resumed)
    demo = await DemoPage.opened(page)
    await demo.choose(photo_file(small_photo(53), "cut-off.jpg"))
    await demo.is_ready("cut-off.jpg")
    await expect(demo.tile("cut-off")).to_be_visible()
    assert [variables["after"] is None for variables in subscribed] == [True, False]


async def test_a_page_that_opens_while_the_service_is_down_recovers(page: Page) -> None:
    async def refuse(route: Route) -> None:
        await route.abort("connectionrefused")

    await page.route("**/graphql", refuse)
    await page.goto("/")
    problem = page.get_by_role("alert").filter(has_text="The service cannot be reached.")
    await expect(problem).to_be_visible()
    demo = DemoPage(page)
    await demo.choose(photo_file(small_photo(54), "recovered.jpg"))
    await expect(demo.status_of("recovered.jpg")).to_have_text("Preparing")
    await page.unroute("**/graphql")
    await problem.get_by_role("button", name="Try again").click()
    await demo.is_ready("recovered.jpg")
    await expect(demo.tile("recovered")).to_have_count(1)
    await expect(problem).to_be_hidden()


async def test_a_picture_whose_address_ran_out_gets_a_new_one(page: Page, stack: Stack) -> None:
    refused = []

    async def refuse_the_first(route: Route) -> None:
        if refused:
            await route.continue_()
        else:
            refused.append(route.request.url)
            await route.fulfill(status=403, content_type="text/xml", body="<Error><Code>AccessDenied</Code></Error>")

    demo = await DemoPage.opened(page)
    await page.route(f"{stack.urls['edge']}/**", refuse_the_first)
    await demo.choose(photo_file(small_photo(55), "overnight.jpg"))
    await demo.is_ready("overnight.jpg")
    await demo.picture_in(demo.tile("overnight"))
    assert len(refused) == 1


async def test_a_networks_own_page_is_no_answer(page: Page, stack: Stack) -> None:
    demo, shown = await DemoPage.opened(page), []

    async def show_a_sign_in_page(route: Route) -> None:
        if shown or "mutation" not in (route.request.post_data or ""):
            await route.continue_()
        else:
            shown.append(route.request.url)
            await route.fulfill(status=200, content_type="text/html", body="<h1>Welcome to our network</h1>")

    await page.route("**/graphql", show_a_sign_in_page)
    await demo.choose(photo_file(small_photo(56), "at-the-station.jpg"))
    await demo.is_ready("at-the-station.jpg")
    assert len(shown) == 1
    assert await stack.statuses("at-the-station") == ["READY"]


async def test_a_sign_in_that_does_not_hold_pauses_uploads(page: Page, stack: Stack) -> None:
    demo = await DemoPage.opened(page)

    async def refuse(route: Route) -> None:
        if "mutation" in (route.request.post_data or ""):
            await route.fulfill(status=401, json={"errors": [{"message": "The token has expired."}]})
        else:
            await route.continue_()

    await page.route("**/graphql", refuse)
    await demo.choose(photo_file(small_photo(57), "locked-out.jpg"))
    await expect(demo.upload("locked-out.jpg")).to_have_attribute("data-state", "paused")
    await expect(demo.status_of("locked-out.jpg")).to_contain_text("Sign in again to go on.")
    assert await stack.statuses("locked-out") == []
    await page.unroute("**/graphql")
    await demo.upload("locked-out.jpg").get_by_role("button", name="Resume").click()
    await demo.is_ready("locked-out.jpg")
    assert await stack.statuses("locked-out") == ["READY"]
