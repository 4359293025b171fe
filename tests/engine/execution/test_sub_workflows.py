"""Sub-workflows in the running service: they run as workflows of their own, follow their parents, and end their steps.

What must hold:
- Each run of a step has one sub-workflow, whatever process creates it, and however often.
- A verb on the parent reaches its sub-workflows (F5). No end of a sub-workflow is lost (F6).
- Resume of the parent continues the same sub-workflow, and nothing that it completed runs again.
"""

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from stepwell.basics.errors import UploadsGone
from stepwell.basics.setting_values import Networks
from stepwell.basics.tenancy import EVERY_TENANT
from stepwell.basics.workflow_limits import RootLimits
from stepwell.definition.validation.workflow import ValidatedWorkflow, validate_workflow
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.engine.execution.children import child_attempts, child_builder
from stepwell.engine.execution.children.child_attempts import ChildAttempts
from stepwell.engine.execution.children.stored_children import StoredChildren
from stepwell.engine.execution.new_workflow import NewWorkflowBundle
from stepwell.engine.execution.open_children import ChildCheck, OpenChildren
from stepwell.engine.execution.timers import PARK_AFTER_S
from stepwell.lifecycle.model import NEVER
from stepwell.lifecycle.peer_commands import ClientVerb
from stepwell.testing import ManualClock, MemoryDatabase
from stepwell.testing.memory_tables import WorkflowRow
from stepwell.testing.memory_workflow_store import MemoryWorkflowStore
from support.database.failing_store import AFTER, nothing_left, scheduler_of, use_failing_store
from support.providers.scripted import (
    Fail,
    Hang,
    ScriptedProvider,
    Succeed,
    eventually,
    passthrough_step,
    scripted_step,
)
from support.service.live_service import Service, serving, statuses_of, step_of
from support.workflows.delays import in_memory, state_of, until_only_waiting
from support.workflows.sub_workflows import child_of, runs

WORKFLOWS = "/api/v1/workflows/"


@pytest.fixture
def provider() -> ScriptedProvider:
    return ScriptedProvider()


@pytest.fixture
async def service(memory: MemoryDatabase, tmp_path: Path, provider: ScriptedProvider) -> AsyncIterator[Service]:
    async with serving(memory, tmp_path, provider) as service:
        yield service


async def park(service: Service, workflow_id: str, clock: ManualClock) -> None:
    """Let the workflow leave memory; its sub-workflow stays there."""
    await until_only_waiting(service, workflow_id)
    clock.advance(PARK_AFTER_S)
    await eventually(lambda: workflow_id not in in_memory(service), "it has left memory")


async def until_status(service: Service, workflow_id: str, status: str) -> None:
    await service.until(workflow_id, lambda workflow: workflow["status"] == status)


async def paused_family(service: Service, provider: ScriptedProvider) -> tuple[str, str, str]:
    """Return the ids of a PAUSED workflow, of its sub-workflow, and of the sub-workflow of that one."""
    provider.default = Hang()
    created = await service.create(runs(runs(scripted_step("a"), scripted_step("b", "a"), step_id="inner")))
    await provider.until_called("a")
    child = await child_of(service, created)
    grandchild = await child_of(service, {"id": child})
    await service.verb(created["id"], "pause")
    await until_status(service, grandchild, "PAUSED")
    provider.release("a")
    return created["id"], child, grandchild


async def test_the_result_of_a_step_is_that_of_its_sub_workflow(
    service: Service, provider: ScriptedProvider, memory: MemoryDatabase
) -> None:
    provider.plan("a", Succeed({"score": 1}))
    provider.plan("b", Succeed({"score": 2}))
    created = await service.create(
        runs(scripted_step("a"), scripted_step("b", "a")),
        passthrough_step("after", "sub", config={"score": "${sub.final.score}"}),
    )
    ended = await service.until_ended(created["id"])
    assert ended["status"] == "COMPLETED", ended["errors"]
    assert ended["cost"] is None
    result = step_of(ended, "sub")["result"]
    assert (result["status"], result["results"], result["final"]) == (
        "COMPLETED",
        {"a": {"score": 1}, "b": {"score": 2}},
        {"score": 2},
    )
    assert step_of(ended, "after")["result"] == {"score": 2}
    assert (step_of(ended, "sub")["provider"], step_of(ended, "sub")["model"]) == (None, None)
    child = await service.get(result["workflow_id"])
    assert (child["name"], child["status"]) == ("a child", "COMPLETED")
    assert child["parent"] == {"workflow_id": created["id"], "step_id": "sub", "item": None}


