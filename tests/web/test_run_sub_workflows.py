"""Sub-workflows in the graph of a run, in Chromium: their nodes open in the graph, and show their steps live."""

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.async_api import Locator, Page, expect

from stepwell.contract.scopes import Permission
from support.browser.accessibility import accessibility_faults
from support.browser.pages import Site, User, keep_screenshots, signed_in
from support.providers.configured_by_steps import ConfiguredProvider, configured_step, passthrough_step

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.extended]

# The names of the nodes, each with the name of the frame in which it is drawn, if there is one.
DRAWN = """(graph) => {
  const nodes = graph._cyreg.cy.nodes().toArray();
  const box = (node) => node.boundingBox({ includeLabels: false });
  const holds = (frame, node) => frame.data("kind") === "frame" && frame !== node
    && box(frame).x1 <= box(node).x1 && box(frame).x2 >= box(node).x2
    && box(frame).y1 <= box(node).y1 && box(frame).y2 >= box(node).y2;
  return nodes.map((node) => [node.data("stepId"), ...nodes.filter((frame) => holds(frame, node))
    .sort((one, other) => one.width() - other.width()).map((frame) => frame.data("stepId"))]).sort();
}"""


def runs(step_id: str, *steps: dict[str, Any], **members: Any) -> dict[str, Any]:
    """A step that runs a sub-workflow of these steps."""
    config = {"workflow": {"name": f"the child of {step_id}", "steps": list(steps)}}
    return {"id": step_id, "task_type": "SUBWORKFLOW", "config": config, **members}


def graph_of(page: Page) -> Locator:
    return page.get_by_role("application")


def on_node(page: Page, name: str) -> Locator:
    """The button on a node of the graph."""
    return page.locator(".graph-buttons").get_by_role("button", name=name, exact=True)


async def until_drawn(graph: Locator, wanted: Callable[[list[list[str]]], bool]) -> None:
    """Wait until the graph is as wanted: it is drawn a little later than its list of steps."""
    async with asyncio.timeout(60):
        while not wanted(await graph.evaluate(DRAWN)):
            await asyncio.sleep(0.05)


async def child_of(user: User, workflow_id: str, step_id: str) -> str:
    """Return the id of the sub-workflow of a step, once it exists."""
    async with asyncio.timeout(60):
        while not (
            tasks := [
                task
                for task in await user.site.service.tasks(workflow_id)
                if task["step_id"] == step_id and task["remote_id"]
            ]
        ):
            await asyncio.sleep(0.01)
    return str(tasks[0]["remote_id"])


async def test_the_node_of_a_sub_workflow_opens_in_the_graph_and_is_updated(
    user: User, scripted: ConfiguredProvider
) -> None:
    deep = runs("deep", configured_step("held", wait=True), depends_on=["first"])
    sub = runs("sub", passthrough_step("first"), deep)
    run = await user.create(
        passthrough_step("before"), sub | {"depends_on": ["before"]}, passthrough_step("after", "sub")
    )
    child = await child_of(user, run["id"], "sub")
    grandchild = await child_of(user, child, "deep")
    page = await user.open(f"/ui/workflows/{run['id']}")
    button = on_node(page, "Sub-workflow of sub")
    await expect(button).to_have_attribute("aria-expanded", "false")
    await button.press("Enter")
    await expect(button).to_have_attribute("aria-expanded", "true")
    await expect(button).to_be_focused()
    inside = page.get_by_role("list", name="Contained steps")
    await expect(inside.get_by_role("button", name="first Completed")).to_be_visible()
    await on_node(page, "Sub-workflow of deep").click()
    held = inside.get_by_role("button", name=re.compile("^held "))
    await expect(held).to_have_text("heldRunning")
    opened = [["after"], ["before"], ["deep", "sub"], ["first", "sub"], ["held", "deep", "sub"], ["sub"]]
    await until_drawn(graph_of(page), lambda drawn: drawn == opened)
    assert await accessibility_faults(page) == []
    await keep_screenshots(page, "run-sub-workflow")
    await held.click()
    drawer = page.get_by_role("dialog", name="held")
    await expect(drawer.get_by_text("Attempt 1", exact=True)).to_be_visible()
    await page.keyboard.press("Escape")
    link = page.locator(".graph-buttons").get_by_role("link", name="Page of the sub-workflow of deep")
    await expect(link).to_have_attribute("href", f"/ui/workflows/{grandchild}")
    scripted.release(grandchild, "held")
    await expect(held).to_have_text("heldCompleted")
    await expect(page.get_by_role("button", name="after Completed")).to_be_visible()
    await button.press("Enter")
    await expect(inside).to_have_count(0)
    reads: list[str] = []
    page.on("request", lambda request: reads.append(request.url))
    await user.client.patch(f"/api/v1/workflows/{child}", json={"description": "a"})
    await user.client.patch(f"/api/v1/workflows/{run['id']}", json={"description": "Something has moved"})
    await expect(page.get_by_text("Something has moved")).to_be_visible()
    assert not [url for url in reads if child in url]


