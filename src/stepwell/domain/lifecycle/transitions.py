"""The parts that the transitions of `lifecycle` are made of: settle, finish, cancel, hold back, skip."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from stepwell.domain.definition import ResolvedStep, WorkflowConfig
from stepwell.domain.lifecycle.decision import Decision, copied
from stepwell.domain.lifecycle.inputs import SERVICE, CancelAttempt, DeadlineAt, FollowUp
from stepwell.domain.lifecycle.step_tracker import StepTracker
from stepwell.domain.model import (
    CancelReceipt,
    EventType,
    OnFailure,
    ProviderType,
    StepState,
    StepStatus,
    Task,
    TaskStatus,
    WorkflowState,
    WorkflowStatus,
)
from stepwell.domain.webhooks.delivery import deliveries

_HERE = (None, ProviderType.LOCAL)  # what these do needs nobody else to be ended
# How long the end of a job is waited for that nobody needs any more.
_FOLLOW_UP_FOR = timedelta(hours=1)


class Transitions:
    """A workflow in memory. *steps* and *plans* are in the order of the definition; *open_tasks* are those of
    RUNNING steps, and those that are to be followed up; *sources* lists for each step the positions that its mappings
    read from.
    """

    def __init__(
        self,
        state: WorkflowState,
        config: WorkflowConfig,
        plans: Sequence[ResolvedStep],
        steps: Sequence[StepState],
        open_tasks: Sequence[Task] = (),
        sources: Sequence[Sequence[int]] | None = None,
        *,
        suppress_subtask_events: bool = True,
        tenant: str | None = None,
    ) -> None:
        self.state, self.config, self.plans, self.steps = state, config, plans, steps
        self._tells_steps, self._tenant = not suppress_subtask_events, tenant
        self._followed_up = {task.id: task for task in open_tasks if task.follow_up_until is not None}
        under_way = [task for task in open_tasks if task.follow_up_until is None]
        self._frontier = StepTracker(plans, steps, under_way, sources or [()] * len(steps))

    @property
    def starting(self) -> bool:
        """Whether new steps may start."""
        draining = self._frontier.failures and self.config.on_failure is not OnFailure.CONTINUE
        return self.state.status is WorkflowStatus.RUNNING and not draining

    @property
    def active(self) -> bool:
        """Whether it needs a process at all."""
        return self.state.status is WorkflowStatus.RUNNING or bool(self._frontier.running or self._followed_up)

    def under_way(self, position: int) -> bool:
        """Whether the step has an attempt, in this process or begun by an earlier one."""
        return position in self._frontier.running

    def open_task(self, position: int) -> Task | None:
        """The step's attempt that is under way."""
        return self._frontier.running.get(position)

    def waits(self, position: int) -> bool:
        """Whether the step wants a slot for an attempt that has not begun."""
        return self.starting and position in self._frontier.ready and not self.under_way(position)

    def orphans(self) -> list[int]:
        """Positions whose attempt, begun by an earlier process, waits to be taken up again."""
        return self._frontier.orphans()

    def open_tasks(self) -> list[Task]:
        """Copies of the attempts that are under way, and of those that are followed up."""
        return [copied(task) for task in (*self._frontier.running.values(), *self._followed_up.values())]

    def wanted_results(self) -> list[int]:
        """Positions of COMPLETED steps whose stored result must be put into `steps` before it runs."""
        return self._frontier.wanted_results()

    def _settle(self, decision: Decision, now: datetime) -> None:
        """Turn the status where nothing is left to wait for."""
        left = len(self.steps) - self.state.completed_steps
        if not left:
            self._finish(decision, WorkflowStatus.COMPLETED, EventType.WORKFLOW_COMPLETED, SERVICE, now)
        elif self._frontier.failures and not self._frontier.running:
            all_decided = left == self._frontier.failures + self._frontier.skipped
            if all_decided or not self.starting:
                self._finish(decision, WorkflowStatus.FAILED, EventType.WORKFLOW_FAILED, SERVICE, now)

    def _finish(self, decision: Decision, status: WorkflowStatus, kind: EventType, actor: str, now: datetime) -> None:
        state = self.state
        state.status, state.completed_at, state.timeout_left_s = status, now, None
        self._set_deadline(decision, now, None)
        reason = {"reason": state.failure} if state.failure else {}
        decision.tell(state, now, kind, actor, data=reason)

    def _end_running(self, decision: Decision, reason: str, now: datetime) -> None:
        """FAILED for a reason that is no step's; what has ended already stays as it is."""
        if self.state.status is not WorkflowStatus.RUNNING and not self._frontier.running:
            return
        self.state.failure = reason
        self._cancel_running(decision, SERVICE, now)
        for position in sorted(self._frontier.backoff):
            self._frontier.ready.discard(position)
            self._cancel_step(decision, self.steps[position], SERVICE, now)
        self._frontier.backoff.clear()
        self._finish(decision, WorkflowStatus.FAILED, EventType.WORKFLOW_FAILED, SERVICE, now)

    def _cancel_all(self, decision: Decision, actor: str, now: datetime) -> None:
        self._cancel_running(decision, actor, now)
        for step in self.steps:
            if step.status not in (StepStatus.COMPLETED, StepStatus.CANCELLED):
                self._cancel_step(decision, step, actor, now)
        self._frontier.rebuild()
        self._finish(decision, WorkflowStatus.CANCELLED, EventType.WORKFLOW_CANCELLED, actor, now)

    def _cancel_running(self, decision: Decision, actor: str, now: datetime) -> None:
        for position, task in sorted(self._frontier.running.items()):
            if position in self._frontier.attached:
                decision.effects.append(CancelAttempt(position, task.id))
            task.status, task.completed_at = TaskStatus.CANCELLED, now
            if task.sent is not None:
                self._follow_up(decision, task, now)
            elif task.provider not in _HERE:
                task.cancel_receipt = CancelReceipt.NEVER_STARTED
            decision.record_task(task)
            self._frontier.close(position)
            self._cancel_step(decision, self.steps[position], actor, now)

    def _follow_up(self, decision: Decision, task: Task, now: datetime) -> None:
        """The attempt is given up, with a job at a provider, or perhaps with one."""
        task.cancel_receipt, task.follow_up_until = CancelReceipt.UNKNOWN, now + _FOLLOW_UP_FOR
        self._followed_up[task.id] = task
        decision.effects.append(FollowUp(task.position, task.id))

    def _cancel_step(self, decision: Decision, step: StepState, actor: str, now: datetime) -> None:
        step.status, step.next_attempt_at, step.completed_at = StepStatus.CANCELLED, None, now
        decision.record(step, now)
        self._tell_step(decision, now, EventType.STEP_CANCELLED, step, actor=actor)

    def _hold_back(self, decision: Decision, now: datetime) -> dict[str, Any]:
        """What the event that tells of it says."""
        held = sorted(self._frontier.backoff)
        for position in held:
            self.steps[position].status, self.steps[position].next_attempt_at = StepStatus.PENDING, None
            decision.record(self.steps[position], now)
        self._frontier.ready.update(held)
        self._frontier.backoff.clear()
        return {"held_back": [self.plans[position].step_id for position in held]} if held else {}

    def _skip_dependants(self, decision: Decision, position: int, now: datetime) -> None:
        stack = list(self._frontier.dependants(position))
        while stack:
            step = self.steps[stack.pop()]
            if step.status is StepStatus.PENDING:
                step.status, step.completed_at = StepStatus.SKIPPED, now
                self._frontier.skipped += 1
                decision.record(step, now)
                self._tell_step(decision, now, EventType.STEP_SKIPPED, step)
                stack += self._frontier.dependants(step.position)

    def _close_task(self, position: int, task_id: UUID, status: TaskStatus, now: datetime) -> Task | None:
        """The step's own attempt, ended; None if the input tells of another, which a cancel has overtaken."""
        task = self._frontier.running.get(position)
        if task is None or task.id != task_id:
            return None
        self._frontier.close(position)
        task.status, task.completed_at = status, now
        return task

    def _set_deadline(self, decision: Decision, now: datetime, seconds: float | None) -> None:
        at = None if seconds is None else now + timedelta(seconds=seconds)
        if at != self.state.deadline_at:
            self.state.deadline_at = at
            decision.effects.append(DeadlineAt(at))

    def _tell_step(
        self,
        decision: Decision,
        now: datetime,
        kind: EventType,
        step: StepState,
        actor: str = SERVICE,
        **data: Any,
    ) -> None:
        step_id = self.plans[step.position].step_id
        decision.tell(self.state, now, kind, actor, step_id=step_id, task_id=step.task_id, data=data)

    def _open_decision(self) -> Decision:
        return Decision(self.state.owner, self.state.epoch, self.state.last_event, self.state)

    def _close_decision(self, decision: Decision, now: datetime) -> Decision:
        if decision.has_rows:
            self.state.updated_at = now
            if not self.active:
                self.state.owner = None
            decision.workflow = copied(self.state)
            if self.state.webhook_url is not None:
                decision.deliveries = deliveries(
                    decision.events, self.state.webhook_url, self._tenant, steps=self._tells_steps
                )
        return decision
