"""The view "Runs" in Chromium: what it lists, live, with its filters in the URL."""

import asyncio
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.async_api import Locator, Page, Request, Route, expect

from stepwell.api.routes.list_query import ListQuery
from stepwell.contract.enums import EventType
from stepwell.contract.scopes import Permission
from stepwell.web.static_files import static_files
from support.browser.accessibility import accessibility_faults
from support.browser.pages import Site, User, keep_screenshot, keep_screenshots, signed_in
from support.providers.configured_by_steps import ConfiguredProvider, configured_step, passthrough_step
from support.workflows.sub_workflows import runs

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.extended]

IMAGE = {"id": "draw", "task_type": "GENERATION", "config": {"prompt": "a red square", "width": 64, "height": 64}}


def row(page: Page, name: str) -> Locator:
    return page.get_by_role("row").filter(has=page.get_by_role("link", name=name, exact=True))


async def names(page: Page) -> list[str]:
    return await page.locator(".run-link").all_text_contents()


async def leave_list(page: Page) -> None:
    await page.mouse.move(1, 1)


def list_queries(page: Page) -> list[dict[str, list[str]]]:
    """Return the list that collects the queries of all requests for the list of workflows."""
    found: list[dict[str, list[str]]] = []

    def note(request: Request) -> None:
        url = urlsplit(request.url)
        if url.path == "/api/v1/workflows/":
            found.append(parse_qs(url.query))

    page.on("request", note)
    return found


async def test_a_run_is_listed_with_its_status_progress_labels_duration_and_output(user: User) -> None:
    created = await user.create(IMAGE, name="Red square", labels={"campaign": "spring"})
    await user.site.service.until_ended(created["id"])
    page = await user.open("/ui")
    found = row(page, "Red square")
    await expect(found.get_by_text("Completed")).to_be_visible()
    await expect(found.get_by_role("progressbar", name="1 of 1 steps")).to_be_visible()
    await expect(found.get_by_text("100%")).to_be_visible()
    await expect(found.get_by_role("link", name="campaign:spring")).to_be_visible()
    await expect(found.locator(".run-duration")).to_have_text(re.compile(r"^[\d.]+ (ms|s)$"))
    await expect(found.get_by_role("img", name="Output of Red square")).to_have_js_property("naturalWidth", 64)
    await expect(page.get_by_role("button", name="Completed")).to_contain_text("1")
    await expect(page.get_by_role("button", name="All")).to_contain_text("1")


async def test_the_thumbnail_is_the_first_image_of_the_final_result(user: User) -> None:
    files = configured_step("files", texts={"a.txt": "x"})
    mappings = [
        {"from_step": "files", "from_field": "paths", "to_field": "notes"},
        {"from_step": "draw", "from_field": "result_image_path", "to_field": "picture"},
    ]
    both = passthrough_step("both", "files", "draw") | {"input_mappings": mappings}
    each = runs(IMAGE, IMAGE | {"id": "large"}, step_id="each", for_each={"count": 2}, depends_on=["draw"])
    created = await user.create(IMAGE, each, name="Nested")
    ended = await user.site.service.until_ended(created["id"])
    large = ended["final_step_result"]["items"][0]["final"]["result_image_path"]
    created = await user.create(IMAGE, files, both, name="Mixed")
    ended = await user.site.service.until_ended(created["id"])
    picture = ended["final_step_result"]["picture"]
    page = await user.open("/ui")
    for name, path in (("Nested", large), ("Mixed", picture)):
        image = row(page, name).get_by_role("img", name=f"Output of {name}")
        await expect(image).to_have_attribute("src", f"/api/v1/artifacts/{path}?w=64")


async def test_a_run_shows_up_and_ends_without_a_reload(user: User, scripted: ConfiguredProvider) -> None:
    page = await user.open("/ui")
    await expect(page.get_by_text("There are no runs yet.")).to_be_visible()
    await expect(page.get_by_role("status").filter(has_text="Live")).to_be_visible()
    created = await user.create(configured_step("a"), configured_step("b", "a", wait=True), name="Slow one")
    found = row(page, "Slow one")
    await expect(found.get_by_text("Running")).to_be_visible()
    await expect(found.get_by_text("50%")).to_be_visible()
    scripted.release(created["id"], "b")
    await expect(found.get_by_text("Completed")).to_be_visible()
    await expect(found.get_by_text("100%")).to_be_visible()


