"""Tracks which steps of a workflow can run, are running, or wait for their next attempt. It decides no status."""

from collections.abc import Collection, Sequence
from datetime import datetime

from stepwell.contract.enums import OnFailure, RunIf, StepStatus
from stepwell.lifecycle.kept_results import KeptResults
from stepwell.lifecycle.model import StepState, Task
from stepwell.lifecycle.run_if import has_ended
from stepwell.lifecycle.steps import ResolvedStep

_PENDING = StepStatus.PENDING  # hot path: an attribute of an enum costs 0.1 µs in Python 3.11


class StepTracker:
    """The sets of steps, by position, that the state machine reads.

    `ready`: the dependencies permit the step, and it waits for a slot. `running`: the step has an attempt.
    `attached`: the attempt runs in this process. An attempt of an earlier process isn't attached; its step is `ready`,
    so that the attempt continues here. `in_process`: the attempt works in its process, and not at a provider outside.
    `backoff`: the step is between two attempts; it is also `ready` once the time of the next attempt has come.

    `failures` counts the FAILED steps that make the workflow FAILED, `tolerated` the optional ones, and `skipped` the
    SKIPPED steps.

    *sources* lists for each step the positions that its mappings read from.
    """

    def __init__(
        self,
        plans: Sequence[ResolvedStep],
        steps: Sequence[StepState],
        open_tasks: Sequence[Task],
        sources: Sequence[Sequence[int]],
        in_process: Collection[int] = (),
        on_failure: OnFailure = OnFailure.DRAIN,
    ) -> None:
        self._plans, self._steps, self._on_failure = plans, steps, on_failure
        self.running: dict[int, Task] = {task.position: task for task in open_tasks}
        self.attached: set[int] = set()
        self.in_process: set[int] = set(in_process)
        self.ready: set[int] = set()
        self.backoff: set[int] = set()
        self.failures = self.tolerated = self.skipped = 0
        self._dependants: list[list[int]] = [[] for _ in plans]
        for plan in plans:
            for dependency in plan.depends_on:
                self._dependants[dependency].append(plan.position)
        self._left = [0] * len(plans)  # by position: the dependencies that have not ended
        self.kept_results = KeptResults(steps, sources)
        self.rebuild()

    def rebuild(self) -> None:
        """Compute all sets from the statuses of the steps. Costs O(steps + edges)."""
        self.failures = self.tolerated = self.skipped = 0
        self.ready.clear()
        self.backoff.clear()
        plans, steps, on_failure = self._plans, self._steps, self._on_failure
        ended = [has_ended(plan, step, on_failure) for plan, step in zip(plans, steps, strict=True)]
        for plan in plans:
            step, needed = steps[plan.position], plan.depends_on
            left = self._left[plan.position] = len(needed) - sum(map(ended.__getitem__, needed))
            if step.status is _PENDING:
                if not left:
                    self.ready.add(plan.position)
                continue
            match step.status:
                case StepStatus.RUNNING:  # even if resume has put a dependency back to PENDING
                    self.place_running(step)
                case StepStatus.FAILED:
                    self.count_failure(plan)
                case StepStatus.SKIPPED:
                    self.skipped += 1

    def place_running(self, step: StepState) -> None:
        if step.next_attempt_at is not None:
            self.backoff.add(step.position)
        elif step.position not in self.attached:
            self.ready.add(step.position)

    def count_failure(self, plan: ResolvedStep) -> None:
        """Count the step, which is FAILED."""
        if plan.optional:
            self.tolerated += 1
        else:
            self.failures += 1

    def startable(self, *, starting: bool) -> list[int]:
        """Return the steps that want a slot, in the order of the definition. Without *starting*, only the orphans."""
        return sorted(self.ready) if starting else self.orphans()

    def orphans(self) -> list[int]:
        """Return the steps whose attempt an earlier process began, in the order of the definition."""
        return sorted(self.ready & self.running.keys())

    def begin_of_attempt(self, plan: ResolvedStep, now: datetime) -> datetime:
        """Return when an attempt that begins *now* begins: not before its dependencies have ended.

        The process that recorded their ends may have had a clock that is ahead of this one. Which results the attempt
        uses depends on the order of these times, unless `run_if` requires all of them.
        """
        if plan.run_if is RunIf.ALL_COMPLETED:
            return now
        ends = (self._steps[position].completed_at for position in plan.depends_on)
        return max([now, *(end for end in ends if end is not None)])

    def attach(self, position: int, task: Task, *, in_process: bool) -> None:
        """Record that the step's attempt runs in this process from now on."""
        self.ready.discard(position)
        self.backoff.discard(position)
        self.running[position] = task
        self.attached.add(position)
        if in_process:
            self.in_process.add(position)

    def end(self, position: int) -> None:
        """Record that the step's attempt has ended."""
        self.running.pop(position, None)
        self.attached.discard(position)
        self.in_process.discard(position)
        self.ready.discard(position)

    def complete(self, position: int) -> list[int]:
        """Record that the step is COMPLETED. Return the positions that this makes ready. Costs O(its edges)."""
        self.kept_results.complete(position)
        newly, left, steps = list[int](), self._left, self._steps
        for dependant in self._dependants[position]:
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
        decided, left, steps, plans = list[int](), self._left, self._steps, self._plans
        for dependant in self._dependants[position]:
            left[dependant] -= 1
            if left[dependant] and plans[dependant].run_if is not RunIf.ALL_COMPLETED:
                continue
            if steps[dependant].status is StepStatus.PENDING:
                decided.append(dependant)
        return decided

    def dependants(self, position: int) -> list[int]:
        """Return the positions that depend directly on *position*."""
        return self._dependants[position]
