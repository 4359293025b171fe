"""After several unclean ends: one workflow is tried at a time, and everything else waits, but not for long.

What must hold:
- A workflow that kills its process fails after three deaths in a row during its trials, whatever clients do meanwhile.
- While a workflow is tried, or about to be, no attempt of another one starts.
- A trial refuses no verb. The verb is applied to the stored workflow, and starts nothing of it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from stepwell.engine.execution import ownership as module
from stepwell.engine.execution.ownership import Ownership
from stepwell.lifecycle.unclean_ends import failure_after
from stepwell.testing import ManualClock, MemoryDatabase
from support.database.failing_store import nothing_left, scheduler_of
from support.providers.configured_by_steps import (
    WORKFLOWS,
    ConfiguredProvider,
    configured_step,
    passthrough_step,
    steps_are,
)
from support.providers.scripted import eventually
from support.service.live_service import Service, running_service, serving, statuses_of

ASK = {"id": "ask", "task_type": "APPROVAL", "config": {}}
HEAR = {"id": "hear", "task_type": "SIGNAL", "config": {"name": "go"}}


def killed(memory: MemoryDatabase, unclean_ends: int = 2) -> None:
    """Make it look as if all workflows' process was killed now, and some others before it."""
    memory.take_over(uuid4())
    memory.declare_dead()
    memory.tables.unclean_ends |= {uuid4(): (memory.clock.now(), True) for _ in range(unclean_ends)}


async def under_way(memory: MemoryDatabase, folder: Path, *step_ids: str) -> list[str]:
    """Return the ids of workflows whose steps ran when their process died, after two others had died."""
    async with serving(memory, folder, ConfiguredProvider()) as service:
        made = [await running(service, configured_step(step_id, wait=True)) for step_id in step_ids]
    killed(memory)
    return made


async def running(service: Service, step: dict[str, Any], *others: dict[str, Any]) -> str:
    """Return the id of a new workflow whose first step runs, and whose other ones wait if they can."""
    workflow_id: str = (await service.create(step, *others))["id"]
    await service.until(workflow_id, steps_are(*["RUNNING"] * (1 + len(others))))
    return workflow_id


def ownership_of(service: Service) -> Ownership:
    return service.app.engine.ownership


@asynccontextmanager
async def started(memory: MemoryDatabase, folder: Path, provider: ConfiguredProvider) -> AsyncIterator[Service]:
    """The service as soon as it is ready. No trial begins before the clock says so."""
    async with running_service(memory, folder, providers=[provider], wait_for_claims=False, grace_s=0.1) as service:
        await eventually(ownership_of(service).claimed.is_set)
        assert (await service.client.get("/health/ready")).status_code == 200
        yield service


@asynccontextmanager
async def trying(
    memory: MemoryDatabase, clock: ManualClock, folder: Path, provider: ConfiguredProvider
) -> AsyncIterator[Service]:
    """The service while it tries workflows."""
    async with started(memory, folder, provider) as service:
        clock.advance(ownership_of(service).trials.calm_s)
        yield service


async def explained(service: Service, workflow_id: str) -> Any:
    return (await service.client.get(f"/api/v1/workflows/{workflow_id}/explain")).json()["reason"]


async def test_a_workflow_is_tried_alone_and_new_ones_wait_for_admission(
    memory: MemoryDatabase, clock: ManualClock, tmp_path: Path
) -> None:
    made = await under_way(memory, tmp_path, "a", "b")
    provider = ConfiguredProvider()
    async with trying(memory, clock, tmp_path, provider) as service:
        await eventually(lambda: len(provider.running) == 1)
        (first,) = provider.running
        (second,) = set(made) - {first[0]}
        created = await service.create(passthrough_step("new"))
        assert created["status"] == "RUNNING"
        assert (await explained(service, created["id"]))["code"] == "waits_for_admission"
        late = await ownership_of(service).admit({None: 1})  # it waited until the trial had begun
        assert late.loaded == []
        assert {str(each) for each in scheduler_of(service).workflows} == {first[0]}

        provider.release(*first)
        await service.until_ended(first[0])
        await eventually(lambda: {key[0] for key in provider.running} == {second})
        assert (await service.get(created["id"]))["steps"][0]["status"] == "PENDING"
        provider.release(second, "b" if first[1] == "a" else "a")
        assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"
        assert not ownership_of(service).holds_back


