"""Attempts at providers that answer with the work itself and keep no list of it: what is lost on its way is never paid
for again unless the step says so, and never booked as if it had cost nothing.
"""

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from stepwell.domain.limits import ModelLimit
from stepwell.domain.model import ProviderType
from stepwell.settings import Prices
from support.emulator import Fault
from support.scripted import eventually
from support.service import Service, running_service
from support.worlds import ANSWERING, World, provider_config, world_of

RETRY_AT_ONCE = {"retry": {"base_s": 0}}
LOST = [Fault.LOSE_AFTER, Fault.GARBAGE_AFTER]


@pytest.fixture(params=ANSWERING)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(world_of(request.param, tmp_path / "emulator"))


@pytest.fixture
async def remote(world: World, dsn: str, tmp_path: Path) -> AsyncIterator[Service]:
    prices = Prices({world.kind: {"*": 0.25}})
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(running_service(dsn, tmp_path / "data", prices=prices, **world.settings))


async def tasks_of(service: Service, workflow_id: str) -> list[dict[str, Any]]:
    answer = await service.client.get(f"/api/v1/workflows/{workflow_id}/tasks")
    found: list[dict[str, Any]] = answer.json()["tasks"]
    return found


def asked(world: World, **members: Any) -> dict[str, Any]:
    return {
        "id": "ask",
        "task_type": "LLM_INTERACTION",
        "config": {"prompt": "say it"},
        "provider_config": provider_config(world.kind, "LLM_INTERACTION"),
    } | members


def film_of(world: World, **config: Any) -> dict[str, Any]:
    return {
        "id": "film",
        "task_type": "VIDEO_GENERATION",
        "config": {"prompt": "it turns", "base_image_url": "data:image/png;base64," + PIXEL} | config,
        "provider_config": provider_config(world.kind, "VIDEO_GENERATION"),
    }


async def test_a_picture_comes_in_the_answer(world: World, remote: Service) -> None:
    created = await remote.create(world.step())
    ended = await remote.until_ended(created["id"])
    assert ended["status"] == "COMPLETED", ended["errors"]
    (task,) = await tasks_of(remote, created["id"])
    assert (task["phase"], task["remote_id"], task["cost"]["amount"]) == ("STORED", None, 0.25)
    path = ended["final_step_result"]["result_image_path"]
    assert (await remote.client.get(f"/api/v1/artifacts/{path}")).headers["content-type"][:6] == "image/"
    types = [event["type"] for event in await remote.events(created["id"])]
    assert types[2:] == ["step.started", "step.completed", "workflow.completed"]


@pytest.mark.parametrize("fault", LOST)
async def test_a_lost_answer_fails_the_step_and_nothing_is_submitted_again(
    world: World, remote: Service, fault: Fault
) -> None:
    world.emulator.plan("submit", fault)
    created = await remote.create(world.step(fallback_provider_type="LOCAL"), config=RETRY_AT_ONCE)
    ended = await remote.until_ended(created["id"])
    (task,) = await tasks_of(remote, created["id"])
    assert (ended["status"], task["outcome_unknown"], world.accepted()) == ("FAILED", True, [1])
    assert "not submitted again" in ended["error_message"]
    assert ended["cost"] == {"amounts": [], "unknown_attempts": 1}


async def test_resubmit_tries_again_and_says_that_the_first_may_have_cost_something(
    world: World, remote: Service
) -> None:
    world.emulator.plan("submit", Fault.LOSE_AFTER)
    step = world.step(provider_config={"on_unknown": "resubmit"})
    created = await remote.create(step, config=RETRY_AT_ONCE)
    ended = await remote.until_ended(created["id"])
    assert ended["status"] == "COMPLETED", ended["errors"]
    assert [task["outcome_unknown"] for task in await tasks_of(remote, created["id"])] == [True, False]
    assert ended["cost"] == {"amounts": [{"amount": 0.25, "currency": "USD"}], "unknown_attempts": 1}
    assert world.accepted() == [2]


async def test_a_question_is_asked_again_without_being_told_to(world: World, remote: Service) -> None:
    world.emulator.plan("submit", Fault.LOSE_AFTER)
    created = await remote.create(asked(world), config=RETRY_AT_ONCE)
    ended = await remote.until_ended(created["id"])
    assert (ended["status"], ended["steps"][0]["retry_count"], world.accepted()) == ("COMPLETED", 1, [2])


async def test_a_question_whose_time_is_up_while_its_answer_is_lost_is_asked_again(
    world: World, dsn: str, tmp_path: Path
) -> None:
    world.emulator.plan("submit", Fault.HANG_AFTER)
    question = asked(world, config={"prompt": "say it", "timeout_s": 0.3})
    async with running_service(dsn, tmp_path / "data", provider_work_s=0.8, **world.settings) as service:
        created = await service.create(question, config=RETRY_AT_ONCE)
        ended = await service.until_ended(created["id"])
        found = [(task["status"], task["outcome_unknown"]) for task in await tasks_of(service, created["id"])]
    assert ended["status"] == "COMPLETED", ended["errors"]
    assert (found, world.accepted()) == ([("FAILED", True), ("COMPLETED", False)], [2])


