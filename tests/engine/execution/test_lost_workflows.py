"""Workflows that this process has lost, refused rows, attempts that don't end, and responses that must wait.

Claims beside creates run on PostgreSQL, because the snapshots of its statements are the subject.
"""

import asyncio
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from msgspec import json

from stepwell.basics.tenancy import EVERY_TENANT
from stepwell.testing import ManualClock, MemoryDatabase
from support.database.failing_store import AFTER, nothing_left, scheduler_of, step_queue_of, use_failing_store
from support.database.postgres import connected
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
from support.service.live_service import serving, statuses_of

OTHER = uuid4()


def rows(memory: MemoryDatabase) -> bytes:
    """Return all rows of all workflows."""
    return json.encode(list(memory.tables.workflows.values()))


# Another process has it


@pytest.mark.parametrize("ending", [Succeed(files={"y": b"2"}), Fail(), Fail(retryable=False)])
async def test_a_lost_run_writes_nothing_touches_no_file_and_ends_its_attempts(
    memory: MemoryDatabase, tmp_path: Path, ending: Succeed | Fail
) -> None:
    files = {"x": b"1"}
    provider = ScriptedProvider(script={"a": [Hang(ending, files)], "b": [Hang(files=files)], "mine": [Hang()]})
    async with serving(memory, tmp_path, provider) as service:
        lost = await service.create(
            scripted_step("a"), scripted_step("b"), scripted_step("c", "a"), scripted_step("d", "b")
        )
        await provider.until_called("a")
        await provider.until_called("b")
        memory.take_over(OTHER)
        mine = await service.create(scripted_step("mine"))
        await provider.until_called("mine")
        before = rows(memory)
        provider.release("a")
        await eventually(lambda: provider.ends("b") == ["cancelled"], "its other attempt is cancelled")
        await eventually(lambda: list(scheduler_of(service).held) == [UUID(mine["id"])])
        assert step_queue_of(service).used == 1
        assert rows(memory) == before
        assert {call.step_id for call in provider.calls} == {"a", "b", "mine"}
        # The other process may be writing the same files by now.
        kept = {path.name for path in service.stored_files()}
        assert kept == {"x"} | ({"y"} if isinstance(ending, Succeed) else set())
        for verb in ("pause", "cancel"):
            response = await service.verb(lost["id"], verb)
            assert (response.status_code, "retry-after" in response.headers) == (503, True)
        assert rows(memory) == before
        provider.release("mine")
        assert (await service.until_ended(mine["id"]))["status"] == "COMPLETED"
        # When the other process goes, it comes back, and goes on where it was.
        provider.release("b")
        del memory.tables.processes[OTHER]
        assert (await service.verb(lost["id"], "cancel")).status_code in {200, 503}
        await service.until_ended(lost["id"])
        await eventually(lambda: nothing_left(service))


async def test_a_verb_on_a_lost_run_does_not_take_effect(memory: MemoryDatabase, tmp_path: Path) -> None:
    provider = ScriptedProvider(default=Hang())
    async with serving(memory, tmp_path, provider) as service:
        created = await service.create(scripted_step("a"))
        await provider.until_called("a")
        memory.take_over(OTHER)
        before = rows(memory)
        response = await service.verb(created["id"], "pause")
        assert (response.status_code, "retry-after" in response.headers) == (503, True)
        assert rows(memory) == before
        await eventually(lambda: nothing_left(service))


async def test_a_lost_run_comes_back_only_when_nothing_of_it_is_left_here(
    memory: MemoryDatabase, tmp_path: Path
) -> None:
    provider = ScriptedProvider(script={"a": [Stubborn(), Succeed()], "b": [Hang()]})
    async with serving(memory, tmp_path, provider) as service:
        created = await service.create(scripted_step("a"), scripted_step("b"))
        await provider.until_called("a")
        await provider.until_called("b")
        memory.take_over(OTHER)
        del memory.tables.processes[OTHER]  # and that one has gone already
        workflow_store = use_failing_store(service)
        provider.release("b")
        await eventually(lambda: workflow_store.batches != [] and not scheduler_of(service).workflows, "it is lost")
        for wanted in (1, 2):
            service.app.engine.ownership.claims.request()
            await eventually(lambda wanted=wanted: workflow_store.claimed >= wanted)  # type: ignore[misc]
        assert scheduler_of(service).held == {UUID(created["id"])}
        assert [call.step_id for call in provider.calls] == ["a", "b"]
        provider.release("a")
        workflow = await service.until_ended(created["id"])
        assert statuses_of(workflow) == {"a": "COMPLETED", "b": "COMPLETED"}
        assert [(call.step_id, call.number) for call in provider.calls] == [("a", 1), ("b", 1)] * 2
        assert len({call.task_id for call in provider.calls}) == 2
        await eventually(lambda: nothing_left(service))


