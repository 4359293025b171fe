"""The view "Decisions" in Chromium: the pictures beside the buttons, and a decision by keyboard."""

import pytest
from playwright.async_api import Route, expect

from support.browser.accessibility import accessibility_faults
from support.browser.pages import NARROW, WIDE, User, keep_screenshots
from support.emulators.openai import drawn

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_user_decides_by_keyboard_beside_the_picture(user: User) -> None:
    picture = await user.upload("picture.png", drawn((640, 1280)))
    asked = {"message": "Print <b>it</b>?", "choices": ["print", "not"], "picture": picture}
    created = await user.create({"id": "ask/1", "task_type": "APPROVAL", "config": asked})
    page = await user.open("/ui/decisions")
    card = page.get_by_role("article")
    await expect(card.get_by_role("heading")).to_have_text("Print <b>it</b>?")
    await expect(card.locator("img")).to_have_js_property("naturalWidth", 256)  # the preview
    await keep_screenshots(page, "decisions")
    # The buttons are visible beside the large picture, and in a narrow window below it.
    for width in (WIDE, NARROW):
        await page.set_viewport_size({"width": width, "height": 800})
        for choice in ("print", "not"):
            await expect(card.get_by_role("button", name=choice)).to_be_in_viewport(ratio=1)
    await page.set_viewport_size({"width": WIDE, "height": 800})
    assert await accessibility_faults(page) == []
    await card.get_by_label("Note").fill("good")
    await card.get_by_role("button", name="print").focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("Nothing waits for a decision.")).to_be_visible()
    step = (await user.client.get(f"/api/v1/workflows/{created['id']}/steps/ask%2F1")).json()
    assert (step["result"]["choice"], step["result"]["note"]) == ("print", "good")


async def test_choices_that_are_pictures_are_shown_on_their_buttons(user: User) -> None:
    colours = ["red", "green", "blue"]
    pictures = [await user.upload(f"{name}.png", drawn((64 + 16 * at, 64))) for at, name in enumerate(colours)]
    config = {"message": "Which one?", "choices": "${inputs.pictures}", "pictures": "${inputs.pictures}"}
    created = await user.create(
        {"id": "pick", "task_type": "APPROVAL", "config": config}, inputs={"pictures": pictures}
    )
    await user.site.service.until(created["id"], lambda run: run["steps"][0]["waiting_for"] is not None)
    step = f"/api/v1/workflows/{created['id']}/steps/pick"
    link = (await user.client.get(step)).json()["waiting_for"]["decision_url"]
    places = {
        "inbox": "/ui/decisions",
        "drawer": f"/ui/workflows/{created['id']}?step=pick",
        "link": link[link.index("/decide") :],
    }
    page = await user.open("/ui/costs")
    for place, path in places.items():
        await page.goto(user.site.url + path)
        for at, name in enumerate(colours):
            button = page.get_by_role("button", name=f"{name}.png", exact=True)
            await expect(button.get_by_role("img")).to_have_js_property("naturalWidth", 64 + 16 * at)
            if place != "drawer":
                await expect(button).to_be_in_viewport(ratio=1)
        if place != "drawer":  # which shows all inputs
            await expect(page.get_by_role("main").get_by_text("media/")).to_have_count(0)
        await keep_screenshots(page, f"decision-pictures-{place}")
    assert await accessibility_faults(page) == []
    await page.get_by_role("button", name="green.png").click()
    await expect(page.get_by_role("status")).to_contain_text("Recorded: green.png.")
    assert (await user.client.get(step)).json()["result"]["choice"] == pictures[1]


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