async def test_a_picture_whose_time_is_up_while_its_answer_is_lost_is_not_paid_again(
    world: World, dsn: str, tmp_path: Path
) -> None:
    world.emulator.plan("submit", Fault.HANG_AFTER)
    async with running_service(dsn, tmp_path / "data", provider_work_s=0.8, **world.settings) as service:
        created = await service.create(world.step(config={"timeout_s": 0.3}), config=RETRY_AT_ONCE)
        ended = await service.until_ended(created["id"])
        (task,) = await tasks_of(service, created["id"])
    assert (ended["status"], task["outcome_unknown"], world.accepted()) == ("FAILED", True, [1])
    assert "not submitted again" in ended["error_message"]


@pytest.mark.parametrize("answers_by", ["b64_json", "url"])
async def test_a_picture_that_comes_after_its_time_is_kept(dsn: str, tmp_path: Path, answers_by: str) -> None:
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(world_of(ProviderType.OPENAI, tmp_path / "emulator"))
        world.emulator.answers_by = answers_by
        world.emulator.plan("submit", Fault.HANG_AFTER)
        service = await stack.enter_async_context(running_service(dsn, tmp_path / "data", **world.settings))
        created = await service.create(world.step(config={"timeout_s": 0.2}), config=RETRY_AT_ONCE)
        await eventually(lambda: world.accepted() == [1], "it is taken")
        taken_at = time.monotonic()
        await eventually(lambda: time.monotonic() > taken_at + 0.25, "its time is up")
        world.emulator.let_go()
        ended = await service.until_ended(created["id"])
        assert ended["status"] == "COMPLETED", ended["errors"]
        (task,) = await tasks_of(service, created["id"])
        assert (task["phase"], world.accepted()) == ("STORED", [1])


@pytest.mark.parametrize("fault", [Fault.BUSY, Fault.UNAVAILABLE, Fault.BROKEN])
async def test_what_was_surely_not_taken_is_retried(world: World, remote: Service, fault: Fault) -> None:
    world.emulator.plan("submit", fault)
    created = await remote.create(world.step(), config=RETRY_AT_ONCE)
    ended = await remote.until_ended(created["id"])
    assert (ended["status"], ended["steps"][0]["retry_count"], world.accepted()) == ("COMPLETED", 1, [1])


async def test_a_cancel_during_the_call_hears_it_out_and_says_what_it_cost(world: World, remote: Service) -> None:
    world.emulator.plan("submit", Fault.HANG_AFTER)
    created = await remote.create(world.step())
    await eventually(lambda: world.accepted() == [1], "it is taken")
    assert (await remote.verb(created["id"], "cancel")).json()["status"] == "CANCELLED"
    world.emulator.let_go()
    found = await remote.until(created["id"], lambda found: bool((found["cost"] or {"amounts": []})["amounts"]))
    (task,) = await tasks_of(remote, created["id"])
    assert (task["cancel_receipt"], task["cost"]["amount"], task["outputs"]) == ("finished_too_late", 0.25, [])
    assert found["status"] == "CANCELLED"


async def test_a_process_that_ended_during_the_call_leaves_it_unknown(world: World, dsn: str, tmp_path: Path) -> None:
    world.emulator.plan("submit", Fault.HANG_AFTER)
    async with running_service(dsn, tmp_path / "data", grace_s=1, **world.settings) as first:
        created = await first.create(world.step())
        await eventually(lambda: world.accepted() == [1], "it is taken")
    async with running_service(dsn, tmp_path / "data", provider_timeout_s=0.2, **world.settings) as second:
        ended = await second.until_ended(created["id"])
        (task,) = await tasks_of(second, created["id"])
    assert (ended["status"], task["outcome_unknown"], world.accepted()) == ("FAILED", True, [1])


async def test_films_are_jobs_that_are_found_again_after_a_restart(world: World, dsn: str, tmp_path: Path) -> None:
    world.hold()
    film = film_of(world)
    async with running_service(dsn, tmp_path / "data", grace_s=1, **world.settings) as first:
        created = await first.create(film)
        await eventually(lambda: world.emulator.count("poll") > 0, "it is asked about")
    world.hold(held=False)
    async with running_service(dsn, tmp_path / "data", **world.settings) as second:
        ended = await second.until_ended(created["id"])
        assert ended["status"] == "COMPLETED", ended["errors"]
        (task,) = await tasks_of(second, created["id"])
    assert (task["attempt"], task["remote_id"], world.accepted()) == (1, world.emulator.ledger.jobs()[0][0], [1])


async def test_a_film_whose_time_is_up_and_that_cannot_be_ended_is_not_paid_for_twice(
    world: World, remote: Service
) -> None:
    """OPENAI's emulator stands for a server of one's own, which ends films; Omni's, of GEMINI, can be ended too."""
    world.hold()
    film = film_of(world, timeout_s=0.3)
    created = await remote.create(film, config=RETRY_AT_ONCE)
    await remote.until_ended(created["id"])
    ends = world.kind is not ProviderType.VERTEX
    assert len(await tasks_of(remote, created["id"])) == (4 if ends else 1)


async def test_no_more_of_a_model_run_at_once_than_its_limit(world: World, dsn: str, tmp_path: Path) -> None:
    world.hold()
    limits = {world.kind: {"*": ModelLimit(concurrency=2)}}
    async with running_service(dsn, tmp_path / "data", limits=limits, **world.settings) as service:
        created = await service.create(*(world.step(f"s{number}") for number in range(5)))
        await eventually(lambda: world.emulator.count("submit") == 2, "two are asked for")
        assert service.app.metrics.value("stepwell_steps_waiting") == 3
        world.hold(held=False)
        world.emulator.let_go()
        assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"
    assert world.accepted() == [1] * 5


PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
