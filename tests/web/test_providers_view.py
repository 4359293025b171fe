"""The view "Providers" in Chromium: the health of each provider, what waits, and the tenant's limits."""

import re

import pytest
from playwright.async_api import expect

from support.browser.accessibility import accessibility_faults
from support.browser.pages import CUT_TABLES, NARROW, User, keep_screenshots
from support.providers.configured_by_steps import ConfiguredProvider, configured_step

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.extended]


async def test_a_provider_is_shown_with_its_breakers_latencies_and_limits(user: User) -> None:
    image = {"id": "draw", "task_type": "GENERATION", "config": {"prompt": "a square", "width": 64, "height": 64}}
    created = await user.create(image)
    await user.site.service.until_ended(created["id"])
    page = await user.open("/ui/providers")
    local = page.get_by_role("region", name="LOCAL", exact=True)
    await expect(local.get_by_text("Healthy")).to_be_visible()
    row = local.get_by_role("row").filter(has_text="GENERATION")
    await expect(row).to_contain_text("Closed")
    await expect(row.get_by_role("cell").nth(4)).to_have_text("0%")
    await local.get_by_text("What it can do").click()
    await expect(local.get_by_text("BACKGROUND_REMOVE")).to_be_visible()
    limits = page.get_by_role("region", name=f"Limits of {user.tenant}")
    await expect(limits.get_by_role("progressbar", name="Uploaded files: 0 of 10,000")).to_be_visible()
    assert await accessibility_faults(page) == []
    await page.emulate_media(color_scheme="dark")
    assert await accessibility_faults(page) == []
    await keep_screenshots(page, "providers")
    await page.set_viewport_size({"width": NARROW, "height": 800})
    await expect(row.get_by_role("cell").first).to_be_visible()
    assert await page.evaluate(CUT_TABLES) == []
    assert await accessibility_faults(page) == []


async def test_a_step_that_waits_for_a_slot_is_listed_with_its_reason(user: User, scripted: ConfiguredProvider) -> None:
    providers = (await user.client.get("/api/v1/providers")).json()["providers"]
    limit = next(each["limit"] for each in providers if each["provider_type"] == "CUSTOM")
    steps = [configured_step(f"s{number}", wait=True) for number in range(limit + 1)]
    created = await user.create(*steps, name="<b>Many</b>")
    try:
        page = await user.open("/ui/providers", width=NARROW)
        waiting = page.get_by_role("region", name="What waits", exact=True)
        # More than the last one may wait: another test's step may still have a slot.
        row = waiting.get_by_role("row").filter(has_text=f"s{limit}")
        await expect(row.get_by_role("link", name="<b>Many</b>")).to_be_visible()
        await expect(row).to_contain_text("Waits for a slot")
        custom = page.get_by_role("region", name="CUSTOM", exact=True)
        await expect(custom).to_contain_text(f"{limit} of {limit} running")
        await expect(page.locator(".view-header")).to_contain_text(re.compile(r"\d+ steps run in the process"))
        assert await page.evaluate(CUT_TABLES) == []
        assert await page.evaluate("document.documentElement.scrollWidth") == NARROW
        assert await accessibility_faults(page) == []
        await keep_screenshots(page, "providers-waiting")
    finally:
        for step in steps:
            scripted.release(created["id"], step["id"])
    await user.site.service.until_ended(created["id"])