async def test_a_sub_workflow_gets_inputs_from_its_step(service: Service) -> None:
    inner = passthrough_step("show", config={"text": "${inputs.text}", "size": "${inputs.size}"})
    step = runs(inner, inputs={"text": "${source.text}"}, depends_on=["source"])
    step["config"]["workflow"] |= {"inputs": {"text": "a default", "size": 3}, "origin_instance": None}
    created = await service.create(passthrough_step("source", config={"text": "a shoe"}), step)
    ended = await service.until_ended(created["id"])
    assert ended["status"] == "COMPLETED", ended["errors"]
    assert step_of(ended, "sub")["result"]["final"] == {"text": "a shoe", "size": 3}


async def test_a_sub_workflow_that_fails_fails_its_step_and_resume_continues_it(
    service: Service, provider: ScriptedProvider
) -> None:
    provider.plan("a", Succeed({"n": 1}))
    provider.plan("b", Fail(retryable=False), Succeed({"n": 2}))
    created = await service.create(runs(scripted_step("a"), scripted_step("b", "a")))
    failed = await service.until_ended(created["id"])
    assert (failed["status"], statuses_of(failed)) == ("FAILED", {"sub": "FAILED"})
    assert "has FAILED: " in failed["error_message"]
    await service.verb(created["id"], "resume")
    ended = await service.until(created["id"], lambda workflow: workflow["status"] == "COMPLETED")
    assert step_of(ended, "sub")["result"]["results"] == {"a": {"n": 1}, "b": {"n": 2}}
    assert [call.step_id for call in provider.calls] == ["a", "b", "b"]


async def test_resume_begins_a_new_sub_workflow_in_place_of_one_that_somebody_cancelled(
    service: Service, provider: ScriptedProvider
) -> None:
    provider.plan("a", Hang(), Succeed({"n": 1}))
    created = await service.create(runs(scripted_step("a")))
    child = await child_of(service, created)
    await provider.until_called("a")
    await service.verb(child, "cancel")
    failed = await service.until_ended(created["id"])
    assert (failed["status"], failed["error_message"][-13:]) == ("FAILED", "was CANCELLED")
    await service.verb(created["id"], "resume")
    ended = await service.until(created["id"], lambda workflow: workflow["status"] == "COMPLETED")
    result = step_of(ended, "sub")["result"]
    assert (result["workflow_id"] == child, result["results"]) == (False, {"a": {"n": 1}})


async def test_a_look_at_a_sub_workflow_before_it_is_resumed_ends_nothing(
    memory: MemoryDatabase, tmp_path: Path, provider: ScriptedProvider
) -> None:
    """All are looked at whenever messages may have got lost."""
    provider.plan("a", Fail(retryable=False), Succeed({"n": 1}))
    async with serving(memory, tmp_path, provider, exclusive=False) as service:
        created = await service.create(runs(scripted_step("a")))
        assert (await service.until_ended(created["id"]))["status"] == "FAILED"
        await eventually(lambda: bool(memory.tables.command_listeners), "the service hears messages")
        (listeners,) = memory.tables.command_listeners.values()
        await service.verb(created["id"], "resume")
        async with asyncio.timeout(60):
            while (await service.get(created["id"]))["status"] == "RUNNING":
                for listener in listeners:
                    listener.resubscribed()
        ended = await service.until_ended(created["id"])
        assert ended["status"] == "COMPLETED", ended["errors"]


