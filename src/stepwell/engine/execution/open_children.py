"""The sub-workflows of the parents in memory, and the checks of their stored statuses that are to be made.

scheduler, other processes, attempts ──► `OpenChildren` ──► `ChildChecker`, which makes the checks
"""

import asyncio
from collections.abc import Mapping
from uuid import UUID

from msgspec import Struct, field

from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.engine.execution.workflow_queue import WorkflowQueue
from stepwell.lifecycle.effects import PauseOrResumeChild
from stepwell.ports.processes import CommandListener


class ChildCheck(Struct, frozen=True):
    """A check of the stored status of an attempt's sub-workflow.

    The check also pauses the sub-workflow if `paused` is true, and resumes it if it is false.
    """

    position: int
    task_id: UUID
    paused: bool | None = None

    def without_change(self) -> "ChildCheck":
        return ChildCheck(self.position, self.task_id)


class ChildrenOfParent(Struct, eq=False):
    """The sub-workflows of one parent that have not ended, by id. `asyncio_task` makes the checks in `to_do`.

    `queued`: the parent waits for `asyncio_task` to begin.
    """

    parent: ActiveWorkflow
    open: dict[UUID, ChildCheck] = field(default_factory=dict)
    to_do: dict[UUID, ChildCheck] = field(default_factory=dict)
    queued: bool = False
    asyncio_task: asyncio.Task[None] | None = None


class OpenChildren(CommandListener):
    """The sub-workflows of the parents in *workflows*, those in memory. `to_check` has the parents to be checked."""

    def __init__(self, workflows: Mapping[UUID, ActiveWorkflow], queue: WorkflowQueue) -> None:
        self._workflows, self._queue = workflows, queue
        self._by_parent: dict[UUID, ChildrenOfParent] = {}
        self.to_check: asyncio.Queue[ChildrenOfParent] = asyncio.Queue()

    def add(self, parent: ActiveWorkflow, child_id: UUID, check: ChildCheck) -> None:
        """Watch a sub-workflow from now on, unless its parent has left memory. It may not exist yet."""
        if self._workflows.get(parent.workflow_id) is parent:
            if (children := self._by_parent.get(parent.workflow_id)) is None:
                children = self._by_parent[parent.workflow_id] = ChildrenOfParent(parent)
            children.open[child_id] = check

    def pause_or_resume(self, parent: ActiveWorkflow, effect: PauseOrResumeChild) -> None:
        """Pause or resume a sub-workflow with its parent. Report that this is done, or that it has ended."""
        check = ChildCheck(effect.position, effect.task_id, effect.paused)
        self.add(parent, effect.child, check)
        self.check(parent, effect.child, check)

    def child_ended(self, parent_id: UUID, child_id: UUID | None = None) -> None:
        """Check the sub-workflow if its parent is in memory. Without *child_id*, check all of the parent.

        A parent that isn't in memory may be parked, and is due then.
        """
        parent, children = self._workflows.get(parent_id), self._by_parent.get(parent_id)
        if parent is None:
            self._queue.look_for_due()
        if parent is None or children is None:
            return
        for each in [child_id] if child_id is not None else list(children.open):
            if (check := children.open.get(each)) is not None:
                self.check(parent, each, children.to_do.get(each, check.without_change()))

    def resubscribed(self) -> None:
        """Check all sub-workflows, because messages about them may have got lost."""
        for parent_id in list(self._by_parent):
            self.child_ended(parent_id)

    def check(self, parent: ActiveWorkflow, child_id: UUID, check: ChildCheck) -> None:
        """Check a sub-workflow soon, in the asyncio task of its parent."""
        if (children := self._by_parent.get(parent.workflow_id)) is not None:
            children.to_do[child_id] = check
            self.enqueue(children)

    def enqueue(self, children: ChildrenOfParent) -> None:
        """Let the checks of a parent be made, unless they already are, or the parent has left memory."""
        is_current = self._by_parent.get(children.parent.workflow_id) is children
        if children.to_do and is_current and children.asyncio_task is None and not children.queued:
            children.queued = True
            self.to_check.put_nowait(children)

    def forget(self, parent: ActiveWorkflow) -> None:
        """Forget the sub-workflows of *parent*. The next process that loads it checks all of them."""
        children = self._by_parent.pop(parent.workflow_id, None)
        if children is not None:
            children.to_do.clear()
            if children.asyncio_task is not None:
                children.asyncio_task.cancel()
        if parent.run.has_children and parent.run.state.owner is None:
            self._queue.look_for_due()  # a sub-workflow may have ended since the last check
