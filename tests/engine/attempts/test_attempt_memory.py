"""Attempts that hold much in memory wait for memory, never hold more than the governor has, and let others go on."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from PIL import Image

from stepwell.basics.tenancy import EVERY_TENANT
from stepwell.contract.enums import ProviderType, TaskType
from stepwell.engine.attempts.attempt_control import AttemptControl
from stepwell.lifecycle.decision import Decision
from stepwell.ports.providers import Attempt, AttemptIO
from stepwell.providers.in_process import InProcess
from stepwell.runtime.memory import MemoryGovernor
from stepwell.testing import MemoryDatabase
from support.database.failing_store import use_failing_store
from support.emulators.openai import OpenAiEmulator
from support.providers.configured_by_steps import passthrough_step
from support.providers.emulated import World, remote_step, world_of
from support.providers.scripted import eventually
from support.service.live_service import Service, running_service, serving

MIB = 1024 * 1024
TOGETHER = 16 * MIB  # what the governor has; a tenant alone gets 4 MiB, and 8 MiB of the reserve
FILE = 256 * 1024  # bytes; it takes 1 MiB of memory
SEVERAL = 4  # files, which need half of what an attempt may hold


class FileProvider(InProcess):
    """Stores `files` files of `size` bytes, or a `bitmap` of a width and a height. Otherwise it waits with the inputs
    of the step until `released`.
    """

    type = ProviderType.CUSTOM

    def __init__(self) -> None:
        self.released = asyncio.Event()
        self.lengths: list[int] = []

    def capabilities(self, task_type: TaskType) -> frozenset[str] | None:
        return frozenset() if task_type is TaskType.GENERATION else None

    async def run(self, attempt: Attempt, io: AttemptIO) -> dict[str, Any]:
        if "bitmap" in attempt.inputs:
            bitmap = BytesIO()
            Image.new("RGB", tuple(attempt.inputs["bitmap"])).save(bitmap, "BMP")
            return {"path": (await io.store("0.bmp", bitmap.getvalue())).path}
        if "files" in attempt.inputs:
            names = [f"{number}.bin" for number in range(attempt.inputs["files"])]
            return {"paths": [(await io.store(name, bytes(attempt.inputs["size"]))).path for name in names]}
        self.lengths.append(sum(map(len, attempt.inputs["images"])))
        await self.released.wait()
        return {}


def maker(files: int, size: int) -> dict[str, Any]:
    """A step that stores files."""
    config = {"prompt": "p", "files": files, "size": size}
    return {
        "id": "make",
        "task_type": "GENERATION",
        "config": config,
        "provider_config": {"provider_type": "CUSTOM"},
    }


def reader(step_id: str, task_type: str = "GENERATION", **members: Any) -> dict[str, Any]:
    """A step that gets the files of the step `make` as data URIs."""
    mapping = {"from_step": "make", "from_field": "paths", "to_field": "images", "transform": "PATH_TO_DATA_URI"}
    provider = {} if task_type == "PASSTHROUGH" else {"provider_config": {"provider_type": "CUSTOM"}}
    return {
        "id": step_id,
        "task_type": task_type,
        "depends_on": ["make"],
        "config": {} if task_type == "PASSTHROUGH" else {"prompt": "p"},
        "input_mappings": [mapping],
        **provider,
        **members,
    }


def governor_of(service: Service) -> MemoryGovernor:
    return service.app.engine.memory


@pytest.fixture
def provider() -> FileProvider:
    return FileProvider()


@pytest.fixture
async def service(memory: MemoryDatabase, provider: FileProvider, tmp_path: Path) -> AsyncIterator[Service]:
    async with running_service(memory, tmp_path, providers=[provider], memory_max_bytes=TOGETHER) as service:
        yield service


async def test_data_uris_that_no_result_may_hold_are_refused_before_the_files_are_read(service: Service) -> None:
    readers = [reader(f"read{number}", "PASSTHROUGH") for number in range(12)]
    created = await service.create(maker(60, FILE), *readers, config={"on_failure": "continue"})
    workflow = await service.until_ended(created["id"])
    assert workflow["status"] == "FAILED"
    assert len(workflow["errors"]) == 12
    assert workflow["errors"][0] == (
        "read0: Mapping of 'paths' of step 'make' to 'images': the data URIs are over 1,048,576 bytes, "
        "and the result may not be"
    )
    assert [step["retry_count"] for step in workflow["steps"]] == [0] * 13
    assert 0 < governor_of(service).most_held <= TOGETHER
    assert governor_of(service).held == 0


async def test_urls_that_no_result_may_hold_are_refused_as_soon_as_they_are_too_many(service: Service) -> None:
    everywhere = {"from_step": "make", "from_field": "paths", "to_field": "paths"}
    first = {**passthrough_step("list", "make"), "input_mappings": [everywhere]}
    again = [{**everywhere, "from_step": "list", "to_field": f"list{number}"} for number in range(100)]
    urls = [each | {"transform": "PATH_TO_URL"} for each in again]
    created = await service.create(
        maker(100, 10), first, {**passthrough_step("urls", "list"), "input_mappings": urls}, origin_tenant_id="big"
    )
    workflow = await service.until_ended(created["id"])
    assert "the URLs are over 1,048,576 bytes, and the result may not be" in workflow["error_message"]


async def test_attempts_wait_for_memory_while_another_tenant_goes_on(service: Service, provider: FileProvider) -> None:
    governor = governor_of(service)
    readers = [reader(f"read{number}") for number in range(20)]
    created = await service.create(maker(SEVERAL, FILE), *readers, origin_tenant_id="big")
    await eventually(lambda: governor.waiting > 0 and len(provider.lengths) + governor.waiting == 20)
    assert len(provider.lengths) * SEVERAL * FILE * 4 <= governor.held <= TOGETHER

    explained = (await service.client.get(f"/api/v1/workflows/{created['id']}/explain")).json()
    doing = [step["reason"]["doing"] for step in explained["steps"]]
    assert doing.count("waiting_for_memory") == governor.waiting
    assert doing.count("working") == len(provider.lengths)

    small = await service.create(passthrough_step("a", text="x"), passthrough_step("b", "a"), origin_tenant_id="small")
    assert (await service.until_ended(small["id"]))["status"] == "COMPLETED"
    images = await service.create(maker(1, FILE), reader("read"), origin_tenant_id="small")
    await service.until(images["id"], lambda found: found["completed_steps"] == 1)
    await eventually(lambda: provider.lengths[-1] < SEVERAL * FILE)

    provider.released.set()
    workflow = await service.until_ended(created["id"])
    assert (workflow["status"], [step["retry_count"] for step in workflow["steps"]]) == ("COMPLETED", [0] * 21)
    assert (await service.until_ended(images["id"]))["status"] == "COMPLETED"
    await eventually(lambda: governor.held == 0)
    assert governor.most_held <= TOGETHER


async def test_attempts_that_wait_for_memory_can_be_cancelled(service: Service, provider: FileProvider) -> None:
    governor = governor_of(service)
    created = await service.create(maker(SEVERAL, FILE), *(reader(f"read{number}") for number in range(8)))
    await eventually(lambda: governor.waiting > 0 and len(provider.lengths) + governor.waiting == 8)
    assert (await service.verb(created["id"], "cancel")).status_code == 200
    await eventually(lambda: (governor.waiting, governor.held) == (0, 0))


async def test_a_restart_reads_no_more_at_once_than_fits_in_memory(memory: MemoryDatabase, tmp_path: Path) -> None:
    first, second = FileProvider(), FileProvider()
    async with serving(memory, tmp_path, first, memory_max_bytes=TOGETHER) as service:
        created = await service.create(maker(SEVERAL, FILE), *(reader(f"read{number}") for number in range(12)))
        governor = governor_of(service)
        await eventually(lambda: governor.waiting > 0 and len(first.lengths) + governor.waiting == 12)
    async with running_service(memory, tmp_path, providers=[second], memory_max_bytes=TOGETHER) as service:
        governor = governor_of(service)
        await eventually(lambda: governor.waiting > 0 and len(second.lengths) + governor.waiting == 12)
        second.released.set()
        workflow = await service.until_ended(created["id"])
        assert (workflow["status"], [step["retry_count"] for step in workflow["steps"]]) == ("COMPLETED", [0] * 13)
        assert governor.most_held <= TOGETHER


async def test_results_wait_for_memory_until_earlier_ones_are_stored_while_another_tenant_goes_on(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    governor, store = governor_of(service), use_failing_store(service)
    config = {"step_defaults": {"PASSTHROUGH": {"text": "x" * 500_000}}}
    steps = [passthrough_step(f"s{number}") for number in range(40)]
    created = await service.create(*steps, origin_tenant_id="big", config=config, start=False)
    workflow_id = UUID(created["id"])
    write, stored = store.write, asyncio.Event()

    async def write_small(batch: Sequence[Decision]) -> set[UUID]:
        if any(len(step.result or b"") > MIB // 4 for decision in batch for step in decision.steps.values()):
            await stored.wait()
        return await write(batch)

    monkeypatch.setattr(store, "write", write_small)
    # Not by the API: the response needs memory, too.
    await service.app.services.workflows.perform(EVERY_TENANT, "alice", workflow_id, "start")
    await eventually(lambda: governor.waiting > 0)
    assert governor.held <= TOGETHER
    small = await service.create(passthrough_step("a", text="x"), passthrough_step("b", "a"), origin_tenant_id="small")
    assert (await service.until_ended(small["id"]))["status"] == "COMPLETED"
    stored.set()
    workflow = await service.until_ended(created["id"])
    assert workflow["status"] == "COMPLETED"
    await eventually(lambda: governor.held == 0)
    assert governor.most_held <= TOGETHER


async def test_inputs_that_never_fit_fail_the_step_for_good(service: Service, provider: FileProvider) -> None:
    created = await service.create(maker(1, 3 * MIB), reader("read"))
    workflow = await service.until_ended(created["id"])
    assert workflow["error_message"] == (
        "read: the inputs of the step are too big: it needs 12,582,912 bytes of memory at once, and may hold at most "
        "8,388,608: half of STEPWELL_MEMORY_MAX_BYTES"
    )
    assert (workflow["steps"][1]["retry_count"], provider.lengths) == (0, [])


async def test_local_reads_a_file_that_is_larger_than_what_an_attempt_may_hold(service: Service) -> None:
    mapping = {"from_step": "make", "from_field": "path", "to_field": "base_image_url"}
    make = {**maker(1, 1), "config": {"prompt": "p", "bitmap": [1_500, 1_000]}}
    read = reader("read", "IMAGE_ADJUSTER", config={}, provider_config={}, input_mappings=[mapping])
    workflow = await service.until_ended((await service.create(make, read))["id"])
    assert (workflow["status"], workflow["errors"]) == ("COMPLETED", [])
    assert governor_of(service).most_held == 0


async def test_mapped_values_that_are_large_once_decoded_wait_for_memory(
    service: Service, provider: FileProvider
) -> None:
    governor = governor_of(service)
    lists: list[Any] = [[] for _ in range(40_000)]  # 120 kB as JSON, and 5 MB in memory
    mapping = {"from_step": "make", "from_field": "lists", "to_field": "images"}
    readers = [reader(f"read{number}", input_mappings=[mapping]) for number in range(6)]
    created = await service.create({**passthrough_step("make"), "config": {"lists": lists}}, *readers)
    await eventually(lambda: governor.waiting > 0 and len(provider.lengths) + governor.waiting == 6)
    assert governor.held <= TOGETHER
    provider.released.set()
    assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with world_of(ProviderType.OPENAI, tmp_path / "emulator") as world:
        yield world


def answered_with_noise(world: World) -> None:
    """Let the emulator answer with a picture of some 200 kB."""
    assert isinstance(world.emulator, OpenAiEmulator)
    picture = BytesIO()
    Image.effect_noise((512, 512), 100).save(picture, "PNG")
    world.emulator.picture = picture.getvalue()


@asynccontextmanager
async def no_room_for_an_answer(governor: MemoryGovernor) -> AsyncIterator[None]:
    """Hold all that another tenant's answer of 200 kB could get of 2 MiB."""
    with governor.reservation("other") as other, governor.reservation("more") as more:
        await other.grow(512 * 1024)
        await more.grow(MIB)  # from the reserve
        yield