# Follows the stream, and says in the page's title that it had an event.
FOLLOW = 'async (module) => { (await import(module)).follow({ onEvents() { document.title = "Changed"; } }) }'


async def test_a_run_that_is_made_while_the_list_is_read_shows_up(user: User) -> None:
    page = await user.context.new_page()
    read, released = asyncio.Event(), asyncio.Event()

    async def hold(route: Route) -> None:
        response = await route.fetch(headers={**route.request.headers, "sec-fetch-site": "same-origin"})
        read.set()  # later responses aren't held
        await released.wait()
        await route.fulfill(response=response)

    await page.route(re.compile(r"/api/v1/workflows/\?"), hold)
    await page.goto(user.site.url + "/ui")
    await read.wait()
    await page.evaluate(FOLLOW, static_files().url("lib/stream.js"))
    await expect(page.get_by_role("status").filter(has_text="Live")).to_be_visible()
    await user.create(configured_step("a"), name="Made meanwhile", start=False)
    await expect(page).to_have_title("Changed")
    released.set()
    await expect(row(page, "Made meanwhile")).to_be_visible()


async def test_a_failed_run_says_why(user: User) -> None:
    await user.create(configured_step("a", breaks=True), name="Broken")
    page = await user.open("/ui")
    await expect(row(page, "Broken").get_by_text("a: told to fail")).to_be_visible()


async def test_a_window_of_800_pixels_shows_twelve_runs_with_their_short_ids(user: User) -> None:
    runs = [await user.create(configured_step("a"), name=f"Run {i}", start=False) for i in range(14)]
    await user.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = await user.open("/ui?limit=13", height=800)
    await expect(page.get_by_role("navigation", name="Pages, above the list")).to_be_visible()
    rows = page.locator(".runs tbody tr")
    await expect(rows).to_have_count(13)
    assert await rows.nth(11).evaluate("(row) => row.getBoundingClientRect().bottom") <= 800
    newest = runs[-1]
    await expect(rows.first).to_contain_text(newest["id"][-8:])
    await rows.first.get_by_role("button", name=f"Copy the id of {newest['name']}").click()
    await expect(page.locator("#announcer")).to_have_text("Copied")
    assert await page.evaluate("navigator.clipboard.readText()") == newest["id"]


async def test_a_row_shortens_the_id_of_a_sub_workflow_in_its_error(user: User) -> None:
    child = {"name": "child", "steps": [configured_step("inner", breaks="no credit left")]}
    run = await user.create({"id": "sub", "task_type": "SUBWORKFLOW", "config": {"workflow": child}}, name="Above")
    await user.site.service.until_ended(run["id"])
    page = await user.open("/ui")
    error = re.compile(r"^\s*sub: the sub-workflow [0-9a-f]{8} has FAILED: inner: no credit left\s*$")
    await expect(row(page, "Above").locator(".run-error")).to_have_text(error)


async def test_no_row_moves_while_the_pointer_is_on_the_list(user: User) -> None:
    await user.create(configured_step("a"), name="First", start=False)
    page = await user.open("/ui")
    await row(page, "First").hover()
    await user.create(configured_step("a"), name="Second", start=False)
    button = page.get_by_role("button", name="1 new run")
    await expect(button).to_be_visible()
    assert await names(page) == ["First"]
    await leave_list(page)
    await expect(page.locator(".run-link")).to_have_text(["Second", "First"])
    await expect(button).to_be_hidden()


async def test_a_run_that_leaves_the_filter_stays_as_long_as_the_pointer_is_on_the_list(
    user: User, scripted: ConfiguredProvider
) -> None:
    created = await user.create(configured_step("a", wait=True), name="Leaving")
    await user.site.service.until(created["id"], lambda workflow: workflow["status"] == "RUNNING")
    page = await user.open("/ui?status=RUNNING")
    await row(page, "Leaving").hover()
    scripted.release(created["id"], "a")
    await expect(row(page, "Leaving").get_by_text("Completed")).to_be_visible()
    await leave_list(page)
    await expect(page.get_by_text("No run matches these filters.")).to_be_visible()


