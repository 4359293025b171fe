"""The steps and items of a workflow: their states, what depends on what, and which of them may run."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from stepwell.contract.definition import MAX_ITEMS
from stepwell.contract.enums import EventType, OnFailure, RunIf, StepStatus, WorkflowStatus
from stepwell.lifecycle.decision import Decision
from stepwell.lifecycle.inputs import SERVICE, TENANT_BUDGET
from stepwell.lifecycle.model import ItemKey, ItemState, StepState, Task
from stepwell.lifecycle.output_budget import OutputBudget
from stepwell.lifecycle.results_in_memory import ResultsInMemory
from stepwell.lifecycle.run_if import has_ended
from stepwell.lifecycle.steps import ResolvedStep
from stepwell.lifecycle.stored_run import StoredRun

# Hot path: an attribute of an enum costs 0.1 µs in Python 3.11.
_PENDING, _RUNNING, _CONTINUE = StepStatus.PENDING, WorkflowStatus.RUNNING, OnFailure.CONTINUE


def unit_position(steps: int, key: ItemKey) -> int:
    """Return the position of an item in a workflow of so many *steps*. It is the same in every process."""
    return steps + MAX_ITEMS * key.step + key.item


class Units:
    """The units of a workflow and the sets of them that the parts of a `Run` share. It decides no status.

    A unit is what can have an attempt: a step, or an item of a step. `units` and `resolved_units` have all by position;
    `steps` and `resolved_steps` have the steps alone.

    `ready`: the dependencies permit the unit, and it waits for a slot. `running`: the unit has an attempt.
    `attached`: the attempt runs in this process. An attempt of an earlier process isn't attached; its unit is `ready`,
    so that the attempt continues here. `in_process`: the attempt works in its process, and not at a provider outside.
    `backoff`: the unit is between two attempts, or its attempt between two tries because the provider is away; it is
    also `ready` once the time of the next one has come.

    `failures` counts the FAILED steps that make the workflow FAILED (`drain` adds one), `tolerated` the optional ones,
    and `skipped` the SKIPPED steps. `dependants` has the positions that depend directly on a step, by position.
    """

    def __init__(self, stored: StoredRun) -> None:
        self.state, self.config = stored.state, stored.config
        self.resolved_steps, self.steps = stored.resolved_steps, stored.steps
        self.resolved_units: Sequence[ResolvedStep] | Mapping[int, ResolvedStep] = stored.resolved_steps
        self.units: Sequence[StepState] | Mapping[int, StepState] = stored.steps
        self.output_budget = OutputBudget(stored.result_bytes, (step.error_message for step in stored.steps))
        running = (task for task in stored.open_tasks if task.follow_up_until is None)
        self.running: dict[int, Task] = {task.position: task for task in running}
        self.attached, self.in_process = set[int](), set(stored.in_process)
        self.ready, self.backoff = set[int](), set[int]()
        self.failures = self.tolerated = self.skipped = 0
        self._on_failure = stored.config.on_failure
        self.dependants: list[list[int]] = [[] for _ in self.resolved_steps]
        for resolved in self.resolved_steps:
            for dependency in resolved.depends_on:
                self.dependants[dependency].append(resolved.position)
        self._left = [0] * len(self.resolved_steps)  # by position: the dependencies that have not ended
        self.results_in_memory = ResultsInMemory(self.steps, stored.sources or [()] * len(self.steps))
        self.rebuild()

    # What may start

    @property
    def may_start(self) -> bool:
        state = self.state  # hot path: a property for the condition would cost a call
        if state.status is not _RUNNING or state.owner is None:
            return False
        return not self.failures or self._on_failure is _CONTINUE

    @property
    def will_start(self) -> bool:
        """True if new attempts may start as soon as the workflow has an owner. One that is parked has none."""
        return self.state.status is _RUNNING and not (self.failures and self._on_failure is not _CONTINUE)

    def wants_new_attempt(self, position: int) -> bool:
        return self.may_start and position in self.ready and position not in self.running

    def startable(self) -> list[int]:
        """Return the units that want a slot, in the order of the definition. If nothing may start: the orphans."""
        return sorted(self.ready) if self.may_start else self.orphans()

    def orphans(self) -> list[int]:
        """Return the units whose attempt an earlier process began, in the order of the definition."""
        return sorted(self.ready & self.running.keys())

    def begin_of_attempt(self, resolved: ResolvedStep, now: datetime) -> datetime:
        """Return when an attempt that begins *now* begins: not before its dependencies have ended.

        The process that recorded their ends may have had a clock that is ahead of this one. Which results the attempt
        uses depends on the order of these times, unless `run_if` requires all of them.
        """
        if resolved.run_if is RunIf.ALL_COMPLETED:
            return now
        ends = (self.steps[position].completed_at for position in resolved.depends_on)
        return max([now, *(end for end in ends if end is not None)])

    # Changes of the sets

    def rebuild(self) -> None:
        """Compute all sets from the statuses of the steps. Costs O(steps + edges)."""
        self.failures = self.tolerated = self.skipped = 0
        self.ready.clear()
        self.backoff.clear()
        self._on_failure = self.config.on_failure
        resolved_steps, steps, on_failure = self.resolved_steps, self.steps, self._on_failure
        ended = [has_ended(resolved, step, on_failure) for resolved, step in zip(resolved_steps, steps, strict=True)]
        for resolved in resolved_steps:
            step, needed = steps[resolved.position], resolved.depends_on
            left = self._left[resolved.position] = len(needed) - sum(map(ended.__getitem__, needed))
            if step.status is _PENDING:
                if not left:
                    self.ready.add(resolved.position)
                continue
            match step.status:
                case StepStatus.RUNNING:  # even if resume has put a dependency back to PENDING
                    self.note_running(step)
                case StepStatus.FAILED:
                    self.count_failure(resolved)
                case StepStatus.SKIPPED:
                    self.skipped += 1
        if self.state.failure is not None and self.state.status is _RUNNING:
            self.drain()

    def drain(self) -> None:
        """Let nothing start any more, as after a failure: the workflow fails as soon as nothing runs."""
        self.failures += 1
        self._on_failure = OnFailure.DRAIN

    def note_running(self, unit: StepState) -> None:
        """Add a RUNNING unit to the sets that it belongs to."""
        if unit.next_attempt_at is not None:
            self.backoff.add(unit.position)
            if unit.error_message is not None and unit.error_message.startswith(TENANT_BUDGET):
                self.ready.add(unit.position)  # asks again: the settings may have another budget by now
        elif unit.position not in self.attached:
            self.ready.add(unit.position)

    def count_failure(self, resolved: ResolvedStep) -> None:
        """Count the step, which is FAILED."""
        if resolved.optional:
            self.tolerated += 1
        else:
            self.failures += 1

    def attach(self, position: int, task: Task, *, in_process: bool) -> None:
        """Record that the unit's attempt runs in this process from now on."""
        self.ready.discard(position)
        self.backoff.discard(position)
        self.running[position] = task
        self.attached.add(position)
        if in_process:
            self.in_process.add(position)

    def pause_attempt(self, position: int) -> None:
        """Record that the unit's attempt runs in no process until the time of its next try."""
        self.attached.discard(position)
        self.in_process.discard(position)
        self.backoff.add(position)

    def detach(self, position: int) -> None:
        """Record that the unit's attempt has ended."""
        self.running.pop(position, None)
        self.attached.discard(position)
        self.in_process.discard(position)
        self.ready.discard(position)
        self.backoff.discard(position)

    def complete(self, position: int) -> list[int]:
        """Record that the step is COMPLETED. Return the positions that this makes ready. Costs O(its edges)."""
        self.results_in_memory.complete(position)
        newly: list[int] = []  # hot path: `list[int]()` takes twice as long
        left, steps = self._left, self.steps
        for dependant in self.dependants[position]:
            left[dependant] -= 1
            # A step that was skipped because of another dependency isn't PENDING any more.
            if not left[dependant] and steps[dependant].status is _PENDING:
                newly.append(dependant)
        self.ready.update(newly)
        return newly

    def end_without_success(self, position: int) -> list[int]:
        """Record that the step has ended without success. Return the PENDING dependants that it decides.

        An `all_completed` step can't run any more. The others wait until all their dependencies have ended.
        """
        decided, left, steps, resolved_steps = list[int](), self._left, self.steps, self.resolved_steps
        for dependant in self.dependants[position]:
            left[dependant] -= 1
            if left[dependant] and resolved_steps[dependant].run_if is not RunIf.ALL_COMPLETED:
                continue
            if steps[dependant].status is StepStatus.PENDING:
                decided.append(dependant)
        return decided

    # Events

    def emit(
        self, decision: Decision, now: datetime, kind: EventType, unit: StepState, actor: str = SERVICE, **data: Any
    ) -> None:
        if type(unit) is not StepState and isinstance(unit, ItemState):  # hot path: most are steps
            data = {"item": unit.item_key.item, **data}
        step_id = self.resolved_units[unit.position].step_id
        decision.emit(self.state, now, kind, actor, step_id=step_id, task_id=unit.task_id, data=data)
