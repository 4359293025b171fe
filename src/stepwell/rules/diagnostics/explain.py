"""Finds the one reason why each step of a workflow doesn't progress, from a snapshot of the workflow.

What must hold:
- Every step that has not ended has exactly one reason, whatever the snapshot. There is no reason "unknown".
- The reason is what holds the step up now, not what would hold it up next. A step whose dependencies haven't ended
  waits for them, even if the workflow is paused.
- It costs O(steps + edges + items), and does no I/O.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import NamedTuple
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from stepwell.basics.artifacts import parse_artifact_path
from stepwell.contract import reasons
from stepwell.contract.enums import OnFailure, ProviderType, StepStatus, TaskPhase, WaitKind, WorkflowStatus
from stepwell.lifecycle.allowed_verbs import is_allowed
from stepwell.lifecycle.inputs import TENANT_BUDGET
from stepwell.lifecycle.model import ItemState, Outage, Task, Wait, WorkflowState
from stepwell.lifecycle.records import StepRecord
from stepwell.lifecycle.run_if import has_ended
from stepwell.lifecycle.units import unit_position
from stepwell.rules.list_records import WaitBelow

_MAX_NAMES = 50
_NOT_ENDED = (StepStatus.PENDING, StepStatus.RUNNING)
_STUCK = (StepStatus.FAILED, StepStatus.CANCELLED)
_CONTINUABLE = (WorkflowStatus.RUNNING, WorkflowStatus.PAUSED, WorkflowStatus.FAILED)


class AttemptObservation(NamedTuple):
    """The state of a job at its provider, as its attempt in this process has last read it.

    `recorded`: the start of the attempt is committed. `word` is the provider's own word for the status, unchanged since
    the time `since`. `progress` is from 0 to 1. `trouble` says why the latest call had no usable answer.
    `waits_for_memory`: the attempt waits until it may hold its inputs, or an answer, in memory. `evaluates_mappings`:
    it waits for a child process that evaluates its mappings.
    """

    recorded: bool
    word: str | None = None
    since: datetime | None = None
    progress: float | None = None
    trouble: str | None = None
    waits_for_memory: bool = False
    evaluates_mappings: bool = False


class Process(NamedTuple):
    """Another process, which runs the workflow or has run it."""

    id: UUID
    lease_until: datetime | None
    alive: bool


class WorkflowSnapshot(Struct, frozen=True, kw_only=True):
    """A workflow at one moment, and what this process knows about it.

    `items` are those of all its steps. `tasks` are those of attempts that run, and of abandoned jobs that are polled.
    `elsewhere` is the other process that has the workflow, if one has it. `paused` is who paused it, and when.
    `database_down`: the database doesn't respond. `disk_full`: the disk of the database is full. `draining`: this
    process is stopping. `waits` has, by position, what a step or an item waits for in the engine. `observations` are by
    task id: those of the attempts in this process.
    """

    state: WorkflowState
    on_failure: OnFailure
    steps: Sequence[StepRecord]
    tasks: Sequence[Task]
    now: datetime
    items: Sequence[ItemState] = ()
    elsewhere: Process | None = None
    paused: tuple[str | None, datetime | None] = (None, None)
    ahead: int | None = None
    database_down: bool = False
    disk_full: bool = False
    draining: bool = False
    waits: Mapping[
        int,
        reasons.WaitsForSlot
        | reasons.RateLimited
        | reasons.BreakerOpen
        | reasons.EvaluatesExpressions
        | reasons.ChecksReuse,
    ] = {}
    observations: Mapping[UUID, AttemptObservation] = {}
    in_process_providers: frozenset[ProviderType] = frozenset()


def explain(snapshot: WorkflowSnapshot) -> reasons.Explanation:
    """Return why the workflow as a whole, and each of its steps, doesn't progress."""
    state = snapshot.state
    return reasons.Explanation(state.id, state.status, _of_workflow(snapshot), list(_Steps(snapshot).explained()))


class RunningChild(NamedTuple):
    """A sub-workflow of a step. `item` is the number of the item that runs it; None without items."""

    item: int | None
    id: UUID


