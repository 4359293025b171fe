"""Attempts at providers that answer with the work itself and keep no list of it: what is lost on its way is never paid
for again unless the step says so, and never booked as if it had cost nothing.
"""

import asyncio
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from stepwell.artifacts.store import ObstoreArtifacts
from stepwell.basics.errors import ArtifactError
from stepwell.basics.setting_values import Prices
from stepwell.contract.enums import ProviderType
from stepwell.contract.providers import ModelLimit
from stepwell.contract.tasks import Output
from stepwell.engine.execution import scheduler
from stepwell.providers.google import vertex
from stepwell.providers.google.vertex import VertexProvider
from stepwell.providers.shared import result_storage
from stepwell.testing import MemoryDatabase
from support.database.failing_store import expire_attempt
from support.emulators.base import Call, Fault, Reply
from support.providers.emulated import ANSWERING, World, provider_config, world_of
from support.providers.scripted import eventually
from support.service.live_service import Service, running_service

RETRY_AT_ONCE = {"retry": {"base_s": 0}}


extended = pytest.mark.extended
# The core suite runs what each provider does its own way for all of them, and the rest for one.
AT_EACH = pytest.mark.parametrize("world", ANSWERING, indirect=True)


@pytest.fixture(params=[ANSWERING[0], *(pytest.param(kind, marks=extended) for kind in ANSWERING[1:])])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(world_of(request.param, tmp_path / "emulator"))


@pytest.fixture
async def remote(world: World, memory: MemoryDatabase, tmp_path: Path) -> AsyncIterator[Service]:
    prices = Prices({world.kind: {"*": 0.25}})
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(
            running_service(memory, tmp_path / "data", prices=prices, **world.settings)
        )


def text_step(world: World, **members: Any) -> dict[str, Any]:
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


@AT_EACH
async def test_a_picture_comes_in_the_answer(world: World, remote: Service) -> None:
    created = await remote.create(world.step())
    workflow = await remote.until_ended(created["id"])
    assert workflow["status"] == "COMPLETED", workflow["errors"]
    (task,) = await remote.tasks(created["id"])
    assert (task["phase"], task["remote_id"], task["cost"]["amount"]) == ("STORED", None, 0.25)
    path = workflow["final_step_result"]["result_image_path"]
    assert (await remote.client.get(f"/api/v1/artifacts/{path}")).headers["content-type"][:6] == "image/"
    types = [event["type"] for event in await remote.events(created["id"])]
    assert types[2:] == ["step.started", "step.completed", "workflow.completed"]


@AT_EACH
@pytest.mark.parametrize("fault", [Fault.LOSE_AFTER, pytest.param(Fault.GARBAGE_AFTER, marks=extended)])
async def test_a_lost_answer_fails_the_step_and_nothing_is_submitted_again(
    world: World, remote: Service, fault: Fault
) -> None:
    world.emulator.plan("submit", fault)
    created = await remote.create(world.step(fallback_provider_type="LOCAL"), config=RETRY_AT_ONCE)
    workflow = await remote.until_ended(created["id"])
    (task,) = await remote.tasks(created["id"])
    assert (workflow["status"], task["outcome_unknown"], world.accepted()) == ("FAILED", True, [1])
    assert "not submitted again" in workflow["error_message"]
    assert workflow["cost"] == {"amounts": [], "unknown_attempts": 1}


async def test_resubmit_tries_again_and_says_that_the_first_may_have_cost_something(
    world: World, remote: Service
) -> None:
    world.emulator.plan("submit", Fault.LOSE_AFTER)
    step = world.step(provider_config={"on_unknown": "resubmit"})
    created = await remote.create(step, config=RETRY_AT_ONCE)
    workflow = await remote.until_ended(created["id"])
    assert workflow["status"] == "COMPLETED", workflow["errors"]
    assert [task["outcome_unknown"] for task in await remote.tasks(created["id"])] == [True, False]
    assert workflow["cost"] == {"amounts": [{"amount": 0.25, "currency": "USD"}], "unknown_attempts": 1}
    assert world.accepted() == [2]


@AT_EACH
async def test_a_text_is_requested_again_by_default(world: World, remote: Service) -> None:
    world.emulator.plan("submit", Fault.LOSE_AFTER)
    created = await remote.create(text_step(world), config=RETRY_AT_ONCE)
    workflow = await remote.until_ended(created["id"])
    assert (workflow["status"], workflow["steps"][0]["retry_count"], world.accepted()) == ("COMPLETED", 1, [2])


