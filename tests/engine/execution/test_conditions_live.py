"""Conditions of steps in the running service: what they read and decide, how they fail, and when they are asked."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from providers.image_files import children
from stepwell.testing import MemoryDatabase
from support.providers.scripted import Fail, ScriptedProvider, Succeed, eventually, passthrough_step, scripted_step
from support.service.live_service import Service, running_service, statuses_of, step_of

NUMBERS = list(range(3_000))
ENDLESS = "[*]" + "|[].[@,@][]" * 8
LARGE = "x" * 100_000  # no result of this size stays in memory


@pytest.fixture
def provider() -> ScriptedProvider:
    return ScriptedProvider()


@pytest.fixture
async def service(
    memory_in_real_time: MemoryDatabase, tmp_path: Path, provider: ScriptedProvider
) -> AsyncIterator[Service]:
    async with running_service(memory_in_real_time, tmp_path, providers=[provider]) as service:
        yield service


async def ended(service: Service, *steps: dict[str, Any], **members: Any) -> dict[str, Any]:
    created = await service.create(*steps, **members)
    return await service.until_ended(created["id"])


def sleep(_: bytes) -> bytes:
    signal.pause()
    return b""


@asynccontextmanager
async def busy_workers(service: Service) -> AsyncIterator[None]:
    """Keep the only child process for light expressions busy within the context."""
    work = service.app.engine.expressions.light.run("other", sleep, lambda: [b""])
    async with asyncio.TaskGroup() as group:
        asyncio_task = group.create_task(work, name="busy worker")
        await asyncio.sleep(0)
        yield
        asyncio_task.cancel()


def open_evaluations(service: Service) -> int:
    workflows = service.app.engine.scheduler.workflows.values()
    return sum(len(workflow.open_evaluations) for workflow in workflows)


async def test_a_condition_decides_whether_its_step_runs(service: Service) -> None:
    conditions = {
        "source.score > `5`": True,
        "source.score > `9`": False,
        "source.none": False,
        "source.zero": True,
        "source.empty": False,
        "source.object": False,
        "!(source.object)": True,
        "source.text == 'a'": True,
        "inputs.on && workflow.labels.team == 'shoes'": True,
        "inputs.absent || workflow.config.mine": True,
        "contains(workflow.name, 'name')": True,
        "contains(keys(@), 'other')": False,
        '"inputs".on': True,
        "`false`": False,
        "''": False,
    }
    source: dict[str, Any] = {"score": 7, "none": None, "zero": 0, "empty": "", "object": {}, "text": "a"}
    readers = [
        passthrough_step(f"s{number}", *["source"][: "source" in condition], when=condition)
        for number, condition in enumerate(conditions)
    ]
    workflow = await ended(
        service,
        passthrough_step("source", config=source),
        passthrough_step("other"),
        *readers,
        name="a name",
        inputs={"on": True},
        labels={"team": "shoes"},
        config={"mine": [1]},
    )
    assert workflow["status"] == "COMPLETED", workflow["errors"]
    steps = workflow["steps"][2:]
    assert {step["when"]: step["status"] == "COMPLETED" for step in steps} == conditions
    assert {step["skip_reason"] for step in steps} == {None, "when"}
    assert workflow["progress"] == 100.0
    events = await service.events(workflow["id"])
    reasons = [event["data"]["reason"] for event in events if event["type"] == "step.skipped"]
    assert reasons == ["when"] * list(conditions.values()).count(False)


async def test_a_condition_that_is_not_true_skips_dependants_by_their_run_if(service: Service) -> None:
    workflow = await ended(
        service,
        passthrough_step("a", config={"ok": False}),
        passthrough_step("b", when="a.ok"),
        passthrough_step("c", when="!(a.ok)"),
        passthrough_step("d", "b"),
        passthrough_step("e", config={"b": "${b}", "c": "${c.x || 'ran'}"}, run_if="any_completed"),
        passthrough_step("f", "d", run_if="all_ended", when="!d && !(b.ok) && !(e.b)"),
    )
    assert workflow["status"] == "COMPLETED", workflow["errors"]
    reasons = {step["step_id"]: step["skip_reason"] for step in workflow["steps"] if step["status"] == "SKIPPED"}
    assert reasons == {"b": "when", "d": "dependency"}
    assert step_of(workflow, "e")["result"] == {"b": None, "c": "ran"}


@pytest.mark.parametrize(
    ("condition", "error"),
    [
        (
            "length(inputs.n)",
            "Expression in when: length(inputs.n) can't be evaluated: length() takes string or array or object, got",
        ),
        pytest.param(
            f"inputs.numbers{ENDLESS}", "takes more work than the limit of 2,000,000", marks=pytest.mark.extended
        ),
    ],
)
async def test_a_condition_that_fails_fails_its_step_for_good(
    service: Service, provider: ScriptedProvider, condition: str, error: str
) -> None:
    failing = scripted_step("a", when=condition, max_retries=3, optional=True)
    workflow = await ended(
        service,
        failing,
        passthrough_step("b", when="!a", run_if="all_ended"),
        failing | {"id": "c", "optional": False},
        inputs={"n": 0, "numbers": NUMBERS},
        config={"on_failure": "continue"},
    )
    assert statuses_of(workflow) == {"a": "FAILED", "b": "COMPLETED", "c": "FAILED"}
    assert workflow["status"] == "FAILED"
    for step in (workflow["steps"][0], workflow["steps"][2]):
        assert error in step["error_message"]
        assert step["retry_count"] == 0
    assert provider.calls == []
    assert service.app.engine.expressions.allowance.total <= 3 * 6_000


@pytest.mark.parametrize(
    "count", [10, 3_000, pytest.param(60_000, marks=pytest.mark.extended)], ids=["small", "light", "heavy"]
)
async def test_a_condition_has_the_same_result_wherever_it_is_evaluated(service: Service, count: int) -> None:
    workflow = await ended(
        service,
        passthrough_step("source", config={"v": list(range(count)), "text": LARGE if count > 10 else ""}),
        passthrough_step("yes", when=f"source.v[-1] == `{count - 1}`"),
        passthrough_step("long", when="source.v"),
        passthrough_step("no", when=f"source.v[-1] == `{count}`"),
        passthrough_step("all", when="length(sort(source.v)) > `1` && contains(keys(@), 'source')"),
    )
    assert list(statuses_of(workflow).values()) == ["COMPLETED"] * 3 + ["SKIPPED", "COMPLETED"], workflow["errors"]


async def test_results_that_are_too_large_together_fail_the_step(service: Service) -> None:
    sources = [passthrough_step(f"s{number}", config={"x": "${inputs.x}"}) for number in range(18)]
    last = passthrough_step("last", *(s["id"] for s in sources), when="keys(@)")
    workflow = await ended(service, *sources, last, inputs={"x": "x" * 1_000_000})
    assert workflow["errors"] == ["last: Expression in when: the results that it reads are over 16,777,216 bytes"]


async def test_an_optional_failed_dependency_is_null(memory_in_real_time: MemoryDatabase, tmp_path: Path) -> None:
    provider = ScriptedProvider(script={"a": [Fail(retryable=False)]})
    async with running_service(memory_in_real_time, tmp_path, providers=[provider]) as service:
        workflow = await ended(
            service,
            scripted_step("a", optional=True),
            passthrough_step("b", when="!a", run_if="all_ended"),
            passthrough_step("c", when="a", run_if="all_ended"),
        )
    assert statuses_of(workflow) == {"a": "FAILED", "b": "COMPLETED", "c": "SKIPPED"}
    assert workflow["status"] == "COMPLETED"


async def create_with_evaluations(service: Service) -> str:
    """Return the id of a workflow with two evaluations that are too heavy for the event loop."""
    heavy = "length(source.v[?@ >= `0`]) == `3000`"
    created = await service.create(
        passthrough_step("source", config={"v": NUMBERS, "text": LARGE, "ok": "b"}),
        passthrough_step("b", when=f"{heavy} && source.ok == 'b'"),
        passthrough_step("c", when=f"{heavy} && source.ok == 'c'"),
        passthrough_step("d", "b"),
    )
    await service.until(created["id"], lambda workflow: workflow["completed_steps"] == 1)
    assert open_evaluations(service) == 2
    return str(created["id"])


async def test_an_evaluation_that_is_open_when_the_workflow_is_paused_begins_again(service: Service) -> None:
    async with busy_workers(service):
        workflow_id = await create_with_evaluations(service)
        explained = (await service.client.get(f"/api/v1/workflows/{workflow_id}/explain")).json()
        codes = {step["step_id"]: step["reason"]["code"] for step in explained["steps"]}
        assert codes == {"b": "evaluating_expressions", "c": "evaluating_expressions", "d": "waits_for_steps"}
        await service.verb(workflow_id, "pause")
        assert open_evaluations(service) == 0
    paused = await service.get(workflow_id)
    assert statuses_of(paused) == {"source": "COMPLETED", "b": "PENDING", "c": "PENDING", "d": "PENDING"}
    await service.verb(workflow_id, "resume")
    workflow = await service.until_ended(workflow_id)
    assert statuses_of(workflow) == {"source": "COMPLETED", "b": "COMPLETED", "c": "SKIPPED", "d": "COMPLETED"}
    types = [event["type"] for event in await service.events(workflow_id)]
    assert types.count("step.skipped") == 1


async def test_a_result_that_comes_after_a_cancellation_changes_nothing(service: Service) -> None:
    async with busy_workers(service):
        workflow_id = await create_with_evaluations(service)
        await service.verb(workflow_id, "cancel")
    workflow = await service.until_ended(workflow_id)
    assert statuses_of(workflow) == {"source": "COMPLETED", "b": "CANCELLED", "c": "CANCELLED", "d": "CANCELLED"}
    assert open_evaluations(service) == 0


async def test_the_next_process_begins_the_evaluations_that_were_open(
    memory_in_real_time: MemoryDatabase, tmp_path: Path
) -> None:
    async with running_service(memory_in_real_time, tmp_path) as service, busy_workers(service):
        workflow_id = await create_with_evaluations(service)
        await service.app.engine.scheduler.stop(0)
    async with running_service(memory_in_real_time, tmp_path) as service:
        workflow = await service.until_ended(workflow_id)
        assert statuses_of(workflow) == {"source": "COMPLETED", "b": "COMPLETED", "c": "SKIPPED", "d": "COMPLETED"}


async def test_resume_asks_about_the_steps_that_it_resets(memory_in_real_time: MemoryDatabase, tmp_path: Path) -> None:
    provider = ScriptedProvider(script={"a": [Fail(retryable=False), Succeed({"ok": True})]})
    async with running_service(memory_in_real_time, tmp_path, providers=[provider]) as service:
        steps = [
            scripted_step("a"),
            passthrough_step("b", when="a.ok"),
            passthrough_step("c", when="`false`"),
        ]
        workflow = await ended(service, *steps, config={"on_failure": "continue"})
        assert statuses_of(workflow) == {"a": "FAILED", "b": "SKIPPED", "c": "SKIPPED"}
        await service.verb(workflow["id"], "resume")
        workflow = await service.until_ended(workflow["id"])
    assert statuses_of(workflow) == {"a": "COMPLETED", "b": "COMPLETED", "c": "SKIPPED"}


async def test_many_dependants_of_one_step_are_asked_in_order(service: Service) -> None:
    steps = [passthrough_step(f"s{n}", when=f"a.n > `{n}`") for n in range(200)]
    workflow = await ended(service, passthrough_step("a", config={"n": 100}), *steps)
    assert list(statuses_of(workflow).values()) == ["COMPLETED"] * 101 + ["SKIPPED"] * 100


async def test_a_condition_whose_worker_process_dies_is_evaluated_again(service: Service) -> None:
    before = children(os.getpid())
    heavy = passthrough_step("a", when=f"length(inputs.numbers[*]{'|[].[@,@][]' * 6}) > `1`")
    created = await service.create(heavy, inputs={"numbers": NUMBERS})
    await eventually(lambda: bool(children(os.getpid()) - before))
    for process in children(os.getpid()) - before:
        os.kill(process, signal.SIGKILL)
    workflow = await service.until_ended(created["id"])
    assert statuses_of(workflow) == {"a": "COMPLETED"}, workflow["errors"]
    assert service.app.engine.expressions.light.begun >= 2
