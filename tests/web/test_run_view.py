"""The view of one run in Chromium: its header, its tabs and the live updates."""

import re

import pytest
from playwright.async_api import Locator, Page, expect

from support.browser.pages import User, keep_screenshot, keep_screenshots
from support.providers.configured_by_steps import ConfiguredProvider, configured_step, passthrough_step

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.extended]

IMAGE = {"id": "draw", "task_type": "GENERATION", "config": {"prompt": "a red square", "width": 64, "height": 64}}

HEIGHT = 680  # of a small window
LOWEST_NODE = """async (canvas) => {
  await new Promise(requestAnimationFrame);
  return canvas.getBoundingClientRect().top + canvas._cyreg.cy.nodes().renderedBoundingBox().y2;
}"""


def tab(page: Page, name: str) -> Locator:
    return page.get_by_role("tab", name=name)


async def test_the_header_is_updated_as_the_run_changes(user: User, scripted: ConfiguredProvider) -> None:
    labels = {"campaign": "spring", **{f"team-{number}": "a value of 24 characters" for number in range(9)}}
    held = configured_step("held", "draw", wait=True, breaks=True)
    run = await user.create(IMAGE, held, name="Two steps", labels=labels)
    page = await user.open(f"/ui/workflows/{run['id']}", height=HEIGHT)
    header = page.locator(".run-header")
    await expect(page.get_by_role("heading", name="Two steps")).to_be_visible()
    await expect(header.get_by_text("Running")).to_be_visible()
    await expect(page.get_by_role("progressbar", name="1 of 2 steps")).to_be_visible()
    output = page.get_by_role("region", name="Newest outputs").get_by_role("img", name="Output of draw")
    await expect(output).to_have_js_property("naturalWidth", 64)
    label = page.get_by_role("link", name="campaign:spring")
    await expect(label).to_have_attribute("href", "/ui?label=campaign%3Aspring")
    await expect(page.get_by_role("link", name="team-1:")).to_be_visible()
    await expect(page.get_by_role("link", name="team-2:")).to_be_hidden()
    # The outputs and the graph are seen without scrolling.
    await expect(page.locator(".graph-canvas canvas").first).to_be_visible()
    assert await page.locator(".graph-canvas").evaluate(LOWEST_NODE) < HEIGHT
    await page.get_by_role("button", name="7 more labels").click()
    await expect(page.get_by_role("link", name="team-8:")).to_be_visible()
    scripted.release(run["id"], "held")
    await expect(header.get_by_text("Failed")).to_be_visible()
    error = page.get_by_role("group", name="Error of the run")
    await expect(error).to_contain_text("held: told to fail")
    await error.get_by_role("button", name="held").click()
    await expect(page.get_by_role("dialog", name="held")).to_be_visible()
    await page.keyboard.press("Escape")
    await keep_screenshot(page, "run")


HEAD_HEIGHT = "(head) => head.getBoundingClientRect().height"


async def test_the_head_takes_at_most_120_pixels_and_says_once_how_far_the_run_is(user: User) -> None:
    held = passthrough_step("unwanted") | {"when": "`false`"}
    labels = {f"label-{i}": "a long value of forty characters, or more" for i in range(6)}
    child = {"name": "N" * 255, "description": "words " * 60, "labels": labels, "steps": [passthrough_step("a"), held]}
    parent = await user.create({"id": "sub", "task_type": "SUBWORKFLOW", "config": {"workflow": child}}, name="Parent")
    ended = await user.site.service.until_ended(parent["id"])
    page = await user.open(f"/ui/workflows/{ended['steps'][0]['result']['workflow_id']}")
    head = page.locator(".run-head")
    await expect(page.get_by_role("button", name="unwanted Skipped")).to_be_visible()
    await expect(head.locator(".run-facts")).to_contain_text("1 of 2 steps, 1 skipped")
    await expect(head.get_by_text("%")).to_have_count(0)
    assert await head.evaluate(HEAD_HEIGHT) <= 120
    await expect(head.get_by_role("link", name=f"{parent['id'][-8:]} / sub")).to_have_attribute(
        "href", f"/ui/workflows/{parent['id']}"
    )
    await keep_screenshots(page, "run-head")
    await head.get_by_text("Details").click()
    await expect(head.get_by_text("From")).to_be_visible()
    await expect(head.get_by_role("link", name="label-5:")).to_be_visible()


