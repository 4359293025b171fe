"""The view "Decisions" in Chromium: what its cards show, decisions by mouse and by keys, undo, and a thousand cards."""

from typing import Any

import pytest
from playwright.async_api import Locator, Page, Route, expect

from support.browser.accessibility import accessibility_faults
from support.browser.pages import NARROW, WIDE, Site, User, keep_screenshots, signed_in
from support.emulators.openai import drawn
from support.workflows.definitions import join

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.extended]

# A decision is sent after five seconds, which a test may need for its checks. So the page keeps those timers in `held`.
HOLD_TIMERS = """{
  const { setTimeout, clearTimeout } = globalThis;
  let last = 0;
  globalThis.held = new Map();
  globalThis.setTimeout = (call, ms, ...values) => {
    if (ms !== 5000) return setTimeout(call, ms, ...values);
    held.set(last -= 1, call);
    return last;
  };
  globalThis.clearTimeout = (id) => held.delete(id) || clearTimeout(id);
}"""
RUN_TIMERS = """() => {
  const calls = [...held.values()];
  held.clear();
  for (const call of calls) call();
  return calls.length;
}"""
# The different sizes of the buttons with pictures.
SIZES = """[...new Set([...document.querySelectorAll(".decision-picture")].map((button) => {
  const { width, height } = button.getBoundingClientRect();
  return `${Math.round(width)} ${Math.round(height)}`;
}))]"""
# The names of the buttons that fingers can't press.
SMALL = """[...document.querySelectorAll("main button")].filter((button) => {
  const { width, height } = button.getBoundingClientRect();
  return Math.min(width, height) < 44;
}).map((button) => button.getAttribute("aria-label") ?? button.textContent)"""
# Where each card stands in the document.
BOXES = """[...document.querySelectorAll("article")].map((card) => {
  const { x, y, width, height } = card.getBoundingClientRect();
  return [x, Math.round(y + scrollY), width, height];
})"""

# Sets `most`: how many requests that outlive the page were under way at once.
COUNT_REQUESTS = """() => {
  const original = window.fetch;
  let open = 0;
  window.most = 0;
  window.fetch = (url, options) => {
    if (!options?.keepalive) return original(url, options);
    open += 1;
    window.most = Math.max(window.most, open);
    return original(url, options).finally(() => { open -= 1; });
  };
}"""


async def inbox(user: User, path: str = "/ui/decisions", **options: Any) -> Page:
    """Open the inbox, which sends no decision before `sent`."""
    await user.context.add_init_script(HOLD_TIMERS)
    return await user.open(path, **options)


async def sent(page: Page) -> None:
    """Let the page send the decisions that were made."""
    assert await page.evaluate(RUN_TIMERS)


async def asked(user: User, step_id: str = "ask", *, name: str = "a run", **config: Any) -> dict[str, Any]:
    """Create a run whose step waits for a decision."""
    created = await user.create({"id": step_id, "task_type": "APPROVAL", "config": config}, name=name)
    return await user.site.service.until(created["id"], lambda run: run["steps"][0]["waiting_for"] is not None)


async def result_of(user: User, run: dict[str, Any]) -> Any:
    step = run["steps"][0]["step_id"].replace("/", "%2F")
    return (await user.client.get(f"/api/v1/workflows/{run['id']}/steps/{step}")).json()["result"]


async def many_asked(user: User, number: int) -> None:
    """Create a run with that many items, each of which waits for a decision."""
    asking = {"id": "each", "task_type": "SUBWORKFLOW", "for_each": {"count": number, "max_concurrency": number}}
    below = {"name": "below", "steps": [{"id": "pick", "task_type": "APPROVAL", "config": {"message": "M"}}]}
    await user.create(asking | {"config": {"workflow": below}}, name="top")
    while await open_decisions(user) < number:
        pass


async def open_decisions(user: User) -> int:
    counted = (await user.client.get("/api/v1/decisions", params={"limit": 0, "total": True})).json()
    total: int = counted["total"]
    return total


