"""Dry runs of workflows with flow control: each of its features is in the forecast, as is each sub-workflow.

What must hold:
- A dry run says what becomes of a sub-workflow that exists, and of one that would be created, at any depth.
- Nothing changes, and the verb then does to the sub-workflows what was forecast.
"""

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from stepwell.definition.validation.workflow import ValidatedWorkflow, validate_workflow
from stepwell.engine.explain import nested_dry_runs, planner
from stepwell.testing import MemoryDatabase
from support.providers.scripted import Fail, Hang, ScriptedProvider, Succeed, passthrough_step, scripted_step
from support.service.live_service import Service, running_service, serving, statuses_of
from support.workflows.sub_workflows import child_of, runs

WORKFLOWS = "/api/v1/workflows/"
ABOUT = ("verb", "status_now", "status_after")


@pytest.fixture
def provider() -> ScriptedProvider:
    return ScriptedProvider()


@pytest.fixture
async def service(memory: MemoryDatabase, tmp_path: Path, provider: ScriptedProvider) -> AsyncIterator[Service]:
    async with serving(memory, tmp_path, provider) as service:
        yield service


async def forecast(service: Service, workflow_id: str, verb: str) -> dict[str, Any]:
    """Return what the verb would do, and check that nothing changes."""
    before = await _everything(service)
    path = WORKFLOWS + workflow_id + ("" if verb == "cancel" else f"/{verb}")
    method = "DELETE" if verb == "cancel" else "POST"
    response = await service.client.request(method, path, params={"dry_run": "true"})
    assert response.status_code == 200, response.text
    assert await _everything(service) == before
    found: dict[str, Any] = response.json()
    return found


async def _everything(service: Service) -> Any:
    response = await service.client.get(WORKFLOWS, params={"include_children": "true", "limit": 1000})
    return response.json()


def filled(found: dict[str, Any]) -> dict[str, Any]:
    """Return the members of a forecast that say something about its steps."""
    return {name: value for name, value in found.items() if value and name not in (*ABOUT, "allowed")}


ASK = {"id": "a", "task_type": "APPROVAL", "config": {"message": "Good?"}}
CASES: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = {
    "when": (
        [passthrough_step("a"), passthrough_step("b", "a", when="a.n"), passthrough_step("c", "b")],
        {"would_run": ["a"], "may_run": ["b", "c"]},
    ),
    "when of a first step": ([passthrough_step("a", when="inputs.n")], {"may_run": ["a"]}),
    "run_if": (
        [
            passthrough_step("a", when="inputs.n"),
            passthrough_step("any", "a", run_if="any_completed"),
            passthrough_step("all", "a", run_if="all_ended"),
        ],
        {"may_run": ["a", "any"], "would_run_later": ["all"]},
    ),
    "optional": (
        [passthrough_step("a", optional=True), passthrough_step("b", "a")],
        {"would_run": ["a"], "would_run_later": ["b"]},
    ),
    "for_each of a count": (
        [passthrough_step("a", for_each={"count": 3})],
        {"would_run": ["a"], "items": [("a", 3, 3, 0, 0, 0)]},
    ),
    "for_each of a list": (
        [passthrough_step("a", for_each={"items": ["x", "y"]})],
        {"would_run": ["a"], "items": [("a", 2, 2, 0, 0, 0)]},
    ),
    "for_each of another step": (
        [passthrough_step("a"), passthrough_step("b", for_each={"from_step": "a", "from_field": "list"})],
        {"would_run": ["a"], "would_run_later": ["b"], "items": [("b", None, None, 0, 0, 0)]},
    ),
    "repeat": (
        [passthrough_step("a", repeat={"until": "n", "max": 4})],
        {"would_run": ["a"], "repeats": [{"step_id": "a", "run": 1, "max": 4}]},
    ),
    "for_each and repeat": (
        [passthrough_step("a", for_each={"count": 2}, repeat={"until": "n", "max": 4})],
        {"would_run": ["a"], "items": [("a", 2, 2, 0, 0, 0)]},
    ),
    "inputs": ([passthrough_step("a", config={"n": "${inputs.n}"})], {"would_run": ["a"]}),
    "APPROVAL": ([ASK, passthrough_step("b", "a")], {"would_run": ["a"], "would_run_later": ["b"]}),
    "SIGNAL": ([{"id": "a", "task_type": "SIGNAL", "config": {}}], {"would_run": ["a"]}),
    "DELAY": ([{"id": "a", "task_type": "DELAY", "config": {"seconds": 9}}], {"would_run": ["a"]}),
    "DELAY behind a condition": (
        [{"id": "a", "task_type": "DELAY", "config": {"seconds": 9}, "when": "inputs.n"}],
        {"may_run": ["a"]},
    ),
    "SUBWORKFLOW": (
        [runs(passthrough_step("x"), passthrough_step("y", "x", when="x.n"))],
        {"would_run": ["sub"], "sub_workflows": [("sub", {"would_run": ["x"], "may_run": ["y"]})]},
    ),
    "SUBWORKFLOW behind a condition": (
        [runs(passthrough_step("x"), when="inputs.n")],
        {"may_run": ["sub"], "sub_workflows": [("sub", {"would_run": ["x"]})]},
    ),
    "for_each over SUBWORKFLOW": (
        [runs(passthrough_step("x", config={"n": "${inputs.thing}"}), for_each={"count": 4, "as": "thing"})],
        {
            "would_run": ["sub"],
            "items": [("sub", 4, 4, 0, 0, 0)],
            "sub_workflows": [("sub", {"would_run": ["x"]})],
        },
    ),
    "repeat over SUBWORKFLOW": (
        [runs(passthrough_step("x"), repeat={"until": "final.n", "max": 2})],
        {
            "would_run": ["sub"],
            "repeats": [{"step_id": "sub", "run": 1, "max": 2}],
            "sub_workflows": [("sub", {"would_run": ["x"]})],
        },
    ),
    "all features in a SUBWORKFLOW": (
        [
            runs(
                ASK,
                passthrough_step("b", "a", for_each={"count": 2}, repeat={"until": "n", "max": 2}),
                runs({"id": "wait", "task_type": "SIGNAL", "config": {}}, step_id="below", depends_on=["b"]),
            )
        ],
        {
            "would_run": ["sub"],
            "sub_workflows": [
                (
                    "sub",
                    {
                        "would_run": ["a"],
                        "would_run_later": ["b", "below"],
                        "items": [("b", 2, 2, 0, 0, 0)],
                        "sub_workflows": [("below", {"would_run": ["wait"]})],
                    },
                )
            ],
        },
    ),
}


