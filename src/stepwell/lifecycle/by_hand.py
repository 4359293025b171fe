"""The ends of steps and items by hand: a person gives a result, or skips them, in a FAILED or PAUSED workflow.

    step, item   PENDING, FAILED, CANCELLED, SKIPPED ─ result ─► COMPLETED, `flow.given_by`
                                                     ─ skip ───► SKIPPED, reason `manual`

What must hold:
- A COMPLETED or RUNNING step or item is left as it is. So is an item of a step that is COMPLETED or SKIPPED.
- A result by hand belongs to no task. So nobody takes it for the work of an attempt.
- Nothing starts. The dependants that were PENDING are decided as by any other end of the step.
- Dependants that were decided by an earlier end of the step stay as they are, but for those that were skipped because
  of it: they return to PENDING if they may run now, and the event of the step lists them.
"""

from datetime import datetime

from msgspec.structs import replace

from stepwell.basics.errors import NotByHand, NotFound
from stepwell.contract.enums import EventType, SkipReason, StepStatus
from stepwell.lifecycle.allowed_verbs import check_allowed
from stepwell.lifecycle.decision import Decision
from stepwell.lifecycle.inputs import EndByHand
from stepwell.lifecycle.items import ItemGroup
from stepwell.lifecycle.model import NO_FLOW, ItemState, StepState
from stepwell.lifecycle.run_if import has_ended, present_reason
from stepwell.lifecycle.step_transitions import FlowParts, StepTransitions
from stepwell.lifecycle.steps import ResolvedStep
from stepwell.lifecycle.units import Units

_FINAL = (StepStatus.COMPLETED, StepStatus.RUNNING)
_BY_DEPENDENCY = (SkipReason.DEPENDENCY, SkipReason.FAILURE)


def refusal(step: StepState, item: StepState | None) -> str | None:
    """Return why a person can't end the *step*, or else its *item*; None if it is possible. A sentence."""
    if item is not None and step.status in (StepStatus.COMPLETED, StepStatus.SKIPPED):
        return f"The step is {step.status}, so its items stay as they are."
    what, status = ("step", step.status) if item is None else ("item", item.status)
    if status not in _FINAL:
        return None
    why = "it has a result already" if status is StepStatus.COMPLETED else "wait for its end, or cancel the workflow"
    return f"The {what} is {status}: {why}."


def takes_no_result(resolved: ResolvedStep) -> bool:
    """Return whether nobody can give the step a result: it waits for a decision, a signal, a time or a sub-workflow."""
    return resolved.flow is not None and (resolved.flow.waits_for is not None or resolved.flow.runs_workflow)


