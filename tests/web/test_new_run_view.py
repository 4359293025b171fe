"""The view "New run" in Chromium: completion, faults at their lines, the price, uploads, and runs."""

import asyncio
import json
import re
from typing import Any

import pytest
from playwright.async_api import Locator, Page, Route, expect

from stepwell.contract.scopes import Permission
from stepwell.examples import read_examples
from support.browser.accessibility import accessibility_faults
from support.browser.drops import drop_file
from support.browser.pages import NARROW, Site, User, keep_screenshot, keep_screenshots, signed_in
from support.emulators.openai import drawn

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.extended]

IMAGE = {"id": "draw", "task_type": "GENERATION", "config": {"prompt": "a red square", "width": 64, "height": 64}}
RUN_URL = re.compile(r"/ui/workflows/[0-9a-f-]{36}$")


def definition(*steps: dict[str, Any], **members: Any) -> str:
    return json.dumps({"name": "From the page", "origin_instance": "tests", **members, "steps": steps}, indent=2)


def editor(page: Page) -> Locator:
    return page.get_by_role("textbox", name="Definition (JSON)")


async def write(page: Page, text: str) -> None:
    """Replace what is in the editor, as pasting does.

    The editor's own key selects all of it: it learns of a selection that the browser makes only later.
    """
    await editor(page).press("ControlOrMeta+a")
    await page.keyboard.insert_text(text)


async def text_of(page: Page) -> str:
    lines = await page.locator(".cm-line").all_text_contents()
    return "\n".join(lines)


# What the graph takes as dependencies that expressions imply.
STEPS_NAMED = r"""async () => {
  const graph = performance.getEntriesByType("resource").find(({ name }) => name.endsWith("/views/new/graph.js")).name;
  const { stepsNamed } = await import(graph.replace("graph.js", "expressions.js"));
  const ids = ["a", "b", "c", "d", "e", "s-1", "inputs"];
  const config = { x: '${a.b} $${c.x} ${"s-1".y}', n: ["${sort_by(d, &b)[0] || {c: e}}"] };
  return [stepsNamed(config, ids), stepsNamed({ x: "${inputs.a}" }, ids), stepsNamed([null, "${b.ok && !c}"], ids)];
}"""


async def test_a_definition_is_checked_and_priced_and_runs_by_a_key(user: User) -> None:
    page = await user.open("/ui/new")
    await expect(page.get_by_label("Example")).to_have_value("background")
    await write(page, definition(IMAGE))
    await expect(page.get_by_role("region", name="Price")).to_contain_text("Free")
    order = page.get_by_role("region", name="Order of the steps")
    await expect(order).to_contain_text("1 step in 1 layer")
    await expect(order).to_contain_text("LOCAL")
    graph = page.get_by_role("img", name="The graph of the steps.")
    assert await page.evaluate(STEPS_NAMED) == [["a", "s-1", "d", "e"], [], ["b", "c"]]
    await graph.click()  # the only node is in the middle
    await expect(editor(page)).to_be_focused()
    await editor(page).press("Control+Enter")
    await expect(page).to_have_url(RUN_URL)
    run = await user.site.service.until_ended(page.url.rsplit("/", 1)[1])
    assert (run["name"], run["status"]) == ("From the page", "COMPLETED")


async def test_faults_are_listed_and_marked_at_their_lines(user: User) -> None:
    page = await user.open("/ui/new")
    step = {"id": "b", "task_type": "PASSTHROUGH", "depends_on": ["<b>nobody</b>"], "colour": 1}
    text = definition(IMAGE, step)
    await write(page, text)
    faults = page.get_by_role("region", name="Faults").get_by_role("button")
    lines = [line.strip().rstrip(",") for line in text.split("\n")]
    await expect(faults).to_have_count(2)
    for place in ('"<b>nobody</b>"', '"colour": 1'):
        await expect(faults.filter(has_text=f"Line {1 + lines.index(place)}")).to_have_count(1)
    await expect(page.locator(".cm-lint-marker-error")).to_have_count(2)
    assert await accessibility_faults(page) == []
    await keep_screenshots(page, "new-faults")
    await page.emulate_media(color_scheme="dark")
    assert await accessibility_faults(page) == []
    await write(page, '{"name": "x",\n "steps": [}')
    await expect(faults).to_have_count(1)
    await expect(faults).to_contain_text("Line 2Not JSON: Unexpected token")
    user.errors.clear()  # the console names the 422


