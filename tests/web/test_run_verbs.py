"""The buttons of a run in Chromium: each shows its dry run before it does anything."""

import asyncio
import re
from typing import Any
from uuid import uuid4

import pytest
from playwright.async_api import Locator, Page, Request, Route, expect

from stepwell.contract.scopes import Permission
from stepwell.web.static_files import static_files
from support.browser.accessibility import accessibility_faults
from support.browser.pages import Site, User, keep_screenshots, signed_in
from support.providers.configured_by_steps import ConfiguredProvider, configured_step, passthrough_step, views_are
from support.providers.scripted import eventually

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.extended]

CHANGED = "The run has changed meanwhile, so nothing was done."


def buttons(page: Page) -> Locator:
    return page.get_by_role("group", name="Actions").get_by_role("button")


async def press(page: Page, verb: str) -> Locator:
    """Press the button of *verb*, and return its dialog once it shows the dry run."""
    await page.get_by_role("group", name="Actions").get_by_role("button", name=verb, exact=True).click()
    dialog = page.get_by_role("dialog")
    await expect(dialog.locator(".verb-effects")).to_be_visible()
    return dialog


def requests_under_way(page: Page) -> set[Request]:
    """Return the set of the requests of *page* to the API that have no complete response yet. It changes with them."""
    requests: set[Request] = set()

    def end(request: Request) -> None:
        requests.discard(request)

    page.on("request", lambda request: requests.add(request) if "/api/v1/" in request.url else None)
    page.on("requestfinished", end)
    page.on("requestfailed", end)
    return requests


async def change(user: User, run: dict[str, Any]) -> None:
    """Give the run another version."""
    body = {"description": f"changed {uuid4()}"}
    assert (await user.client.patch(f"/api/v1/workflows/{run['id']}", json=body)).status_code == 200


async def test_resume_says_what_runs_again_and_what_is_kept(user: User) -> None:
    run = await user.create(
        passthrough_step("kept"), configured_step("broken", "kept", breaks=True), passthrough_step("last", "broken")
    )
    await user.site.service.until_ended(run["id"])
    page = await user.open(f"/ui/workflows/{run['id']}")
    await expect(buttons(page)).to_have_text(["Resume", "Clean up", "Delete data"])
    dialog = await press(page, "Resume")
    await expect(dialog.get_by_role("listitem")).to_have_text(
        ["1 step runs againbroken", "1 step runslast", "1 result is keptkept", "The run becomes Running"]
    )
    await expect(dialog.get_by_role("button", name="Resume", exact=True)).to_be_focused()
    await keep_screenshots(page, "run-resume")
    await page.keyboard.press("Escape")
    await expect(dialog).to_be_hidden()
    await expect(buttons(page).first).to_be_focused()
    assert (await user.client.get(f"/api/v1/workflows/{run['id']}")).json()["status"] == "FAILED"


async def test_a_run_is_started_paused_and_cancelled(user: User, scripted: ConfiguredProvider) -> None:
    run = await user.create(
        configured_step("held", wait=True),
        passthrough_step("last", "held"),
        configured_step("judge", breaks=True) | {"optional": True},
        passthrough_step("mark", "judge"),
        start=False,
    )
    page = await user.open(f"/ui/workflows/{run['id']}")
    status = page.locator(".run-header .badge")
    await expect(buttons(page)).to_have_text(["Start", "Cancel", "Clean up", "Delete data"])
    dialog = await press(page, "Start")
    await expect(dialog.get_by_role("listitem").first).to_have_text("4 steps runheld, judge, last and 1 more")
    await dialog.get_by_role("button", name="Start", exact=True).click()
    await expect(status).to_have_text("Running")
    await expect(page.get_by_role("button", name="held Running")).to_be_visible()
    await expect(page.get_by_role("button", name="mark Skipped")).to_be_visible()
    dialog = await press(page, "Pause")
    await expect(dialog.get_by_role("listitem").first).to_have_text(
        "1 step goes on to its end, and nothing new startsheld"
    )
    await change(user, run)  # nobody is kept from stopping a busy run
    await dialog.get_by_role("button", name="Pause", exact=True).click()
    await expect(status).to_have_text("Paused")
    dialog = await press(page, "Resume")
    stays = dialog.get_by_role("listitem").filter(has_text="stays")
    await expect(stays).to_have_text(["1 step stays skippedmark", "1 step that is optional stays failedjudge"])
    await dialog.get_by_role("button", name="Resume", exact=True).click()
    await expect(status).to_have_text("Running")
    dialog = await press(page, "Cancel")
    await expect(dialog.get_by_role("listitem").first).to_have_text("4 steps are cancelledheld, last, judge and 1 more")
    await change(user, run)
    await dialog.get_by_role("button", name="Cancel the run").click()
    await expect(status).to_have_text("Cancelled")


