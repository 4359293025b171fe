"""The tab "Timeline" of a run, and the computation behind it."""

from typing import Any

import pytest
from playwright.async_api import expect

from stepwell.web.static_files import static_files
from support.browser.accessibility import accessibility_faults
from support.browser.pages import NARROW, User, keep_screenshots
from support.providers.configured_by_steps import ConfiguredProvider, configured_step

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.extended]


def at(second: float | None) -> str | None:
    """The time that many seconds after noon."""
    return None if second is None else f"2026-11-27T12:00:{second:06.3f}Z"


def step(
    step_id: str, *needed: str, status: str = "COMPLETED", end: float | None = None, **members: Any
) -> dict[str, Any]:
    return {
        "step_id": step_id,
        "dependencies": needed,
        "status": status,
        "completed_at": at(end),
        "next_attempt_at": None,
    } | members


def task(
    step_id: str,
    start: float,
    end: float | None,
    *,
    sent: float | None = None,
    status: str = "COMPLETED",
    item: int | None = None,
) -> dict[str, Any]:
    times = {"started_at": at(start), "sent_at": at(sent), "completed_at": at(end), "created_at": at(start)}
    return {"step_id": step_id, "status": status, "item": item, **times}


async def timeline_of(
    user: User, run: dict[str, Any], tasks: list[dict[str, Any]], now: float, events: tuple[dict[str, Any], ...] = ()
) -> dict[str, Any]:
    """Return what the module computes, with its times in seconds after noon, and only the kinds that are there."""
    page = await user.open("/ui")
    script = """async ({url, run, tasks, events, now}) => {
        const { timelineOf } = await import(url);
        const noon = Date.parse("2026-11-27T12:00:00Z");
        const { rows, critical } = timelineOf(run, tasks, events, Date.parse(now));
        critical.ms = Object.fromEntries(Object.entries(critical.ms).filter(([, ms]) => ms));
        const inSeconds = ({kind, start, end, failed}) => [kind, (start - noon) / 1000, (end - noon) / 1000, failed];
        const stacked = (bar) => [...inSeconds(bar), bar.bottom, bar.height];
        return {rows: rows.map((row) => [row.stepId, row.segments.map(inSeconds)]), critical,
            bars: rows.map((row) => row.bars.map(stacked)), retries: rows.map((row) => row.retries)};
    }"""
    url = static_files().url("views/run/timeline_model.js")
    found: dict[str, Any] = await page.evaluate(
        script, {"url": url, "run": run, "tasks": tasks, "events": events, "now": at(now)}
    )
    return found


async def test_an_attempt_waits_works_and_is_at_its_provider_and_a_failed_one_is_tried_again(user: User) -> None:
    run = {"status": "COMPLETED", "started_at": at(0), "completed_at": at(9), "steps": [step("a", end=9)]}
    tasks = [task("a", 1, 3, sent=2, status="FAILED"), task("a", 5, 9, sent=5)]
    found = await timeline_of(user, run, tasks, now=30)
    assert found["rows"] == [
        [
            "a",
            [
                ["queue", 0, 1, False],
                ["work", 1, 2, False],
                ["provider", 2, 3, True],
                ["retry", 3, 5, False],
                ["provider", 5, 9, False],
            ],
        ]
    ]
    assert found["critical"] == {
        "steps": ["a"],
        "totalMs": 9000,
        "ms": {"queue": 1000, "work": 1000, "provider": 5000, "retry": 2000},
    }


async def test_the_critical_path_leads_through_the_dependencies_that_ended_last(user: User) -> None:
    steps = [step("slow", end=5), step("fast", end=2), step("join", "fast", "slow", end=7), step("end", "join", end=7)]
    run = {"status": "COMPLETED", "started_at": at(0), "completed_at": at(7), "steps": steps}
    tasks = [task("slow", 0, 5), task("fast", 0, 2), task("join", 6, 7), task("end", 7, 7)]
    found = await timeline_of(user, run, tasks, now=30)
    assert found["critical"]["steps"] == ["slow", "join", "end"]
    assert found["critical"]["totalMs"] == 7000
    assert found["critical"]["ms"] == {"queue": 1000, "work": 6000}


async def test_what_still_goes_on_ends_now_and_what_has_not_begun_has_no_bar(user: User) -> None:
    steps = [
        step("waits", "runs", status="PENDING"),
        step("runs", status="RUNNING"),
        step("queued", status="PENDING"),
    ]
    run = {"status": "RUNNING", "started_at": at(0), "completed_at": None, "steps": steps}
    found = await timeline_of(user, run, [task("runs", 1, None, status="RUNNING")], now=4)
    assert found["rows"] == [
        ["runs", [["queue", 0, 1, False], ["work", 1, 4, False]]],
        ["queued", [["queue", 0, 4, False]]],
        ["waits", []],
    ]


async def test_the_items_of_a_step_are_stacked_in_one_row_and_only_their_failed_attempts_are_retried(
    user: User,
) -> None:
    run: dict[str, Any] = {"status": "COMPLETED", "started_at": at(0), "completed_at": at(8)}
    run["steps"] = [step("each", end=8, for_each={"count": 3})]
    tasks = [
        task("each", 1, 3, sent=1, item=0, status="FAILED"),
        task("each", 4, 6, sent=4, item=0),
        task("each", 1, 4, sent=2, item=1),
        task("each", 6, 8, sent=6, item=2),
    ]
    found = await timeline_of(user, run, tasks, now=30)
    assert found["rows"] == [["each", [["queue", 0, 1, False], ["provider", 1, 2, True], ["provider", 2, 8, False]]]]
    assert found["retries"] == [1]
    assert sorted(found["bars"][0]) == [
        ["provider", 1, 2, True, 0, 0.5],
        ["provider", 2, 3, True, 0.5, 0.5],
        ["provider", 2, 8, False, 0, 0.5],
        ["queue", 0, 1, False, 0, 1],
        ["retry", 3, 4, False, 0.5, 0.5],
        ["work", 1, 2, False, 0.5, 0.5],
    ]