async def test_names_values_and_steps_are_completed(user: User) -> None:
    page = await user.open("/ui/new")
    options = page.locator(".cm-tooltip-autocomplete li")
    await expect(page.get_by_role("region", name="Price")).to_be_visible()

    async def complete(before: str, after: str, option: str) -> str:
        """Put the cursor between the texts, and choose *option*."""
        await write(page, before)
        await page.keyboard.insert_text(after)
        for _ in after:
            await page.keyboard.press("ArrowLeft")
        await page.keyboard.press("Control+Space")
        await expect(options.filter(has_text=re.compile(f"^{option}"))).to_be_visible()
        await keep_screenshot(page, f"new-completion-{option.lower()}")
        await options.filter(has_text=re.compile(f"^{option}")).click()
        return await text_of(page)

    head = '{"name": "n", "steps": [{"id": "draw", "task_type": "GENERATION"}, {"id": "b", "task_type": "REFINE", '
    assert (await complete(head, "}]}", "config")).endswith('"REFINE", "config": {}}]}')
    assert (await complete(f'{head}"config": {{"upsc', "}}]}", "upscale_factor")).endswith('{"upscale_factor": }}]}')
    assert (await complete(f'{head}"depends_on": ["', '"]}]}', "draw")).endswith('["draw"]}]}')
    assert (await complete('{"steps": [{"task_type": "', '"}]}', "VIDEO_GENERATION")).endswith('"VIDEO_GENERATION"}]}')
    await page.close()
    user.errors.clear()  # the console names the 422


async def test_a_file_that_is_dropped_is_uploaded_and_its_path_runs(user: User) -> None:
    page = await user.open("/ui/new")
    await write(page, definition({"id": "a", "task_type": "REFINE", "config": {"base_image_url": "drop here"}}))
    target = page.get_by_text('"drop here"')
    await expect(target).to_be_visible()
    box = await target.bounding_box()
    assert box is not None
    point = {"clientX": box["x"] + 10, "clientY": box["y"] + 10}
    uploading, written = asyncio.Event(), asyncio.Event()

    async def hold(route: Route) -> None:
        uploading.set()
        await written.wait()
        await route.continue_()

    await page.route("**/artifacts?*", hold)
    await drop_file(page, target, "square.png", drawn((64, 64)), **point)
    await uploading.wait()
    await editor(page).press("Control+Home")
    await page.keyboard.insert_text("\n\n\n")
    written.set()
    await expect(page.get_by_text(re.compile(r'"base_image_url": "media/[0-9a-f-]{36}/square\.png"'))).to_be_visible()
    await expect(page.get_by_role("region", name="Price")).to_be_visible()
    await page.get_by_role("button", name="Run", exact=True).click()
    await expect(page).to_have_url(RUN_URL)
    run = await user.site.service.until_ended(page.url.rsplit("/", 1)[1])
    assert run["status"] == "COMPLETED"
    user.errors.clear()  # the console names the 422 of the text before


async def test_a_run_is_made_again_with_changes(user: User) -> None:
    created = await user.create(IMAGE, name="<i>First</i>")
    page = await user.open(f"/ui/new?from={created['id']}")
    await expect(page.get_by_role("region", name="Order of the steps")).to_be_visible()
    text = await text_of(page)
    assert json.loads(text)["steps"] == [IMAGE]
    assert '"config": {"prompt": "a red square", "width": 64, "height": 64}' in text
    await write(page, text.replace("a red square", "a blue square").replace("<i>First</i>", "Second"))
    await expect(page.get_by_role("region", name="Order of the steps")).to_be_visible()
    await page.get_by_role("button", name="Create", exact=True).click()
    await expect(page).to_have_url(RUN_URL)
    run = await user.site.service.get(page.url.rsplit("/", 1)[1])
    assert (run["name"], run["status"]) == ("Second", "PENDING")


