"""Workflows beyond the bounds wait in the database, and enter memory in their order."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from stepwell.testing import ManualClock, MemoryDatabase
from support.database.failing_store import AFTER, BEFORE, scheduler_of, use_failing_store
from support.providers.scripted import Hang, ScriptedProvider, eventually, passthrough_step, scripted_step
from support.service.live_service import Service, running_service

WORKFLOWS = "/api/v1/workflows/"
ONE_AT_A_TIME = {"max_active_workflows": 1}


@pytest.fixture
def provider() -> ScriptedProvider:
    return ScriptedProvider(default=Hang())


@asynccontextmanager
async def serving(
    memory: MemoryDatabase, folder: Path, provider: ScriptedProvider, **limits: Any
) -> AsyncIterator[Service]:
    async with running_service(memory, folder, providers=[provider], grace_s=1, **limits) as service:
        yield service


@pytest.fixture
async def service(memory: MemoryDatabase, tmp_path: Path, provider: ScriptedProvider) -> AsyncIterator[Service]:
    """One workflow is active at a time."""
    async with serving(memory, tmp_path, provider, **ONE_AT_A_TIME) as service:
        yield service


async def one_runs(service: Service, provider: ScriptedProvider) -> str:
    created = await service.create(scripted_step("first"))
    await provider.until_called("first")
    return str(created["id"])


async def reason(service: Service, workflow_id: str) -> dict[str, Any] | None:
    response = await service.client.get(f"{WORKFLOWS}{workflow_id}/explain")
    found: dict[str, Any] | None = response.json()["reason"]
    return found


def in_memory(service: Service) -> set[str]:
    return {str(each) for each in scheduler_of(service).workflows}


async def test_beyond_the_bound_a_workflow_waits_and_nothing_of_it_is_in_memory(
    service: Service, provider: ScriptedProvider
) -> None:
    first = await one_runs(service, provider)
    waiting = [await service.create(scripted_step("a"), scripted_step("b", "a")) for _ in range(2)]
    assert [each["status"] for each in waiting] == ["RUNNING", "RUNNING"]
    assert in_memory(service) == {first}
    for position, each in enumerate(waiting, 1):
        explained = (await service.client.get(f"{WORKFLOWS}{each['id']}/explain")).json()
        assert (explained["reason"]["code"], explained["reason"]["position"]) == ("waits_for_admission", position)
        assert [step["reason"]["code"] for step in explained["steps"]] == ["waits_for_admission", "waits_for_steps"]


async def test_those_that_wait_run_in_the_order_of_their_start(service: Service, provider: ScriptedProvider) -> None:
    first = await one_runs(service, provider)
    pending = [await service.create(scripted_step(name), start=False) for name in ("later", "sooner")]
    for each in reversed(pending):
        assert (await service.verb(each["id"], "start")).status_code == 200
    last = await service.create(scripted_step("last"))
    assert in_memory(service) == {first}
    for name in ("first", "sooner", "later", "last"):
        await provider.until_called(name)
        assert provider.running == 1
        provider.release(name)
    for workflow in (*pending, last):
        assert (await service.until_ended(workflow["id"]))["status"] == "COMPLETED"
    assert [call.step_id for call in provider.calls] == ["first", "sooner", "later", "last"]


async def test_each_tenant_gets_its_turn(memory: MemoryDatabase, tmp_path: Path) -> None:
    provider = ScriptedProvider(default=Hang())
    limits = {"max_active_workflows": 100, "max_active_workflows_per_tenant": 1}
    async with serving(memory, tmp_path, provider, **limits) as service:
        for number in range(3):
            await service.create(scripted_step(f"many-{number}"), origin_tenant_id="many")
        await service.create(scripted_step("victim"), origin_tenant_id="few")
        await provider.until_called("many-0")
        await provider.until_called("victim")
        assert provider.running == 2


async def test_a_large_workflow_takes_several_places(memory: MemoryDatabase, tmp_path: Path) -> None:
    provider = ScriptedProvider(default=Hang())
    async with serving(memory, tmp_path, provider, max_active_workflows_per_tenant=3) as service:
        large = await service.create(*(scripted_step(f"s{number}") for number in range(41)))
        await service.create(scripted_step("small"))
        assert in_memory(service) == {large["id"]}
        provider.release(*(f"s{number}" for number in range(41)))
        await provider.until_called("small")


async def test_a_large_definition_takes_several_places_also_after_a_restart(
    memory: MemoryDatabase, tmp_path: Path, provider: ScriptedProvider
) -> None:
    async def create(service: Service, name: str, slots: int) -> str:
        config = {"note": "x" * 65_536 * (slots - 1)}
        return str((await service.create(scripted_step(name), config=config, origin_tenant_id="t"))["id"])

    async def used(service: Service) -> tuple[int, int]:
        found = (await service.client.get("/api/v1/limits", params={"origin_tenant_id": "t"})).json()
        return found["active_workflows"]["used"], found["waiting_workflows"]["used"]

    limits, sizes = {"max_active_workflows_per_tenant": 5}, {"a": 1, "b": 3, "c": 2, "d": 1, "e": 9, "f": 1}
    async with serving(memory, tmp_path, provider, **limits) as service:
        created = {name: await create(service, name, slots) for name, slots in sizes.items()}
        await provider.until_called("b")
        assert in_memory(service) == {created["a"], created["b"]}
        assert await used(service) == (4, 4)
    again = ScriptedProvider(default=Hang())
    async with serving(memory, tmp_path, again, **limits) as service:
        await again.until_called("b")
        assert await used(service) == (4, 4)
        for ended, active in (("a", "bc"), ("b", "cd"), ("c", "d"), ("d", "e"), ("e", "f")):
            again.release(ended)
            await again.until_called(active[-1])
            assert (await service.until_ended(created[ended]))["status"] == "COMPLETED"
            assert in_memory(service) == {created[name] for name in active}
            assert (await used(service))[0] == sum(sizes[name] for name in active)


async def test_a_short_definition_of_many_values_takes_several_places(
    memory: MemoryDatabase, tmp_path: Path, provider: ScriptedProvider
) -> None:
    async with serving(memory, tmp_path, provider) as service:
        numbers = list(range(10_000))
        await service.create(scripted_step("a"), config={"numbers": numbers}, origin_tenant_id="t")
        limits = (await service.client.get("/api/v1/limits", params={"origin_tenant_id": "t"})).json()
        assert limits["active_workflows"]["used"] == 4
        await service.create(scripted_step("b"), config={"text": "1, 2, " * 5_000}, origin_tenant_id="t")
        limits = (await service.client.get("/api/v1/limits", params={"origin_tenant_id": "t"})).json()
        assert limits["active_workflows"]["used"] == 4 + 1, "a comma in a string is no value"


async def test_verbs_work_on_a_workflow_that_waits(service: Service, provider: ScriptedProvider) -> None:
    first = await one_runs(service, provider)
    changed, cancelled, paused, cleaned = [(await service.create(scripted_step("a")))["id"] for _ in range(4)]
    response = await service.client.patch(WORKFLOWS + changed, json={"name": "new"})
    assert (response.status_code, response.json()["name"], response.json()["status"]) == (200, "new", "RUNNING")
    assert (await service.verb(cancelled, "cancel")).json()["status"] == "CANCELLED"
    assert (await service.verb(paused, "pause")).json()["status"] == "PAUSED"
    assert (await service.verb(cleaned, "pause")).json()["status"] == "PAUSED"
    assert (await service.verb(cleaned, "cleanup")).status_code == 200
    assert (await service.verb(paused, "start")).status_code == 409
    assert (await service.verb(paused, "resume")).json()["status"] == "RUNNING"
    assert in_memory(service) == {first}
    provider.release("first")
    provider.release("a")
    for workflow_id, status in ((changed, "COMPLETED"), (paused, "COMPLETED"), (cancelled, "CANCELLED")):
        assert (await service.until_ended(workflow_id))["status"] == status
    assert (await service.get(cleaned))["status"] == "CANCELLED"


async def test_a_resumed_workflow_waits_too_unless_attempts_of_it_still_run(
    service: Service, provider: ScriptedProvider
) -> None:
    first = await one_runs(service, provider)
    waiting = (await service.create(scripted_step("a")))["id"]
    assert (await service.verb(first, "pause")).json()["status"] == "PAUSED"
    assert (await service.verb(first, "resume")).json()["status"] == "RUNNING"
    assert in_memory(service) == {first}, "it has held its place"
    assert (await service.verb(waiting, "pause")).status_code == 200
    assert (await service.verb(waiting, "resume")).status_code == 200
    assert ((await reason(service, waiting)) or {})["code"] == "waits_for_admission"


async def test_a_verb_and_an_admission_at_once_end_in_one_of_the_two_orders(
    memory_in_real_time: MemoryDatabase, tmp_path: Path, provider: ScriptedProvider
) -> None:
    async with serving(memory_in_real_time, tmp_path, provider, **ONE_AT_A_TIME) as service:
        await one_runs(service, provider)
        created = [(await service.create(scripted_step("a")))["id"] for _ in range(10)]
        provider.release("first")
        provider.release("a")
        async with asyncio.TaskGroup() as group:
            verbs = [group.create_task(service.verb(each, "cancel")) for each in created]
        responses = [asyncio_task.result() for asyncio_task in verbs]
        ends = [(await service.until_ended(each))["status"] for each in created]
        assert ends == ["CANCELLED" if response.status_code == 200 else "COMPLETED" for response in responses]
        assert {response.status_code for response in responses} <= {200, 409}
        await eventually(lambda: all(state.owner is None for state in memory_in_real_time.states()))


async def test_after_a_restart_no_more_enter_memory_than_before(memory: MemoryDatabase, tmp_path: Path) -> None:
    provider = ScriptedProvider(default=Hang())
    async with serving(memory, tmp_path, provider, max_active_workflows_per_tenant=10) as service:
        for number in range(10):
            await service.create(scripted_step(f"s{number}"))
        await eventually(lambda: len(provider.calls) == 10)
    again = ScriptedProvider(default=Hang())
    for state in memory.states():
        assert state.owner is not None
    async with serving(memory, tmp_path, again, max_active_workflows_per_tenant=3) as service:
        assert len(scheduler_of(service).workflows) == 10, "attempts that had begun are continued"
    fresh = MemoryDatabase(memory.clock)
    async with serving(fresh, tmp_path / "fresh", ScriptedProvider(default=Hang()), max_running_steps=1) as service:
        for number in range(10):
            await service.create(scripted_step(f"s{number}"))
    async with serving(fresh, tmp_path / "fresh", again, max_active_workflows_per_tenant=3) as service:
        assert len(scheduler_of(service).workflows) == 3
        await eventually(lambda: sum(state.owner is not None for state in fresh.states()) == 3)


async def test_a_process_with_room_takes_what_another_has_no_room_for(memory: MemoryDatabase, tmp_path: Path) -> None:
    here, there = ScriptedProvider(default=Hang()), ScriptedProvider(default=Hang())
    shared = {"exclusive": False}
    async with AsyncExitStack() as stack:
        full = await stack.enter_async_context(serving(memory, tmp_path, here, **ONE_AT_A_TIME, **shared))
        await stack.enter_async_context(serving(memory, tmp_path, there, **shared))
        first = await full.create(scripted_step("a"))
        await here.until_called("a")
        second = await full.create(scripted_step("b"))
        await there.until_called("b")
        assert in_memory(full) == {first["id"]}
        there.release("b")
        assert (await full.until_ended(second["id"]))["status"] == "COMPLETED"
        assert [call.step_id for call in here.calls] == ["a"]


async def test_what_a_dead_process_has_left_waiting_is_admitted_by_another(
    memory: MemoryDatabase, tmp_path: Path
) -> None:
    here, there = ScriptedProvider(default=Hang()), ScriptedProvider(default=Hang())
    async with AsyncExitStack() as stack:
        full = await stack.enter_async_context(serving(memory, tmp_path, here, **ONE_AT_A_TIME))
        await full.create(scripted_step("a"))
        await here.until_called("a")
        await full.create(scripted_step("b"))
        full.app.running.cancel()  # as one that is killed
        await asyncio.wait({full.app.running})
        memory.declare_dead()
        next_one = await stack.enter_async_context(serving(memory, tmp_path, there, **ONE_AT_A_TIME))
        await there.until_called("a")
        there.release("a")
        await there.until_called("b")
        assert len(scheduler_of(next_one).workflows) == 1


async def test_an_insert_whose_response_was_lost_is_admitted_all_the_same(
    service: Service, provider: ScriptedProvider
) -> None:
    await one_runs(service, provider)
    use_failing_store(service).inserts.append(AFTER)
    body = {"name": "n", "origin_instance": "tests", "steps": [scripted_step("lost")]}
    assert (await service.client.post(WORKFLOWS, json=body)).status_code == 503
    provider.release("first")
    await provider.until_called("lost")


@pytest.mark.parametrize("fault", [BEFORE, AFTER])
async def test_an_admission_that_failed_or_whose_response_was_lost_is_made_again(
    memory: MemoryDatabase, clock: ManualClock, tmp_path: Path, provider: ScriptedProvider, fault: str
) -> None:
    async with serving(memory, tmp_path, provider, **ONE_AT_A_TIME) as service:
        await one_runs(service, provider)
        waiting = await service.create(scripted_step("a"))
        store = use_failing_store(service)
        store.admits.append(fault)
        clock.advance(1)
        provider.release("first", "a")
        assert (await service.until_ended(waiting["id"]))["status"] == "COMPLETED"
        assert not store.admits
        assert [call.step_id for call in provider.calls] == ["first", "a"]


async def test_while_there_is_room_nothing_is_counted_or_admitted(
    memory: MemoryDatabase, tmp_path: Path, provider: ScriptedProvider
) -> None:
    async with serving(memory, tmp_path, provider) as service:
        store = use_failing_store(service)
        counted, admitted = store.waiting_counts, store.admissions
        for number in range(5):
            created = await service.create(passthrough_step(f"s{number}"))
            await service.until_ended(created["id"])
        assert (store.waiting_counts, store.admissions) == (counted, admitted)


async def test_beyond_the_queue_create_and_start_are_refused_and_a_key_is_not_used_up(
    memory: MemoryDatabase, clock: ManualClock, tmp_path: Path, provider: ScriptedProvider
) -> None:
    limits = {"max_active_workflows": 1, "max_waiting_workflows": 2}
    async with serving(memory, tmp_path, provider, **limits) as service:
        first = await one_runs(service, provider)
        pending = await service.create(scripted_step("p"), start=False)
        waiting = await service.create(scripted_step("a"))
        body = {"name": "n", "origin_instance": "tests", "steps": [scripted_step("refused")]}
        refused = await service.client.post(WORKFLOWS, json=body, headers={"Idempotency-Key": "k"})
        assert (refused.status_code, refused.json()["status"]) == (429, 429)
        assert refused.headers["retry-after"] == "1"
        assert (refused.headers["ratelimit-policy"], refused.headers["ratelimit"]) == (
            '"workflows";q=3',
            '"workflows";r=0',
        )
        assert (await service.verb(pending["id"], "start")).status_code == 429
        assert (await service.get(pending["id"]))["status"] == "PENDING"
        assert (await service.verb(waiting["id"], "cancel")).status_code == 200
        clock.advance(2)  # the count of those that wait is older than a second
        again = await service.client.post(WORKFLOWS, json=body, headers={"Idempotency-Key": "k"})
        assert again.status_code == 201
        assert in_memory(service) == {first}


async def test_a_tenant_reads_its_own_limits_and_use(
    memory: MemoryDatabase, tmp_path: Path, provider: ScriptedProvider
) -> None:
    limits = {"max_active_workflows_per_tenant": 1, "max_waiting_workflows": 100, "max_steps_per_tenant": 7}
    limits |= {"max_uploads_per_tenant": 10, "upload_quota_bytes": 1_000}
    limits |= {"max_definitions_per_tenant": 20, "definition_quota_bytes": 2_000}
    async with serving(memory, tmp_path, provider, **limits) as service, service.as_tenant("a") as client:
        await client.post("/api/v1/artifacts", content=b"text", headers={"Content-Type": "text/plain"})
        stored = await client.put("/api/v1/definitions/a", json={"steps": [{"id": "a", "task_type": "PASSTHROUGH"}]})
        assert stored.status_code == 201
        for number in range(3):
            await service.create(scripted_step(f"s{number}"), origin_tenant_id="a")
        await provider.until_called("s0")
        found = (await client.get("/api/v1/limits")).json()
        assert found.pop("waiting_workflows") | {"oldest_started_at": None} == {
            "limit": 100,
            "used": 2,
            "oldest_started_at": None,
        }
        assert found == {
            "tenant_id": "a",
            "remaining_workflows": 48,
            "active_workflows": {"limit": 1, "used": 1},
            "running_steps": {"limit": 7, "used": 1},
            "uploads": {"limit": 10, "used": 1, "limit_bytes": 1_000, "used_bytes": 4},
            "definitions": {"limit": 20, "used": 1, "limit_bytes": 2_000, "used_bytes": 48},
            "budget": None,
        }
        other = await client.get("/api/v1/limits", params={"origin_tenant_id": "b"})
        assert other.status_code == 403
        named = await service.client.get("/api/v1/limits", params={"origin_tenant_id": "a"})
        assert (named.json()["tenant_id"], named.json()["active_workflows"]["used"]) == ("a", 1)
