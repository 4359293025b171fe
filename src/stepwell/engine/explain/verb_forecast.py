"""Forecasts what a verb does to one workflow, and which sub-workflows it creates or changes, on a copy."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from msgspec import UNSET, Struct, structs

from stepwell.contract.enums import TERMINAL_STATUSES, StepStatus, WorkflowStatus
from stepwell.contract.forecasts import ControlVerb, DryRun, DryRunItems, DryRunRepeat, DryRunVerb, JobToCancel
from stepwell.definition.validation.item_rules import known_count
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.lifecycle.decision import Decision
from stepwell.lifecycle.effects import Evaluate
from stepwell.lifecycle.inputs import Cancel, Cleanup, Pause, Resume, Start
from stepwell.lifecycle.model import ItemState, StepState
from stepwell.lifecycle.peer_commands import ClientVerb
from stepwell.lifecycle.records import LoadedWorkflow, StepRecord
from stepwell.lifecycle.run import Run
from stepwell.rules.diagnostics.plan import uncertain_steps

_OPEN: Final = (StepStatus.PENDING, StepStatus.RUNNING)


class ExistingChild(Struct, frozen=True):
    """A sub-workflow that exists. `verb` would be applied to it if its status is one of `statuses`."""

    step_id: str
    item: int | None
    id: UUID
    verb: ControlVerb
    statuses: frozenset[WorkflowStatus]


class NewChild(Struct, frozen=True):
    """The sub-workflow of a step with this config that has none yet, or those of its items, which are alike."""

    step_id: str
    config: Mapping[str, Any]


class VerbForecast(Struct, frozen=True):
    """A forecast without sub-workflows, and the sub-workflows that the verb may create or change."""

    result: DryRun
    existing: Sequence[ExistingChild] = ()
    new: Sequence[NewChild] = ()


def input_of(
    verb: ControlVerb, actor: str, new_id: UUID, owner: UUID | None, *, cleanup_tasks: bool = False
) -> ClientVerb:
    """Return the input of the *verb*, for the process *owner*. *new_id* is that of the execution that it may begin."""
    match verb:
        case "start":
            return Start(actor, new_id, owner)
        case "pause":
            return Pause(actor)
        case "resume":
            return Resume(actor, new_id, owner)
        case "cancel":
            return Cancel(actor)
        case "cleanup":
            return Cleanup(actor, cleanup_tasks)


def forecast_verb(
    verb: DryRunVerb, loaded: LoadedWorkflow, inputs: Sequence[ClientVerb], now: datetime
) -> VerbForecast:
    """Apply the *inputs* that *verb* leads to, and return what that changes. Raises `InvalidTransition`."""
    run = ActiveWorkflow(loaded).run
    status_now, decision = run.state.status, Decision.of(run.state)
    for each in inputs:
        decision.merge(run.apply(each, now))
    result = DryRun(verb=verb, status_now=status_now, status_after=run.state.status)
    if verb in ("start", "resume"):
        return _with_starts(run, decision, result, loaded.steps)
    if verb in ("give_result", "skip"):
        return VerbForecast(_with_ends(run, decision, result, loaded.steps))
    kept = [] if verb == "cleanup" else _step_ids(run, StepStatus.COMPLETED, range(len(run.steps)))
    if verb == "pause":
        running = [run.resolved_steps[step.position].step_id for step in run.steps if _continues(run, step.position)]
        reset = _step_ids(run, StepStatus.PENDING, sorted(decision.steps))
        children = _live_children(run, range(len(run.steps)), "pause", WorkflowStatus.RUNNING)
        return VerbForecast(structs.replace(result, running=running, kept=kept, reset=reset), children)
    cancelled = _step_ids(run, StepStatus.CANCELLED, sorted(decision.steps))
    jobs = _jobs_to_cancel(run, decision)
    return VerbForecast(
        structs.replace(result, cancelled=cancelled, kept=kept, remote_jobs_to_cancel=jobs),
        _cancelled_children(run, decision) if verb == "cancel" else (),
    )


def _with_ends(run: Run, decision: Decision, result: DryRun, stored: Sequence[StepRecord]) -> DryRun:
    """Add what becomes of the step that is ended by hand, of its items, and of its dependants."""
    changed = sorted(decision.steps)
    owners = {run.resolved_units[position].position for position in changed if position >= len(run.steps)}
    return structs.replace(
        result,
        completed=_step_ids(run, StepStatus.COMPLETED, changed),
        skipped=_step_ids(run, StepStatus.SKIPPED, changed),
        reset=_step_ids(run, StepStatus.PENDING, changed),
        items=[each for own in sorted(owners) if (each := _items(run, run.steps[own], stored[own])) is not None],
    )


def _with_starts(run: Run, decision: Decision, result: DryRun, stored: Sequence[StepRecord]) -> VerbForecast:
    """Add what would become of each step after start or resume. *run* has been changed by *decision*."""
    at_once, later, running, kept, may_run = list[str](), list[str](), list[str](), list[str](), list[str]()
    ready = {run.resolved_units[position].position for position in decision.ready} | _evaluations(decision)
    decided = {step.position for step in run.steps if step.status in (StepStatus.COMPLETED, StepStatus.RUNNING)}
    uncertain = uncertain_steps(run.resolved_steps, decided)
    for step, resolved in zip(run.steps, run.resolved_steps, strict=True):
        if step.status is StepStatus.COMPLETED:
            kept.append(resolved.step_id)
        elif _continues(run, step.position):
            running.append(resolved.step_id)
        elif step.position in uncertain and step.status is StepStatus.PENDING:
            may_run.append(resolved.step_id)
        elif step.status in _OPEN:
            (at_once if step.position in ready else later).append(resolved.step_id)
    open_steps = [step for step in run.steps if step.status in _OPEN]
    result = structs.replace(
        result,
        would_run=at_once,
        would_run_later=later,
        may_run=may_run,
        running=running,
        kept=kept,
        reset=_step_ids(run, StepStatus.PENDING, sorted(decision.steps)),
        still_skipped=_step_ids(run, StepStatus.SKIPPED, range(len(run.steps))),
        still_failed=_step_ids(run, StepStatus.FAILED, range(len(run.steps))),
        items=[each for step in open_steps if (each := _items(run, step, stored[step.position])) is not None],
        repeats=[repeat for step in open_steps if (repeat := _repeat(run, step)) is not None],
    )
    positions = [step.position for step in open_steps]
    existing = _live_children(run, positions, "resume", WorkflowStatus.PAUSED)
    return VerbForecast(result, existing + _continued(run, positions), _new_children(run, positions, stored))


def _evaluations(decision: Decision) -> set[int]:
    """Return the steps that begin now, after an evaluation: of their condition, their items or their wait."""
    return {effect.position for effect in decision.effects if isinstance(effect, Evaluate)}


def _continues(run: Run, position: int) -> bool:
    """Return whether the step or one of its items has an attempt, or it waits for something from outside."""
    if (group := run.item_group(position)) is not None:
        return any(run.has_attempt(item.position) for item in group.items)
    return run.has_attempt(position) or (run.waits is not None and position in run.waits.open)


def _items(run: Run, step: StepState, stored: StepRecord) -> DryRunItems | None:
    """Return the numbers of items of the step; None without `for_each`."""
    step_id, for_each = stored.resolved.step_id, stored.definition.for_each
    if for_each is UNSET:
        return None
    if (group := run.item_group(step.position)) is None:
        total = known_count(for_each)
        return DryRunItems(step_id, total, total, 0, 0, 0)
    total, running = len(group.items), sum(run.has_attempt(item.position) for item in group.items)
    would_run = total - running - group.completed - group.failed - group.skipped
    return DryRunItems(step_id, total, would_run, running, group.completed, group.failed, group.skipped)


def _repeat(run: Run, step: StepState) -> DryRunRepeat | None:
    """Return the next run of a step that repeats; None for other steps, and with items."""
    resolved = run.resolved_steps[step.position]
    if resolved.flow is None or resolved.flow.repeat is None or resolved.flow.for_each is not None:
        return None
    return DryRunRepeat(resolved.step_id, (0 if step.flow is None else step.flow.run) + 1, resolved.flow.repeat.max)


def _jobs_to_cancel(run: Run, decision: Decision) -> list[JobToCancel]:
    """Return the jobs at providers that would be cancelled. Sub-workflows aren't among them."""
    return [
        JobToCancel(
            run.resolved_units[task.position].step_id,
            task.provider,
            task.remote_id,
            None if task.item_key is None else task.item_key.item,
        )
        for task in decision.tasks.values()
        if task.follow_up_until is not None and not run.resolved_units[task.position].runs_workflow
    ]