def card_of(page: Page, name: str) -> Locator:
    return page.get_by_role("article", name=name, exact=True)


async def test_a_user_decides_by_keyboard_beside_the_picture(user: User) -> None:
    picture = await user.upload("picture.png", drawn((640, 1280)))
    run = await asked(user, "ask/1", message="Print <b>it</b>?", choices=["print", "not"], picture=picture)
    page = await inbox(user)
    card = page.get_by_role("article")
    await expect(card.get_by_role("heading")).to_have_text("Print <b>it</b>?")
    await expect(card.locator("img")).to_have_js_property("naturalWidth", 128)  # the preview
    for width in (WIDE, NARROW):
        await page.set_viewport_size({"width": width, "height": 800})
        for choice in ("print", "not"):
            await expect(card.get_by_role("button", name=choice, exact=True)).to_be_in_viewport(ratio=1)
    await page.set_viewport_size({"width": WIDE, "height": 800})
    await page.keyboard.press("j")
    await expect(card).to_be_focused()
    await page.keyboard.press("o")
    await expect(card.get_by_role("link", name="picture").get_by_role("img")).to_have_js_property("naturalWidth", 512)
    await keep_screenshots(page, "decisions-details")
    assert await accessibility_faults(page) == []
    await card.get_by_label("Note (optional)").fill("good")
    await card.get_by_role("button", name="print", exact=True).press("Enter")
    await expect(card.get_by_role("button", name="Undo print for a run, ask/1")).to_be_focused()
    assert await accessibility_faults(page) == []
    assert await result_of(user, run) is None
    await sent(page)
    await expect(card).to_contain_text("print is recorded.")
    result = await result_of(user, run)
    assert (result["choice"], result["note"]) == ("print", "good")


async def test_a_decision_can_be_undone_before_it_is_sent(user: User) -> None:
    run = await asked(user)
    page = await inbox(user)
    card = card_of(page, "a run, ask")
    await card.get_by_role("button", name="reject").click()
    await card.get_by_role("button", name="Undo reject").click()
    await expect(card).to_be_focused()
    await sent(page)
    await expect(card).to_have_attribute("data-state", "open")
    await page.keyboard.press("1")
    await expect(card).to_have_attribute("data-state", "pending")
    await page.keyboard.press("u")
    await sent(page)
    await expect(card.get_by_role("button", name="approve")).to_be_visible()
    assert await result_of(user, run) is None


async def test_decisions_are_sent_at_once_when_the_page_is_left(user: User) -> None:
    await many_asked(user, 120)
    page = await inbox(user)
    cards = page.get_by_role("article")
    await expect(cards).to_have_count(50)
    await cards.last.scroll_into_view_if_needed()
    await expect(cards).to_have_count(100)
    await page.get_by_label("Select all shown").check()
    await page.get_by_role("region", name="Selected decisions").get_by_role("button", name="approve").click()
    assert await open_decisions(user) == 120
    await page.goto(user.site.url + "/ui/costs")
    while await open_decisions(user) > 20:
        pass


async def test_nothing_moves_when_decisions_are_made_and_new_ones_come(user: User) -> None:
    picture = await user.upload("picture.png", drawn((640, 480)))
    for number in range(4):
        await asked(user, message=f"Number {number}?", name=f"run {number}", picture=picture)
    await asked(user, choices=["a", "b"] + [f"choice {number}" for number in range(20)], name="many")
    page = await inbox(user)
    await expect(page.get_by_role("article")).to_have_count(5)
    before = await page.evaluate(BOXES)
    await card_of(page, "run 1, ask").get_by_role("button", name="approve").click()
    await card_of(page, "many, ask").get_by_role("button", name="choice 7", exact=True).click()
    assert await page.evaluate(BOXES) == before
    await keep_screenshots(page, "decisions-pending")
    assert await accessibility_faults(page) == []
    await sent(page)
    await expect(page.get_by_text("is recorded.")).to_have_count(2)
    await asked(user, name="new")
    await expect(page.get_by_role("article")).to_have_count(6)
    assert (await page.evaluate(BOXES))[:5] == before
    await expect(page.get_by_role("article").last).to_have_accessible_name("new, ask")
    await page.get_by_role("button", name="Hide decided (2)").click()
    await expect(page.get_by_role("article")).to_have_count(4)


