"""The view "Decisions" in Chromium: the pictures beside the buttons, and a decision by keyboard."""

import pytest
from playwright.async_api import Route, expect

from support.browser.accessibility import accessibility_faults
from support.browser.pages import NARROW, WIDE, Site, User, keep_screenshots, signed_in
from support.emulators.openai import drawn

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.extended]

# The different sizes of the buttons with pictures.
SIZES = """[...new Set([...document.querySelectorAll(".decision-picture")].map((button) => {
  const { width, height } = button.getBoundingClientRect();
  return `${Math.round(width)} ${Math.round(height)}`;
}))]"""
# The smaller side of the smallest button, in pixels.
SMALLEST = """Math.min(...[...document.querySelectorAll("main button")].flatMap((button) => {
  const { width, height } = button.getBoundingClientRect();
  return [width, height];
}))"""


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
        await expect(page.get_by_text("Press a picture to choose it. This decides at once.")).to_be_visible()
        await page.set_viewport_size({"width": NARROW, "height": 800})
        assert len(await page.evaluate(SIZES)) == 1
        await page.set_viewport_size({"width": WIDE, "height": 800})
        for at, name in enumerate(colours):
            button = page.get_by_role("button", name=f"{name}.png", exact=True)
            await expect(button.get_by_role("img")).to_have_js_property("naturalWidth", 64 + 16 * at)
            if place != "drawer":
                await expect(button).to_be_in_viewport(ratio=1)
        if place == "drawer":
            reason = page.get_by_role("region", name="Why it waits")
            await expect(reason).to_contain_text("Waits for a choice between 3 files.")
        else:  # the drawer shows all inputs
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


async def test_after_a_decision_the_focus_is_on_the_next_one(user: User) -> None:
    await user.create({"id": "first", "task_type": "APPROVAL", "config": {"message": "The first?"}})
    page = await user.open("/ui/decisions")
    await expect(page.get_by_role("article")).to_have_count(1)
    await user.create({"id": "second", "task_type": "APPROVAL", "config": {"message": "The second?"}})
    await expect(page.get_by_role("article")).to_have_count(2)
    first = page.get_by_role("article", name="a run, first")
    await first.get_by_role("button", name="approve").press("Enter")
    await expect(first).to_have_count(0)
    await expect(page.get_by_role("article", name="a run, second")).to_be_focused()


async def test_the_drawer_shows_the_picture_beside_the_buttons(user: User) -> None:
    picture = await user.upload("picture.png", drawn((640, 480)))
    created = await user.create({"id": "ask", "task_type": "APPROVAL", "config": {"picture": picture}})
    page = await user.open(f"/ui/workflows/{created['id']}?step=ask")
    decision = page.get_by_role("region", name="Decision")
    await expect(decision.get_by_role("img", name="picture.png")).to_have_js_property("naturalWidth", 512)
    await expect(decision.get_by_role("button", name="approve")).to_be_in_viewport(ratio=1)
    assert await accessibility_faults(page) == []


async def test_fingers_can_press_the_buttons_of_a_decision(site: Site) -> None:
    async with signed_in(site, has_touch=True, is_mobile=True) as user:
        created = await user.create({"id": "ask", "task_type": "APPROVAL", "config": {}})
        for path in ("/ui/decisions", f"/ui/workflows/{created['id']}"):
            page = await user.open(path, width=NARROW)
            await expect(page.locator("main button").first).to_be_visible()
            assert await page.evaluate(SMALLEST) >= 44
