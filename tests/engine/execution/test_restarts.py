"""The service leaves and comes back, in order or not: nothing is forgotten, repeated or counted that shouldn't be."""

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from stepwell.basics.errors import Unavailable
from stepwell.contract.enums import StepStatus, TaskStatus, WorkflowStatus
from stepwell.lifecycle.model import Task
from stepwell.lifecycle.records import LoadedWorkflow
from stepwell.testing import ManualClock, MemoryDatabase
from stepwell.testing.memory_tables import TaskRow
from stepwell.testing.memory_workflow_store import MemoryWorkflowStore
from support.database.failing_store import (
    AFTER,
    BEFORE,
    LATE,
    nothing_left,
    scheduler_of,
    step_queue_of,
    use_failing_store,
)
from support.providers.scripted import (
    Fail,
    Hang,
    ScriptedProvider,
    Stubborn,
    Succeed,
    eventually,
    passthrough_step,
    scripted_step,
)
from support.service.live_service import Service, serving, step_of


def as_if_killed(memory: MemoryDatabase, deaths: int = 0) -> None:
    """Make it look as if the last owner of every workflow was killed, after *deaths* in a row during its trials."""
    memory.take_over(uuid4())
    for state in memory.states():
        state.crashes = deaths
    if deaths:
        memory.tables.unclean_ends |= {uuid4(): (memory.clock.now(), True) for _ in range(3)}


async def history(service: Service, workflow_id: str) -> list[str]:
    events = await service.events(workflow_id)
    assert [event["id"] for event in events] == list(range(1, len(events) + 1))
    return [event["type"] for event in events]


async def test_a_timer_goes_on_where_it_was(memory: MemoryDatabase, clock: ManualClock, tmp_path: Path) -> None:
    provider = ScriptedProvider(script={"a": [Fail(retry_after_s=3000)]})
    async with serving(memory, tmp_path, provider) as service:
        created = await service.create(scripted_step("a"), scripted_step("b", "a"))
        before = await service.until(created["id"], lambda w: step_of(w, "a")["next_attempt_at"])
    async with serving(memory, tmp_path, provider) as service:
        assert await service.get(created["id"]) == before
        (workflow,) = scheduler_of(service).workflows.values()
        assert list(workflow.timers) == [0]
    clock.advance(3000)
    async with serving(memory, tmp_path, provider) as service:
        ended = await service.until_ended(created["id"])
        assert ended["status"] == "COMPLETED"
        assert [(call.step_id, call.number) for call in provider.calls] == [("a", 1), ("a", 2), ("b", 1)]
        assert step_of(ended, "a")["retry_count"] == 1


@pytest.mark.parametrize("killed", [True, False])
async def test_an_interrupted_attempt_is_the_same_attempt_again(
    memory: MemoryDatabase,
    tmp_path: Path,
    killed: bool,  # noqa: FBT001
) -> None:
    provider = ScriptedProvider(script={"a": [Hang(files={"x": b"1"}), Succeed({"f": 1}, {"x": b"2"})]})
    async with serving(memory, tmp_path, provider) as service:
        created = await service.create(scripted_step("a"), passthrough_step("b", "a"))
        await provider.until_called("a")
        before = await history(service, created["id"])
    assert provider.ends("a") == ["cancelled"]
    if killed:
        as_if_killed(memory)
    async with serving(memory, tmp_path, provider) as service:
        workflow = await service.until_ended(created["id"])
        assert workflow["status"] == "COMPLETED"
        first, second = (call for call in provider.calls if call.step_id == "a")
        assert (first.task_id, first.number, first.seed) == (second.task_id, second.number, second.seed)
        assert (step_of(workflow, "a")["retry_count"], step_of(workflow, "a")["task_id"]) == (0, str(first.task_id))
        assert (await history(service, created["id"]))[: len(before)] == before
        assert (await history(service, created["id"])).count("step.started") == 2
        assert (service.artifacts / "media" / str(first.task_id) / "x").read_bytes() == b"2"
        await eventually(lambda: nothing_left(service))


