"""The numbers of the timeline, compared with those that other code computes from the events of the same runs.

The runs are those of a service in memory, whose clock the test moves; one is that of a process that is killed. The page
gets the responses of these services.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from playwright.async_api import Page, Route, expect

from stepwell.contract.enums import ProviderType
from stepwell.testing.clocks import ManualClock
from stepwell.testing.running_service import RunningStepwell, running
from stepwell.web.static_files import static_files
from support.browser.accessibility import accessibility_faults
from support.browser.pages import NARROW, User, keep_screenshots
from support.database.postgres import fresh_folder
from support.database.prepared_cluster import copy_cluster
from support.processes.cluster import held_step, quick_step
from support.processes.stepwell_process import StepwellProcess, start_up
from support.providers.emulated_in_thread import emulated
from support.workflows.timeline_numbers import Numbers, timeline_numbers

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.extended]

Json = dict[str, Any]
WORKFLOWS: Final = "/api/v1/workflows/"
TICK_S = 0.25
# The milliseconds of each kind of bar, by step, as the page's module computes them.
ROWS = """async ({url, path}) => {
    const { STOPS, timelineOf } = await import(url);
    const json = async (query) => (await fetch(path + query)).json();
    const [run, { tasks }, { events }] = await Promise.all(["", "/tasks", `/events?type=${STOPS}`].map(json));
    return Object.fromEntries(timelineOf(run, tasks, events, Date.now()).rows.map((row) => {
        const ms = {};
        for (const {kind, start, end} of row.segments) if (end > start) ms[kind] = (ms[kind] ?? 0) + end - start;
        return [row.stepId, ms];
    }));
}"""
NAMES = {
    "queue": "Waiting",
    "work": "In the service",
    "provider": "At the provider",
    "retry": "Before a retry",
    "workflow": "Sub-workflow",
    "decision": "Decision",
    "signal": "Signal",
    "delay": "Delay",
    "stopped": "Stopped",
}


class Recorded:
    """A run in a service with a clock that the test moves."""

    def __init__(self, service: RunningStepwell, client: httpx.AsyncClient) -> None:
        self.service, self.client = service, client
        self.id = ""

    async def begin(self, *steps: Json, **fields: Any) -> None:
        body = {"name": "a reference run", "origin_instance": "tests", "steps": list(steps), **fields}
        response = await self.client.post(WORKFLOWS, json=body)
        assert response.status_code == 201, response.text
        self.id = response.json()["id"]

    async def post(self, path: str, body: Any = None, *, of: str | None = None) -> None:
        response = await self.client.post(f"{WORKFLOWS}{of or self.id}/{path}", json=body)
        assert response.status_code == 200, response.text

    async def until(self, wanted: Callable[[Json], Any], *, of: str | None = None) -> None:
        """Return once the run is as wanted. The clock moves meanwhile."""
        async with asyncio.timeout(120):
            while not wanted((await self.client.get(WORKFLOWS + (of or self.id))).json()):
                self.service.clock.advance(TICK_S)
                await asyncio.sleep(0.002)

    async def until_waiting(self, step_id: str, *, of: str | None = None) -> None:
        await self.until(lambda run: _step(run, step_id)["waiting_for"], of=of)

    async def until_ended(self) -> None:
        await self.until(lambda run: run["status"] in {"COMPLETED", "FAILED", "CANCELLED"})

    async def children(self, count: int = 0) -> list[str]:
        """Return the ids of the sub-workflows, once there are *count*. The clock moves meanwhile."""
        async with asyncio.timeout(120):
            while True:
                listed = (await self.client.get(WORKFLOWS, params={"include_children": True})).json()["workflows"]
                found = [each["id"] for each in listed if each["parent"] is not None]
                if len(found) >= count:
                    return found
                self.service.clock.advance(TICK_S)
                await asyncio.sleep(0.002)


def _step(run: Json, step_id: str) -> Json:
    return next(step for step in run["steps"] if step["step_id"] == step_id)


@asynccontextmanager
async def recorded() -> AsyncIterator[Recorded]:
    async with (
        running(clock=ManualClock()) as service,
        httpx.AsyncClient(
            transport=service.transport,
            base_url=service.url,
            headers={"Authorization": f"Bearer {service.token}"},
        ) as client,
    ):
        yield Recorded(service, client)


async def open_timeline(user: User, client: httpx.AsyncClient, workflow_id: str) -> Page:
    """Open the timeline of a run of another service, which responds to the page's requests about workflows."""

    async def respond(route: Route) -> None:
        url = httpx.URL(route.request.url)
        response = await client.get(url.raw_path.decode())
        await route.fulfill(status=response.status_code, body=response.content, content_type="application/json")

    await user.context.route(re.compile(rf"{WORKFLOWS}[0-9a-f]+-"), respond)
    page = await user.open(f"/ui/workflows/{workflow_id}?tab=timeline")
    await expect(page.get_by_role("heading", name="Critical path")).to_be_visible()
    return page