def running_children(snapshot: WorkflowSnapshot) -> dict[str, RunningChild]:
    """Return the first sub-workflow of each step that runs any, by the step's id."""
    names = {step.resolved.position: step.resolved.step_id for step in snapshot.steps}
    by_step: dict[str, RunningChild] = {}
    for state in (*(step.state for step in snapshot.steps), *sorted(snapshot.items, key=lambda item: item.item_key)):
        flow, key = state.flow, state.item_key if isinstance(state, ItemState) else None
        if state.status is StepStatus.RUNNING and flow is not None and flow.child and flow.child_since:
            position, item = (state.position, None) if key is None else key
            by_step.setdefault(names[position], RunningChild(item, flow.child))
    return by_step


def waits_below(waits: Iterable[WaitBelow]) -> dict[str, list[reasons.StepBelow]]:
    """Return the steps of sub-workflows that wait, by the id of the step at the top that leads to them."""
    by_step: dict[str, list[reasons.StepBelow]] = defaultdict(list)
    for each in waits:
        reason = _waits_outside(each.wait, each.signal or each.step_id)
        below = reasons.StepBelow(each.workflow_id, each.step_id, each.above, StepStatus.RUNNING, reason)
        by_step[each.above[0].step_id].append(below)
    return by_step


def _of_workflow(snapshot: WorkflowSnapshot) -> reasons.WorkflowReason | None:
    state, process = snapshot.state, snapshot.elsewhere
    if snapshot.disk_full:
        return reasons.DiskIsFull(detail="The database's disk is full: nothing can be recorded, and so nothing starts.")
    if snapshot.database_down:
        return reasons.DatabaseAway(detail="The database is away: nothing can be recorded, and so nothing starts.")
    if process is not None:
        return _other_process(process) if process.alive else _owner_dead(process)
    if state.waits_for_admission:
        return _waits_for_admission(snapshot)
    if snapshot.draining:
        return reasons.IsDraining(detail="This process is stopping and starts nothing more; the next one goes on.")
    if state.status is WorkflowStatus.PENDING:
        return _NOT_STARTED
    if state.status is WorkflowStatus.PAUSED:
        return _paused(snapshot)
    if state.status is WorkflowStatus.FAILED:
        return _has_failed(snapshot, "Resume runs what is left.") if is_allowed("resume", state) else _DELETED
    if state.status is WorkflowStatus.RUNNING and _failed(snapshot) and snapshot.on_failure is not OnFailure.CONTINUE:
        return _has_failed(snapshot, "Nothing new starts. The workflow fails when its running steps have ended.")
    return None


