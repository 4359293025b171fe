"""The evaluations of a workflow: of conditions, of the items of `for_each`, and of the configs of waits.

    step     PENDING ─dependencies permit it─► evaluation: effect `Evaluate` ─► input `Evaluated`
                                                         │ the condition isn't true ──► SKIPPED
                                                         │ an expression failed ──────► FAILED
                                                         ├─ the step waits ───────────► RUNNING, `flow.wait`
                                                         ├─ the step has items ───────► RUNNING, its items want slots
                                                         └─ otherwise ────────────────► wants a slot

What must hold:
- Of a result, only a wait and the items are stored. So an evaluation whose result was lost is requested again.
- Evaluations are requested only while new steps may start. A result that comes when nothing may start is ignored.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from stepwell.contract.enums import StepStatus
from stepwell.lifecycle.decision import Decision
from stepwell.lifecycle.effects import Effect, Evaluate
from stepwell.lifecycle.inputs import Evaluated, ReuseChecked
from stepwell.lifecycle.steps import FlowControl
from stepwell.lifecycle.units import Units


def needs_evaluation(flow: FlowControl) -> bool:
    """Return whether a step with this flow control begins with an evaluation."""
    return flow.has_condition or flow.waits_for is not None or flow.for_each is not None


class EngineRequests(ABC):
    """The units of a run that need a result of the engine before they begin, and the requests that are under way.

    `pending` are the positions that need one, and none is requested. `requested` has the number of the request that has
    no result yet, by position.
    """

    def __init__(self, units: Units) -> None:
        self._units = units
        self.pending: set[int] = set()
        self.requested: dict[int, int] = {}
        self._count = 0

    @property
    def is_busy(self) -> bool:
        return bool(self.pending or self.requested)

    def repeat_requests(self, decision: Decision) -> None:
        """Request all results again: a new workflow was started before anybody could give one."""
        self.pending.update(self.requested)
        self.request_or_forget(decision)

    def request_or_forget(self, decision: Decision) -> None:
        """Request the pending results. If nothing may start, ignore those that are under way instead.

        Resume requests them again.
        """
        if not self._units.may_start:
            self.requested.clear()
            return
        for position in sorted(self.pending):
            self._count += 1
            self.requested[position] = self._count
            decision.effects.append(self._request(position, self._count))
        self.pending.clear()

    def take(self, input_: Evaluated | ReuseChecked) -> bool:
        """Return whether the result is that of the request that is under way. It has ended then."""
        if self.requested.get(input_.position) != input_.number:  # none is requested while nothing may start
            return False
        del self.requested[input_.position]
        return True

    def _hold(self, held: AbstractSet[int], positions: Sequence[int]) -> Sequence[int]:
        """Let the units in *held* wait for a result. Return the others of the *positions*."""
        self._units.ready -= held
        self.pending |= held
        return [position for position in positions if position not in held] if held else positions

    @abstractmethod
    def _request(self, position: int, number: int) -> Effect:
        """Return the request for the result that the unit needs."""


class Conditions(EngineRequests):
    """The steps of a workflow that begin with an evaluation, and the evaluations that are under way."""

    def __init__(self, units: Units) -> None:
        super().__init__(units)
        flows = [(resolved.position, resolved.flow) for resolved in units.resolved_steps if resolved.flow is not None]
        self._needed = frozenset(position for position, flow in flows if needs_evaluation(flow))
        self._with_items = frozenset(position for position, flow in flows if flow.for_each is not None)
        self.rebuild()

    def rebuild(self) -> None:
        """Compute everything from the statuses of the steps, after `Units` has its own sets."""
        steps, ready = self._units.steps, self._units.ready
        self.requested.clear()
        self.pending = {each for each in self._needed & ready if steps[each].status is StepStatus.PENDING}
        ready -= self.pending

    def hold(self, positions: Sequence[int]) -> Sequence[int]:
        """Let the steps among the *positions* that need an evaluation wait for it. Return the others."""
        return self._hold(self._needed.intersection(positions), positions)

    def _request(self, position: int, number: int) -> Evaluate:
        flow = self._units.steps[position].flow
        has_items = flow is not None and flow.items is not None
        return Evaluate(position, number, items=position in self._with_items and not has_items)
