"""Runs that take over results of earlier ones, in the running service: what is reused, and what runs."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from stepwell.testing import MemoryDatabase
from support.providers.scripted import ScriptedProvider
from support.service.live_service import Service, running_service, step_of
from support.workflows.reused_results import WORKFLOWS, image, rerun, reused, run, sharper


@pytest.fixture
def provider() -> ScriptedProvider:
    return ScriptedProvider()


@pytest.fixture(params=["memory_in_real_time", "dsn"], ids=["memory", "postgres"])
def database(request: pytest.FixtureRequest) -> MemoryDatabase | str:
    found: MemoryDatabase | str = request.getfixturevalue(request.param)
    return found


@pytest.fixture
async def service(database: MemoryDatabase | str, tmp_path: Path, provider: ScriptedProvider) -> AsyncIterator[Service]:
    async with running_service(database, tmp_path, providers=[provider]) as service:
        yield service


async def test_a_rerun_takes_over_what_has_not_changed(service: Service) -> None:
    first = await run(service, image("make"), sharper("refine", "make", sharpness=1.0))
    same = await rerun(service, first)
    assert reused(same) == ["make", "refine"]
    assert same["derived_from"] == first["id"]
    for step_id in ("make", "refine"):
        old, new = step_of(first, step_id), step_of(same, step_id)
        assert new["result"] == old["result"]
        assert new["reused_from"] == {"workflow_id": first["id"], "task_id": old["task_id"]}
        assert (new["task_id"], new["cost"]) == (None, None)
    assert await service.tasks(same["id"]) == []
    changed = await rerun(service, first, config={"refine": {"sharpness": 2.0}})
    assert reused(changed) == ["make"]
    assert [task["step_id"] for task in await service.tasks(changed["id"])] == ["refine"]
    assert step_of(changed, "refine")["config"]["sharpness"] == 2.0
    assert reused(await rerun(service, first, config={"make": {"prompt": "a jug"}})) == []


async def test_a_named_step_runs_and_those_behind_it_only_if_their_work_changes(service: Service) -> None:
    first = await run(service, image("make", config={"seed": 7}), sharper("refine", "make"))
    again = await rerun(service, first, steps=["make"])
    # The seed makes the same picture, whose bytes count, and not its path.
    assert reused(again) == ["refine"]
    assert step_of(again, "make")["result"] != step_of(first, "make")["result"]


async def test_a_reused_result_is_reused_again(service: Service) -> None:
    first = await run(service, image("make"))
    second = await rerun(service, first)
    third = await rerun(service, second)
    assert step_of(third, "make")["reused_from"] == step_of(second, "make")["reused_from"]


async def test_create_reuses_results_of_the_run_that_it_names(service: Service) -> None:
    first = await run(service, image("a"), image("b"))
    second = await run(service, image("x"), image("b"), image("y"), reuse={"from": first["id"]})
    # Each result is given out once: first to the same step, then in the order of the definition.
    assert reused(second) == ["x", "b"]
    assert step_of(second, "b")["result"] == step_of(first, "b")["result"]
    assert step_of(second, "x")["result"] == step_of(first, "a")["result"]


async def test_a_step_with_reuse_false_always_runs(service: Service) -> None:
    first = await run(service, image("a"))
    second = await run(service, image("a", reuse=False), reuse={"from": first["id"]})
    assert reused(second) == []


async def test_events_report_what_is_reused(service: Service) -> None:
    first = await run(service, image("a"))
    second = await rerun(service, first)
    events = [event for event in await service.events(second["id"]) if event["step_id"] == "a"]
    assert [event["type"] for event in events] == ["step.reused", "step.completed"]
    assert events[0]["data"] == {
        "workflow_id": first["id"],
        "from_task_id": step_of(first, "a")["task_id"],
        "saved": None,
    }


async def test_a_step_whose_file_is_gone_runs(service: Service) -> None:
    first = await run(service, image("a"), image("b"))
    (service.artifacts / step_of(first, "a")["result"]["result_image_path"]).unlink()
    path = service.artifacts / step_of(first, "b")["result"]["result_image_path"]
    path.write_bytes(path.read_bytes() + b"more")
    assert reused(await rerun(service, first)) == []


async def test_only_a_run_of_the_tenant_that_has_ended_or_is_paused_is_reused(service: Service) -> None:
    first = await run(service, image("a"), origin_tenant_id="acme")
    created = await service.create(image("a"), start=False)
    await service.verb(first["id"], "cleanup")
    refusals = {
        str(uuid4()): "There is no such run of this tenant",
        created["id"]: "The run is PENDING. It must have ended, or be PAUSED",
    }
    other = await run(service, image("a"), origin_tenant_id="acme")
    refusals[other["id"]] = "There is no such run of this tenant"
    for earlier, why in refusals.items():
        body = {"name": "n", "origin_instance": "tests", "steps": [image("a")], "reuse": {"from": earlier}}
        answer = await service.client.post(WORKFLOWS, json=body)
        assert answer.status_code == 422
        assert answer.json()["detail"] == [{"loc": ["body", "reuse", "from"], "msg": why, "type": "reuse_invalid"}]
    for workflow, key in ((first, "is_deleted"), (created, "allowed_from")):
        answer = await service.client.post(f"{WORKFLOWS}{workflow['id']}/rerun", json={})
        assert (answer.status_code, key in answer.json()) == (409, True)
