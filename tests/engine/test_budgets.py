"""Budgets of workflows: what their attempts reserve and spend, and what happens before one that doesn't fit."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from stepwell.app import DatabaseSource
from stepwell.basics.setting_values import Prices
from stepwell.contract.enums import ProviderType
from stepwell.testing import MemoryDatabase
from support.emulators.base import Fault
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


# Items, sub-workflows, retries, fallbacks


def jobs(world: World) -> int:
    return len(world.emulator.ledger.jobs())


def below(step: dict[str, Any], depth: int) -> dict[str, Any]:
    """Return a step that runs *step* in a sub-workflow, so many levels down."""
    for level in range(depth):
        step = {
            "id": f"level-{level}",
            "task_type": "SUBWORKFLOW",
            "config": {"workflow": {"name": "b", "steps": [step]}},
        }
    return step


def each(step: dict[str, Any], count: int, **members: Any) -> dict[str, Any]:
    return step | {"for_each": {"count": count, "max_concurrency": 100} | members}


async def tree(service: Service) -> list[dict[str, Any]]:
    """Return all workflows, those at the top last."""
    params = {"include_children": True, "limit": 1_000}
    answer = await service.client.get("/api/v1/workflows/", params=params)
    found: list[dict[str, Any]] = answer.json()["workflows"]
    return found


async def until_tree_is_paused(service: Service) -> None:
    async with asyncio.timeout(60):
        while {each["status"] for each in await tree(service)} - {"PAUSED", "COMPLETED"}:
            await asyncio.sleep(0.02)


async def test_of_a_hundred_items_at_once_exactly_those_run_that_fit(service: Service, world: World) -> None:
    created = await service.create(each(world.step("a"), 100), config=budget_of("1.30"))
    workflow = await until_paused(service, created["id"])
    assert workflow["steps"][0]["items"] | {"running": 0} == workflow["steps"][0]["items"]
    assert (workflow["steps"][0]["items"]["completed"], jobs(world)) == (32, 32)
    assert (await budget(service, created["id"]))["costs"] == {"USD": part(1.3, 1.28)}
    await raise_budget(service, created["id"], {"max_cost": {"USD": "4.00"}})
    assert (await service.verb(created["id"], "resume")).status_code == 200
    assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"
    assert (jobs(world), (await budget(service, created["id"]))["attempts"]) == (100, part(None, 100))


async def test_sub_workflows_at_three_levels_use_the_budget_at_the_top(service: Service, world: World) -> None:
    step = each(below(each(below(each(world.step("a"), 3), 1), 2), 1), 2)  # 12 attempts
    created = await service.create(step, config=budget_of("0.30"))
    await until_tree_is_paused(service)
    paused = await service.get(created["id"])
    assert (paused["status"], paused["pause_reason"], jobs(world)) == ("PAUSED", "budget", 7)
    await raise_budget(service, created["id"], {"max_cost": {"USD": "0.40"}})
    assert (await service.verb(created["id"], "resume")).status_code == 200
    await service.until(created["id"], lambda workflow: workflow["status"] == "PAUSED" and jobs(world) == 10)
    await until_tree_is_paused(service)
    await raise_budget(service, created["id"], {"max_cost": {"USD": "1"}})
    assert (await service.verb(created["id"], "resume")).status_code == 200
    assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"
    assert (jobs(world), (await budget(service, created["id"]))["costs"]) == (12, {"USD": part(1, 0.48)})
    child = next(each for each in await tree(service) if each["parent"] is not None)
    assert (await budget(service, child["id"]))["workflow_id"] == created["id"]


async def test_a_budget_that_fails_ends_the_sub_workflows_too(service: Service, world: World) -> None:
    step = below(each(world.step("a"), 3), 2)
    created = await service.create(step | {"optional": True}, config=budget_of("0.05", on_exceeded="fail"))
    workflow = await service.until_ended(created["id"])
    assert (workflow["status"], jobs(world)) == ("FAILED", 1)
    assert workflow["errors"][0].startswith("budget: The budget of the workflow has 0.01 USD left")
    assert {each["status"] for each in await tree(service)} == {"FAILED"}


async def test_an_attempt_whose_job_failed_counts_with_its_expected_price(service: Service, world: World) -> None:
    world.emulator.outcome, world.emulator.retryable = "failed", True
    created = await service.create(world.step("a", max_retries=5), config=budget_of("0.10"))
    workflow = await until_paused(service, created["id"])
    assert (statuses_of(workflow), jobs(world)) == ({"a": "PENDING"}, 2)
    assert (await budget(service, created["id"]))["costs"] == {"USD": part(0.1, 0.08)}


async def test_an_attempt_whose_request_was_refused_gives_its_price_back(service: Service, world: World) -> None:
    world.emulator.plan("submit", *[Fault.UNAVAILABLE] * 3)
    created = await service.create(world.step("a"), config=budget_of("0.05"))
    assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"
    assert (jobs(world), (await budget(service, created["id"]))["costs"]) == (1, {"USD": part(0.05, 0.04)})


async def test_a_cost_that_the_provider_reports_replaces_the_price(service: Service, world: World) -> None:
    world.emulator.cost = {"amount": 0.07, "currency": "EUR"}
    steps = world.step("a"), world.step("b") | {"depends_on": ["a"]}
    created = await service.create(*steps, config=budget_of("0.05"))
    assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"
    costs = (await budget(service, created["id"]))["costs"]
    assert costs == {"EUR": part(None, 0.14), "USD": part(0.05, 0)}


async def test_an_attempt_under_way_keeps_its_reservation(service: Service, world: World) -> None:
    world.hold()
    created = await service.create(world.step("a"), world.step("b"), config=budget_of("0.05"))
    await service.until(created["id"], lambda workflow: workflow["status"] == "PAUSED" and jobs(world) == 1)
    assert (await budget(service, created["id"]))["costs"] == {"USD": part(0.05, 0, 0.04)}
    world.hold(held=False)
    workflow = await until_paused(service, created["id"])
    assert sorted(statuses_of(workflow).values()) == ["COMPLETED", "PENDING"]
    assert (await budget(service, created["id"]))["costs"] == {"USD": part(0.05, 0.04)}


async def test_a_webhook_reports_a_pause_for_a_budget(service: Service, world: World) -> None:
    created = await service.create(world.step("a"), config=budget_of("0.01"), webhook_url="http://127.0.0.1:9/hook")
    await until_paused(service, created["id"])
    answer = await service.client.get(f"/api/v1/workflows/{created['id']}/deliveries")
    assert [delivery["type"] for delivery in answer.json()["deliveries"]] == ["workflow.paused"]
