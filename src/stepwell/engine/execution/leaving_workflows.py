"""The workflows that have left memory while attempts of theirs still end in this process."""

from collections.abc import Mapping
from typing import Final
from uuid import UUID

from anyio import move_on_after

from stepwell.engine.execution.active_workflow import ActiveWorkflow, RunningAttempt

_QUIET_S: Final = 10.0


class LeavingWorkflows:
    """The workflows that are not in memory any more, but have attempts that still end. *in_memory* are the others."""

    def __init__(self, in_memory: Mapping[UUID, ActiveWorkflow]) -> None:
        self._in_memory = in_memory
        self._leaving: set[ActiveWorkflow] = set()

    @property
    def ids(self) -> set[UUID]:
        return {each.workflow_id for each in self._leaving}

    def add(self, workflow: ActiveWorkflow) -> None:
        self._leaving.add(workflow)

    def remove(self, workflow: ActiveWorkflow) -> bool:
        """Remove the workflow, whose last attempt has ended. Return whether it was here."""
        was_here = workflow in self._leaving
        self._leaving.discard(workflow)
        return was_here

    def versions_of(self, workflow_id: UUID) -> list[ActiveWorkflow]:
        """Return the workflow as often as it has left memory and has attempts."""
        return [each for each in self._leaving if each.workflow_id == workflow_id]

    def attempts_of(self, workflow_id: UUID) -> Mapping[UUID, RunningAttempt]:
        """Return the workflow's attempts in this process, by task id, including those that end after it has left."""
        return {task_id: attempt for each in self._present(workflow_id) for task_id, attempt in each.attempts.items()}

    def all_attempts(self) -> list[RunningAttempt]:
        """Return all attempts in this process."""
        return [attempt for each in (*self._in_memory.values(), *self._leaving) for attempt in each.attempts.values()]

    async def wait_until_quiet(self, workflow_id: UUID) -> None:
        """Wait until no attempt of the workflow runs in this process."""
        while busy := [each for each in self._present(workflow_id) if each.attempts]:
            busy[0].quiet.clear()
            await busy[0].quiet.wait()

    async def becomes_quiet(self, workflow_id: UUID) -> bool:
        """Return whether no attempt of the workflow runs in this process any more, after some seconds at most."""
        with move_on_after(_QUIET_S):
            await self.wait_until_quiet(workflow_id)
            return True
        return False

    def _present(self, workflow_id: UUID) -> list[ActiveWorkflow]:
        """Return what is here of the workflow: in memory, and not in memory any more, but with attempts."""
        versions = self.versions_of(workflow_id)
        return [*versions, self._in_memory[workflow_id]] if workflow_id in self._in_memory else versions