async def test_the_button_that_is_needed_comes_first(user: User) -> None:
    approval = {"id": "pick", "task_type": "APPROVAL", "config": {"message": "Which one?"}}
    run = await user.create({"id": "paid", "task_type": "SIGNAL", "config": {}}, approval, start=False)
    page = await user.open(f"/ui/workflows/{run['id']}")
    first = page.get_by_role("group", name="Actions").locator(".button").first
    await expect(first).to_have_text("Start")
    await user.site.service.verb(run["id"], "start")
    await expect(first).to_have_text("Decide…")
    await expect(first).to_have_class(re.compile("button-primary"))
    await user.site.service.verb(run["id"], "pause")
    await expect(first).to_have_text("Resume")
    await user.site.service.verb(run["id"], "resume")
    await expect(first).to_have_text("Decide…")
    await first.click()
    await page.get_by_role("dialog", name="pick").get_by_role("button", name="reject").click()
    await page.keyboard.press("Escape")
    await expect(page.locator(".run-header .badge")).to_have_text("Failed")
    await expect(first).to_have_text("Resume")
    await expect(buttons(page).filter(has_text="Decide")).to_have_count(0)


async def test_after_a_change_the_new_dry_run_is_shown_and_nothing_happens(user: User) -> None:
    run = await user.create(passthrough_step("only"), start=False)
    page = await user.open(f"/ui/workflows/{run['id']}")
    dialog = await press(page, "Start")
    await change(user, run)
    await dialog.get_by_role("button", name="Start", exact=True).click()
    await expect(dialog.get_by_text(CHANGED)).to_be_visible()
    await expect(dialog.get_by_role("listitem").first).to_have_text("1 step runsonly")
    user.errors.clear()  # the console reports the 412
    assert (await user.client.get(f"/api/v1/workflows/{run['id']}")).json()["status"] == "PENDING"
    await dialog.get_by_role("button", name="Start", exact=True).click()
    await expect(page.locator(".run-header .badge")).to_have_text("Completed")


async def test_a_run_that_has_changed_is_neither_resumed_nor_cleaned_up(user: User) -> None:
    run = await user.create(configured_step("broken", breaks=True))
    await user.site.service.until_ended(run["id"])
    page = await user.open(f"/ui/workflows/{run['id']}")
    for verb in ("Resume", "Clean up"):
        dialog = await press(page, verb)
        await change(user, run)
        await dialog.get_by_role("button", name=verb, exact=True).click()
        await expect(dialog.get_by_text(CHANGED)).to_be_visible()
        await expect(dialog.locator(".verb-effects")).to_be_visible()
        assert await accessibility_faults(page) == []
        await page.keyboard.press("Escape")
    user.errors.clear()  # the console reports the 412s
    found = (await user.client.get(f"/api/v1/workflows/{run['id']}")).json()
    assert (found["status"], found["is_deleted"]) == ("FAILED", False)


async def test_a_response_does_not_close_a_dialog_that_was_opened_after_its_request(user: User) -> None:
    run = await user.create(configured_step("held", wait=True))
    page = await user.open(f"/ui/workflows/{run['id']}")
    responded = asyncio.Event()

    async def hold(route: Route) -> None:
        await responded.wait()
        await route.continue_()

    await page.route("**/pause", hold)  # the dry run has a query
    dialog = await press(page, "Pause")
    await dialog.get_by_role("button", name="Pause", exact=True).click()
    await expect(dialog.get_by_role("button", name="Working…")).to_be_visible()
    await page.keyboard.press("Escape")
    dialog = await press(page, "Cancel")
    responded.set()
    await expect(page.locator(".run-header .badge")).to_have_text("Paused")
    await expect(dialog.get_by_role("heading")).to_have_text("Cancel this run?")
    await expect(dialog.get_by_role("button", name="Cancel the run")).to_be_enabled()


async def test_without_a_version_of_the_run_nothing_is_sent(user: User) -> None:
    run = await user.create(passthrough_step("only"), start=False)
    page = await user.open(f"/ui/workflows/{run['id']}")

    async def without_etag(route: Route) -> None:
        response = await route.fetch()
        headers = {name: value for name, value in response.headers.items() if name != "etag"}
        await route.fulfill(response=response, headers=headers)

    await page.route("**/start?dry_run=true", without_etag)
    dialog = await press(page, "Start")
    await dialog.get_by_role("button", name="Start", exact=True).click()
    await expect(dialog.get_by_role("alert")).to_contain_text("has no ETag")
    assert (await user.client.get(f"/api/v1/workflows/{run['id']}")).json()["status"] == "PENDING"