async def test_a_row_of_many_items_has_a_bounded_number_of_bars(user: User) -> None:
    run: dict[str, Any] = {"status": "COMPLETED", "started_at": at(0), "completed_at": at(31)}
    run["steps"] = [step("each", end=31, for_each={"count": 1000})]
    tasks = [task("each", n % 30, n % 30 + 1 - n / 5000, sent=n % 30 + n / 10000, item=n) for n in range(1000)]
    found = await timeline_of(user, run, tasks, now=40)
    assert len(found["bars"][0]) <= 3 * 120
    assert all(0 <= bottom < bottom + height <= 1.0001 for *_, bottom, height in found["bars"][0])


async def test_a_retry_that_is_due_later_goes_on_until_now(user: User) -> None:
    items = {"total": 9, "running": 1}
    steps = [
        step("retried", status="RUNNING", next_attempt_at=at(9)),
        step("each", status="RUNNING", for_each={"count": 9}, items=items),
    ]
    run = {"status": "RUNNING", "started_at": at(0), "completed_at": None, "steps": steps}
    tasks = [task("retried", 0, 2, status="FAILED"), task("each", 0, 3, status="FAILED", item=0)]
    found = await timeline_of(user, run, [*tasks, task("each", 0, 4, item=1)], now=8)
    assert {step_id: segments[-1] for step_id, segments in found["rows"]} == {
        "retried": ["retry", 2, 8, False],
        "each": ["retry", 4, 8, False],
    }
    assert found["retries"] == [0, 0]


async def test_waits_go_on_until_now_while_the_run_is_paused(user: User) -> None:
    steps = [
        step("ask", status="RUNNING", task_type="APPROVAL", started_at=at(1)),
        step("held", status="PENDING"),
        step("ready", status="PENDING"),
    ]
    run = {"status": "PAUSED", "started_at": at(0), "completed_at": None, "steps": steps}
    found = await timeline_of(
        user, run, [task("held", 0, 2, status="FAILED")], 8, ({"type": "workflow.paused", "at": at(5)},)
    )
    assert {step_id: segments[-2:] for step_id, segments in found["rows"]} == {
        "ask": [["queue", 0, 1, False], ["decision", 1, 8, False]],
        "held": [["queue", 2, 5, False], ["stopped", 5, 8, False]],
        "ready": [["queue", 0, 5, False], ["stopped", 5, 8, False]],
    }
    assert found["retries"] == [0, 0, 0]


async def test_the_critical_path_leads_through_a_step_that_was_skipped(user: User) -> None:
    steps = [
        step("a", end=3),
        step("not", "a", status="SKIPPED", end=3),
        step("join", "not", run_if="all_ended", end=5),
    ]
    run = {"status": "COMPLETED", "started_at": at(0), "completed_at": at(5), "steps": steps}
    found = await timeline_of(user, run, [task("a", 0, 3), task("join", 4, 5)], now=9)
    assert found["critical"] == {"steps": ["a", "join"], "totalMs": 5000, "ms": {"queue": 1000, "work": 4000}}


async def test_the_timeline_shows_retries_the_critical_path_and_what_goes_on(
    user: User, scripted: ConfiguredProvider
) -> None:
    run = await user.create(
        configured_step("retried", fails=1, retryable=True),
        configured_step("held", "retried", wait=True),
        config={"retry": {"base_s": 0}},
    )
    page = await user.open(f"/ui/workflows/{run['id']}?tab=timeline")
    steps = page.get_by_role("list", name="Steps, in the order in which they began")
    await expect(steps.get_by_role("listitem").filter(has_text="held").get_by_text("Running")).to_be_visible()
    scripted.release(run["id"], "held")
    await expect(steps.get_by_role("listitem").filter(has_text="held").get_by_text("Completed")).to_be_visible()
    await expect(page.locator(".timeline-summary")).to_contain_text("retried → held")
    await steps.get_by_text("retried").first.click()
    attempts = page.get_by_role("region", name="Attempts of retried").get_by_role("row")
    await expect(attempts).to_have_count(4)
    await expect(attempts.nth(2)).to_have_text("told to fail")
    for theme in ("light", "dark"):
        await page.emulate_media(color_scheme=theme)
        assert await accessibility_faults(page) == []
    await keep_screenshots(page, "run-timeline")
    await page.set_viewport_size({"width": NARROW, "height": 800})
    assert await page.evaluate("document.documentElement.scrollWidth") == NARROW


async def test_the_timeline_shows_when_the_run_is_paused_and_resumed(user: User, scripted: ConfiguredProvider) -> None:
    run = await user.create(configured_step("held", wait=True), configured_step("next", "held"))
    path = f"/api/v1/workflows/{run['id']}"
    page = await user.open(f"/ui/workflows/{run['id']}?tab=timeline")
    next_row = page.locator(".timeline-row").filter(has_text="next")
    await expect(next_row).to_contain_text("Waits for held.")
    assert (await user.client.post(f"{path}/pause")).status_code == 200
    scripted.release(run["id"], "held")
    await expect(next_row).to_contain_text("Stopped")
    assert (await user.client.post(f"{path}/resume")).status_code == 200
    await expect(next_row.get_by_text("Completed")).to_be_visible()
    await expect(next_row).to_contain_text("Stopped")
    await expect(page.locator(".timeline-summary")).to_contain_text("held → next")
