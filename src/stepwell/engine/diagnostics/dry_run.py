"""What a verb would do, told by its own code on a copy of the workflow.

What must hold:
- Nothing changes: no row, no event, no lease, no file, nothing in memory. A real run is copied, never fed.
- It answers what the verb would: `InvalidTransition` and `NotFound` are raised as by the verb itself, and `Unavailable`
  where a living process has the workflow that isn't this one.
"""

from datetime import datetime
from functools import partial
from uuid import UUID

from msgspec import structs

from stepwell.contract.dry_run_result import DryRun, DryRunVerb, JobToCancel, KeptFile
from stepwell.contract.enums import StepStatus
from stepwell.domain.errors import NotFound, Unavailable
from stepwell.domain.lifecycle.decision import Decision
from stepwell.domain.lifecycle.inputs import SERVICE, Cancel, Cleanup, Resume, Start, Verb
from stepwell.domain.lifecycle.run import Run
from stepwell.domain.preconditions import NO_PRECONDITIONS, Preconditions, Version
from stepwell.domain.records import LoadedWorkflow
from stepwell.domain.tenancy import TenantScope
from stepwell.engine.artifact_cleanup import ArtifactCleaner
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.engine.execution.recovery import RUNS_ELSEWHERE
from stepwell.engine.execution.scheduler import Scheduler
from stepwell.offloop import off_loop
from stepwell.ports.clock import Clock, NewId
from stepwell.ports.storage import WorkflowReader, WorkflowStore


class DryRunner:
    def __init__(
        self,
        store: WorkflowReader,
        journal: WorkflowStore,
        scheduler: Scheduler,
        cleaner: ArtifactCleaner,
        clock: Clock,
        owner: UUID,
        new_id: NewId,
    ) -> None:
        self._store, self._journal, self._scheduler, self._cleaner = store, journal, scheduler, cleaner
        self._clock, self._owner, self._new_id = clock, owner, new_id

    async def rehearse(
        self,
        scope: TenantScope,
        workflow_id: UUID,
        verb: DryRunVerb,
        preconditions: Preconditions = NO_PRECONDITIONS,
        *,
        cleanup_tasks: bool = False,
    ) -> tuple[Version, DryRun]:
        """What *verb* would do to the workflow in the version that it has now; *cleanup_tasks* is for cleanup. Raises
        `PreconditionFailed` where the *preconditions* don't allow it.
        """
        loaded = await self._copy(scope, workflow_id)
        preconditions.check(loaded.state)
        version = Version.of(loaded.state.last_event, loaded.state.updated_at)
        given = self._input(verb, cleanup_tasks=cleanup_tasks)
        made = partial(_rehearsed, verb, loaded, given, self._clock.now())
        told = await off_loop(made, steps=len(loaded.steps))
        if verb == "cleanup" and cleanup_tasks:
            told = await self._with_files(scope, workflow_id, told)
        return version, told

    async def _copy(self, scope: TenantScope, workflow_id: UUID) -> LoadedWorkflow:
        handle = self._scheduler.workflows.get(workflow_id)
        if handle is not None:
            if not scope.covers(handle.tenant):
                raise NotFound("workflow")
            return handle.snapshot()
        loaded = await self._journal.load(scope, workflow_id)
        if loaded is None:
            raise NotFound("workflow")
        if loaded.state.owner not in (None, self._owner):
            where = await self._store.ownership(scope, workflow_id)
            if where is not None and where.alive:
                raise Unavailable(RUNS_ELSEWHERE)
        return loaded

    def _input(self, verb: DryRunVerb, *, cleanup_tasks: bool) -> Verb:
        match verb:
            case "start":
                return Start(SERVICE, self._new_id(self._clock.now()), self._owner)
            case "resume":
                return Resume(SERVICE, self._new_id(self._clock.now()), self._owner)
            case "cancel":
                return Cancel(SERVICE)
            case "cleanup":
                return Cleanup(SERVICE, cleanup_tasks)

    async def _with_files(self, scope: TenantScope, workflow_id: UUID, told: DryRun) -> DryRun:
        going: list[str] = []
        kept: list[KeptFile] = []
        selected = await self._cleaner.selected(scope, workflow_id)
        for record, reader in selected:
            paths = [output.path for output in record.task.outputs]
            if reader is None:
                going += paths
            else:
                kept += [KeptFile(path, reader) for path in paths]
        return structs.replace(told, files_to_delete=going, files_kept=kept, tasks=len(selected))


def _rehearsed(verb: DryRunVerb, loaded: LoadedWorkflow, given: Verb, now: datetime) -> DryRun:
    run = ActiveWorkflow(loaded).run
    status_now = run.state.status
    decision = run.apply(given, now)
    told = DryRun(verb=verb, status_now=status_now, status_after=run.state.status)
    if verb in ("start", "resume"):
        return _of_running(run, decision, told)
    jobs = [
        JobToCancel(run.plans[task.position].step_id, task.provider, task.remote_id)
        for task in decision.tasks.values()
        if task.follow_up_until is not None
    ]
    kept = _named(run, StepStatus.COMPLETED, range(len(run.steps))) if verb == "cancel" else []
    cancelled = _named(run, StepStatus.CANCELLED, sorted(decision.steps))
    return structs.replace(told, cancelled=cancelled, kept=kept, remote_jobs_to_cancel=jobs)


def _of_running(run: Run, decision: Decision, told: DryRun) -> DryRun:
    at_once, later, running, kept = list[str](), list[str](), list[str](), list[str]()
    wanted = set(decision.ready)
    for step, plan in zip(run.steps, run.plans, strict=True):
        if step.status is StepStatus.COMPLETED:
            kept.append(plan.step_id)
        elif run.under_way(step.position):
            running.append(plan.step_id)
        else:
            (at_once if step.position in wanted else later).append(plan.step_id)
    return structs.replace(
        told,
        would_run=at_once,
        would_run_later=later,
        running=running,
        kept=kept,
        reset=_named(run, StepStatus.PENDING, sorted(decision.steps)),
    )


def _named(run: Run, status: StepStatus, positions: range | list[int]) -> list[str]:
    return [run.plans[position].step_id for position in positions if run.steps[position].status is status]