async def test_a_look_at_a_sub_workflow_while_it_is_stored_ends_nothing(
    memory: MemoryDatabase, tmp_path: Path, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look reads that there is none, and the parent knows of the sub-workflow before it hears of that."""
    insert, read, may_insert = MemoryWorkflowStore.insert_child, MemoryWorkflowStore.child_statuses, asyncio.Event()

    async def insert_child(*args: Any) -> Any:
        await may_insert.wait()
        return await insert(*args)

    async def child_statuses(*args: Any) -> Any:
        found = await read(*args)
        if not may_insert.is_set():
            may_insert.set()
            await child_of(service, created)
        return found

    monkeypatch.setattr(MemoryWorkflowStore, "insert_child", insert_child)
    monkeypatch.setattr(MemoryWorkflowStore, "child_statuses", child_statuses)
    async with serving(memory, tmp_path, provider, exclusive=False) as service:
        created = await service.create(runs(scripted_step("a")))
        await eventually(lambda: bool(memory.tables.command_listeners), "the service hears messages")
        (listeners,) = memory.tables.command_listeners.values()
        async with asyncio.timeout(60):
            while not may_insert.is_set():
                for listener in listeners:
                    listener.resubscribed()
                await asyncio.sleep(0)
        ended = await service.until_ended(created["id"])
        assert ended["status"] == "COMPLETED", ended["errors"]
    assert len(memory.tables.workflows) == 2


@pytest.mark.parametrize("is_parked", [False, True])
async def test_cancel_reaches_the_sub_workflow(
    service: Service, clock: ManualClock, provider: ScriptedProvider, *, is_parked: bool
) -> None:
    provider.default = Hang()
    created = await service.create(runs(scripted_step("a")))
    child = await child_of(service, created)
    await provider.until_called("a")
    if is_parked:
        await park(service, created["id"], clock)
    await service.verb(created["id"], "cancel")
    assert (await service.until_ended(child))["status"] == "CANCELLED"
    assert (await service.get(created["id"]))["status"] == "CANCELLED"


@pytest.mark.parametrize("is_parked", [False, True])
async def test_pause_and_resume_reach_the_sub_workflow(
    service: Service, clock: ManualClock, provider: ScriptedProvider, *, is_parked: bool
) -> None:
    provider.default = Hang()
    created = await service.create(runs(scripted_step("a"), scripted_step("b", "a")))
    child = await child_of(service, created)
    await provider.until_called("a")
    if is_parked:
        await park(service, created["id"], clock)
    await service.verb(created["id"], "pause")
    await service.until(child, lambda workflow: workflow["status"] == "PAUSED")
    await service.verb(created["id"], "resume")
    await service.until(child, lambda workflow: workflow["status"] == "RUNNING")
    provider.release("a")
    await provider.until_called("b")
    provider.release("b")
    assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"


async def test_the_end_of_a_sub_workflow_brings_its_parked_parent_back(
    service: Service, clock: ManualClock, provider: ScriptedProvider
) -> None:
    provider.plan("a", Hang())
    created = await service.create(runs(scripted_step("a")), scripted_step("after", "sub"))
    await provider.until_called("a")
    await park(service, created["id"], clock)
    provider.release("a")
    assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"


async def test_a_parent_that_has_seen_an_end_stays_parked_until_the_next_one(
    service: Service, clock: ManualClock, provider: ScriptedProvider
) -> None:
    provider.default = Hang()
    created = await service.create(runs(scripted_step("a")), runs(scripted_step("b"), step_id="other"))
    await eventually(lambda: len(provider.calls) == 2, "both run")
    provider.release("a")
    await service.until(created["id"], lambda workflow: statuses_of(workflow)["sub"] == "COMPLETED")
    await park(service, created["id"], clock)
    assert state_of(service, created["id"]).wake_at == NEVER
    provider.release("b")
    assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"


@pytest.mark.parametrize("reads_status", [False, True])
async def test_an_end_wakes_a_parent_that_leaves_memory_before_it_is_seen(
    service: Service, clock: ManualClock, provider: ScriptedProvider, *, reads_status: bool
) -> None:
    """The parent is in memory for a verb, or reads the status of its sub-workflow, while that ends."""
    provider.default = Hang()
    created = await service.create(runs(scripted_step("a")))
    child = await child_of(service, created)
    await provider.until_called("a")
    if reads_status:
        await eventually(lambda: not scheduler_of(service).checkpointer.held, "all is stored")
        store = use_failing_store(service)
        store.status_reads.clear()
        provider.release("a")
        await service.until_ended(child)
        parent = scheduler_of(service).workflows[UUID(created["id"])]
        clock.advance(PARK_AFTER_S)
        async with asyncio.timeout(60):
            await parent.evicted.wait()
        store.status_reads.set()
    else:
        await park(service, created["id"], clock)
        async with service.app.services.workflows.access.pinned(EVERY_TENANT, UUID(created["id"])):
            provider.release("a")
            await service.until_ended(child)
            await eventually(lambda: in_memory(service) == {created["id"]}, "only the parent is in memory")
    assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"


async def test_a_parent_resumes_its_sub_workflow_though_no_more_workflows_may_wait(
    memory: MemoryDatabase, tmp_path: Path, clock: ManualClock, provider: ScriptedProvider
) -> None:
    """Otherwise parents that were resumed together hold all slots, and wait for sub-workflows that get none."""
    provider.default = Hang()
    async with serving(memory, tmp_path, provider, max_active_workflows=1, max_waiting_workflows=1) as service:
        created = await service.create(runs(scripted_step("a"), scripted_step("b", "a")))
        child = await child_of(service, created)
        await provider.until_called("a")
        await service.verb(created["id"], "pause")
        await service.until(child, lambda workflow: workflow["status"] == "PAUSED")
        provider.release("a")
        await eventually(lambda: nothing_left(service), "both are paused")
        store = use_failing_store(service)
        store.status_reads.clear()
        assert (await service.verb(created["id"], "resume")).status_code == 200
        other = await service.create(passthrough_step("other"))  # the only one that may wait
        provider.default = Succeed()
        store.status_reads.set()
        assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"
        assert (await service.until_ended(other["id"]))["status"] == "COMPLETED"


async def test_all_sub_workflows_of_a_paused_workflow_are_deleted_with_it(
    service: Service, provider: ScriptedProvider
) -> None:
    root, child, grandchild = await paused_family(service, provider)
    await eventually(lambda: nothing_left(service), "all are paused")
    response = await service.client.delete(f"{WORKFLOWS}{root}/data")
    assert (response.status_code, response.json()["pending"]) == (200, False)
    found = [await service.client.get(f"{WORKFLOWS}{each}") for each in (root, child, grandchild)]
    assert [each.status_code for each in found] == [404] * 3


async def test_a_stored_sub_workflow_is_continued_by_a_process_that_would_refuse_its_definition(
    memory: MemoryDatabase, tmp_path: Path, provider: ScriptedProvider
) -> None:
    provider.plan("a", Fail(retryable=False), Succeed({"n": 1}))
    step = runs(scripted_step("a"))
    step["config"]["workflow"]["webhook_url"] = "http://127.0.0.1:9/hook"
    async with serving(memory, tmp_path, provider) as service:
        created = await service.create(step)
        assert (await service.until_ended(created["id"]))["status"] == "FAILED"
    async with serving(memory, tmp_path, provider, allowed_cidrs=Networks.read("10.0.0.0/8")) as service:
        await service.verb(created["id"], "resume")
        ended = await service.until(created["id"], lambda workflow: workflow["status"] != "RUNNING")
        assert ended["status"] == "COMPLETED", ended["errors"]


async def test_a_sub_workflow_whose_insert_was_unsure_is_admitted(service: Service) -> None:
    store = use_failing_store(service)
    store.inserts.extend([None, AFTER])
    created = await service.create(runs(passthrough_step("a", config={"n": 1})))
    assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"


async def test_a_sub_workflow_that_somebody_paused_stays_paused_until_its_parent_is_paused_and_resumed(
    service: Service, clock: ManualClock, provider: ScriptedProvider
) -> None:
    """Not even a process that loads the parent resumes it."""
    provider.default = Hang()
    created = await service.create(runs(scripted_step("a"), scripted_step("b", "a")))
    child = await child_of(service, created)
    await provider.until_called("a")
    clock.advance(1)
    await service.verb(child, "pause")
    provider.release("a")
    await park(service, created["id"], clock)
    assert isinstance(service.database, MemoryDatabase)
    service.database.tables.workflows[UUID(created["id"])].record.state.wake_at = clock.now()
    service.app.engine.workflow_queue.look_for_due()
    await eventually(lambda: created["id"] in in_memory(service), "it is due")
    await park(service, created["id"], clock)
    assert (await service.get(child))["status"] == "PAUSED"
    clock.advance(1)
    for verb, status in (("pause", "PAUSED"), ("resume", "RUNNING")):
        assert (await service.verb(created["id"], verb)).status_code == 200
        await until_status(service, child, status)
    await provider.until_called("b")


async def test_a_sub_workflow_that_failed_by_itself_is_not_resumed_by_the_next_process(
    memory: MemoryDatabase, tmp_path: Path, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first process ends before it reports that the sub-workflow exists, in the second run of the step."""
    provider.plan("judge", Succeed({"score": 0}), Fail("out of paint", retryable=False), Succeed({"score": 1}))
    insert, add, inserted = ChildAttempts.insert, OpenChildren.add, list[bool]()

    async def insert_and_hang(self: ChildAttempts, bundle: NewWorkflowBundle, task_id: UUID) -> bool:
        inserted.append(await insert(self, bundle, task_id))
        if len(inserted) == 2:
            await asyncio.Event().wait()
        return inserted[-1]

    def add_the_first(self: OpenChildren, parent: ActiveWorkflow, child_id: UUID, check: ChildCheck) -> None:
        if not inserted:
            add(self, parent, child_id, check)

    step = runs(scripted_step("judge"), repeat={"until": "final.score > `0`", "max": 2})
    with monkeypatch.context() as patched:
        patched.setattr(ChildAttempts, "insert", insert_and_hang)
        patched.setattr(OpenChildren, "add", add_the_first)  # it doesn't see the end of the other either
        async with serving(memory, tmp_path, provider) as service:
            created = await service.create(step)
            await eventually(lambda: len(provider.calls) == 2, "the second run has begun")
            await eventually(lambda: in_memory(service) == {created["id"]}, "and it has failed")
    async with serving(memory, tmp_path, provider) as service:
        ended = await service.until_ended(created["id"])
        assert (ended["status"], len(provider.calls)) == ("COMPLETED", 2), "the result of the first run counts"


async def test_a_sub_workflow_that_names_a_deleted_upload_fails_its_step(service: Service) -> None:
    use_failing_store(service).inserts.extend([None, UploadsGone([UUID(int=7)])])
    created = await service.create(runs(passthrough_step("a")))
    failed = await service.until_ended(created["id"])
    place = f"it names uploads that are being deleted: {UUID(int=7)}"
    assert failed["error_message"] == f"sub: the sub-workflow can't be created: {place}"


async def test_a_sub_workflow_that_an_earlier_process_gave_up_was_stopped(
    memory: MemoryDatabase,
    tmp_path: Path,
    clock: ManualClock,
    provider: ScriptedProvider,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The earlier process ended before it recorded that."""
    provider.default = Hang()
    send = StoredChildren.send

    async def send_and_hang(self: StoredChildren, child_id: UUID, verb: ClientVerb) -> None:
        await send(self, child_id, verb)
        await asyncio.Event().wait()

    with monkeypatch.context() as patched:
        patched.setattr(StoredChildren, "send", send_and_hang)
        async with serving(memory, tmp_path, provider) as service:
            created = await service.create(runs(scripted_step("a")), config={"workflow_timeout_s": 5.0})
            child = await child_of(service, created)
            await provider.until_called("a")
            clock.advance(6)
            await until_status(service, child, "FAILED")
    async with serving(memory, tmp_path, provider) as service:
        async with asyncio.timeout(60):
            while (task := (await service.tasks(created["id"]))[0])["cancel_receipt"] == "unknown":
                await asyncio.sleep(0.01)
        assert task["cancel_receipt"] == "provider_cancelled"


async def test_a_bug_in_the_check_of_a_sub_workflow_fails_its_step_only(
    service: Service, provider: ScriptedProvider
) -> None:
    provider.plan("a", Hang())
    created = await service.create(runs(scripted_step("a")))
    await provider.until_called("a")
    use_failing_store(service).loads.append(ValueError("a bug"))
    provider.release("a")
    failed = await service.until_ended(created["id"])
    assert (failed["status"], failed["error_message"]) == ("FAILED", "sub: internal error: ValueError")
    await service.verb(created["id"], "resume")
    await service.until(created["id"], lambda workflow: workflow["status"] == "COMPLETED")


async def test_a_parent_that_fails_stops_its_sub_workflow_and_resume_continues_it(
    service: Service, clock: ManualClock, provider: ScriptedProvider
) -> None:
    provider.plan("a", Succeed({"n": 1}))
    provider.plan("b", Hang(), Succeed({"n": 2}))
    created = await service.create(
        runs(scripted_step("a"), scripted_step("b", "a")), config={"workflow_timeout_s": 5.0}
    )
    child = await child_of(service, created)
    await provider.until_called("b")
    clock.advance(6)
    assert (await service.until_ended(created["id"]))["status"] == "FAILED"
    assert (await service.until_ended(child))["status"] == "FAILED"
    await service.verb(created["id"], "resume")
    ended = await service.until(created["id"], lambda workflow: workflow["status"] == "COMPLETED")
    assert step_of(ended, "sub")["result"]["workflow_id"] == child
    assert [call.step_id for call in provider.calls] == ["a", "b", "b"]


async def test_each_item_and_each_run_has_a_sub_workflow_of_its_own(
    service: Service, provider: ScriptedProvider
) -> None:
    provider.plan("judge", *(Succeed({"score": score}) for score in (0.1, 0.9)))
    step = runs(scripted_step("judge"), repeat={"until": "final.score >= `0.7`", "max": 3, "best": "final.score"})
    created = await service.create(step)
    ended = await service.until_ended(created["id"])
    assert ended["status"] == "COMPLETED", ended["errors"]
    assert (step_of(ended, "sub")["runs"], step_of(ended, "sub")["result"]["final"]) == (2, {"score": 0.9})


@pytest.mark.parametrize(
    ("limits", "bound"),
    [
        (RootLimits(sub_workflows=1), "1 sub-workflows in all depths"),
        (RootLimits(steps=3), "3 steps together"),
        (RootLimits(definition_bytes=300), "300 bytes of definitions together"),
    ],
)
async def test_the_step_fails_whose_sub_workflow_would_exceed_a_bound_of_its_root(
    service: Service, monkeypatch: pytest.MonkeyPatch, limits: RootLimits, bound: str
) -> None:
    monkeypatch.setattr(child_attempts, "LIMITS", limits)
    children = [runs(passthrough_step("a"), passthrough_step("b"), step_id=step_id) for step_id in ("one", "two")]
    created = await service.create(children[0], children[1] | {"depends_on": ["one"]})
    failed = await service.until_ended(created["id"])
    assert statuses_of(failed) == {"one": "COMPLETED", "two": "FAILED"}
    message = f"two: the sub-workflow can't be created: all those of one root have at most {bound}"
    assert failed["error_message"] == message


async def test_sub_workflows_are_nested(service: Service) -> None:
    inner = runs(passthrough_step("deep", config={"n": 1}), step_id="inner")
    created = await service.create(runs(inner))
    ended = await service.until_ended(created["id"])
    assert ended["status"] == "COMPLETED", ended["errors"]
    assert step_of(ended, "sub")["result"]["final"]["final"] == {"n": 1}


async def test_each_item_has_a_sub_workflow_of_its_own_and_is_one_of_its_inputs(
    service: Service, provider: ScriptedProvider
) -> None:
    provider.plan("draw", Succeed({"n": 0}), Fail("out of paint", retryable=False))
    draw = scripted_step("draw", config={"prompt": "${inputs.thing} of ${inputs.kind}"})
    for_each = {"items": ["a vase", "a cup", "a jug"], "as": "thing", "max_concurrency": 1}
    created = await service.create(runs(draw, inputs={"kind": "glass", "thing": "?"}, for_each=for_each))
    failed = await service.until_ended(created["id"])
    assert step_of(failed, "sub")["error_message"].startswith("item 1: ")
    await service.verb(created["id"], "resume")
    workflow = await service.until(created["id"], lambda workflow: workflow["status"] == "COMPLETED")
    prompts = [call.inputs["prompt"] for call in provider.calls]
    assert prompts == ["a vase of glass", "a cup of glass", "a cup of glass", "a jug of glass"]
    items = step_of(workflow, "sub")["result"]["items"]
    assert [item["results"]["draw"] for item in items] == [{"n": 0}, {}, {}]
    waits = [event["data"] for event in await service.events(created["id"]) if event["type"] == "step.waiting"]
    children = {(wait["item"], wait["workflow_id"]) for wait in waits}
    assert children == {(number, item["workflow_id"]) for number, item in enumerate(items)}, "resume continues each"


async def test_a_step_says_which_sub_workflow_it_waits_for(service: Service, provider: ScriptedProvider) -> None:
    provider.plan("a", Hang())
    created = await service.create(runs(scripted_step("a")))
    child = await child_of(service, created)
    waiting = step_of(await service.get(created["id"]), "sub")["waiting_for"]
    assert (waiting["kind"], waiting["workflow_id"], waiting["until"]) == ("workflow", child, None)
    response = await service.client.get(f"{WORKFLOWS}{created['id']}/explain")
    (step,) = response.json()["steps"]
    assert (step["reason"]["code"], step["reason"]["workflow_id"]) == ("runs_workflow", child)
    await service.verb(created["id"], "cancel")
    assert step_of(await service.until_ended(created["id"]), "sub")["waiting_for"] is None


async def test_a_cleanup_reaches_the_sub_workflows_and_their_own(service: Service, memory: MemoryDatabase) -> None:
    created = await service.create(runs(runs(passthrough_step("a"), step_id="inner")))
    assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"
    assert (await service.verb(created["id"], "cleanup")).status_code == 200

    def is_cleaned(row: WorkflowRow) -> bool:
        return row.record.state.deleted_at is not None and row.record.id not in memory.tables.cleanups

    rows = list(memory.tables.workflows.values())
    assert len(rows) == 3
    await eventually(lambda: all(map(is_cleaned, rows)), "all three are deleted, and their cleanups have ended")


async def test_a_cleanup_cancels_the_sub_workflows_of_a_paused_workflow(
    service: Service, provider: ScriptedProvider
) -> None:
    root, child, grandchild = await paused_family(service, provider)
    assert (await service.verb(root, "cleanup")).status_code == 200
    for each in (child, grandchild):
        await service.until(each, lambda workflow: workflow["is_deleted"])
        assert (await service.get(each))["status"] == "CANCELLED"


async def test_a_sub_workflow_counts_as_many_active_workflows_as_its_definition(
    service: Service, provider: ScriptedProvider
) -> None:
    provider.plan("draw", Hang())
    notes = ["a photo of a cup"] * 9_000
    await service.create(runs(scripted_step("draw", config={"notes": notes})), origin_tenant_id="t")
    await eventually(lambda: bool(provider.calls), "the sub-workflow runs")
    limits = (await service.client.get("/api/v1/limits", params={"origin_tenant_id": "t"})).json()
    assert limits["active_workflows"]["used"] == 2 * 3, "of 64 KiB each"


async def test_a_large_sub_workflow_is_validated_outside_of_the_event_loop(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = dict[str, int]()

    def validate(body: Any, *arguments: Any, **options: Any) -> ValidatedWorkflow:
        threads[body["name"]] = threading.get_ident()
        return validate_workflow(body, *arguments, **options)

    monkeypatch.setattr(child_builder, "validate_workflow", validate)
    many = passthrough_step("many", config={"texts": ["${inputs.text}"] * 1_000})
    for name, step in (("small", passthrough_step("one")), ("large", many)):
        sub = runs(step, inputs={"text": "a"})
        sub["config"]["workflow"]["name"] = name
        created = await service.create(sub)
        assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"
    assert [threads[name] == threading.get_ident() for name in ("small", "large")] == [True, False]