@pytest.mark.parametrize("taken_over", [True, False])
async def test_an_attempt_that_ends_well_although_it_was_cancelled_leaves_a_file_only_to_a_new_owner(
    memory: MemoryDatabase,
    tmp_path: Path,
    taken_over: bool,  # noqa: FBT001
) -> None:
    provider = ScriptedProvider(script={"a": [Stubborn(files={"x": b"1"})], "b": [Hang()]})
    async with serving(memory, tmp_path, provider) as service:
        created = await service.create(scripted_step("a"), scripted_step("b"))
        await provider.until_called("a")
        await provider.until_called("b")
        if taken_over:
            memory.take_over(OTHER)
            provider.release("b")
            await eventually(lambda: not scheduler_of(service).workflows, "it is lost")
        else:
            assert (await service.verb(created["id"], "cancel")).status_code == 200
        provider.release("a")
        await eventually(lambda: nothing_left(service))
        kept = {path.name for path in service.stored_files()}
        assert kept == ({"x"} if taken_over else set())


async def test_a_claim_under_a_run_of_this_process_heals(memory: MemoryDatabase, tmp_path: Path) -> None:
    """It should not be; if it is, the run is dropped and taken up again from the rows."""
    provider = ScriptedProvider(script={"a": [Hang()]})
    async with serving(memory, tmp_path, provider) as service:
        created = await service.create(scripted_step("a"), scripted_step("b", "a"))
        await provider.until_called("a")
        parts = service.app
        loaded = await parts.stores.database.workflow_store.claim(
            parts.process.owner, [], parts.process.clock.now(), 10
        )
        await parts.engine.ownership.register(loaded)
        assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"
        assert [(call.step_id, call.number) for call in provider.calls] == [("a", 1), ("a", 1), ("b", 1)]
        await eventually(lambda: nothing_left(service))


# The database refuses its rows


async def test_a_workflow_whose_rows_are_refused_fails_and_no_other(memory: MemoryDatabase, tmp_path: Path) -> None:
    provider = ScriptedProvider(script={"bad": [Hang()], "good": [Hang()], "slow": [Hang()]})
    async with serving(memory, tmp_path, provider) as service:
        bad = await service.create(scripted_step("bad"), scripted_step("slow"), scripted_step("after", "bad"))
        good = await service.create(scripted_step("good"), scripted_step("then", "good"))
        for step_id in ("bad", "good", "slow"):
            await provider.until_called(step_id)
        workflow_store = use_failing_store(service)
        workflow_store.refuse_running.add(UUID(bad["id"]))
        workflow_store.gate.clear()
        provider.release("bad", "good")
        await eventually(lambda: provider.ends("bad") == provider.ends("good") == ["succeeded"])
        await eventually(lambda: len(scheduler_of(service).checkpointer.held) == 2)
        tried = len(workflow_store.batches)
        workflow_store.gate.set()
        await eventually(lambda: len(workflow_store.batches) > tried)
        await eventually(lambda: provider.ends("slow") == ["cancelled"])
        workflow = await service.until_ended(bad["id"])
        workflow_store.refuse_running.clear()
        reason = "workflow: the database refused to store its progress"
        assert (workflow["status"], workflow["errors"]) == ("FAILED", [reason])
        assert statuses_of(workflow) == {"bad": "CANCELLED", "slow": "CANCELLED", "after": "PENDING"}
        assert (await service.until_ended(good["id"]))["status"] == "COMPLETED"
        await eventually(lambda: nothing_left(service))
        provider.release("slow")
        assert (await service.verb(bad["id"], "resume")).status_code == 200
        assert (await service.until_ended(bad["id"]))["status"] == "COMPLETED"


async def test_a_workflow_whose_every_row_is_refused_is_left_alone(memory: MemoryDatabase, tmp_path: Path) -> None:
    provider = ScriptedProvider(script={"bad": [Hang()]})
    async with serving(memory, tmp_path, provider) as service:
        bad = await service.create(scripted_step("bad"))
        await provider.until_called("bad")
        workflow_store = use_failing_store(service)
        workflow_store.refuse.add(UUID(bad["id"]))
        provider.release("bad")
        await eventually(lambda: UUID(bad["id"]) in service.app.engine.ownership.unloadable)
        await eventually(lambda: nothing_left(service))
        assert workflow_store.batches == [[UUID(bad["id"])]] * 2
        assert (await service.get(bad["id"]))["status"] == "RUNNING"
        assert (await service.verb(bad["id"], "cancel")).status_code == 503
        good = await service.create(scripted_step("good"))
        assert (await service.until_ended(good["id"]))["status"] == "COMPLETED"


