"""A step costs at most as many Python calls and instructions as recorded: counted, because times can't judge."""

import sys

import pytest

from support.snapshots import costs


@pytest.mark.skipif(
    sys.version_info[:2] != costs.PYTHON,
    reason=f"the recorded costs of a step are those of Python {costs.PYTHON[0]}.{costs.PYTHON[1]}",
)
def test_a_step_costs_no_more_than_recorded() -> None:
    now = costs.measure_costs()
    raised, fell = costs.cost_changes(now, by=costs.SLACK), costs.cost_changes(now, by=-costs.SLACK)
    if raised:
        pytest.fail("\n".join([costs.ADVICE_TO_SAVE, *raised]), pytrace=False)
    if fell:
        pytest.xfail("\n".join([costs.ADVICE_TO_LOWER, *fell]))
