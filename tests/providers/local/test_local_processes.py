"""LOCAL as the engine sees it, and what becomes of its child processes when something dies."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from anyio import create_task_group, fail_after, sleep

from providers.image_files import TASK, FakeIO, NoRoom, alive, children, file_of, gradient, picture_of
from stepwell.basics.errors import AttemptError
from stepwell.contract.enums import WITHOUT_PROVIDER, ProviderType, TaskType
from stepwell.ports.providers import LIGHT, Attempt, Provider, WorkWeight
from stepwell.providers.local.pool import Pool
from stepwell.providers.local.provider import LocalProvider
from stepwell.providers.registry import Registry

PATIENCE_S = 30
HEAVY = WorkWeight(64.0, 1 << 30)


async def until(condition: Callable[[], bool]) -> None:
    with fail_after(PATIENCE_S):
        while not condition():
            await sleep(0.01)


def attempt(task_type: TaskType, drawn: int = 5, **inputs: Any) -> Attempt:
    return Attempt(
        task_id=TASK,
        workflow_id=uuid4(),
        tenant=None,
        step_id="step",
        task_type=task_type,
        number=1,
        inputs=inputs,
        provider_config={},
        seed=drawn,
    )


@pytest.fixture
def without_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do the work of LOCAL in this process."""

    async def run(_pool: Pool, function: Callable[[Any], Any], argument: Any, _weight: WorkWeight) -> Any:
        return function(argument)

    monkeypatch.setattr(Pool, "run", run)


async def test_an_image_is_stored_and_described_in_the_result() -> None:
    io = FakeIO()
    result = await LocalProvider().run(attempt(TaskType.GENERATION, prompt="shoe", width=64, height=32), io)
    data = io.stored["result.png"]
    assert result == {
        "result_image_path": f"media/{TASK}/result.png",
        "width": 64,
        "height": 32,
        "format": "PNG",
        "seed": 5,
        "size": len(data),
    }
    assert picture_of(data).size == (64, 32)


@pytest.mark.usefixtures("without_processes")
class TestResults:
    async def test_each_of_several_images_is_the_image_of_the_next_seed(self) -> None:
        several, single = FakeIO(), FakeIO()
        inputs: dict[str, Any] = {"prompt": "shoe", "width": 64, "height": 32}
        result = await LocalProvider().run(attempt(TaskType.GENERATION, num_images=3, seed=7, **inputs), several)
        await LocalProvider().run(attempt(TaskType.GENERATION, seed=9, **inputs), single)
        assert list(several.stored) == ["result.png", "result_2.png", "result_3.png"]
        assert len(set(several.stored.values())) == 3
        assert several.stored["result_3.png"] == single.stored["result.png"]
        assert result == {
            "result_image_path": f"media/{TASK}/result.png",
            "result_image_paths": [f"media/{TASK}/{name}" for name in several.stored],
            "width": 64,
            "height": 32,
            "format": "PNG",
            "seed": 7,
            "size": len(several.stored["result.png"]),
        }

    async def test_the_seeds_of_several_images_stay_in_range(self) -> None:
        last = 2**63 - 1
        io, first = FakeIO(), FakeIO()
        inputs: dict[str, Any] = {"prompt": "shoe", "width": 16, "height": 16}
        await LocalProvider().run(attempt(TaskType.GENERATION, num_images=2, seed=last, **inputs), io)
        await LocalProvider().run(attempt(TaskType.GENERATION, seed=0, **inputs), first)
        assert io.stored["result_2.png"] == first.stored["result.png"]

    async def test_the_seed_of_the_inputs_wins_over_the_seed_of_the_attempt(self) -> None:
        stored = []
        for drawn, seed in ((1, 9), (2, 9), (3, None), (3, None)):
            io = FakeIO()
            work = attempt(TaskType.GENERATION, drawn, prompt="x", width=32, height=32, seed=seed)
            await LocalProvider().run(work, io)
            stored.append(io.stored["result.png"])
        assert stored[0] == stored[1] != stored[2] == stored[3]

    async def test_a_video_is_returned_in_its_own_field(self) -> None:
        io = FakeIO({"base": file_of(gradient())})
        result = await LocalProvider().run(
            attempt(TaskType.VIDEO_GENERATION, base_image_url="base", duration_s=0.5), io
        )
        assert result["result_video_path"] == f"media/{TASK}/result.webp"
        assert "result_image_path" not in result
        assert picture_of(io.stored["result.webp"]).n_frames == result["frames"] == 6  # type: ignore[attr-defined]

    async def test_lists_of_references_are_fetched(self) -> None:
        io = FakeIO({name: file_of(gradient()) for name in ("base", "a", "b")})
        await LocalProvider().run(attempt(TaskType.EDITING, base_image_url="base", reference_image_urls=["a", "b"]), io)
        assert set(io.stored) == {"result.png"}

    @pytest.mark.parametrize(
        ("inputs", "field"),
        [
            ({}, "base_image_url"),
            ({"base_image_url": ["base"]}, "base_image_url"),
            ({"base_image_url": {"path": "x"}}, "base_image_url"),
            ({"base_image_url": "base", "reference_image_urls": "base"}, "reference_image_urls"),
            ({"base_image_url": "base", "reference_image_urls": [1]}, r"reference_image_urls\[0\]"),
            ({"base_image_url": "base", "reference_image_urls": ["base"] * 17}, "reference_image_urls"),
            ({"base_image_url": "base", "seed": -1}, "seed"),
            ({"base_image_url": "base", "seed": "1"}, "seed"),
            ({"base_image_url": "broken"}, "base_image_url"),
        ],
        ids=str,
    )
    async def test_a_bad_input_is_refused_by_name(self, inputs: dict[str, Any], field: str) -> None:
        io = FakeIO({"base": file_of(gradient()), "broken": b"x"})
        with pytest.raises(AttemptError, match=f"^{field}") as refusal:
            await LocalProvider().run(attempt(TaskType.EDITING, **inputs), io)
        assert not refusal.value.retryable
        assert io.stored == {}

    async def test_a_task_type_that_local_cannot_do_is_refused(self) -> None:
        with pytest.raises(AttemptError, match="LLM_INTERACTION") as refusal:
            await LocalProvider().run(attempt(TaskType.LLM_INTERACTION, prompt="x"), FakeIO())
        assert not refusal.value.retryable


