"""The page /docs in Chromium: it needs no token and no other host, and sends requests with the token of its field."""

import pytest
from playwright.async_api import Locator, Page, expect

from stepwell.api.openapi.webhook_payloads import describe_webhooks
from stepwell.api.routes.all_routes import operations
from support.browser.accessibility import accessibility_faults
from support.browser.pages import NARROW, Site, keep_screenshots
from support.service.live_service import token

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.extended]


async def send(page: Page, operation: str) -> Locator:
    """Press "Try it out" and "Execute" of an operation. Return the row of the response."""
    block = page.locator(f"[id$=-{operation}]")
    await block.locator(".opblock-summary-control").click()
    await block.get_by_role("button", name="Try it out").click()
    await block.get_by_role("button", name="Execute").click()
    return block.locator("tr.response").first


async def test_a_user_without_a_session_sends_requests_with_a_token(site: Site) -> None:
    context = await site.browser.new_context(viewport={"width": NARROW, "height": 800})
    page = await context.new_page()
    requested: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    await page.goto(f"{site.url}/docs")
    blocks = page.locator(".opblock")
    await expect(blocks).to_have_count(len(operations()) + len(describe_webhooks()))
    await expect(await send(page, "count_workflows")).to_contain_text("401")
    assert [error for error in errors if "status of 401" not in error] == []
    await page.get_by_role("textbox", name="Token", exact=True).fill(token("acme", every=False))
    await page.get_by_role("button", name="Execute").click()
    row = page.locator("tr.response").first
    await expect(row).to_contain_text("200")
    await expect(row).to_contain_text('"counts"')
    await page.get_by_role("textbox", name="Token", exact=True).fill("")
    await page.get_by_role("button", name="Execute").click()
    await expect(row).to_contain_text("401")
    assert [url for url in requested if not url.startswith((site.url, "data:", "blob:"))] == []
    assert await page.evaluate("document.documentElement.scrollWidth") == NARROW
    await context.close()


async def test_the_type_of_a_problem_leads_to_its_meaning(site: Site) -> None:
    context = await site.browser.new_context()
    page = await context.new_page()
    await page.goto(f"{site.url}/schema#problem-409")
    await expect(page.locator(".opblock").first).to_be_attached()
    await expect(page.locator("#problem-409")).to_be_in_viewport()
    assert await accessibility_faults(page) == []
    await page.emulate_media(color_scheme="dark")
    assert await accessibility_faults(page) == []
    await page.evaluate("scrollTo(0, 0)")
    await keep_screenshots(page, "docs")
    await context.close()
