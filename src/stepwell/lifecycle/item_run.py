"""The state machine of a workflow with steps that run once per item.

    step     PENDING ─evaluation─► RUNNING, its items want slots ─► COMPLETED, FAILED
    item     as a step: PENDING, RUNNING, COMPLETED, FAILED. CANCELLED only with its step.

What must hold, besides what `FlowRun` guarantees:
- The items of a step are stored once, before the first of them begins, and never change.
- A step with items is RUNNING exactly while one of its items is under way, or may begin.
- A COMPLETED item never runs again. No item starts while the workflow's results have no room for another one.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from stepwell.contract.definition import MAX_ITEMS
from stepwell.contract.enums import EventType, OnFailure, ProviderType, StepStatus
from stepwell.lifecycle.decision import Decision, copy_of
from stepwell.lifecycle.effects import Evaluate
from stepwell.lifecycle.flow_run import FlowRun
from stepwell.lifecycle.inputs import SERVICE, Admitted, Evaluated
from stepwell.lifecycle.item_group import MAX_WORKFLOW_ITEMS, ItemGroup
from stepwell.lifecycle.model import NO_FLOW, ItemPlace, ItemState, StepState, Task
from stepwell.lifecycle.resume import reset
from stepwell.lifecycle.steps import ForEachPlan, ResolvedStep
from stepwell.lifecycle.stored_run import StoredRun


def unit_position(steps: int, place: ItemPlace) -> int:
    """Return the position of an item in a workflow of so many *steps*. It is the same in every process."""
    return steps + MAX_ITEMS * place.step + place.item


class ItemRun(FlowRun):
    """One workflow with items in memory.

    The position of an item is `unit_position`. The `place` of an open task says which item it is for.
    """

    unit_plans: dict[int, ResolvedStep]
    units: dict[int, StepState]

    def __init__(self, stored: StoredRun) -> None:
        plans, steps = stored.plans, stored.steps
        ordered = sorted(stored.items, key=lambda item: item.place)
        for item in ordered:
            item.position = unit_position(len(steps), item.place)
        for task in stored.open_tasks:
            if task.place is not None:
                task.position = unit_position(len(steps), task.place)
        self.groups: dict[int, ItemGroup] = {}
        super().__init__(stored)
        self.unit_plans, self.units = dict(enumerate(plans)), dict(enumerate(steps))
        self._item_count = len(ordered)
        by_step: dict[int, list[ItemState]] = {
            step.position: [] for step in steps if step.flow is not None and step.flow.items is not None
        }
        for item in ordered:
            by_step[item.place.step].append(item)
        for position, own in by_step.items():
            self._add_group(position, own)
        self._place_items()

    # Groups

    def _add_group(self, position: int, items: Sequence[ItemState]) -> None:
        for_each = self._for_each(position)
        assert for_each is not None
        self.groups[position] = ItemGroup(position, for_each, items)
        for item in items:
            self.units[item.position], self.unit_plans[item.position] = item, self.plans[position]

    def _groups(self) -> list[ItemGroup]:
        """Return the groups in the order of the definition."""
        return [self.groups[position] for position in sorted(self.groups)]

    def _group_of(self, step: StepState) -> ItemGroup | None:
        """Return the group of an item; None for a step."""
        return self.groups[step.place.step] if isinstance(step, ItemState) else None

    # The beginning of a step with items

    def _for_each(self, position: int) -> ForEachPlan | None:
        flow = self.plans[position].flow
        return None if flow is None else flow.for_each

    def _needs_evaluation(self, position: int) -> bool:
        return super()._needs_evaluation(position) or self._for_each(position) is not None

    def _evaluation(self, position: int, number: int) -> Evaluate:
        has_items = self._for_each(position) is not None
        return Evaluate(position, number, items=has_items and position not in self.groups)

    def _begin(self, decision: Decision, step: StepState, input_: Evaluated, now: datetime) -> None:
        if self._for_each(step.position) is None:
            super()._begin(decision, step, input_, now)
            return
        if step.position not in self.groups:
            values = input_.items or ()
            if (error := self._item_limit_error(len(values))) is not None:
                self._fail_unstarted(decision, step, error, now)
                return
            self._add_items(decision, step, values, now)
        group = self.groups[step.position]
        step.status = StepStatus.RUNNING
        step.started_at = step.started_at or self._tracker.begin_of_attempt(self.plans[step.position], now)
        decision.record(step, now)
        self._emit_step(decision, now, EventType.STEP_STARTED, step, items=len(group.items))
        self._after_item(decision, group, now)

    def _add_items(self, decision: Decision, step: StepState, values: Sequence[bytes], now: datetime) -> None:
        places = [ItemPlace(step.position, number) for number in range(len(values))]
        items = [
            ItemState(unit_position(len(self.steps), place), updated_at=now, place=place, value=value)
            for place, value in zip(places, values, strict=True)
        ]
        step.flow = replace(step.flow or NO_FLOW, items=len(items))
        self._add_group(step.position, items)
        self._item_count += len(items)
        decision.new_items += map(copy_of, items)

    def _item_limit_error(self, count: int) -> str | None:
        """Return the error of a step that would add so many items; None if it may."""
        if count > MAX_ITEMS:
            return f"for_each has {count:,} items; a step has at most {MAX_ITEMS:,}"
        total = count + self._item_count
        if total > MAX_WORKFLOW_ITEMS:
            return f"the workflow would have {total:,} items; it has at most {MAX_WORKFLOW_ITEMS:,}"
        return None

    # Items

    def _after_item(self, decision: Decision, group: ItemGroup, now: datetime) -> None:
        """Continue the step after one of its items has ended or was held back: begin other items, or end the step."""
        step = self.steps[group.position]
        if step.status is not StepStatus.RUNNING:
            return
        if group.is_failing:
            if not group.running:
                step.error_message = group.error
                self._fail_step(decision, step, now)
        elif group.has_ended:
            self._complete_step(decision, step, None, now)
        elif self.may_start:
            self._want_slots(decision, group.take())
        elif not group.running:
            step.status = StepStatus.PENDING
            decision.record(step, now)
            decision.events[-1].data["step_held_back"] = True

    def _admitted(self, decision: Decision, input_: Admitted, now: datetime) -> None:
        item = self.units.get(input_.position)
        if not isinstance(item, ItemState) or item.status is not StepStatus.PENDING:
            super()._admitted(decision, input_, now)
            return
        group = self.groups[item.place.step]
        if not self.output_budget.is_used_up:
            super()._admitted(decision, input_, now)
            if item.position in self._tracker.running:
                group.begin()
        elif item.position in self._tracker.ready and self.may_start:
            self._tracker.ready.discard(item.position)
            group.begin()
            item.error_message = "the results of the workflow have no room for another one; the item didn't start"
            self._fail_item(decision, item, group, None, now)
            self._finish_if_open(decision, now)

    def _new_task(self, input_: Admitted, step: StepState, provider: ProviderType | None, began: datetime) -> Task:
        task = super()._new_task(input_, step, provider, began)
        if isinstance(step, ItemState):
            task.place = step.place
        return task

    def _complete_step(
        self,
        decision: Decision,
        step: StepState,
        result: bytes | None,
        now: datetime,
        task: Task | None = None,
        actor: str = SERVICE,
    ) -> None:
        if not isinstance(step, ItemState):
            super()._complete_step(decision, step, result, now, task, actor)
            return
        step.status, step.result, step.completed_at = StepStatus.COMPLETED, result, now
        step.error_message = step.next_attempt_at = None
        decision.record(step, now, task)
        step.result = None  # only the row has it
        self._emit_step(decision, now, EventType.STEP_COMPLETED, step)
        group = self.groups[step.place.step]
        group.end(step)
        self._after_item(decision, group, now)

    def _fail_step(
        self, decision: Decision, step: StepState, now: datetime, task: Task | None = None, actor: str = SERVICE
    ) -> None:
        if isinstance(step, ItemState):
            self._fail_item(decision, step, self.groups[step.place.step], task, now)
        else:
            super()._fail_step(decision, step, now, task, actor)

    def _fail_item(
        self, decision: Decision, item: ItemState, group: ItemGroup, task: Task | None, now: datetime
    ) -> None:
        item.status, item.completed_at, item.next_attempt_at = StepStatus.FAILED, now, None
        decision.record(item, now, task)
        group.end(item)
        held = self._hold_items(decision, group, now) if group.is_failing else {}
        self._emit_step(decision, now, EventType.STEP_FAILED, item, error=item.error_message, **held)
        stops = self.config.on_failure is OnFailure.CANCEL and not self.unit_plans[item.position].optional
        if group.is_failing and stops:
            for position in sorted(group.taken & self._tracker.running.keys()):
                self._cancel_unit(decision, position, SERVICE, now)
        self._after_item(decision, group, now)

    def _hold_items(self, decision: Decision, group: ItemGroup, now: datetime) -> dict[str, Any]:
        """Put the items of a failing step that no attempt runs for back to PENDING."""
        held = list[int]()
        for position in sorted(group.taken - self._tracker.running.keys()):
            item = self.units[position]
            assert isinstance(item, ItemState)
            if item.status is StepStatus.RUNNING:
                item.status, item.next_attempt_at = StepStatus.PENDING, None
                decision.record(item, now)
                group.running -= 1
                held.append(item.place.item)
            group.hold_back(position)
            self._tracker.ready.discard(position)
            self._tracker.backoff.discard(position)
        return {"held_back_items": held} if held else {}

    def _may_continue(self, step: StepState) -> bool:
        group = self._group_of(step)
        return self.may_start and (group is None or not group.is_failing)

    def _retry_later(self, decision: Decision, step: StepState, task: Task, now: datetime, at: datetime) -> None:
        super()._retry_later(decision, step, task, now, at)
        self._hold_back_if_pending(decision, step, now)

    def _run_again(self, decision: Decision, step: StepState, task: Task, result: bytes | None, now: datetime) -> None:
        super()._run_again(decision, step, task, result, now)
        self._hold_back_if_pending(decision, step, now)

    def _hold_back_if_pending(self, decision: Decision, unit: StepState, now: datetime) -> None:
        """Hold back an item that is PENDING because no other attempt may start now. Leave other units as they are."""
        if (group := self._group_of(unit)) is not None and unit.status is StepStatus.PENDING:
            self._tracker.ready.discard(unit.position)
            group.hold_back(unit.position)
            group.running -= 1
            self._after_item(decision, group, now)

    # The behaviour of `FlowRun`, extended to items

    def _reset(self, decision: Decision, now: datetime, *, from_paused: bool) -> dict[str, Any]:
        kept = super()._reset(decision, now, from_paused=from_paused)
        for group in self._groups():
            if self.steps[group.position].status in (StepStatus.PENDING, StepStatus.RUNNING):
                for item in group.items:
                    if reset(item):
                        decision.record(item, now)
        return kept

    def _rebuild(self) -> None:
        super()._rebuild()
        self._place_items()

    def _place_items(self) -> None:
        """Compute the sets of items, after those of steps."""
        tracker = self._tracker
        for group in self._groups():
            group.rebuild()
            if self.steps[group.position].status is StepStatus.RUNNING:
                tracker.ready.discard(group.position)
                for position in group.taken:
                    tracker.place_running(self.units[position])
                if not group.is_failing:
                    tracker.ready.update(group.take())

    def _cancel_running(self, decision: Decision, actor: str, now: datetime) -> None:
        super()._cancel_running(decision, actor, now)
        for group in self._groups():
            step = self.steps[group.position]
            if step.status is not StepStatus.RUNNING:
                continue
            for position in sorted(group.taken):
                self._tracker.ready.discard(position)
                if self.units[position].status is StepStatus.RUNNING:
                    self._tracker.backoff.discard(position)
                    self._cancel_step(decision, self.units[position], actor, now)
            group.rebuild()
            self._cancel_step(decision, step, actor, now)

    def _cancel_step(self, decision: Decision, step: StepState, actor: str, now: datetime) -> None:
        if (group := self._group_of(step)) is not None and step.status is StepStatus.RUNNING:
            group.taken.discard(step.position)
            group.running -= 1
        super()._cancel_step(decision, step, actor, now)

    def _hold_back(self, decision: Decision, now: datetime) -> dict[str, Any]:
        steps, items = list[str](), dict[str, list[int]]()
        for position in sorted(self._tracker.backoff):
            unit, step_id = self.units[position], self.unit_plans[position].step_id
            unit.status, unit.next_attempt_at = StepStatus.PENDING, None
            decision.record(unit, now)
            if isinstance(unit, ItemState):
                items.setdefault(step_id, []).append(unit.place.item)
                self.groups[unit.place.step].running -= 1
            else:
                steps.append(step_id)
        self._tracker.ready.update(self._tracker.backoff)
        self._tracker.backoff.clear()
        for group in self._groups():
            step = self.steps[group.position]
            if step.status is StepStatus.RUNNING and not group.running:
                step.status = StepStatus.PENDING
                decision.record(step, now)
                steps.append(self.unit_plans[step.position].step_id)
        held: dict[str, Any] = {"held_back": steps} if steps else {}
        return held | ({"held_back_items": items} if items else {})

    def _emit_step(
        self, decision: Decision, now: datetime, kind: EventType, step: StepState, actor: str = SERVICE, **data: Any
    ) -> None:
        place = {"item": step.place.item} if isinstance(step, ItemState) else {}
        super()._emit_step(decision, now, kind, step, actor, **place, **data)
