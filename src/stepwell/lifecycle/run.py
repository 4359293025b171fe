"""The state machine of a workflow. The package describes its states.

    input ──► `Run.apply` ──► one method of `Run` ──► parts ──► `Decision`: rows, ready units, effects

    units          the states of steps and items, and which of them may run
    remote         what attempts do at providers
    conditions     evaluations: of conditions, items and configs of waits
    waits          the waits for decisions, signals and times
    items          the items of `for_each`
    children       the sub-workflows
    reuse          the checks whether results of an earlier run are taken over
    steps          the transitions of steps and items; only they change a status
    attempts       the attempts at steps and items
    workflow end   the end of the workflow, its pause and its deadline
    by hand        the steps and items that a person completes or skips
    parking        when the workflow may leave memory, because it only waits

`conditions` to `reuse`, and `parking`, are None if no step needs them. A part calls only parts above it.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, ClassVar, get_args
from uuid import UUID

from msgspec import UNSET
from msgspec.structs import asdict, replace

from stepwell.basics.errors import NotWaiting
from stepwell.contract.enums import EventType, WorkflowStatus
from stepwell.lifecycle.allowed_verbs import check_allowed
from stepwell.lifecycle.attempts import Attempts
from stepwell.lifecycle.by_hand import ByHand
from stepwell.lifecycle.children import Children
from stepwell.lifecycle.conditions import Conditions, needs_evaluation
from stepwell.lifecycle.decision import BudgetRows, CleanupChange, Decision, copy_of
from stepwell.lifecycle.effects import DeadlineAt, FollowUp, WakeAt
from stepwell.lifecycle.inputs import (
    SERVICE,
    AttemptFailed,
    Cancel,
    ChildPausedOrResumed,
    Cleanup,
    Computed,
    Created,
    DeadlinePassed,
    Decide,
    Dispatched,
    Diverted,
    EndByHand,
    Evaluated,
    ExceedBudget,
    FilesDeleted,
    GiveUp,
    HeldBack,
    Input,
    Park,
    Pause,
    RemoteInput,
    Resume,
    RetryDue,
    ReuseChecked,
    Signal,
    Start,
    Succeeded,
    TrialBegun,
    Unpark,
    Update,
)
from stepwell.lifecycle.items import ItemGroup, Items
from stepwell.lifecycle.model import NEVER, Task
from stepwell.lifecycle.parking import Parking
from stepwell.lifecycle.remote_transitions import RemoteTransitions
from stepwell.lifecycle.reuse import ReuseChecks
from stepwell.lifecycle.step_transitions import FlowParts, StepTransitions
from stepwell.lifecycle.stored_run import StoredRun
from stepwell.lifecycle.units import Units, unit_position
from stepwell.lifecycle.waits import Waits
from stepwell.lifecycle.webhook_deliveries import deliveries
from stepwell.lifecycle.workflow_end import WorkflowEnd

# Hot path: an attribute of an enum costs 0.1 µs in Python 3.11.
_RUNNING = WorkflowStatus.RUNNING


class Run:
    """One workflow in memory.

    `apply` takes one input, changes the state and returns a `Decision`; it does no I/O. An input about an attempt
    that is no longer the present one of its unit (a cancel came first) changes nothing.

    `units` are all that can have an attempt, by position: the steps and their items; `resolved_units` are the
    resolved step of each. `parking` is None without flow control and reuse: the workflow is never parked.
    """

    def __init__(self, stored: StoredRun) -> None:
        for task in stored.open_tasks:
            if task.item_key is not None:
                task.position = unit_position(len(stored.steps), task.item_key)
        flows = [resolved.flow for resolved in stored.resolved_steps if resolved.flow is not None]
        self.state, self.config = stored.state, stored.config
        self._units = units = Units(stored)
        self.remote = remote = RemoteTransitions(stored.state, stored.resolved_steps, stored.open_tasks)
        self._parts = parts = FlowParts(
            Conditions(units) if any(map(needs_evaluation, flows)) else None,
            Waits(units, stored.signals) if any(flow.waits_for is not None for flow in flows) else None,
            Items(units, stored.items) if any(flow.for_each is not None for flow in flows) else None,
            Children(units, remote) if any(flow.runs_workflow for flow in flows) else None,
            None if stored.reuse is None else ReuseChecks(units, stored.reuse, stored.always_run),
        )
        self.conditions, self.waits, self.items, self.children, self.reuse = parts
        self._steps = StepTransitions(units, remote, parts)
        self._end = WorkflowEnd(units, self._steps, self.waits)
        self.attempts = Attempts(units, remote, self._steps, parts)
        self.parking = Parking(units, remote, parts) if flows or self.reuse is not None else None
        self.steps, self.resolved_steps = units.steps, units.resolved_steps
        self.units, self.resolved_units = units.units, units.resolved_units
        self.output_budget, self.results_in_memory = units.output_budget, units.results_in_memory
        self._step_webhooks, self._tenant = not stored.suppress_subtask_events, stored.tenant

    @property
    def is_plain(self) -> bool:
        """True if `extend` may be called: no step has flow control, and nobody gets webhooks."""
        return self.parking is None and self.state.webhook_url is None

    # What the engine reads

    @property
    def may_start(self) -> bool:
        """True if new attempts may start."""
        return self._units.may_start

    @property
    def active(self) -> bool:
        """True if the workflow needs a process."""
        state = self.state
        if state.status is _RUNNING and state.owner is not None:
            return True
        attempts = self._units.running if self.children is None else self.children.need_process
        return bool(attempts or self.remote.followed_up)

    @property
    def has_children(self) -> bool:
        """True while a sub-workflow runs. A process takes such a parked workflow first, if a verb may reach that."""
        return self.children is not None and bool(self.children.open)

    def item_group(self, position: int) -> ItemGroup | None:
        """Return the items of the step at the position; None if it has none, or they aren't known yet."""
        return None if self.items is None else self.items.groups.get(position)

    def has_attempt(self, position: int) -> bool:
        """Return whether the unit has an attempt, of this process or of an earlier one."""
        return position in self._units.running

    def is_tried_again(self, position: int) -> bool:
        """Return whether the unit's attempt is between two tries, because its provider was away."""
        return position in self._units.running and self._units.units[position].next_attempt_at is not None

    def open_task(self, position: int) -> Task | None:
        """Return the unit's present attempt, or None."""
        return self._units.running.get(position)

    def wants_new_attempt(self, position: int) -> bool:
        """Return whether the unit would start a new attempt if it got a slot."""
        return self._units.wants_new_attempt(position)

    def orphans(self) -> list[int]:
        """Return the positions of units whose attempt an earlier process began and this one has yet to continue."""
        return self._units.orphans()

    def open_tasks(self) -> list[Task]:
        """Return copies of the present attempts, and of those that are followed up."""
        return [copy_of(task) for task in (*self._units.running.values(), *self.remote.followed_up.values())]

    def pending_work(self) -> Decision:
        """Return the decision with which a process starts to run the workflow. It has no rows.

        Its effects set the timers, and begin the follow-ups and the evaluations. `ready` has the units that want a
        slot.
        """
        decision = Decision.of(self.state)
        for position in sorted(self._units.backoff):
            if (at := self._units.units[position].next_attempt_at) is not None:
                decision.effects.append(WakeAt(position, at))
        if self.state.deadline_at is not None:
            decision.effects.append(DeadlineAt(self.state.deadline_at))
        decision.effects += [FollowUp(task.position, task.id) for task in self.remote.followed_up.values()]
        decision.ready += self._units.startable()
        if self.waits is not None:
            self.waits.set_timers(decision)
        for part in (self.conditions, self.reuse) if self.may_start else ():
            if part is not None:
                part.repeat_requests(decision)
        if self.children is not None:
            self.children.pause_or_resume(decision)
        return decision

    # Inputs

    def apply(self, input_: Input, now: datetime) -> Decision:
        """Apply one input, and return the changes. Costs O(edges that it newly decides).

        A verb that is not allowed in the present status raises `InvalidTransition` and changes nothing.
        """
        decision = Decision.of(self.state)
        self.METHODS[type(input_)](self, decision, input_, now)
        return self._close_decision(decision, now)

    def extend(self, decision: Decision, input_: Dispatched | Computed | Succeeded, now: datetime) -> bool:
        """Apply one input to a run that `is_plain`, and add the changes to its last *decision*, which isn't sent yet.

        Hot path: with `apply` there is a second decision to make and to merge. Return False, and change nothing, if the
        input isn't about the present attempt of its unit, or starts one that may not start or has begun elsewhere.
        """
        events = len(decision.events)
        if isinstance(input_, Computed):
            self.attempts.compute(decision, input_, now)
        elif isinstance(input_, Succeeded):
            self.attempts.succeed(decision, input_, now)
        elif input_.position not in self._units.running:
            self.attempts.dispatch(decision, input_, now)
        if len(decision.events) == events:
            return False
        if type(input_) is not Dispatched:
            self._end.finish_if_done(decision, now)
        self._release_and_record(decision, now)
        return True

    def _start(self, decision: Decision, input_: Start, now: datetime) -> None:
        check_allowed("start", self.state)
        self._take_ownership(input_.owner, input_.execution_id)
        self.state.started_at = now
        decision.emit(self.state, now, EventType.WORKFLOW_STARTED, input_.actor)
        self._end.set_deadline(decision, now, self.config.workflow_timeout_s)
        decision.ready += self._units.startable()

    def _pause(self, decision: Decision, input_: Pause, now: datetime) -> None:
        check_allowed("pause", self.state)
        self._end.pause(decision, input_.actor, now)
        self._finish_stop(decision, now)

    def _resume(self, decision: Decision, input_: Resume, now: datetime) -> None:
        check_allowed("resume", self.state)
        state = self.state
        from_paused = state.status is WorkflowStatus.PAUSED
        timeout = state.timeout_left_s if from_paused else self.config.workflow_timeout_s
        self._take_ownership(input_.owner, input_.execution_id)
        state.failure = state.completed_at = state.timeout_left_s = None
        report = self._steps.reset(decision, now, from_paused=from_paused)
        self._rebuild()
        decision.emit(state, now, EventType.WORKFLOW_RESUMED, input_.actor, data=report)
        self._end.set_deadline(decision, now, timeout)
        decision.ready += self._units.startable()
        if self.waits is not None:
            self.waits.set_timers(decision)  # it may have been loaded for this verb
        if self.children is not None:
            self.children.pause_or_resume(decision)
        self._end.finish_if_done(decision, now)  # all that was left may have been ended by hand

    def _rebuild(self) -> None:
        """Compute the sets of all parts from the statuses of steps and items."""
        self._units.rebuild()
        for part in self._parts:
            if part is not None:
                part.rebuild()

    def _cancel(self, decision: Decision, input_: Cancel, now: datetime) -> None:
        check_allowed("cancel", self.state, "Cleanup cancels a PAUSED workflow without running anything.")
        self._cancel_all(decision, input_.actor, now)

    def _cancel_all(self, decision: Decision, actor: str, now: datetime) -> None:
        self.state.failure = None
        self._steps.cancel_running(decision, actor, now)
        self._steps.cancel_open(decision, actor, now)
        self._rebuild()
        self._end.finish(decision, WorkflowStatus.CANCELLED, EventType.WORKFLOW_CANCELLED, actor, now)

    def _cleanup(self, decision: Decision, input_: Cleanup, now: datetime) -> None:
        if self.state.deleted_at is not None:
            return
        check_allowed("cleanup", self.state)
        if self.state.status in (WorkflowStatus.PENDING, WorkflowStatus.PAUSED):
            self._cancel_all(decision, input_.actor, now)
        self.state.deleted_at = now
        data = {"cleanup_tasks": input_.cleanup_tasks}
        decision.emit(self.state, now, EventType.WORKFLOW_CLEANED, input_.actor, data=data)
        if input_.cleanup_tasks:
            decision.cleanup = CleanupChange.BEGUN

    def _files_deleted(self, decision: Decision, input_: FilesDeleted, now: datetime) -> None:
        decision.emit(self.state, now, EventType.WORKFLOW_FILES_DELETED, SERVICE, data=asdict(input_))
        decision.cleanup = CleanupChange.ENDED

    def _update(self, decision: Decision, input_: Update, now: datetime) -> None:
        check_allowed("update", self.state)
        changed = []
        for name in ("name", "description", "webhook_url", "labels"):
            if (value := getattr(input_.changes, name)) is not UNSET:
                setattr(decision if name == "labels" else self.state, name, value)
                changed.append(name)
        if input_.changes.config is not UNSET:
            self.config = replace(self.config, budget=(budget := input_.changes.config.budget))
            decision.change_budget(BudgetRows(budget=budget))
            changed.append("config.budget")
        decision.emit(self.state, now, EventType.WORKFLOW_UPDATED, input_.actor, data={"changed": changed})

    def _dispatched(self, decision: Decision, input_: Dispatched, now: datetime) -> None:
        self.attempts.dispatch(decision, input_, now)
        if decision.events and input_.position not in self._units.running:  # an item has failed instead
            self._end.finish_if_open(decision, now)

    def _end_attempt(
        self, end: Callable[[Decision, Any, datetime], None], decision: Decision, input_: Input, now: datetime
    ) -> None:
        """Call *end*, which ends an attempt. Then end the workflow if no step is left."""
        end(decision, input_, now)
        if decision.tasks:  # otherwise the input came too late
            self._end.finish_if_done(decision, now)

    def _held_back(self, decision: Decision, input_: HeldBack, now: datetime) -> None:
        if self.attempts.present(input_) is None:
            return
        stops = input_.until is None and self._end.stop_for_budget(decision, input_, now)
        self.attempts.hold_back(decision, input_, now)
        self._finish_stop(decision, now, stops=stops)

    def _exceed_budget(self, decision: Decision, input_: ExceedBudget, now: datetime) -> None:
        check_allowed("pause", self.state)
        self._finish_stop(decision, now, stops=self._end.stop_for_budget(decision, input_, now))

    def _finish_stop(self, decision: Decision, now: datetime, *, stops: bool = True) -> None:
        self._end.finish_if_open(decision, now)
        if stops and self.children is not None and self.state.status is WorkflowStatus.PAUSED:
            self.children.pause_or_resume(decision)

    def _retry_due(self, decision: Decision, input_: RetryDue, now: datetime) -> None:
        if self.waits is None or input_.position not in self.waits.open:
            self.attempts.retry(decision, input_.position, now)
        elif (end := self.waits.end_if_over(decision, input_.position, now)) is not None:
            self._steps.end_wait(decision, self.steps[input_.position], end, now)
            self._end.finish_if_open(decision, now)

    def _evaluated(self, decision: Decision, input_: Evaluated, now: datetime) -> None:
        if self.conditions is None or not self.conditions.take(input_):
            return
        step = self.steps[input_.position]
        if input_.error is not None:
            self._steps.fail_unstarted(decision, step, input_.error, now)
        elif input_.runs:
            self._steps.begin(decision, step, input_, now)
        else:
            self._steps.skip(decision, step, now)
        self._end.finish_if_open(decision, now)

    def _reuse_checked(self, decision: Decision, input_: ReuseChecked, now: datetime) -> None:
        if self.reuse is not None and self.reuse.take(input_):
            self._steps.end_check(decision, input_, now)
            self._end.finish_if_open(decision, now)

    def _decide(self, decision: Decision, input_: Decide, now: datetime) -> None:
        check_allowed("decide", self.state)
        if self.waits is None:
            raise NotWaiting("No step of the workflow waits for that.")
        end = self.waits.decide(input_, now)
        self._steps.end_wait(decision, self.steps[input_.position], end, now)
        self._end.finish_if_open(decision, now)

    def _signal(self, decision: Decision, input_: Signal, now: datetime) -> None:
        check_allowed("signal", self.state)
        if self.waits is None:
            raise NotWaiting("No step of the workflow waits for that.")
        if (ended := self.waits.signal(decision, input_, now)) is not None:
            self._steps.end_wait(decision, *ended, now)
            self._end.finish_if_open(decision, now)

    def _end_by_hand(self, decision: Decision, input_: EndByHand, now: datetime) -> None:
        if ByHand(self._units, self._steps, self._parts).end(decision, input_, now):
            self._rebuild()
        self._end.finish_if_open(decision, now)

    def _child_paused_or_resumed(self, decision: Decision, input_: ChildPausedOrResumed, now: datetime) -> None:
        if self.children is not None and self.children.paused_or_resumed(input_):
            decision.parking_changes = not self.active and self.state.owner is not None
        self._end.finish_if_open(decision, now)

    def _trial_begun(self, decision: Decision, input_: TrialBegun, _: datetime) -> None:
        self.state.crashes, decision.parking_changes = input_.deaths, True

    def _give_up(self, decision: Decision, input_: GiveUp, now: datetime) -> None:
        if not input_.cancels:
            self._end.fail(decision, input_.reason, now)
        elif self.state.status in (WorkflowStatus.RUNNING, WorkflowStatus.PAUSED):
            self._cancel_all(decision, SERVICE, now)

    # Ownership

    def _take_ownership(self, owner: UUID | None, execution_id: UUID) -> None:
        if owner not in (None, self.state.owner):
            self.state.owner, self.state.epoch = owner, self.state.epoch + 1
        self.state.execution_id, self.state.status = execution_id, WorkflowStatus.RUNNING

    # Parking

    def _park(self, decision: Decision, _: Park, now: datetime) -> None:
        if self.parking is not None and self.parking.may_begin(now):
            self.state.owner, self.state.wake_at = None, self.parking.next_due() or NEVER
            decision.parking_changes = True

    def _unpark(self, decision: Decision, input_: Unpark, now: datetime) -> None:
        state = self.state
        may_be_taken = state.status is _RUNNING or (state.status is WorkflowStatus.PAUSED and self.has_children)
        if state.owner is not None or not may_be_taken:
            return
        waited, timeout = state.waits_for_admission, state.timeout_left_s
        state.owner, state.epoch, state.wake_at = input_.owner, state.epoch + 1, None
        decision.parking_changes = True
        if waited and timeout is not None:
            state.timeout_left_s = None
            self._end.set_deadline(decision, now, timeout)
        work = self.pending_work()
        decision.effects += work.effects
        decision.ready += work.ready

    # The end of a decision

    def _close_decision(self, decision: Decision, now: datetime) -> Decision:
        state = self.state
        if self.parking is not None:
            self._request_and_park(decision, self.parking)
        if decision.has_rows:
            self._release_and_record(decision, now)
            if state.webhook_url is not None:
                events = decision.events
                decision.deliveries = deliveries(events, state.webhook_url, self._tenant, steps=self._step_webhooks)
        return decision

    def _release_and_record(self, decision: Decision, now: datetime) -> None:
        """Give up the ownership if nothing needs a process any more, and add the row of the workflow as it is then."""
        state = self.state
        if decision.events or decision.tasks:  # parking changes nothing that a client sees
            state.updated_at = now
        if decision.tasks:  # a verb alone proves nothing about the attempts
            state.crashes = 0
        if not self.active:
            state.owner = None
        decision.workflow = copy_of(state)

    def _request_and_park(self, decision: Decision, parking: Parking) -> None:
        """Request the evaluations and checks that the decision needs. Note the time until which nothing is to do."""
        for part in (self.conditions, self.reuse):
            if part is not None:
                part.request_or_forget(decision)
        if decision.has_rows and (wake_at := parking.wake_at(active=self.active)) != self.state.wake_at:
            self.state.wake_at, decision.parking_changes = wake_at, True

    METHODS: ClassVar[Mapping[type[Input], Callable[["Run", Decision, Any, datetime], None]]] = {
        Dispatched: _dispatched,
        Computed: lambda run, *change: run._end_attempt(run.attempts.compute, *change),  # noqa: SLF001 - its own
        Succeeded: lambda run, *change: run._end_attempt(run.attempts.succeed, *change),  # noqa: SLF001 - its own
        AttemptFailed: lambda run, *change: run._end_attempt(run.attempts.fail, *change),  # noqa: SLF001 - its own
        HeldBack: _held_back,
        ExceedBudget: _exceed_budget,
        Diverted: lambda run, *change: run.attempts.divert(*change),
        RetryDue: _retry_due,
        **dict.fromkeys(get_args(RemoteInput), lambda run, *change: run.attempts.apply_remote(*change)),
        Created: lambda run, decision, by, now: decision.emit(run.state, now, EventType.WORKFLOW_CREATED, by.actor),
        Start: _start,
        Pause: _pause,
        Resume: _resume,
        Cancel: _cancel,
        Cleanup: _cleanup,
        FilesDeleted: _files_deleted,
        Update: _update,
        Evaluated: _evaluated,
        ReuseChecked: _reuse_checked,
        Decide: _decide,
        Signal: _signal,
        EndByHand: _end_by_hand,
        ChildPausedOrResumed: _child_paused_or_resumed,
        Park: _park,
        Unpark: _unpark,
        DeadlinePassed: lambda run, decision, _, now: run._end.pass_deadline(decision, now),  # noqa: SLF001 - its own
        TrialBegun: _trial_begun,
        GiveUp: _give_up,
    }