# What must wait


async def test_no_response_tells_of_what_is_not_yet_written_not_even_a_refusal(
    memory: MemoryDatabase, tmp_path: Path
) -> None:
    provider = ScriptedProvider(script={"a": [Hang()]})
    async with serving(memory, tmp_path, provider) as service:
        created = await service.create(scripted_step("a"))
        await provider.until_called("a")
        workflow_store = use_failing_store(service)
        workflow_store.gate.clear()
        provider.release("a")
        (workflow,) = scheduler_of(service).workflows.values()
        await eventually(lambda: workflow.run.state.status == "COMPLETED")
        async with asyncio.TaskGroup() as group:
            pausing = group.create_task(service.verb(created["id"], "pause"))
            await eventually(lambda: workflow.pins == 1)
            assert (await service.get(created["id"]))["status"] == "RUNNING"
            assert not pausing.done()
            workflow_store.gate.set()
        response = pausing.result()
        assert (response.status_code, response.json()["current_status"]) == (409, "COMPLETED")
        assert (await service.get(created["id"]))["status"] == "COMPLETED"
        await eventually(lambda: nothing_left(service))


async def test_an_attempt_starts_only_when_its_intent_is_written_and_a_cancel_overtakes_it(
    memory: MemoryDatabase, tmp_path: Path
) -> None:
    provider = ScriptedProvider()
    async with serving(memory, tmp_path, provider) as service:
        created = await service.create(scripted_step("a"), start=False)
        workflow_store = use_failing_store(service)
        workflow_store.gate.clear()
        async with asyncio.TaskGroup() as group:
            group.create_task(service.verb(created["id"], "start"))
            await eventually(lambda: len(workflow_store.batches) == 1)
            assert step_queue_of(service).used == 1
            cancelling = group.create_task(service.verb(created["id"], "cancel"))
            await eventually(lambda: scheduler_of(service).checkpointer.held == {UUID(created["id"])})
            (workflow,) = scheduler_of(service).workflows.values()
            await eventually(lambda: workflow.run.state.status == "CANCELLED")
            assert provider.calls == []
            workflow_store.gate.set()
        assert cancelling.result().json()["status"] == "CANCELLED"
        await eventually(lambda: nothing_left(service))
        assert [call.end for call in provider.calls] in ([], ["cancelled"], ["succeeded"])
        assert statuses_of(await service.get(created["id"])) == {"a": "CANCELLED"}


async def test_cleanup_waits_for_attempts_that_still_end_and_leaves_no_file(
    memory: MemoryDatabase, tmp_path: Path
) -> None:
    provider = ScriptedProvider(
        script={"a": [Stubborn()], "b": [Hang(files={"x": b"1"})], "c": [Succeed(files={"y": b"2"})]}
    )
    async with serving(memory, tmp_path, provider) as service:
        created = await service.create(scripted_step("c"), scripted_step("a"), scripted_step("b", "c"))
        await provider.until_called("a")
        await provider.until_called("b")
        assert (await service.verb(created["id"], "cancel")).json()["status"] == "CANCELLED"
        async with asyncio.TaskGroup() as group:
            cleaning = group.create_task(service.verb(created["id"], "cleanup", cleanup_tasks=True))
            await service.until(created["id"], lambda workflow: workflow["is_deleted"])
            assert not cleaning.done()
            provider.release("a")
        report = cleaning.result().json()["cleanup"]
        assert (report["tasks_processed"], report["tasks_cleaned"], len(report["deleted_paths"])) == (3, 3, 1)
        assert not service.stored_files()
        await eventually(lambda: nothing_left(service))