async def numbers_of(client: httpx.AsyncClient, workflow_id: str) -> Numbers:
    """Return the numbers by the events of the run."""

    async def read(path: str) -> Json:
        response: Json = (await client.get(f"{WORKFLOWS}{workflow_id}{path}")).json()
        return response

    run, tasks, events = await read(""), await read("/tasks"), await read("/events?limit=1000")
    sent = {task["id"]: task["sent_at"] for task in tasks["tasks"] if task["sent_at"] is not None}
    return timeline_numbers(run["steps"], events["events"], sent)


async def compare(user: User, client: httpx.AsyncClient, workflow_id: str, name: str) -> tuple[Page, Numbers]:
    """Return the timeline, after its numbers were found to be those of the events."""
    numbers = await numbers_of(client, workflow_id)
    page = await open_timeline(user, client, workflow_id)
    url = static_files().url("views/run/timeline_model.js")
    assert await page.evaluate(ROWS, {"url": url, "path": WORKFLOWS + workflow_id}) == numbers.rows
    summary = page.locator(".timeline-summary")
    assert await summary.locator("h2 data").get_attribute("value") == str(sum(numbers.path.values()))
    await expect(summary.locator("p")).to_have_text(" → ".join(numbers.critical))
    shown = {
        await each.locator("dt").inner_text(): int(await each.locator("data").get_attribute("value") or "")
        for each in await summary.locator("dl > div").all()
    }
    counts = {"Attempts of all steps": numbers.attempts, "Retries": numbers.retries}
    assert shown == {NAMES[kind]: ms for kind, ms in numbers.path.items()} | counts
    for theme in ("light", "dark"):
        await page.emulate_media(color_scheme=theme)
        assert await accessibility_faults(page) == []
    await keep_screenshots(page, f"run-timeline-{name}")
    await page.set_viewport_size({"width": NARROW, "height": 800})
    assert await page.evaluate("document.documentElement.scrollWidth") == NARROW
    await page.set_viewport_size({"width": 1280, "height": 800})
    return page, numbers


def paid(step_id: str, *needed: str, task_type: str = "GENERATION", **members: Any) -> Json:
    """A step at the scripted provider FAL."""
    config = {"prompt": step_id} | members.pop("config", {})
    provider = {"provider_type": "FAL"}
    step = {"id": step_id, "task_type": task_type, "depends_on": list(needed), "config": config}
    return step | {"provider_config": provider} | members


def wait(step_id: str, task_type: str, *needed: str, **config: Any) -> Json:
    return {"id": step_id, "task_type": task_type, "depends_on": list(needed), "config": config}


RESULT: Final[Mapping[str, Any]] = {"result_text": "done"}


async def record_items(run: Recorded) -> None:
    draws = run.service.providers.fal.on("GENERATION")
    draws.fails("busy").times(1).then.returns(RESULT, delay_s=6).times(2).then.returns(RESULT, delay_s=3)
    await run.begin(paid("each", for_each={"count": 5, "max_concurrency": 2}), paid("end", "each"))
    await run.until_ended()


