"""A provider that is away for a minute costs no retry, no item and no second job, through the whole service."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from outbound.guard_network import certified_for
from stepwell.basics.setting_values import Prices
from stepwell.contract.enums import ProviderType
from stepwell.outbound.http_client import tls_context
from stepwell.testing import ManualClock, MemoryDatabase
from support.database.failing_store import scheduler_of, step_queue_of
from support.emulators.base import Emulator, Fault
from support.providers.emulated import World, provider_config, world_of
from support.providers.scripted import eventually
from support.service.live_service import Service, running_service, step_of

ITEMS = 50
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
End = Callable[[], Awaitable[None]]
# Few slots: an attempt that waits for its provider holds none.
NO_BREAKER = {"breaker_failures": 0, "max_steps_per_provider": 5}


@pytest.fixture(autouse=True)
def trusted(tmp_path: Path) -> Iterator[Any]:
    """A certificate for localhost that the service trusts."""
    tls_context.cache_clear()
    certified = certified_for("localhost", tmp_path)
    tls_context().load_verify_locations(tmp_path / "server.pem")
    yield certified.server
    tls_context.cache_clear()


async def refuse_connections(world: World, _: pytest.MonkeyPatch, __: Any) -> End:
    emulator: Emulator = world.emulator
    emulator.stop_listening()
    return emulator.listen


async def fail_in_dns(_: World, monkeypatch: pytest.MonkeyPatch, __: Any) -> End:
    def unknown(*_: Any, **__: Any) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    async def unknown_to_the_loop(*args: Any, **options: Any) -> None:
        unknown(*args, **options)

    patch = monkeypatch.context()
    inner = patch.__enter__()
    inner.setattr(socket, "getaddrinfo", unknown)
    inner.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown_to_the_loop)

    async def heal() -> None:
        patch.__exit__(None, None, None)

    return heal


async def fail_in_tls(world: World, _: pytest.MonkeyPatch, trusted: Any) -> End:
    """The server speaks plain HTTP where the service begins a handshake."""

    async def heal() -> None:
        world.emulator.stop_listening()
        await world.emulator.listen(trusted)

    world.emulator.url = world.emulator.url.replace("http://127.0.0.1", "https://localhost")
    return heal


async def ask_to_come_back_later(world: World, _: pytest.MonkeyPatch, __: Any) -> End:
    world.emulator.always("submit", Fault.AWAY)

    async def heal() -> None:
        world.emulator.always("submit", None)

    return heal


async def reason_of(service: Service, workflow_id: str) -> dict[str, Any]:
    response = await service.client.get(f"/api/v1/workflows/{workflow_id}/explain")
    reason: dict[str, Any] = response.json()["steps"][0]["reason"]
    return reason


def away(service: Service) -> int:
    """The number of steps and items whose attempt waits until the provider is back."""
    workflows = scheduler_of(service).workflows.values()
    units = [unit for each in workflows for unit in (*each.run.steps, *each.items)]
    return sum(unit.next_attempt_at is not None for unit in units)


async def check_nothing_was_lost(service: Service, world: World, workflow_id: str, count: int) -> None:
    ended = await service.until_ended(workflow_id)
    assert ended["status"] == "COMPLETED"
    draw = step_of(ended, "draw")
    assert (draw["items"]["completed"], draw["items"]["failed"], draw["retry_count"]) == (count, 0, 0)
    items = await service.client.get(f"/api/v1/workflows/{workflow_id}/steps/draw/items", params={"limit": 100})
    assert [item["retry_count"] for item in items.json()["items"]] == [0] * count
    assert world.accepted() == [1] * count
    tasks = await service.client.get(f"/api/v1/workflows/{workflow_id}/tasks")
    assert [task["attempt"] for task in tasks.json()["tasks"]] == [1] * count


@pytest.mark.parametrize("outage", [refuse_connections, fail_in_dns, fail_in_tls, ask_to_come_back_later])
async def test_a_minute_without_the_provider_fails_no_item_and_repeats_nothing(
    memory: MemoryDatabase,
    clock: ManualClock,
    tmp_path: Path,
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    trusted: Any,
    outage: Callable[[World, pytest.MonkeyPatch, Any], Awaitable[End]],
) -> None:
    scheme = "https" if outage is fail_in_tls else "http"
    url = world.emulator.url.replace("http://127.0.0.1", f"{scheme}://localhost")  # a name for DNS
    async with running_service(memory, tmp_path, **world.settings | NO_BREAKER | {"custom_url": url}) as service:
        end_of_outage = await outage(world, monkeypatch, trusted)
        items = {"items": list(range(ITEMS)), "max_concurrency": ITEMS}
        created = await service.create(world.step("draw", for_each=items, max_retries=0))
        await eventually(lambda: away(service) == ITEMS, "each item waits for its provider")
        assert step_queue_of(service).used == 0
        assert (await reason_of(service, created["id"]))["reasons"] == {"provider_away": ITEMS}
        for _ in range(6):
            clock.advance(10)
            await eventually(lambda: away(service) == ITEMS, "each item waits again")
        await end_of_outage()
        clock.advance(30)
        await check_nothing_was_lost(service, world, created["id"], ITEMS)


async def test_with_a_breaker_nothing_fails_either(
    memory: MemoryDatabase, clock: ManualClock, tmp_path: Path, world: World
) -> None:
    async with running_service(memory, tmp_path, **world.settings, max_steps_per_provider=5) as service:
        world.emulator.stop_listening()
        items = {"items": list(range(ITEMS)), "max_concurrency": ITEMS}
        created = await service.create(world.step("draw", for_each=items, max_retries=0))
        for _ in range(6):
            await eventually(lambda: step_queue_of(service).used == 0 and away(service) > 0, "nothing runs")
            reasons = (await reason_of(service, created["id"]))["reasons"]
            assert set(reasons) == {"provider_away", "breaker_open"}
            clock.advance(10)
        await eventually(lambda: step_queue_of(service).used == 0, "nothing runs")
        await world.emulator.listen()
        clock.advance(30)  # the first success closes the breaker
        await check_nothing_was_lost(service, world, created["id"], ITEMS)


async def test_explain_says_since_when_the_provider_is_away_and_when_it_is_tried_again(
    memory: MemoryDatabase, clock: ManualClock, tmp_path: Path, world: World
) -> None:
    world.emulator.always("submit", Fault.AWAY)
    async with running_service(memory, tmp_path, **world.settings) as service:
        config = {"retry": {"outage_s": 120}}
        created = await service.create(world.step("draw", config={"timeout_s": 1}, max_retries=0), config=config)
        await eventually(lambda: away(service) == 1, "the step waits for its provider")
        reason = await reason_of(service, created["id"])
        draw = step_of(await service.get(created["id"]), "draw")
        error = "custom worker: the submit was answered 503: come back later"
        assert (reason["code"], reason["provider"], reason["error"]) == ("provider_away", "CUSTOM", error)
        since, at, until = (datetime.fromisoformat(reason[name]) for name in ("since", "at", "until"))
        assert (until - since, reason["at"]) == (timedelta(seconds=120), draw["next_attempt_at"])
        assert timedelta(seconds=1) <= at - since < timedelta(seconds=1.1)  # its Retry-After
        assert (draw["status"], draw["error_message"], draw["retry_count"]) == ("RUNNING", error, 0)
        clock.advance(120)  # longer than the time of the step
        ended = await service.until_ended(created["id"])
        assert (ended["status"], ended["error_message"]) == ("FAILED", f"draw: {error}")
        assert world.accepted() == []


async def test_a_killed_process_loses_no_pause_and_the_next_one_continues_the_attempt(
    memory: MemoryDatabase, clock: ManualClock, tmp_path: Path, world: World
) -> None:
    world.emulator.always("submit", Fault.AWAY)
    async with running_service(memory, tmp_path, **world.settings) as service:
        created = await service.create(world.step("draw", max_retries=0))
        await eventually(lambda: away(service) == 1, "the step waits for its provider")
        before = await reason_of(service, created["id"])
        task_id = step_of(await service.get(created["id"]), "draw")["task_id"]
    memory.take_over(uuid4())
    world.emulator.always("submit", None)
    async with running_service(memory, tmp_path, **world.settings) as service:
        assert await reason_of(service, created["id"]) == before
        assert world.emulator.count("submit") == 1
        clock.advance(30)
        ended = await service.until_ended(created["id"])
        assert (ended["status"], step_of(ended, "draw")["retry_count"]) == ("COMPLETED", 0)
        tasks = await service.client.get(f"/api/v1/workflows/{created['id']}/tasks")
        assert [(task["id"], task["attempt"]) for task in tasks.json()["tasks"]] == [(task_id, 1)]
        assert world.accepted() == [1]


@pytest.mark.parametrize("paused", [False, True])
async def test_the_tries_of_an_attempt_reserve_one_attempt_in_a_budget(
    memory: MemoryDatabase,
    clock: ManualClock,
    tmp_path: Path,
    world: World,
    paused: bool,  # noqa: FBT001 - parametrized
) -> None:
    prices = Prices.read('{"CUSTOM": {"*": 0.04}}')
    world.emulator.always("submit", Fault.AWAY)
    async with running_service(memory, tmp_path, **world.settings, prices=prices) as service:
        budget = {"max_attempts": 1, "max_cost": {"USD": "0.04"}}
        created = await service.create(world.step("draw"), config={"budget": budget})
        await eventually(lambda: away(service) == 1, "the step waits for its provider")
        if paused:  # which withdraws the attempt, with what it has reserved
            await service.verb(created["id"], "pause")
            assert (await service.verb(created["id"], "resume")).status_code == 200
            await eventually(lambda: away(service) == 1, "the step waits for its provider again")
        world.emulator.always("submit", None)
        clock.advance(30)
        ended = await service.until_ended(created["id"])
        explained = await service.client.get(f"/api/v1/workflows/{created['id']}/explain")
        used = explained.json()["budget"]
        assert (ended["status"], used["attempts"]["spent"], used["attempts"]["reserved"]) == ("COMPLETED", 1, 0)
        assert used["costs"] == {"USD": {"maximum": 0.04, "spent": 0.04, "reserved": 0}}


async def test_a_worker_that_says_no_other_attempt_helps_is_believed(
    memory: MemoryDatabase, tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = world.emulator.error
    monkeypatch.setattr(world.emulator, "error", lambda status, text: _not_retryable(error(status, text)))
    world.emulator.plan("submit", Fault.AWAY)
    async with running_service(memory, tmp_path, **world.settings) as service:
        created = await service.create(world.step("draw"))
        assert (await service.until_ended(created["id"]))["status"] == "FAILED"


def _not_retryable(reply: Any) -> Any:
    reply.body["retryable"] = False
    return reply


async def test_an_upload_before_the_submit_and_a_token_for_it_wait_for_the_provider_too(
    memory: MemoryDatabase, clock: ManualClock, tmp_path: Path
) -> None:
    async with (
        world_of(ProviderType.COMFYUI, tmp_path / "comfyui") as comfyui,
        world_of(ProviderType.VERTEX, tmp_path / "vertex") as vertex,
    ):
        comfyui.emulator.always("upload", Fault.AWAY)
        vertex.emulator.always("token", Fault.AWAY)
        settings = comfyui.settings | vertex.settings
        settings["credentials"] = {**comfyui.settings["credentials"], **vertex.settings["credentials"]}
        async with running_service(memory, tmp_path, **settings) as service:
            refine = {
                "id": "refine",
                "task_type": "REFINE",
                "config": {"base_image_url": "data:image/png;base64," + PIXEL},
                "provider_config": provider_config(ProviderType.COMFYUI, "REFINE"),
                "max_retries": 0,
            }
            created = await service.create(refine, vertex.step("paint", max_retries=0))
            await eventually(lambda: away(service) == 2, "both wait")
            assert (comfyui.accepted(), vertex.accepted()) == ([], [])
            comfyui.emulator.always("upload", None)
            vertex.emulator.always("token", None)
            clock.advance(30)
            ended = await service.until_ended(created["id"])
            assert [(step["status"], step["retry_count"]) for step in ended["steps"]] == [("COMPLETED", 0)] * 2