class _Steps:
    def __init__(self, snapshot: WorkflowSnapshot) -> None:
        self._snapshot = snapshot
        self._statuses = [step.state.status for step in snapshot.steps]
        self._names = [step.resolved.step_id for step in snapshot.steps]
        self._items: dict[int, list[ItemState]] = defaultdict(list)
        for item in snapshot.items:
            self._items[item.item_key.step].append(item)
        self._under_way = {self._unit_of(task): task for task in snapshot.tasks if task.follow_up_until is None}
        self._abandoned = {
            task.position if task.item_key is None else task.item_key.step: task
            for task in snapshot.tasks
            if task.follow_up_until is not None
        }
        self._failed = [step.resolved.step_id for step in _failed(snapshot)]
        self._resumable = is_allowed("resume", snapshot.state)
        draining = bool(self._failed) and snapshot.on_failure is not OnFailure.CONTINUE
        self._starting = snapshot.state.status is WorkflowStatus.RUNNING and not draining

    def explained(self) -> Iterator[reasons.ExplainedStep]:
        """Yield the steps that have not ended, whose job is still polled, or that have failed, in definition order."""
        for step in self._snapshot.steps:
            if (reason := self._reason(step)) is not None:
                yield reasons.ExplainedStep(step.resolved.step_id, step.state.status, reason)

    def _reason(self, step: StepRecord) -> reasons.StepReason | None:
        position, status = step.resolved.position, step.state.status
        if status not in _NOT_ENDED:
            if (late := self._abandoned.get(position)) is not None:
                return _follows_up(late)
            return self._of_failed(step) if step.resolved.step_id in self._failed else None
        if status is StepStatus.PENDING:
            return self._of_pending(step)
        if step.state.flow is not None and step.state.flow.wait is not None:
            signal = None if step.resolved.flow is None else step.resolved.flow.signal
            return _waits_outside(step.state.flow.wait, signal or step.resolved.step_id)
        if step.resolved.flow is not None and step.resolved.flow.for_each is not None:
            return self._of_items(self._items[position], step)
        return self._of_running(step, position)

    def _of_failed(self, step: StepRecord) -> reasons.StepReason | None:
        """Return the error of a step that has failed, if the workflow goes on, or resume can continue it."""
        state, error = self._snapshot.state, step.state.error_message
        if state.deleted_at is not None or state.status not in _CONTINUABLE:
            return None
        then = ""
        if state.status is WorkflowStatus.FAILED and self._resumable:
            then = " Resume runs it again, unless somebody gives it a result by hand, or skips it."
        detail = f"Has failed for good: {(error or 'no error is known').rstrip('.')}.{then}"
        return reasons.HasFailed(detail=detail, steps=[step.resolved.step_id], error=error, failure=None)

    def _of_running(self, step: StepRecord, position: int) -> reasons.StepReason:
        """Return the reason of a step or an item that runs, at the *position* of its unit."""
        if (waits := self._snapshot.waits.get(position)) is not None:
            return waits
        task, flow, at = self._under_way.get(position), step.state.flow, step.state.next_attempt_at
        if (
            task is not None
            and flow is not None
            and flow.outage is not None
            and at is not None
            and not self._is_late(at)
        ):
            return _provider_away(task.provider, flow.outage, at, step.state.error_message)
        return self._of_attempt(step, task) if task is not None else self._between_attempts(step)

    def _of_items(self, items: Sequence[ItemState], step: StepRecord) -> reasons.WaitsForItems:
        counts, codes, first = Counter(item.status for item in items), Counter[str](), ""
        for item in sorted(items, key=lambda item: item.item_key):
            position = unit_position(len(self._statuses), item.item_key)
            queued = item.status is StepStatus.PENDING and position in self._snapshot.waits
            if queued or item.status is StepStatus.RUNNING:
                reason = self._of_running(replace(step, state=item), position)
                codes[str(reason.__struct_config__.tag)] += 1
                first = first or f" Item {item.item_key.item}: {reason.detail}"
        completed, failed = counts[StepStatus.COMPLETED], counts[StepStatus.FAILED]
        running, waiting = counts[StepStatus.RUNNING], codes.total() - counts[StepStatus.RUNNING]
        pending = len(items) - completed - failed - running
        for_each = None if step.resolved.flow is None else step.resolved.flow.for_each
        stops = failed and for_each is not None and not for_each.collect
        ends = " No further item starts, because one has failed." if stops else ""
        return reasons.WaitsForItems(
            detail=f"Of {len(items):,} items: {completed:,} completed, {failed:,} failed, {running:,} running, "
            f"{waiting:,} queued, {pending - waiting:,} not started.{ends}{first}",
            total=len(items),
            pending=pending,
            running=running,
            completed=completed,
            failed=failed,
            reasons=dict(codes),
        )

    def _unit_of(self, task: Task) -> int:
        return task.position if task.item_key is None else unit_position(len(self._statuses), task.item_key)

    def _of_pending(self, step: StepRecord) -> reasons.StepReason:
        status = self._snapshot.state.status
        if status is WorkflowStatus.PENDING:
            return _NOT_STARTED
        if self._snapshot.state.deleted_at is not None:
            return _DELETED
        if unfinished := [p for p in step.resolved.depends_on if not self._has_ended(p)]:
            return self._waits_for(unfinished)
        if status is WorkflowStatus.PAUSED:
            return _paused(self._snapshot)
        if not self._starting:
            failure = self._snapshot.state.failure
            why = f"{_listed(self._failed)} failed" if self._failed else failure or "The workflow has ended"
            then = "resume runs this step" if self._resumable else "nothing new starts"
            return reasons.FailedElsewhere(detail=f"{why}: {then}.", steps=self._failed, failure=failure)
        return self._snapshot.waits.get(step.resolved.position) or self._about_to_start(step)

    def _has_ended(self, position: int) -> bool:
        step = self._snapshot.steps[position]
        return has_ended(step.resolved, step.state, self._snapshot.on_failure)

    def _waits_for(self, unfinished: Sequence[int]) -> reasons.WaitsForSteps:
        ended = self._names_of(p for p in unfinished if self._statuses[p] in _STUCK)
        stuck = self._names_of(p for p in unfinished if self._is_stuck(p))
        steps = self._names_of(unfinished)
        detail = f"Waits for {_listed(steps, len(unfinished))}."
        if ended:
            detail += f" {_listed(ended)} ended without success{': only resume moves that' * self._resumable}."
        elif stuck:
            detail += f" Nothing new starts{f': only resume moves {_listed(stuck)}' * self._resumable}."
        return reasons.WaitsForSteps(detail=detail, unfinished=len(unfinished), steps=steps, stuck=stuck)

    def _is_stuck(self, position: int) -> bool:
        """Return whether only resume lets the step run."""
        status = self._statuses[position]
        return status in _STUCK or (status is StepStatus.PENDING and not self._starting)

    def _about_to_start(self, step: StepRecord) -> reasons.StepReason:
        snapshot = self._snapshot
        if snapshot.elsewhere is not None:
            return _other_process(snapshot.elsewhere)
        if snapshot.state.waits_for_admission:
            return _waits_for_admission(snapshot)
        if snapshot.draining:
            return reasons.IsDraining(detail="This process is stopping and starts nothing more; the next one runs it.")
        return _runs_here(step.state.attempt + 1, "recording", None)

    def _is_late(self, at: datetime) -> bool:
        """Return whether a time has passed that another process should have heeded."""
        return at <= self._snapshot.now and self._snapshot.elsewhere is not None

    def _between_attempts(self, step: StepRecord) -> reasons.StepReason:
        state, resolved, at = step.state, step.resolved, step.state.next_attempt_at
        if at is None or self._is_late(at):
            return self._about_to_start(step)
        if (error := state.error_message) is not None and error.startswith(TENANT_BUDGET):
            return reasons.WaitsForBudget(detail=f"{error}. The attempt begins at {_time(at)}.", at=at)
        provider = resolved.fallback if state.on_fallback else resolved.provider
        number, attempts = state.provider_attempts + 1, resolved.max_retries + 1
        to = f" at {provider}, the fallback" if state.on_fallback else "" if provider is None else f" at {provider}"
        detail = f"Attempt {number} of {attempts}{to} starts at {_time(at)}."
        if error:
            detail += f" The last error: {error}"
        return reasons.WaitsForRetry(
            detail=detail, provider=provider, attempt=number, attempts=attempts, at=at, error=error
        )

    def _of_attempt(self, step: StepRecord, task: Task) -> reasons.StepReason:
        snapshot, flow = self._snapshot, step.state.flow
        if flow is not None and flow.child is not None and flow.child_since is not None:
            since = _time(flow.child_since)
            detail = f"Has waited for the sub-workflow {flow.child} since {since}."
            return reasons.RunsWorkflow(detail=detail, workflow_id=flow.child, since=flow.child_since)
        observation = snapshot.observations.get(task.id)
        if observation is not None and observation.waits_for_memory:
            return _runs_here(task.attempt, "waiting_for_memory", task, observation.trouble)
        if observation is not None and observation.evaluates_mappings:
            return _runs_here(task.attempt, "evaluating_mappings", task)
        if task.sent is not None and task.provider is not None and task.phase is not TaskPhase.REMOTE_DONE:
            return _at_provider(task, task.provider, observation, snapshot)
        if snapshot.elsewhere is not None or (observation is None and snapshot.draining):
            return self._about_to_start(step)
        trouble = None if observation is None else observation.trouble
        if task.phase is TaskPhase.REMOTE_DONE:
            return _runs_here(task.attempt, "fetching", task, trouble)
        if observation is None or not observation.recorded:
            return _runs_here(task.attempt, "recording", task)
        works = task.provider is None or task.provider in snapshot.in_process_providers
        return _runs_here(task.attempt, "working" if works else "preparing", task, trouble)

    def _names_of(self, positions: Iterable[int]) -> list[str]:
        return [self._names[position] for position in islice(positions, _MAX_NAMES)]