async def test_a_step_that_ran_when_the_workflow_was_paused_is_taken_up_and_nothing_else(
    memory: MemoryDatabase, tmp_path: Path
) -> None:
    provider = ScriptedProvider(script={"a": [Hang()]})
    async with serving(memory, tmp_path, provider) as service:
        created = await service.create(scripted_step("a"), scripted_step("b"), scripted_step("c", "a"))
        await service.until(created["id"], lambda w: step_of(w, "b")["status"] == "COMPLETED")
        await provider.until_called("a")
        assert (await service.verb(created["id"], "pause")).status_code == 200
    async with serving(memory, tmp_path, provider) as service:
        workflow = await service.until(created["id"], lambda w: step_of(w, "a")["status"] == "COMPLETED")
        assert (workflow["status"], step_of(workflow, "c")["status"]) == ("PAUSED", "PENDING")
        await eventually(lambda: nothing_left(service))
        assert (await service.verb(created["id"], "resume")).status_code == 200
        assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"
        assert [(call.step_id, call.number) for call in provider.calls] == [("a", 1), ("b", 1), ("a", 1), ("c", 1)]


async def test_an_attempt_that_waits_to_be_taken_up_waits_once_however_often_it_is_paused(
    memory: MemoryDatabase, tmp_path: Path
) -> None:
    provider = ScriptedProvider(default=Hang())
    async with serving(memory, tmp_path, provider) as service:
        ids = [(await service.create(scripted_step(step_id)))["id"] for step_id in ("a", "b")]
        await eventually(lambda: provider.running == 2)
    async with serving(memory, tmp_path, provider, max_steps_per_provider=1) as service:
        await provider.until_called("a", 2)
        for verb in ("pause", "resume") * 3:
            assert (await service.verb(ids[1], verb)).status_code == 200
            assert (step_queue_of(service).used, step_queue_of(service).waiting) == (1, 1)
        provider.release("a", "b")
        for workflow_id in ids:
            assert (await service.until_ended(workflow_id))["status"] == "COMPLETED"
        assert provider.ends("b") == ["cancelled", "succeeded"]
        await eventually(lambda: nothing_left(service))


async def test_a_deadline_that_passed_meanwhile_counts(
    memory: MemoryDatabase, clock: ManualClock, tmp_path: Path
) -> None:
    provider = ScriptedProvider(default=Hang())
    async with serving(memory, tmp_path, provider) as service:
        created = await service.create(scripted_step("a"), config={"workflow_timeout_s": 3600})
        await provider.until_called("a")
    clock.advance(3600)
    async with serving(memory, tmp_path, provider) as service:
        workflow = await service.until_ended(created["id"])
        assert (workflow["status"], workflow["errors"]) == ("FAILED", ["workflow: timed out after 3600 s"])
        await eventually(lambda: nothing_left(service))