async def test_a_workflow_that_is_tried_can_be_cancelled(
    memory: MemoryDatabase, clock: ManualClock, tmp_path: Path
) -> None:
    (tried,) = await under_way(memory, tmp_path, "a")
    provider = ConfiguredProvider()
    async with trying(memory, clock, tmp_path, provider) as service:
        await eventually(lambda: len(provider.running) == 1)
        assert (await service.verb(tried, "cancel")).json()["status"] == "CANCELLED"
        await eventually(lambda: not ownership_of(service).holds_back)


async def test_whatever_is_not_tried_in_time_is_admitted_together(
    memory: MemoryDatabase, clock: ManualClock, tmp_path: Path
) -> None:
    made = await under_way(memory, tmp_path, *"abcde")
    provider = ConfiguredProvider()
    async with trying(memory, clock, tmp_path, provider) as service:
        ownership = ownership_of(service)
        tried = set[str]()
        for passed_s in (ownership.trials.trial_s, ownership.trials.trials_s):
            await eventually(lambda: len({key[0] for key in provider.running} - tried) == 1)  # noqa: B023 - awaited here
            tried = {key[0] for key in provider.running}
            clock.advance(passed_s)
        await eventually(lambda: {key[0] for key in provider.running} == set(made))
        await eventually(ownership.caught_up.is_set)
        assert not ownership.holds_back


