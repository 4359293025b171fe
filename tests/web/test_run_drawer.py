"""The drawer of a step and the reason why a run doesn't move, in Chromium."""

import re
from datetime import datetime, timedelta

import pytest
from playwright.async_api import Route, expect

from stepwell.web.static_files import static_files
from support.browser.accessibility import accessibility_faults
from support.browser.pages import NARROW, WIDE, User, keep_screenshot, keep_screenshots
from support.providers.configured_by_steps import ConfiguredProvider, configured_step, passthrough_step

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.extended]

IMAGE = {"id": "draw", "task_type": "GENERATION", "config": {"prompt": "a red square", "width": 64, "height": 64}}
REFINE = {
    "id": "enlarge",
    "task_type": "REFINE",
    "config": {"upscale_factor": 2},
    "input_mappings": [{"from_step": "draw", "from_field": "result_image_path", "to_field": "base_image_url"}],
}
# Follows the stream, and notes in the page when it had the event of an update.
FOLLOW = """async (module) => (await import(module)).follow({ onEvents(events) {
  if (events.some((each) => each.type === "workflow.updated")) document.body.dataset.updated = "true";
} }) && null"""
FLAKY = configured_step("flaky", fails=9, retryable=True, retry_after_s=600)


async def test_the_drawer_shows_inputs_result_and_attempts_and_returns_the_focus(user: User) -> None:
    run = await user.create(IMAGE, REFINE, passthrough_step("exact", seed=2**53 + 1))
    await user.site.service.until_ended(run["id"])
    page = await user.open(f"/ui/workflows/{run['id']}?step=exact")
    values = page.get_by_role("dialog", name="exact").get_by_text(str(2**53 + 1), exact=True)
    await expect(values).to_have_count(2)  # the input and the result
    await page.keyboard.press("Escape")
    row = page.get_by_role("list", name="Steps").get_by_role("button", name="enlarge Completed")
    await row.press("Enter")
    drawer = page.get_by_role("dialog", name="enlarge")
    await expect(drawer.get_by_role("img", name="Output of enlarge")).to_have_js_property("naturalWidth", 128)
    await expect(drawer).to_contain_text("upscale_factor2")
    await expect(drawer).to_contain_text(re.compile(r"base_image_urlmedia/[\w/.-]+from result_image_path of draw"))
    await expect(drawer.get_by_text("Attempt 1")).to_be_visible()
    await expect(drawer.locator(".attempts")).to_contain_text("ProviderLOCAL")
    await expect(page).to_have_url(re.compile(r"\?step=enlarge$"))
    await keep_screenshot(page, "run-drawer")
    for _ in range(12):
        await page.keyboard.press("Tab")
    assert await drawer.evaluate(
        "(drawer) => [document.body, null].includes(document.activeElement) || drawer.contains(document.activeElement)"
    )
    await page.keyboard.press("Escape")
    await expect(drawer).to_be_hidden()
    await expect(row).to_be_focused()
    await expect(page).not_to_have_url(re.compile("step="))


async def test_the_drawer_shows_the_items_of_a_step_as_a_gallery(user: User) -> None:
    draw = {"id": "draw", "task_type": "GENERATION", "config": {"height": 64}}
    for_each = {"items": [{"prompt": "a red square", "width": 64}], "as": None}
    words = {"items": [*map(str, range(60)), None], "on_item_failure": "collect"}
    texts = {"id": "texts #1?", "task_type": "PASSTHROUGH", "config": {"text": "word ${item}"}, "for_each": words}
    run = await user.create(draw | {"for_each": for_each}, texts)
    await user.site.service.until_ended(run["id"])
    page = await user.open(f"/ui/workflows/{run['id']}?step=draw")
    drawer = page.get_by_role("dialog", name="draw")
    items = drawer.get_by_role("region", name="Items").get_by_role("listitem")
    await expect(items).to_have_count(1)
    picture = await items.get_by_role("img", name="Item 0 of draw").element_handle()
    # A browser that has loaded the preview for finer screens takes that one: its width counts less.
    await page.wait_for_function("(picture) => [64, 42].includes(picture.naturalWidth)", arg=picture)
    await expect(items).to_contain_text("Item 0Completed prompt: a red square, width: 64")
    await expect(drawer).to_contain_text("1 of 1 completed, from the definition, 10 at once")
    await expect(drawer.locator(".attempts")).to_contain_text("Item 0, attempt 1")
    await keep_screenshots(page, "run-drawer-items")
    await page.keyboard.press("Escape")
    await page.get_by_role("button", name="texts #1? Completed").click()
    drawer = page.get_by_role("dialog", name="texts #1?")
    items = drawer.get_by_role("region", name="Items").get_by_role("listitem")
    await expect(items).to_have_count(60)
    await drawer.get_by_role("button", name="Show more").click()
    await expect(items).to_have_count(61)
    await expect(items.nth(60)).to_contain_text("is null")
    await expect(drawer).to_contain_text("60 of 61 completed, 1 failed, from the definition")