async def test_a_cleanup_that_gave_up_waiting_harms_nobody(
    memory: MemoryDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = ScriptedProvider(script={"a": [Stubborn()]})
    async with serving(memory, tmp_path, provider) as service:
        created = await service.create(scripted_step("a"))
        await provider.until_called("a")
        await service.verb(created["id"], "cancel")
        monkeypatch.setattr("stepwell.engine.execution.leaving_workflows._QUIET_S", 0.05)
        response = await service.verb(created["id"], "cleanup", cleanup_tasks=True)
        assert (response.status_code, response.json()["cleanup"]["pending"]) == (200, True)
        provider.release("a")
        await eventually(lambda: nothing_left(service))
        monkeypatch.undo()
        assert (await service.verb(created["id"], "cleanup", cleanup_tasks=True)).status_code == 200


async def test_the_files_of_an_attempt_that_ends_well_after_a_timeout_are_discarded_although_others_start_at_once(
    memory: MemoryDatabase, clock: ManualClock, tmp_path: Path
) -> None:
    """The outcome isn't wanted any more; the slot that it frees starts the next step of the same workflow."""
    provider = ScriptedProvider(script={"a": [Stubborn(files={"x": b"1"}), Succeed()]})
    async with serving(memory, tmp_path, provider, max_running_steps=1) as service:
        created = await service.create(scripted_step("a"), config={"workflow_timeout_s": 0.3})
        await provider.until_called("a")
        clock.advance(0.3)
        await service.until_ended(created["id"])
        assert (await service.verb(created["id"], "resume")).status_code == 200
        await eventually(lambda: step_queue_of(service).waiting == 1)
        provider.release("a")
        assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"
        await eventually(lambda: not service.stored_files())
        await eventually(lambda: nothing_left(service))


# Who comes and goes at the same time


async def test_claims_and_starts_at_once_never_take_a_workflow_twice(dsn: str, tmp_path: Path) -> None:
    provider = ScriptedProvider()
    async with serving(dsn, tmp_path, provider, database_timeout_s=60) as service:
        over = False

        async def claim_on_and_on() -> None:
            while not over:
                service.app.engine.ownership.claims.request()
                await asyncio.sleep(0.001)

        async with asyncio.TaskGroup() as group:
            group.create_task(claim_on_and_on())
            made = [
                group.create_task(service.create(scripted_step("a"), passthrough_step("b", "a"))) for _ in range(20)
            ]
            later = [
                await service.create(scripted_step("a"), passthrough_step("b", "a"), start=False) for _ in range(20)
            ]
            started = [group.create_task(service.verb(one["id"], "start")) for one in later]
            await asyncio.wait([*made, *started])
            over = True
        assert {asyncio_task.result().status_code for asyncio_task in started} == {200}
        for workflow in [asyncio_task.result() for asyncio_task in made] + later:
            assert (await service.until_ended(workflow["id"]))["status"] == "COMPLETED"
        assert len(provider.calls) == 40
        assert not provider.repeated()
        async with connected(dsn) as sql:
            assert await sql.fetchval("SELECT array_agg(DISTINCT epoch) FROM workflows") == [1]
        await eventually(lambda: nothing_left(service))


async def test_a_create_that_is_cancelled_is_found_again_if_it_was_stored(
    memory: MemoryDatabase, tmp_path: Path
) -> None:
    provider = ScriptedProvider()
    async with serving(memory, tmp_path, provider) as service:
        workflow_store = use_failing_store(service)
        stored = asyncio.Event()

        async def insert(original: Any, *arguments: Any) -> None:
            await original(*arguments)
            stored.set()
            await asyncio.Event().wait()

        workflow_store.insert = partial(insert, workflow_store.insert)  # type: ignore[method-assign]
        creating = asyncio.ensure_future(service.create(scripted_step("a")))
        await stored.wait()
        creating.cancel()
        with pytest.raises(asyncio.CancelledError):
            await creating
        (workflow,) = (await service.client.get("/api/v1/workflows/")).json()["workflows"]
        assert (await service.until_ended(workflow["id"]))["status"] == "COMPLETED"
        await eventually(lambda: nothing_left(service))


async def test_a_response_that_was_lost_is_no_reason_to_do_it_again(memory: MemoryDatabase, tmp_path: Path) -> None:
    provider = ScriptedProvider(script={"a": [Fail(retry_after_s=0), Succeed()]})
    async with serving(memory, tmp_path, provider) as service:
        workflow_store = use_failing_store(service)
        created = await service.create(scripted_step("a"), scripted_step("b", "a"), start=False)
        workflow_store.faults.extend([AFTER, None] * 10)
        response = await service.verb(created["id"], "start")
        assert response.status_code == 200
        assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"
        assert [(call.step_id, call.number) for call in provider.calls] == [("a", 1), ("a", 2), ("b", 1)]
        record = await service.app.services.reads.get(EVERY_TENANT, UUID(created["id"]))
        assert record.state.epoch == 1
        await eventually(lambda: nothing_left(service))