def compared(found: dict[str, Any]) -> dict[str, Any]:
    """Return a forecast of start in the form in which `CASES` has it."""
    assert [found[name] for name in ABOUT] == ["start", "PENDING", "RUNNING"]
    short = filled(found)
    if "items" in short:
        short["items"] = [tuple(value for name, value in each.items() if name != "skipped") for each in short["items"]]
    if "sub_workflows" in short:
        assert {(each["workflow_id"], each["item"]) for each in short["sub_workflows"]} == {(None, None)}
        short["sub_workflows"] = [(each["step_id"], compared(each["dry_run"])) for each in short["sub_workflows"]]
    return short


@pytest.mark.parametrize("case", CASES)
async def test_each_feature_is_in_a_dry_run_of_start(service: Service, case: str) -> None:
    steps, expected = CASES[case]
    created = await service.create(*steps, start=False, inputs={"n": 1})
    assert compared(await forecast(service, created["id"], "start")) == expected


def nested(depth: int) -> dict[str, Any]:
    return passthrough_step("x") if depth == 0 else runs(nested(depth - 1), step_id=f"level {depth}")


async def test_a_dry_run_goes_into_sub_workflows_of_the_highest_depth(service: Service) -> None:
    created = await service.create(nested(5), start=False)
    found = await forecast(service, created["id"], "start")
    for level in range(5, 0, -1):
        (below,) = found["sub_workflows"]
        assert below["step_id"] == f"level {level}"
        found = below["dry_run"]
    assert filled(found) == {"would_run": ["x"]}