async def test_the_drawer_shows_values_of_expressions_once_the_step_has_started(
    user: User, scripted: ConfiguredProvider
) -> None:
    texts = {
        "size": "${inputs.size}",
        "text": "${workflow.name}: ${inputs.text} of $${x}",
        "score": '${"first-1".nothing || "first-1".score}',
        "length": "${length(inputs.text)}",
    }
    first = configured_step("first-1", wait=True, result={"score": 0.5})
    run = await user.create(first, passthrough_step("show", "first-1", **texts), inputs={"size": [3], "text": "a shoe"})
    page = await user.open(f"/ui/workflows/{run['id']}?step=show")
    drawer = page.get_by_role("dialog", name="show")
    inputs = drawer.locator("section", has=page.get_by_role("heading", name="Inputs")).locator(".values > div")
    await expect(inputs).to_have_text([name + text for name, text in texts.items()])
    scripted.release(run["id"], "first-1")
    await expect(inputs).to_have_text(
        [
            re.compile(r"^\s*size\[\s*3\s*\]from \$\{inputs.size\}$"),
            f"texta run: a shoe of ${{x}}from {texts['text']}",
            f"score0.5from {texts['score']}",
            f"length{texts['length']}",
        ]
    )


async def test_a_user_sends_the_signal_for_which_a_step_waits(user: User) -> None:
    run = await user.create({"id": "paid", "task_type": "SIGNAL", "config": {"name": "payment/1"}})
    page = await user.open(f"/ui/workflows/{run['id']}?step=paid")
    form = page.get_by_role("dialog", name="paid").get_by_role("form", name="Signal payment/1")
    await form.get_by_label("Data").fill("{a}")
    await form.get_by_role("button", name="Send the signal payment/1").click()
    await expect(form.get_by_role("alert")).to_contain_text("The data aren't JSON")
    assert await accessibility_faults(page) == []
    await keep_screenshots(page, "run-drawer-signal")
    await form.get_by_label("Data").fill('{"amount": 9007199254740993}')
    await form.get_by_role("button").click()
    await expect(form).to_have_count(0)
    ended = await user.site.service.until_ended(run["id"])
    assert ended["steps"][0]["result"]["data"] == {"amount": 9007199254740993}


async def test_a_large_run_shows_its_newest_outputs_and_the_result_of_a_step(user: User) -> None:
    run = await user.create(IMAGE, passthrough_step("a/b", text="of one step"))
    await user.site.service.until_ended(run["id"])
    page = await user.context.new_page()

    async def enlarge(route: Route) -> None:
        head = await user.client.get(f"/api/v1/workflows/{run['id']}?include_steps=false")
        await route.fulfill(json=head.json() | {"total_steps": 2_001})

    await page.route(re.compile("include_steps=false"), enlarge)
    async with page.expect_response(re.compile("include_results=false")):
        await page.goto(f"{user.site.url}/ui/workflows/{run['id']}")
    outputs = page.get_by_role("region", name="Newest outputs")
    await expect(outputs.get_by_role("img", name="Output of draw")).to_have_js_property("naturalWidth", 64)
    await page.get_by_role("button", name="a/b Completed").click()
    drawer = page.get_by_role("dialog", name="a/b")
    await expect(drawer.get_by_text("of one step")).to_have_count(2)  # the input and the result
    await expect(drawer.locator(".attempts > li")).to_have_count(1)