class TestFiles:
    async def test_on_a_full_disk_the_work_waits_for_room(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("stepwell.providers.local.provider.path_for_others", lambda _: "/dev/full")
        io = FakeIO()
        with pytest.raises(NoRoom, match="No space left"):
            await LocalProvider().run(attempt(TaskType.GENERATION, prompt="x", width=64, height=64), io)
        assert io.stored == {}

    async def test_an_artifact_that_is_deleted_before_the_child_process_opens_it_is_named(self) -> None:
        class DeletingIO(FakeIO):
            @asynccontextmanager
            async def input_file(self, reference: str, field: str) -> AsyncIterator[str]:
                async with super().input_file(reference, field) as path:
                    yield path + ".deleted"

        with pytest.raises(AttemptError, match=r"^base_image_url: the artifact was deleted") as refusal:
            await LocalProvider().run(attempt(TaskType.REFINE, base_image_url="base"), DeletingIO({"base": b"x"}))
        assert not refusal.value.retryable


class TestRegistry:
    def test_local_offers_every_task_type_except_three(self) -> None:
        local: Provider = LocalProvider()
        registry = Registry([local])
        offers = registry.offers()[ProviderType.LOCAL]
        assert set(TaskType) - set(offers) == {
            TaskType.LLM_INTERACTION,
            TaskType.EXPERIMENTAL_FAL,
            *WITHOUT_PROVIDER,
        }
        assert "seed" in offers[TaskType.GENERATION]
        assert registry[ProviderType.LOCAL] is local
        assert ProviderType.FAL not in registry


class TestChildProcesses:
    async def test_a_killed_child_process_is_retryable(self) -> None:
        pool = Pool()
        with pytest.raises(AttemptError, match="child process died") as failure:
            await pool.run(signal.raise_signal, signal.SIGKILL)
        assert failure.value.retryable
        assert await pool.run(len, {"a": 1}) == 1

    async def test_heavy_work_has_its_own_process_that_ends_with_it(self) -> None:
        pool, child = await warm()
        before = children(os.getpid())
        assert await pool.run(os.nice, 0, HEAVY) - await pool.run(os.nice, 0) == 10
        assert children(os.getpid()) <= before  # a process of the test before may just have ended
        assert alive(child)

    @pytest.mark.parametrize(("spare", "left"), [(1, 1), (0, 0)])
    async def test_idle_processes_end_if_heavy_work_needs_their_memory(self, spare: int, left: int) -> None:
        before, pool = children(os.getpid()), Pool(HEAVY.memory + spare * LIGHT.memory)
        async with create_task_group() as group:
            for _ in range(2):
                group.start_soon(pool.run, len, {})
        assert len(children(os.getpid()) - before) == 2
        await pool.run(len, {}, HEAVY)
        assert len(children(os.getpid()) - before) == left
        assert await pool.run(len, {"a": 1}) == 1

    async def test_heavy_work_that_kills_its_child_process_is_retryable(self) -> None:
        with pytest.raises(AttemptError, match="child process died") as failure:
            await Pool().run(signal.raise_signal, signal.SIGKILL, HEAVY)
        assert failure.value.retryable

    @pytest.mark.parametrize("weight", [LIGHT, WorkWeight(64.0, LIGHT.memory)], ids=["light", "heavy"])
    async def test_a_child_process_gets_no_more_memory_than_its_weight(self, weight: WorkWeight) -> None:
        with pytest.raises(MemoryError):
            await Pool().run(bytearray, 2 * LIGHT.memory, weight)

    async def test_a_child_process_that_died_while_idle_is_replaced(self) -> None:
        pool, child = await warm()
        os.kill(child, signal.SIGKILL)
        assert await pool.run(len, {"a": 1}) == 1

    async def test_errors_of_the_function_are_raised(self) -> None:
        with pytest.raises(ValueError, match="could not convert"):
            await Pool().run(float, "x")

    async def test_a_cancellation_kills_the_child_process(self) -> None:
        pool, child = await warm()
        with fail_after(PATIENCE_S):
            async with create_task_group() as group:
                group.start_soon(pool.run, time.sleep, 3_600)
                await until(lambda: sleeps(child))
                group.cancel_scope.cancel()
        assert not alive(child)

    async def test_cancelling_while_a_child_process_starts_leaves_none_behind(self) -> None:
        before, pool = children(os.getpid()), Pool()
        async with create_task_group() as group:
            group.start_soon(pool.run, time.sleep, 3_600)
            await until(lambda: children(os.getpid()) > before)
            group.cancel_scope.cancel()
        started = children(os.getpid()) - before
        assert await pool.run(len, {}) == 0
        assert children(os.getpid()) - before == started  # it is idle, and served this call

    async def test_a_child_process_ignores_the_signals_of_a_terminal(self) -> None:
        pool, child = await warm()
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(child, number)
        assert await pool.run(os.path.exists, f"/proc/{child}") is True
        assert alive(child)


async def warm() -> tuple[Pool, int]:
    """A pool, and its one process, which is idle. anyio ends it with the asyncio task that was the first to use it."""
    before, pool = children(os.getpid()), Pool()
    await pool.run(len, {})
    (child,) = children(os.getpid()) - before
    return pool, child


def sleeps(pid: int) -> bool:
    """Whether *pid* is in the system call that `time.sleep` makes (clock_nanosleep on x86-64 or arm64)."""
    number = Path(f"/proc/{pid}/syscall").read_text().split()[0]
    return number in {"230", "115"}


ORPHAN = """
import asyncio, sys, time
from stepwell.providers.local.pool import Pool

async def main():
    pool = Pool()
    if sys.argv[1] == "idle":
        await pool.run(len, {})
        print("ready", flush=True)
        await asyncio.sleep(3600)
    else:
        await pool.run(len, {})
        print("ready", flush=True)
        await pool.run(eval, "[None for _ in iter(int, 1)]")

asyncio.run(main())
"""


@pytest.mark.parametrize("state", ["idle", "computing"])
async def test_no_child_process_outlives_a_killed_parent(state: str) -> None:
    with subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-c", ORPHAN, state], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout
        assert parent.stdout.readline() == "ready\n"
        (child,) = children(parent.pid)
        parent.kill()
    await until(lambda: not alive(child))
