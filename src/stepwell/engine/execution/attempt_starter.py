"""Starts the attempts that wait for something: a provider, a file, a child process. Each has an asyncio task.

What must hold:
- An attempt reports its end once. Files that it has stored are deleted only if it hasn't succeeded, and only after its
  end is committed: until then, another process may take over the workflow, and with it these files.
- When the process stops, the cancellation of an attempt is not recorded: the next process continues it.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from functools import partial
from uuid import UUID

from anyio import CancelScope
from msgspec import Struct

from stepwell.contract.enums import TaskStatus
from stepwell.engine.attempts.attempt_control import AttemptControl
from stepwell.engine.attempts.input_resolver import PreparedAttempt
from stepwell.engine.attempts.runner import AttemptRunner
from stepwell.engine.dispatch.step_queue import StepQueue
from stepwell.engine.execution.active_workflow import ActiveWorkflow, RunningAttempt
from stepwell.engine.execution.checkpointer import Checkpointer, NotWritten
from stepwell.engine.execution.fail_fast_group import FailFastGroup
from stepwell.engine.execution.step_dispatcher import StepDispatcher
from stepwell.lifecycle.inputs import HeldBack, Input
from stepwell.lifecycle.model import Task


class AttemptStarter(Struct, eq=False):
    """Starts attempts. The workflows keep them, in `ActiveWorkflow.attempts`.

    *apply* applies an input to a workflow, and returns whether that has changed anything. *ended* is called when the
    asyncio task of an attempt has ended.
    """

    _runner: AttemptRunner
    _step_queue: StepQueue
    _dispatcher: StepDispatcher
    _checkpointer: Checkpointer
    _group: FailFastGroup
    _apply: Callable[[ActiveWorkflow, Input], bool]
    _ended: Callable[[ActiveWorkflow, UUID], None]

    def begin(self, workflow: ActiveWorkflow, task: Task, prepared: PreparedAttempt) -> None:
        """Begin to run an attempt that has a slot."""
        attempt = workflow.attempts[task.id]
        if prepared.values is None and task.provider is None:
            attempt.lend_slot(self._step_queue)
        attempt.control = self.make_control(workflow)
        if attempt.early_callback is not None:
            attempt.control.wake(attempt.early_callback)
        work = self._run(workflow, task, prepared, attempt, attempt.control)
        attempt.asyncio_task = self._group.spawn(work, f"attempt {task.id}", lambda _: self._ended(workflow, task.id))

    def make_control(self, workflow: ActiveWorkflow) -> AttemptControl:
        return AttemptControl(partial(self._apply, workflow), partial(self._flushed, workflow))

    async def _run(
        self,
        workflow: ActiveWorkflow,
        task: Task,
        prepared: PreparedAttempt,
        attempt: RunningAttempt,
        control: AttemptControl,
    ) -> None:
        if control.cancelled:
            return
        end = await self._runner.run(workflow, task, prepared, control)
        # The slot is released first, so that the start of a step that depends on this one is in the same batch.
        attempt.release_slot(self._step_queue)
        outcome = None if isinstance(end.outcome, HeldBack) else end.outcome  # nothing was sent
        self._dispatcher.attempt_finished(workflow, attempt, outcome)
        current = workflow.run.open_task(task.position)  # its status says how the attempt has ended
        recorded = end.outcome is not None and self._apply(workflow, end.outcome)
        if end.outcome is None and self._step_queue.closed:
            return  # the next process continues the attempt
        if recorded and current is not None and current.status is TaskStatus.RUNNING:
            return  # the provider is away: the attempt is tried again
        succeeded = recorded and current is not None and current.status is TaskStatus.COMPLETED
        if end.stored and not succeeded:
            await self._discard_when_committed(workflow, partial(self._runner.discard, task))
        elif end.has_answer:
            await self._discard_when_committed(workflow, partial(self._runner.discard_answer, task))

    async def _discard_when_committed(self, workflow: ActiveWorkflow, discard: Callable[[], Awaitable[None]]) -> None:
        """Call *discard*, which deletes files of an attempt, once its end is committed."""
        with CancelScope(shield=True), contextlib.suppress(NotWritten):
            await self._flushed(workflow)
            if not workflow.lost:
                await discard()

    def _flushed(self, workflow: ActiveWorkflow) -> asyncio.Future[None]:
        return self._checkpointer.flushed(workflow.workflow_id)
