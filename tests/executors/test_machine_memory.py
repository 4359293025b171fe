"""The memory of a machine, shared out among processes."""

import asyncio
import fcntl
import os
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from stepwell.executors import machine_memory
from stepwell.executors.machine_memory import MachineMemory

HOLDER = """
import asyncio, sys
from pathlib import Path
from stepwell.executors.machine_memory import MachineMemory

async def main():
    async with MachineMemory(100, Path(sys.argv[1])).reserved(80):
        print("reserved", flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.fixture
def memory(tmp_path: Path) -> MachineMemory:
    return MachineMemory(100, tmp_path / "memory")


async def test_work_waits_until_its_memory_is_free_and_is_not_overtaken(memory: MachineMemory) -> None:
    order: list[str] = []

    async def work(name: str, size: int, end: asyncio.Event) -> None:
        async with memory.reserved(size):
            order.append(name)
            await end.wait()

    first, others = asyncio.Event(), asyncio.Event()
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        group.create_task(work("first", 60, first))
        while order != ["first"]:
            await asyncio.sleep(0)
        heavy = group.create_task(work("heavy", 90, others))
        await asyncio.sleep(0)
        group.create_task(work("light", 10, others))
        await asyncio.sleep(0.2)
        assert order == ["first"], "the light work has overtaken the heavy one"
        first.set()
        while len(order) < 3:
            await asyncio.sleep(0.01)
        others.set()
    assert heavy.done()
    assert sorted(order) == ["first", "heavy", "light"]


async def test_cancelled_work_leaves_the_queue(memory: MachineMemory) -> None:
    async with asyncio.timeout(30), AsyncExitStack() as stack:
        await stack.enter_async_context(memory.reserved(60))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await stack.enter_async_context(memory.reserved(60))
        await stack.enter_async_context(memory.reserved(40))


async def test_a_process_that_was_killed_holds_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "memory"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE)  # noqa: ASYNC220
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"reserved\n"
    waiting = asyncio.create_task(_reserve(MachineMemory(100, path)))  # noqa: TID251 - awaited below
    await asyncio.sleep(0.2)
    assert not waiting.done()
    holder.kill()
    holder.wait()
    holder.stdout.close()
    await asyncio.wait_for(waiting, 30)


async def _reserve(memory: MachineMemory) -> None:
    async with memory.reserved(80):
        pass


async def test_a_queue_that_was_damaged_or_deleted_starts_anew(memory: MachineMemory, tmp_path: Path) -> None:
    path = tmp_path / "memory"
    path.write_bytes(b'[{"id":')
    async with asyncio.timeout(30), memory.reserved(100):
        path.unlink()
        async with memory.reserved(100):
            assert path.stat().st_uid == os.getuid()


async def test_a_queue_of_another_user_is_not_used(memory: MachineMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    other_user = os.getuid() + 1
    monkeypatch.setattr(os, "getuid", lambda: other_user)
    with pytest.raises(PermissionError, match="belongs to another user"):
        await memory.reserved(1).__aenter__()


async def test_the_loop_runs_while_another_process_holds_the_lock(
    memory: MachineMemory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine_memory, "_LOCK_S", 0.2)
    async with asyncio.timeout(30):
        async with memory.reserved(100):
            pass
        with (tmp_path / "memory.lock").open("rb") as lock:  # a lock of its own, as that of a stopped process
            fcntl.flock(lock, fcntl.LOCK_EX)
            with pytest.raises(TimeoutError, match="another process has held the lock"):
                await _reserve(memory)
        await _reserve(memory)


async def test_memory_that_could_not_be_released_is_released_by_the_next_change(
    memory: MachineMemory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine_memory, "_LOCK_S", 0.2)
    async with asyncio.timeout(30):
        with (tmp_path / "memory.lock").open("wb") as lock:
            async with memory.reserved(80):
                fcntl.flock(lock, fcntl.LOCK_EX)
        await _reserve(memory)


async def test_a_process_that_is_killed_while_it_writes_loses_no_reservation(
    memory: MachineMemory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(_path: Path, _target: Path) -> Path:
        raise OSError("killed")

    async with asyncio.timeout(30), memory.reserved(60):
        reserved = (tmp_path / "memory").read_bytes()
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", killed)
            with pytest.raises(OSError, match="killed"):
                await _reserve(memory)
        assert (tmp_path / "memory").read_bytes() == reserved
        (tmp_path / "memory.new").write_bytes(b"half of it, which is longer than the next queue" * 100)
    await _reserve(memory)
    assert (tmp_path / "memory").read_bytes() == b"[]"