def stored_files(service: Service) -> list[str]:
    return [str(path.relative_to(service.artifacts)) for path in service.stored_files()]


IMAGE_STEP = remote_step(ProviderType.OPENAI, config={"width": 1024, "height": 1024, "timeout_s": 1})


async def test_a_paid_answer_waits_for_memory(world: World, memory: MemoryDatabase, tmp_path: Path) -> None:
    answered_with_noise(world)
    settings = world.settings | {"memory_max_bytes": 2 * MIB}
    async with running_service(memory, tmp_path / "data", **settings) as service:
        governor = governor_of(service)
        async with no_room_for_an_answer(governor):
            created = await service.create(IMAGE_STEP)
            await eventually(lambda: governor.waiting == 1)
            assert world.accepted() == [1]
        workflow = await service.until_ended(created["id"])
        assert (workflow["status"], world.accepted()) == ("COMPLETED", [1]), workflow["errors"]
        await eventually(lambda: stored_files(service) == [workflow["final_step_result"]["result_image_path"]])


async def test_an_answer_that_waits_for_memory_when_the_process_stops_is_used_by_the_next_one(
    world: World, memory: MemoryDatabase, tmp_path: Path
) -> None:
    answered_with_noise(world)
    settings = world.settings | {"memory_max_bytes": 2 * MIB}
    async with AsyncExitStack() as held, running_service(memory, tmp_path / "data", **settings) as service:
        governor = governor_of(service)
        await held.enter_async_context(no_room_for_an_answer(governor))
        created = await service.create(IMAGE_STEP)
        await eventually(lambda: governor.waiting == 1)
    async with running_service(memory, tmp_path / "data", **settings) as service:
        workflow = await service.until_ended(created["id"])
        assert (workflow["status"], world.accepted()) == ("COMPLETED", [1]), workflow["errors"]
        assert workflow["steps"][0]["retry_count"] == 0
        await eventually(lambda: stored_files(service) == [workflow["final_step_result"]["result_image_path"]])
        types = [event["type"] for event in await service.events(created["id"])]
        assert "step.outcome_unknown" not in types