async def test_filters_are_in_the_url_and_the_back_button_undoes_them(user: User) -> None:
    for name, team in (("Apple", "fruit"), ("Apricot", "fruit"), ("Bean", "greens")):
        await user.create(configured_step("a"), name=name, labels={"team": team}, start=False)
    page = await user.open("/ui")
    links = page.locator(".run-link")
    await expect(links).to_have_text(["Bean", "Apricot", "Apple"])
    await row(page, "Apple").get_by_role("link", name="team:fruit").click()
    await expect(links).to_have_text(["Apricot", "Apple"])
    await expect(page).to_have_url(re.compile(r"/ui\?label=team:fruit$"))
    await page.get_by_role("searchbox", name="Name begins with").fill("apri")
    await expect(links).to_have_text(["Apricot"])
    await expect(page).to_have_url(re.compile(r"/ui\?label=team:fruit&name=apri$"))
    await page.get_by_role("button", name="Pending").click()
    await expect(page).to_have_url(re.compile(r"/ui\?status=PENDING&label=team:fruit&name=apri$"))
    await expect(page.get_by_role("button", name="Pending")).to_have_attribute("aria-pressed", "true")
    await page.get_by_role("button", name="Failed").click()
    await expect(page).to_have_url(re.compile(r"/ui\?status=PENDING,FAILED&label=team:fruit&name=apri$"))
    await page.reload()
    await expect(links).to_have_text(["Apricot"])
    await expect(page.get_by_role("searchbox", name="Name begins with")).to_have_value("apri")
    await page.go_back()
    await page.go_back()
    await expect(page.get_by_role("button", name="Pending")).to_have_attribute("aria-pressed", "false")
    await page.go_back()
    await expect(links).to_have_text(["Bean", "Apricot", "Apple"])
    await expect(page).to_have_url(user.site.url + "/ui")
    await page.go_forward()
    await page.get_by_role("button", name="Remove the filter Label: team:fruit").click()
    await expect(page).to_have_url(re.compile(r"/ui\?name=apri$"))


async def test_a_status_that_is_pressed_right_after_typing_keeps_the_text(user: User) -> None:
    page = await user.open("/ui")
    await page.evaluate("""() => {
      const input = document.querySelector("input[name=name]");
      input.value = "apri";
      input.dispatchEvent(new Event("input", { bubbles: true }));
      document.querySelector("a.status-pending").click();
    }""")
    await expect(page).to_have_url(re.compile(r"/ui\?status=PENDING&name=apri$"))


async def test_the_form_sets_every_other_filter(user: User) -> None:
    await user.create(configured_step("a"), name="Here", origin_reference="order 1", origin_zone="eu", start=False)
    await user.create(configured_step("a"), name="There", start=False)
    page = await user.open("/ui")
    await page.get_by_role("button", name="Filters").click()
    await page.get_by_role("textbox", name="Reference").fill("order 1")
    await page.get_by_role("textbox", name="Zone").fill("eu")
    await page.get_by_role("textbox", name="Instance").fill("tests")
    await page.get_by_label("Created after").fill("2026-01-01T00:00:00")
    await page.get_by_role("textbox", name="Label").fill("no colon")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("textbox", name="Label")).to_have_attribute("aria-invalid", "true")
    await expect(page.locator(".run-link")).to_have_text(["Here"])
    await page.get_by_role("combobox", name="Order").select_option("Oldest first")
    await page.get_by_role("checkbox", name="With deleted runs").check()
    expected = {
        "origin_instance": ["tests"],
        "origin_reference": ["order 1"],
        "origin_zone": ["eu"],
        "include_deleted": ["true"],
        "order": ["created_at"],
    }
    await expect(page).to_have_url(re.compile("order=created_at"))
    query = parse_qs(urlsplit(page.url).query)
    assert re.fullmatch(r"202[56]-\d\d-\d\dT\d\d:\d\d:00Z", query.pop("created_after")[0])
    assert query == expected
    await page.get_by_role("button", name="Clear filters").click()
    await expect(page.locator(".run-link")).to_have_text(["Here", "There"])  # the order is no filter


