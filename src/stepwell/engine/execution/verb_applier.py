"""Applies verbs to workflows, for a client of this process or as the command of another process.

What must hold:
- A verb is an input of the workflow's run, in memory or loaded for it.
- A refusal follows only after everything decided before it has committed, because it may follow from that.
- A command's mark is written in the transaction of its effect.
"""

import asyncio
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from stepwell.basics.errors import (
    InvalidTransition,
    NotWaiting,
    PreconditionFailed,
    StepwellError,
    TooManyRequests,
    Unavailable,
)
from stepwell.basics.tenancy import TenantScope
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.engine.execution.checkpointer import NotWritten
from stepwell.engine.execution.idempotency import IdempotentRequests
from stepwell.engine.execution.workflow_access import WorkflowAccess
from stepwell.engine.execution.workflow_admission import WorkflowAdmission
from stepwell.lifecycle.decision import RequestMarks
from stepwell.lifecycle.inputs import SERVICE, Resume, Start, Unpark, Update
from stepwell.lifecycle.peer_commands import ClientVerb, CommandMark
from stepwell.lifecycle.preconditions import Preconditions

_ANSWER_S = 10.0
_REFUSALS = (InvalidTransition, NotWaiting, PreconditionFailed, TooManyRequests, Unavailable)


class VerbAnswer(Struct, frozen=True):
    """The result of a verb. `changed`: it has changed the workflow. `refused`: the error that refuses it.

    `epoch` is that of the workflow's row when the result was known.
    """

    changed: bool
    refused: StepwellError | None
    epoch: int


class VerbApplier:
    """Applies verbs to the workflows that this process runs, and to those that no process runs."""

    def __init__(self, access: WorkflowAccess, admission: WorkflowAdmission, idempotency: IdempotentRequests) -> None:
        self.access, self._admission, self._idempotency = access, admission, idempotency

    async def apply(
        self,
        scope: TenantScope,
        workflow_id: UUID,
        verb: ClientVerb,
        preconditions: Preconditions,
        command: CommandMark | None = None,
    ) -> VerbAnswer:
        """Apply the verb, and wait until its result is committed.

        *command*: the mark of the other process's command that this carries out. Raises `NotFound`, `RunsElsewhere`,
        `Unavailable`, `NotWritten` if this process has lost the workflow, and TimeoutError.
        """
        async with self.access.pinned(scope, workflow_id) as workflow:
            refused: StepwellError | None = None
            changed = False
            try:
                await self._check_room(workflow, verb)
                preconditions.check(workflow.run.state)
                input_ = self._with_owner(workflow, verb)
                self._own_if_it_has_children(workflow, verb)
                changed = self.access.scheduler.apply(
                    workflow, input_, RequestMarks(preconditions.reservation, command)
                )
                self._own_if_woken(workflow)
            except _REFUSALS as error:
                refused = error
            # A refusal waits as well, because the state that forbids the verb may not be committed yet.
            effect = self.access.scheduler.checkpointer.flushed(workflow_id)
            async with asyncio.timeout(_ANSWER_S):
                if refused is None and command is None:
                    await self._idempotency.wait_committed(preconditions.reservation, effect)
                else:
                    await effect
            return VerbAnswer(changed, refused, workflow.run.state.epoch)

    def _own_if_it_has_children(self, workflow: ActiveWorkflow, verb: ClientVerb) -> None:
        """Let this process run a parked workflow with sub-workflows, because the verb may reach these."""
        run = workflow.flow_run
        if run is not None and run.has_children and run.state.owner is None and not isinstance(verb, Resume | Update):
            self.access.scheduler.apply(workflow, Unpark(self.access.lease.owner))

    def _own_if_woken(self, workflow: ActiveWorkflow) -> None:
        """Let this process run a workflow that a verb has given something to do, if there is room.

        Without room it waits for admission. Both are one change of its row, because they are written together.
        """
        if (
            (run := workflow.flow_run) is not None
            and run.state.waits_for_admission
            and self._admission.may_run(workflow)
        ):
            self.access.scheduler.apply(workflow, Unpark(self.access.lease.owner))

    async def _check_room(self, workflow: ActiveWorkflow, verb: ClientVerb) -> None:
        # A parent that holds its place while its sub-workflow gets none could keep all others from going on.
        follows = workflow.run.state.parent_id is not None and isinstance(verb, Resume) and verb.actor == SERVICE
        if isinstance(verb, Start | Resume) and not workflow.run.active and not follows:
            await self._admission.check(workflow.tenant, workflow.places, held=workflow.places)
            if workflow.evicted.is_set():
                raise NotWritten("the workflow has left memory")

    def _with_owner(self, workflow: ActiveWorkflow, verb: ClientVerb) -> ClientVerb:
        """Return the verb with the process that will run the workflow; None if the workflow must wait."""
        if isinstance(verb, Start | Resume) and self._admission.may_run(workflow):
            # A workflow on hold keeps its owner.
            return replace(verb, owner=workflow.run.state.owner or self.access.lease.owner)
        return verb