async def test_a_run_that_has_ended_is_run_again_with_changes_and_its_pictures_are_compared(user: User) -> None:
    refine = {"id": "refine", "task_type": "REFINE", "config": {"upscale_factor": 2}} | {
        "input_mappings": [{"from_step": "draw", "from_field": "result_image_path", "to_field": "base_image_url"}]
    }
    created = await user.create({**IMAGE, "id": "draw"}, refine)
    await user.site.service.until_ended(created["id"])
    page = await user.open(f"/ui/new?from={created['id']}")
    await expect(page.get_by_role("heading", name="Run again with changes")).to_be_visible()
    results = page.get_by_role("list", name="Results")
    await expect(results).to_have_text("2 steps take over their results")
    text = await text_of(page)
    assert json.loads(text)["reuse"] == {"from": created["id"]}
    await write(page, text.replace('"upscale_factor": 2', '"upscale_factor": 1'))
    await expect(results).to_have_text("1 step takes over its result1 step runs")
    assert await accessibility_faults(page) == []
    await keep_screenshots(page, "run-again")
    await page.get_by_role("button", name="Run", exact=True).click()
    await expect(page).to_have_url(RUN_URL)
    run = await user.site.service.until_ended(page.url.rsplit("/", 1)[1])
    assert [step["reused_from"] is not None for step in run["steps"]] == [True, False]

    await page.goto(f"{user.site.url}/ui/workflows/{run['id']}?tab=outputs")
    await page.get_by_role("button", name="Before and after: Image of refine").click()
    dialog = page.get_by_role("dialog", name="Compare outputs")
    await expect(dialog.get_by_role("img", name="Image of refine (before)")).to_have_js_property("naturalWidth", 128)
    await expect(dialog.get_by_role("img", name="Image of refine", exact=True)).to_have_js_property("naturalWidth", 64)
    await keep_screenshots(page, "run-before-and-after")
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("button", name="Before and after: Image of draw")).to_have_count(0)
    await page.goto(f"{user.site.url}/ui/workflows/{run['id']}?step=draw")
    await expect(page.get_by_role("dialog", name="draw")).to_contain_text("Result taken over from")


async def test_a_run_that_does_not_exist_is_an_error_beside_the_example(user: User) -> None:
    page = await user.open("/ui/new?from=0198c0de-0000-7000-8000-000000000000")
    await expect(page.get_by_role("region", name="Price")).to_be_visible()
    await expect(page.get_by_role("alert")).to_contain_text("workflow not found")
    await keep_screenshots(page, "new-error")
    user.errors.clear()  # the console names the 404


async def test_without_the_graph_the_editor_and_the_order_of_the_steps_stay(user: User) -> None:
    page = await user.context.new_page()
    await page.route("**/views/new/graph.js", lambda route: route.abort())
    async with page.expect_event("requestfailed"):
        await page.goto(user.site.url + "/ui/new")
    await write(page, definition(IMAGE))
    await expect(page.get_by_role("region", name="Order of the steps")).to_contain_text("1 step in 1 layer")
    await expect(page.get_by_role("alert")).to_have_count(0)
    user.errors.clear()  # the console names the module


async def test_every_example_can_be_chosen_and_has_no_fault(user: User) -> None:
    examples = {name: example for name, example in read_examples().items() if not example.providers}
    assert len(examples) == 7
    page = await user.open("/ui/new", width=NARROW)
    for name, example in examples.items():
        await page.get_by_label("Example").select_option(example.title)
        await expect(page).to_have_url(f"{user.site.url}/ui/new?example={name}")
        steps = json.loads(example.text)["steps"]
        await expect(page.locator(".layer-step")).to_have_count(len(steps))
        ids = "|".join(re.escape(step["id"]) for step in steps)
        await expect(page.locator(".layer-step strong").first).to_have_text(re.compile(f"^({ids})$"))
    await expect(page.get_by_role("region", name="Faults")).to_have_count(0)
    assert await page.evaluate("document.documentElement.scrollWidth") == NARROW
    assert await accessibility_faults(page) == []
    await keep_screenshots(page, "new")


async def test_who_may_only_read_can_check_a_definition_and_not_run_it(site: Site) -> None:
    async with signed_in(site, permissions=(Permission.READ,)) as user:
        page = await user.open("/ui/new")
        await expect(page.get_by_text("Your token may only read.")).to_be_visible()
        await expect(page.get_by_role("region", name="Price")).to_be_visible()
        await expect(page.get_by_role("button", name="Run", exact=True)).to_have_count(0)
        await expect(page.locator("input[type=file]")).to_have_count(0)
