"""Explains why a workflow isn't moving: from memory if it runs in this process, else from its rows.

If another process runs the workflow, the explanation is that process's. Its rows must do if there is none in time.

What must hold:
- All state in memory is read at one moment: nothing is awaited in between, and everything is copied.
- An explanation from rows takes at most four statements, however many steps there are. If the workflow runs in this
  process, it takes none, unless the workflow is PAUSED or waits for step_queue. So it works while the database is away.
- One more statement reads the waits below a workflow with sub-workflows. If there are none below a step, its first
  sub-workflow is explained: those of at most `_MAX_EXPLAINED` steps, and below them one in each depth.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import NamedTuple
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from stepwell.basics.errors import DiskFull, NotFound, Unavailable
from stepwell.basics.tenancy import TenantScope
from stepwell.contract import reasons
from stepwell.contract.enums import OnFailure, ProviderType, WorkflowStatus
from stepwell.definition.mapping.task_configs import read_workflow_config
from stepwell.engine.dispatch.model_health import BreakerHold, ModelHealth
from stepwell.engine.dispatch.pools import ModelPool
from stepwell.engine.dispatch.step_queue import LimitKind, QueuedSteps, StepQueue
from stepwell.engine.execution.active_workflow import ActiveWorkflow, RunningAttempt
from stepwell.engine.execution.scheduler import Scheduler
from stepwell.engine.explain.availability import WriteMonitor, WriteTarget
from stepwell.engine.explain.budget_use import BudgetReader
from stepwell.engine.explain.owner_requests import OwnerRequests
from stepwell.lifecycle.records import LoadedWorkflow, WorkflowOwnership
from stepwell.ports.clock import Clock
from stepwell.ports.storage import WorkflowReader, WorkflowStore
from stepwell.rules.diagnostics.explain import (
    AttemptObservation,
    Process,
    RunningChild,
    WorkflowSnapshot,
    explain,
    running_children,
    waits_below,
)
from stepwell.runtime.offloop import off_loop

_MAX_BELOW = 5  # steps of sub-workflows that are named for a step
_MAX_EXPLAINED = 5
_BELOW_S = 3.0  # for all that is below a workflow: another process may have to explain it
_TRIES = 3  # the workflow's owner may change between two statements
_NOWHERE = WorkflowOwnership(None, alive=False, lease_until=None, paused_by=None, paused_at=None)
Waits = (
    reasons.WaitsForSlot
    | reasons.RateLimited
    | reasons.BreakerOpen
    | reasons.EvaluatesExpressions
    | reasons.ChecksReuse
)
_EVALUATING = reasons.EvaluatesExpressions(detail="The expressions of the step are being evaluated.")
_LIMITS: Mapping[LimitKind, reasons.SlotLimit] = {
    LimitKind.TOTAL: "total",
    LimitKind.PROVIDER: "provider",
    LimitKind.MODEL: "model",
    LimitKind.TENANT: "tenant",
}


class _Explained(NamedTuple):
    """An explanation without what is below its steps, and the first sub-workflow of each step that runs any.

    `budget_root` is the workflow whose budget is to be added.
    """

    explanation: reasons.Explanation
    children: Mapping[str, RunningChild]
    budget_root: UUID | None = None


class Explainer(Struct, eq=False, kw_only=True):
    """Explains workflows. *in_process*: the types of the providers that work in this process."""

    store: WorkflowReader
    workflow_store: WorkflowStore
    scheduler: Scheduler
    step_queue: StepQueue
    health: ModelHealth
    clock: Clock
    in_process: frozenset[ProviderType]
    writes: WriteMonitor
    owner_requests: OwnerRequests
    budgets: BudgetReader

    async def explain(
        self, scope: TenantScope, workflow_id: UUID, max_explained: int = _MAX_EXPLAINED
    ) -> reasons.Explanation:
        """Return the reason why each step that has not ended isn't moving.

        Raises `NotFound`, and `Unavailable` if the rows are needed and can't be read.
        """
        workflow = self.scheduler.workflows.get(workflow_id)
        if workflow is not None and not scope.covers(workflow.tenant, workflow.created_by):
            raise NotFound("workflow")
        explained = await (
            self._from_rows(scope, workflow_id) if workflow is None else self._from_memory(scope, workflow)
        )
        explanation, children, budget_root = explained
        if budget_root is not None:
            with contextlib.suppress(Unavailable):
                explanation = replace(explanation, budget=await self.budgets.of_root(budget_root))
        return await self._with_below(scope, explanation, children, max_explained) if children else explanation

    async def _with_below(
        self,
        scope: TenantScope,
        explanation: reasons.Explanation,
        children: Mapping[str, RunningChild],
        max_explained: int,
    ) -> reasons.Explanation:
        below: dict[str, Sequence[reasons.StepBelow]] = {}
        with contextlib.suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(_BELOW_S):
                below |= waits_below(await self.store.waits_below(scope, explanation.workflow_id, _MAX_BELOW))
                others = ((step_id, child) for step_id, child in children.items() if step_id not in below)
                for step_id, child in list(islice(others, max_explained)):
                    below[step_id] = await self._below(scope, reasons.StepAbove(step_id, child.item), child.id)
        steps = [
            replace(step, below=below.get(step.step_id, ())) if step.step_id in children else step
            for step in explanation.steps
        ]
        return replace(explanation, steps=steps)

    async def _below(self, scope: TenantScope, above: reasons.StepAbove, child_id: UUID) -> Sequence[reasons.StepBelow]:
        """Return the step of the sub-workflow, or below it, that it waits for; nothing if that isn't known."""
        try:
            explanation = await self.explain(scope, child_id, max_explained=1)
        except (NotFound, Unavailable):
            return ()
        causes = [step for step in explanation.steps if not isinstance(step.reason, reasons.WaitsForSteps)]
        step = min(causes, key=lambda each: isinstance(each.reason, reasons.HasFailed), default=None)
        if step is None:
            return ()
        if step.below:
            return [replace(step.below[0], above=[above, *step.below[0].above])]
        return [reasons.StepBelow(child_id, step.step_id, [above], step.status, step.reason)]

    async def _from_memory(self, scope: TenantScope, workflow: ActiveWorkflow) -> _Explained:
        now, workflow_id = self.clock.now(), workflow.workflow_id
        loaded, on_failure = workflow.snapshot(), workflow.config.on_failure
        waiting = self.step_queue.queued_steps(workflow.tenant, workflow_id)
        local_waits = self._child_process_waits(workflow_id)
        holds = self.health.holds_on(workflow_id)
        evaluating: dict[int, Waits] = {
            **dict.fromkeys(workflow.open_evaluations, _EVALUATING),
            **_reuse_checks(workflow),
        }
        observations = {task_id: _observe(attempt) for task_id, attempt in workflow.attempts.items()}
        away, draining = self.scheduler.checkpointer.outage, self.scheduler.stopping
        full = away and isinstance(self.writes.refusal(WriteTarget.DATABASE), DiskFull)
        ownership = _NOWHERE
        if loaded.state.status is WorkflowStatus.PAUSED or loaded.state.waits_for_admission:
            with contextlib.suppress(Unavailable):
                ownership = await self.store.ownership(scope, workflow_id) or _NOWHERE

        def explain_snapshot() -> _Explained:
            waits = {} if draining else evaluating | _waits(waiting, holds, now) | local_waits
            stored = self._stored(loaded, on_failure, now, ownership)
            snapshot = replace(stored, database_down=away, disk_full=full, draining=draining)
            return _explain(loaded, replace(snapshot, waits=waits, observations=observations))

        return await off_loop(explain_snapshot, steps=loaded.unit_count)

    def _child_process_waits(self, workflow_id: UUID) -> dict[int, Waits]:
        """Return what the running steps of LOCAL wait for that have a slot and no child process yet, by position."""
        local = self.step_queue.local
        return {
            position: reasons.WaitsForSlot(
                detail=f"{local.used} child processes of LOCAL are busy, and this step needs one with "
                f"{weight.memory >> 20} MiB of memory; it is number {number} in their queue.",
                limit="provider",
                provider=ProviderType.LOCAL,
                model=None,
                slots=local.slots,
                used=local.used,
                position=number,
            )
            for number, ((owner, position), weight) in enumerate(local.queue(), 1)
            if owner == workflow_id
        }

    async def _from_rows(self, scope: TenantScope, workflow_id: UUID) -> _Explained:
        loaded, ownership = await self._load(scope, workflow_id)
        if ownership.owner is not None and ownership.alive:
            explanation = await self.owner_requests.explain(scope, workflow_id)
            if explanation is not None:
                return _Explained(explanation, {})
            loaded, ownership = await self._load(scope, workflow_id)
        owner, now = ownership.owner, self.clock.now()
        elsewhere = None if owner is None else Process(owner, ownership.lease_until, ownership.alive)

        def explain_rows() -> _Explained:
            on_failure = read_workflow_config(loaded.config).on_failure
            return _explain(loaded, replace(self._stored(loaded, on_failure, now, ownership), elsewhere=elsewhere))

        return await off_loop(explain_rows, steps=loaded.unit_count)

    def _stored(
        self, loaded: LoadedWorkflow, on_failure: OnFailure, now: datetime, ownership: WorkflowOwnership
    ) -> WorkflowSnapshot:
        """Return the snapshot without what a process alone knows."""
        return WorkflowSnapshot(
            state=loaded.state,
            on_failure=on_failure,
            steps=loaded.steps,
            items=loaded.items,
            tasks=loaded.open_tasks,
            now=now,
            paused=(ownership.paused_by, ownership.paused_at),
            ahead=ownership.ahead,
            in_process_providers=self.in_process,
        )

    async def _load(self, scope: TenantScope, workflow_id: UUID) -> tuple[LoadedWorkflow, WorkflowOwnership]:
        """Return the workflow and its owner as of one moment."""
        for _ in range(_TRIES):
            loaded = await self.workflow_store.load(scope, workflow_id)
            ownership = await self.store.ownership(scope, workflow_id)
            if loaded is None or ownership is None:
                raise NotFound("workflow")
            if loaded.unreadable is not None:
                raise Unavailable(f"this version can't read the stored workflow: {loaded.unreadable}")
            if loaded.state.owner == ownership.owner:
                return loaded, ownership
        raise Unavailable("the workflow's owner is changing")


