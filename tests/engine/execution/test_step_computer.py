"""Steps that are computed: what is written of them, and when."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from stepwell.engine.attempts.attempt_inputs import AttemptContext
from stepwell.engine.attempts.runner import AttemptRunner
from stepwell.lifecycle.decision import Decision
from stepwell.lifecycle.model import Task
from stepwell.testing import MemoryDatabase
from support.database.failing_store import FailingStore, nothing_left, scheduler_of, step_queue_of, use_failing_store
from support.providers.scripted import Fail, ScriptedProvider, eventually, passthrough_step, scripted_step
from support.service.live_service import Service, serving, statuses_of, step_of
from support.workflows.definitions import mapped


def events_of_writes(store: FailingStore, monkeypatch: pytest.MonkeyPatch) -> list[list[tuple[str, str | None]]]:
    """Return a list that gets the type and step of the events of each write."""
    writes: list[list[tuple[str, str | None]]] = []
    write = store.inner.write

    async def recorded(batch: Sequence[Decision]) -> set[UUID]:
        writes.append([(event.type.value, event.step_id) for decision in batch for event in decision.events])
        return await write(batch)

    monkeypatch.setattr(store.inner, "write", recorded)
    return writes


async def slow_store(service: Service) -> FailingStore:
    """Return the store of the service, which has written something, but doesn't end the next write."""
    await service.until_ended((await service.create(passthrough_step("any")))["id"])
    store = use_failing_store(service)
    store.gate.clear()
    return store


