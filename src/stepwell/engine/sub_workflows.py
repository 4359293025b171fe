"""Runs the sub-workflows of steps: creates them, lets them follow their parents, and reports their ends.

    attempt ──► create ──► `Submitted` ──► it runs as any workflow ──► it has ended ──► `Succeeded` or `AttemptFailed`

What must hold:
- A sub-workflow is created once: with the id in the row of its step or item, and after `Sending` is committed.
- What is reported about a sub-workflow is what the database has committed. A message that one has ended only leads to
  a look at it, so a message may get lost: after its parent is loaded, each sub-workflow is looked at (`PauseChild`).
- A parent that has left memory parked is due if a sub-workflow has ended meanwhile, so that is looked for then.
- A parent has at most one task for its looks, and none once it has left memory.
- Sub-workflows that are created at the same time don't hold up the event loop together: one of a tenant is built after
  another, with a pass of the loop in between. A large one is validated in a thread.
- A sub-workflow counts as many active workflows as the same definition does that a client creates.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar
from uuid import UUID

import structlog
from anyio import CancelScope, fail_after, sleep
from msgspec import Raw, Struct, field, json
from msgspec.structs import replace

from stepwell.contract.enums import CancelReceipt, StepStatus, WorkflowStatus
from stepwell.domain.errors import (
    AttemptError,
    InvalidRequest,
    InvalidTransition,
    NotFound,
    TooManyRequests,
    Unavailable,
)
from stepwell.domain.lifecycle.effects import PauseChild
from stepwell.domain.lifecycle.inputs import (
    SERVICE,
    AttemptFailed,
    Cancel,
    ChildFollowed,
    FollowUpEnded,
    GiveUp,
    Input,
    Pause,
    Resume,
    Sending,
    Start,
    Submitted,
)
from stepwell.domain.lifecycle.peer_commands import ClientVerb
from stepwell.domain.mapping.expressions import FEW_CHARACTERS, Expressions, expressions_of
from stepwell.domain.mapping.templates import SUB_DEFINITION
from stepwell.domain.model import ItemState, Sent, Task
from stepwell.domain.preconditions import NO_PRECONDITIONS, Preconditions
from stepwell.domain.records import WHOLE, ChildInsertion, ParentLink, WorkflowRecord
from stepwell.domain.strict_json.normalise import Handling
from stepwell.domain.strict_json.size import MAX_RESULT_BYTES
from stepwell.domain.tenancy import EVERY_TENANT
from stepwell.domain.validation.provider_rules import ProviderCatalog
from stepwell.domain.validation.sub_workflow_rules import INPUTS, with_origin
from stepwell.domain.validation.workflow import ValidatedWorkflow, validate_workflow
from stepwell.domain.workflow_limits import definition_size
from stepwell.engine.attempts.attempt_control import AttemptControl, AttemptSuperseded
from stepwell.engine.attempts.expression_evaluator import ExpressionEvaluator
from stepwell.engine.attempts.runner import AttemptRunner
from stepwell.engine.events.bus import EventBus
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.engine.execution.lease import Lease
from stepwell.engine.execution.scheduler import Scheduler, WorkflowListener
from stepwell.engine.execution.workflow_admission import WorkflowAdmission
from stepwell.engine.inputs_checker import InputsChecker
from stepwell.engine.new_workflow import NewWorkflowBundle, build_workflow
from stepwell.fair_turns import FairTurns
from stepwell.offloop import off_loop, off_loop_if_large
from stepwell.ports.clock import Clock, NewId
from stepwell.ports.storage import WorkflowReader, WorkflowStore

log = structlog.get_logger()

T = TypeVar("T")

MAX_SUB_WORKFLOWS: Final = 10_000  # of a root, in all
_ENDED: Final = frozenset({WorkflowStatus.COMPLETED, WorkflowStatus.FAILED, WorkflowStatus.CANCELLED})
_RETRY_S: Final = 0.5
_STATEMENT_S: Final = 30.0
_BUILT_AT_ONCE: Final = 8  # sub-workflows, at most one for each tenant
_PAGE: Final = 200  # sub-workflows that one statement looks at


class _Look(Struct, frozen=True):
    """A look at the sub-workflow of an attempt. With `paused`, it is then paused or resumed."""

    position: int
    task_id: UUID
    paused: bool | None = None


class _Looks(Struct):
    """The sub-workflows of one parent, by id: all that are open, and those that its task has yet to look at."""

    open: dict[UUID, _Look] = field(default_factory=dict)
    waiting: dict[UUID, _Look] = field(default_factory=dict)
    task: asyncio.Task[None] | None = None
    record: WorkflowRecord | None = None  # of the parent. Only what never changes is read from it


class _NotStored(Exception):
    """Raised when a sub-workflow wasn't stored as a new one."""

    def __init__(self, insertion: ChildInsertion) -> None:
        self.insertion = insertion


