"""The graph of a run in Chromium, and the layout of graphs."""

import re
from typing import Any

import httpx
import pytest
from playwright.async_api import Page, expect

from stepwell.web.static_files import static_files
from support.browser.accessibility import accessibility_faults
from support.browser.pages import User, keep_screenshot, keep_screenshots
from support.providers.configured_by_steps import ConfiguredProvider, configured_step, passthrough_step
from support.service.live_service import token

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.extended]

IMAGE = {"task_type": "GENERATION", "config": {"prompt": "a red square", "width": 64, "height": 64}}
LAID_OUT = """async ([module, steps]) => {
    const layout = await import(module);
    const dependencies = layout.dependencyIndexes(steps);
    const layers = layout.orderLayers(layout.layersOf(dependencies), dependencies);
    const names = layers.map((layer) => layer.map((i) => steps[i].step_id));
    const groups = layout.groupsOf(layers).map((group) => [layout.groupName(group), group.count]);
    return {layers: names, groups, positions: [...layout.positionsOf(layers).positions]};
}"""

PROGRESS = """async (module) => {
    const { GraphCanvas } = await import(module);
    const step = {step_id: "a", dependencies: [], status: "RUNNING", result: null, next_attempt_at: null};
    const container = document.querySelector("main").appendChild(document.createElement("div"));
    const graph = new GraphCanvas(container, [step], {openStep() {}});
    const label = () => graph.cy.nodes()[0].data("label");
    const labels = [label()];
    graph.noteEvents([{type: "step.progress", step_id: "a", data: {progress: 0.4}}]);
    labels.push(label());
    graph.noteEvents([{type: "step.completed", step_id: "a", data: {}}]);
    graph.update([{...step, status: "COMPLETED"}]);
    return [...labels, label()];
}"""

# A graph of that many layers of so many steps, each of which needs the one before, without a run in the service.
MOUNTED = """async ([module, width, layers]) => {
    const steps = Array.from({length: width * layers}, (_, i) => ({
        step_id: `step-${i}`, dependencies: i < width ? [] : [`step-${i - width}`], status: "PENDING", result: null,
        next_attempt_at: null}));
    const { default: mount } = await import(module);
    const element = document.querySelector("main").appendChild(document.createElement("div"));
    mount(element, {run: {steps}, onChange() {}, onEvents() {}, openStep() {}});
}"""

VIEWPORT = "(graph) => ({ zoom: graph._cyreg.cy.zoom(), ...graph._cyreg.cy.pan() })"


async def laid_out(page: Page, *steps: tuple[str, ...]) -> dict[str, Any]:
    """Return the layout of steps, given as their names followed by those of their dependencies."""
    module = static_files().url("views/run/layout.js")
    given = [{"step_id": step[0], "dependencies": list(step[1:])} for step in steps]
    found: dict[str, Any] = await page.evaluate(LAID_OUT, [module, given])
    return found


def wide_run(count: int, layers: int) -> list[dict[str, Any]]:
    """Steps in that many layers, each of which needs two steps of the layer before."""
    width = count // layers
    return [
        passthrough_step(
            f"step-{i}", *(f"step-{(i // width - 1) * width + (i * 7 + k) % width}" for k in range(2) if i >= width)
        )
        for i in range(count)
    ]


async def create_large(user: User, steps: list[dict[str, Any]]) -> str:
    """Create a run of many steps without a check of the response against its schema, which takes seconds."""
    body = {"name": "A large run", "origin_instance": "tests", "steps": steps}
    headers = {"Authorization": f"Bearer {token(user.tenant, every=False)}"}
    async with httpx.AsyncClient(transport=user.site.service.transport, base_url="http://t.local") as client:
        response = await client.post("/api/v1/workflows/", params={"start": False}, json=body, headers=headers)
    return str(response.json()["id"])


async def test_a_step_is_in_the_layer_after_its_last_dependency_and_near_its_dependencies(user: User) -> None:
    page = await user.open("/ui/costs")
    found = await laid_out(page, ("a",), ("b",), ("c", "b"), ("d", "a"), ("e", "a", "c"), ("f", "unknown"))
    assert found["layers"] == [["a", "b", "f"], ["d", "c"], ["e"]]
    x_of = {i: position["x"] for i, position in found["positions"]}
    assert x_of[0] == x_of[1] == x_of[5] < x_of[2] == x_of[3] < x_of[4]


