"""The budget of a run, as a user sees it in Chromium."""

import pytest
from playwright.async_api import expect

from support.browser.accessibility import accessibility_faults
from support.browser.pages import User, keep_screenshot
from support.emulators.fal import FalEmulator
from support.providers.scripted import eventually

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.extended]


async def test_a_budget_that_is_used_up_is_raised_on_the_page(user: User, fal: FalEmulator) -> None:
    step = {
        "id": "draw",
        "task_type": "GENERATION",
        "config": {"prompt": "a lamp"},
        "provider_config": {"provider_type": "FAL", "fal_app_id": "fal-ai/budget"},
    }
    run = await user.create(step, config={"budget": {"max_cost": {"USD": "2.50"}, "max_attempts": 0}})
    page = await user.open(f"/ui/workflows/{run['id']}")
    notice = page.get_by_role("region", name="The budget is used up")
    await expect(notice).to_be_visible()
    await expect(page.locator(".run-facts")).to_contain_text("Budget$0.00 of $2.50, 0 of 0 attempts")
    await expect(page.get_by_role("group", name="Error of the run")).to_contain_text("has no attempt left")
    assert await accessibility_faults(page) == []
    await keep_screenshot(page, "run-budget")
    await notice.get_by_label("Attempts at most").fill("3")
    await notice.get_by_label("At most, in USD").fill("4")
    await notice.get_by_role("button", name="Set the budget and resume").click()
    await expect(notice).to_be_hidden()
    await expect(page.locator(".run-facts")).to_contain_text("Budget$0.00 of $4.00, 0 of 3 attempts (1 reserved)")
    await eventually(lambda: [job.app for job in fal.jobs.values()].count("fal-ai/budget") == 1, "the job")
    config = (await user.site.service.get(run["id"]))["config"]
    assert config["budget"] == {"max_cost": {"USD": "4"}, "max_attempts": 3, "on_exceeded": "pause"}
