"""The explanation of a parent names the steps of its sub-workflows that really wait, at any depth."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from stepwell.testing import MemoryDatabase
from support.providers.scripted import Fail, Hang, ScriptedProvider, passthrough_step, scripted_step
from support.service.explain_requests import explain, wait_for_code
from support.service.live_service import Service, serving, step_of
from support.workflows.sub_workflows import child_of, runs

WAITS: dict[str, Any] = {"task_type": "APPROVAL", "config": {"choices": ["a", "b"]}}


@pytest.fixture
def provider() -> ScriptedProvider:
    return ScriptedProvider(script={"slow": [Hang()]}, default=Fail("out of paper", retryable=False))


@pytest.fixture
async def service(memory: MemoryDatabase, tmp_path: Path, provider: ScriptedProvider) -> AsyncIterator[Service]:
    async with serving(memory, tmp_path, provider) as service:
        yield service


async def below(service: Service, workflow_id: str, step_id: str, codes: list[str]) -> list[dict[str, Any]]:
    """What is below the step, once it has these codes."""
    async with asyncio.timeout(60):
        while True:
            steps = (await explain(service, workflow_id))["steps"]
            found: list[dict[str, Any]] = steps[step_id]["below"] if step_id in steps else []
            if [each["reason"]["code"] for each in found] == codes:
                return found
            await asyncio.sleep(0.005)


async def test_the_decisions_and_signals_below_items_are_named_at_any_depth(service: Service) -> None:
    signal = {"id": "paid", "task_type": "SIGNAL", "config": {"name": "payment"}}
    deep = runs({"id": "ask", **WAITS}, signal, passthrough_step("join", "ask", "paid"), step_id="deep")
    created = await service.create(runs(deep, step_id="each", for_each={"count": 3}))
    codes = ["waits_for_decision"] * 3 + ["waits_for_signal"] * 2
    found = await below(service, created["id"], "each", codes)
    deep_step = {"step_id": "deep", "item": None}
    ways = [[{"step_id": "each", "item": item}, deep_step] for item in range(3)]
    assert sorted((each["above"] for each in found[:3]), key=lambda above: above[0]["item"]) == ways
    assert {each["reason"]["name"] for each in found[3:]} == {"payment"}
    for each in found:
        child = await service.get(each["workflow_id"])
        assert step_of(child, each["step_id"])["waiting_for"] is not None
    assert (found[0]["status"], found[0]["reason"]["choices"]) == ("RUNNING", ["a", "b"])


async def test_a_step_below_that_works_at_a_provider_is_named_with_its_reason(
    service: Service, provider: ScriptedProvider
) -> None:
    deep = runs(scripted_step("slow"), passthrough_step("then", "slow"), step_id="deep")
    created = await service.create(runs(deep, step_id="sub"))
    await provider.until_called("slow")
    (found,) = await below(service, created["id"], "sub", ["running_locally"])
    child = await service.get(await child_of(service, created))
    assert found["step_id"] == "slow"
    assert found["above"] == [{"step_id": "sub", "item": None}, {"step_id": "deep", "item": None}]
    assert found["workflow_id"] == step_of(child, "deep")["waiting_for"]["workflow_id"]


async def test_a_step_without_sub_workflows_has_nothing_below_it(service: Service) -> None:
    created = await service.create({"id": "ask", **WAITS}, passthrough_step("then", "ask"))
    await wait_for_code(service, created["id"], "ask", "waits_for_decision")
    steps = (await explain(service, created["id"]))["steps"]
    assert {name: step["below"] for name, step in steps.items()} == {"ask": [], "then": []}


async def test_a_failed_step_repeats_its_error_also_below_its_parent(service: Service) -> None:
    created = await service.create(runs(scripted_step("print"), passthrough_step("then", "print")))
    assert (await service.until_ended(created["id"]))["status"] == "FAILED"
    steps = (await explain(service, await child_of(service, created)))["steps"]
    reason = steps["print"]["reason"]
    assert (steps["print"]["status"], reason["code"], reason["error"]) == ("FAILED", "failed", "out of paper")
    assert reason["detail"] == (
        "Has failed for good: out of paper. "
        "Resume runs it again, unless somebody gives it a result by hand, or skips it."
    )
    reason = (await explain(service, created["id"]))["steps"]["sub"]["reason"]
    assert "out of paper" in reason["detail"]