async def test_a_step_and_its_sub_workflow_link_to_each_other(user: User, scripted: ConfiguredProvider) -> None:
    run = await user.create(runs("sub", configured_step("held", wait=True)), name="the parent")
    child = await child_of(user, run["id"], "sub")
    page = await user.open(f"/ui/workflows/{run['id']}?step=sub")
    link = page.get_by_role("dialog", name="sub").get_by_role("link", name=child)
    await expect(link).to_be_visible()  # while the step waits for it
    await expect(page.get_by_role("dialog", name="sub").locator(".badge").first).to_have_text("Running")
    scripted.release(child, "held")
    await user.site.service.until_ended(run["id"])
    await expect(page.get_by_role("dialog", name="sub").locator(".badge").first).to_have_text("Completed")
    await link.click()
    await expect(page.get_by_role("heading", name="the child of sub")).to_be_visible()
    await page.locator(f'main a[href^="/ui/workflows/{run["id"]}"]').click()
    await expect(page.get_by_role("heading", name="the parent")).to_be_visible()
    await page.goto(f"{user.site.url}/ui?include_children=true")
    parent = page.locator(f'[data-id="{child}"]').get_by_role("link", name="sub-workflow of sub")
    await expect(parent).to_have_attribute("href", f"/ui/workflows/{run['id']}")


# After ten seconds in which nothing has moved, the notice has the second name.
WAITS = re.compile("^(Waits for a decision|Why isn't it moving\\?)$")
PICK = {"id": "pick", "task_type": "APPROVAL", "config": {"message": "Which scene?", "choices": ["beach", "hill"]}}


async def test_a_parent_names_the_steps_below_that_wait_and_lets_the_viewer_decide(site: Site, user: User) -> None:
    deep = runs("deep", passthrough_step("draw"), PICK | {"depends_on": ["draw"]})
    each = runs("each", deep) | {"for_each": {"items": ["a", "b"]}}
    run = await user.create(each, passthrough_step("last", "each"))
    async with asyncio.timeout(60):
        while len((await user.client.get("/api/v1/decisions")).json()["decisions"]) < 2:
            await asyncio.sleep(0.05)
    page = await user.open(f"/ui/workflows/{run['id']}")
    notice = page.get_by_role("region", name=WAITS)
    link = notice.get_by_role("link", name="each / item 1 / deep / pick")
    await expect(link).to_be_visible()
    await expect(notice).to_contain_text("Waits for a decision: 'beach', 'hill'.")
    assert await accessibility_faults(page) == []
    await keep_screenshots(page, "run-wait-below")
    children = {task["item"]: task["remote_id"] for task in await user.site.service.tasks(run["id"])}
    waiting = await child_of(user, children[1], "deep")
    await expect(link).to_have_attribute("href", f"/ui/workflows/{waiting}?step=pick")
    await notice.get_by_role("button", name="Decide… each / item 1 / deep / pick").click()
    drawer = page.get_by_role("dialog", name="pick")
    await expect(drawer).to_contain_text("Which scene?")
    await drawer.get_by_role("button", name="hill").click()
    child = await user.site.service.until_ended(waiting)
    assert child["steps"][1]["result"]["choice"] == "hill"
    await page.keyboard.press("Escape")
    await expect(link).to_have_count(0)
    await page.get_by_role("button", name="each Running").click()
    why = page.get_by_role("dialog", name="each").get_by_role("region", name="Why it waits")
    await expect(why.get_by_role("link")).to_have_text("each / item 0 / deep / pick")
    async with signed_in(site, tenant=user.tenant, permissions=(Permission.READ,)) as reader:
        page = await reader.open(f"/ui/workflows/{run['id']}")
        notice = page.get_by_role("region", name=WAITS)
        await expect(notice.get_by_role("link", name="each / item 0 / deep / pick")).to_be_visible()
        await expect(page.get_by_role("main").get_by_role("button", name=re.compile("Decide"))).to_have_count(0)