async def test_a_text_whose_time_is_up_while_its_answer_is_lost_is_requested_again(
    world: World, memory: MemoryDatabase, tmp_path: Path
) -> None:
    world.emulator.plan("submit", Fault.HANG_AFTER)
    text = text_step(world, config={"prompt": "say it", "timeout_s": 60})
    async with running_service(memory, tmp_path / "data", provider_work_s=0.2, **world.settings) as service:
        created = await service.create(text, config=RETRY_AT_ONCE)
        await eventually(lambda: world.accepted() == [1], "it is taken")
        expire_attempt(service, created["id"])
        workflow = await service.until_ended(created["id"])
        attempts = [(task["status"], task["outcome_unknown"]) for task in await service.tasks(created["id"])]
    assert workflow["status"] == "COMPLETED", workflow["errors"]
    assert (attempts, world.accepted()) == ([("FAILED", True), ("COMPLETED", False)], [2])


async def test_a_picture_whose_time_is_up_while_its_answer_is_lost_is_not_paid_again(
    world: World, memory: MemoryDatabase, tmp_path: Path
) -> None:
    world.emulator.plan("submit", Fault.HANG_AFTER)
    async with running_service(memory, tmp_path / "data", provider_work_s=0.2, **world.settings) as service:
        created = await service.create(world.step(config={"timeout_s": 60}), config=RETRY_AT_ONCE)
        await eventually(lambda: world.accepted() == [1], "it is taken")
        expire_attempt(service, created["id"])
        workflow = await service.until_ended(created["id"])
        (task,) = await service.tasks(created["id"])
    assert (workflow["status"], task["outcome_unknown"], world.accepted()) == ("FAILED", True, [1])
    assert "not submitted again" in workflow["error_message"]


@pytest.mark.parametrize("answers_by", ["b64_json", "url"])
async def test_a_picture_that_comes_after_its_time_counts(
    memory: MemoryDatabase, tmp_path: Path, answers_by: str
) -> None:
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(world_of(ProviderType.OPENAI, tmp_path / "emulator"))
        world.emulator.answers_by = answers_by
        world.emulator.plan("submit", Fault.HANG_AFTER)
        service = await stack.enter_async_context(running_service(memory, tmp_path / "data", **world.settings))
        created = await service.create(world.step(config={"timeout_s": 60}), config=RETRY_AT_ONCE)
        await eventually(lambda: world.accepted() == [1], "it is taken")
        expire_attempt(service, created["id"])
        world.emulator.let_go()
        workflow = await service.until_ended(created["id"])
        assert workflow["status"] == "COMPLETED", workflow["errors"]
        (task,) = await service.tasks(created["id"])
        assert (task["phase"], world.accepted()) == ("STORED", [1])


@pytest.mark.parametrize("fault", [Fault.BUSY, Fault.UNAVAILABLE, Fault.BROKEN])
async def test_what_was_surely_not_taken_is_retried(world: World, remote: Service, fault: Fault) -> None:
    world.emulator.plan("submit", fault)
    created = await remote.create(world.step(), config=RETRY_AT_ONCE)
    workflow = await remote.until_ended(created["id"])
    assert (workflow["status"], workflow["steps"][0]["retry_count"], world.accepted()) == ("COMPLETED", 1, [1])


async def test_a_cancel_during_the_call_hears_it_out_and_says_what_it_cost(world: World, remote: Service) -> None:
    world.emulator.plan("submit", Fault.HANG_AFTER)
    created = await remote.create(world.step())
    await eventually(lambda: world.accepted() == [1], "it is taken")
    assert (await remote.verb(created["id"], "cancel")).json()["status"] == "CANCELLED"
    world.emulator.let_go()
    workflow = await remote.until(
        created["id"], lambda workflow: bool((workflow["cost"] or {"amounts": []})["amounts"])
    )
    (task,) = await remote.tasks(created["id"])
    assert (task["cancel_receipt"], task["cost"]["amount"], task["outputs"]) == ("finished_too_late", 0.25, [])
    assert workflow["status"] == "CANCELLED"


async def test_a_process_that_ended_during_the_call_leaves_it_unknown(
    world: World, memory: MemoryDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "_CANCEL_S", 0.1)  # a request that is under way heeds no cancellation
    world.emulator.plan("submit", Fault.HANG_AFTER)
    async with running_service(memory, tmp_path / "data", grace_s=1, **world.settings) as first:
        created = await first.create(world.step())
        await eventually(lambda: world.accepted() == [1], "it is taken")
    async with running_service(memory, tmp_path / "data", provider_timeout_s=0.2, **world.settings) as second:
        workflow = await second.until_ended(created["id"])
        (task,) = await second.tasks(created["id"])
    assert (workflow["status"], task["outcome_unknown"], world.accepted()) == ("FAILED", True, [1])