async def test_no_two_steps_of_a_layout_overlap(user: User) -> None:
    page = await user.open("/ui/costs")
    steps = [(str(i), *(str(k) for k in range(max(0, i - 3), i) if i % 5 == 0)) for i in range(200)]
    found = await laid_out(page, *steps)
    positions = [(position["x"], position["y"]) for _, position in found["positions"]]
    assert len(positions) == 200
    for i, (x, y) in enumerate(positions):
        assert all(abs(x - u) >= 184 or abs(y - v) >= 48 for u, v in positions[:i])


async def test_a_large_graph_is_grouped_by_its_layers(user: User) -> None:
    page = await user.open("/ui/costs")
    first = [(f"a{i}",) for i in range(2_500)]
    chain = [(f"b{i}", f"b{i - 1}" if i else "a0") for i in range(60)]
    assert (await laid_out(page, *first, *chain))["groups"] == [
        ["Layer 1, steps 1 to 1,000", 1_000],
        ["Layer 1, steps 1,001 to 2,000", 1_000],
        ["Layer 1, steps 2,001 to 2,500", 500],
        ["Layers 2 to 27", 26],
        ["Layers 28 to 53", 26],
        ["Layers 54 to 61", 8],
    ]


async def test_the_graph_obeys_keys_and_its_list_is_searched(user: User, scripted: ConfiguredProvider) -> None:
    run = await user.create(
        IMAGE | {"id": "draw"},
        IMAGE | {"id": "paint", "depends_on": ["draw"]},
        configured_step("held", "draw", wait=True),
        configured_step("broken", "draw", breaks=True),
        passthrough_step("last", "held", "paint"),
        config={"on_failure": "continue"},
    )
    page = await user.open(f"/ui/workflows/{run['id']}")
    graph = page.get_by_role("application", name="Graph of 5 steps")
    await expect(graph.locator("canvas").first).to_be_visible()
    steps = page.get_by_role("list", name="Steps")
    await expect(steps.get_by_role("button")).to_have_text(
        ["draw Completed", "paint Completed", "held Running", "broken Failed", "last Pending"], use_inner_text=True
    )
    await graph.focus()
    whole = await graph.evaluate(VIEWPORT)
    await page.keyboard.press("+")
    near = await graph.evaluate(VIEWPORT)
    assert near["zoom"] > whole["zoom"]
    await page.keyboard.press("Shift+ArrowLeft")
    assert await graph.evaluate(VIEWPORT) == near | {"x": near["x"] + 60}
    await page.keyboard.press("0")
    assert await graph.evaluate(VIEWPORT) == whole
    await keep_screenshots(page, "run-graph")
    for key in ("ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft"):
        await page.keyboard.press(key)
    await expect(page.locator("#announcer")).to_have_text(re.compile("^(paint|held), "))
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("dialog", name=re.compile("^(paint|held)$"))).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(graph).to_be_focused()
    scripted.release(run["id"], "held")
    await expect(steps.get_by_role("button", name="held Completed")).to_be_visible()
    await steps.get_by_role("button", name="draw").focus()
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("dialog", name="paint")).to_be_visible()
    await page.keyboard.press("Escape")
    await page.get_by_role("searchbox", name="Search steps").fill("PAI")
    await expect(steps.get_by_role("button")).to_have_text(["paintCompleted"])
    await page.get_by_role("searchbox", name="Search steps").fill("nowhere")
    await expect(page.get_by_text("No step has “nowhere” in its name.")).to_be_visible()


def in_layers(*counts: int) -> list[dict[str, Any]]:
    """Steps in layers of so many steps, each of which needs all steps of the layer before."""
    layers = [[f"step-{number}-{i}" for i in range(count)] for number, count in enumerate(counts)]
    return [
        passthrough_step(name, *(layers[number - 1] if number else []))
        for number, layer in enumerate(layers)
        for name in layer
    ]


TEXT_AND_BOX = """(graph) => {
  const { cy } = graph._cyreg;
  const box = cy.nodes().renderedBoundingBox({ includeLabels: false });
  return {
    text: Math.min(...cy.nodes().map((node) => parseFloat(node.style("font-size")) * cy.zoom())),
    wide: box.w / cy.width(), high: box.h / cy.height(),
    inside: box.x1 >= 0 && box.y1 >= 0 && box.x2 <= cy.width() && box.y2 <= cy.height(),
  };
}"""