async def test_the_drawer_counts_down_to_the_next_attempt(user: User) -> None:
    run = await user.create(FLAKY)
    await user.site.service.until(run["id"], lambda now: now["steps"][0]["next_attempt_at"] is not None)
    page = await user.context.new_page()
    await page.clock.set_fixed_time(datetime.fromisoformat(run["created_at"]) - timedelta(days=2))
    await page.goto(f"{user.site.url}/ui/workflows/{run['id']}?step=flaky")
    drawer = page.get_by_role("dialog", name="flaky")
    await expect(drawer.get_by_role("timer")).to_have_text(re.compile(r"^Next attempt in [\d.]+ (min|s)"))
    await expect(page.locator(".run-facts")).to_have_text(re.compile(r"Duration[\d.]+ (ms|s|min)"))
    await expect(drawer.locator(".attempts")).to_contain_text("told to fail")
    await keep_screenshot(page, "run-drawer-retry")


async def test_the_drawer_opens_after_a_first_read_that_failed_and_one_that_was_refused(user: User) -> None:
    run = await user.create(passthrough_step("only", quality=None), config={"step_defaults": {"*": {"quality": 7}}})
    await user.site.service.until_ended(run["id"])
    page = await user.context.new_page()
    reads = 0

    async def fail_first(route: Route) -> None:
        nonlocal reads
        reads += 1
        if reads == 1:
            await route.abort()
        elif reads == 2:
            await route.fulfill(status=429, headers={"Retry-After": "1"})
        else:
            await route.continue_()

    await page.route(re.compile(rf"/api/v1/workflows/{run['id']}\?"), fail_first)
    await page.goto(f"{user.site.url}/ui/workflows/{run['id']}?step=only")
    await page.get_by_role("button", name="Try again").click()
    await expect(page.get_by_role("dialog", name="only")).to_contain_text("quality7from default of the run")
    user.errors.clear()  # the console reports both


async def test_a_run_that_stands_still_says_why_by_itself(user: User, scripted: ConfiguredProvider) -> None:
    run = await user.create(FLAKY, passthrough_step("last", "flaky"))
    await user.site.service.until(run["id"], lambda now: now["steps"][0]["next_attempt_at"] is not None)
    page = await user.context.new_page()
    opened_at = datetime.fromisoformat(run["created_at"])
    await page.clock.set_fixed_time(opened_at)

    async def without_time(route: Route) -> None:
        response = await route.fetch(headers={**route.request.headers, "sec-fetch-site": "same-origin"})
        headers = {name: value for name, value in response.headers.items() if name != "date"}
        await route.fulfill(response=response, headers=headers)

    # The page counts by its own clock. The service's time, in a read that ends after the jump, would undo the jump.
    await page.route(re.compile(rf"/api/v1/workflows/{run['id']}(\?|$)"), without_time)
    await page.goto(f"{user.site.url}/ui/workflows/{run['id']}")
    await expect(page.get_by_role("button", name="flaky Running")).to_be_visible()
    await expect(page.locator("#stream-state")).to_have_text("Live")
    await page.evaluate(FOLLOW, static_files().url("lib/stream.js"))
    reason = page.get_by_role("region", name="Why isn't it moving?")
    change = {"description": "Something has moved"}
    changed = (await user.client.patch(f"/api/v1/workflows/{run['id']}", json=change)).json()
    await expect(page.locator("body")).to_have_attribute("data-updated", "true")
    await expect(page.get_by_text("Something has moved")).to_be_visible()
    await expect(reason).to_be_hidden()
    await page.clock.set_fixed_time(datetime.fromisoformat(changed["updated_at"]) + timedelta(minutes=1))
    await expect(reason).to_contain_text("The last error: told to fail")
    await expect(reason).not_to_contain_text("Waits for")
    await expect(reason).not_to_contain_text(re.compile(r"\dT\d"))  # times are those of the user's clock
    await expect(reason.get_by_role("timer")).to_be_visible()
    assert await accessibility_faults(page) == []
    await keep_screenshots(page, "run-standstill")
    await reason.get_by_role("button", name="flaky").click()
    await expect(page.get_by_role("dialog", name="flaky")).to_be_visible()
    await page.keyboard.press("Escape")
    await user.client.delete(f"/api/v1/workflows/{run['id']}")
    await expect(page.locator(".run-header .badge")).to_have_text("Cancelled")
    await expect(reason).to_be_hidden()


