"""Which steps of a workflow could run, do run, or wait for their time. Bookkeeping only; it decides no status."""

from collections.abc import Sequence
from graphlib import TopologicalSorter

from stepwell.contract.enums import StepStatus
from stepwell.domain.model import StepState, Task
from stepwell.domain.steps import ResolvedStep


class StepTracker:
    """`ready`: dependencies done, waits for a slot. `running`: has an attempt under way. `attached`: of those, the
    ones that run in this process; the others were begun by an earlier one and are `ready` to be taken up again.
    `backoff`: between two attempts; once its time has come, `ready` as well. *sources* lists for each step the
    positions that its mappings read from.
    """

    def __init__(
        self,
        plans: Sequence[ResolvedStep],
        steps: Sequence[StepState],
        open_tasks: Sequence[Task],
        sources: Sequence[Sequence[int]],
    ) -> None:
        self._plans, self._steps, self._sources = plans, steps, sources
        self.running: dict[int, Task] = {task.position: task for task in open_tasks}
        self.attached: set[int] = set()
        self.ready: set[int] = set()
        self.backoff: set[int] = set()
        self.failures = self.skipped = 0
        self._dependants: list[list[int]] | None = None
        self._readers = [0] * len(steps)
        for step, read in zip(steps, sources, strict=True):
            if step.status is not StepStatus.COMPLETED:
                for position in read:
                    self._readers[position] += 1
        self.rebuild()
        for step in steps:
            self._forget_result(step)

    def rebuild(self) -> None:
        """Work everything out anew from the steps' statuses; costs O(steps + edges)."""
        self.failures = sum(step.status is StepStatus.FAILED for step in self._steps)
        self.skipped = sum(step.status is StepStatus.SKIPPED for step in self._steps)
        self.ready.clear()
        self.backoff.clear()
        self._sorter = TopologicalSorter({plan.position: plan.depends_on for plan in self._plans})
        self._sorter.prepare()
        while handed_out := self._sorter.get_ready():
            for position in handed_out:
                self._place(self._steps[position])

    def _place(self, step: StepState) -> None:
        match step.status:
            case StepStatus.COMPLETED:
                self._sorter.done(step.position)
            case StepStatus.PENDING:
                self.ready.add(step.position)
            case StepStatus.RUNNING if step.next_attempt_at is not None:
                self.backoff.add(step.position)
            case StepStatus.RUNNING if step.position not in self.attached:
                self.ready.add(step.position)

    def startable(self, *, starting: bool) -> list[int]:
        """The steps that want a slot, in the order of the definition."""
        return sorted(self.ready) if starting else self.orphans()

    def orphans(self) -> list[int]:
        """The steps whose attempt is to be taken up again, in the order of the definition."""
        return sorted(self.ready & self.running.keys())

    def open(self, position: int, task: Task) -> None:
        """An attempt starts in this process."""
        self.ready.discard(position)
        self.backoff.discard(position)
        self.running[position] = task
        self.attached.add(position)

    def close(self, position: int) -> None:
        """The step's attempt has ended."""
        self.running.pop(position, None)
        self.attached.discard(position)
        self.ready.discard(position)

    def complete(self, position: int) -> Sequence[int]:
        """The step is done: the positions that it makes ready. Costs O(its edges)."""
        for source in self._sources[position]:
            self._readers[source] -= 1
            self._forget_result(self._steps[source])
        self._forget_result(self._steps[position])
        self._sorter.done(position)
        newly = self._sorter.get_ready()
        self.ready.update(newly)
        return newly

    def wanted_results(self) -> list[int]:
        """Positions whose recorded result a mapping may still read, and which memory doesn't hold."""
        return [
            step.position
            for step in self._steps
            if step.status is StepStatus.COMPLETED and step.result is None and self._readers[step.position]
        ]

    def dependants(self, position: int) -> list[int]:
        if self._dependants is None:
            self._dependants = [[] for _ in self._plans]
            for plan in self._plans:
                for dependency in plan.depends_on:
                    self._dependants[dependency].append(plan.position)
        return self._dependants[position]

    def _forget_result(self, step: StepState) -> None:
        # A recorded result is in the database; in memory it stays only while a mapping may still read it.
        if not self._readers[step.position]:
            step.result = None