async def test_the_wait_for_memory_counts_for_no_deadline() -> None:
    loop, granted = asyncio.get_running_loop(), asyncio.Event()

    async def flushed() -> None:
        pass

    control = AttemptControl(lambda _: True, flushed)
    with control.within(0.05) as scope, control.fail_after(0.05):
        loop.call_later(0.2, granted.set)
        with control.waiting_for_memory(resting=True):
            assert (control.waits_for_memory, control.resting) == (True, True)
            await granted.wait()
        assert (control.waits_for_memory, control.resting) == (False, False)
        await asyncio.sleep(0)
    assert not scope.cancelled_caught


async def test_a_clock_that_is_moved_while_a_deadline_is_suspended_moves_the_deadline() -> None:
    async def flushed() -> None:
        pass

    control = AttemptControl(lambda _: True, flushed)
    async with asyncio.timeout(30):
        with control.within(600) as scope:
            control.pause_deadline()
            control.shorten_deadlines(600)
            control.resume_deadline()
            await asyncio.Event().wait()
    assert scope.cancelled_caught


async def test_an_attempt_that_waits_for_its_inputs_stops_at_once_when_the_process_ends() -> None:
    async def flushed() -> None:
        pass

    control = AttemptControl(lambda _: True, flushed)
    with control.within(60) as scope, control.waiting_for_memory(resting=True):
        asyncio.get_running_loop().call_soon(control.cancel_at_rest)
        await asyncio.Event().wait()
    assert scope.cancelled_caught


