"""The state of a workflow as its watcher knows it: the last responses of the API, and the events since then.

What must hold:
- An event changes a step only if the step's last response isn't newer. Events may be applied again, in their order.
- An answer replaces a step only if no newer event was applied.
- An event about an item changes nothing of its step. Answers count the items.
- A reason is shown only as long as the step has the status that it explains.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from graphlib import CycleError, TopologicalSorter
from typing import Any, Final, Self
from uuid import UUID

from stepwell.contract.enums import (
    TERMINAL_EVENTS,
    TERMINAL_STATUSES,
    EventType,
    SkipReason,
    StepStatus,
    WorkflowStatus,
)
from stepwell.contract.events import EventPublic
from stepwell.contract.reasons import Explanation, StepReason, WorkflowReason
from stepwell.contract.tasks import CostSums
from stepwell.contract.workflows import ItemCounts, WorkflowPublic, WorkflowStepPublic

_WORKFLOW_STATUSES: Final[Mapping[EventType, WorkflowStatus]] = {
    EventType.WORKFLOW_STARTED: WorkflowStatus.RUNNING,
    EventType.WORKFLOW_PAUSED: WorkflowStatus.PAUSED,
    EventType.WORKFLOW_RESUMED: WorkflowStatus.RUNNING,
    EventType.WORKFLOW_COMPLETED: WorkflowStatus.COMPLETED,
    EventType.WORKFLOW_FAILED: WorkflowStatus.FAILED,
    EventType.WORKFLOW_CANCELLED: WorkflowStatus.CANCELLED,
}
_STEP_STATUSES: Final[Mapping[EventType, StepStatus]] = {
    EventType.STEP_STARTED: StepStatus.RUNNING,
    EventType.STEP_RETRYING: StepStatus.RUNNING,
    EventType.STEP_REPEATING: StepStatus.RUNNING,
    EventType.STEP_WAITING: StepStatus.RUNNING,
    EventType.STEP_COMPLETED: StepStatus.COMPLETED,
    EventType.STEP_FAILED: StepStatus.FAILED,
    EventType.STEP_SKIPPED: StepStatus.SKIPPED,
    EventType.STEP_CANCELLED: StepStatus.CANCELLED,
}
_RESUMABLE = frozenset({StepStatus.FAILED, StepStatus.SKIPPED, StepStatus.CANCELLED})


@dataclass
class WatchedStep:
    """A step. `layer` is the index of its layer. `progress` is that of its remote job, from 0 to 1. `at` is the
    time of its last change.
    """

    step_id: str
    task_type: str
    layer: int
    status: StepStatus
    at: datetime
    optional: bool = False
    skip_reason: str | None = None
    provider: str | None = None
    model: str | None = None
    cost: CostSums | None = None
    retries: int = 0
    max_retries: int = 0
    error: str | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    next_attempt_at: datetime | None = None
    progress: float | None = None
    word: str | None = None
    items: ItemCounts | None = None
    last_reason: StepReason | None = None
    reason_status: StepStatus | None = None

    @property
    def is_done(self) -> bool:
        """True if the step counts as progress, by the rule of `progress` in the API."""
        match self.status:
            case StepStatus.SKIPPED:
                return self.skip_reason != SkipReason.FAILURE
            case StepStatus.FAILED:
                return self.optional
        return self.status is StepStatus.COMPLETED

    @property
    def part_done(self) -> float:
        """The progress of the step: 0 or 1, or the part of its items that is COMPLETED or skipped."""
        if self.is_done:
            return 1.0
        items = self.items
        return 0.0 if items is None or not items.total else (items.completed + items.skipped) / items.total

    @property
    def reason(self) -> StepReason | None:
        return self.last_reason if self.reason_status is self.status else None

    def refresh(self, step: WorkflowStepPublic) -> None:
        self.cost, self.model, self.items = step.cost, step.model, step.items
        if step.items is not None:
            self.retries = step.retry_count
        if step.updated_at < self.at:
            return
        self.at, self.status, self.provider = step.updated_at, step.status, step.provider
        self.retries, self.max_retries, self.error = step.retry_count, step.max_retries, step.error_message
        self.started_at, self.completed_at = step.started_at, step.completed_at
        self.next_attempt_at, self.skip_reason = step.next_attempt_at, step.skip_reason
        if step.status is not StepStatus.RUNNING:
            self.progress = self.word = None

    def apply(self, event: EventPublic) -> None:
        if event.at < self.at or event.data.get("item") is not None:
            return
        if event.type is EventType.STEP_PROGRESS:
            self.progress, self.word = _progress(event.data.get("progress")), _text(event.data.get("word"))
            return
        status = _STEP_STATUSES.get(event.type)
        if status is None:
            return
        self.at, self.status = event.at, status
        self.progress = self.word = self.last_reason = None
        if event.type is EventType.STEP_STARTED:
            self._start_attempt(event)
        elif event.type is EventType.STEP_RETRYING:
            self.error, self.next_attempt_at = _text(event.data.get("error")), _time(event.data.get("next_attempt_at"))
        elif status is StepStatus.RUNNING:
            self.error, self.next_attempt_at, self.started_at = None, None, self.started_at or event.at
        else:
            self.next_attempt_at, self.completed_at = None, event.at
            self.error, self.skip_reason = _text(event.data.get("error")), _text(event.data.get("reason"))

    def _start_attempt(self, event: EventPublic) -> None:
        provider = _text(event.data.get("provider"))
        if self.next_attempt_at is not None and provider == self.provider:
            self.retries += 1
        self.provider, self.next_attempt_at, self.completed_at = provider, None, None
        self.started_at = self.started_at or event.at

    def hold_back(self, at: datetime) -> None:
        """Return the step to PENDING, because the workflow starts nothing now."""
        if at >= self.at:
            self.at, self.status, self.next_attempt_at = at, StepStatus.PENDING, None

    def reset(self, at: datetime) -> None:
        """Return the step to PENDING by resume, if it has ended without success."""
        if at >= self.at and self.status in _RESUMABLE:
            self.at, self.status, self.error = at, StepStatus.PENDING, None
            self.retries, self.started_at, self.completed_at, self.skip_reason = 0, None, None, None


@dataclass
class WatchedWorkflow:
    """A workflow with its steps, in the order of the definition. `layers` holds the same steps by their layers."""

    id: UUID
    name: str
    status: WorkflowStatus
    at: datetime
    steps: dict[str, WatchedStep] = field(default_factory=dict)
    layers: list[list[WatchedStep]] = field(default_factory=list)
    cost: CostSums | None = None
    error: str | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    reason: WorkflowReason | None = None
    is_deleted: bool = False

    @classmethod
    def of(cls, workflow: WorkflowPublic) -> Self:
        """Return the state of *workflow*, a response of the API that has its steps."""
        steps = workflow.steps or []
        numbers = _layer_numbers({step.step_id: step.dependencies for step in steps})
        state = cls(workflow.id, workflow.name, workflow.status, workflow.updated_at)
        state.layers = [[] for _ in range(max(numbers.values(), default=-1) + 1)]
        for step in steps:
            layer = numbers[step.step_id]
            new = WatchedStep(step.step_id, step.task_type, layer, step.status, step.updated_at, step.optional)
            state.steps[step.step_id] = new
            state.layers[layer].append(new)
        state.refresh(workflow)
        return state

    @property
    def ended(self) -> bool:
        return self.status in TERMINAL_STATUSES

    def refresh(self, workflow: WorkflowPublic) -> None:
        """Take over a response of the API. An older response changes only what events don't have: costs and models."""
        self.name, self.cost, self.is_deleted = workflow.name, workflow.cost, workflow.is_deleted
        if workflow.updated_at >= self.at:
            self.at, self.status, self.error = workflow.updated_at, workflow.status, workflow.error_message
            self.started_at, self.completed_at = workflow.started_at, workflow.completed_at
        for step in workflow.steps or ():
            self.steps[step.step_id].refresh(step)

    def explain(self, explanation: Explanation) -> None:
        """Take over the reasons of a response. Steps that aren't in it have none."""
        self.reason = explanation.reason if explanation.status is self.status else None
        reasons = {step.step_id: step for step in explanation.steps}
        for step_id, step in self.steps.items():
            explained = reasons.get(step_id)
            step.last_reason = None if explained is None else explained.reason
            step.reason_status = None if explained is None else explained.status

    def apply(self, event: EventPublic) -> None:
        """Take over an event. Events of unknown types and steps change nothing."""
        step = None if event.step_id is None else self.steps.get(event.step_id)
        if step is not None:
            step.apply(event)
        held_back = event.data.get("held_back")
        if held_back is True and step is not None:
            step.hold_back(event.at)
        for step_id in _step_ids(held_back):
            if (waiting := self.steps.get(step_id)) is not None:
                waiting.hold_back(event.at)
        if event.type is EventType.WORKFLOW_RESUMED:
            stay = _step_ids(event.data.get("still_skipped")) | _step_ids(event.data.get("still_failed"))
            for step_id, each in self.steps.items():
                if step_id not in stay:
                    each.reset(event.at)
        if (status := _WORKFLOW_STATUSES.get(event.type)) is not None and event.at >= self.at:
            self._become(status, event)

    def _become(self, status: WorkflowStatus, event: EventPublic) -> None:
        self.at, self.status, self.reason = event.at, status, None
        self.completed_at = event.at if event.type in TERMINAL_EVENTS else None
        self.error = _text(event.data.get("reason"))
        if event.type is EventType.WORKFLOW_STARTED:
            self.started_at = event.at

    def counts(self) -> dict[StepStatus, int]:
        """Return the number of steps in each status that a step has."""
        counts: dict[StepStatus, int] = {}
        for step in self.steps.values():
            counts[step.status] = counts.get(step.status, 0) + 1
        return counts

    def progress(self) -> float:
        """Return the progress of the workflow, from 0 to 1."""
        if self.status is WorkflowStatus.COMPLETED:
            return 1.0
        return sum(step.part_done for step in self.steps.values()) / len(self.steps) if self.steps else 0.0


def _layer_numbers(dependencies: Mapping[str, Iterable[str]]) -> dict[str, int]:
    """Return the layer of each step, from 0: one more than the highest layer of its dependencies."""
    layers: dict[str, int] = {}
    try:
        order = list(TopologicalSorter(dependencies).static_order())
    except CycleError:  # the service refuses cycles
        return dict.fromkeys(dependencies, 0)
    for step_id in order:
        layers[step_id] = 1 + max((layers[each] for each in dependencies.get(step_id, ())), default=-1)
    return layers


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _step_ids(value: Any) -> set[str]:
    return set(map(str, value)) if isinstance(value, list) else set()


def _progress(value: Any) -> float | None:
    return min(1.0, max(0.0, float(value))) if isinstance(value, int | float) else None


def _time(value: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