async def test_a_parent_shows_what_its_sub_workflow_waits_for(user: User, scripted: ConfiguredProvider) -> None:
    run = await user.create(runs("sub", configured_step("held", wait=True), PICK | {"depends_on": ["held"]}))
    child = await child_of(user, run["id"], "sub")
    listed, page = await user.open("/ui"), await user.open(f"/ui/workflows/{run['id']}")
    shown = [listed.locator(f'[data-id="{run["id"]}"] .run-status'), page.locator(".run-header")]
    for each in shown:
        await expect(each).to_contain_text("Running")
    scripted.release(child, "held")
    for each in shown:
        await expect(each).to_contain_text("Waits for a decision")
    first = page.get_by_role("group", name="Actions").locator(".button").first
    await expect(first).to_have_text("Decide…")
    decision = {"choice": "beach"}
    await user.client.post(f"/api/v1/workflows/{child}/steps/pick/decision", json=decision)
    for each in shown:
        await expect(each).not_to_contain_text("Waits for")


async def test_a_failed_step_repeats_its_error_and_links_to_its_sub_workflow(user: User) -> None:
    run = await user.create(runs("sub", configured_step("inner", breaks="no credit left")))
    child = await child_of(user, run["id"], "sub")
    await user.site.service.until_ended(run["id"])
    page = await user.open(f"/ui/workflows/{run['id']}?step=sub")
    error = page.get_by_role("dialog", name="sub").get_by_role("region", name="Error")
    await expect(error).to_contain_text("inner: no credit left")
    await expect(error.get_by_role("link", name=child[-8:])).to_have_attribute("href", f"/ui/workflows/{child}")
    await expect(page.get_by_role("dialog", name="sub").get_by_role("region", name="Why it waits")).to_have_count(0)
    await page.keyboard.press("Escape")
    error = page.get_by_role("group", name="Error of the run")
    await expect(error).to_contain_text(f"sub: the sub-workflow {child[-8:]} has FAILED: inner: no credit left")
    await keep_screenshots(page, "run-failed-below")
    await error.get_by_role("link").click()
    await expect(page.get_by_role("group", name="Error of the run")).to_have_text(re.compile("inner: no credit left"))


async def test_the_gallery_links_to_the_sub_workflow_of_each_item(user: User, scripted: ConfiguredProvider) -> None:
    run = await user.create(runs("sub", configured_step("held", wait=True)) | {"for_each": {"count": 1}})
    child = await child_of(user, run["id"], "sub")
    page = await user.open(f"/ui/workflows/{run['id']}?step=sub")
    card = page.get_by_role("dialog", name="sub").get_by_role("listitem").filter(has_text="Running")
    await expect(card.get_by_role("link", name=child)).to_be_visible()
    scripted.release(child, "held")
    card = page.get_by_role("dialog", name="sub").get_by_role("listitem").filter(has_text="Completed")
    await expect(card.get_by_role("link", name=child)).to_have_attribute("href", f"/ui/workflows/{child}")


