"""The memory governor: reservations that wait, grow, are cancelled and released."""

import asyncio
from pathlib import Path

import pytest

from stepwell.basics.errors import NeverFits
from stepwell.runtime.memory import FREE_BYTES, MemoryGovernor, MemoryReservation, default_max_bytes, provided_bytes

MIB = 1024 * 1024


async def until_waiting(governor: MemoryGovernor, count: int) -> None:
    async with asyncio.timeout(60):
        while governor.waiting != count:
            await asyncio.sleep(0)


async def test_bytes_are_held_until_the_context_ends() -> None:
    governor = MemoryGovernor(8 * MIB)
    with governor.reservation("a") as memory:
        await memory.grow(1 * MIB)
        await memory.grow(2 * MIB)
        assert (memory.held, governor.held) == (3 * MIB, 3 * MIB)
        memory.shrink(1 * MIB)
        assert (memory.held, governor.held) == (2 * MIB, 2 * MIB)
    assert (memory.held, governor.held, governor.most_held) == (0, 0, 3 * MIB)


async def test_small_reservations_cost_nothing() -> None:
    governor = MemoryGovernor(8 * MIB)
    with governor.reservation("a") as memory:
        await memory.grow(FREE_BYTES)
        assert (memory.held, governor.held) == (FREE_BYTES, 0)
        await memory.grow(1)
        assert governor.held == FREE_BYTES + 1
        memory.shrink(1)
        assert (memory.held, governor.held) == (FREE_BYTES, 0)


async def test_more_than_one_task_may_hold_is_refused_and_changes_nothing() -> None:
    governor = MemoryGovernor(8 * MIB)
    with governor.reservation("a") as memory:
        await memory.grow(3 * MIB)
        with pytest.raises(
            NeverFits, match=r"^needs 5,242,880 bytes of memory at once, and may hold at most 4,194,304"
        ):
            await memory.grow(2 * MIB)
        assert (memory.held, governor.held) == (3 * MIB, 3 * MIB)
        await memory.grow(1 * MIB)


async def test_a_reservation_waits_until_another_ends() -> None:
    governor = MemoryGovernor(8 * MIB)
    order = []

    async def use(name: str, end: asyncio.Event) -> None:
        with governor.reservation("a") as memory:
            await memory.grow(4 * MIB)
            order.append(name)
            await end.wait()

    first, second = asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(use("first", first))
        group.create_task(use("second", second))
        await until_waiting(governor, 1)
        assert order == ["first"]
        second.set()
        first.set()
    assert (order, governor.held, governor.most_held) == (["first", "second"], 0, 4 * MIB)


async def test_a_task_that_is_cancelled_while_it_waits_gets_nothing() -> None:
    governor = MemoryGovernor(8 * MIB)
    with governor.reservation("a") as holder, governor.reservation("a") as other:
        await holder.grow(4 * MIB)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await other.grow(4 * MIB)
        assert (other.held, governor.waiting, governor.held) == (0, 0, 4 * MIB)


async def test_a_task_that_is_cancelled_in_the_moment_of_its_grant_gives_it_to_the_next() -> None:
    governor = MemoryGovernor(8 * MIB)
    reservations: list[MemoryReservation] = []

    async def use() -> None:
        with governor.reservation("a") as memory:
            reservations.append(memory)
            await memory.grow(4 * MIB)

    with governor.reservation("a") as holder:
        await holder.grow(4 * MIB)
        async with asyncio.TaskGroup() as group:
            cancelled, granted = group.create_task(use()), group.create_task(use())
            await until_waiting(governor, 2)
            holder.shrink(4 * MIB)
            cancelled.cancel()
            await granted
    assert cancelled.cancelled()
    assert (governor.held, governor.waiting, [each.held for each in reservations]) == (0, 0, [0, 0])


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_lowest_limit_of_the_cgroups_around_the_process_counts(tmp_path: Path) -> None:
    write(tmp_path / "proc/self/cgroup", "0::/outer/inner\n")
    write(tmp_path / "sys/fs/cgroup/outer/inner/memory.max", "max\n")
    write(tmp_path / "sys/fs/cgroup/outer/memory.max", "7000000\n")
    assert provided_bytes(tmp_path) == 7_000_000


def test_the_limit_of_a_container_counts_although_its_path_is_the_hosts(tmp_path: Path) -> None:
    write(tmp_path / "proc/self/cgroup", "4:cpu,memory:/docker/abc\n3:cpuset:/docker/abc\n")
    write(tmp_path / "sys/fs/cgroup/memory/memory.limit_in_bytes", "8000000\n")
    assert provided_bytes(tmp_path) == 8_000_000


def test_without_a_limit_the_memory_of_the_machine_counts(tmp_path: Path) -> None:
    assert provided_bytes(tmp_path) >= provided_bytes()
    assert 0 < default_max_bytes() <= 512 * MIB