async def test_a_browser_gets_few_of_many_decisions_to_send_at_once(user: User) -> None:
    await many_asked(user, 60)
    page = await inbox(user)
    await page.get_by_role("article").last.scroll_into_view_if_needed()
    await expect(page.get_by_role("article")).to_have_count(60)
    await page.evaluate(COUNT_REQUESTS)
    await page.get_by_label("Select all shown").check()
    await page.get_by_role("region", name="Selected decisions").get_by_role("button", name="approve").click()
    await sent(page)
    await expect(page.get_by_text("is recorded.")).to_have_count(60)
    assert await page.evaluate("most") == 50


async def test_a_decision_that_comes_too_late_says_what_was_decided_and_by_whom(user: User) -> None:
    run = await asked(user)
    decision = f"/api/v1/workflows/{run['id']}/steps/ask/decision"

    async def decide_first(route: Route) -> None:
        assert (await user.client.post(decision, json={"choice": "approve"})).status_code == 200
        await route.continue_()

    page = await inbox(user)
    await page.route(f"**{decision}", decide_first)
    card = card_of(page, "a run, ask")
    await card.get_by_role("button", name="reject").click()
    await sent(page)
    await expect(card.get_by_role("alert")).to_contain_text("reject came too late. tester decided 'approve' at")
    user.errors.clear()  # the console names the 409


async def test_a_card_says_so_when_somebody_else_decides(user: User) -> None:
    first, second = await asked(user, name="first"), await asked(user, name="second")
    page = await inbox(user)
    await expect(page.get_by_text("Live", exact=True)).to_be_visible()
    await user.client.post(f"/api/v1/workflows/{first['id']}/steps/ask/decision", json={"choice": "approve"})
    await expect(card_of(page, "first, ask")).to_contain_text("Decided by tester.")
    assert (await user.client.delete(f"/api/v1/workflows/{second['id']}")).status_code == 200
    await expect(card_of(page, "second, ask")).to_contain_text("It doesn't wait any more.")


async def test_a_decision_that_is_not_recorded_can_be_tried_again(user: User) -> None:
    run = await asked(user)
    page = await inbox(user)
    await page.route("**/decision", lambda route: route.abort())
    card = card_of(page, "a run, ask")
    await card.get_by_role("button", name="approve").click()
    await sent(page)
    await expect(card.get_by_role("alert")).to_contain_text("approve isn't recorded.")
    await page.unroute("**/decision")
    await card.get_by_role("button", name="Try again").click()
    await expect(card).to_contain_text("approve is recorded.")
    assert (await result_of(user, run))["choice"] == "approve"
    user.errors.clear()  # the console names the aborted request


async def test_keys_move_between_cards_and_choose(user: User) -> None:
    runs = [await asked(user, name=f"run {number}") for number in range(3)]
    sizes = await asked(user, name="sizes", choices=["4", "2", "large"])
    page = await inbox(user)
    await expect(page.get_by_role("article")).to_have_count(4)
    await page.keyboard.press("j")
    await page.keyboard.press("j")
    await expect(card_of(page, "run 1, ask")).to_be_focused()
    await page.keyboard.press("k")
    await page.keyboard.press("1")
    await expect(card_of(page, "run 1, ask")).to_be_focused()  # the next that is open
    await page.keyboard.press("2")
    await expect(card_of(page, "run 2, ask")).to_be_focused()
    await page.keyboard.press("9")  # there are two choices
    await page.keyboard.press("k")
    await page.keyboard.press("k")
    await page.keyboard.press("1")  # decided already
    await page.keyboard.press("End")
    card = card_of(page, "sizes, ask")
    hints = card.locator(".decision-choices button kbd")
    assert await hints.all_text_contents() == ["1", "2", "3"]  # the first is "4" as well
    await card.focus()
    await page.keyboard.press("2")
    await sent(page)
    await expect(page.get_by_text("is recorded.")).to_have_count(3)
    assert [(await result_of(user, run) or {}).get("choice") for run in runs] == ["approve", None, None]
    assert [(await user.site.service.get(run["id"]))["status"] for run in runs] == ["COMPLETED", "FAILED", "RUNNING"]
    assert (await result_of(user, sizes))["choice"] == "2"