async def test_a_broken_image_does_not_hide_a_newer_one(user: User, scripted: ConfiguredProvider) -> None:
    run = await user.create(
        IMAGE, configured_step("held", "draw", wait=True), IMAGE | {"id": "again", "depends_on": ["held"]}
    )
    await user.site.service.until(run["id"], lambda now: now["steps"][0]["status"] == "COMPLETED")
    page = await user.context.new_page()
    drawn = (await user.client.get(f"/api/v1/workflows/{run['id']}")).json()["steps"][0]["result"]["result_image_path"]
    await page.route(lambda url: drawn in url, lambda route: route.abort())
    await page.goto(f"{user.site.url}/ui/workflows/{run['id']}")
    images = page.locator(".run-output-picture img")
    await expect(images).to_have_count(1)
    await expect(images).to_be_hidden()
    scripted.release(run["id"], "held")
    newest = page.get_by_role("region", name="Newest outputs").get_by_role("img", name="Output of again")
    await expect(newest).to_have_js_property("naturalWidth", 64)
    await expect(images.last).to_be_hidden()
    await page.close()
    user.errors.clear()  # the console names the image


async def test_the_tabs_are_in_the_url_and_change_by_the_arrow_keys(user: User) -> None:
    run = await user.create(IMAGE, start=False)
    page = await user.open(f"/ui/workflows/{run['id']}")
    await expect(page.get_by_role("tabpanel", name="Graph").get_by_role("button", name="draw Pending")).to_be_visible()
    await tab(page, "Graph").focus()
    await page.keyboard.press("ArrowLeft")
    await expect(tab(page, "Webhooks")).to_be_focused()
    await expect(page).to_have_url(re.compile(r"\?tab=webhooks$"))
    await page.keyboard.press("Home")
    await expect(page.get_by_role("tabpanel", name="Graph")).to_be_visible()
    await page.go_back()
    await expect(tab(page, "Webhooks")).to_have_attribute("aria-selected", "true")


async def test_an_unknown_run_is_no_error_of_the_page(user: User) -> None:
    page = await user.open("/ui/workflows/0198c0de-0000-7000-8000-000000000000")
    await expect(page.get_by_text("There is no such run.")).to_be_visible()
    await keep_screenshots(page, "run-unknown")
    user.errors.clear()


async def test_markup_in_a_run_is_text(user: User) -> None:
    markup = "<img src=x onerror=\"document.title='run'\">"
    run = await user.create(
        IMAGE | {"id": markup},
        configured_step("text", result={"result_text": markup, markup: markup}),
        configured_step("broken", markup, breaks=True),
        name=markup,
        description=markup,
        labels={"a": markup},
        origin_reference=markup,
    )
    await user.site.service.until_ended(run["id"])
    page = await user.open(f"/ui/workflows/{run['id']}")
    await expect(page.get_by_role("heading", level=1)).to_have_text(markup)
    await page.get_by_role("list", name="Steps").get_by_role("button").filter(has_text="<img").click()
    await expect(page.get_by_role("dialog").get_by_role("heading", level=2)).to_have_text(markup)
    await page.keyboard.press("Escape")
    await page.get_by_role("region", name="Newest outputs").get_by_role("button", name="text").click()
    await expect(page.get_by_role("dialog").locator(".values").last).to_contain_text(markup)
    await expect(page).to_have_title(f"{markup} · Stepwell")
    assert await page.locator("img[onerror]").count() == 0
