"""The view "Decisions" in Chromium: the pictures beside the buttons, and a decision by keyboard."""

import pytest
from playwright.async_api import Route, expect

from support.browser.accessibility import accessibility_faults
from support.browser.pages import User, keep_screenshots
from support.emulators.openai import drawn

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_user_decides_by_keyboard_beside_the_picture(user: User) -> None:
    picture = await user.upload("picture.png", drawn((64, 48)))
    asked = {"message": "Print <b>it</b>?", "choices": ["print", "not"], "picture": picture}
    created = await user.create({"id": "ask/1", "task_type": "APPROVAL", "config": asked})
    page = await user.open("/ui/decisions")
    card = page.get_by_role("article")
    await expect(card.get_by_role("heading")).to_have_text("Print <b>it</b>?")
    await expect(card.locator("img")).to_have_js_property("naturalWidth", 64)
    assert await accessibility_faults(page) == []
    await keep_screenshots(page, "decisions")
    await card.get_by_label("Note").fill("good")
    await card.get_by_role("button", name="print").focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("Nothing waits for a decision.")).to_be_visible()
    step = (await user.client.get(f"/api/v1/workflows/{created['id']}/steps/ask%2F1")).json()
    assert (step["result"]["choice"], step["result"]["note"]) == ("print", "good")


async def test_a_user_whose_decision_comes_too_late_reads_who_has_decided(user: User) -> None:
    created = await user.create({"id": "ask", "task_type": "APPROVAL", "config": {}})
    decision = f"/api/v1/workflows/{created['id']}/steps/ask/decision"

    async def decide_first(route: Route) -> None:
        assert (await user.client.post(decision, json={"choice": "approve"})).status_code == 200
        await route.continue_()

    page = await user.open("/ui/decisions")
    await page.route(f"**{decision}", decide_first)
    await page.get_by_role("article").get_by_role("button", name="reject").click()
    await expect(page.get_by_role("alert")).to_contain_text("decided 'approve' at")
    await expect(page.get_by_text("Nothing waits for a decision.")).to_be_visible()
    user.errors.clear()  # the console names the 409
