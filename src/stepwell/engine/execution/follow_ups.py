"""Ends the remote jobs of abandoned attempts, each in an asyncio task.

What must hold:
- A follow-up begins when its attempt has ended in this process: until then the attempt may still get a job.
- A follow-up reports once, and only to a workflow that is in memory.
- A follow-up that is ended without a report is begun again by the next process that claims the workflow.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from uuid import UUID

from anyio import move_on_after
from msgspec import Struct

from stepwell.contract.enums import CancelReceipt
from stepwell.engine.attempts.attempt_control import AttemptControl
from stepwell.engine.attempts.runner import AttemptRunner
from stepwell.engine.execution.active_workflow import ActiveWorkflow, RunningAttempt
from stepwell.engine.execution.fail_fast_group import FailFastGroup
from stepwell.lifecycle.inputs import FollowUpEnded, Input
from stepwell.ports.clock import Clock


class FollowUps(Struct, eq=False):
    """Runs follow-ups. The workflows keep them, in `ActiveWorkflow.follow_ups`.

    *apply* applies an input to a workflow. *make_control* makes the control of an attempt of a workflow.
    """

    _runner: AttemptRunner
    _clock: Clock
    _group: FailFastGroup
    _apply: Callable[[ActiveWorkflow, Input], bool]
    _make_control: Callable[[ActiveWorkflow], AttemptControl]
    closed: bool = False  # for good: no follow-up begins any more

    def begin(self, workflow: ActiveWorkflow, position: int, task_id: UUID) -> None:
        """Begin to follow the attempt up, unless an asyncio task already does."""
        if self.closed or task_id in workflow.follow_ups:
            return
        control = self._make_control(workflow)
        follow_up = workflow.follow_ups[task_id] = RunningAttempt(control=control)
        work, ended = self._run(workflow, position, task_id, control), partial(self._ended, workflow, task_id)
        follow_up.asyncio_task = self._group.spawn(work, f"follow up {task_id}", ended)

    def end(self, workflow: ActiveWorkflow) -> None:
        """Stop the workflow's follow-ups. The next process that has the workflow continues them."""
        for follow_up in workflow.follow_ups.values():
            if follow_up.asyncio_task is not None:
                follow_up.asyncio_task.cancel()
        workflow.follow_ups.clear()

    async def _run(self, workflow: ActiveWorkflow, position: int, task_id: UUID, control: AttemptControl) -> None:
        # Wait for the attempt, because the provider's answer to it says whether there is a job to end.
        if (attempt := workflow.attempts.get(task_id)) is not None and attempt.asyncio_task is not None:
            await asyncio.wait({attempt.asyncio_task})
        if (task := workflow.run.remote.followed_up.get(task_id)) is None or task.follow_up_until is None:
            return
        outcome = FollowUpEnded(position, task_id, CancelReceipt.UNKNOWN)
        with move_on_after((task.follow_up_until - self._clock.now()).total_seconds()):
            outcome = await self._runner.follow_up(workflow, task, control)
        self._apply(workflow, outcome)

    def _ended(self, workflow: ActiveWorkflow, task_id: UUID, asyncio_task: asyncio.Task[None]) -> None:
        if (follow_up := workflow.follow_ups.get(task_id)) is not None and follow_up.asyncio_task is asyncio_task:
            del workflow.follow_ups[task_id]