async def test_each_step_of_a_chain_has_a_commit_with_its_begin_and_its_end(
    memory: MemoryDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(memory, tmp_path, ScriptedProvider()) as service:
        writes = events_of_writes(use_failing_store(service), monkeypatch)
        created = await service.create(*(passthrough_step(*step) for step in ("a", "ba", "cb", "dc")))
        workflow = await service.until_ended(created["id"])
    assert statuses_of(workflow) == dict.fromkeys("abcd", "COMPLETED")
    assert [step["retry_count"] for step in workflow["steps"]] == [0, 0, 0, 0]
    assert writes == [
        [("step.started", "a")],
        [("step.completed", "a")],
        [("step.started", "b"), ("step.completed", "b")],
        [("step.started", "c"), ("step.completed", "c")],
        [("step.started", "d"), ("step.completed", "d"), ("workflow.completed", None)],
    ]


@pytest.mark.extended
async def test_a_thousand_steps_that_may_start_at_once_are_computed_in_parts(
    memory: MemoryDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"step-{number}" for number in range(1_000)]
    async with serving(memory, tmp_path, ScriptedProvider()) as service:
        writes = events_of_writes(use_failing_store(service), monkeypatch)
        steps = [passthrough_step("first"), *(passthrough_step(name, "first") for name in names)]
        created = await service.create(*steps, passthrough_step("last", *names))
        assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"
        await eventually(lambda: nothing_left(service))
    assert max(map(len, writes)) <= 250
    completed = [step for write in writes for kind, step in write if kind == "step.completed"]
    assert completed == ["first", *names, "last"]


async def test_a_step_that_is_not_yet_computed_when_the_workflow_is_paused_runs_once_after_resume(
    memory: MemoryDatabase, tmp_path: Path
) -> None:
    async with serving(memory, tmp_path, ScriptedProvider()) as service:
        store = await slow_store(service)
        created = await service.create(passthrough_step("a"), passthrough_step("b", "a"), passthrough_step("c", "b"))
        workflow = scheduler_of(service).workflows[UUID(created["id"])]
        await eventually(lambda: workflow.run.steps[0].status == "COMPLETED")
        assert step_queue_of(service).used == 1, "b has its slot"
        pausing = asyncio.ensure_future(service.verb(created["id"], "pause"))
        await eventually(lambda: workflow.run.state.status == "PAUSED")
        store.gate.set()
        assert (await pausing).status_code == 200
        await eventually(lambda: nothing_left(service))
        paused = await service.get(created["id"])
        assert statuses_of(paused) == {"a": "COMPLETED", "b": "PENDING", "c": "PENDING"}
        assert (await service.verb(created["id"], "resume")).status_code == 200
        ended = await service.until_ended(created["id"])
        assert statuses_of(ended) == dict.fromkeys("abc", "COMPLETED")
        assert [task["attempt"] for task in await service.tasks(created["id"])] == [1, 1, 1]


async def test_a_lost_workflow_gives_back_the_slot_of_a_step_that_is_not_yet_computed(
    memory: MemoryDatabase, tmp_path: Path
) -> None:
    other = uuid4()
    async with serving(memory, tmp_path, ScriptedProvider()) as service:
        store = await slow_store(service)
        created = await service.create(passthrough_step("a"), passthrough_step("b", "a"))
        workflow = scheduler_of(service).workflows[UUID(created["id"])]
        await eventually(lambda: workflow.run.steps[0].status == "COMPLETED")
        memory.take_over(other)
        store.gate.set()
        await eventually(lambda: nothing_left(service))
        assert statuses_of(await service.get(created["id"])) == {"a": "PENDING", "b": "PENDING"}
        del memory.tables.processes[other]  # it has ended, so that its workflows are claimed
        service.app.engine.ownership.claims.request()
        assert statuses_of(await service.until_ended(created["id"])) == {"a": "COMPLETED", "b": "COMPLETED"}


@pytest.mark.parametrize("rule", ["any_completed", "all_ended"])
async def test_a_step_that_permits_failures_is_computed_without_the_mappings_of_failed_steps(
    memory: MemoryDatabase, tmp_path: Path, rule: str
) -> None:
    provider = ScriptedProvider(script={"bad": [Fail(retryable=False)]})
    mappings = [mapped("good", "f", "g"), mapped("bad", "f", "b")]
    async with serving(memory, tmp_path, provider) as service:
        created = await service.create(
            scripted_step("bad", optional=True),
            passthrough_step("good", config={"f": 1}),
            passthrough_step("last", "good", "bad", run_if=rule, input_mappings=mappings),
        )
        last = step_of(await service.until_ended(created["id"]), "last")
        assert (last["status"], last["result"], last["error_message"]) == ("COMPLETED", {"g": 1}, None)


async def test_steps_that_may_not_start_any_more_are_not_computed(
    memory: MemoryDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared, prepare = list[int](), AttemptRunner.prepare

    def counted(runner: AttemptRunner, context: AttemptContext, task: Task) -> Any:
        prepared.append(task.position)
        return prepare(runner, context, task)

    async with serving(memory, tmp_path, ScriptedProvider()) as service:
        store = await slow_store(service)
        monkeypatch.setattr(AttemptRunner, "prepare", counted)
        created = await service.create(passthrough_step("a"), *(passthrough_step(f"b{number}", "a") for number in "12"))
        workflow = scheduler_of(service).workflows[UUID(created["id"])]
        await eventually(lambda: workflow.run.steps[0].status == "COMPLETED")
        cancelling = asyncio.ensure_future(service.verb(created["id"], "cancel"))
        await eventually(lambda: workflow.run.state.status == "CANCELLED")
        store.gate.set()
        assert (await cancelling).status_code == 200
        await eventually(lambda: nothing_left(service))
    assert prepared == [0]


async def test_a_step_that_becomes_ready_twice_before_it_is_computed_runs_once(
    memory: MemoryDatabase, tmp_path: Path
) -> None:
    async with serving(memory, tmp_path, ScriptedProvider()) as service:
        store = await slow_store(service)
        created = await service.create(passthrough_step("a"), passthrough_step("b", "a"), passthrough_step("c", "b"))
        workflow = scheduler_of(service).workflows[UUID(created["id"])]
        await eventually(lambda: workflow.run.steps[0].status == "COMPLETED")
        pausing = asyncio.ensure_future(service.verb(created["id"], "pause"))
        await eventually(lambda: workflow.run.state.status == "PAUSED")
        resuming = asyncio.ensure_future(service.verb(created["id"], "resume"))
        await eventually(lambda: workflow.run.state.status == "RUNNING")
        store.gate.set()
        assert [(await each).status_code for each in (pausing, resuming)] == [200, 200]
        ended = await service.until_ended(created["id"])
        await eventually(lambda: nothing_left(service))
        assert statuses_of(ended) == dict.fromkeys("abc", "COMPLETED")
        assert [task["attempt"] for task in await service.tasks(created["id"])] == [1, 1, 1]
