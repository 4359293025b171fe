"""Dry runs: what a verb would do, computed by the verb's own code on a copy of the workflow.

What must hold:
- Nothing changes: no row, no event, no lease, no file, and nothing in memory. The verb is applied to a copy of the run.
- A dry run raises what the verb would raise, like `InvalidTransition` and `NotFound`.
- If another live process runs the workflow, that process makes the dry run.
"""

from collections.abc import Iterable
from datetime import datetime
from functools import partial
from uuid import UUID

from msgspec import Raw, structs

from stepwell.contract.dry_run_result import DryRun, DryRunVerb, JobToCancel, KeptFile
from stepwell.contract.enums import StepStatus
from stepwell.domain.diagnostics.uncertain_steps import uncertain_steps
from stepwell.domain.errors import NotFound, Unavailable
from stepwell.domain.lifecycle.decision import Decision
from stepwell.domain.lifecycle.effects import Evaluate
from stepwell.domain.lifecycle.flow_run import FlowRun
from stepwell.domain.lifecycle.inputs import SERVICE, Cancel, Cleanup, Pause, Resume, Start, Verb
from stepwell.domain.lifecycle.item_run import ItemRun
from stepwell.domain.lifecycle.peer_commands import DryRunQuestion
from stepwell.domain.lifecycle.run import Run
from stepwell.domain.preconditions import NO_PRECONDITIONS, Preconditions, Version
from stepwell.domain.records import LoadedWorkflow
from stepwell.domain.tenancy import TenantScope
from stepwell.engine.diagnostics.owner_questions import OwnerQuestions
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.engine.execution.recovery import NEEDS_NEWER_VERSION
from stepwell.engine.execution.scheduler import Scheduler
from stepwell.engine.execution.workflow_access import RunsElsewhere
from stepwell.engine.task_files import TaskFiles
from stepwell.offloop import off_loop
from stepwell.ports.clock import Clock, NewId
from stepwell.ports.storage import WorkflowReader, WorkflowStore


class DryRunner:
    """Computes what verbs would do, without doing it. *owner* is the id of this process."""

    def __init__(
        self,
        store: WorkflowReader,
        workflow_store: WorkflowStore,
        scheduler: Scheduler,
        task_files: TaskFiles,
        clock: Clock,
        owner: UUID,
        new_id: NewId,
        owner_questions: OwnerQuestions,
    ) -> None:
        self._store, self._workflow_store, self._scheduler, self._task_files = (
            store,
            workflow_store,
            scheduler,
            task_files,
        )
        self._clock, self._owner, self._new_id = clock, owner, new_id
        self._owner_questions = owner_questions

    async def run(
        self,
        scope: TenantScope,
        workflow_id: UUID,
        verb: DryRunVerb,
        preconditions: Preconditions = NO_PRECONDITIONS,
        *,
        cleanup_tasks: bool = False,
    ) -> tuple[Version, DryRun | Raw]:
        """Return what *verb* would do to the workflow, and the version of the workflow that this is about.

        The result of another process is JSON. *cleanup_tasks* is the parameter of cleanup. Raises `PreconditionFailed`
        if *preconditions* don't hold.
        """
        try:
            loaded = await self._copy(scope, workflow_id)
        except RunsElsewhere:
            question = DryRunQuestion(verb, cleanup_tasks)
            answer = await self._owner_questions.dry_run(scope, workflow_id, question, preconditions)
            if answer is not None:
                return answer.version, answer.result
            loaded = await self._copy(scope, workflow_id)
        preconditions.check(loaded.state)
        version = Version.of(loaded.state.last_event, loaded.state.updated_at)
        verb_input = self._input(verb, cleanup_tasks=cleanup_tasks)
        apply = partial(_apply_dry, verb, loaded, verb_input, self._clock.now())
        result = await off_loop(apply, steps=loaded.unit_count)
        if verb == "cleanup" and cleanup_tasks:
            result = await self._with_files(scope, workflow_id, result)
        return version, result

    async def _copy(self, scope: TenantScope, workflow_id: UUID) -> LoadedWorkflow:
        """Return a copy of the workflow, from memory if it is there. Raises as `run` does."""
        workflow = self._scheduler.workflows.get(workflow_id)
        if workflow is not None:
            if not scope.covers(workflow.tenant):
                raise NotFound("workflow")
            return workflow.snapshot()
        loaded = await self._workflow_store.load(scope, workflow_id)
        if loaded is None:
            raise NotFound("workflow")
        if loaded.state.owner not in (None, self._owner):
            ownership = await self._store.ownership(scope, workflow_id)
            if ownership is not None and ownership.alive:
                raise RunsElsewhere
        if not loaded.is_understood:
            raise Unavailable(NEEDS_NEWER_VERSION, 5)
        return loaded

    def _input(self, verb: DryRunVerb, *, cleanup_tasks: bool) -> Verb:
        match verb:
            case "start":
                return Start(SERVICE, self._new_id(self._clock.now()), self._owner)
            case "pause":
                return Pause(SERVICE)
            case "resume":
                return Resume(SERVICE, self._new_id(self._clock.now()), self._owner)
            case "cancel":
                return Cancel(SERVICE)
            case "cleanup":
                return Cleanup(SERVICE, cleanup_tasks)

    async def _with_files(self, scope: TenantScope, workflow_id: UUID, result: DryRun) -> DryRun:
        """Add the files that cleanup would delete, and those that it would keep."""
        to_delete: list[str] = []
        kept: list[KeptFile] = []
        selected = await self._task_files.select(scope, workflow_id)
        for record, referenced_by in selected:
            paths = [output.path for output in record.task.outputs]
            if referenced_by is None:
                to_delete += paths
            else:
                kept += [KeptFile(path, referenced_by) for path in paths]
        return structs.replace(result, files_to_delete=to_delete, files_kept=kept, tasks=len(selected))