async def test_many_workflows_are_claimed_page_by_page_with_the_results_they_need(
    memory: MemoryDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stepwell.engine.execution.ownership._PAGE", 3)
    mapping = {"from_step": "a", "from_field": "f", "to_field": "g"}
    provider = ScriptedProvider(script={"a": [Succeed({"f": n}) for n in range(8)], "b": [Hang()] * 8})
    async with serving(memory, tmp_path, provider) as service:
        ids = [
            (
                await service.create(
                    scripted_step("a"),
                    scripted_step("b", "a"),
                    passthrough_step("c", "b", "a", input_mappings=[mapping]),
                )
            )["id"]
            for _ in range(8)
        ]
        await provider.until_called("b", 8)
    async with serving(memory, tmp_path, provider) as service:
        workflows = [await service.until_ended(workflow_id) for workflow_id in ids]
        assert [workflow["final_step_result"] for workflow in workflows] == [{"g": n} for n in range(8)]
        assert provider.count("a") == 8
        await eventually(lambda: nothing_left(service))


async def test_the_service_is_ready_after_the_first_claim_and_a_verb_waits_for_no_other(
    memory: MemoryDatabase, clock: ManualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = ScriptedProvider(default=Hang())
    async with serving(memory, tmp_path, provider) as service:
        ids = [(await service.create(scripted_step("a")))["id"] for _ in range(3)]
        await provider.until_called("a", 3)
    first, gate, claim = asyncio.Event(), asyncio.Event(), MemoryWorkflowStore.claim
    claimed: list[str] = []

    async def held_up(self: MemoryWorkflowStore, *arguments: Any, **options: Any) -> list[LoadedWorkflow]:
        owner, held, now, limit = arguments
        if not gate.is_set():
            if claimed or not first.is_set():
                raise Unavailable("not yet")
            limit = 1
        found = await claim(self, owner, held, now, limit, **options)
        claimed.extend(str(each.state.id) for each in found)
        return found

    monkeypatch.setattr(MemoryWorkflowStore, "claim", held_up)
    async with serving(memory, tmp_path, provider, wait_for_claims=False) as service:
        response = await service.client.get("/health/ready")
        assert (response.status_code, response.json()["detail"]) == (503, "the service is starting")
        first.set()
        clock.advance(1)
        await eventually(lambda: bool(claimed))
        assert (await service.client.get("/health/ready")).status_code == 200
        [asked, other] = [each for each in ids if each not in claimed]
        assert (await service.verb(asked, "pause")).json()["status"] == "PAUSED"
        assert (await service.verb(asked, "resume")).json()["status"] == "RUNNING"
        assert {str(each) for each in scheduler_of(service).workflows} == {claimed[0]}
        await provider.until_called("a", 4)
        gate.set()
        clock.advance(1)
        await provider.until_called("a", 6)  # each once more
        await eventually(service.app.engine.ownership.caught_up.is_set)
        assert provider.count("a") == 6
        assert (await service.verb(other, "cancel")).json()["status"] == "CANCELLED"


# A workflow that kills its process


async def test_a_workflow_that_has_killed_its_process_three_times_fails_and_starts_nothing(
    memory: MemoryDatabase, tmp_path: Path
) -> None:
    provider = ScriptedProvider(script={"a": [Hang(), Hang()]})
    async with serving(memory, tmp_path, provider) as service:
        created = await service.create(scripted_step("a"), scripted_step("b", "a"))
        await provider.until_called("a")
    as_if_killed(memory, 3)
    async with serving(memory, tmp_path, provider) as service:
        workflow = await service.until_ended(created["id"])
        reason = "workflow: its process died 3 times in a row while this workflow alone was under way"
        assert (workflow["status"], workflow["errors"], workflow["error_message"]) == ("FAILED", [reason], reason)
        assert [step["status"] for step in workflow["steps"]] == ["CANCELLED", "PENDING"]
        assert provider.count("a") == 1
        await eventually(lambda: nothing_left(service))
        provider.release("a")
        assert (await service.verb(created["id"], "resume")).status_code == 200
        assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"


async def test_two_times_are_forgiven_and_forgotten_with_the_first_checkpoint(
    memory: MemoryDatabase, clock: ManualClock, tmp_path: Path
) -> None:
    provider = ScriptedProvider(script={"a": [Hang(), Succeed()], "b": [Hang(), Succeed()]})
    async with serving(memory, tmp_path, provider) as service:
        created = await service.create(scripted_step("a"), scripted_step("b", "a"))
        await provider.until_called("a")
    as_if_killed(memory, 2)
    async with serving(memory, tmp_path, provider, wait_for_claims=False) as service:
        clock.advance(service.app.engine.ownership.trials.calm_s)
        await provider.until_called("b")
        assert [(call.step_id, call.number) for call in provider.calls] == [("a", 1), ("a", 1), ("b", 1)]
    assert [state.crashes for state in memory.states()] == [0]
    async with serving(memory, tmp_path, provider) as service:
        assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"


async def test_one_workflow_that_can_not_be_read_does_not_stop_the_others(
    memory: MemoryDatabase, tmp_path: Path
) -> None:
    provider = ScriptedProvider(default=Hang())
    async with serving(memory, tmp_path, provider) as service:
        broken, sound = [(await service.create(scripted_step("a")))["id"] for _ in range(2)]
        await provider.until_called("a", 2)
    memory.tables.workflows[UUID(broken)].record.config = {"retry": 7}
    provider.release("a")
    async with serving(memory, tmp_path, provider) as service:
        assert (await service.until_ended(sound))["status"] == "COMPLETED"
        assert (await service.get(broken))["status"] == "RUNNING"
        response = await service.verb(broken, "cancel")
        assert (response.status_code, "retry-after" in response.headers) == (503, True)


# Responses that were lost


async def test_an_insert_whose_response_was_lost_is_found_by_a_claim(memory: MemoryDatabase, tmp_path: Path) -> None:
    provider = ScriptedProvider()
    async with serving(memory, tmp_path, provider) as service:
        workflow_store = use_failing_store(service)
        workflow_store.inserts.extend([AFTER, BEFORE])
        body = {"name": "n", "origin_instance": "tests", "steps": [scripted_step("a")]}
        for _ in range(2):
            response = await service.client.post("/api/v1/workflows/", params={"start": True}, json=body)
            assert (response.status_code, "retry-after" in response.headers) == (503, True)
        workflows = (await service.client.get("/api/v1/workflows/")).json()["workflows"]
        assert len(workflows) == 1
        assert (await service.until_ended(workflows[0]["id"]))["status"] == "COMPLETED"
        assert len(provider.calls) == 1
        await eventually(lambda: nothing_left(service))


async def test_an_insert_that_lands_after_it_was_given_up_is_found_by_a_later_claim(
    memory: MemoryDatabase, clock: ManualClock, tmp_path: Path
) -> None:
    provider = ScriptedProvider()
    async with serving(memory, tmp_path, provider, database_timeout_s=7) as service:
        workflow_store, ownership = use_failing_store(service), service.app.engine.ownership
        workflow_store.inserts.append(LATE)
        body = {"name": "n", "origin_instance": "tests", "steps": [scripted_step("a")]}
        response = await service.client.post("/api/v1/workflows/", params={"start": True}, json=body)
        assert response.status_code == 503
        await eventually(lambda: workflow_store.claimed > 0 and ownership.resting, "the first claim is over")
        await workflow_store.inner.insert(*workflow_store.late[0])
        # It claims once more when no statement can be at work any more.
        clock.advance(7.9)
        assert ownership.resting
        clock.advance(0.1)
        (workflow,) = (await service.client.get("/api/v1/workflows/")).json()["workflows"]
        assert (await service.until_ended(workflow["id"]))["status"] == "COMPLETED"


async def test_a_claim_whose_response_was_lost_is_made_again(
    memory: MemoryDatabase, clock: ManualClock, tmp_path: Path
) -> None:
    provider = ScriptedProvider(script={"a": [Hang()]})
    async with serving(memory, tmp_path, provider) as service:
        created = await service.create(scripted_step("a"))
        await provider.until_called("a")
    (state,) = memory.states()
    owner, state.owner, state.status = state.owner, None, WorkflowStatus.PAUSED  # nobody takes it
    async with serving(memory, tmp_path, provider) as service:
        workflow_store, ownership = use_failing_store(service), service.app.engine.ownership
        workflow_store.claims.extend([AFTER, BEFORE, AFTER])
        state.owner, state.status = owner, WorkflowStatus.RUNNING
        ownership.claims.request()
        for left in (2, 1, 0):
            await eventually(lambda left=left: len(workflow_store.claims) == left and ownership.resting)  # type: ignore[misc]
            clock.advance(0.5)
        assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"
        assert [state.epoch for state in memory.states()] == [4]
        assert [(call.step_id, call.number) for call in provider.calls] == [("a", 1), ("a", 1)]


async def test_an_attempt_that_heeds_no_cancellation_does_not_keep_the_service_from_leaving(
    memory: MemoryDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stepwell.app.service._LAST_WRITES_S", 0.1)
    monkeypatch.setattr("stepwell.engine.execution.scheduler._CANCEL_S", 0.1)
    provider = ScriptedProvider(script={"a": [Stubborn(), Succeed()]})
    async with serving(memory, tmp_path, provider) as service:
        created = await service.create(scripted_step("a"), scripted_step("b", "a"))
        await provider.until_called("a")
    first = service.app.running
    assert not first.done()
    provider.release("a")
    with pytest.raises(asyncio.CancelledError):
        await first
    async with serving(memory, tmp_path, provider) as service:
        assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"
        assert [(call.step_id, call.number) for call in provider.calls] == [("a", 1), ("a", 1), ("b", 1)]


async def test_however_many_attempts_of_no_ops_were_interrupted(memory: MemoryDatabase, tmp_path: Path) -> None:
    """They are taken up one after the other, not each within the one before: Python's stack isn't as deep."""
    provider, many = ScriptedProvider(), 150
    async with serving(memory, tmp_path, provider) as service:
        step_queue_of(service).closed = True
        await asyncio.gather(*(service.create(passthrough_step("a"), passthrough_step("b", "a")) for _ in range(many)))
    for row in memory.tables.workflows.values():
        step = (row.record.steps or [])[0].state
        task = Task(uuid4(), 0, 1, None, started_at=step.updated_at)
        step.status, step.task_id, step.started_at = StepStatus.RUNNING, task.id, step.updated_at
        step.attempt = step.provider_attempts = 1
        row.tasks[task.id] = TaskRow(task)
        memory.tables.workflow_of_task[task.id] = row.record.state.id
    async with serving(memory, tmp_path, provider, max_running_steps=1) as service:
        await eventually(lambda: service.app.running.done() or nothing_left(service), "all have ended")
        assert not service.app.running.done()
    assert [state.status for state in memory.states()] == [WorkflowStatus.COMPLETED] * many
    tasks = [stored.task for row in memory.tables.workflows.values() for stored in row.tasks.values()]
    assert [(task.attempt, task.status) for task in tasks] == [(1, TaskStatus.COMPLETED)] * 2 * many