async def record_sub_workflows(run: Recorded) -> None:
    """For each of two items a sub-workflow, with a sub-workflow in which a person decides."""
    run.service.providers.fal.on("GENERATION").returns(RESULT, delay_s=2)
    inner = {"name": "inner", "steps": [paid("draw"), wait("ask", "APPROVAL", "draw")]}
    middle = {"name": "middle", "steps": [wait("nested", "SUBWORKFLOW", workflow=inner), paid("polish", "nested")]}
    each = wait("each", "SUBWORKFLOW", "before", workflow=middle) | {"for_each": {"count": 2}}
    await run.begin(paid("before"), each, paid("after", "each"))
    await run.until(lambda found: _step(found, "each")["status"] == "RUNNING")
    decided: set[str] = set()
    while len(decided) < 2:
        for child in await run.children():
            found = (await run.client.get(WORKFLOWS + child)).json()
            if child not in decided and any(
                (step["waiting_for"] or {}).get("kind") == "decision" for step in found["steps"]
            ):
                run.service.clock.advance(30)
                await run.post("steps/ask/decision", {"choice": "approve"}, of=child)
                decided.add(child)
        run.service.clock.advance(TICK_S)
        await asyncio.sleep(0.002)
    await run.until_ended()


async def record_waits(run: Recorded) -> None:
    """A decision, a signal and a delay, one after the other; and a step beside them that isn't critical."""
    run.service.providers.fal.on("GENERATION").returns(RESULT, delay_s=2)
    await run.begin(
        paid("draw"),
        wait("ask", "APPROVAL", "draw"),
        wait("paid", "SIGNAL", "ask"),
        wait("cool", "DELAY", "paid", seconds=7),
        paid("beside", "draw"),
        paid("end", "cool", "beside"),
    )
    await run.until_waiting("ask")
    run.service.clock.advance(40)
    await run.post("steps/ask/decision", {"choice": "approve"})
    await run.until_waiting("paid")
    run.service.clock.advance(20)
    await run.post("signals/paid", {"data": 1})
    await run.until_ended()


async def record_retries(run: Recorded) -> None:
    draws = run.service.providers.fal.on("GENERATION")
    draws.fails("busy").times(1).then.fails("busy", delay_s=2).times(1).then.returns(RESULT, delay_s=3)
    await run.begin(paid("draw"), paid("end", "draw"))
    await run.until_ended()


async def record_fallback(run: Recorded) -> None:
    run.service.providers.fal.on("GENERATION").fails("broken", delay_s=2).times(2)
    run.service.providers.replicate.on("GENERATION").returns(RESULT, delay_s=4)
    fallback: Json = {"fallback_provider_type": "REPLICATE", "fallback_provider_config": {"model": "a/b"}}
    await run.begin(paid("draw", max_retries=1, **fallback))
    await run.until_ended()


async def record_repeat(run: Recorded) -> None:
    low, high = {"width": 64}, {"width": 128}
    draws = run.service.providers.fal.on("GENERATION")
    draws.fails("busy").times(1).then.returns(low, delay_s=2).times(2).then.returns(high, delay_s=2)
    await run.begin(paid("draw", repeat={"until": "width > `64`", "max": 5}), paid("end", "draw"))
    await run.until_ended()


async def record_pause(run: Recorded) -> None:
    """The pause ends no attempt, and holds a retry and a ready step back."""
    fal = run.service.providers.fal
    fal.on("LLM_INTERACTION").returns(RESULT, delay_s=15)
    fal.on("GENERATION").fails("busy", retry_after_s=8).times(1).then.returns(RESULT, delay_s=2)
    long = paid("long", task_type="LLM_INTERACTION")
    await run.begin(long, paid("retried", "start"), paid("then", "long"), wait("start", "DELAY", seconds=1))
    await run.until(lambda found: _step(found, "retried")["next_attempt_at"])
    await run.post("pause")
    run.service.clock.advance(20)
    await run.until(lambda found: _step(found, "long")["status"] == "COMPLETED")
    run.service.clock.advance(100)
    await run.post("resume")
    await run.until_ended()


async def record_failure_and_resume(run: Recorded) -> None:
    """A wait goes on after the failure, so the run fails later than its step. The sub-workflow is continued."""
    draws = run.service.providers.fal.on("GENERATION")
    draws.fails("refused", retryable=False).times(2).then.returns(RESULT, delay_s=2)
    inner = {"name": "inner", "steps": [paid("first")]}
    await run.begin(paid("draw"), wait("nested", "SUBWORKFLOW", workflow=inner), wait("cool", "DELAY", seconds=9))
    await run.until(lambda found: found["status"] == "FAILED")
    run.service.clock.advance(60)
    await run.post("resume")
    await run.until_ended()


