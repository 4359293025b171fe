"""The page for people whose token may only decide, or only read: what it shows them, and that no button of it fails."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from playwright.async_api import Page, Response, expect

from stepwell.contract.scopes import Permission
from support.browser.accessibility import accessibility_faults
from support.browser.pages import Site, User, keep_screenshots, signed_in
from support.emulators.openai import drawn
from support.providers.configured_by_steps import configured_step

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.extended]

VIEWS = (
    "/ui",
    "/ui/new",
    "/ui/definitions",
    "/ui/definitions/photo-set",
    "/ui/decisions",
    "/ui/providers",
    "/ui/uploads",
    "/ui/costs",
)
TABS = ("graph", "outputs", "timeline", "events", "definition", "webhooks")
# Presses all buttons, those that this shows included. Returns the names of those it has pressed.
PRESS_ALL = """async () => {
  const pressed = new Set();
  for (let round = 0; round < 3; round += 1) {
    for (const button of document.querySelectorAll("main button, dialog button")) {
      if (pressed.has(button) || button.disabled) continue;
      pressed.add(button);
      button.click();
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return [...pressed].map((each) => each.getAttribute("aria-label") ?? each.textContent.trim());
}"""


@asynccontextmanager
async def refusals(page: Page) -> AsyncIterator[list[str]]:
    """Yield a list of what the service refuses the page from now on."""
    found: list[str] = []

    def note(response: Response) -> None:
        if response.status in (401, 403):
            found.append(f"{response.request.method} {response.url}")

    page.on("response", note)
    yield found
    page.remove_listener("response", note)


async def runs_of_all_kinds(owner: User) -> list[dict[str, Any]]:
    """Create runs with outputs, webhooks, a failure, waits and items, one that is paused, and one that is PENDING."""
    picture = await owner.upload("picture.png", drawn((64, 64)))
    waiting = {"id": "ask", "task_type": "APPROVAL", "config": {"picture": picture}}
    signal = {"id": "paid", "task_type": "SIGNAL", "config": {}}
    below = {"name": "below", "steps": [waiting]}
    each = {"id": "each", "task_type": "SUBWORKFLOW", "for_each": {"count": 2}, "config": {"workflow": below}}
    runs = [
        await owner.create(configured_step("draw", texts={"a.txt": "text"}), webhook_url="http://localhost:9/hook"),
        await owner.create(configured_step("bad", breaks="no")),
        await owner.create(waiting, signal),
        await owner.create(each),
        await owner.create(waiting),
        await owner.create(configured_step("later"), start=False),
    ]
    until = owner.site.service.until
    await until(runs[0]["id"], lambda run: run["status"] == "COMPLETED")
    await until(runs[1]["id"], lambda run: run["status"] == "FAILED")
    await until(runs[2]["id"], lambda run: all(step["waiting_for"] for step in run["steps"]))
    assert (await owner.client.post(f"/api/v1/workflows/{runs[4]['id']}/pause")).status_code == 200
    return runs


async def test_no_view_offers_a_button_that_fails_to_a_token_that_may_only_read(site: Site) -> None:
    async with (
        signed_in(site) as owner,
        signed_in(site, tenant=owner.tenant, permissions=(Permission.READ,)) as reader,
    ):
        runs = await runs_of_all_kinds(owner)
        steps = [(run["id"], run["steps"][0]["step_id"]) for run in runs]
        paths = [*VIEWS, *(f"/ui/workflows/{run_id}?step={step_id}" for run_id, step_id in steps)]
        paths += [f"/ui/workflows/{runs[0]['id']}?tab={tab}" for tab in TABS]
        page = await reader.open("/ui")
        names: set[str] = set()
        for path in paths:
            async with refusals(page) as refused:
                await page.goto(site.url + path)
                await expect(page.locator("main h1")).to_be_visible()
                await expect(page.locator("main .loading")).to_have_count(0)
                pressed = await page.evaluate(PRESS_ALL)
                names.update(pressed)
                assert refused == [], (path, pressed)
        offered = {word for name in names for word in name.split()}
        assert offered.isdisjoint({"Start", "Pause", "Resume", "Cancel…", "Delete", "approve", "reject", "Upload"}), (
            names
        )
        links = page.get_by_role("navigation", name="Views").get_by_role("link")
        assert await links.all_text_contents() == ["Runs", "New run", "Providers", "Uploads", "Costs"]
        await page.goto(f"{site.url}/ui/decisions")
        await expect(page.locator("main")).to_contain_text("Your token may not decide.")


async def test_people_who_may_only_decide_see_only_their_decisions(site: Site) -> None:
    async with (
        signed_in(site) as owner,
        signed_in(site, tenant=owner.tenant, permissions=(Permission.APPROVE,)) as approver,
    ):
        runs = await runs_of_all_kinds(owner)
        page = await approver.context.new_page()
        async with refusals(page) as refused:
            for path in (*VIEWS, f"/ui/workflows/{runs[2]['id']}", f"/ui/workflows/{runs[2]['id']}?tab=outputs"):
                await page.goto(site.url + path)
                await expect(page).to_have_url(f"{site.url}/ui/decisions")
            links = page.get_by_role("navigation", name="Views").get_by_role("link")
            await expect(links).to_have_text(["Decisions 4 open"])
            cards = page.get_by_role("article")
            await expect(cards).to_have_count(4)
            for image in await cards.get_by_role("img").all():
                await expect(image).to_have_js_property("naturalWidth", 64)
            await keep_screenshots(page, "decisions-only")
            assert await accessibility_faults(page) == []
            await page.clock.install()
            await page.get_by_label("Select all shown").check()
            await page.keyboard.press("1")
            await page.clock.fast_forward(6_000)
            await expect(page.get_by_text("is recorded.")).to_have_count(4)
            assert refused == []
        await site.service.until(runs[3]["id"], lambda run: run["status"] == "COMPLETED")
