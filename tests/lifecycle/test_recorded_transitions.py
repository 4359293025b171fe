"""The state machine decides in random runs what it has decided when they were recorded."""

import pytest

from support.snapshots import FOLDER, transitions

LINES = (FOLDER / transitions.NAME).read_text("utf-8").splitlines()


@pytest.mark.parametrize(
    "number",
    [
        0,
        *(
            pytest.param(number, marks=pytest.mark.extended)
            for number in range(1, transitions.RUNS // transitions.PART)
        ),
    ],
)
def test_the_decisions_of_random_runs_are_as_recorded(number: int) -> None:
    assert transitions.record(number * transitions.PART) == LINES[number]