async def test_a_run_says_what_it_waits_for_and_is_found_by_that(user: User) -> None:
    approval = {"id": "pick", "task_type": "APPROVAL", "config": {"message": "Which one?"}}
    signal = {"id": "paid", "task_type": "SIGNAL", "config": {}}
    await user.create(signal, name="For a signal")
    await user.create(configured_step("a"), name="Created", start=False)
    child = {"name": "child", "steps": [approval, signal]}
    await user.create({"id": "sub", "task_type": "SUBWORKFLOW", "config": {"workflow": child}}, name="Below")
    page = await user.open("/ui")
    await expect(row(page, "Below").locator(".run-status")).to_contain_text("Waits for a decision")
    await expect(row(page, "Below").get_by_text("Running")).to_be_visible()
    await expect(row(page, "For a signal").locator(".run-status")).to_contain_text("Waits for a signal")
    await expect(row(page, "Created").get_by_text("Waits for")).to_have_count(0)
    await keep_screenshots(page, "runs-waits")
    await page.get_by_role("button", name="Filters").click()
    await page.get_by_role("combobox", name="Waits for").select_option("Waits for a decision")
    await expect(page.locator(".run-link")).to_have_text(["Below"])
    await expect(page).to_have_url(re.compile(r"/ui\?waits_for=decision$"))
    await expect(page.get_by_role("button", name="All")).to_contain_text("1")


async def test_the_url_has_every_filter_and_order_of_the_api(user: User) -> None:
    page = await user.open("/ui")
    query = {
        "status": "PENDING,FAILED",
        "label": "a:b",
        "name": "n",
        "definition": "d@1",
        "origin_instance": "i",
        "origin_reference": "r",
        "origin_tenant_id": "t",
        "origin_zone": "z",
        "waits_for": "decision",
        "created_after": "2026-01-01T00:00:00Z",
        "created_before": "2026-02-01T00:00:00Z",
        "include_deleted": "true",
        "include_children": "true",
        "order": "created_at",
        "limit": "25",
        "cursor": "c",
    }
    # The view decides which parts of a workflow it reads, and pages by cursors.
    assert query.keys() | {"include_results", "include_steps", "total", "skip"} == set(ListQuery.__struct_fields__)
    module = static_files().url("views/runs/query.js")
    script = "async ([module, query]) => { const m = await import(module); return m.writeQuery(m.readQuery(query)) }"
    kept = await page.evaluate(script, [module, "?" + "&".join(f"{name}={value}" for name, value in query.items())])
    assert {name: values[0] for name, values in parse_qs(kept.removeprefix("?")).items()} == query


async def test_pages_are_read_by_cursors_and_the_total_is_never_requested(user: User) -> None:
    for i in range(5):
        await user.create(configured_step("a"), name=f"Run {i}", start=False)
    page = await user.context.new_page()
    queries = list_queries(page)
    await page.goto(user.site.url + "/ui?limit=2")
    links, paging = page.locator(".run-link"), page.get_by_role("navigation", name="Pages, above the list")
    await expect(links).to_have_text(["Run 4", "Run 3"])
    await paging.get_by_role("link", name="Next").click()
    await expect(links).to_have_text(["Run 2", "Run 1"])
    await paging.get_by_role("link", name="Next").click()
    await expect(links).to_have_text(["Run 0"])
    await expect(paging).to_contain_text("Page 3")
    await expect(paging.get_by_role("link", name="Next")).to_be_hidden()
    await paging.get_by_role("link", name="Previous").click()
    await expect(links).to_have_text(["Run 2", "Run 1"])
    await page.reload()
    await expect(links).to_have_text(["Run 2", "Run 1"])
    await paging.get_by_role("link", name="First page").click()
    await expect(links).to_have_text(["Run 4", "Run 3"])
    assert queries
    assert all(query["total"] == ["false"] and query["include_steps"] == ["false"] for query in queries)
    assert all("skip" not in query for query in queries)


async def test_a_filter_that_the_service_refuses_is_explained(user: User) -> None:
    page = await user.open("/ui?label=wrong")
    await expect(page.get_by_role("alert")).to_contain_text("label Expected key:value")
    await keep_screenshots(page, "runs-error")
    await page.get_by_role("button", name="Clear filters").click()
    await expect(page.get_by_text("There are no runs yet.")).to_be_visible()
    await expect(page.get_by_role("alert")).to_be_hidden()
    await page.close()
    assert [error for error in user.errors if "422" not in error] == []
    user.errors.clear()