def _step_ids(run: Run, status: StepStatus, positions: Iterable[int]) -> list[str]:
    """Return the ids of those steps at the *positions* that have the status. Items among them don't count."""
    steps = (position for position in positions if position < len(run.steps))
    return [run.resolved_steps[position].step_id for position in steps if run.steps[position].status is status]


# Sub-workflows


def _units(run: Run, positions: Iterable[int]) -> Iterator[StepState]:
    """Yield the steps at the *positions* that run sub-workflows. The items of a step stand for it if they are known."""
    for position in positions:
        if run.resolved_units[position].runs_workflow:
            group = run.item_group(position)
            yield from [run.steps[position]] if group is None else group.items


def _existing(
    run: Run, units: Iterable[StepState], verb: ControlVerb, statuses: Iterable[WorkflowStatus]
) -> list[ExistingChild]:
    return [
        ExistingChild(
            run.resolved_units[unit.position].step_id,
            unit.item_key.item if isinstance(unit, ItemState) else None,
            unit.flow.child,
            verb,
            frozenset(statuses),
        )
        for unit in units
        if unit.flow is not None and unit.flow.child is not None
    ]


def _live_children(
    run: Run, positions: Iterable[int], verb: ControlVerb, status: WorkflowStatus
) -> list[ExistingChild]:
    """Return the sub-workflows of attempts that continue: they pause and resume with their parent."""
    units = [unit for unit in _units(run, positions) if run.has_attempt(unit.position)]
    return _existing(run, units, verb, [status])


def _continued(run: Run, positions: Iterable[int]) -> list[ExistingChild]:
    """Return the sub-workflows that the next attempts at their steps or items continue."""
    waiting = (unit for unit in _units(run, positions) if unit.status in _OPEN and not run.has_attempt(unit.position))
    return _existing(run, waiting, "resume", [WorkflowStatus.FAILED])


def _cancelled_children(run: Run, decision: Decision) -> list[ExistingChild]:
    stopped = [run.units[task.position] for task in decision.tasks.values() if task.follow_up_until is not None]
    units = (unit for unit in stopped if run.resolved_units[unit.position].runs_workflow)
    return _existing(run, units, "cancel", set(WorkflowStatus) - TERMINAL_STATUSES)


def _new_children(run: Run, positions: Iterable[int], stored: Sequence[StepRecord]) -> list[NewChild]:
    """Return one entry for each step that would create one or more sub-workflows."""
    creating = dict.fromkeys(
        run.resolved_units[unit.position].position
        for unit in _units(run, positions)
        if unit.status in _OPEN and (unit.flow is None or unit.flow.child is None)
    )
    steps = [stored[position] for position in creating]
    return [NewChild(step.resolved.step_id, step.definition.config) for step in steps]