async def test_steps_are_grouped_by_what_they_wait_for(user: User) -> None:
    page = await user.open("/ui/costs")
    slot = {"code": "waits_for_slot", "limit": "provider", "model": None}
    reasons = [
        slot | {"provider": "FAL", "detail": "FAL is full", "position": 1},
        slot | {"provider": "OPENAI", "detail": "OPENAI is full", "position": 1},
        slot | {"provider": "FAL", "detail": "FAL is full, place 2", "position": 2},
        slot | {"provider": "OPENAI", "detail": "OPENAI is full", "position": 2},
        {"code": "waits_for_steps", "detail": "Waits for a"},
    ]
    steps = [{"step_id": name, "reason": reason} for name, reason in zip("abcde", reasons, strict=True)]
    script = "async ([module, causes]) => (await import(module)).groupedReasons(causes)"
    groups = await page.evaluate(script, [static_files().url("views/run/reasons.js"), steps])
    assert groups == [
        {"reason": reasons[0], "causes": [steps[0], steps[2]], "alike": False},
        {"reason": reasons[1], "causes": [steps[1], steps[3]], "alike": True},
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_view_is_accessible_and_fits_a_narrow_screen(user: User, scheme: str) -> None:
    run = await user.create(
        IMAGE, REFINE, configured_step("broken", breaks=True), configured_step("held", wait=True),
        name="A terrace in the evening", labels={"campaign": "spring"}, description="A short description",
        config={"on_failure": "continue"},
    )  # fmt: skip
    page = await user.open(f"/ui/workflows/{run['id']}")
    await page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    await expect(page.get_by_role("button", name="enlarge Completed")).to_be_visible()
    for width in (NARROW, WIDE):
        await page.set_viewport_size({"width": width, "height": 800})
        assert await page.evaluate("document.documentElement.scrollWidth") == width
        await keep_screenshot(page, f"run-{width}-{scheme}")
    assert await accessibility_faults(page) == []
    await page.get_by_role("button", name="enlarge Completed").click()
    drawer = page.get_by_role("dialog", name="enlarge")
    await expect(drawer.get_by_text("Attempt 1")).to_be_visible()
    for width in (NARROW, WIDE):
        await page.set_viewport_size({"width": width, "height": 800})
        await keep_screenshot(page, f"run-drawer-{width}-{scheme}")
    assert await accessibility_faults(page) == []


async def test_a_run_shows_its_optional_steps_and_why_others_were_skipped(user: User) -> None:
    judge = configured_step("judge", breaks=True) | {"optional": True}
    run = await user.create(
        judge,
        passthrough_step("refine", "judge"),
        passthrough_step("last", "refine") | {"run_if": "all_ended"},
        passthrough_step("unwanted") | {"when": "inputs.wanted"},
    )
    ended = await user.site.service.until_ended(run["id"])
    assert ended["status"] == "COMPLETED"
    page = await user.open(f"/ui/workflows/{run['id']}")
    errors = page.get_by_role("group", name="Errors of optional steps")
    await expect(errors).to_contain_text("Optional steps have failed. The run doesn't need them.")
    await expect(errors.get_by_role("listitem")).to_have_text([ended["errors"][0]])
    steps = page.get_by_role("list", name="Steps").get_by_role("button")
    await expect(steps).to_have_text(["judgeFailed, optional", "refineSkipped", "lastCompleted", "unwantedSkipped"])
    await steps.nth(1).click()
    drawer = page.get_by_role("dialog", name="refine")
    await expect(drawer.get_by_role("region", name="Why it was skipped")).to_have_text(
        "Skipped, because a step before it has failed."
    )
    await page.keyboard.press("Escape")
    await steps.nth(2).click()
    last = page.get_by_role("dialog", name="last")
    await expect(last).to_contain_text("Runs ifAll that it needs have ended, with or without success")
    await page.keyboard.press("Escape")
    await steps.nth(3).click()
    unwanted = page.get_by_role("dialog", name="unwanted")
    await expect(unwanted).to_contain_text("Skipped, because its condition isn't true.")
    await expect(unwanted).to_contain_text("Conditioninputs.wanted")