async def test_who_may_only_read_gets_no_buttons_that_change_something(site: Site) -> None:
    async with signed_in(site, permissions=(Permission.READ,)) as reader:
        page = await reader.open("/ui")
        await expect(page.get_by_text("Runs show up here once somebody makes one.")).to_be_visible()
        await expect(page.get_by_role("main").get_by_role("link", name="New run")).to_be_hidden()
        async with site.service.as_tenant(reader.tenant) as writer:
            body = {"name": "Readable", "origin_instance": "tests", "steps": [configured_step("a")]}
            await writer.post("/api/v1/workflows/?start=false", json=body)
        await expect(row(page, "Readable")).to_be_visible()
        await expect(page.get_by_role("checkbox", name=re.compile("^Select"))).to_have_count(0)


def box(page: Page, name: str) -> Locator:
    return page.get_by_role("checkbox", name=f"Select {name}", exact=True)


def selected(page: Page) -> Locator:
    return page.get_by_role("region", name="Selected runs")


async def test_a_keyboard_selects_runs_and_one_confirmation_pauses_them(user: User) -> None:
    runs = [await user.create(configured_step("a", wait=True), name=f"Run {i}") for i in range(3)]
    for run in runs:
        await user.site.service.until(run["id"], lambda now: now["status"] == "RUNNING")
    await user.create(configured_step("a"), name="Created", start=False)
    page = await user.open("/ui")
    await box(page, "Created").focus()
    await page.keyboard.press(" ")
    for _ in range(2):
        await page.keyboard.press("ArrowDown")
        await page.keyboard.press(" ")
    await expect(box(page, "Run 1")).to_be_focused()
    await expect(selected(page)).to_contain_text("3 runs selected")
    assert await accessibility_faults(page) == []
    await keep_screenshots(page, "runs-selected")
    await page.keyboard.press("Enter")
    await expect(selected(page).get_by_role("button", name="Start 1")).to_be_focused()
    await expect(selected(page).get_by_role("button", name="Cancel", exact=True)).to_be_visible()
    await selected(page).get_by_role("button", name="Pause 2").press("Enter")
    dialog = page.get_by_role("dialog", name="Pause 2 runs?")
    await expect(dialog.get_by_role("listitem")).to_have_text(["Run 2", "Run 1"])
    await expect(dialog).to_contain_text("1 other selected run can't be paused, and stays as it is.")
    await expect(dialog.get_by_role("button", name="Don't pause")).to_be_focused()
    await dialog.get_by_role("button", name="Pause 2 runs").press("Enter")
    await expect(selected(page)).to_contain_text("2 runs are paused")
    await expect(selected(page)).to_contain_text("1 run selected")
    for name, status in (("Run 2", "Paused"), ("Run 1", "Paused"), ("Run 0", "Running"), ("Created", "Pending")):
        await expect(row(page, name).get_by_text(status)).to_be_visible()
    await selected(page).get_by_role("button", name="Close the report").click()
    await selected(page).get_by_role("button", name="Clear").click()
    await expect(selected(page)).to_have_count(0)
    await expect(box(page, "Created")).not_to_be_checked()


async def test_runs_whose_verb_fails_stay_selected_and_say_why(user: User) -> None:
    runs = {name: await user.create(configured_step("a"), name=name, start=False) for name in ("Early", "Late", "Gone")}
    page = await user.open("/ui")
    await page.get_by_role("checkbox", name="Select all runs of the page").check()
    await expect(selected(page)).to_contain_text("3 runs selected")
    await selected(page).get_by_role("button", name="Cancel").click()
    dialog = page.get_by_role("dialog", name="Cancel 3 runs?")
    await expect(dialog).to_be_visible()
    assert (await user.client.delete(f"/api/v1/workflows/{runs['Gone']['id']}")).status_code == 200
    await dialog.get_by_role("button", name="Cancel 3 runs").click()
    await expect(selected(page)).to_contain_text("2 runs are cancelled, 1 is not")
    failure = selected(page).get_by_role("listitem")
    await expect(failure).to_have_text(re.compile("Gone:.*CANCELLED", re.DOTALL))
    await expect(failure.get_by_role("link", name="Gone")).to_have_attribute("href", re.compile(runs["Gone"]["id"]))
    await expect(box(page, "Gone")).to_be_checked()
    await expect(box(page, "Early")).not_to_be_checked()
    assert await accessibility_faults(page) == []
    user.errors.clear()  # the console reports the 409


