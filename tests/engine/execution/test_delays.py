"""A workflow that only waits leaves memory, and comes back when its time has come, by a verb, or to another process.

What must hold:
- A wait ends at its time, once, whether its workflow is in memory, parked or paused, and whoever runs it (F6, F11).
- A parked workflow is a row: nothing of it is in memory, and no statement is about it before it is due (F18).
- Whatever happens to a parked workflow, it goes on as one that never left memory (F2).
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from stepwell.contract.enums import WorkflowStatus
from stepwell.engine.execution import timers
from stepwell.engine.execution.timers import PARK_AFTER_S
from stepwell.engine.execution.workflow_queue import WorkflowQueue
from stepwell.testing import ManualClock, MemoryDatabase
from support.database.failing_store import nothing_left, scheduler_of
from support.providers.scripted import Hang, ScriptedProvider, Succeed, eventually, passthrough_step, scripted_step
from support.service.live_service import Service, running_service, serving, statuses_of, step_of
from support.workflows.delays import HOUR, delay, in_memory, parked, state_of, until_parked

WORKFLOWS = "/api/v1/workflows/"


@pytest.fixture
def provider() -> ScriptedProvider:
    return ScriptedProvider()


@pytest.fixture
async def service(memory: MemoryDatabase, tmp_path: Path, provider: ScriptedProvider) -> AsyncIterator[Service]:
    async with serving(memory, tmp_path, provider) as service:
        yield service


async def types(service: Service, workflow_id: str) -> list[str]:
    return [event["type"] for event in await service.events(workflow_id)]


async def test_a_delay_ends_at_its_time_and_the_next_step_begins(
    service: Service, clock: ManualClock, provider: ScriptedProvider
) -> None:
    created = await service.create(delay(seconds=20), scripted_step("after", "wait"))
    workflow = await service.until(created["id"], lambda workflow: step_of(workflow, "wait")["status"] == "RUNNING")
    assert step_of(workflow, "wait")["task_id"] is None
    clock.advance(19)
    assert provider.calls == []
    clock.advance(2)
    ended = await service.until_ended(created["id"])
    assert ended["status"] == "COMPLETED"
    events = await service.events(created["id"])
    (waiting,) = [event for event in events if event["type"] == "step.waiting"]
    assert step_of(ended, "wait")["result"] == {"until": waiting["data"]["until"]}
    assert [event["type"] for event in events] == [
        *("workflow.created", "workflow.started", "step.waiting", "step.completed", "step.started", "step.completed"),
        "workflow.completed",
    ]


async def test_a_workflow_that_only_waits_is_a_row_until_it_is_due(
    service: Service, clock: ManualClock, provider: ScriptedProvider
) -> None:
    workflow_id = await parked(service, clock)
    before = await service.get(workflow_id)
    assert (before["status"], statuses_of(before)) == ("RUNNING", {"wait": "RUNNING", "after": "PENDING"})
    state = state_of(service, workflow_id)
    assert (state.owner, state.waits_for_admission) == (None, False)
    explained = (await service.client.get(f"{WORKFLOWS}{workflow_id}/explain")).json()
    waiting_for = step_of(before, "wait")["waiting_for"]
    reasons = [step["reason"] for step in explained["steps"]]
    assert [reason["code"] for reason in reasons] == ["delayed", "waits_for_steps"]
    assert (waiting_for["kind"], reasons[0]["until"]) == ("delay", waiting_for["until"])
    clock.advance(HOUR - PARK_AFTER_S - 5)
    assert await service.get(workflow_id) == before
    assert in_memory(service) == set()
    clock.advance(6)
    assert (await service.until_ended(workflow_id))["status"] == "COMPLETED"
    assert [call.step_id for call in provider.calls] == ["after"]
    assert state_of(service, workflow_id).wake_at is None
    value = service.app.metrics.value
    assert value("stepwell_workflows_parked_total") == value("stepwell_workflows_unparked_total") == 1


async def test_nothing_is_asked_of_the_database_while_workflows_are_parked(
    service: Service, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        await parked(service, clock)
    assert isinstance(service.database, MemoryDatabase)
    tables, trips = service.database.tables, list[str]()
    round_trip = tables.round_trip

    async def counted() -> None:
        trips.append("statement")
        await round_trip()

    monkeypatch.setattr(tables, "round_trip", counted)
    clock.advance(HOUR - 100)
    await eventually(lambda: nothing_left(service))
    assert trips == []


async def test_the_earliest_of_several_is_due_first(
    service: Service, clock: ManualClock, provider: ScriptedProvider
) -> None:
    late = await parked(service, clock, delay(seconds=3 * HOUR), scripted_step("late", "wait"))
    early = await parked(service, clock, delay(seconds=HOUR), scripted_step("early", "wait"))
    middle = await parked(service, clock, delay(seconds=2 * HOUR), scripted_step("middle", "wait"))
    for workflow_id in (early, middle, late):
        clock.advance(HOUR)
        assert (await service.until_ended(workflow_id))["status"] == "COMPLETED"
    assert [call.step_id for call in provider.calls] == ["early", "middle", "late"]


async def test_a_workflow_whose_step_runs_stays_in_memory(
    service: Service, clock: ManualClock, provider: ScriptedProvider
) -> None:
    provider.default = Hang()
    created = await service.create(delay(), scripted_step("busy"))
    await provider.until_called("busy")
    clock.advance(2 * PARK_AFTER_S)
    assert in_memory(service) == {created["id"]}
    provider.release("busy")
    await service.until(created["id"], lambda workflow: step_of(workflow, "busy")["status"] == "COMPLETED")
    await until_parked(service, created["id"], clock)


async def test_a_short_delay_stays_in_memory(service: Service, clock: ManualClock) -> None:
    created = await service.create(delay(seconds=29))
    await service.until(created["id"], lambda workflow: step_of(workflow, "wait")["status"] == "RUNNING")
    clock.advance(PARK_AFTER_S + 1)
    assert in_memory(service) == {created["id"]}
    clock.advance(20)
    assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"


async def test_a_change_of_a_parked_workflow_leaves_it_parked(service: Service, clock: ManualClock) -> None:
    workflow_id = await parked(service, clock)
    wake_at = state_of(service, workflow_id).wake_at
    response = await service.client.patch(WORKFLOWS + workflow_id, json={"name": "new", "labels": {"a": "b"}})
    assert response.status_code == 200
    await eventually(lambda: in_memory(service) == set())
    assert (state_of(service, workflow_id).wake_at, state_of(service, workflow_id).owner) == (wake_at, None)
    clock.advance(HOUR)
    assert (await service.until_ended(workflow_id))["name"] == "new"


async def test_a_parked_workflow_is_cancelled_and_deleted(service: Service, clock: ManualClock) -> None:
    workflow_id = await parked(service, clock)
    assert (await service.verb(workflow_id, "cancel")).status_code == 200
    cancelled = await service.get(workflow_id)
    assert set(statuses_of(cancelled).values()) == {"CANCELLED"}
    assert (await service.verb(workflow_id, "cleanup")).status_code == 200
    clock.advance(2 * HOUR)
    await eventually(lambda: nothing_left(service))
    assert (state_of(service, workflow_id).wake_at, state_of(service, workflow_id).status) == (
        None,
        WorkflowStatus.CANCELLED,
    )


async def test_a_wait_ends_while_the_workflow_is_paused_and_nothing_starts(
    service: Service, clock: ManualClock, provider: ScriptedProvider
) -> None:
    workflow_id = await parked(service, clock)
    assert (await service.verb(workflow_id, "pause")).status_code == 200
    await eventually(lambda: in_memory(service) == set())
    clock.advance(HOUR)
    paused = await service.until(workflow_id, lambda workflow: step_of(workflow, "wait")["status"] == "COMPLETED")
    assert (paused["status"], step_of(paused, "after")["status"]) == ("PAUSED", "PENDING")
    await eventually(lambda: in_memory(service) == set())
    assert state_of(service, workflow_id).wake_at is None
    assert provider.calls == []
    assert (await service.verb(workflow_id, "resume")).status_code == 200
    assert (await service.until_ended(workflow_id))["status"] == "COMPLETED"
    assert (await types(service, workflow_id)).count("step.completed") == 2


async def test_a_workflow_paused_while_it_waits_in_memory_is_due_too(service: Service, clock: ManualClock) -> None:
    created = await service.create(delay(), passthrough_step("after", "wait"))
    await service.until(created["id"], lambda workflow: step_of(workflow, "wait")["status"] == "RUNNING")
    assert (await service.verb(created["id"], "pause")).status_code == 200
    await eventually(lambda: in_memory(service) == set())
    clock.advance(HOUR)
    await service.until(created["id"], lambda workflow: step_of(workflow, "wait")["status"] == "COMPLETED")


async def test_a_resumed_workflow_waits_for_the_rest_of_its_time(service: Service, clock: ManualClock) -> None:
    workflow_id = await parked(service, clock)
    until = state_of(service, workflow_id).wake_at
    for verb in ("pause", "resume"):
        assert (await service.verb(workflow_id, verb)).status_code == 200
    await until_parked(service, workflow_id, clock)
    assert state_of(service, workflow_id).wake_at == until
    clock.advance(HOUR)
    assert (await service.until_ended(workflow_id))["status"] == "COMPLETED"


async def test_the_workflows_timeout_ends_a_parked_workflow(service: Service, clock: ManualClock) -> None:
    workflow_id = await parked(service, clock, delay(), config={"workflow_timeout_s": 600})
    clock.advance(600)
    failed = await service.until_ended(workflow_id)
    assert (failed["status"], failed["error_message"]) == ("FAILED", "workflow: timed out after 600 s")
    assert statuses_of(failed) == {"wait": "CANCELLED"}


async def test_a_delay_until_a_time_that_has_passed_ends_at_once(service: Service, clock: ManualClock) -> None:
    created = await service.create(delay(until=clock.now().isoformat()))
    ended = await service.until_ended(created["id"])
    assert (ended["status"], created["warnings"][0]["type"]) == ("COMPLETED", "time_passed")


async def test_a_delay_may_compute_its_time(service: Service, clock: ManualClock) -> None:
    first = passthrough_step("first", config={"s": 600})
    workflow_id = await parked(service, clock, first, delay("wait", "first", seconds="${first.s}"))
    clock.advance(600)
    assert (await service.until_ended(workflow_id))["status"] == "COMPLETED"


@pytest.mark.parametrize(
    ("config", "error"),
    [
        ({"until": "${first.text}"}, "until is no time"),
        ({"seconds": "${first.text}"}, "seconds"),
        ({"until": "${first.late}"}, "more than a year ahead"),
    ],
)
async def test_a_computed_time_that_makes_no_sense_fails_the_step(
    service: Service, config: dict[str, Any], error: str
) -> None:
    first = passthrough_step("first", config={"text": "soon", "late": "2126-01-01T00:00:00Z"})
    created = await service.create(first, delay("wait", "first", **config))
    failed = await service.until_ended(created["id"])
    assert (failed["status"], statuses_of(failed)["wait"]) == ("FAILED", "FAILED")
    assert error in failed["error_message"]


async def test_a_failure_that_drains_cancels_the_waits(service: Service, clock: ManualClock) -> None:
    workflow_id = await parked(
        service, clock, delay("a"), delay("b", seconds=60), delay("c", "b", seconds="${b.until}")
    )
    clock.advance(60)
    failed = await service.until_ended(workflow_id)
    assert statuses_of(failed) == {"a": "CANCELLED", "b": "COMPLETED", "c": "FAILED"}


async def test_waits_that_are_over_at_the_same_time_end_in_several_turns(
    service: Service, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timers, "_AT_ONCE", 2)
    created = await service.create(*(delay(f"wait{number}", seconds=20) for number in range(5)))
    await service.until(created["id"], lambda workflow: set(statuses_of(workflow).values()) == {"RUNNING"})
    run = scheduler_of(service).workflows[UUID(created["id"])].run
    clock.advance(20)
    assert run.state.completed_steps == 2
    await asyncio.sleep(0)
    assert run.state.completed_steps == 4
    assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"


async def test_a_paused_workflow_that_is_due_again_before_its_turn_waits_only_once(
    service: Service, clock: ManualClock
) -> None:
    waiting = WorkflowQueue(service.app.engine.workflow_queue.slots, clock)
    waiting.add_due_paused([UUID(int=1), UUID(int=2)])
    waiting.add_due_paused([UUID(int=1)])
    assert list(waiting.due_paused) == [UUID(int=1), UUID(int=2)]


class TestWithOnePlace:
    """Where one workflow is active at a time."""

    @pytest.fixture
    async def service(
        self, memory: MemoryDatabase, tmp_path: Path, provider: ScriptedProvider
    ) -> AsyncIterator[Service]:
        async with serving(memory, tmp_path, provider, max_active_workflows=1) as service:
            yield service

    async def test_one_that_only_waits_makes_room_at_once(
        self, service: Service, clock: ManualClock, provider: ScriptedProvider
    ) -> None:
        waiting = await service.create(delay(), scripted_step("after", "wait"))
        await service.until(waiting["id"], lambda workflow: step_of(workflow, "wait")["status"] == "RUNNING")
        other = await service.create(scripted_step("other"))
        clock.advance(PARK_AFTER_S)  # it was in memory before anybody waited for its place
        assert (await service.until_ended(other["id"]))["status"] == "COMPLETED"
        provider.default = Hang()
        busy = await service.create(scripted_step("busy"))
        await provider.until_called("busy")
        clock.advance(HOUR)
        await eventually(lambda: state_of(service, waiting["id"]).waits_for_admission, "it waits for a place")
        assert in_memory(service) == {busy["id"]}
        provider.default = Succeed()
        provider.release("busy")
        assert (await service.until_ended(waiting["id"]))["status"] == "COMPLETED"


async def test_another_process_runs_what_a_dead_one_has_parked(
    memory: MemoryDatabase, tmp_path: Path, clock: ManualClock
) -> None:
    async with running_service(memory, tmp_path, providers=[ScriptedProvider()], exclusive=False) as first:
        workflow_id = await parked(first, clock)
    assert memory.states()[0].wake_at is not None
    async with running_service(memory, tmp_path, providers=[ScriptedProvider()]) as second:
        assert in_memory(second) == set()
        clock.advance(HOUR)
        assert (await second.until_ended(workflow_id))["status"] == "COMPLETED"


async def test_what_became_due_while_no_process_ran_begins_at_the_start(
    memory: MemoryDatabase, tmp_path: Path, clock: ManualClock
) -> None:
    async with running_service(memory, tmp_path, providers=[ScriptedProvider()]) as first:
        running, paused = await parked(first, clock), await parked(first, clock)
        assert (await first.verb(paused, "pause")).status_code == 200
    clock.advance(HOUR)
    async with running_service(memory, tmp_path, providers=[ScriptedProvider()]) as second:
        assert (await second.until_ended(running))["status"] == "COMPLETED"
        await second.until(paused, lambda workflow: step_of(workflow, "wait")["status"] == "COMPLETED")


async def test_a_process_admits_what_another_one_has_found_due_just_before_it_died(
    service: Service, clock: ManualClock
) -> None:
    workflow_id = await parked(service, clock)
    state = state_of(service, workflow_id)
    state.wake_at, state.epoch = None, state.epoch + 1  # the other one has let it wait for admission, at its time
    clock.advance(HOUR)
    assert (await service.until_ended(workflow_id))["status"] == "COMPLETED"