@pytest.mark.parametrize(
    "layers",
    [(1,) * 10, (10,), (1, 9), (1, 8, 1), (2, 2, 2, 2, 2), (1, 4, 1, 3, 1), (3, 1, 3, 1, 1, 1)],
    ids=lambda layers: "-".join(map(str, layers)),
)
async def test_ten_steps_fill_the_box_and_have_text_of_11_pixels(user: User, layers: tuple[int, ...]) -> None:
    run = await user.create(*in_layers(*layers), start=False)
    page = await user.open(f"/ui/workflows/{run['id']}")
    graph = page.get_by_role("application", name="Graph of 10 steps")
    await expect(graph.locator("canvas").first).to_be_visible()
    found = await graph.evaluate(TEXT_AND_BOX)
    assert found["text"] >= 11
    assert found["inside"]
    assert max(found["wide"], found["high"]) > 0.8
    await page.set_viewport_size({"width": 390, "height": 800})
    await page.wait_for_function("() => document.querySelector('.graph-canvas')._cyreg.cy.width() < 390")
    assert (await graph.evaluate(TEXT_AND_BOX))["inside"]


async def test_the_steps_of_an_open_sub_workflow_can_be_read(user: User) -> None:
    inner = {"name": "inner", "steps": in_layers(1, 3, 1, 1)}
    sub = {"id": "sub", "task_type": "SUBWORKFLOW", "config": {"workflow": inner}, "depends_on": ["before"]}
    run = await user.create(passthrough_step("before"), sub, passthrough_step("after", "sub"))
    await user.site.service.until_ended(run["id"])
    page = await user.open(f"/ui/workflows/{run['id']}")
    await page.locator(".graph-buttons").get_by_role("button", name="Sub-workflow of sub").click()
    contained = page.get_by_role("list", name="Contained steps").get_by_role("button")
    await expect(contained).to_have_count(6)
    graph = page.get_by_role("application")
    await page.wait_for_function("() => document.querySelector('.graph-canvas')._cyreg.cy.nodes().length === 9")
    found = await graph.evaluate(TEXT_AND_BOX)
    assert found["text"] >= 10
    assert found["inside"]
    await keep_screenshots(page, "run-graph-open")


async def test_a_graph_that_is_too_wide_is_folded_and_its_edges_run_between_the_steps(user: User) -> None:
    page = await user.open("/ui/costs")
    script = """async ([module, box]) => {
      const { NODE, foldedEdge, positionsOf } = await import(module);
      const { positions, width } = positionsOf([[0], [1], [2, 3]], undefined, box);
      const edge = (a, b) => foldedEdge(positions.get(a), positions.get(b), NODE, NODE).folded;
      return [[...positions.values()].map(({ band }) => band), width, edge(1, 2), edge(1, 3)];
    }"""
    module = static_files().url("views/run/layout.js")
    assert await page.evaluate(script, [module, {"width": 450, "height": 1000}]) == [[0, 0, 1, 1], 424, "down", "bent"]
    bands, width, *_ = await page.evaluate(script, [module, {"width": 2000, "height": 1000}])
    assert (bands, width) == ([0, 0, 0, 0], 664)


async def test_a_graph_of_1000_steps_is_shown_whole(user: User) -> None:
    page = await user.open(f"/ui/workflows/{await create_large(user, wide_run(1_000, 10))}")
    steps = page.get_by_role("list", name="Steps")
    await expect(steps.get_by_role("button")).to_have_count(1_000)
    # From afar, nodes have the strong colours of their statuses.
    await page.wait_for_function("document.querySelector('.graph-canvas')?._cyreg?.cy.nodes()[0]?.hasClass('far')")
    await keep_screenshot(page, "run-graph-1000")


async def test_a_graph_of_more_steps_opens_by_groups(user: User) -> None:
    page = await user.open("/ui/costs")
    await page.evaluate(MOUNTED, [static_files().url("views/run/graph.js"), 400, 10])
    groups = page.get_by_role("list", name="Groups of steps").get_by_role("button")
    await expect(groups).to_have_count(10)
    await groups.filter(has_text="Layer 3").click()
    steps = page.get_by_role("list", name="Steps", exact=True).get_by_role("button")
    await expect(steps).to_have_count(400)
    await expect(groups.filter(has_text="Layer 3")).to_have_attribute("aria-expanded", "true")
    await groups.filter(has_text="Layer 3").click()
    await expect(steps).to_have_count(0)
    assert await accessibility_faults(page) == []
    await page.get_by_role("searchbox", name="Search steps").fill("step-15")
    await expect(steps).to_have_count(111)
    await expect(page.get_by_text("more: type more of the name")).to_be_hidden()


async def test_a_node_shows_the_progress_that_events_report(user: User) -> None:
    page = await user.open("/ui/costs")
    labels = await page.evaluate(PROGRESS, static_files().url("views/run/graph_canvas.js"))
    assert labels == ["a\nRunning", "a\nRunning · 40%", "a\nCompleted"]
