"""Brings workflows into memory for verbs, and applies the verbs: for a client of this process, or for another process.

What must hold:
- All users of a workflow in this process share one `ActiveWorkflow`.
- A workflow is registered before it is stored: otherwise a claim could take it for one that this process has lost.
- A workflow that another process runs is never loaded. One of a dead process is loaded on hold (`Ownership.hold`).
- A verb is an input of the workflow's run, in memory or loaded for it.
- A refusal follows only after everything decided before it has committed, because it may follow from that.
- A command's mark is written in the transaction of its effect.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from uuid import UUID
from weakref import WeakValueDictionary

from msgspec import Struct
from msgspec.structs import replace

from stepwell.basics.artifacts import named_paths
from stepwell.basics.errors import (
    InvalidTransition,
    NotByHand,
    NotFound,
    NotWaiting,
    PreconditionFailed,
    StepwellError,
    TooManyRequests,
    Unavailable,
)
from stepwell.basics.idempotency import KeyClaim
from stepwell.basics.tenancy import TenantScope
from stepwell.engine.events.bus import CommittedEvents, EventBus
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.engine.execution.checkpointer import NotWritten
from stepwell.engine.execution.idempotency import IdempotentRequests
from stepwell.engine.execution.lease import Lease
from stepwell.engine.execution.ownership import NEEDS_NEWER_VERSION, RUNS_ELSEWHERE, Ownership, load_results
from stepwell.engine.execution.scheduler import Scheduler
from stepwell.engine.execution.workflow_admission import WorkflowAdmission
from stepwell.lifecycle.decision import RequestMarks
from stepwell.lifecycle.inputs import SERVICE, EndByHand, Resume, Start, Unpark, Update
from stepwell.lifecycle.peer_commands import ClientVerb, CommandMark
from stepwell.lifecycle.preconditions import Preconditions
from stepwell.lifecycle.records import NewWorkflow
from stepwell.ports.storage import WorkflowStore
from stepwell.runtime.offloop import off_loop

_HOLD_S = 10.0


class RunsElsewhere(Unavailable):
    """Another live process runs the workflow, and it alone can change it."""

    def __init__(self) -> None:
        super().__init__(RUNS_ELSEWHERE)


class WorkflowAccess:
    def __init__(
        self, store: WorkflowStore, scheduler: Scheduler, ownership: Ownership, lease: Lease, bus: EventBus
    ) -> None:
        self.store, self.scheduler, self.ownership, self.lease, self.bus = store, scheduler, ownership, lease, bus
        self._loading: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()

    @property
    def loading(self) -> int:
        """The number of workflows that are being loaded."""
        return len(self._loading)

    @asynccontextmanager
    async def pinned(self, scope: TenantScope, workflow_id: UUID) -> AsyncIterator[ActiveWorkflow]:
        """Keep the workflow in memory within the context.

        Raises `NotFound`, `RunsElsewhere`, and `Unavailable`, also if only a newer version understands it.

        The workflow is in memory at the beginning of the context. After an await this process may have lost it.
        """
        async with self._loading.setdefault(workflow_id, asyncio.Lock()):
            workflow = self.scheduler.workflows.get(workflow_id)
            if workflow is None:
                workflow = await self._load(scope, workflow_id)
            elif not scope.covers(workflow.tenant, workflow.created_by):
                raise NotFound("workflow")
        with self.scheduler.pin(workflow):
            yield workflow

    async def insert(
        self,
        scope: TenantScope,
        workflow: ActiveWorkflow,
        new: NewWorkflow,
        committed: CommittedEvents,
        claim: KeyClaim | None,
    ) -> None:
        """Store a new workflow, and start it if it has an owner. Raises `Unavailable`."""
        started = workflow.run.state.owner is not None
        with self.scheduler.pin(workflow):
            self.scheduler.register(workflow)
            try:
                await self.store.insert(scope, replace(new, claim=claim))
            except BaseException:
                # The row may be stored all the same, or its statement may still run: then a claim finds it.
                self.scheduler.unregister(workflow)
                self.ownership.claims.request(unsure=True)
                raise
            self.bus.publish(committed)
            if started:
                self.scheduler.start_pending(workflow)

    async def insert_waiting(
        self, scope: TenantScope, new: NewWorkflow, committed: CommittedEvents, claim: KeyClaim | None
    ) -> None:
        """Store a new workflow that waits for admission, without bringing it into memory. Raises `Unavailable`."""
        try:
            await self.store.insert(scope, replace(new, claim=claim))
        except BaseException:
            self.ownership.claims.request(unsure=True)  # it may be stored all the same, and is admitted then
            raise
        self.bus.publish(committed)

    async def _load(self, scope: TenantScope, workflow_id: UUID) -> ActiveWorkflow:
        await self.lease.ensure()
        loaded = await self.store.load(scope, workflow_id)
        if loaded is None:
            raise NotFound("workflow")
        if loaded.state.owner is None:
            if not loaded.is_understood:
                raise Unavailable(NEEDS_NEWER_VERSION, 5)
            workflow = await off_loop(partial(ActiveWorkflow, loaded), steps=loaded.unit_count)
            await load_results(self.store, [workflow])
            if (meanwhile := self.scheduler.workflows.get(workflow_id)) is not None:
                return meanwhile  # another process started it meanwhile and died, and this one has claimed it
            self.scheduler.register(workflow)
            return workflow
        try:
            async with asyncio.timeout(_HOLD_S):
                await self.ownership.hold(workflow_id)
        except TimeoutError:
            raise Unavailable("the service is taking over what another process has left") from None
        if (held := self.scheduler.workflows.get(workflow_id)) is None:
            self.ownership.claims.request()
            raise RunsElsewhere
        return held


COMMIT_S = 10.0  # for the commit of a verb, or of the end of a wait
_REFUSALS = (InvalidTransition, NotByHand, NotWaiting, PreconditionFailed, TooManyRequests, Unavailable)


class VerbOutcome(Struct, frozen=True):
    """The outcome of a verb. `changed`: it has changed the workflow. `refused`: the error that refuses it.

    `epoch` is that of the workflow's row when the outcome was known.
    """

    changed: bool
    refused: StepwellError | None
    epoch: int


class VerbApplier:
    def __init__(self, access: WorkflowAccess, admission: WorkflowAdmission, idempotency: IdempotentRequests) -> None:
        self.access, self._admission, self._idempotency = access, admission, idempotency

    async def apply(
        self,
        scope: TenantScope,
        workflow_id: UUID,
        verb: ClientVerb,
        preconditions: Preconditions,
        command: CommandMark | None = None,
    ) -> VerbOutcome:
        """Apply the verb, and wait until its outcome is committed.

        *command*: the mark of the other process's command that this carries out. Raises `NotFound`, `RunsElsewhere`,
        `Unavailable`, `NotWritten` if this process has lost the workflow, and TimeoutError.
        """
        async with self.access.pinned(scope, workflow_id) as workflow:
            refused: StepwellError | None = None
            changed = False
            try:
                await self._check_slots(workflow, verb)
                preconditions.check(workflow.run.state)
                input_ = self._with_owner(workflow, verb)
                self._own_if_it_has_children(workflow, verb)
                changed = self.access.scheduler.apply(workflow, input_, RequestMarks(preconditions.claim, command))
                self._own_if_woken(workflow)
                if isinstance(verb, EndByHand) and verb.result is not None:
                    workflow.may_read(named_paths(verb.result))
            except _REFUSALS as error:
                refused = error
            # A refusal waits as well, because the state that forbids the verb may not be committed yet.
            effect = self.access.scheduler.checkpointer.flushed(workflow_id)
            async with asyncio.timeout(COMMIT_S):
                if refused is None and command is None:
                    await self._idempotency.wait_committed(preconditions.claim, effect)
                else:
                    await effect
            return VerbOutcome(changed, refused, workflow.run.state.epoch)

    def _own_if_it_has_children(self, workflow: ActiveWorkflow, verb: ClientVerb) -> None:
        """Let this process run a parked workflow with sub-workflows, because the verb may reach these."""
        run = workflow.run
        if run.has_children and run.state.owner is None and not isinstance(verb, Resume | Update | EndByHand):
            self.access.scheduler.apply(workflow, Unpark(self.access.lease.owner))

    def _own_if_woken(self, workflow: ActiveWorkflow) -> None:
        """Let this process run a workflow that a verb has woken, if slots are free.

        Otherwise it waits for admission. Both are one change of its row, because they are written together.
        """
        run = workflow.run
        if run.parking is not None and run.state.waits_for_admission and self._admission.may_run(workflow):
            self.access.scheduler.apply(workflow, Unpark(self.access.lease.owner))

    async def _check_slots(self, workflow: ActiveWorkflow, verb: ClientVerb) -> None:
        # A parent that holds its slot while its sub-workflow gets none could keep all others from going on.
        by_parent = workflow.run.state.parent_id is not None and isinstance(verb, Resume) and verb.actor == SERVICE
        if isinstance(verb, Start | Resume) and not workflow.run.active and not by_parent:
            await self._admission.check(workflow.tenant, workflow.slots, held=workflow.slots)
            if workflow.evicted.is_set():
                raise NotWritten("the workflow has left memory")

    def _with_owner(self, workflow: ActiveWorkflow, verb: ClientVerb) -> ClientVerb:
        """Return the verb with the process that will run the workflow; None if the workflow must wait."""
        if isinstance(verb, Start | Resume) and self._admission.may_run(workflow):
            # A workflow on hold keeps its owner.
            return replace(verb, owner=workflow.run.state.owner or self.access.lease.owner)
        return verb
