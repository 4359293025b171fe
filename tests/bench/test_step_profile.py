"""The clock of the parts of a step, the functions that it is put on, and the table."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from bench import part_times
from bench.part_times import DECODE, ENCODE, OTHER, Hook, HookMissing, PartClock, hooked
from bench.step_profile import ROWS, Profile, manual_blocks
from stepwell.lifecycle.run import Run
from support.processes.stepwell_process import surroundings

WRITE = Hook("any", "Any", "write", ENCODE, after=DECODE)


class Ticks:
    """A clock that only `pass_by` moves."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now

    def pass_by(self, ns: int) -> None:
        self.now += ns


@pytest.fixture
def ticks() -> Ticks:
    return Ticks()


@pytest.fixture
def clock(ticks: Ticks) -> PartClock:
    return PartClock(ticks)


def test_a_part_within_another_counts_for_itself_only(clock: PartClock, ticks: Ticks) -> None:
    inner = clock.timed(ticks.pass_by, "inner")

    def outer() -> None:
        ticks.pass_by(3)
        inner(5)
        ticks.pass_by(7)

    ticks.pass_by(1)
    clock.timed(outer, "outer")()
    ticks.pass_by(1)
    assert clock.parts() == ({OTHER: 2, "outer": 10, "inner": 5}, 0)


def test_a_part_ends_with_an_error_too(clock: PartClock, ticks: Ticks) -> None:
    def fail() -> None:
        ticks.pass_by(3)
        raise KeyError

    with pytest.raises(KeyError):
        clock.timed(fail, "failing")()
    ticks.pass_by(1)
    assert clock.parts() == ({OTHER: 1, "failing": 3}, 0)


def test_other_threads_are_not_measured(clock: PartClock, ticks: Ticks) -> None:
    thread = threading.Thread(target=clock.timed(ticks.pass_by, "work"), args=(5,))
    thread.start()
    thread.join()
    assert clock.parts() == ({OTHER: 5}, 0)


async def test_a_coroutine_is_another_part_once_it_has_sent_something_and_its_waits_are_no_part(
    clock: PartClock, ticks: Ticks
) -> None:
    async def write() -> str:
        ticks.pass_by(3)
        clock.sent += 1
        await asyncio.sleep(0)
        ticks.pass_by(5)
        return "written"

    async def meanwhile() -> None:
        ticks.pass_by(7)

    async with asyncio.TaskGroup() as group:
        written = group.create_task(clock.timed_coroutine(write, WRITE)(), name="write")
        group.create_task(meanwhile(), name="meanwhile")
    assert written.result() == "written"
    assert clock.parts() == ({OTHER: 7, ENCODE: 3, DECODE: 5}, 0)


async def test_a_coroutine_can_be_cancelled(clock: PartClock) -> None:
    ended = []

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    async with asyncio.TaskGroup() as group:
        asyncio_task = group.create_task(clock.timed_coroutine(wait, WRITE)(), name="wait")
        await asyncio.sleep(0)
        asyncio_task.cancel()
    assert asyncio_task.cancelled()
    assert ended


def test_what_the_measurement_costs_is_subtracted() -> None:
    ticking: Iterator[int] = iter(range(0, 10**9, 10))
    clock = PartClock(ticking.__next__)  # a reading takes 10 ns, and nothing else takes time
    clock.calibrate()
    with clock.part("nothing"):
        pass
    parts, changes = clock.parts()
    assert parts["nothing"] == pytest.approx(0, abs=0.01)
    assert parts[OTHER] == pytest.approx(10, abs=0.01)  # the reading of `parts` itself
    assert changes == pytest.approx(20, abs=0.01)


def test_each_function_that_is_measured_exists_and_is_as_before_afterwards() -> None:
    apply, protocol = Run.apply, asyncpg.protocol.Protocol
    with hooked(PartClock()):
        assert Run.apply is not apply
        assert issubclass(asyncpg.protocol.Protocol, protocol)
    assert Run.apply is apply
    assert asyncpg.protocol.Protocol is protocol


def test_a_function_that_does_not_exist_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    apply = Run.apply
    gone = Hook("stepwell.lifecycle.run", "Run", "decide", "decide")
    monkeypatch.setattr(part_times, "HOOKS", (*part_times.HOOKS, gone))
    with (
        pytest.raises(HookMissing, match=r"stepwell\.lifecycle\.run has no Run\.decide: change HOOKS"),
        hooked(PartClock()),
    ):
        pass
    assert Run.apply is apply


def test_the_table_has_a_row_for_each_part_and_the_waits_of_single_steps() -> None:
    chain = Profile("1 chain of 200", dict.fromkeys(ROWS, 2.0), 100.0, 50.0, 200.0, one_by_one=True)
    fan = Profile("5 fans of 1,000", dict.fromkeys(ROWS, 12.0), 100.0, 50.0, 120.0, one_by_one=False)
    commit = Profile("a bare commit", {OTHER: 10.0}, 5.0, 100.0, 1_200.0, one_by_one=True)
    conditions, table = manual_blocks([chain, fan, commit], "15.20", "2026-12-01")
    assert conditions.startswith("Averages; 2026-12-01, ")
    assert conditions.endswith("PostgreSQL 15.20 by TCP, with fsync.")
    lines = table.splitlines()
    assert lines[0] == "| microseconds for each step | 1 chain of 200 | 5 fans of 1,000 | a bare commit |"
    assert lines[2 : 2 + len(ROWS)] == [
        f"| {text} | 2.0 | 12 | {'10' if part == OTHER else ''} |" for part, text in ROWS.items()
    ]
    assert lines[-2] == f"| network, wake-ups, the rest of PostgreSQL | {50 - 2 * len(ROWS)} |  | 1,085 |"
    assert lines[-1] == "| **from start to end** | 200 | 120 | 1,200 |"


@pytest.mark.extended
def test_the_tool_profiles_small_loads() -> None:
    program = Path(__file__).with_name("step_profile.py")
    run = subprocess.run(
        [sys.executable, str(program), "--quick"], env=surroundings(None), capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    rows = [line.strip("| ").split(" | ") for line in run.stdout.splitlines() if line.startswith("| ")]
    assert rows[0] == ["microseconds for each step", "1 chain of 20", "2 fans of 20", "a bare commit"]
    figures = {row[0]: [float(cell.replace(",", "") or 0) for cell in row[1:3]] for row in rows[2:]}
    for part in (part_times.DECIDE, part_times.ENCODE, part_times.SEND, part_times.DECODE, part_times.EFFECTS):
        assert min(figures[ROWS[part]]) > 0
    assert min(figures["statement, in PostgreSQL"]) > 0
