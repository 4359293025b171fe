"""The use cases that the API calls: the verbs of workflows, and one service for each other subject.

What must hold:
- A verb is an input of the workflow's run, in memory or loaded for it. The response follows the commit of its rows.
- A refusal too waits until everything decided before it has committed, because it may follow from that.
- If this process loses the workflow in the meantime, the verb is applied again to the state that is stored then.
- If another live process runs the workflow, that one applies the verb. The outcome is the same.

The table "A verb" of `.github/ARCHITECTURE.md` lists what a new verb needs.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Literal
from uuid import UUID

from msgspec import UNSET, Struct, json, structs, to_builtins

from stepwell.basics import errors
from stepwell.basics.strict_json.schema_faults import Loc
from stepwell.basics.tenancy import EVERY_TENANT, TenantScope
from stepwell.contract.definition import Budget, WorkflowUpdate
from stepwell.contract.enums import StepStatus, WorkflowStatus
from stepwell.contract.workflows import CreateDecision, SendSignal, WorkflowCleanupDetail, WorkflowDataDeletion
from stepwell.definition.validation.budget_rules import BudgetRules
from stepwell.definition.validation.provider_rules import ProviderCatalog
from stepwell.definition.validation.workflow import ValidatedWorkflow
from stepwell.engine.attempts.expression_evaluator import ExpressionEvaluator
from stepwell.engine.attempts.inputs_checker import InputsChecker
from stepwell.engine.events.completion import CompletionWaiter
from stepwell.engine.events.subscriptions import EventSubscriptions
from stepwell.engine.execution.checkpointer import NotWritten
from stepwell.engine.execution.command_sender import CommandSender
from stepwell.engine.execution.idempotency import IdempotentRequests
from stepwell.engine.execution.new_workflow import Creation, build_workflow
from stepwell.engine.execution.workflow_access import RunsElsewhere, VerbApplier, WorkflowAccess
from stepwell.engine.execution.workflow_admission import WorkflowAdmission
from stepwell.engine.explain.availability import Availability
from stepwell.engine.explain.dry_run import DryRunner
from stepwell.engine.explain.explainer import Explainer
from stepwell.engine.explain.limit_use import ProviderStatusReader, TenantLimitsReader
from stepwell.engine.explain.planner import Planner
from stepwell.engine.explain.verb_forecast import input_of
from stepwell.engine.files.cleanup_runner import CleanupRunner
from stepwell.engine.files.definition_files import DefinitionFiles, may_have_files, refusing_deleted_files
from stepwell.engine.files.ends_by_hand import EndsByHand, WantedEnd
from stepwell.engine.files.previews import Previews
from stepwell.engine.files.uploads import UploadService
from stepwell.engine.reads.read_service import ReadService
from stepwell.engine.reads.shared_reads import SharedPage, SharedReads, WorkflowCounts
from stepwell.engine.webhooks.service import WebhookService
from stepwell.lifecycle.allowed_verbs import ALLOWED_FROM
from stepwell.lifecycle.cleanup_records import empty_report
from stepwell.lifecycle.inputs import Cleanup, Decide, EndByHand, Signal, Start, Update
from stepwell.lifecycle.peer_commands import ClientVerb, ProviderCallback, VerbApplied, VerbRefused, error_of
from stepwell.lifecycle.preconditions import NO_PRECONDITIONS, Preconditions
from stepwell.lifecycle.records import StepRecord, WorkflowRecord
from stepwell.lifecycle.wait_ends import describe_end
from stepwell.ports.clock import Clock, NewId
from stepwell.ports.deletions import Purges
from stepwell.ports.stored_definitions import Definitions
from stepwell.rules.access.signed_urls import CallbackUrls
from stepwell.rules.large_workflow_records import FoundWorkflow
from stepwell.rules.uploads import Uploader
from stepwell.runtime.fair_turns import FairTurns
from stepwell.runtime.memory import MemoryGovernor
from stepwell.runtime.offloop import off_loop

_TRIES = 5
_ENDED = frozenset({StepStatus.COMPLETED, StepStatus.FAILED, StepStatus.SKIPPED, StepStatus.CANCELLED})
_RELEASE_POLLS, _RELEASE_POLL_S = 100, 0.05
_CALLBACK_S = 3.0
_CALLBACK_BYTES_IN_MEMORY = 64 * 1024  # a longer body holds results, and the ids in it are not worth their memory


class WorkflowService(Struct, eq=False, kw_only=True):
    """The verbs of workflows. Each returns the workflow after the verb.

    All raise `NotFound` if the scope doesn't cover the workflow, `Unavailable`, `PreconditionFailed`, and the errors of
    `Run.apply`.
    """

    access: WorkflowAccess
    admission: WorkflowAdmission
    reads: ReadService
    availability: Availability
    cleanups: CleanupRunner
    purges: Purges
    webhooks: WebhookService
    applier: VerbApplier
    sender: CommandSender
    definition_files: DefinitionFiles
    by_hand: EndsByHand
    callbacks: CallbackUrls
    catalog: ProviderCatalog
    clock: Clock
    make_id: NewId

    async def create(
        self,
        scope: TenantScope,
        actor: str,
        validated: ValidatedWorkflow,
        *,
        tenant: str | None,
        start: bool,
        preconditions: Preconditions = NO_PRECONDITIONS,
    ) -> WorkflowRecord:
        """Store a workflow that `validation.workflow.validate_workflow` has accepted; with *start* it is stored as
        started.
        """
        self.availability.check_open()
        self.webhooks.secrets.check_url(tenant, validated.request.webhook_url)
        await self.reads.check_reuse(tenant, validated.reuse)
        await self.access.lease.ensure()
        await self.admission.check(tenant, validated.slots)
        workflow_id = self.make_id(self.clock.now())
        insert = partial(self._insert, scope, actor, workflow_id, tenant=tenant, start=start)
        if not may_have_files(validated):
            return await insert(validated, preconditions)
        uploader = Uploader(tenant, actor, private=scope.subject is not None)
        async with self.definition_files.store(validated, uploader, workflow_id) as with_paths:
            return await insert(with_paths, preconditions)

    async def _insert(
        self,
        scope: TenantScope,
        actor: str,
        workflow_id: UUID,
        validated: ValidatedWorkflow,
        preconditions: Preconditions,
        *,
        tenant: str | None,
        start: bool,
    ) -> WorkflowRecord:
        runs = start and self.admission.take_slots(tenant, validated.slots)
        try:
            owner, now = self.access.lease.owner if runs else None, self.clock.now()
            start_input = Start(actor, self._new_id(), owner) if start else None
            creation = Creation(workflow_id, tenant, actor, actor, now, named_files=validated.named_files)
            build = partial(build_workflow, validated, creation, start_input, self.make_id)
            bundle = await off_loop(build, steps=len(validated.steps))
        finally:
            if runs:
                self.admission.give_back(tenant, validated.slots)
        with refusing_deleted_files(validated.request):
            if start and not runs:
                with self.admission.queue.storing(tenant):
                    await self.access.insert_waiting(scope, bundle.new, bundle.committed, preconditions.claim)
            else:
                await self.access.insert(scope, bundle.workflow, bundle.new, bundle.committed, preconditions.claim)
        return bundle.new.record

    async def perform(
        self,
        scope: TenantScope,
        actor: str,
        workflow_id: UUID,
        verb: Literal["start", "pause", "resume", "cancel"],
        preconditions: Preconditions = NO_PRECONDITIONS,
    ) -> FoundWorkflow:
        """Start, pause, resume or cancel a workflow. Which process runs it is decided where the verb is applied."""
        return await self._verb(scope, workflow_id, input_of(verb, actor, self._new_id(), None), preconditions)

    async def update(
        self,
        scope: TenantScope,
        actor: str,
        workflow_id: UUID,
        changes: WorkflowUpdate,
        preconditions: Preconditions = NO_PRECONDITIONS,
    ) -> FoundWorkflow:
        await self.webhooks.check_update(scope, workflow_id, changes)
        if changes.config is not UNSET:
            await self._check_budget(scope, workflow_id, changes.config.budget)
        return await self._verb(scope, workflow_id, Update(actor, changes), preconditions)

    async def _check_budget(self, scope: TenantScope, workflow_id: UUID, budget: Budget) -> None:
        """Refuse a new budget of a workflow that has none, whose attempts so far were not counted."""
        record = await self.reads.get(scope, workflow_id)
        config: Loc = ("body", "config")
        faults = list(BudgetRules({"budget": to_builtins(budget)}, 0, self.catalog.currencies).faults())
        if record.parent is not None:
            why = f"The budget is that of the workflow at the top, {record.parent.root_id}"
            faults = [errors.Fault((*config, "budget"), why, "no_budget")]
        elif record.config.get("budget") is None:
            why = "The workflow was created without a budget, so that nobody knows what it has spent"
            faults = [errors.Fault((*config, "budget"), why, "no_budget")]
        if faults:
            raise errors.InvalidRequest(faults)

    async def decide(
        self,
        scope: TenantScope,
        actor: str,
        workflow_id: UUID,
        step: StepRecord,
        wanted: CreateDecision,
        preconditions: Preconditions = NO_PRECONDITIONS,
        *,
        wait_id: UUID | None = None,
    ) -> StepRecord:
        """Decide for *step*, which must wait for that; with *wait_id*, in this wait. Return the step afterwards.

        Raises `NotWaiting`, which says who has decided.
        """
        verb = Decide(actor, step.state.position, wanted.choice, wait_id, wanted.note, json.encode(wanted.data))
        return await self._end_wait(scope, workflow_id, step, verb, preconditions)

    async def signal(
        self,
        scope: TenantScope,
        actor: str,
        workflow_id: UUID,
        name: str,
        wanted: SendSignal,
        preconditions: Preconditions = NO_PRECONDITIONS,
    ) -> StepRecord:
        """Send a signal to the step that waits for it, or is going to. Return the step. Raises `NotWaiting`."""
        step = await self.reads.step_of_signal(scope, workflow_id, name)
        verb = Signal(actor, name, json.encode(wanted.data))
        return await self._end_wait(scope, workflow_id, step, verb, preconditions)

    async def _end_wait(
        self,
        scope: TenantScope,
        workflow_id: UUID,
        step: StepRecord,
        verb: Decide | Signal,
        preconditions: Preconditions,
    ) -> StepRecord:
        try:
            await self.change(scope, workflow_id, verb, preconditions)
        except (errors.NotWaiting, errors.InvalidTransition) as error:
            present = await self.reads.step(scope, workflow_id, step.resolved.step_id)
            if present.state.status not in _ENDED:
                raise
            raise errors.NotWaiting(describe_end(present)) from error
        return await self.reads.step(scope, workflow_id, step.resolved.step_id)

    async def end_by_hand(
        self, scope: TenantScope, actor: str, wanted: WantedEnd, preconditions: Preconditions = NO_PRECONDITIONS
    ) -> None:
        """End a step or an item as a person wants. Nothing starts. Raises what `input_by_hand` does."""
        self.availability.check_open()
        verb = await self.input_by_hand(scope, actor, wanted, refer=True)
        await self.change(scope, wanted.workflow_id, verb, preconditions)

    async def input_by_hand(self, scope: TenantScope, actor: str, wanted: WantedEnd, *, refer: bool) -> EndByHand:
        """Return the input of `end_by_hand`. Without *refer* nothing changes. See `EndsByHand.prepare`."""
        workflow_id, step_id, number, _ = wanted
        step = await self.reads.step(scope, workflow_id, step_id)
        item = None if number is None else await self.reads.item(scope, workflow_id, step_id, number)
        workflow = await self.reads.get(scope, workflow_id)
        return await self.by_hand.prepare(scope, actor, wanted, workflow, step, item, refer=refer)

    async def cleanup(
        self,
        scope: TenantScope,
        actor: str,
        workflow_id: UUID,
        *,
        cleanup_tasks: bool,
        preconditions: Preconditions = NO_PRECONDITIONS,
    ) -> tuple[FoundWorkflow, WorkflowCleanupDetail]:
        """Mark the workflow deleted. *cleanup_tasks*: also delete the files of its tasks.

        The files are deleted whatever becomes of this call, which waits for that up to ten seconds.
        """
        verb = Cleanup(actor, cleanup_tasks)
        if not cleanup_tasks:
            return await self._verb(scope, workflow_id, verb, preconditions), empty_report()
        with self.cleanups.observe(workflow_id) as observer:
            applied = await self.change(scope, workflow_id, verb, preconditions)
            report = applied.report or await self.cleanups.wait(observer, begun=applied.changed)
        return await self.reads.find(scope, workflow_id), report

    async def delete_data(self, scope: TenantScope, actor: str, workflow_id: UUID) -> WorkflowDataDeletion:
        """Delete all rows and files of the workflow, which must not be RUNNING. Raises `JobFollowedUp`.

        The deletion goes on whatever becomes of this call. The call waits up to ten seconds for its end.
        """
        self.availability.check_open()
        workflow = await self.reads.get(scope, workflow_id)
        if workflow.status is WorkflowStatus.RUNNING:
            allowed = ALLOWED_FROM["delete_data"]
            raise errors.InvalidTransition("delete_data", workflow.status, allowed, "Cancel it first.")
        if await self.purges.is_followed_up(workflow_id):
            raise errors.JobFollowedUp
        with self.cleanups.observe(workflow_id) as observer:
            if workflow.state.deleted_at is None:
                await self.change(scope, workflow_id, Cleanup(actor, cleanup_tasks=False), NO_PRECONDITIONS)
                if self.access.ownership.others_alive:  # its jobs may still be cancelled in another process
                    await _wait_while(partial(self.reads.runs_elsewhere, scope, workflow_id, self.access.lease.owner))
                # The jobs and sub-workflows of a workflow that was PAUSED are ending. Those sub-workflows are deleted
                # with it that have ended when its deletion begins.
                await _wait_while(partial(self.purges.is_followed_up, workflow_id))
            losers = await self.purges.losers(workflow_id)
            return structs.replace(await self.cleanups.purge(observer, actor), lost_by=list(losers))

    def attempt_of_callback(self, token: str) -> tuple[UUID, UUID]:
        """Return the attempt that a provider reports on by *token*. Raises `NotFound` for one that wasn't made here."""
        attempt = self.callbacks.attempt(token)
        if attempt is None:
            raise errors.NotFound("callback")
        return attempt

    async def handle_callback(self, attempt: tuple[UUID, UUID], body: bytes) -> None:
        """Handle a provider's callback about *attempt*, or pass it on to the process that waits for the job.

        A long body only wakes the attempt. A callback that can't be passed on is lost: the job is polled anyway.
        """
        (workflow_id, task_id), body = attempt, body if len(body) <= _CALLBACK_BYTES_IN_MEMORY else b""
        if workflow_id in self.access.scheduler.workflows or not self.access.ownership.others_alive:
            self.access.scheduler.handle_callback(workflow_id, task_id, body)
            return
        with suppress(errors.Unavailable, errors.TooManyRequests):
            callback = ProviderCallback(task_id, body)
            await self.sender.send(EVERY_TENANT, workflow_id, callback, NO_PRECONDITIONS, _CALLBACK_S)

    async def until_idle(self, workflow_id: UUID) -> None:
        """Wait until the workflow has ended, or this process has nothing to do for it for another reason."""
        await self.access.scheduler.wait_until_evicted(workflow_id)

    async def _verb(
        self, scope: TenantScope, workflow_id: UUID, verb: ClientVerb, preconditions: Preconditions
    ) -> FoundWorkflow:
        await self.change(scope, workflow_id, verb, preconditions)
        return await self.reads.find(scope, workflow_id)

    async def change(
        self, scope: TenantScope, workflow_id: UUID, verb: ClientVerb, preconditions: Preconditions
    ) -> VerbApplied:
        """Apply a verb, here or in the process that runs the workflow, and wait until it is committed."""
        self.availability.check_open()
        may_run_elsewhere = self.access.ownership.others_alive
        for _ in range(_TRIES):
            if may_run_elsewhere and workflow_id not in self.access.scheduler.workflows:
                outcome = await self.sender.send(scope, workflow_id, verb, preconditions)
                if isinstance(outcome, VerbRefused):
                    raise error_of(outcome)
                if isinstance(outcome, VerbApplied):
                    return outcome
            try:
                result = await self.applier.apply(scope, workflow_id, verb, preconditions)
            except NotWritten:
                continue
            except RunsElsewhere:
                may_run_elsewhere = True
                continue
            except TimeoutError:
                outage = self.availability.outage()
                raise type(outage)(f"{outage}; the request may still take effect") from None
            if result.refused is not None:
                raise result.refused
            return VerbApplied(result.changed)
        raise errors.Unavailable("the workflow is being changed elsewhere")

    def _new_id(self) -> UUID:
        return self.make_id(self.clock.now())


async def _wait_while(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait some seconds until *condition* is false."""
    for _ in range(_RELEASE_POLLS):
        if not await condition():
            return
        await asyncio.sleep(_RELEASE_POLL_S)


class Services(Struct, frozen=True):
    """The services that the API calls, one for each subject.

    `origin_instance` is that of definitions which name none; None if the service has none.
    """

    workflows: WorkflowService
    reads: ReadService
    providers: ProviderStatusReader
    counts: WorkflowCounts
    shared_pages: SharedReads[SharedPage]
    cleanups: CleanupRunner
    webhooks: WebhookService
    idempotency: IdempotentRequests
    commands: CommandSender
    completion: CompletionWaiter
    explainer: Explainer
    planner: Planner
    dry_runner: DryRunner
    subscriptions: EventSubscriptions
    previews: Previews
    catalog: ProviderCatalog
    clock: Clock
    expressions: ExpressionEvaluator
    inputs_checker: InputsChecker
    availability: Availability
    memory: MemoryGovernor
    admission: WorkflowAdmission
    create_turns: FairTurns
    limits: TenantLimitsReader
    uploads: UploadService
    definitions: Definitions
    origin_instance: str | None = None
