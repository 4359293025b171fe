"""Mappings that are too heavy for the event loop: a child process evaluates them, and too much work fails the step."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from stepwell.testing import MemoryDatabase
from support.database.failing_store import nothing_left
from support.providers.scripted import ScriptedProvider, eventually, passthrough_step, scripted_step
from support.service.live_service import Service, running_service

NUMBERS = list(range(3_000))
LIGHT = "v[*]|[?@ >= `2990`]"  # some 15,000 units
HEAVY = "v|[*]" + "|[?@ != `-1`]" * 20 + "|[0:2]"  # some 300,000
ENDLESS = "v[*]" + "|[].[@,@][]" * 8


@pytest.fixture
def provider() -> ScriptedProvider:
    return ScriptedProvider()


@pytest.fixture
async def service(
    memory_in_real_time: MemoryDatabase, tmp_path: Path, provider: ScriptedProvider
) -> AsyncIterator[Service]:
    async with running_service(memory_in_real_time, tmp_path, providers=[provider]) as service:
        yield service


def mapping(expression: str, to_field: str = "x", **more: Any) -> dict[str, Any]:
    return {"from_step": "source", "from_field": expression, "to_field": to_field, **more}


SOURCE = passthrough_step("source", config={"v": NUMBERS})


def work_on_the_loop(service: Service) -> int:
    return service.app.engine.expressions.allowance.total


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        pytest.param("v[0]", 0, id="small"),
        pytest.param(LIGHT, list(range(2990, 3000)), id="light"),
        pytest.param(HEAVY, [0, 1], marks=pytest.mark.extended, id="heavy"),
    ],
)
async def test_a_mapping_has_the_same_value_wherever_it_is_evaluated(
    service: Service, provider: ScriptedProvider, expression: str, value: Any
) -> None:
    both: dict[str, Any] = {"input_mappings": [mapping(expression), mapping("v[1]", "y.z")], "config": {"k": 1}}
    created = await service.create(
        SOURCE,
        passthrough_step("here", "source", **both),
        scripted_step("there", "source", **both | {"config": {"prompt": "x", "k": 1}}),
    )
    workflow = await service.until_ended(created["id"])
    assert workflow["status"] == "COMPLETED", workflow["errors"]
    assert workflow["steps"][1]["result"] == {"k": 1, "x": value, "y": {"z": 1}}
    assert provider.calls[0].inputs == {"prompt": "x", "k": 1, "x": value, "y": {"z": 1}}
    assert work_on_the_loop(service) <= 4 * 4_000
    await eventually(lambda: nothing_left(service), "the engine is empty")


async def test_too_much_work_fails_the_step_for_good_and_names_the_mapping(service: Service) -> None:
    endless = passthrough_step("endless", "source", input_mappings=[mapping(ENDLESS)], max_retries=5)
    created = await service.create(SOURCE, endless)
    workflow = await service.until_ended(created["id"])
    assert workflow["status"] == "FAILED"
    too_much = "takes more work than the limit of 2,000,000 visits and elements"
    assert workflow["errors"] == [f"endless: Mapping of '{ENDLESS}' of step 'source' to 'x' {too_much}"]
    assert workflow["steps"][1]["retry_count"] == 0
    assert work_on_the_loop(service) <= 2 * 4_000


async def test_the_work_on_the_loop_is_bounded_however_many_steps_start_at_once(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    allowance = service.app.engine.expressions.allowance
    monkeypatch.setattr(allowance, "now", lambda: 0.0)  # no time passes
    source = passthrough_step("source", config={"v": NUMBERS[:600]})
    steps = [passthrough_step(str(n), "source", input_mappings=[mapping("v[*]|[0:1]")]) for n in range(100)]
    created = await service.create(source, *steps)
    workflow_id = UUID(created["id"])
    await eventually(lambda: workflow_id not in service.app.engine.scheduler.workflows, within_s=60)
    workflow = await service.get(created["id"])
    assert workflow["status"] == "COMPLETED", workflow["errors"]
    assert {step["result"]["x"][0] for step in workflow["steps"][1:]} == {0}
    assert allowance.total <= 25_000 + 4_000 + 100 * len(steps)


@pytest.mark.extended
async def test_a_light_mapping_does_not_wait_for_heavy_ones(service: Service) -> None:
    endless = [passthrough_step(str(n), "source", input_mappings=[mapping(ENDLESS)]) for n in range(40)]
    attack = await service.create(SOURCE, *endless, config={"on_failure": "continue"})
    light = await service.create(SOURCE, passthrough_step("light", "source", input_mappings=[mapping(LIGHT)]))
    assert (await service.until_ended(light["id"]))["status"] == "COMPLETED"
    assert (await service.get(attack["id"]))["status"] == "RUNNING"
    assert (await service.verb(attack["id"], "cancel")).status_code == 200
    await eventually(lambda: nothing_left(service), "the engine is empty")


async def begun(service: Service, monkeypatch: pytest.MonkeyPatch) -> str:
    """A workflow whose second step waits for a child process that doesn't respond."""
    light, called = service.app.engine.expressions.light, asyncio.Event()

    async def hang(*_: object) -> bytes:
        called.set()
        await asyncio.Event().wait()
        return b""

    monkeypatch.setattr(light, "run", hang)
    created = await service.create(SOURCE, passthrough_step("light", "source", input_mappings=[mapping(LIGHT)]))
    async with asyncio.timeout(30):
        await called.wait()
    return str(created["id"])


