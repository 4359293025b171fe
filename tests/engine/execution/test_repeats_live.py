"""Steps that repeat in the running service: which result counts, the seeds of the runs, and what follows a failure."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from stepwell.testing import MemoryDatabase
from support.providers.scripted import (
    Call,
    Fail,
    Hang,
    ScriptedProvider,
    Succeed,
    eventually,
    passthrough_step,
    scripted_step,
)
from support.service.live_service import Service, running_service, step_of


@pytest.fixture
def provider() -> ScriptedProvider:
    return ScriptedProvider()


@pytest.fixture
async def service(
    memory_in_real_time: MemoryDatabase, tmp_path: Path, provider: ScriptedProvider
) -> AsyncIterator[Service]:
    async with running_service(memory_in_real_time, tmp_path, providers=[provider]) as service:
        yield service


def scores(*values: Any) -> list[Any]:
    return [Succeed({"score": value}) for value in values]


def repeated(most: int = 3, **members: Any) -> dict[str, Any]:
    repeat = {"until": "score >= `0.7`", "max": most, "best": "score"}
    return scripted_step("a", repeat=repeat, **members)


async def ended(service: Service, *steps: dict[str, Any], **members: Any) -> dict[str, Any]:
    created = await service.create(*steps, **members)
    return await service.until_ended(created["id"])


@pytest.mark.parametrize(
    ("script", "score", "runs"),
    [
        (scores(0.9), 0.9, 1),
        (scores(0.1, 0.8, 0.9), 0.8, 2),
        (scores(0.1, 0.6, 0.5), 0.6, 3),
        (scores(None, 0.2, "0.9"), 0.2, 3),
        ([*scores(0.3), Fail(retryable=False)], 0.3, 2),
    ],
)
async def test_the_first_result_that_is_good_enough_counts_or_else_the_best(
    service: Service, provider: ScriptedProvider, script: list[Any], score: float, runs: int
) -> None:
    provider.plan("a", *script)
    workflow = await ended(service, repeated(), passthrough_step("b", "a", config={"score": "${a.score}"}))
    assert workflow["status"] == "COMPLETED", workflow["errors"]
    assert step_of(workflow, "b")["result"] == {"score": score}
    assert step_of(workflow, "a")["runs"] == runs
    assert len(provider.calls) == runs
    events = await service.events(workflow["id"])
    repeats = [event["data"] for event in events if event["type"] == "step.repeating"]
    assert [each["run"] for each in repeats] == list(range(1, len(repeats) + 1))
    assert len(repeats) == runs - 1


async def test_each_run_has_retries_and_a_seed_of_its_own_and_a_retry_keeps_the_seed(
    service: Service, provider: ScriptedProvider
) -> None:
    provider.plan("a", Fail(), *scores(0.1), Fail(), *scores(0.2, 0.3))
    workflow = await ended(service, repeated(max_retries=1), config={"retry": {"base_s": 0.01}})
    assert workflow["status"] == "COMPLETED", workflow["errors"]
    seeds = [call.seed for call in provider.calls]
    assert seeds[0] == seeds[1]
    assert seeds[2] == seeds[3]
    assert len(set(seeds)) == 3
    assert step_of(workflow, "a")["retry_count"] == 2


async def test_a_configured_seed_is_one_more_in_each_run(service: Service, provider: ScriptedProvider) -> None:
    provider.plan("a", *scores(0.1, 0.2, 0.3))
    await ended(service, repeated(config={"prompt": "a shoe", "seed": 41}))
    assert [call.inputs["seed"] for call in provider.calls] == [41, 42, 43]


async def test_tasks_show_the_seeds_that_were_sent(service: Service, provider: ScriptedProvider) -> None:
    provider.plan("a", *scores(0.1, 0.2, 0.3))
    own = repeated(config={"prompt": "a shoe", "seed": "${inputs.seed}"})
    drawn = scripted_step("drawn")
    in_process = {"id": "b", "task_type": "GENERATION", "config": {"prompt": "x", "width": 8, "height": 8, "seed": 7}}
    workflow = await ended(service, own, drawn, in_process, inputs={"seed": 41})
    assert workflow["status"] == "COMPLETED", workflow["errors"]
    tasks = await service.tasks(workflow["id"])
    assert [task["seed"] for task in tasks if task["step_id"] == "a"] == [41, 42, 43]
    assert [task["seed"] for task in tasks if task["step_id"] == "b"] == [7]
    (call,) = [call for call in provider.calls if call.step_id == "drawn"]
    assert [task["seed"] for task in tasks if task["step_id"] == "drawn"] == [call.seed]


async def test_an_expression_that_fails_fails_the_step_for_good(service: Service, provider: ScriptedProvider) -> None:
    step = repeated(max_retries=3) | {"repeat": {"until": "length(score)", "max": 3}}
    provider.plan("a", *scores(1, 2, 3))
    workflow = await ended(service, step)
    assert workflow["status"] == "FAILED"
    assert step_of(workflow, "a")["error_message"] == (
        "Expression in repeat.until: length(score) can't be evaluated: length() takes string or array or object, got "
        "number"
    )
    assert len(provider.calls) == 1


async def test_a_large_result_is_judged_in_a_worker_process(service: Service, provider: ScriptedProvider) -> None:
    numbers = list(range(60_000))
    provider.plan("a", Succeed({"numbers": numbers}), Succeed({"numbers": numbers}))
    step = repeated(2) | {"repeat": {"until": "max(numbers) > `70000`", "max": 2, "best": "sum(numbers)"}}
    workflow = await ended(service, step)
    assert workflow["status"] == "COMPLETED", workflow["errors"]
    assert len(provider.calls) == 2


async def test_a_run_that_has_succeeded_is_not_repeated_after_pause_and_resume(
    service: Service, provider: ScriptedProvider
) -> None:
    provider.plan("a", *scores(0.1), Hang(Fail(retryable=False)))
    created = await service.create(repeated())
    workflow_id = created["id"]
    await service.until(workflow_id, lambda _: len(provider.calls) == 2)
    await service.verb(workflow_id, "pause")
    provider.release("a")
    paused = await service.until(workflow_id, lambda workflow: step_of(workflow, "a")["status"] == "COMPLETED")
    assert (paused["status"], step_of(paused, "a")["runs"]) == ("COMPLETED", 2)
    assert step_of(paused, "a")["result"] == {"score": 0.1}


def files_of(service: Service, *calls: Call) -> list[list[str]]:
    """The names of the files of each call's task."""
    folders = [service.artifacts / "media" / str(call.task_id) for call in calls]
    return [sorted(path.name for path in service.stored_files() if path.parent == folder) for folder in folders]


async def test_the_files_of_each_run_that_has_succeeded_stay(service: Service, provider: ScriptedProvider) -> None:
    provider.plan("a", *(Succeed({"score": score}, {f"{score}.png": b"x"}) for score in (3, 1, 2)))
    step = repeated() | {"repeat": {"until": "score > `5`", "max": 3, "best": "score"}}
    workflow = await ended(service, step)
    assert step_of(workflow, "a")["result"] == {"score": 3}
    assert files_of(service, *provider.calls) == [["3.png"], ["1.png"], ["2.png"]]


async def test_the_files_of_a_run_that_has_failed_are_deleted_although_an_earlier_result_counts(
    service: Service, provider: ScriptedProvider
) -> None:
    provider.plan("a", *(Succeed({"score": score}, {f"{score}.png": b"x"}) for score in (0, "high")))
    step = repeated() | {"repeat": {"until": "abs(score) > `5`", "max": 3}}
    workflow = await ended(service, step)
    assert step_of(workflow, "a")["result"] == {"score": 0}
    # The end of the workflow doesn't wait for the deletion.
    await eventually(lambda: files_of(service, *provider.calls) == [["0.png"], []], "the second file is deleted")