def _waits_outside(wait: Wait, signal: str) -> reasons.StepReason:
    """Return the reason of a step that waits for a decision, for the signal of this name, or for a time."""
    times = f"The wait began at {_time(wait.since)}{'' if wait.until is None else f' and ends at {_time(wait.until)}'}."
    if wait.kind is WaitKind.DECISION:
        choices = list(wait.choices)
        files = [choice for choice in choices if parse_artifact_path(choice)]
        shown = f"a choice between {len(files)} files" if files == choices else f"a decision: {_listed(choices)}"
        detail = f"Waits for {shown}. {times}"
        return reasons.WaitsForDecision(detail=detail, since=wait.since, until=wait.until, choices=choices)
    if wait.kind is WaitKind.DELAY:
        return reasons.IsDelayed(detail=f"This is a delay. {times}", since=wait.since, until=wait.until)
    detail = f"Waits for the signal '{signal}'. {times}"
    return reasons.WaitsForSignal(detail=detail, name=signal, since=wait.since, until=wait.until)


def _provider_away(
    provider: ProviderType | None, outage: Outage, at: datetime, error: str | None
) -> reasons.StepReason:
    detail = f"{provider} has been away since {_time(outage.since)}. Nothing was sent. The attempt is tried again at "
    detail += f"{_time(at)}, and until {_time(outage.until)} no try counts as a failure."
    if error:
        detail += f" The last error: {error}"
    return reasons.ProviderAway(
        detail=detail, provider=provider, since=outage.since, at=at, until=outage.until, error=error
    )


