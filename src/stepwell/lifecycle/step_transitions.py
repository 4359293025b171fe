"""The transitions of steps and items: how they begin, end and are held back, and what that means for others."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from msgspec.structs import replace

from stepwell.contract.enums import EventType, OnFailure, SkipReason, StepStatus, WaitKind
from stepwell.lifecycle.children import Children
from stepwell.lifecycle.conditions import Conditions
from stepwell.lifecycle.decision import Decision
from stepwell.lifecycle.effects import CancelAttempt
from stepwell.lifecycle.inputs import SERVICE, Evaluated, ReuseChecked, WaitTerms
from stepwell.lifecycle.items import ItemGroup, Items
from stepwell.lifecycle.model import NO_FLOW, ItemState, StepState, Task
from stepwell.lifecycle.remote_transitions import RemoteTransitions
from stepwell.lifecycle.resume import reset, resume_report, steps_to_leave
from stepwell.lifecycle.retry import uncount_attempt
from stepwell.lifecycle.reuse import ReuseChecks
from stepwell.lifecycle.run_if import skip_reason
from stepwell.lifecycle.units import Units
from stepwell.lifecycle.waits import WaitEnd, Waits

_COMPLETED, _COMPLETED_EVENT = StepStatus.COMPLETED, EventType.STEP_COMPLETED  # hot path, see `run_if`


class FlowParts(NamedTuple):
    """The parts of a `Run` that are None if no step of the workflow needs them."""

    conditions: Conditions | None
    waits: Waits | None
    items: Items | None
    children: Children | None
    reuse: ReuseChecks | None


class StepTransitions:
    """The part of a `Run` that changes the statuses of steps and items. Of the others only `ByHand` decides some."""

    def __init__(self, units: Units, remote: RemoteTransitions, parts: FlowParts) -> None:
        self._units, self._remote = units, remote
        self._conditions, self._waits, self._items, self._children, self._reuse = parts

    # Begin

    def _open(self, decision: Decision, positions: Sequence[int]) -> None:
        """Let steps begin whose dependencies permit it: after their evaluation, or as soon as they have a slot."""
        if self._conditions is not None:
            positions = self._conditions.hold(positions)
        if self._children is not None:
            positions = self._children.hold(positions)
        if self._reuse is not None:
            positions = self._reuse.hold(positions)
        if positions and self._units.may_start:
            decision.ready += positions

    def begin(self, decision: Decision, step: StepState, input_: Evaluated, now: datetime) -> None:
        """Begin a step whose condition is true."""
        flow = self._units.resolved_steps[step.position].flow
        assert flow is not None
        if flow.for_each is not None:
            self._begin_items(decision, step, input_.items or (), now)
        elif flow.waits_for is not None:
            assert input_.terms is not None
            if self._reuse is None or not self._reuse.hold_decision(step.position, flow.waits_for, input_.terms):
                self._begin_wait(decision, step, flow.waits_for, input_.terms, now)
        else:
            self._want_slots(decision, [step.position])

    def _begin_wait(self, decision: Decision, step: StepState, kind: WaitKind, terms: WaitTerms, now: datetime) -> None:
        assert self._waits is not None
        if (end := self._waits.begin(decision, step, kind, terms, now)) is not None:
            self.end_wait(decision, step, end, now)

    def _begin_items(self, decision: Decision, step: StepState, values: Sequence[bytes], now: datetime) -> None:
        assert self._items is not None
        known = step.position in self._items.groups
        if not known and (error := self._items.add(decision, step, values, now)) is not None:
            self.fail_unstarted(decision, step, error, now)
            return
        group, resolved = self._items.groups[step.position], self._units.resolved_steps[step.position]
        step.status = StepStatus.RUNNING
        step.started_at = step.started_at or self._units.begin_of_attempt(resolved, now)
        decision.record(step, now)
        self._units.emit(decision, now, EventType.STEP_STARTED, step, items=len(group.items))
        self.continue_items(decision, group, now)

    def _want_slots(self, decision: Decision, positions: Sequence[int]) -> None:
        if self._children is not None:
            positions = self._children.hold(positions)
        self.want_slots_or_checks(decision, positions)

    def want_slots_or_checks(self, decision: Decision, positions: Sequence[int]) -> None:
        """Let units that may start want a slot, or be checked first whether they take over a result."""
        if self._reuse is not None:
            positions = self._reuse.hold(positions)
        self.want_slots(decision, positions)

    def want_slots(self, decision: Decision, positions: Sequence[int]) -> None:
        self._units.ready.update(positions)
        decision.ready += positions

    # End

    def end_check(self, decision: Decision, input_: ReuseChecked, now: datetime) -> None:
        """Complete a unit that takes over a result; let another one want a slot."""
        assert self._reuse is not None
        units, unit = self._units, self._units.units[input_.position]
        terms = self._reuse.decisions.pop(unit.position, None)
        if input_.result is None or input_.reused is None:
            if terms is None:
                self.want_slots(decision, [unit.position])
            else:
                self._begin_wait(decision, unit, WaitKind.DECISION, terms, now)
            return
        if self._items is not None and isinstance(unit, ItemState) and unit.status is StepStatus.PENDING:
            self._items.groups[unit.item_key.step].begin()
        units.backoff.discard(unit.position)
        if (refusal := units.output_budget.add(input_.result)) is not None:
            unit.error_message = units.output_budget.shorten(refusal)
            self.fail(decision, unit, now)
            return
        reused, saved = input_.reused, input_.reused.saved
        unit.flow = replace(unit.flow or NO_FLOW, reused=reused)
        unit.task_id, unit.started_at = None, unit.started_at or now
        data: dict[str, Any] = {"workflow_id": reused.workflow_id, "from_task_id": reused.task_id, "saved": saved}
        units.emit(decision, now, EventType.STEP_REUSED, unit, **data)
        self.complete(decision, unit, input_.result, now)

    def complete(
        self,
        decision: Decision,
        unit: StepState,
        result: bytes | None,
        now: datetime,
        task: Task | None = None,
        actor: str = SERVICE,
    ) -> None:
        """End the step or item as COMPLETED. Without a *result*, the stored one stays."""
        unit.status, unit.result, unit.completed_at = _COMPLETED, result, now
        unit.error_message = unit.next_attempt_at = None
        if self._items is not None and isinstance(unit, ItemState):
            decision.record(unit, now, task)
            unit.result = None  # only the row has it
            self._units.emit(decision, now, _COMPLETED_EVENT, unit)
            group = self._items.groups[unit.item_key.step]
            group.end(unit)
            self.continue_items(decision, group, now)
        else:
            self._units.state.completed_steps += 1
            decision.record(unit, now, task)
            self._units.emit(decision, now, _COMPLETED_EVENT, unit, actor)
            self._open(decision, self._units.complete(unit.position))

    def end_wait(self, decision: Decision, step: StepState, end: WaitEnd, now: datetime) -> None:
        """End a step whose wait has ended. It fails if the workflow's results have no room for its result."""
        assert self._waits is not None
        self._waits.end(decision, step, end)
        if end.result is None:
            self.fail_unstarted(decision, step, end.error or "", now, end.actor)
        elif (refusal := self._units.output_budget.add(end.result)) is not None:
            self.fail_unstarted(decision, step, refusal, now)
        else:
            self.complete(decision, step, end.result, now, actor=end.actor)

    def fail_unstarted(
        self, decision: Decision, step: StepState, error: str, now: datetime, actor: str = SERVICE
    ) -> None:
        """End a step that has no attempt as FAILED."""
        step.error_message = self._units.output_budget.shorten(error)
        self.fail(decision, step, now, actor=actor)

    def fail(
        self, decision: Decision, unit: StepState, now: datetime, task: Task | None = None, actor: str = SERVICE
    ) -> None:
        """End the step or item as FAILED, for the reason in its `error_message`."""
        unit.status, unit.completed_at = StepStatus.FAILED, now
        if isinstance(unit, ItemState):
            self._fail_item(decision, unit, task, now)
            return
        units, on_failure = self._units, self._units.config.on_failure
        optional = units.resolved_steps[unit.position].optional
        units.count_failure(units.resolved_steps[unit.position])
        decision.record(unit, now, task)
        data = {} if units.will_start else self.hold_back(decision, now)
        if optional:
            data["optional"] = True
        units.emit(decision, now, EventType.STEP_FAILED, unit, actor, error=unit.error_message, **data)
        if optional or on_failure is OnFailure.CONTINUE:
            self._end_without_success(decision, unit, now)
        elif on_failure is OnFailure.CANCEL:
            self.cancel_running(decision, SERVICE, now)
        if units.failures and on_failure is OnFailure.DRAIN:
            self.cancel_waits(decision, SERVICE, now)

    def skip(self, decision: Decision, step: StepState, now: datetime) -> None:
        """End a step whose condition isn't true as SKIPPED."""
        self._skip(decision, step, SkipReason.WHEN, now)
        self._end_without_success(decision, step, now)

    def skip_by_hand(self, decision: Decision, step: StepState, actor: str, now: datetime, *, decided: bool) -> None:
        """End a step as SKIPPED. *decided*: its dependants have been decided before."""
        step.error_message, decision.has_flow_steps = None, True
        self._skip(decision, step, SkipReason.MANUAL, now, actor)
        if not decided:
            self._end_without_success(decision, step, now)

    def _skip(
        self, decision: Decision, step: StepState, reason: SkipReason, now: datetime, actor: str = SERVICE
    ) -> None:
        step.status, step.completed_at, step.skip_reason = StepStatus.SKIPPED, now, reason
        self._units.skipped += 1
        decision.record(step, now)
        self._units.emit(decision, now, EventType.STEP_SKIPPED, step, actor, reason=reason)

    def _end_without_success(self, decision: Decision, step: StepState, now: datetime) -> None:
        """Decide what the end of a step without success means further down: some are skipped, others may begin."""
        units, newly, causes = self._units, list[int](), [step]
        while causes:
            cause = causes.pop()
            for position in units.end_without_success(cause.position):
                dependant = units.steps[position]
                if (reason := skip_reason(units.resolved_steps[position], units.steps, cause)) is None:
                    newly.append(position)
                else:
                    self._skip(decision, dependant, reason, now)
                    causes.append(dependant)
        units.ready.update(newly)
        self._open(decision, sorted(newly))

    # Hold back

    def hold_back(self, decision: Decision, now: datetime) -> dict[str, Any]:
        """Put what is between two attempts back to PENDING. Return the data of the event that reports it."""
        units, steps, items = self._units, list[str](), dict[str, list[int]]()
        held_back = sorted(units.backoff)
        for position in held_back:
            unit, step_id = units.units[position], units.resolved_units[position].step_id
            _withdraw_attempt(units, self._remote, decision, unit, now)
            unit.status, unit.next_attempt_at = StepStatus.PENDING, None
            decision.record(unit, now)
            if isinstance(unit, ItemState) and (group := self._group_of(unit)) is not None:
                items.setdefault(step_id, []).append(unit.item_key.item)
                group.running -= 1
            else:
                steps.append(step_id)
        units.ready.update(held_back)
        units.backoff.clear()
        for group in self._groups():
            step = units.steps[group.position]
            if step.status is StepStatus.RUNNING and not group.running:
                step.status = StepStatus.PENDING
                decision.record(step, now)
                steps.append(units.resolved_steps[step.position].step_id)
        held: dict[str, Any] = {"held_back": steps} if steps else {}
        return held | ({"held_back_items": items} if items else {})

    def hold_back_item(self, decision: Decision, unit: StepState, now: datetime) -> None:
        """Hold back an item that is PENDING because no other attempt may start now. Leave other units as they are."""
        if (group := self._group_of(unit)) is not None and unit.status is StepStatus.PENDING:
            self._units.ready.discard(unit.position)
            group.hold_back(unit.position)
            group.running -= 1
            self.continue_items(decision, group, now)

    def may_continue(self, unit: StepState) -> bool:
        """Return whether another attempt may start at a unit that has begun."""
        group = self._group_of(unit)
        return self._units.may_start and (group is None or not group.is_failing)

    # Cancel

    def cancel(self, decision: Decision, unit: StepState, actor: str, now: datetime) -> None:
        if (group := self._group_of(unit)) is not None and unit.status is StepStatus.RUNNING:
            group.taken.discard(unit.position)
            group.running -= 1
        if self._waits is not None:
            self._waits.remove(decision, unit)
        unit.status, unit.completed_at = StepStatus.CANCELLED, now
        unit.next_attempt_at = unit.skip_reason = None
        decision.record(unit, now)
        self._units.emit(decision, now, EventType.STEP_CANCELLED, unit, actor=actor)

    def cancel_running(self, decision: Decision, actor: str, now: datetime) -> None:
        """Cancel all attempts, waits, and steps whose items run."""
        for position in sorted(self._units.running):
            self._cancel_attempt(decision, position, actor, now)
        self.cancel_waits(decision, actor, now)
        for group in self._groups():
            step = self._units.steps[group.position]
            if step.status is not StepStatus.RUNNING:
                continue
            for position in sorted(group.taken):
                unit = self._units.units[position]
                self._units.ready.discard(position)
                if unit.status is StepStatus.RUNNING:
                    self._units.backoff.discard(position)
                    self.cancel(decision, unit, actor, now)
            group.rebuild()
            self.cancel(decision, step, actor, now)

    def _cancel_attempt(self, decision: Decision, position: int, actor: str, now: datetime) -> None:
        units, task = self._units, self._units.running[position]
        if position in units.attached:
            decision.effects.append(CancelAttempt(position, task.id))
        self._remote.cancel(decision, task, now, in_process=position in units.in_process)
        units.detach(position)
        self.cancel(decision, units.units[position], actor, now)
        if self._children is not None:
            self._children.end(position)

    def cancel_waits(self, decision: Decision, actor: str, now: datetime) -> None:
        """Cancel all steps that wait."""
        for position in sorted(() if self._waits is None else self._waits.open):
            self.cancel(decision, self._units.steps[position], actor, now)

    def cancel_backoff(self, decision: Decision, actor: str, now: datetime) -> None:
        """Cancel all that is between two attempts."""
        for position in sorted(self._units.backoff):
            self._units.ready.discard(position)
            self.cancel(decision, self._units.units[position], actor, now)
        self._units.backoff.clear()

    def cancel_open(self, decision: Decision, actor: str, now: datetime) -> None:
        """Cancel all steps that are not COMPLETED, also those that have failed."""
        for step in self._units.steps:
            if step.status not in (StepStatus.COMPLETED, StepStatus.CANCELLED):
                self.cancel(decision, step, actor, now)

    # Resume

    def reset(self, decision: Decision, now: datetime, *, from_paused: bool) -> dict[str, Any]:
        """Put the steps and items that resume runs again back to PENDING, and renew the retry budget of the others.

        Return the data of the event that reports it: the ids of the steps that stay as they are.
        """
        units, unchanged = self._units, set[int]()
        if units.skipped or units.tolerated:
            unchanged = steps_to_leave(
                units.resolved_steps, units.steps, units.dependants.__getitem__, from_paused=from_paused
            )
        for step in units.steps:
            if step.position not in unchanged and reset(step):
                decision.record(step, now)
        for group in self._groups():
            if units.steps[group.position].status in (StepStatus.PENDING, StepStatus.RUNNING):
                for item in group.items:
                    if reset(item):
                        decision.record(item, now)
        return resume_report(units.resolved_steps, units.steps, unchanged)

    # Items

    def _groups(self) -> Sequence[ItemGroup]:
        return () if self._items is None else self._items.in_order()

    def _group_of(self, unit: StepState) -> ItemGroup | None:
        return None if self._items is None else self._items.group_of(unit)

    def fail_without_room(self, decision: Decision, item: ItemState, now: datetime) -> None:
        """End an item that is about to begin as FAILED, because the workflow's results have no room for another one."""
        self._units.ready.discard(item.position)
        item.error_message = "the results of the workflow have no room for another one; the item didn't start"
        self.fail(decision, item, now)

    def _fail_item(self, decision: Decision, item: ItemState, task: Task | None, now: datetime) -> None:
        assert self._items is not None
        group, units = self._items.groups[item.item_key.step], self._units
        item.next_attempt_at = None
        decision.record(item, now, task)
        group.end(item)
        data = self._hold_items(decision, group, now) if group.is_failing else {}
        units.emit(decision, now, EventType.STEP_FAILED, item, error=item.error_message, **data)
        stops = units.config.on_failure is OnFailure.CANCEL and not units.resolved_units[item.position].optional
        if group.is_failing and stops:
            for position in sorted(group.taken & units.running.keys()):
                self._cancel_attempt(decision, position, SERVICE, now)
        self.continue_items(decision, group, now)

    def _hold_items(self, decision: Decision, group: ItemGroup, now: datetime) -> dict[str, Any]:
        """Put the items of a failing step that no attempt runs for back to PENDING."""
        units, held = self._units, list[int]()
        for position in sorted(group.taken - (units.running.keys() - units.backoff)):
            item = units.units[position]
            assert isinstance(item, ItemState)
            _withdraw_attempt(units, self._remote, decision, item, now)
            if item.status is StepStatus.RUNNING:
                item.status, item.next_attempt_at = StepStatus.PENDING, None
                decision.record(item, now)
                group.running -= 1
                held.append(item.item_key.item)
            group.hold_back(position)
            units.ready.discard(position)
            units.backoff.discard(position)
            if self._reuse is not None:
                self._reuse.forget([position])
        if self._children is not None:
            self._children.forget_stopping(item.position for item in group.items if item.position not in group.taken)
        return {"held_back_items": held} if held else {}

    def continue_items(self, decision: Decision, group: ItemGroup, now: datetime) -> None:
        """Continue the step after one of its items has ended or was held back: begin other items, or end the step."""
        step = self._units.steps[group.position]
        if step.status is not StepStatus.RUNNING:
            return
        if group.is_failing:
            if not group.running:
                step.error_message = group.error
                self.fail(decision, step, now)
        elif group.has_ended:
            self.complete(decision, step, None, now)
        elif self._units.may_start:
            self._want_slots(decision, group.take())
        elif not group.running:
            step.status = StepStatus.PENDING
            decision.record(step, now)
            decision.events[-1].data["step_held_back"] = True


def _withdraw_attempt(
    units: Units, remote: RemoteTransitions, decision: Decision, unit: StepState, now: datetime
) -> None:
    """End the attempt of a unit between two tries, if it has one: its provider is away, so nothing was sent."""
    if (task := units.running.get(unit.position)) is not None:
        remote.cancel(decision, task, now, in_process=False)
        units.detach(unit.position)
        uncount_attempt(unit)