async def test_one_choice_for_several_decisions_is_sent_or_undone_together(user: User) -> None:
    runs = [await asked(user, name=f"run {number}", choices=["a", "b", str(number)]) for number in range(3)]
    page = await inbox(user)
    await expect(page.get_by_role("article")).to_have_count(3)
    for number in range(2):
        await page.keyboard.press("j")
        await page.keyboard.press("x")
        await expect(page.get_by_label(f"Select run {number}, ask")).to_be_checked()
    bar = page.get_by_role("region", name="Selected decisions")
    await expect(bar).to_contain_text("2 selected")
    await expect(bar.get_by_role("button")).to_have_count(3)  # what both have, and "Clear"
    await keep_screenshots(page, "decisions-selected")
    assert await accessibility_faults(page) == []
    await bar.get_by_role("button", name="b").click()
    await bar.get_by_role("button", name="Undo all").press("Enter")
    await expect(bar).to_have_count(0)
    await sent(page)
    await page.get_by_label("Select all shown").check()
    await page.keyboard.press("1")
    await expect(page.get_by_text(", sent in 5 s")).to_have_count(4)
    await sent(page)
    await expect(page.get_by_text("is recorded.")).to_have_count(3)
    assert [(await result_of(user, run))["choice"] for run in runs] == ["a"] * 3


async def test_cards_have_the_names_of_the_items_above_and_are_searched_and_filtered(user: User) -> None:
    sizes = {"front": (640, 480), "back": (480, 640)}
    pictures = [await user.upload(f"{name}.png", drawn(size)) for name, size in sizes.items()]
    ask = {"id": "pick", "task_type": "APPROVAL", "config": {"message": "Which?", "photo": "${inputs.item.photo}"}}
    below = {"name": "One product", "steps": [ask]}
    each = {
        "id": "each",
        "task_type": "SUBWORKFLOW",
        "for_each": {"items": [{"sku": "A-1", "photo": pictures[0]}, {"sku": "B-2", "photo": pictures[1]}]},
        "config": {"workflow": below},
    }
    await user.create(each, join("end", "each"), name="Photo set", labels={"team": "red"})
    await user.create({"id": "ask", "task_type": "APPROVAL", "config": {}}, labels={"team": "blue"})
    page = await inbox(user)
    names = [
        "Photo set, A-1, front.png, One product, pick",
        "Photo set, B-2, back.png, One product, pick",
        "a run, ask",
    ]
    await expect(page.get_by_role("article")).to_have_count(3)
    for name in names:
        await expect(card_of(page, name)).to_be_visible()
    await keep_screenshots(page, "decisions")
    assert await accessibility_faults(page) == []
    await page.get_by_label("Search").fill("b-2 SET")
    await expect(page.get_by_role("article")).to_have_count(1)
    await expect(card_of(page, names[1])).to_be_visible()
    await page.get_by_label("Search").fill("nothing of it")
    await expect(page.get_by_text("No open decision matches.")).to_be_visible()
    await page.get_by_label("Search").fill("")
    await page.get_by_label("Label").fill("team:blue")
    await page.get_by_label("Label").press("Enter")
    await expect(page.get_by_role("article")).to_have_count(1)
    await page.reload()
    await expect(page.get_by_label("Label")).to_have_value("team:blue")
    await expect(card_of(page, names[2])).to_be_visible()
    await expect(page.get_by_role("article")).to_have_count(1)
    await page.get_by_label("Label").fill("")
    await page.get_by_label("Label").press("Enter")
    await page.get_by_label("Step").fill("pick")
    await page.get_by_label("Step").press("Enter")
    await expect(page.get_by_role("article")).to_have_count(2)