def _at_provider(
    task: Task, provider: ProviderType, observation: AttemptObservation | None, snapshot: WorkflowSnapshot
) -> reasons.StepReason:
    assert task.sent is not None
    trouble = None if observation is None else observation.trouble
    but = f" The last call had no answer: {trouble}" if trouble else ""
    if task.remote_id is None and task.outcome_unknown:
        detail = f"{provider} was sent attempt {task.attempt} at {_time(task.sent.at)}, and its answer was lost: "
        detail += f"its job is looked for.{but}"
        return reasons.OutcomeNotKnown(
            detail=detail, attempt=task.attempt, provider=provider, since=task.sent.at, trouble=trouble
        )
    if task.remote_id is None:
        detail = f"{provider} was sent attempt {task.attempt} at {_time(task.sent.at)}, and has not answered yet."
        return reasons.BeingSent(detail=detail, attempt=task.attempt, provider=provider, since=task.sent.at)
    word, since = (None, task.sent.at) if observation is None else (observation.word, observation.since or task.sent.at)
    seconds = round(max((snapshot.now - since).total_seconds(), 0.0), 3)
    if snapshot.elsewhere is not None:
        says = f"was sent {seconds:.0f} s ago; {_who_knows(snapshot.elsewhere)}"
    elif word:
        says = f"is '{word}' for {seconds:.0f} s."
    else:
        says = f"has not been polled yet; it was sent, and has run for {seconds:.0f} s."
    return reasons.RemoteJob(
        detail=f"Job {task.remote_id} at {provider} {says}{but}",
        attempt=task.attempt,
        provider=provider,
        remote_id=task.remote_id,
        state=word,
        since=since,
        seconds=seconds,
        progress=None if observation is None else observation.progress,
        trouble=trouble,
    )


_NOT_STARTED = reasons.NotStarted(detail="The workflow was never started.")
_DELETED = reasons.IsDeleted(detail="The workflow has failed and is deleted: nothing runs the remaining steps.")
_DOING: Mapping[reasons.Doing, str] = {
    "recording": "its start is being recorded",
    "preparing": "its inputs are being prepared",
    "evaluating_mappings": "its mappings are evaluated in a child process, where tenants take turns",
    "waiting_for_memory": "it waits until other work gives memory back (STEPWELL_MEMORY_MAX_BYTES)",
    "working": "it runs in this process",
    "fetching": "its job has ended, and the result is being fetched",
}