def _explain(loaded: LoadedWorkflow, snapshot: WorkflowSnapshot) -> _Explained:
    return _Explained(explain(snapshot), running_children(snapshot), loaded.budget_root)


def _reuse_checks(workflow: ActiveWorkflow) -> dict[int, Waits]:
    if (reuse := workflow.run.reuse) is None:
        return {}
    detail = f"The service looks for a result of the run {reuse.rule.from_} that this step could take over."
    return dict.fromkeys(reuse.requested, reasons.ChecksReuse(detail=detail, workflow_id=reuse.rule.from_))


def _observe(attempt: RunningAttempt) -> AttemptObservation:
    control = attempt.control
    if control is None:
        return AttemptObservation(recorded=False)
    job, waits = control.observation, control.waits_for_memory
    if job is None:
        return AttemptObservation(recorded=True, waits_for_memory=waits, evaluates_mappings=control.evaluates_mappings)
    return AttemptObservation(
        recorded=True,
        word=job.word,
        since=job.since,
        progress=job.progress,
        trouble=job.poll_error,
        waits_for_memory=waits,
    )


def _waits(waiting: Sequence[QueuedSteps], holds: Mapping[int, BreakerHold], now: datetime) -> dict[int, Waits]:
    waits: dict[int, Waits] = {position: _breaker_open(hold) for position, hold in holds.items()}
    for queue in waiting:
        for position, queue_position in queue.positions.by_step().items():
            waits[position] = _wait_in_queue(queue, queue_position, now)
    return waits