def result_bytes_in_memory(service: Service) -> int:
    workflows = service.app.engine.scheduler.workflows.values()
    return sum(len(step.result or b"") for workflow in workflows for step in workflow.run.steps)


async def test_large_results_that_wait_for_a_reader_are_not_in_memory_also_after_a_restart(
    memory: MemoryDatabase, tmp_path: Path
) -> None:
    sources = [passthrough_step(f"source{number}", text=f"{number}" * 200_000) for number in range(4)]
    mappings = [
        {"from_step": f"source{number}", "from_field": "text", "to_field": f"text{number}"} for number in (0, 3)
    ]
    names = [step["id"] for step in sources]
    first, second = FileProvider(), FileProvider()
    blocker = {**reader("block"), "depends_on": [], "input_mappings": [], "config": {"prompt": "p", "images": []}}
    last = {**passthrough_step("last", *names, "block"), "input_mappings": mappings}
    async with serving(memory, tmp_path, first, memory_max_bytes=TOGETHER) as service:
        created = [await service.create(*sources, blocker, last) for _ in range(5)]
        for workflow in created:
            await service.until(workflow["id"], lambda found: found["completed_steps"] == 4)
        assert result_bytes_in_memory(service) == 0
    async with running_service(memory, tmp_path, providers=[second], memory_max_bytes=TOGETHER) as service:
        await eventually(lambda: len(second.lengths) == 5)
        assert result_bytes_in_memory(service) == 0
        second.released.set()
        for workflow in created:
            ended = await service.until_ended(workflow["id"])
            assert ended["status"] == "COMPLETED", ended["errors"]
            assert ended["final_step_result"] == {"text0": "0" * 200_000, "text3": "3" * 200_000}
        assert 0 < governor_of(service).most_held <= TOGETHER