async def test_files_are_cleaned_up_and_data_deleted_after_they_were_counted(user: User) -> None:
    run = await user.create(configured_step("files", files=2))
    await user.site.service.until(run["id"], views_are(status="COMPLETED"))
    page = await user.open(f"/ui/workflows/{run['id']}")
    requests = requests_under_way(page)
    dialog = await press(page, "Delete data")
    await expect(dialog.get_by_role("listitem")).to_contain_text(
        ["1 attempt", "2 files are deleted", "Nobody can undo"]
    )
    await expect(dialog.get_by_role("button", name="Don't delete data")).to_be_focused()
    await page.keyboard.press("Enter")
    dialog = await press(page, "Clean up")
    await expect(dialog.get_by_role("listitem").first).to_have_text("2 files are deleted")
    await dialog.get_by_role("button", name="Clean up", exact=True).click()
    await expect(page.locator(".run-header").get_by_text("Cleaned up")).to_be_visible()
    await expect(buttons(page)).to_have_text(["Delete data"])
    dialog = await press(page, "Delete data")
    await dialog.get_by_role("button", name="Delete for good").click()
    await expect(page.get_by_text("The data of this run are deleted.")).to_be_visible()
    await eventually(lambda: not requests, "the reads that were under way")
    user.errors.clear()  # the console reports the 404 of such a read
    assert (await user.client.get(f"/api/v1/workflows/{run['id']}")).status_code == 404


async def test_a_tab_that_arrives_after_the_data_were_deleted_reports_no_error(user: User) -> None:
    run = await user.create(configured_step("only"))
    await user.site.service.until(run["id"], views_are(status="COMPLETED"))
    page = await user.context.new_page()
    requests = requests_under_way(page)
    held: asyncio.Future[Route] = asyncio.get_running_loop().create_future()

    async def hold(route: Route) -> None:
        held.set_result(route)

    await page.route("**/views/run/graph.js", hold)
    await page.goto(f"{user.site.url}/ui/workflows/{run['id']}")
    graph = await held
    dialog = await press(page, "Delete data")
    await dialog.get_by_role("button", name="Delete for good").click()
    await expect(page.get_by_text("The data of this run are deleted.")).to_be_visible()
    await eventually(lambda: not requests, "the reads that were under way")
    user.errors.clear()  # the console reports the 404 of such a read
    await graph.continue_()
    await page.evaluate("async (url) => { await import(url); }", graph.request.url)
    assert user.errors == []


async def test_who_may_only_read_sees_no_buttons(site: Site, user: User) -> None:
    run = await user.create(passthrough_step("only"), start=False)
    async with signed_in(site, tenant=user.tenant, permissions=(Permission.READ,)) as reader:
        page = await reader.open(f"/ui/workflows/{run['id']}")
        await expect(page.get_by_role("button", name="only Pending")).to_be_visible()
        await expect(page.get_by_role("button", name=re.compile("Start|Cancel|Clean|Delete"))).to_have_count(0)


async def test_the_words_count_steps_results_jobs_and_files(user: User) -> None:
    page = await user.open("/ui/costs")
    words = """async ([module, dry]) => (await import(module)).sentencesOf(dry).map((each) => each.text)"""
    module = static_files().url("views/run/verb_words.js")
    members = ["would_run", "would_run_later", "running", "kept", "reset", "cancelled", "files_to_delete", "files_kept"]
    nothing: dict[str, Any] = {name: [] for name in members}
    jobs = [{"step_id": name, "provider": "FAL", "remote_id": None} for name in "xy"]
    statuses = {"status_now": "RUNNING", "status_after": "CANCELLED"}
    cancel = nothing | statuses | {"verb": "cancel", "cancelled": ["x", "y"], "remote_jobs_to_cancel": jobs}
    assert await page.evaluate(words, [module, cancel]) == [
        "2 steps are cancelled",
        "2 jobs are cancelled at FAL",
        "The run becomes Cancelled",
    ]
    existing = {"step_id": "x", "item": None, "workflow_id": "w"}
    below = {**cancel, "sub_workflows": [existing | {"dry_run": cancel}], "sub_workflows_left_out": 3}
    above = {**cancel, "cancelled": ["s"], "remote_jobs_to_cancel": []}
    assert await page.evaluate(words, [module, above | {"sub_workflows": [existing | {"dry_run": below}]}]) == [
        "1 step is cancelled",
        "2 sub-workflows are cancelled",
        "3 more sub-workflows are not examined",
        "4 jobs are cancelled at FAL",
        "The run becomes Cancelled",
    ]
    resume = nothing | {"status_now": "FAILED", "status_after": "RUNNING", "verb": "resume"}
    resume |= {"reset": ["a", "b", "c"], "would_run": ["a"], "would_run_later": ["b", "c", "d"], "kept": ["k", "l"]}
    resume |= {"may_run": ["c", "m"], "still_skipped": ["s"], "still_failed": ["f", "g"]}
    resume |= {
        "sub_workflows": [{"step_id": "b", "item": None, "workflow_id": None, "dry_run": cancel | {"verb": "start"}}]
    }
    resume["sub_workflows"][0]["dry_run"]["remote_jobs_to_cancel"] = []
    assert await page.evaluate(words, [module, resume | {"remote_jobs_to_cancel": jobs[:1]}]) == [
        "2 steps run again",
        "1 step runs",
        "2 steps run if a condition is true",
        "1 step creates a sub-workflow",
        "1 job is cancelled at FAL",
        "1 step stays skipped",
        "2 steps that are optional stay failed",
        "2 results are kept",
        "The run becomes Running",
    ]