def _breaker_open(hold: BreakerHold) -> reasons.BreakerOpen:
    model = f"{hold.key.model} at {hold.key.provider}"
    if hold.probing:
        detail = f"{model} failed too often; one attempt was let through as a test, and this step waits for its end."
    else:
        until = "" if hold.until is None else f" until {hold.until:%Y-%m-%dT%H:%M:%SZ}"
        detail = f"{model} failed too often: nothing is sent to it{until}."
    return reasons.BreakerOpen(
        detail=detail, provider=hold.key.provider, model=hold.key.model, until=hold.until, probing=hold.probing
    )


def _wait_in_queue(
    queue: QueuedSteps, queue_position: int, now: datetime
) -> reasons.WaitsForSlot | reasons.RateLimited:
    pool = queue.pool
    provider, model = (pool.provider, pool.model) if isinstance(pool, ModelPool) else (pool, None)
    if queue.limit_kind is LimitKind.RATE and isinstance(pool, ModelPool) and pool.limit.per_minute is not None:
        per_minute = pool.limit.per_minute
        until = now + timedelta(seconds=queue.due_in_s + (queue_position - 1) * 60 / per_minute)
        detail = f"{pool.model} at {pool.provider} may be asked {per_minute:g} times a minute; "
        earliest = f"{until:%Y-%m-%dT%H:%M:%SZ}"
        detail += f"this step is number {queue_position} in its queue, and starts at {earliest} or later."
        return reasons.RateLimited(
            detail=detail,
            provider=pool.provider,
            model=pool.model,
            per_minute=per_minute,
            until=until,
            position=queue_position,
        )
    owner_of_slots = {
        LimitKind.TOTAL: "all steps together",
        LimitKind.PROVIDER: f"{provider}",
        LimitKind.MODEL: f"{model} at {provider}",
        LimitKind.TENANT: "the tenant",
    }[queue.limit_kind]
    usage = f"{queue.used} of {queue.slots} slots of {owner_of_slots} are taken"
    if queue.slots < queue.all_slots:
        usage = (
            f"this process has {queue.slots} of the {queue.all_slots} slots of {owner_of_slots}, and uses {queue.used}"
        )
        usage += "; other processes have the rest"
    return reasons.WaitsForSlot(
        detail=f"{usage}; this step is number {queue_position} in its queue.",
        limit=_LIMITS[queue.limit_kind],
        provider=provider,
        model=model,
        slots=queue.slots,
        used=queue.used,
        position=queue_position,
    )
