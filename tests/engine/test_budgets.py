"""Budgets of workflows: what their attempts reserve and spend, and what happens before one that doesn't fit."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from stepwell.app import DatabaseSource
from stepwell.basics.setting_values import Prices
from stepwell.contract.enums import ProviderType
from stepwell.testing import MemoryDatabase
from support.providers.emulated import World
from support.service.live_service import Service, running_service, statuses_of

AT_ONCE = {"retry": {"base_s": 0}}
PRICES = Prices.read('{"CUSTOM": {"*": 0.04}}')


def budget_of(max_cost: str | None = None, max_attempts: int | None = None, **members: Any) -> dict[str, Any]:
    """Return the config of a workflow with a budget."""
    budget: dict[str, Any] = {} if max_cost is None else {"max_cost": {"USD": max_cost}}
    return AT_ONCE | {"budget": budget | ({} if max_attempts is None else {"max_attempts": max_attempts}) | members}


def part(maximum: float | None, spent: float, reserved: float = 0) -> dict[str, Any]:
    return {"maximum": maximum, "spent": spent, "reserved": reserved}


@pytest.fixture(params=["memory", "postgres"])
def database(request: pytest.FixtureRequest) -> str | DatabaseSource:
    if request.param == "memory":
        memory: MemoryDatabase = request.getfixturevalue("memory")
        return memory
    dsn: str = request.getfixturevalue("dsn")
    return dsn


@pytest.fixture
async def service(database: str | DatabaseSource, world: World, tmp_path: Path) -> AsyncIterator[Service]:
    async with AsyncExitStack() as stack:
        running = running_service(database, tmp_path / "data", prices=PRICES, **world.settings)
        yield await stack.enter_async_context(running)


async def budget(service: Service, workflow_id: str) -> Any:
    answer = await service.client.get(f"/api/v1/workflows/{workflow_id}/explain")
    assert answer.status_code == 200, answer.text
    return answer.json()["budget"]


async def until_paused(service: Service, workflow_id: str) -> dict[str, Any]:
    """Return the workflow once it is PAUSED and nothing of it runs."""
    return await service.until(
        workflow_id, lambda each: each["status"] == "PAUSED" and "RUNNING" not in statuses_of(each).values()
    )


async def raise_budget(service: Service, workflow_id: str, budget: dict[str, Any]) -> None:
    answer = await service.client.patch(f"/api/v1/workflows/{workflow_id}", json={"config": {"budget": budget}})
    assert answer.status_code == 200, answer.text
    assert answer.json()["config"]["budget"] == {"on_exceeded": "pause", "max_attempts": None, "max_cost": {}} | budget


async def test_a_workflow_within_its_budget_completes_and_shows_what_it_spent(service: Service, world: World) -> None:
    created = await service.create(world.step("a"), world.step("b"), config=budget_of("1.00", 5))
    assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"
    assert await budget(service, created["id"]) == {
        "workflow_id": created["id"],
        "on_exceeded": "pause",
        "costs": {"USD": part(1, 0.08)},
        "attempts": part(5, 2),
    }


@pytest.mark.parametrize("limit", [budget_of("0.10"), budget_of(max_attempts=2)])
async def test_an_attempt_that_does_not_fit_pauses_the_workflow(
    service: Service, world: World, limit: dict[str, Any]
) -> None:
    created = await service.create(*(world.step(name) for name in "abcd"), config=limit)
    workflow = await until_paused(service, created["id"])
    assert sorted(statuses_of(workflow).values()) == ["COMPLETED", "COMPLETED", "PENDING", "PENDING"]
    assert (workflow["pause_reason"], len(world.emulator.ledger.jobs())) == ("budget", 2)
    paused = [event for event in await service.events(created["id"]) if event["type"] == "workflow.paused"]
    assert [(event["actor"], event["data"]["reason"]) for event in paused] == [("stepwell", "budget")]


async def test_a_raised_budget_lets_resume_continue(service: Service, world: World) -> None:
    created = await service.create(*(world.step(name) for name in "abcd"), config=budget_of("0.10"))
    await until_paused(service, created["id"])
    await raise_budget(service, created["id"], {"max_cost": {"USD": "0.16"}})
    assert (await service.verb(created["id"], "resume")).status_code == 200
    workflow = await service.until_ended(created["id"])
    assert (workflow["status"], workflow["pause_reason"]) == ("COMPLETED", None)
    assert all(step["retry_count"] == 0 for step in workflow["steps"])
    assert (await budget(service, created["id"]))["costs"] == {"USD": part(0.16, 0.16)}
    assert len(world.emulator.ledger.jobs()) == 4


async def test_resume_without_a_raise_pauses_again(service: Service, world: World) -> None:
    created = await service.create(world.step("a"), config=budget_of("0.01"))
    await until_paused(service, created["id"])
    assert (await service.verb(created["id"], "resume")).status_code == 200
    await until_paused(service, created["id"])
    paused = [event for event in await service.events(created["id"]) if event["type"] == "workflow.paused"]
    assert (len(paused), world.emulator.ledger.jobs()) == (2, [])


async def test_the_workflow_fails_if_its_budget_says_so(service: Service, world: World) -> None:
    created = await service.create(*(world.step(name) for name in "abc"), config=budget_of("0.10", on_exceeded="fail"))
    workflow = await service.until_ended(created["id"])
    assert sorted(statuses_of(workflow).values()) == ["COMPLETED", "COMPLETED", "PENDING"]
    assert workflow["status"] == "FAILED"
    why = "The budget of the workflow has 0.02 USD left, and the attempt is expected to cost 0.04"
    assert workflow["errors"] == [f"budget: {why}"]
    assert len(world.emulator.ledger.jobs()) == 2
    await raise_budget(service, created["id"], {"max_cost": {"USD": "1"}})
    assert (await service.verb(created["id"], "resume")).status_code == 200
    assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"


async def test_local_work_needs_no_room(service: Service, world: World) -> None:
    local = world.step("local", provider_config={"provider_type": ProviderType.LOCAL})
    created = await service.create(local, config=budget_of("0", 0))
    assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"


async def test_a_workflow_without_a_budget_cannot_get_one(service: Service, world: World) -> None:
    created = await service.create(world.step("a"), start=False)
    path, body = f"/api/v1/workflows/{created['id']}", {"config": {"budget": {"max_attempts": 3}}}
    answer = await service.client.patch(path, json=body)
    assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, ["body", "config", "budget"])
    assert await budget(service, created["id"]) is None