async def test_explain_says_that_a_step_waits_for_its_mappings(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    workflow_id = await begun(service, monkeypatch)
    (step,) = (await service.client.get(f"/api/v1/workflows/{workflow_id}/explain")).json()["steps"]
    reason = step["reason"]
    assert (step["step_id"], reason["code"], reason["doing"]) == ("light", "running_locally", "evaluating_mappings")
    assert reason["detail"].endswith("its mappings are evaluated in a child process, where tenants take turns.")
    assert (await service.verb(workflow_id, "cancel")).status_code == 200


async def test_a_cancel_ends_an_evaluation(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    workflow_id = await begun(service, monkeypatch)
    assert service.app.engine.step_queue.used == 0
    assert (await service.verb(workflow_id, "cancel")).status_code == 200
    workflow = await service.get(workflow_id)
    assert [step["status"] for step in workflow["steps"]] == ["COMPLETED", "CANCELLED"]
    await eventually(lambda: nothing_left(service), "the engine is empty")


async def test_a_paused_workflow_waits_for_its_evaluation(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    workflow_id = await begun(service, monkeypatch)
    assert (await service.verb(workflow_id, "pause")).status_code == 200
    workflow = await service.get(workflow_id)
    assert (workflow["status"], workflow["steps"][1]["status"]) == ("PAUSED", "RUNNING")
    assert (await service.verb(workflow_id, "cleanup")).status_code == 200
    assert (await service.get(workflow_id))["steps"][1]["status"] == "CANCELLED"
    await eventually(lambda: nothing_left(service), "the engine is empty")


async def test_the_next_process_evaluates_what_a_stop_interrupted(
    memory_in_real_time: MemoryDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_service(memory_in_real_time, tmp_path, grace_s=60) as first:
        workflow_id = await begun(first, monkeypatch)
        async with asyncio.timeout(30):  # less than the grace period
            await first.app.stop()
    async with running_service(memory_in_real_time, tmp_path) as second:
        workflow = await second.until_ended(workflow_id)
        assert workflow["status"] == "COMPLETED"
        assert workflow["steps"][1]["retry_count"] == 0
        assert second.app.engine.expressions.light.begun == 1


async def test_many_expressions_are_parsed_in_a_child_process(service: Service) -> None:
    mappings = [mapping(f"v[{number}]" + "|a" * 100, f"x{number}") for number in range(300)]
    mappings[7]["from_field"] = "v["
    body = {
        "name": "many",
        "origin_instance": "tests",
        "steps": [SOURCE, passthrough_step("step", "source", input_mappings=mappings)],
    }
    for path in ("/api/v1/workflows/", "/api/v1/workflows/plan"):
        response = await service.client.post(path, json=body)
        assert response.status_code == 422
        assert [fault["loc"] for fault in response.json()["detail"]] == [
            ["body", "steps", 1, "input_mappings", 7, "from_field"]
        ]
    assert service.app.engine.expressions.light.begun == 8
