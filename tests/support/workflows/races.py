"""Two things happen to a workflow at once: every pair, from every state, and the ends that are legal.

A workflow has the steps s0, s1 (after s0) and s2. "completion" lets s0 end well, "failure" lets s2 end badly. What is
legal is worked out by the pure lifecycle, fed the two in both orders.
"""

from collections.abc import Iterator
from itertools import product

from stepwell.basics.errors import InvalidTransition
from stepwell.contract.definition import WorkflowUpdate
from stepwell.lifecycle.inputs import Update
from support.workflows.runs import SimulatedRun

STATES = ("PENDING", "RUNNING", "PAUSED", "PAUSED, idle", "FAILED", "COMPLETED", "CANCELLED")
COMMANDS = ("start", "pause", "resume", "cancel", "cleanup", "update", "completion", "failure")

# The codes of the two responses, the status, the steps' statuses, whether it is deleted.
End = tuple[int | None, int | None, str, tuple[str, ...], bool]


class Model:
    """One workflow as the lifecycle alone would have it; every step that may start does so at once, and hangs."""

    def __init__(self, state: str, *, failing: bool) -> None:
        self.sim = SimulatedRun(((), (0,), ()), max_retries=0, started=False)
        self.failures = 0
        if state != "PENDING":
            self.apply("start")
        match state:
            case "PAUSED":
                self.apply("pause")
            case "PAUSED, idle":
                self.apply("pause")
                self.end(2, 0)
            case "FAILED":
                self.failures = 1
                self.end(2, 0)
            case "COMPLETED":
                self.end(2, 0, 1)
            case "CANCELLED":
                self.apply("cancel")
        self.failures = int(failing)

    def apply(self, command: str) -> int | None:
        code: int | None = 200
        try:
            match command:
                case "completion" | "failure":
                    code = None
                    self.end(0 if command == "completion" else 2)
                case "update":
                    self.sim.do(Update("alice", WorkflowUpdate(name="m")))
                case verb:
                    getattr(self.sim, verb)()
        except InvalidTransition:
            code = 409
        self._dispatch()
        return code

    def end(self, *positions: int) -> None:
        for position in positions:
            if position in self.sim.live:
                if position == 2 and self.failures:
                    self.failures -= 1
                    self.sim.fail(2)
                else:
                    self.sim.succeed(position)
            self._dispatch()

    def _dispatch(self) -> None:
        while self.sim.queue:
            self.sim.dispatch(min(self.sim.queue))


def legal_ends(state: str, first: str, second: str) -> set[End]:
    ends: set[End] = set()
    for turned in (False, True):
        model = Model(state, failing="failure" in (first, second))
        codes = [model.apply(command) for command in ((second, first) if turned else (first, second))]
        model.end(2, 0, 1)
        statuses = tuple(status.value for status in model.sim.statuses)
        one, two = reversed(codes) if turned else codes
        ends.add((one, two, model.sim.status.value, statuses, model.sim.workflow.deleted_at is not None))
    return ends


def races() -> Iterator[tuple[str, str, str]]:
    for state, first, second in product(STATES, COMMANDS, COMMANDS):
        if not first == second in ("completion", "failure"):
            yield state, first, second
