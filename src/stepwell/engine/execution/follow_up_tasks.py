"""Given-up attempts whose jobs are followed up by this process, each in a task of the scheduler's group."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Protocol
from uuid import UUID

from anyio import move_on_after

from stepwell.contract.enums import CancelReceipt
from stepwell.domain.lifecycle.inputs import FollowUpEnded
from stepwell.engine.attempts.runner import AttemptRunner
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.engine.execution.running_attempt import AttemptControl, RunningAttempt, Runs
from stepwell.ports.clock import Clock

Spawn = Callable[[Coroutine[Any, Any, None], str, Callable[[asyncio.Task[None]], None]], asyncio.Task[None]]


class Scheduled(Runs, Protocol):
    """The scheduler, as far as following up goes."""

    async def until_over(self, workflow_id: UUID, task_id: UUID) -> None:
        """Until the attempt has ended in this process."""

    def spawn(
        self, work: Coroutine[Any, Any, None], name: str, done: Callable[[asyncio.Task[None]], None]
    ) -> asyncio.Task[None]:
        """Run *work* in the group, and hand its task to *done* at its end."""


class FollowUpTasks:
    def __init__(self, scheduler: Scheduled, runner: AttemptRunner, clock: Clock) -> None:
        self._scheduler, self._runner, self._clock = scheduler, runner, clock
        self._lives: dict[UUID, dict[UUID, RunningAttempt]] = {}  # workflow id -> task id

    def find(self, workflow_id: UUID, task_id: UUID) -> RunningAttempt | None:
        return self._lives.get(workflow_id, {}).get(task_id)

    def begin(self, handle: ActiveWorkflow, position: int, task_id: UUID) -> None:
        if self._scheduler.stopping or self.find(handle.workflow_id, task_id) is not None:
            return
        live = RunningAttempt(None)
        self._lives.setdefault(handle.workflow_id, {})[task_id] = live
        work, ended = self._follow(handle, position, task_id, live), partial(self._ended, handle.workflow_id, live)
        live.task = self._scheduler.spawn(work, f"follow up {task_id}", ended)

    def end(self, workflow_id: UUID | None = None) -> None:
        """Let go of what a workflow is followed up for, or of all; the next process that has it goes on."""
        # Out of the books at once: it may be this process that has it next.
        for ending in [workflow_id] if workflow_id is not None else list(self._lives):
            for live in self._lives.pop(ending, {}).values():
                if live.task is not None:
                    live.task.cancel()

    async def _follow(self, handle: ActiveWorkflow, position: int, task_id: UUID, live: RunningAttempt) -> None:
        # It may be about to hear from the provider, and then there is a job to end, or none.
        await self._scheduler.until_over(handle.workflow_id, task_id)
        if (task := handle.run.followed_up(task_id)) is None or task.follow_up_until is None:
            return
        outcome = FollowUpEnded(position, task_id, CancelReceipt.UNKNOWN)
        with move_on_after((task.follow_up_until - self._clock.now()).total_seconds()):
            outcome = await self._runner.follow_up(handle, task, AttemptControl(self._scheduler, handle, live))
        if self._scheduler.handles.get(handle.workflow_id) is handle:
            self._scheduler.feed(handle, outcome)

    def _ended(self, workflow_id: UUID, live: RunningAttempt, task: asyncio.Task[None]) -> None:
        lives = self._lives.get(workflow_id, {})
        for task_id in [task_id for task_id, known in lives.items() if known is live]:
            del lives[task_id]
        if not lives:
            self._lives.pop(workflow_id, None)
        if not task.cancelled():
            task.result()