@AT_EACH
async def test_films_are_jobs_that_are_found_again_after_a_restart(
    world: World, memory: MemoryDatabase, tmp_path: Path
) -> None:
    world.hold()
    film = film_of(world)
    async with running_service(memory, tmp_path / "data", grace_s=1, **world.settings) as first:
        created = await first.create(film)
        await eventually(lambda: world.emulator.count("poll") > 0, "it is asked about")
    world.hold(held=False)
    async with running_service(memory, tmp_path / "data", **world.settings) as second:
        workflow = await second.until_ended(created["id"])
        assert workflow["status"] == "COMPLETED", workflow["errors"]
        (task,) = await second.tasks(created["id"])
    assert (task["attempt"], task["remote_id"], world.accepted()) == (1, world.emulator.ledger.jobs()[0][0], [1])


async def test_a_film_whose_time_is_up_and_that_cannot_be_ended_is_not_paid_for_twice(
    world: World, remote: Service
) -> None:
    """OPENAI's emulator stands for a server of one's own, which ends films; Omni's, of GEMINI, can be ended too."""
    world.hold()
    film = film_of(world, timeout_s=60)
    created = await remote.create(film, config=RETRY_AT_ONCE)
    attempts = 1 if world.kind is ProviderType.VERTEX else 4
    for number in range(1, attempts + 1):
        await eventually(lambda number=number: world.emulator.count("submit") == number, "it is requested")  # type: ignore[misc]
        expire_attempt(remote, created["id"])
    await remote.until_ended(created["id"])
    assert len(await remote.tasks(created["id"])) == attempts


async def test_no_more_of_a_model_run_at_once_than_its_limit(
    world: World, memory: MemoryDatabase, tmp_path: Path
) -> None:
    world.hold()
    limits = {world.kind: {"*": ModelLimit(concurrency=2)}}
    async with running_service(memory, tmp_path / "data", limits=limits, **world.settings) as service:
        created = await service.create(*(world.step(f"s{number}") for number in range(5)))
        await eventually(lambda: world.emulator.count("submit") == 2, "two are requested")
        assert service.app.metrics.value("stepwell_steps_waiting") == 3
        world.hold(held=False)
        world.emulator.let_go()
        assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"
    assert world.accepted() == [1] * 5


@pytest.fixture
async def reading(
    world: World, memory: MemoryDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Service]:
    """Films are read from the API itself, with its key; those of VERTEX, else in the answer, from a bucket."""
    settings = world.settings | {"reconcile_s": 0.0, "vertex_bucket": "gs://a-bucket/"}
    monkeypatch.setattr(vertex, "VertexProvider", partial(VertexProvider, storage_url=world.emulator.url))
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(running_service(memory, tmp_path / "data", **settings))


def answering_files(world: World, monkeypatch: pytest.MonkeyPatch, *replies: Reply) -> None:
    """The next looks at a film's file are answered with these."""
    usual, left = world.emulator.answer, list(replies)

    async def answer(call: Call) -> Reply:
        return left.pop(0) if call.kind == "file" and left else await usual(call)

    monkeypatch.setattr(world.emulator, "answer", answer)


