"""Lets sub-workflows follow their parents, and reports their ends, by looks at their stored statuses."""

import asyncio
from functools import partial
from typing import Final
from uuid import UUID

import structlog
from msgspec import Struct, field
from msgspec.structs import replace

from stepwell.contract.enums import WorkflowStatus
from stepwell.domain.lifecycle.effects import PauseChild
from stepwell.domain.lifecycle.inputs import SERVICE, AttemptFailed, ChildFollowed, Pause, Succeeded
from stepwell.domain.model import Task
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.engine.execution.scheduler import Scheduler, WorkflowListener
from stepwell.engine.execution.workflow_admission import WorkflowAdmission
from stepwell.engine.sub_workflows.child_ends import ChildEnds, failure
from stepwell.engine.sub_workflows.stored_children import ENDED, StoredChildren

log = structlog.get_logger()

_PAGE: Final = 200  # sub-workflows that one statement looks at


class Look(Struct, frozen=True):
    """A look at the sub-workflow of an attempt. With `paused`, it is then paused or resumed."""

    position: int
    task_id: UUID
    paused: bool | None = None


class _Looks(Struct):
    """The sub-workflows of one parent, by id: all that are open, and those that its task has yet to look at."""

    open: dict[UUID, Look] = field(default_factory=dict)
    waiting: dict[UUID, Look] = field(default_factory=dict)
    task: asyncio.Task[None] | None = None


class ChildFollower(WorkflowListener):
    """Follows the sub-workflows of all parents in memory."""

    def __init__(
        self, scheduler: Scheduler, admission: WorkflowAdmission, children: StoredChildren, ends: ChildEnds
    ) -> None:
        self._scheduler, self._admission, self._children, self._ends = scheduler, admission, children, ends
        self._looks: dict[UUID, _Looks] = {}

    def add(self, parent: ActiveWorkflow, child_id: UUID, look: Look) -> None:
        """Follow a sub-workflow from now on, unless its parent has left memory. It may not exist yet."""
        if self._scheduler.workflows.get(parent.workflow_id) is parent:
            self._looks.setdefault(parent.workflow_id, _Looks()).open[child_id] = look

    def follow(self, parent: ActiveWorkflow, effect: PauseChild) -> None:
        """Let a sub-workflow follow its parent, and report that it has, or that it has ended."""
        look = Look(effect.position, effect.task_id, effect.paused)
        self.add(parent, effect.child, look)
        self.look_at(parent, effect.child, look)

    def child_ended(self, parent_id: UUID, child_id: UUID | None = None) -> None:
        """Look at the sub-workflow if its parent is in memory; without *child_id* at all of the parent.

        If it is parked, it is due now.
        """
        parent, looks = self._scheduler.workflows.get(parent_id), self._looks.get(parent_id)
        if parent is None:
            self._admission.look_for_due()
        if parent is None or looks is None:
            return
        for each in [child_id] if child_id is not None else list(looks.open):
            if (look := looks.open.get(each)) is not None:
                self.look_at(parent, each, looks.waiting.get(each, Look(look.position, look.task_id)))

    def look_at_all(self) -> None:
        """Look at all sub-workflows, because messages about them may have got lost."""
        for parent_id in list(self._looks):
            self.child_ended(parent_id)

    def workflow_unregistered(self, workflow: ActiveWorkflow) -> None:
        looks = self._looks.pop(workflow.workflow_id, None)  # the next process that loads it looks at all of them
        if looks is not None and looks.task is not None:
            looks.task.cancel()
        if (run := workflow.flow_run) is not None and run.has_children and run.state.owner is None:
            self._admission.look_for_due()  # a sub-workflow may have ended since the last look

    def look_at(self, parent: ActiveWorkflow, child_id: UUID, look: Look) -> None:
        """Look at a sub-workflow soon, in the task of its parent."""
        looks = self._looks.get(parent.workflow_id)
        if looks is None or self._scheduler.stopping:
            return
        looks.waiting[child_id] = look
        if looks.task is None:
            name, ended = f"sub-workflows of {parent.workflow_id}", partial(self._task_ended, parent, looks)
            looks.task = self._scheduler.spawn(self._run(parent, looks), name, ended)

    async def _run(self, parent: ActiveWorkflow, looks: _Looks) -> None:
        while looks.waiting:
            page = {child_id: looks.waiting.pop(child_id) for child_id in list(looks.waiting)[:_PAGE]}
            statuses = await self._children.statuses(list(page))
            for child_id, look in page.items():
                if (answer := await self._safe_answer(parent, child_id, look, statuses.get(child_id))) is None:
                    looks.waiting.setdefault(child_id, look)
                    continue
                if self._scheduler.stopping:
                    return
                if not isinstance(answer, ChildFollowed):
                    looks.open.pop(child_id, None)
                self._scheduler.apply(parent, answer)
                await asyncio.sleep(0)

    def _task_ended(self, parent: ActiveWorkflow, looks: _Looks, task: asyncio.Task[None]) -> None:
        looks.task = None
        if not task.cancelled():
            task.result()
            if looks.waiting and self._looks.get(parent.workflow_id) is looks:  # they came while it ended
                child_id, look = next(iter(looks.waiting.items()))
                self.look_at(parent, child_id, look)

    async def _safe_answer(
        self, parent: ActiveWorkflow, child_id: UUID, look: Look, status: WorkflowStatus | None
    ) -> ChildFollowed | Succeeded | AttemptFailed | None:
        """Return `_answer`. A bug there fails the attempt and nothing else, as in `AttemptRunner`."""
        task = parent.run.open_task(look.position)
        if task is None or task.id != look.task_id:
            return ChildFollowed(look.position, look.task_id, look.paused or False)  # the run ignores it
        try:
            return await self._answer(parent, task, child_id, look, status)
        except Exception as error:
            log.exception("sub_workflow.look_crashed", action="look", workflow_id=str(child_id))
            return replace(failure(task, f"internal error: {type(error).__name__}"), broken=True)

    async def _answer(
        self, parent: ActiveWorkflow, task: Task, child_id: UUID, look: Look, status: WorkflowStatus | None
    ) -> ChildFollowed | Succeeded | AttemptFailed | None:
        """Return the input that a look leads to; None if the look must be repeated."""
        if status is None:
            return failure(task, f"the sub-workflow {child_id} was deleted")
        if status in ENDED:
            return await self._ends.read(parent, task, child_id, status)
        if look.paused is None or look.paused is (status is WorkflowStatus.PAUSED):
            return ChildFollowed(task.position, task.id, look.paused or False)
        if look.paused:
            await self._children.send(child_id, Pause(SERVICE))
        else:
            await self._children.resume(child_id)
        return None
