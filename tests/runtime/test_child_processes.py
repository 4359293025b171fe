"""Child processes: bounded in time and memory, fair by tenant, and ended when nobody needs them."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Literal

import pytest
from anyio import CancelScope

from stepwell.runtime.child_processes import ChildProcessFailed, ChildProcessLimits, ChildProcessPool
from support.providers.scripted import eventually


def process_id(_: bytes) -> bytes:
    return str(os.getpid()).encode()


def upper(data: bytes) -> bytes:
    return data.upper()


def environment(_: bytes) -> bytes:
    return "\n".join(os.environ).encode()


def fail(_: bytes) -> bytes:
    raise ValueError("a secret")


def die(_: bytes) -> bytes:
    os.kill(os.getpid(), signal.SIGKILL)
    return b""


def spin(_: bytes) -> bytes:
    while True:
        pass


def allocate(size: bytes) -> bytes:
    return bytes(int(size))


def sleep(_: bytes) -> bytes:
    signal.pause()
    return b""


def exists(process: int) -> bool:
    return Path(f"/proc/{process}").exists()


@pytest.fixture
async def pool() -> AsyncIterator[ChildProcessPool]:
    pool = ChildProcessPool(ChildProcessLimits(cpu_s=1, memory_bytes=256 * 2**20))
    yield pool
    await pool.aclose()


async def run(pool: ChildProcessPool, function: object, data: bytes = b"", tenant: str = "a") -> bytes:
    async with asyncio.timeout(120):
        return await pool.run(tenant, function, lambda: [data])  # type: ignore[arg-type]


async def test_a_child_process_serves_one_request_after_the_other(pool: ChildProcessPool) -> None:
    first = await run(pool, process_id)
    assert int(first) != os.getpid()
    assert await run(pool, upper, b"x" * 3_000_000) == b"X" * 3_000_000
    assert await run(pool, process_id) == first


async def test_a_child_process_has_no_secrets_in_its_environment(
    pool: ChildProcessPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEPWELL_JWT_SECRET", "secret")
    assert b"STEPWELL" not in await run(pool, environment)


async def test_an_error_is_reported_by_its_type_and_the_child_process_goes_on(pool: ChildProcessPool) -> None:
    before = await run(pool, process_id)
    with pytest.raises(ChildProcessFailed, match="internal error: ValueError") as caught:
        await run(pool, fail)
    assert caught.value.repeatable
    assert await run(pool, process_id) == before


@pytest.mark.parametrize(
    ("function", "data", "why", "repeatable"),
    [
        (die, b"", "the child process died (out of memory, or killed)", True),
        (spin, b"", "takes more than 1 s of processor time", False),
        (allocate, str(2**30).encode(), "takes more memory than the limit of 256 MiB", False),
    ],
)
async def test_a_request_that_kills_its_child_process_harms_no_other(
    pool: ChildProcessPool, function: object, data: bytes, why: str, repeatable: Literal[True, False]
) -> None:
    with pytest.raises(ChildProcessFailed) as caught:
        await run(pool, function, data)
    assert (str(caught.value), caught.value.repeatable) == (why, repeatable)
    assert await run(pool, upper, b"a") == b"A"


async def test_an_idle_child_process_that_was_killed_is_replaced(pool: ChildProcessPool) -> None:
    first = int(await run(pool, process_id))
    os.kill(first, signal.SIGKILL)
    await eventually(lambda: not exists(first), "it is reaped")
    assert int(await run(pool, process_id)) != first


async def test_a_cancelled_request_ends_its_child_process(pool: ChildProcessPool) -> None:
    child = int(await run(pool, process_id))
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        scope = CancelScope()

        async def hang() -> None:
            with scope:
                await pool.run("a", sleep, lambda: [b""])

        group.create_task(hang())
        waiting = group.create_task(run(pool, upper, b"b", "b"))
        await asyncio.sleep(0)
        scope.cancel()
        assert await waiting == b"B"
    assert not exists(child)


async def cancel_thrice(pool: ChildProcessPool, after_steps: int) -> None:
    """Begin a request, and cancel it three times after some steps of the event loop."""
    async with asyncio.TaskGroup() as group:
        request = group.create_task(run(pool, sleep))
        for _ in range(after_steps):
            await asyncio.sleep(0)
        for _ in range(3):
            request.cancel()
            await asyncio.sleep(0)
    assert request.cancelled()


def children() -> list[str]:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


async def test_a_second_cancellation_during_the_cleanup_leaves_the_turn_free(pool: ChildProcessPool) -> None:
    process = int(await run(pool, process_id))
    await cancel_thrice(pool, 5)
    assert pool.begun == 2
    await eventually(lambda: not exists(process))
    assert await run(pool, upper, b"x") == b"X"


@pytest.mark.parametrize("steps", [0, 6, *(pytest.param(n, marks=pytest.mark.extended) for n in (2, 4, 8, 10))])
async def test_cancellations_during_the_start_of_a_child_process_leave_no_process(
    pool: ChildProcessPool, steps: int
) -> None:
    before = children()
    await cancel_thrice(pool, steps)
    await eventually(lambda: children() == before)
    assert await run(pool, upper, b"x") == b"X"


async def test_a_request_without_a_result_ends_at_the_deadline() -> None:
    pool = ChildProcessPool(ChildProcessLimits(wall_s=0.2))
    with pytest.raises(ChildProcessFailed, match="no result within") as caught:
        await run(pool, sleep)
    assert caught.value.repeatable
    await pool.aclose()


async def test_an_idle_child_process_ends() -> None:
    pool = ChildProcessPool(ChildProcessLimits(idle_s=0))
    child = int(await run(pool, process_id))
    await eventually(lambda: not exists(child), "it has ended")
    assert await run(pool, upper, b"a") == b"A"
    await pool.aclose()


async def test_tenants_take_turns(pool: ChildProcessPool) -> None:
    order: list[str] = []

    def request(name: str) -> list[bytes]:
        order.append(name)
        return []

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        for name in ("a1", "a2", "a3", "a4", "b1", "b2", "c1"):
            group.create_task(pool.run(name[0], upper, partial(request, name)))
    assert order == ["a1", "a2", "b1", "c1", "a3", "b2", "a4"]


async def test_a_waiting_request_that_is_cancelled_gives_up_its_turn(pool: ChildProcessPool) -> None:
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        asyncio_tasks = [group.create_task(pool.run(name, upper, lambda: [b"x"])) for name in "abc"]
        await asyncio.sleep(0)
        asyncio_tasks[1].cancel()
    assert [asyncio_task.cancelled() for asyncio_task in asyncio_tasks] == [False, True, False]
    assert await run(pool, upper, b"d") == b"D"