def _apply_dry(verb: DryRunVerb, loaded: LoadedWorkflow, verb_input: Verb, now: datetime) -> DryRun:
    run = ActiveWorkflow(loaded).run
    status_now = run.state.status
    decision = run.apply(verb_input, now)
    result = DryRun(verb=verb, status_now=status_now, status_after=run.state.status)
    if verb in ("start", "resume"):
        return _with_starts(run, decision, result)
    kept = [] if verb == "cleanup" else _step_ids(run, StepStatus.COMPLETED, range(len(run.steps)))
    if verb == "pause":
        running = [run.plans[step.position].step_id for step in run.steps if _goes_on(run, step.position)]
        reset = _step_ids(run, StepStatus.PENDING, sorted(decision.steps))
        return structs.replace(result, running=running, kept=kept, reset=reset)
    jobs = [
        JobToCancel(run.unit_plans[task.position].step_id, task.provider, task.remote_id)
        for task in decision.tasks.values()
        if task.follow_up_until is not None
    ]
    cancelled = _step_ids(run, StepStatus.CANCELLED, sorted(decision.steps))
    return structs.replace(result, cancelled=cancelled, kept=kept, remote_jobs_to_cancel=jobs)


def _with_starts(run: Run, decision: Decision, result: DryRun) -> DryRun:
    """Add what would become of each step after start or resume. *run* has been changed by *decision*."""
    at_once, later, running, kept, may_run = list[str](), list[str](), list[str](), list[str](), list[str]()
    ready = {run.unit_plans[position].position for position in decision.ready} | _questions_of_items(decision)
    decided = {step.position for step in run.steps if step.status in (StepStatus.COMPLETED, StepStatus.RUNNING)}
    uncertain = uncertain_steps(run.plans, decided)
    for step, plan in zip(run.steps, run.plans, strict=True):
        if step.status is StepStatus.COMPLETED:
            kept.append(plan.step_id)
        elif _goes_on(run, step.position):
            running.append(plan.step_id)
        elif step.position in uncertain and step.status is StepStatus.PENDING:
            may_run.append(plan.step_id)
        elif step.status in (StepStatus.PENDING, StepStatus.RUNNING):
            (at_once if step.position in ready else later).append(plan.step_id)
    return structs.replace(
        result,
        would_run=at_once,
        would_run_later=later,
        may_run=may_run,
        running=running,
        kept=kept,
        reset=_step_ids(run, StepStatus.PENDING, sorted(decision.steps)),
        still_skipped=_step_ids(run, StepStatus.SKIPPED, range(len(run.steps))),
        still_failed=_step_ids(run, StepStatus.FAILED, range(len(run.steps))),
    )


def _goes_on(run: Run, position: int) -> bool:
    """Return whether the step or one of its items has an attempt, or it waits for something from outside."""
    if isinstance(run, ItemRun) and (group := run.groups.get(position)) is not None:
        return any(run.has_attempt(item.position) for item in group.items)
    return run.has_attempt(position) or (isinstance(run, FlowRun) and position in run.waits)


def _questions_of_items(decision: Decision) -> set[int]:
    """Return the steps whose items are asked for, because they begin now."""
    return {effect.position for effect in decision.effects if isinstance(effect, Evaluate) and effect.items}


def _step_ids(run: Run, status: StepStatus, positions: Iterable[int]) -> list[str]:
    """Return the ids of those steps at the *positions* that have the status. Items among them don't count."""
    steps = (position for position in positions if position < len(run.steps))
    return [run.plans[position].step_id for position in steps if run.steps[position].status is status]