class SubWorkflows(WorkflowListener):
    """The sub-workflows of all parents in memory.

    *check_url* refuses a webhook that can't be sent. *change* applies a verb to a workflow, in whichever process runs
    it.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        runner: AttemptRunner,
        store: WorkflowStore,
        reader: WorkflowReader,
        admission: WorkflowAdmission,
        bus: EventBus,
        catalog: ProviderCatalog,
        inputs: InputsChecker,
        expressions: ExpressionEvaluator,
        lease: Lease,
        check_url: Callable[[str | None, str | None], None],
        change: Callable[[UUID, ClientVerb, Preconditions], Awaitable[object]],
        clock: Clock,
        new_id: NewId,
    ) -> None:
        self._scheduler, self._runner, self._store, self._reader = scheduler, runner, store, reader
        self._admission, self._bus, self._catalog = admission, bus, catalog
        self._inputs, self._expressions = inputs, expressions
        self._lease, self._check_url, self._change = lease, check_url, change
        self._clock, self._new_id = clock, new_id
        self._looks: dict[UUID, _Looks] = {}
        self._turns = FairTurns(_BUILT_AT_ONCE, 1)

    # The creation

    async def create(self, parent_id: UUID, task: Task, inputs: Mapping[str, Any], control: AttemptControl) -> None:
        """Create the sub-workflow of an attempt, or continue it, and report that. *inputs* are those of the step.

        Raises `AttemptError`, and `AttemptSuperseded` if this process has lost the parent.
        """
        parent = self._parent(parent_id)
        child_id = _child_of(parent, task)
        looks = self._looks.setdefault(parent_id, _Looks())
        bundle: NewWorkflowBundle | None = None
        if not await self._is_stored(child_id, task):
            async with self._turns.turn(parent.tenant):
                await asyncio.sleep(0)  # turns that need not wait would otherwise begin in the same pass of the loop
                bundle = await self._build(parent, looks, child_id, task, inputs)
        if task.sent is None:
            control.report(Sending(task.position, task.id, Sent("", "", self._clock.now())))
            await control.flushed()
        look = _Look(task.position, task.id)
        self._looks.setdefault(parent_id, looks).open[child_id] = look
        insertion = ChildInsertion.STORED
        if bundle is not None:
            insertion = await self._until_available(partial(self._insert_once, bundle))
            if insertion is ChildInsertion.STORED:  # by a statement whose answer was lost: nobody knows that it waits
                self._admission.others_changed()
        if insertion is ChildInsertion.LOST:
            raise AttemptSuperseded
        if insertion is ChildInsertion.FULL:
            raise AttemptError(
                f"the workflow has had {MAX_SUB_WORKFLOWS:,} sub-workflows, and may have no more",
                retryable=False,
                provider_fault=False,
            )
        if insertion is ChildInsertion.STORED and task.attempt > 1:
            await self._continue(child_id)
        control.report(Submitted(task.position, task.id, str(child_id), {}))
        if insertion is ChildInsertion.STORED:
            self._look_at(parent, child_id, look)

    async def _is_stored(self, child_id: UUID, task: Task) -> bool:
        """Return whether an earlier attempt or process has stored the sub-workflow.

        It goes on then, even if this process would refuse its definition. Otherwise nobody would follow it.
        """
        return (task.sent is not None or task.attempt > 1) and child_id in await self._statuses([child_id])

    def _parent(self, parent_id: UUID) -> ActiveWorkflow:
        if (parent := self._scheduler.workflows.get(parent_id)) is None:
            raise AttemptSuperseded
        return parent

    async def _build(
        self, parent: ActiveWorkflow, looks: _Looks, child_id: UUID, task: Task, inputs: Mapping[str, Any]
    ) -> NewWorkflowBundle:
        """Build the sub-workflow of an attempt, started."""
        if looks.record is None:
            read = partial(self._reader.get, EVERY_TENANT, parent.workflow_id)
            looks.record = await self._until_available(read)
        if looks.record is None:
            raise AttemptSuperseded
        link = _link(parent, looks.record, task)
        planned = await self._plan(looks.record, inputs, link.depth)
        now = self._clock.now()
        start = Start(SERVICE, self._new_id(now), None)
        build = partial(build_workflow, planned, child_id, parent.tenant, SERVICE, now, start, self._new_id, link)
        return await off_loop(build, steps=len(planned.steps))

    async def _plan(self, parent: WorkflowRecord, inputs: Mapping[str, Any], depth: int) -> ValidatedWorkflow:
        """Return the validated definition of a sub-workflow."""
        definition, given = inputs[SUB_DEFINITION], inputs.get(INPUTS) or {}
        origin = {
            "origin_instance": parent.origin_instance,
            "origin_zone": parent.origin_zone,
            "origin_reference": parent.origin_reference,
        }
        body = with_origin({**definition, INPUTS: {**(definition.get(INPUTS) or {}), **given}}, origin)
        try:
            planned = await self._validated(parent.tenant, body, depth)
            self._check_url(parent.tenant, planned.request.webhook_url)
            await self._until_available(partial(self._inputs.check, parent.tenant, planned))
        except InvalidRequest as error:
            fault = error.faults[0]
            place = ".".join(map(str, fault.loc[1:]))
            message = f"the sub-workflow can't be created: {place}: {fault.msg}"
            raise AttemptError(message, retryable=False, provider_fault=False) from error
        return planned

    async def _validated(self, tenant: str | None, body: Mapping[str, Any], depth: int) -> ValidatedWorkflow:
        """Return the validated *body*. Many expressions are parsed in a worker process, as those of a request are."""
        known, found = None, await off_loop_if_large(expressions_of, body)
        if sum(map(len, found)) > FEW_CHARACTERS:
            check = partial(self._expressions.check, tenant, found)
            known = Expressions(await self._until_available(check))

        def validate(body: Any) -> ValidatedWorkflow:
            size, now = definition_size(json.encode(body)), self._clock.now()
            lenient = Handling.LENIENT
            return validate_workflow(
                body, self._catalog, known, handling=lenient, definition_bytes=size, now=now, depth=depth
            )

        return await off_loop_if_large(validate, body)

    async def _insert_once(self, bundle: NewWorkflowBundle) -> ChildInsertion:
        try:
            # Shielded: if the attempt is cancelled, its follow-up must know whether the sub-workflow exists.
            with CancelScope(shield=True), fail_after(_STATEMENT_S), self._admission.storing(bundle.new.record.tenant):
                await self._insert_new(bundle)
        except _NotStored as error:
            return error.insertion
        except TimeoutError as error:
            raise Unavailable("the database doesn't answer", 1) from error
        self._bus.publish(bundle.committed)
        return ChildInsertion.NEW

    async def _insert_new(self, bundle: NewWorkflowBundle) -> None:
        owner = self._lease.owner
        insertion = await self._store.insert_child(EVERY_TENANT, bundle.new, owner, MAX_SUB_WORKFLOWS)
        if insertion is not ChildInsertion.NEW:
            raise _NotStored(insertion)

    async def _continue(self, child_id: UUID) -> None:
        """Resume a sub-workflow that failed in an earlier attempt. What it completed is kept."""
        while True:
            statuses = await self._statuses([child_id])
            if statuses.get(child_id) not in (WorkflowStatus.FAILED, WorkflowStatus.PAUSED):
                return
            await self._send(child_id, Resume(SERVICE, self._new_id(self._clock.now()), None))

    # Looks

    def follow(self, parent: ActiveWorkflow, effect: PauseChild) -> None:
        """Let a sub-workflow follow its parent, and report that it has, or that it has ended."""
        look = _Look(effect.position, effect.task_id, effect.paused)
        self._looks.setdefault(parent.workflow_id, _Looks()).open[effect.child] = look
        self._look_at(parent, effect.child, look)

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
                self._look_at(parent, each, looks.waiting.get(each, _Look(look.position, look.task_id)))

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

    def _look_at(self, parent: ActiveWorkflow, child_id: UUID, look: _Look) -> None:
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
            statuses = await self._statuses(list(page))
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
                self._look_at(parent, child_id, look)

    async def _safe_answer(
        self, parent: ActiveWorkflow, child_id: UUID, look: _Look, status: WorkflowStatus | None
    ) -> Input | None:
        """Return `_answer`. A bug there fails the attempt and nothing else, as in `AttemptRunner`."""
        try:
            return await self._answer(parent, child_id, look, status)
        except Exception as error:
            log.exception("sub_workflow.look_crashed", action="look", workflow_id=str(child_id))
            return replace(_failed(look, f"internal error: {type(error).__name__}"), broken=True)

    async def _answer(
        self, parent: ActiveWorkflow, child_id: UUID, look: _Look, status: WorkflowStatus | None
    ) -> Input | None:
        """Return the input that the look leads to; None if it must be repeated."""
        task = parent.run.open_task(look.position)
        followed = ChildFollowed(look.position, look.task_id, look.paused or False)
        if task is None or task.id != look.task_id:
            return followed  # the run ignores it
        if status is None:
            return _failed(look, f"the sub-workflow {child_id} was deleted")
        if status in _ENDED:
            return await self._end_of(parent, task, child_id, status)
        if look.paused is None or look.paused is (status is WorkflowStatus.PAUSED):
            return followed
        verb = Pause(SERVICE) if look.paused else Resume(SERVICE, self._new_id(self._clock.now()), None)
        await self._send(child_id, verb)
        return None

    # Ends

    async def _end_of(self, parent: ActiveWorkflow, task: Task, child_id: UUID, status: WorkflowStatus) -> Input | None:
        """Return the end of the attempt whose sub-workflow has ended; None if it doesn't exist any more."""
        look = _Look(task.position, task.id)
        if status is WorkflowStatus.CANCELLED:
            return _failed(look, f"the sub-workflow {child_id} was CANCELLED")
        record = await self._until_available(partial(self._reader.get, EVERY_TENANT, child_id))
        if record is None or record.state.status is not status:
            return None
        if status is WorkflowStatus.FAILED:
            why = "" if record.summary.error_message is None else f": {record.summary.error_message}"
            return _failed(look, f"the sub-workflow {child_id} has FAILED{why}")
        size = await self._until_available(
            partial(self._reader.size, EVERY_TENANT, [child_id], WHOLE, 8 * MAX_RESULT_BYTES)
        )
        if size is None:
            return None
        if size.total > 8 * MAX_RESULT_BYTES:
            return _failed(look, _too_large(child_id))
        result = await self._result_of(record)
        if len(result) > MAX_RESULT_BYTES:
            return _failed(look, _too_large(child_id))
        return await self._runner.judge(parent, task, result)

    async def _result_of(self, child: WorkflowRecord) -> bytes:
        """Return the result of the step whose sub-workflow is COMPLETED."""
        loaded = await self._until_available(partial(self._store.load, EVERY_TENANT, child.id))
        names = {
            step.plan.position: step.plan.step_id
            for step in (() if loaded is None else loaded.steps)
            if step.state.status is StepStatus.COMPLETED
        }
        read = partial(self._store.results, EVERY_TENANT, {child.id: list(names)})
        stored = (await self._until_available(read)).get(child.id, {})
        results = {names[position]: Raw(result) for position, result in stored.items()}
        final = results.get(child.summary.final_step_id)
        whole = {"workflow_id": str(child.id), "status": child.state.status, "results": results, "final": final}
        return json.encode(whole)

    async def stop(self, parent_id: UUID, task: Task) -> FollowUpEnded:
        """Stop the sub-workflow of an abandoned attempt. Return what became of it.

        It becomes CANCELLED if its parent is, and otherwise FAILED, so that resume can continue it.
        """
        parent, receipt = self._parent(parent_id), CancelReceipt.NEVER_STARTED
        child_id = _child_of(parent, task)
        while True:
            status = (await self._statuses([child_id])).get(child_id)
            if status is None or status in _ENDED:
                if status is WorkflowStatus.CANCELLED:
                    # It may have been cancelled by an earlier process, which died before it recorded that.
                    receipt = CancelReceipt.PROVIDER_CANCELLED
                elif status is not None and receipt is CancelReceipt.NEVER_STARTED:
                    receipt = CancelReceipt.FINISHED_TOO_LATE
                return FollowUpEnded(task.position, task.id, receipt)
            receipt = CancelReceipt.PROVIDER_CANCELLED
            cancelled = parent.run.state.status is WorkflowStatus.CANCELLED
            verb = Cancel(SERVICE) if cancelled and status is WorkflowStatus.RUNNING else GiveUp(_stopped(parent))
            await self._send(child_id, verb)

    # Shared parts

    async def _statuses(self, ids: Sequence[UUID]) -> Mapping[UUID, WorkflowStatus]:
        return await self._until_available(partial(self._store.statuses, EVERY_TENANT, ids))

    async def _send(self, child_id: UUID, verb: ClientVerb) -> None:
        """Apply a verb to a sub-workflow. What becomes of it shows the next look at its status."""
        try:
            await self._change(child_id, verb, NO_PRECONDITIONS)
        except (InvalidTransition, NotFound):
            pass  # it has changed meanwhile
        except (Unavailable, TooManyRequests) as error:
            log.warning("sub_workflow.not_changed", action="follow", workflow_id=str(child_id), error=repr(error))
            await sleep(_RETRY_S)

    async def _until_available(self, call: Callable[[], Awaitable[T]]) -> T:
        """Repeat *call* while the database is away. An outage fails no attempt."""
        while True:
            try:
                return await call()
            except Unavailable:
                await sleep(_RETRY_S)


def _child_of(parent: ActiveWorkflow, task: Task) -> UUID:
    flow = parent.run.units[task.position].flow
    assert flow is not None
    assert flow.child is not None
    return flow.child


def _link(parent: ActiveWorkflow, record: WorkflowRecord, task: Task) -> ParentLink:
    above, unit = record.parent, parent.run.units[task.position]
    return ParentLink(
        parent.workflow_id,
        parent.resolved_step(task.position).step_id,
        unit.place.item if isinstance(unit, ItemState) else None,
        parent.workflow_id if above is None else above.root_id,
        1 if above is None else above.depth + 1,
    )


def _stopped(parent: ActiveWorkflow) -> str:
    return f"the workflow {parent.workflow_id} that runs this one was {parent.run.state.status}"


def _too_large(child_id: UUID) -> str:
    return f"the results of the sub-workflow {child_id} are over {MAX_RESULT_BYTES:,} bytes together"


def _failed(look: _Look, error: str) -> AttemptFailed:
    return AttemptFailed(look.position, look.task_id, error, retryable=False, provider_fault=False, jitter=0.0)