class ByHand:
    """The part of a `Run` that ends steps and items by hand. It has no state of its own."""

    def __init__(self, units: Units, steps: StepTransitions, parts: FlowParts) -> None:
        self._units, self._steps = units, steps
        self._conditions, _, self._items, self._children, _ = parts

    def end(self, decision: Decision, input_: EndByHand, now: datetime) -> bool:
        """End the step or the item. Return whether the sets of all parts must be computed anew.

        Raises `InvalidTransition`, `NotFound` for an item that doesn't exist, and `NotByHand`.
        """
        check_allowed("skip" if input_.result is None else "give_result", self._units.state)
        step = self._units.steps[input_.position]
        item = None if input_.item is None else self._item(step, input_.item)
        unit = step if item is None else item
        if (why := refusal(step, item)) is not None:
            raise NotByHand(why)
        if input_.result is not None:
            self._count_result(unit, self._units.resolved_steps[step.position], input_.result)
        self._forget(unit)
        if item is not None:
            return self._end_item(decision, step, item, input_, now)
        return self._end_step(decision, step, input_, now)

    def _item(self, step: StepState, number: int) -> ItemState:
        group = None if self._items is None else self._items.groups.get(step.position)
        if group is None or not 0 <= number < len(group.items):
            raise NotFound("item")
        return group.items[number]

    def _count_result(self, unit: StepState, resolved: ResolvedStep, result: bytes) -> None:
        """Count the result among those of the workflow. It replaces the best one so far of a step that repeats."""
        budget = self._units.output_budget
        if takes_no_result(resolved):
            raise NotByHand(f"A step of the type {resolved.task_type} takes no result by hand.")
        if not budget.fits(result):
            raise NotByHand(
                f"The results of the workflow would be over {budget.max_bytes:,} bytes together "
                "(STEPWELL_RESULTS_MAX_BYTES)."
            )
        budget.add(result)
        if unit.flow is not None and unit.flow.candidate_bytes is not None:
            budget.release(unit.flow.candidate_bytes)

    def _forget(self, unit: StepState) -> None:
        """Let nothing wait for a slot or an evaluation of the unit, or of its items."""
        group = None if self._items is None else self._items.groups.get(unit.position)
        positions = {unit.position, *(() if group is None else (item.position for item in group.items))}
        self._units.ready -= positions
        if self._conditions is not None:
            self._conditions.pending -= positions
        if self._children is not None:
            self._children.forget_stopping(positions)

    # Steps

    def _end_step(self, decision: Decision, step: StepState, input_: EndByHand, now: datetime) -> bool:
        decided = self._has_ended(step.position)
        self._uncount(step)
        if input_.result is None:
            self._steps.skip_by_hand(decision, step, input_.actor, now, decided=decided)
        else:
            _give(step, input_.actor, now)
            self._steps.complete(decision, step, input_.result, now, actor=input_.actor)
        if decided:
            self._decide_again(decision, step, now)
        return decided

    def _has_ended(self, position: int) -> bool:
        units = self._units
        return has_ended(units.resolved_steps[position], units.steps[position], units.config.on_failure)

    def _uncount(self, step: StepState) -> None:
        """Uncount the end that the step has had before."""
        units = self._units
        match step.status:
            case StepStatus.SKIPPED:
                units.skipped -= 1
            case StepStatus.FAILED if units.resolved_steps[step.position].optional:
                units.tolerated -= 1
            case StepStatus.FAILED:
                units.failures -= 1

    def _decide_again(self, decision: Decision, step: StepState, now: datetime) -> None:
        """Decide again about the steps that were skipped because of an earlier end of the *step*."""
        units, event, causes, returned = self._units, decision.events[-1], [step.position], set[int]()
        while causes:
            for position in units.dependants[causes.pop()]:
                each, resolved = units.steps[position], units.resolved_steps[position]
                if each.status is not StepStatus.SKIPPED or each.skip_reason not in _BY_DEPENDENCY:
                    continue
                reason = present_reason(resolved, units.steps, self._has_ended)
                if reason is None:
                    units.skipped -= 1
                    each.status, each.completed_at, each.skip_reason = StepStatus.PENDING, None, None
                    decision.record(each, now)
                    returned.add(position)
                elif reason is SkipReason.DEPENDENCY and each.skip_reason is SkipReason.FAILURE:
                    each.skip_reason = reason
                    decision.record(each, now)
                    units.emit(decision, now, EventType.STEP_SKIPPED, each, reason=reason)
                else:
                    continue
                causes.append(position)
        if returned:
            event.data["held_back"] = [units.resolved_steps[position].step_id for position in sorted(returned)]

    # Items

    def _end_item(self, decision: Decision, step: StepState, item: ItemState, input_: EndByHand, now: datetime) -> bool:
        assert self._items is not None
        group = self._items.groups[step.position]
        item.completed_at, item.error_message, item.next_attempt_at = now, None, None
        if input_.result is None:
            item.status, item.skip_reason = StepStatus.SKIPPED, SkipReason.MANUAL
            kind, data = EventType.STEP_SKIPPED, {"reason": SkipReason.MANUAL}
        else:
            _give(item, input_.actor, now)
            item.status, item.result = StepStatus.COMPLETED, input_.result
            kind, data = EventType.STEP_COMPLETED, {}
        decision.record(item, now)
        item.result = None  # only the row has it
        self._units.emit(decision, now, kind, item, input_.actor, **data)
        group.rebuild()
        return self._after_item(decision, step, group, now)

    def _after_item(self, decision: Decision, step: StepState, group: ItemGroup, now: datetime) -> bool:
        """End the step if all of its items have ended well. Otherwise name the failed items that are left."""
        if step.status is StepStatus.RUNNING:
            self._steps.continue_items(decision, group, now)
        elif group.has_succeeded:
            decided = self._has_ended(step.position)
            self._uncount(step)
            self._forget(step)
            self._steps.complete(decision, step, None, now)
            if decided:
                self._decide_again(decision, step, now)
            return decided
        elif step.status is StepStatus.FAILED and group.failed:
            step.error_message = group.error
            decision.record(step, now)
        return False


def _give(unit: StepState, actor: str, now: datetime) -> None:
    """Record who has given the result of the unit."""
    unit.flow = replace(unit.flow or NO_FLOW, wait=None, candidate_bytes=None, best=None, outage=None, given_by=actor)
    unit.task_id = unit.skip_reason = None
    unit.started_at = unit.started_at or now