async def test_items_and_repeated_runs_are_nodes_whose_sub_workflows_open(
    user: User, scripted: ConfiguredProvider
) -> None:
    each = runs("each", passthrough_step("show", text="${inputs.item}"), configured_step("judge", result={"score": 1}))
    items = {"items": ["one", "two"], "max_concurrency": 1}
    again = runs("again", passthrough_step("try"), repeat={"until": "status == 'x'", "max": 2})
    both = runs("both", passthrough_step("draw")) | {"for_each": {"count": 1}, "repeat": {"until": "`false`", "max": 2}}
    run = await user.create(each | {"for_each": items}, again, both)
    await user.site.service.until_ended(run["id"])
    page = await user.open(f"/ui/workflows/{run['id']}")
    await on_node(page, "Items of each").click()
    await on_node(page, "Sub-workflow of Item 1").click()
    inside = page.get_by_role("list", name="Contained steps")
    await expect(inside.first.get_by_role("button", name="Item 0 Completed")).to_be_visible()
    await inside.first.get_by_role("button", name="show Completed").click()
    await expect(page.get_by_role("dialog", name="show")).to_contain_text("texttwo")
    await page.keyboard.press("Escape")
    await on_node(page, "Items of each").click()
    await on_node(page, "Runs of again").click()
    await on_node(page, "Sub-workflow of Run 2").click()
    await expect(inside.first.get_by_role("button", name="try Completed")).to_be_visible()
    await on_node(page, "Items of both").click()
    await on_node(page, "Runs of Item 0").click()
    await expect(on_node(page, "Sub-workflow of Run 2")).to_have_count(2)
    await on_node(page, "Sub-workflow of Run 1").last.click()
    await expect(inside.get_by_role("button", name="draw Completed")).to_be_visible()
    await until_drawn(graph_of(page), lambda drawn: ["draw", "Run 1", "Item 0", "both"] in drawn)
    await keep_screenshots(page, "run-sub-workflow-items")


async def test_a_sub_workflow_opens_by_keys_before_it_begins_and_goes_on_by_itself(
    user: User, scripted: ConfiguredProvider
) -> None:
    sub = runs("sub", passthrough_step("first"), configured_step("second", "first", wait=True))
    run = await user.create(sub, start=False)
    page = await user.open(f"/ui/workflows/{run['id']}")
    await graph_of(page).focus()
    await page.keyboard.press("ArrowRight")
    await expect(page.locator("#announcer")).to_have_text("sub, Pending, Space opens it")
    await page.keyboard.press(" ")
    inside = page.get_by_role("list", name="Contained steps").get_by_role("button")
    await expect(inside).to_have_text(["firstPending", "secondPending"])
    await user.site.service.verb(run["id"], "start")
    await expect(inside).to_have_text(["firstCompleted", "secondRunning"])
    row = page.get_by_role("list", name="Steps").get_by_role("button", name=re.compile("^sub "))
    await row.press("ArrowLeft")
    await expect(inside).to_have_count(0)
    await row.press("ArrowRight")
    await expect(inside).to_have_text(["firstCompleted", "secondRunning"])
    scripted.release(await child_of(user, run["id"], "sub"), "second")
    await expect(inside).to_have_text(["firstCompleted", "secondCompleted"])


async def test_a_sub_workflow_of_a_definition_opens_before_there_is_a_run(user: User) -> None:
    inner = runs("inner", passthrough_step("deepest"), depends_on=["first"])
    steps = [passthrough_step("before"), runs("sub", passthrough_step("first"), inner, depends_on=["before"])]
    page = await user.open("/ui/new")
    text = json.dumps({"name": "Nested", "origin_instance": "tests", "steps": steps})
    await page.get_by_role("textbox", name="Definition (JSON)").fill(text)
    await on_node(page, "Sub-workflow of sub").press("Enter")
    await on_node(page, "Sub-workflow of inner").press("Enter")
    graph = page.get_by_role("img", name="The graph of the steps.")
    opened = [["before"], ["deepest", "inner", "sub"], ["first", "sub"], ["inner", "sub"], ["sub"]]
    await until_drawn(graph, lambda drawn: drawn == opened)
    await keep_screenshots(page, "new-sub-workflow")
    await page.get_by_role("textbox", name="Definition (JSON)").fill(text.replace('"deepest"', '"other"'))
    await until_drawn(graph, lambda drawn: ["other", "inner", "sub"] in drawn)
    await on_node(page, "Sub-workflow of sub").press("Enter")
    await until_drawn(graph, lambda drawn: drawn == [["before"], ["sub"]])
