"""kill -9 at numbered points of reference flows: each ends as an undisturbed run does. See `flow_trials` for details.

The points are before and after every SQL statement, HTTP request and file operation. Each trial kills the flow at one
of them, and the trials' points are evenly spread over the flow. In every fourth trial, the process that takes over is
killed, too. All points of all flows:

    STEPWELL_TEST_FULL=1 python -m pytest --everything tests/crash/test_flows_killed.py

A trial that fails names the command that repeats it. `TEST_DEATHS` has the points of one or more trials. "12 40,7"
kills one flow at its point 12, and another one at its point 40, and then at point 7 of the process that takes
over.
"""

import asyncio
import os
import shlex
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from support.database.postgres import TestServer
from support.processes.flow_trials import Deaths, FlowTrials, flow_trials
from support.soaks import FULL
from support.workflows.reference_flows import FLOWS

TRIALS, TRIALS_OF_ITEMS = 16, 6  # a trial of the flow with 100 items takes as long as several trials of another flow
CORE_FLOWS, CORE_TRIALS = ("join after partial failure", "sub-workflow"), 3
AT_ONCE = 3
SLACK = 1.2  # the number of points depends on the load, because reads have points, too
SECOND_DEATH = 4  # in each trial of this number
MAX_FAILURES = 20 if FULL else 1
ONLY = os.environ.get("TEST_DEATHS", "")


@pytest.fixture
async def trials(server: TestServer, template: str, tmp_path: Path) -> AsyncIterator[FlowTrials]:
    async with flow_trials(server, template, tmp_path) as trials:
        yield trials


@pytest.mark.parametrize(
    ("flow", "count"),
    [
        *((flow, CORE_TRIALS) for flow in CORE_FLOWS),
        *(
            pytest.param(flow, TRIALS_OF_ITEMS if flow == "items" else TRIALS, marks=pytest.mark.extended)
            for flow in FLOWS
        ),
    ],
)
async def test_a_flow_ends_as_undisturbed_wherever_its_process_is_killed(
    flow: str, count: int, trials: FlowTrials, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    undisturbed = await trials.run(flow, Deaths())
    drawn = _deaths(count, undisturbed.points)
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
    assert any(kills), f"all flows had ended before their point: {counted}"


def _deaths(count: int, points: int) -> Iterator[Deaths]:
    """Yield the trials: those that `TEST_DEATHS` names, or *count* of them; one for each point in a soak."""
    if ONLY:
        yield from (Deaths(*map(int, pair.split(","))) for pair in ONLY.split())
        return
    every = range(int(points * SLACK)) if FULL else [int((number + 0.5) * points / count) for number in range(count)]
    for number, first in enumerate(every):
        yield Deaths(first, every[-number - 1] // 2 if number % SECOND_DEATH == SECOND_DEATH - 1 else None)


def _command(deaths: Deaths, test: str) -> str:
    points = ",".join(str(point) for point in (deaths.first, deaths.second) if point is not None)
    return f"TEST_DEATHS={points} python -m pytest {shlex.quote(test)}"
