"""The sub-workflows of a simulated workflow."""

from uuid import UUID

from stepwell.contract.enums import WorkflowStatus
from stepwell.lifecycle.model import Task

_OPEN = (WorkflowStatus.RUNNING, WorkflowStatus.PAUSED)


class Children:
    """The sub-workflows by id: their statuses, and the position and the run of repeat that each was created for."""

    def __init__(self) -> None:
        self.statuses: dict[UUID, WorkflowStatus] = {}
        self._keys: dict[UUID, tuple[int, int]] = {}

    def create(self, child: UUID, key: tuple[int, int]) -> None:
        """Create the sub-workflow, or continue it; each key has one."""
        assert (child in self._keys) == (key in self._keys.values())
        assert self._keys.setdefault(child, key) == key
        self.statuses[child] = WorkflowStatus.RUNNING

    def is_open(self, task: Task) -> bool:
        """Return whether the sub-workflow of the task may still end."""
        return task.remote_id is not None and self.statuses[UUID(task.remote_id)] in _OPEN

    def pause(self, child: UUID, *, paused: bool) -> None:
        if self.statuses[child] in _OPEN:
            self.statuses[child] = WorkflowStatus.PAUSED if paused else WorkflowStatus.RUNNING

    def end(self, task: Task, status: WorkflowStatus) -> None:
        """End the sub-workflow of the task, if it was created."""
        if task.remote_id is not None:
            self.statuses[UUID(task.remote_id)] = status

    def stop(self, child: UUID | None, status: WorkflowStatus) -> None:
        """Stop the sub-workflow if there is one."""
        if child is not None and child in self.statuses:
            self.statuses[child] = status
