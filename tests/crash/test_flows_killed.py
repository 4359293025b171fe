"""kill -9 at numbered points of reference flows: each ends as an undisturbed run does. See `flow_trials` for details.

The points are before and after every SQL statement, HTTP request and file operation. In some trials, the process that
takes over is killed, too. The two runs of CI draw 300 trials a day. All points of all flows:

    STEPWELL_TEST_FULL=1 python -m pytest tests/crash/test_flows_killed.py

A trial that fails names the command that repeats it. `TEST_DEATHS` has the points of one or more trials. "12 40,7"
kills one flow at its point 12, and another one at its point 40, and then at point 7 of the process that takes
over.
"""

import asyncio
import os
import random
import shlex
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from support.database.postgres import TestServer
from support.processes.flow_trials import Deaths, FlowTrials, flow_trials
from support.sampling import DAY, FULL
from support.workflows.reference_flows import FLOWS

TRIALS = 150  # of all flows together, in one run of CI
FEWER = {"items": 10}  # of these, because one trial takes as long as several trials of another flow
AT_ONCE = 3
SLACK = 1.2  # the number of points depends on the load, because reads have points, too
DOUBLE = 0.25  # the part of the trials in which the second process is killed, too
MAX_FAILURES = 20 if FULL else 1
ONLY = os.environ.get("TEST_DEATHS", "")


@pytest.fixture
async def trials(server: TestServer, template: str, tmp_path: Path) -> AsyncIterator[FlowTrials]:
    async with flow_trials(server, template, tmp_path) as trials:
        yield trials


@pytest.mark.parametrize("flow", FLOWS)
async def test_a_flow_ends_as_undisturbed_wherever_its_process_is_killed(
    flow: str, trials: FlowTrials, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    undisturbed = await trials.run(flow, Deaths())
    drawn = _draw(flow, undisturbed.points)
    kills: list[int] = []  # of each trial that ended well
    failures: list[str] = []

    async def run() -> None:
        for deaths in drawn:
            try:
                kills.append((await trials.run(flow, deaths, undisturbed)).kills)
            except AssertionError as error:
                failures.append(f"{error}\nThe same trial again:\n{_command(deaths, request.node.nodeid)}")
            if len(failures) >= MAX_FAILURES:
                return

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(run())
    counted = f"{undisturbed.points} points; {len(kills)} trials without a fault, and {len(failures)} with one"
    counted += f"; {kills.count(0)} had no death, {kills.count(1)} one, and {kills.count(2)} two"
    if FULL:
        with capsys.disabled():
            print(f"\n{flow}: {counted}")
    assert not failures, "\n\n".join([counted, *failures])
    assert kills.count(0) <= len(kills) / 2, f"most flows had ended before their point: {counted}"


def _draw(flow: str, points: int) -> Iterator[Deaths]:
    """Yield the trials: those that `TEST_DEATHS` names, a sample of the day, or one for each point."""
    if ONLY:
        yield from (Deaths(*map(int, pair.split(","))) for pair in ONLY.split())
        return
    chance = random.Random(f"{DAY} {sys.version_info.minor} {flow}")
    count = FEWER.get(flow, (TRIALS - sum(FEWER.values())) // (len(FLOWS) - len(FEWER)))
    for first in range(int(points * SLACK)) if FULL else [chance.randrange(points) for _ in range(count)]:
        yield Deaths(first, chance.randrange(points) if chance.random() < DOUBLE else None)


def _command(deaths: Deaths, test: str) -> str:
    points = ",".join(str(point) for point in (deaths.first, deaths.second) if point is not None)
    return f"TEST_DEATHS={points} python -m pytest {shlex.quote(test)}"