async def test_at_most_four_verbs_are_under_way(user: User) -> None:
    for i in range(6):
        await user.create(configured_step("a"), name=f"Run {i}", start=False)
    page = await user.open("/ui")
    under_way, most, four = 0, 0, asyncio.Event()

    async def hold(route: Route) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        if under_way == 4:
            four.set()
        await four.wait()
        response = await route.fetch(headers={**route.request.headers, "sec-fetch-site": "same-origin"})
        under_way -= 1
        await route.fulfill(response=response)

    await page.route("**/start", hold)
    await page.get_by_role("checkbox", name="Select all runs of the page").check()
    await selected(page).get_by_role("button", name="Start").click()
    await page.get_by_role("button", name="Start 6 runs").click()
    await expect(selected(page)).to_contain_text("6 runs are started")
    assert most == 4


async def test_selected_runs_keep_their_position_while_others_are_made(user: User) -> None:
    await user.create(configured_step("a"), name="First", start=False)
    page = await user.open("/ui")
    await box(page, "First").check()
    await leave_list(page)
    await page.get_by_role("heading", name="Runs").click()
    await user.create(configured_step("a"), name="Second", start=False)
    await expect(page.get_by_role("button", name="1 new run")).to_be_visible()
    assert await names(page) == ["First"]
    await selected(page).get_by_role("button", name="Clear").click()


async def test_a_keyboard_moves_between_runs_and_opens_one(user: User) -> None:
    await user.create(configured_step("a"), name="Older", start=False)
    created = await user.create(configured_step("a"), name="Newer", start=False)
    page = await user.open("/ui")
    await page.get_by_role("link", name="Newer", exact=True).focus()
    await page.keyboard.press("ArrowDown")
    await expect(page.get_by_role("link", name="Older", exact=True)).to_be_focused()
    await page.keyboard.press("ArrowUp")
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(f"{user.site.url}/ui/workflows/{created['id']}")


async def test_markup_in_names_and_labels_is_text(user: User) -> None:
    hostile = '<img src=x onerror="document.title=1"><script>document.title=2</script>'
    await user.create(configured_step("a", breaks=True), name=hostile, labels={"a": hostile})
    page = await user.open("/ui")
    await expect(page.get_by_role("link", name=hostile, exact=True)).to_be_visible()
    await expect(page.get_by_role("link", name=f"a:{hostile}")).to_be_visible()
    await expect(page).to_have_title("Runs · Stepwell")


async def test_the_list_is_accessible_and_fits_a_narrow_screen_in_both_themes(user: User) -> None:
    drawn = await user.create(IMAGE, name="A square of red silk on a stone terrace", labels={"campaign": "spring"})
    await user.create(configured_step("a", breaks=True), name="Broken", labels={"team": "a team with a long name"})
    await user.create(configured_step("a", wait=True), configured_step("b", "a"), name="Waiting")
    await user.site.service.until_ended(drawn["id"])
    page = await user.open("/ui", width=360)
    await expect(page.locator(".run-link")).to_have_count(3)
    await expect(row(page, "Broken").get_by_text("Failed")).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth") == 360
    for scheme in ("light", "dark"):
        await page.emulate_media(color_scheme=scheme)
        for width in (360, 1280):
            await page.set_viewport_size({"width": width, "height": 800})
            await keep_screenshot(page, f"runs-{width}-{scheme}")
        assert await accessibility_faults(page) == []


async def test_the_form_of_the_filters_is_accessible(user: User) -> None:
    page = await user.open("/ui?label=a:b&status=FAILED&created_after=2026-01-01T00:00:00Z", width=360)
    await page.get_by_role("button", name="Filters 2").click()
    await expect(page.get_by_role("textbox", name="Created after")).to_be_visible()
    await keep_screenshot(page, "runs-filters-360")
    assert await page.evaluate("document.documentElement.scrollWidth") == 360
    assert await accessibility_faults(page) == []


async def test_the_page_knows_every_type_of_event(user: User) -> None:
    page = await user.open("/ui")
    types: list[Any] = await page.evaluate(
        "async (module) => (await import(module)).EVENT_TYPES", static_files().url("lib/stream_hub.js")
    )
    assert set(types) == set(EventType)
