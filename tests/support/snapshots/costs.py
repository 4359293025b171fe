"""The snapshot of what a step costs, by `support.step_costs`."""

import os
import subprocess
import sys
from collections.abc import Mapping
from typing import TypeAlias

from msgspec import json

from support.generated import COMMAND
from support.processes.source_tree import TOP
from support.snapshots import read_snapshot

NAME = "step_costs.json"
PYTHON = (3, 13)  # each minor version has another bytecode
SLACK = 0.02
Costs: TypeAlias = Mapping[str, Mapping[str, float]]


def measure_costs() -> Costs:
    """Return the costs of a step by load and by what is counted, from a process of their own."""
    path = os.pathsep.join(["tests", *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-m", "support.step_costs"],
        cwd=TOP,
        env=os.environ | {"PYTHONPATH": path, "PYTHONHASHSEED": "0"},
        capture_output=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr.decode()
    return json.decode(done.stdout, type=dict[str, dict[str, float]])


def recorded_costs() -> Costs:
    """Return the costs of the snapshot."""
    return json.decode(read_snapshot(NAME) or "{}", type=dict[str, dict[str, float]])


def cost_changes(now: Costs, *, by: float) -> list[str]:
    """Return a line for each figure that has risen by more than the fraction *by*; with a negative *by*, fallen."""
    lines = []
    for load, costs in now.items():
        for what, cost in costs.items():
            before = recorded_costs().get(load, {}).get(what, 0.0)
            if cost > before * (1 + by) if by > 0 else cost < before * (1 + by):
                lines.append(f"{load}: {what} a step: {before:g} -> {cost:.1f} ({cost / (before or 1) - 1:+.1%})")
    return lines


def lower_costs(now: Costs) -> str:
    """Return the snapshot with the figures that are lower now. None becomes higher: only a person raises one."""
    before = recorded_costs()
    costs = {
        load: {what: round(min(cost, before.get(load, {}).get(what, cost)), 1) for what, cost in each.items()}
        for load, each in now.items()
    }
    return json.format(json.encode(costs), indent=1).decode() + "\n"


ADVICE_TO_LOWER = f"the figures can be lowered: {COMMAND} snapshots"
ADVICE_TO_SAVE = (
    f"a step costs more than {SLACK:.0%} above the figures of tests/snapshots/{NAME}. Make it cheaper, or raise the "
    "figures by hand, and say in the commit what users get for it"
)
