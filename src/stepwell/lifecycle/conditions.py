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

from collections.abc import Container, Sequence

from stepwell.contract.enums import StepStatus
from stepwell.lifecycle.decision import Decision
from stepwell.lifecycle.effects import Evaluate
from stepwell.lifecycle.inputs import Evaluated
from stepwell.lifecycle.steps import FlowControl
from stepwell.lifecycle.units import Units


def needs_evaluation(flow: FlowControl) -> bool:
    """Return whether a step with this flow control begins with an evaluation."""
    return flow.has_condition or flow.waits_for is not None or flow.for_each is not None


class Conditions:
    """The steps of a workflow that begin with an evaluation, and the evaluations that are under way.

    `pending` are the positions that need an evaluation, and none is requested. `requested` has the number of the
    evaluation that has no result yet, by position.
    """

    def __init__(self, units: Units) -> None:
        flows = [(resolved.position, resolved.flow) for resolved in units.resolved_steps if resolved.flow is not None]
        self._units = units
        self._needed = frozenset(position for position, flow in flows if needs_evaluation(flow))
        self._with_items = frozenset(position for position, flow in flows if flow.for_each is not None)
        self.pending: set[int] = set()
        self.requested: dict[int, int] = {}
        self._count = 0
        self.rebuild()

    def rebuild(self) -> None:
        """Compute everything from the statuses of the steps, after `Units` has its own sets."""
        steps, ready = self._units.steps, self._units.ready
        self.requested.clear()
        self.pending = {each for each in self._needed & ready if steps[each].status is StepStatus.PENDING}
        ready -= self.pending

    def hold(self, positions: Sequence[int]) -> Sequence[int]:
        """Let the steps among the *positions* that need an evaluation wait for it. Return the others."""
        held = self._needed.intersection(positions)
        self._units.ready -= held
        self.pending |= held
        return [position for position in positions if position not in held] if held else positions

    def repeat_requests(self, decision: Decision, known_items: Container[int]) -> None:
        """Request all evaluations again: a new workflow was started before anybody could evaluate."""
        self.pending.update(self.requested)
        self.request_or_forget(decision, known_items)

    def request_or_forget(self, decision: Decision, known_items: Container[int]) -> None:
        """Request the pending evaluations. *known_items* has the steps whose items are known already.

        If nothing may start, the results that are under way are ignored instead. Resume requests them again.
        """
        if not self._units.may_start:
            self.requested.clear()
            return
        for position in sorted(self.pending):
            self._count += 1
            self.requested[position] = self._count
            items = position in self._with_items and position not in known_items
            decision.effects.append(Evaluate(position, self._count, items=items))
        self.pending.clear()

    def take(self, input_: Evaluated) -> bool:
        """Return whether the result is that of the evaluation that is under way. It has ended then."""
        if self.requested.get(input_.position) != input_.number:  # none is requested while nothing may start
            return False
        del self.requested[input_.position]
        return True