@pytest.mark.parametrize("large", [False, True])
async def test_large_sub_workflows_are_validated_outside_of_the_event_loop(
    service: Service, monkeypatch: pytest.MonkeyPatch, *, large: bool
) -> None:
    threads = set[int]()

    def validate(*arguments: Any, **options: Any) -> ValidatedWorkflow:
        threads.add(threading.get_ident())
        return validate_workflow(*arguments, **options)

    monkeypatch.setattr(nested_dry_runs, "validate_workflow", validate)
    monkeypatch.setattr(planner, "validate_workflow", validate)
    texts = ["${inputs.text}"] * (1_000 if large else 1)
    step = runs(passthrough_step("one", config={"texts": texts}), inputs={"text": "a"})
    created = await service.create(step, start=False)
    await forecast(service, created["id"], "start")
    body = {"name": "a plan", "origin_instance": "tests", "steps": [step]}
    response = await service.client.post(f"{WORKFLOWS}plan", json=body)
    assert response.status_code == 200, response.text
    assert threads
    assert (threading.get_ident() in threads) is not large


async def test_a_sub_workflow_that_would_be_refused_is_not_allowed(
    memory: MemoryDatabase, tmp_path: Path, provider: ScriptedProvider
) -> None:
    async with serving(memory, tmp_path, provider) as service:
        created = await service.create(runs(scripted_step("a")), start=False)
    async with running_service(memory, tmp_path) as without_provider:
        (below,) = (await forecast(without_provider, created["id"], "start"))["sub_workflows"]
    assert [below["dry_run"][name] for name in (*ABOUT, "allowed")] == ["start", "PENDING", "PENDING", False]


async def running(service: Service, provider: ScriptedProvider) -> tuple[str, str, str]:
    """Return a workflow, its sub-workflow and that one's own, of which a step runs."""
    provider.plan("x", Hang(), Hang())
    inner = runs(scripted_step("x"), scripted_step("y", "x"), step_id="inner")
    created = await service.create(runs(passthrough_step("first"), {**inner, "depends_on": ["first"]}))
    await provider.until_called("x")
    child = await child_of(service, created)
    return created["id"], child, await child_of(service, {"id": child})


def chain(found: dict[str, Any], depth: int = 3) -> list[dict[str, Any]]:
    """Return the forecast, and those of the only sub-workflow of each."""
    levels = [found]
    for _ in range(depth - 1):
        (below,) = levels[-1]["sub_workflows"]
        levels.append(below["dry_run"] | {"workflow_id": below["workflow_id"], "item": below["item"]})
    assert levels[-1]["sub_workflows"] == []
    return levels


async def test_pause_and_resume_are_forecast_for_each_sub_workflow(
    service: Service, provider: ScriptedProvider
) -> None:
    ids = await running(service, provider)
    levels = chain(await forecast(service, ids[0], "pause"))
    assert [each["workflow_id"] for each in levels[1:]] == list(ids[1:])
    assert {tuple(each[name] for name in ABOUT) for each in levels} == {("pause", "RUNNING", "PAUSED")}
    assert [each["running"] for each in levels] == [["sub"], ["inner"], ["x"]]
    assert [each["kept"] for each in levels] == [[], ["first"], []]
    await service.verb(ids[0], "pause")
    for each in ids:
        await service.until(each, lambda workflow: workflow["status"] == "PAUSED")
    levels = chain(await forecast(service, ids[0], "resume"))
    assert {tuple(each[name] for name in ABOUT) for each in levels} == {("resume", "PAUSED", "RUNNING")}
    assert (levels[1]["running"], levels[2]["running"], levels[2]["would_run_later"]) == (["inner"], ["x"], ["y"])
    await service.verb(ids[0], "resume")
    for each in ids:
        await service.until(each, lambda workflow: workflow["status"] == "RUNNING")
    await service.verb(ids[0], "cancel")
    await service.until_ended(ids[2])


async def test_cancel_is_forecast_for_each_sub_workflow(service: Service, provider: ScriptedProvider) -> None:
    ids = await running(service, provider)
    levels = chain(await forecast(service, ids[0], "cancel"))
    assert {tuple(each[name] for name in ABOUT) for each in levels} == {("cancel", "RUNNING", "CANCELLED")}
    assert [each["cancelled"] for each in levels] == [["sub"], ["inner"], ["x", "y"]]
    assert [each["remote_jobs_to_cancel"] for each in levels] == [[], [], []], "a sub-workflow is no provider's job"
    await service.verb(ids[0], "cancel")
    for each, level in zip(ids, levels, strict=True):
        ended = await service.until_ended(each)
        assert ended["status"] == level["status_after"]
        cancelled = [step for step, status in statuses_of(ended).items() if status == "CANCELLED"]
        assert cancelled == level["cancelled"]