def _runs_here(attempt: int, doing: reasons.Doing, task: Task | None, trouble: str | None = None) -> reasons.RunsHere:
    but = f" The last call had no answer: {trouble}" if trouble else ""
    since = None if task is None or task.started_at is None else task.started_at
    at = "" if since is None else f", begun at {_time(since)}"
    return reasons.RunsHere(
        detail=f"Attempt {attempt}{at}: {_DOING[doing]}.{but}",
        attempt=attempt,
        doing=doing,
        provider=None if task is None else task.provider,
        since=since,
        trouble=trouble,
    )


def _follows_up(task: Task) -> reasons.FollowsUp:
    assert task.follow_up_until is not None
    job = "what may be a job" if task.remote_id is None else f"job {task.remote_id}"
    detail = (
        f"The step has ended; the end of {job} at {task.provider} is waited for until {_time(task.follow_up_until)}."
    )
    return reasons.FollowsUp(
        detail=detail, provider=task.provider, remote_id=task.remote_id, until=task.follow_up_until
    )


def _paused(snapshot: WorkflowSnapshot) -> reasons.IsPaused:
    by, at = snapshot.paused
    who = "" if by is None or at is None else f" by {by} at {_time(at)}"
    budget, then = snapshot.state.pauses_for_budget, "Resume goes on."
    if budget:
        then = f"{snapshot.state.failure}. PATCH of config.budget raises it, and resume goes on."
    return reasons.IsPaused(detail=f"The workflow was paused{who}. {then}", by=by, at=at, budget=budget)


def _waits_for_admission(snapshot: WorkflowSnapshot) -> reasons.WaitsForAdmission:
    ahead = snapshot.ahead
    where = "" if ahead is None else f" It is number {ahead + 1} of those of its tenant."
    return reasons.WaitsForAdmission(
        detail=f"The workflow waits in the database until a process has a slot for it.{where}",
        position=None if ahead is None else ahead + 1,
    )


def _other_process(process: Process) -> reasons.OtherProcess:
    if process.alive:
        until = "" if process.lease_until is None else f", whose lease ends at {_time(process.lease_until)}"
        detail = f"Process {process.id} runs the workflow{until}; it alone knows more."
    else:
        detail = f"Process {process.id}, which ran it, has ended; another takes the workflow over."
    return reasons.OtherProcess(detail=detail, owner=process.id, lease_until=process.lease_until)


def _who_knows(process: Process) -> str:
    if process.alive:
        return f"only process {process.id}, which runs the workflow, knows how it stands."
    return f"process {process.id}, which looked at it, has ended; another takes the workflow over."


def _owner_dead(process: Process) -> reasons.OwnerDead:
    ended = "" if process.lease_until is None else f", its lease at {_time(process.lease_until)}"
    detail = (
        f"Process {process.id}, which ran the workflow, has ended{ended}; another takes it over. After three crashes "
        "within ten minutes, that happens one workflow at a time."
    )
    return reasons.OwnerDead(detail=detail, owner=process.id, lease_until=process.lease_until)


def _failed(snapshot: WorkflowSnapshot) -> list[StepRecord]:
    """Return the first steps whose failure stops or fails the workflow: those that aren't optional."""
    failed = (step for step in snapshot.steps if step.state.status is StepStatus.FAILED and not step.resolved.optional)
    return list(islice(failed, _MAX_NAMES))


def _has_failed(snapshot: WorkflowSnapshot, then: str) -> reasons.HasFailed:
    failed, failure = _failed(snapshot), snapshot.state.failure
    names = [step.resolved.step_id for step in failed]
    error = failed[0].state.error_message if failed else None
    why = failure or (f"{_listed(names)} failed for good" if failed else "The workflow has failed")
    if error and not failure:
        why += f": {error}" if len(failed) == 1 else f". The error of {_listed(names[:1])}: {error}"
    return reasons.HasFailed(detail=f"{why.rstrip('.')}. {then}", steps=names, error=error, failure=failure)


def _listed(names: Sequence[str], total: int | None = None) -> str:
    text = ", ".join(f"'{name}'" for name in names[:5])
    more = (len(names) if total is None else total) - 5
    return f"{text} and {more} more" if more > 0 else text


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"
