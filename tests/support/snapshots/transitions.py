"""The snapshot of the state machine: a digest of what it decides in thousands of random runs."""

from hashlib import sha256
from random import Random
from typing import Any

from msgspec import UNSET, json, structs, to_builtins

from stepwell.contract.definition import RetryPolicy, WorkflowConfig
from stepwell.contract.enums import OnFailure
from stepwell.lifecycle.decision import Decision
from stepwell.lifecycle.inputs import Input
from support.workflows.flow_scripts import ENDING, play, random_ops, random_specs
from support.workflows.flows import SimulatedFlow

NAME = "transitions.txt"
RUNS, PART = 10_000, 1_000


class _RecordedFlow(SimulatedFlow):
    """A flow whose decisions go into *digest*. `inputs` counts what it was given."""

    def __init__(self, digest: Any, *arguments: Any, **options: Any) -> None:
        self.digest, self.inputs = digest, 0
        super().__init__(*arguments, **options)

    def do(self, *inputs: Input) -> Decision:
        self.inputs += len(inputs)
        return super().do(*inputs)

    def _release(self, decision: Decision) -> None:
        self.digest.update(_neutral(decision))  # also of the work that a process finds when it loads the rows
        super()._release(decision)

    def check(self) -> None:
        """The properties check each input; here only the record counts."""


def transitions() -> str:
    """Return a line for each 1,000 runs: the numbers of the runs, how many inputs they got, and a SHA-256."""
    return "".join(f"{part}\n" for part in map(record, range(0, RUNS, PART)))


def record(first: int) -> str:
    """Return the line of the runs from the number *first* on."""
    digest, inputs = sha256(), 0
    for seed in range(first, first + PART):
        inputs += _run(Random(seed), digest)
    return f"{first} to {first + PART - 1}: {inputs} inputs, {digest.hexdigest()}"


def _run(random: Random, digest: Any) -> int:
    """Play a random run to its end, with deaths of its process, and return the number of inputs."""
    specs, timeout = random_specs(random), random.choice([None, None, 40.0, 1000.0])
    config = WorkflowConfig(
        on_failure=random.choice(list(OnFailure)), workflow_timeout_s=timeout, retry=RetryPolicy(base_s=4)
    )
    flow = _RecordedFlow(digest, specs, config, unpark=random.random() < 0.5)
    for op in random_ops(random, ENDING):
        play(flow, op, crashing=True)
    flow.drive()
    return flow.inputs


def _neutral(decision: Decision) -> bytes:
    """Return the rows, the ready steps and the effects of a decision as JSON, independent of the order in sets."""
    members = {name: value for name in decision.__struct_fields__ if (value := getattr(decision, name)) is not UNSET}
    members["effects"] = [(type(each).__name__, structs.asdict(each)) for each in decision.effects]
    return json.encode(to_builtins(members, str_keys=True, order="deterministic"))