async def test_trials_do_not_begin_again_with_each_page_of_the_others(
    memory: MemoryDatabase, clock: ManualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PAGE", 1)
    made = await under_way(memory, tmp_path, *"abcd")
    provider = ConfiguredProvider()
    async with trying(memory, clock, tmp_path, provider) as service:
        ownership = ownership_of(service)
        await eventually(lambda: len(provider.running) == 1)
        clock.advance(ownership.trials.trials_s)
        await eventually(lambda: {key[0] for key in provider.running} == set(made))


# Verbs before and during trials


async def decide(service: Service, workflow_id: str) -> httpx.Response:
    path = f"{WORKFLOWS}{workflow_id}/steps/ask/decision"
    return await service.client.post(path, json={"choice": "approve"})


async def signal(service: Service, workflow_id: str) -> httpx.Response:
    return await service.client.post(f"{WORKFLOWS}{workflow_id}/signals/go", json={"data": 1})


async def rename(service: Service, workflow_id: str) -> httpx.Response:
    return await service.client.patch(f"{WORKFLOWS}{workflow_id}", json={"name": "renamed"})


async def cleanup_with_files(service: Service, workflow_id: str) -> httpx.Response:
    return await service.verb(workflow_id, "cleanup", cleanup_tasks=True)


async def delete_data(service: Service, workflow_id: str) -> httpx.Response:
    return await service.client.delete(f"{WORKFLOWS}{workflow_id}/data")


def verb(name: str) -> Callable[[Service, str], Awaitable[httpx.Response]]:
    async def send(service: Service, workflow_id: str) -> httpx.Response:
        return await service.verb(workflow_id, name)

    return send


# The verb, whether the workflow is paused before, and its status and that of its attempt afterwards.
VERBS = {
    "pause": (verb("pause"), False, "PAUSED", "RUNNING"),
    "resume": (verb("resume"), True, "RUNNING", "RUNNING"),
    "cancel": (verb("cancel"), False, "CANCELLED", "CANCELLED"),
    "update": (rename, False, "RUNNING", "RUNNING"),
    "decide": (decide, False, "RUNNING", "RUNNING"),
    "signal": (signal, False, "RUNNING", "RUNNING"),
    "cleanup": (verb("cleanup"), True, "CANCELLED", "CANCELLED"),
    "cleanup with files": (cleanup_with_files, True, "CANCELLED", "CANCELLED"),
    "delete data": (delete_data, True, None, None),
}


@pytest.mark.parametrize("name", VERBS)
async def test_a_verb_before_a_trial_is_applied_at_once_and_starts_nothing(
    memory: MemoryDatabase, clock: ManualClock, tmp_path: Path, name: str
) -> None:
    send, is_paused, status, of_attempt = VERBS[name]
    made = []
    async with serving(memory, tmp_path, ConfiguredProvider()) as service:
        for _ in range(2):
            made.append(await running(service, configured_step("a", wait=True), ASK, HEAR))
            if is_paused:
                assert (await service.verb(made[-1], "pause")).status_code == 200
    killed(memory)
    provider = ConfiguredProvider()
    async with started(memory, tmp_path, provider) as service:
        for workflow_id in made:  # one of them is tried first, and the other one waits for that
            response = await send(service, workflow_id)
            assert response.status_code == 200, response.text
            if status is not None:
                workflow = await service.get(workflow_id)
                assert (workflow["status"], statuses_of(workflow)["a"]) == (status, of_attempt)
        await eventually(lambda: not scheduler_of(service).workflows, "no verb keeps them in memory")
        assert ownership_of(service).holds_back
        clock.advance(ownership_of(service).trials.calm_s)
        for tried in made if of_attempt == "RUNNING" else ():
            await eventually(lambda: provider.running != set())
            assert provider.running == {(tried, "a")}
            provider.release(tried, "a")
            await service.until(tried, lambda workflow: statuses_of(workflow)["a"] == "COMPLETED")
        await eventually(lambda: not ownership_of(service).holds_back)
        await eventually(lambda: not provider.running)
        assert not service.app.running.done()


async def test_what_a_verb_makes_ready_before_a_trial_starts_with_the_trial(
    memory: MemoryDatabase, clock: ManualClock, tmp_path: Path
) -> None:
    async with serving(memory, tmp_path, ConfiguredProvider()) as service:
        workflow_id = (await service.create(configured_step("a", wait=True), ASK, passthrough_step("b", "ask")))["id"]
        await service.until(workflow_id, steps_are("RUNNING", "RUNNING", "PENDING"))
    killed(memory)
    provider = ConfiguredProvider()
    async with started(memory, tmp_path, provider) as service:
        assert (await decide(service, workflow_id)).status_code == 200
        assert statuses_of(await service.get(workflow_id)) == {"a": "RUNNING", "ask": "COMPLETED", "b": "PENDING"}
        assert not await service.tasks(workflow_id, step_id="b")
        clock.advance(ownership_of(service).trials.calm_s)
        await service.until(workflow_id, steps_are("RUNNING", "COMPLETED", "COMPLETED"))
        provider.release(workflow_id, "a")
        assert (await service.until_ended(workflow_id))["status"] == "COMPLETED"
        await eventually(lambda: nothing_left(service))


async def test_verbs_that_start_others_are_accepted_before_and_during_a_trial(
    memory: MemoryDatabase, clock: ManualClock, tmp_path: Path
) -> None:
    async with serving(memory, tmp_path, ConfiguredProvider()) as service:
        failed = (await service.create(configured_step("x", fails=1)))["id"]
        await service.until_ended(failed)
        paused = (await service.create(ASK, passthrough_step("then", "ask")))["id"]
        await service.until(paused, steps_are("RUNNING", "PENDING"))
        assert (await service.verb(paused, "pause")).status_code == 200
        assert (await decide(service, paused)).status_code == 200
        pending = [(await service.create(passthrough_step("x"), start=False))["id"] for _ in range(2)]
    (tried,) = await under_way(memory, tmp_path, "a")
    provider = ConfiguredProvider()
    async with started(memory, tmp_path, provider) as service:

        async def waits(workflow_id: str, name: str) -> None:
            response = await service.verb(workflow_id, name)
            assert (response.status_code, response.json().get("status")) == (200, "RUNNING")
            assert (await explained(service, workflow_id))["code"] == "waits_for_admission"

        await waits(pending[0], "start")
        await waits(failed, "resume")
        clock.advance(ownership_of(service).trials.calm_s)
        await eventually(lambda: provider.running == {(tried, "a")})
        await waits(pending[1], "start")
        await waits(paused, "resume")
        assert {str(each) for each in scheduler_of(service).workflows} == {tried}
        provider.release(tried, "a")
        for workflow_id in (*pending, failed, paused):
            assert (await service.until_ended(workflow_id))["status"] == "COMPLETED"


async def test_a_workflow_fails_after_three_deaths_on_trial_although_verbs_change_it_and_another_all_the_time(
    memory: MemoryDatabase, clock: ManualClock, tmp_path: Path
) -> None:
    guilty, other = await under_way(memory, tmp_path, "a", "b")
    for _ in range(3):
        provider = ConfiguredProvider()
        async with started(memory, tmp_path, provider) as service:
            for workflow_id in (guilty, other):
                assert (await rename(service, workflow_id)).status_code == 200
            clock.advance(ownership_of(service).trials.calm_s)
            await eventually(lambda: provider.running != set())  # noqa: B023 - awaited here
            assert provider.running == {(guilty, "a")}
            for workflow_id in (guilty, other):
                assert (await rename(service, workflow_id)).status_code == 200
            assert provider.running == {(guilty, "a")}
            as_it_is = stored_trials(memory)
        killed_as_it_was(memory, as_it_is)
    provider = ConfiguredProvider()
    async with started(memory, tmp_path, provider) as service:
        failed = await service.until_ended(guilty)
        assert failed["errors"] == [failure_after(3)]
        clock.advance(ownership_of(service).trials.calm_s)
        provider.release(other, "b")
        assert (await service.until_ended(other))["status"] == "COMPLETED"


def stored_trials(memory: MemoryDatabase) -> dict[UUID, tuple[UUID | None, int]]:
    """Return the owner of each stored workflow, and its deaths on trial."""
    return {state.id: (state.owner, state.crashes) for state in memory.states()}


def killed_as_it_was(memory: MemoryDatabase, before: dict[UUID, tuple[UUID | None, int]]) -> None:
    """Undo what a process has stored when it stopped, as if it had been killed instead."""
    for state in memory.states():
        state.owner, state.crashes = before[state.id]
        if state.owner is not None:
            memory.tables.processes[state.owner] = memory.clock.now()


async def test_a_verb_waits_for_attempts_of_a_workflow_that_the_process_has_lost(
    memory: MemoryDatabase, tmp_path: Path
) -> None:
    provider = ConfiguredProvider()
    async with serving(memory, tmp_path, provider) as service:
        lost = await running(service, configured_step("a", stubborn=True))
        memory.take_over(other := uuid4())
        memory.tables.processes.pop(other)
        scheduler_of(service).drop(UUID(lost))
        async with asyncio.TaskGroup() as group:
            renaming = group.create_task(rename(service, lost))
            await eventually(lambda: service.app.services.workflows.access.loading == 1)
            assert scheduler_of(service).held == {UUID(lost)}
            provider.release(lost, "a")
        assert renaming.result().status_code == 200
        await eventually(lambda: nothing_left(service))


async def test_a_verb_on_a_workflow_that_only_a_newer_version_understands_is_refused_at_once(
    memory: MemoryDatabase, tmp_path: Path
) -> None:
    (workflow_id,) = await under_way(memory, tmp_path, "a")
    memory.tables.workflows[UUID(workflow_id)].feature_level = 1_000
    async with serving(memory, tmp_path, ConfiguredProvider()) as service:
        response = await service.verb(workflow_id, "cancel")
        assert (response.status_code, response.headers["retry-after"]) == (503, "5")
        assert "newer version" in response.json()["detail"]