RECORDINGS: Final[Mapping[str, Callable[[Recorded], Awaitable[None]]]] = {
    "items": record_items,
    "sub-workflows": record_sub_workflows,
    "waits": record_waits,
    "retries": record_retries,
    "fallback": record_fallback,
    "repeat": record_repeat,
    "pause": record_pause,
    "failure": record_failure_and_resume,
}


RETRIES = {
    "items": 1,
    "sub-workflows": 0,
    "waits": 0,
    "retries": 2,
    "fallback": 2,
    "repeat": 1,
    "pause": 0,
    "failure": 0,
}


@pytest.mark.parametrize("name", RECORDINGS)
async def test_the_numbers_of_a_timeline_are_those_of_the_events(user: User, name: str) -> None:
    async with recorded() as run:
        await RECORDINGS[name](run)
        _, numbers = await compare(user, run.client, run.id, name)
        assert numbers.retries == RETRIES[name]
        for child in await run.children():
            await compare(user, run.client, child, f"{name}-child")


async def test_an_attempt_that_a_kill_interrupts_is_one_attempt(user: User, prepared: Path, tmp_path: Path) -> None:
    with fresh_folder() as folder, emulated(tmp_path, (ProviderType.CUSTOM,)) as worlds:
        copy_cluster(prepared, folder / "data")
        worlds.hold()
        process = start_up(folder / "data", worlds.environment)
        try:
            await asyncio.to_thread(process.wait_ready)
            async with _client_of(process) as client:
                workflow_id = await _create_held(client)
                await _until(client, workflow_id, lambda _: worlds.have_taken(1))
            await asyncio.to_thread(process.kill_group)
            process = start_up(folder / "data", worlds.environment)
            await asyncio.to_thread(process.wait_ready)
            async with _client_of(process) as client:
                decided = await client.post(f"{WORKFLOWS}{workflow_id}/steps/ask/decision", json={"choice": "approve"})
                assert decided.status_code == 200, decided.text
                worlds.hold(held=False)
                await _until(client, workflow_id, lambda run: run["status"] == "COMPLETED")
                _, numbers = await compare(user, client, workflow_id, "kill")
            assert [len(world.emulator.ledger.jobs()) for world in worlds] == [1]
        finally:
            process.kill_group()
    assert (numbers.attempts, numbers.retries, numbers.critical) == (2, 0, ["held", "then"])
    assert set(numbers.rows["held"]) <= {"queue", "work", "provider"}


def _client_of(process: StepwellProcess) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {process.token}"}
    return httpx.AsyncClient(base_url=process.url, headers=headers, timeout=60)


async def _create_held(client: httpx.AsyncClient) -> str:
    steps = [held_step("held"), wait("ask", "APPROVAL"), quick_step("then", "held", "ask")]
    response = await client.post(WORKFLOWS, json={"name": "killed", "origin_instance": "tests", "steps": steps})
    assert response.status_code == 201, response.text
    return str(response.json()["id"])


async def _until(client: httpx.AsyncClient, workflow_id: str, wanted: Callable[[Json], bool]) -> None:
    async with asyncio.timeout(120):
        while not wanted((await client.get(WORKFLOWS + workflow_id)).json()):
            await asyncio.sleep(0.05)


async def test_a_row_opens_by_keyboard_and_leads_to_the_timelines_of_sub_workflows(user: User) -> None:
    async with recorded() as run:
        await record_sub_workflows(run)
        page = await open_timeline(user, run.client, run.id)
        row = page.get_by_role("listitem").filter(has_text="each")
        await row.locator("summary").focus()
        await page.keyboard.press("Enter")
        await expect(row).to_contain_text("2 items, up to 2 at once. Sub-workflow 1 min")
        links = row.get_by_role("link", name="Timeline of the sub-workflow of item")
        await expect(links).to_have_count(2)
        for theme in ("light", "dark"):
            await page.emulate_media(color_scheme=theme)
            assert await accessibility_faults(page) == []
        await keep_screenshots(page, "run-timeline-open")
        path = page.locator(".timeline-summary").get_by_role("link", name="each")
        assert await path.get_attribute("href") in [await each.get_attribute("href") for each in await links.all()]
        await links.last.click()
        await expect(page.locator(".timeline-summary p")).to_have_text("nested → polish")
