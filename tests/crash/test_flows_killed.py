"""kill -9 at numbered points of reference flows: each ends as an undisturbed run does. See `flow_trials` for details.

The points are before and after every SQL statement, HTTP request and file operation. In some trials, the process that
takes over is killed, too. The two runs of CI draw 300 trials a day. All points of all flows:

    STEPWELL_TEST_FULL=1 python -m pytest tests/crash/test_flows_killed.py
"""

import asyncio
import random
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from support.database.postgres import TestServer
from support.processes.flow_trials import Deaths, FlowTrials, Outcome, flow_trials
from support.sampling import DAY, FULL
from support.workflows.reference_flows import FLOWS

TRIALS = 150  # of all flows together, in one run of CI
FEWER = {"items": 10}  # of these, because one trial takes as long as several trials of another flow
AT_ONCE = 3
SLACK = 1.2  # a killed flow may have more points than an undisturbed one
DOUBLE = 0.25  # the part of the trials in which the second process is killed, too


@pytest.fixture
async def trials(server: TestServer, template: str, tmp_path: Path) -> AsyncIterator[FlowTrials]:
    async with flow_trials(server, template, tmp_path) as trials:
        yield trials


@pytest.mark.parametrize("flow", FLOWS)
async def test_a_flow_ends_as_undisturbed_wherever_its_process_is_killed(flow: str, trials: FlowTrials) -> None:
    undisturbed = await trials.run(flow, Deaths())
    drawn = _draw(flow, int(undisturbed.points * SLACK))
    outcomes: list[Outcome] = []

    async def run() -> None:
        for deaths in drawn:
            outcome = await trials.run(flow, deaths)
            different = outcome.differences(undisturbed)
            assert different == [], f"{deaths}: {different}"
            outcomes.append(outcome)

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(run())
    killed = sum(outcome.kills > 0 for outcome in outcomes)
    assert killed >= len(outcomes) / SLACK / 2, "it would prove little if most flows had ended before their point"


def _draw(flow: str, points: int) -> Iterator[Deaths]:
    """Yield the trials: a sample of the day, or one for each point."""
    chance = random.Random(f"{DAY} {sys.version_info.minor} {flow}")
    count = FEWER.get(flow, (TRIALS - sum(FEWER.values())) // (len(FLOWS) - len(FEWER)))
    for first in range(points) if FULL else [chance.randrange(points) for _ in range(count)]:
        yield Deaths(first, chance.randrange(points) if chance.random() < DOUBLE else None)