@pytest.mark.parametrize("status", [404, *(pytest.param(status, marks=extended) for status in (302, 401, 403, 410))])
async def test_a_film_outlives_the_pages_of_a_proxy_before_its_file(
    world: World, reading: Service, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    page = Reply(status, b"<html>nginx</html>", {"Content-Type": "text/html"})
    answering_files(world, monkeypatch, *[page] * 4)
    created = await reading.create(film_of(world), config=RETRY_AT_ONCE)
    workflow = await reading.until_ended(created["id"])
    assert workflow["status"] == "COMPLETED", workflow["errors"]
    assert (world.emulator.count("file"), world.accepted()) == (5, [1])


@pytest.mark.parametrize("status", [401, 403])
async def test_and_a_right_that_the_key_lacks_for_a_while(
    world: World, reading: Service, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    answering_files(world, monkeypatch, *[world.emulator.error(status, "not yours")] * 4)
    created = await reading.create(film_of(world), config=RETRY_AT_ONCE)
    workflow = await reading.until_ended(created["id"])
    assert workflow["status"] == "COMPLETED", workflow["errors"]


async def test_a_film_whose_file_is_missing_in_the_provider_s_own_words_is_not_waited_for(
    world: World, reading: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering_files(world, monkeypatch, *[world.emulator.error(404, "No such file")] * 3)
    created = await reading.create(film_of(world), config=RETRY_AT_ONCE)
    workflow = await reading.until_ended(created["id"])
    assert (workflow["status"], world.emulator.count("file"), world.accepted()) == ("FAILED", 3, [1])
    assert "No such file: its result is missing" in workflow["error_message"]


@pytest.mark.parametrize(("policy", "status", "attempts"), [("fail", "FAILED", 1), ("resubmit", "COMPLETED", 2)])
async def test_a_picture_that_cannot_be_stored_is_booked_and_the_step_says_whether_to_pay_again(
    world: World,
    remote: Service,
    monkeypatch: pytest.MonkeyPatch,
    policy: str,
    status: str,
    attempts: int,
) -> None:
    put, full = ObstoreArtifacts.put, [True]

    async def put_once_there_is_room(self: ObstoreArtifacts, path: str, data: bytes) -> Output:
        if full:
            full.pop()
            raise ArtifactError("the disk is full")
        return await put(self, path, data)

    monkeypatch.setattr(result_storage, "PAUSES_S", ())
    monkeypatch.setattr(ObstoreArtifacts, "put", put_once_there_is_room)
    step = world.step(provider_config={"on_unknown": policy}, fallback_provider_type="LOCAL")
    created = await remote.create(step, config=RETRY_AT_ONCE)
    workflow = await remote.until_ended(created["id"])
    tasks = await remote.tasks(created["id"])
    assert (workflow["status"], world.accepted()) == (status, [attempts]), workflow["errors"]
    assert [(task["outcome_unknown"], task["cost"]["amount"]) for task in tasks] == [(False, 0.25)] * attempts
    assert tasks[0]["error"] == "the work is done and paid for, but the output could not be stored: the disk is full"


async def test_a_text_that_the_server_broke_off_is_paid_for_and_requested_again(
    memory: MemoryDatabase, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(world_of(ProviderType.OPENAI, tmp_path / "emulator"))
        prices = Prices({world.kind: {"*": 0.25}})
        service = await stack.enter_async_context(
            running_service(memory, tmp_path / "data", prices=prices, **world.settings)
        )
        world.emulator.held, world.emulator.finish_reason = True, "insufficient_system_resource"
        created = await service.create(text_step(world), config=RETRY_AT_ONCE)
        await eventually(lambda: world.accepted() == [1], "it is requested")
        first = world.emulator.ledger.jobs()[0][0]
        await world.emulator.finish(first)
        await eventually(lambda: world.accepted() == [2], "it is requested again")
        world.emulator.held, world.emulator.finish_reason = False, "stop"
        workflow = await service.until_ended(created["id"])
        tasks = await service.tasks(created["id"])
    assert (workflow["status"], workflow["final_step_result"]["finish_reason"]) == ("COMPLETED", "stop")
    assert [(task["status"], task["cost"]["amount"]) for task in tasks] == [("FAILED", 0.25), ("COMPLETED", 0.25)]


@asynccontextmanager
async def slow_site() -> AsyncIterator[tuple[str, set[asyncio.StreamWriter]]]:
    """Its address, and the connections to it: none gets more than the head of an answer."""
    held: set[asyncio.StreamWriter] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 1000\r\n\r\n")
        held.add(writer)

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/slow.png", held
    finally:
        server.close()
        for writer in held:
            writer.close()


async def test_inputs_that_never_come_hold_up_nobody_else(memory: MemoryDatabase, tmp_path: Path) -> None:
    """Neither another's input nor a result that is paid for."""
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(world_of(ProviderType.OPENAI, tmp_path / "emulator"))
        url, held = await stack.enter_async_context(slow_site())
        world.emulator.answers_by = "url"
        world.emulator.files["/files/base.png"] = b64decode(PIXEL)
        settings = world.settings | {"max_steps_per_provider": 200, "input_timeout_s": 600.0}
        service = await stack.enter_async_context(running_service(memory, tmp_path / "data", grace_s=1, **settings))
        slow = [film_of(world, base_image_url=url) | {"id": f"s{number}"} for number in range(100)]
        stuck = await service.create(*slow)
        await eventually(lambda: len(held) == 100, "all wait for their inputs")
        edit = world.step(
            task_type="EDITING",
            config={"prompt": "red", "base_image_url": f"{world.emulator.url}/files/base.png"},
        )
        created = await service.create(edit, config=RETRY_AT_ONCE)
        workflow = await service.until_ended(created["id"])
        assert workflow["status"] == "COMPLETED", workflow["errors"]
        assert len(held) == 100
        await service.verb(stuck["id"], "cancel")


PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