async def test_more_cards_are_loaded_when_the_end_is_near_and_when_a_search_needs_them(user: User) -> None:
    await many_asked(user, 240)
    page = await inbox(user)
    cards = page.get_by_role("article")
    await expect(cards).to_have_count(50)
    await expect(page.get_by_role("navigation", name="Views")).to_contain_text("240 open")
    await cards.last.scroll_into_view_if_needed()
    await expect(cards).to_have_count(100)
    await page.get_by_label("Search").fill("239")
    await expect(cards).to_have_count(1)
    await page.get_by_label("Search").fill("")
    await expect(cards).to_have_count(240)
    await page.get_by_label("Select all shown").check()
    await page.keyboard.press("1")
    await sent(page)
    await expect(page.get_by_text("approve is recorded.")).to_have_count(240)
    assert await open_decisions(user) == 0


async def test_each_tab_shows_and_follows_the_number_of_open_decisions(user: User) -> None:
    run = await asked(user)
    pages = [await user.open(path) for path in ("/ui", "/ui/decisions", "/ui/costs")]
    navigations = [page.get_by_role("navigation", name="Views") for page in pages]
    for navigation in navigations:
        await expect(navigation).to_contain_text("1 open")
    await asked(user)
    for navigation in navigations:
        await expect(navigation).to_contain_text("2 open")
    await user.client.post(f"/api/v1/workflows/{run['id']}/steps/ask/decision", json={"choice": "approve"})
    for navigation in navigations:
        await expect(navigation).to_contain_text("1 open")


async def test_reject_stands_apart_in_a_warning_colour(user: User) -> None:
    run = await asked(user, choices=["reject", "approve", "later"])
    for path in ("/ui/decisions", f"/ui/workflows/{run['id']}?step=ask"):
        page = await user.open(path)
        reject, approve = (page.locator("main").get_by_role("button", name=name) for name in ("reject", "approve"))
        await expect(reject).to_have_css("color", "rgb(179, 32, 42)")
        await expect(reject).to_have_css("margin-left", "24px")
        await expect(approve).not_to_have_css("color", "rgb(179, 32, 42)")


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
    pages = {
        "inbox": "/ui/decisions",
        "drawer": f"/ui/workflows/{created['id']}?step=pick",
        "link": link[link.index("/decide") :],
    }
    page = await user.open("/ui/costs")
    for view, path in pages.items():
        await page.goto(user.site.url + path)
        if view != "inbox":
            await expect(page.get_by_text("Press a picture to choose it. This decides at once.")).to_be_visible()
        await expect(page.get_by_role("button", name="red.png", exact=True)).to_be_visible()
        await page.set_viewport_size({"width": NARROW, "height": 800})
        assert len(await page.evaluate(SIZES)) == 1
        await page.set_viewport_size({"width": WIDE, "height": 800})
        for at, name in enumerate(colours):
            button = page.get_by_role("button", name=f"{name}.png", exact=True)
            await expect(button.get_by_role("img")).to_have_js_property("naturalWidth", 64 + 16 * at)
            if view != "drawer":
                await expect(button).to_be_in_viewport(ratio=1)
        if view == "drawer":
            reason = page.get_by_role("region", name="Why it waits")
            await expect(reason).to_contain_text("Waits for a choice between 3 files.")
        else:  # the drawer shows all inputs
            await expect(page.get_by_role("main").get_by_text("media/")).to_have_count(0)
        await keep_screenshots(page, f"decision-pictures-{view}")
    assert await accessibility_faults(page) == []
    await page.get_by_role("button", name="green.png").click()
    await expect(page.get_by_role("status")).to_contain_text("Recorded: green.png.")
    assert (await user.client.get(step)).json()["result"]["choice"] == pictures[1]


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
            await expect(page.locator("main button:visible").first).to_be_visible()
            assert await page.evaluate(SMALL) == []