async def test_resume_is_forecast_for_items_and_their_sub_workflows(
    service: Service, provider: ScriptedProvider
) -> None:
    provider.plan("draw", Succeed({"n": 0}), Fail("out of paint", retryable=False))
    step = runs(passthrough_step("first"), scripted_step("draw", "first"))
    created = await service.create({**step, "for_each": {"count": 4, "max_concurrency": 1}})
    assert (await service.until_ended(created["id"]))["status"] == "FAILED"
    found = await forecast(service, created["id"], "resume")
    assert found["items"] == [
        {"step_id": "sub", "total": 4, "would_run": 3, "running": 0, "kept": 1, "still_failed": 0, "skipped": 0}
    ]
    failed, new = found["sub_workflows"]
    assert (failed["item"], failed["dry_run"]["verb"], failed["dry_run"]["status_now"]) == (1, "resume", "FAILED")
    assert filled(failed["dry_run"]) == {"would_run": ["draw"], "kept": ["first"], "reset": ["draw"]}
    assert (new["item"], new["workflow_id"], new["dry_run"]["would_run"]) == (None, None, ["first"])
    await service.verb(created["id"], "resume")
    ended = await service.until(created["id"], lambda workflow: workflow["status"] == "COMPLETED")
    assert ended["steps"][0]["result"]["items"][1]["workflow_id"] == failed["workflow_id"]
    assert [call.step_id for call in provider.calls] == ["draw"] * 5


async def test_resume_names_the_run_with_which_a_step_continues(service: Service, provider: ScriptedProvider) -> None:
    provider.plan("a", Succeed({"n": 0}), Hang())
    created = await service.create(scripted_step("a", repeat={"until": "n == `1`", "max": 5}))
    await provider.until_called("a", 2)
    await service.verb(created["id"], "pause")
    found = await forecast(service, created["id"], "resume")
    assert filled(found) == {"running": ["a"], "repeats": [{"step_id": "a", "run": 2, "max": 5}]}


async def test_cleanup_is_forecast_with_the_files_of_each_sub_workflow(
    service: Service, provider: ScriptedProvider
) -> None:
    provider.default = Succeed({}, {"out.bin": b"x"})
    step = runs(scripted_step("x"), step_id="below")
    created = await service.create(runs(scripted_step("a"), step), scripted_step("own"))
    ended = await service.until_ended(created["id"])
    child = await service.get(ended["steps"][0]["result"]["workflow_id"])
    levels = chain(await forecast(service, created["id"], "cleanup"))
    assert [each["tasks"] for each in levels] == [2, 2, 1]
    assert [len(each["files_to_delete"]) for each in levels] == [1, 1, 1]
    assert levels[1]["workflow_id"] == child["id"]
    kept = await service.client.post(
        f"{WORKFLOWS}{created['id']}/cleanup", params={"dry_run": "true", "cleanup_tasks": "false"}
    )
    assert filled(kept.json()) == {}, "sub-workflows stay as they are"
    await service.verb(created["id"], "cleanup")
    async with asyncio.timeout(60):
        paths = [path for each in levels for path in each["files_to_delete"]]
        while any(each.name == Path(path).name for path in paths for each in service.artifacts.rglob("*.bin")):
            await asyncio.sleep(0.01)


@pytest.mark.extended
async def test_sub_workflows_beyond_the_bound_are_counted(service: Service) -> None:
    steps = [runs(passthrough_step("x"), step_id=f"s{number}") for number in range(203)]
    created = await service.create(*steps, start=False)
    found = await forecast(service, created["id"], "start")
    assert (len(found["sub_workflows"]), found["sub_workflows_left_out"]) == (200, 3)


async def test_another_tenant_sees_no_sub_workflow(service: Service, provider: ScriptedProvider) -> None:
    provider.plan("x", Hang())
    created = await service.create(runs(scripted_step("x")), origin_tenant_id="acme")
    await provider.until_called("x")
    child = await child_of(service, created)
    async with service.as_tenant("other") as stranger, service.as_tenant("acme") as own:
        for each in (created["id"], child):
            response = await stranger.post(f"{WORKFLOWS}{each}/pause", params={"dry_run": "true"})
            assert response.status_code == 404
        found = (await own.post(f"{WORKFLOWS}{created['id']}/pause", params={"dry_run": "true"})).json()
        assert [each["workflow_id"] for each in found["sub_workflows"]] == [child]
    provider.release("x")
    assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"
