"""Runs the workflows in memory: applies inputs, commits decisions, runs their effects, starts and ends attempts.

    input ──► `Run.apply` ──► decision ──► queue of ready steps ──► `start_steps`: one decision for each start
                                 │
                                 └──► checkpointer: rows committed ──► events reported ──► effects run

What must hold:
- A ready step waits in the queue, so that slots are granted in a fair order. Only one that needs no provider starts at
  once, and only while no step waits and a slot is free.
- An effect runs only after the rows of its decision have committed. So an attempt starts only after its INTENT has.
  `StepComputer` computes steps without a provider earlier: while the decision that lets them start is being written.
- The inputs of a workflow are applied one after the other, and only while the workflow is in memory.
- A workflow is in memory while it is active here and not on hold, a verb has pinned it, or it has unwritten decisions.
- Nothing of a workflow on hold starts. What its decisions lead to starts with the claim, or with its trial.
- An attempt keeps its slot until its task has really ended. Its end is reported once to its breaker and at most once to
  its workflow.
- A workflow that this process has lost gets no input any more. Its attempts are cancelled. They record nothing and
  delete no file. The workflow isn't claimed again before the last of them has ended.
- A workflow that has left memory has no queued step, no timer and no follow-up. If it has attempts that still end,
  it is in `leaving` until then.
- `stop` starts nothing more and records no cancellation: the next process continues the attempts.
- Every task is in `tasks`. If anything here breaks, `run` raises, and the process ends with it.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog

from stepwell.engine.attempts.input_resolver import PreparedAttempt
from stepwell.engine.attempts.runner import AttemptRunner
from stepwell.engine.dispatch.model_health import ModelHealth
from stepwell.engine.dispatch.step_queue import StepQueue
from stepwell.engine.events.bus import EventBus
from stepwell.engine.execution.active_workflow import ActiveWorkflow, RunningAttempt
from stepwell.engine.execution.attempt_starter import AttemptStarter
from stepwell.engine.execution.checkpointer import Checkpointer
from stepwell.engine.execution.claim_requests import ClaimRequests
from stepwell.engine.execution.fail_fast_group import FailFastGroup
from stepwell.engine.execution.flow_evaluations import FlowEvaluations
from stepwell.engine.execution.follow_ups import FollowUps
from stepwell.engine.execution.item_memory import ItemMemory
from stepwell.engine.execution.leaving_workflows import LeavingWorkflows
from stepwell.engine.execution.open_children import OpenChildren
from stepwell.engine.execution.outcomes import Outcomes
from stepwell.engine.execution.reuse_checks import ReuseFinder
from stepwell.engine.execution.step_computer import StepComputer
from stepwell.engine.execution.step_dispatcher import AttemptStart, StepDispatcher
from stepwell.engine.execution.timers import Timers
from stepwell.engine.execution.workflow_queue import WorkflowQueue
from stepwell.lifecycle.decision import Decision, RequestMarks
from stepwell.lifecycle.effects import (
    CancelAttempt,
    CheckReuse,
    DeadlineAt,
    Effect,
    Evaluate,
    FollowUp,
    PauseOrResumeChild,
    StartAttempt,
    WakeAt,
)
from stepwell.lifecycle.inputs import AttemptFailed, Computed, Dispatched, Input, Succeeded
from stepwell.lifecycle.output_budget import RESULTS_MAX_BYTES
from stepwell.ports.clock import Clock, NewId
from stepwell.ports.storage import WorkflowStore
from stepwell.runtime.memory import MemoryGovernor
from stepwell.runtime.telemetry import LoopLag

log = structlog.get_logger()

_EXTENSION_EVENTS = 3  # of `Run.extend`: begin and end of a step, end of the workflow; a refused result may add more
_CANCEL_S = 2.0  # for attempts that are cancelled when the process stops


class Scheduler:
    """Runs the workflows in memory, which *workflows* has by id.

    `lease_losses` counts those that another process has taken over from this one.
    """

    def __init__(
        self,
        workflow_store: WorkflowStore,
        runner: AttemptRunner,
        step_queue: StepQueue,
        health: ModelHealth,
        clock: Clock,
        new_id: NewId,
        *,
        workflows: dict[UUID, ActiveWorkflow],
        claims: ClaimRequests,
        queue: WorkflowQueue,
        sub_workflows: OpenChildren,
        bus: EventBus,
        outcomes: Outcomes,
        reuse: ReuseFinder,
        memory: MemoryGovernor,
        results_max_bytes: int = RESULTS_MAX_BYTES,
    ) -> None:
        self._runner, self._step_queue, self._clock, self._bus = runner, step_queue, clock, bus
        self._new_id, self._results_max_bytes = new_id, results_max_bytes
        self.outcomes, self.loop_lag, self.lease_losses = outcomes, LoopLag(), 0
        self.workflows, self._claims, self._queue, self._sub_workflows = workflows, claims, queue, sub_workflows
        self.group, self.started = FailFastGroup(), asyncio.Event()
        self.leaving = LeavingWorkflows(workflows)
        on_result = self._on_sent, self._on_committed, self._on_not_written
        self.checkpointer = Checkpointer(workflow_store, *on_result, memory, self.group.fail_fast)
        step_queue.is_backed_up = self.checkpointer.is_backed_up  # each commit calls `start_steps` again
        self.dispatcher = StepDispatcher(
            self.workflows, runner, step_queue, health, clock, self.start_steps, self.group.fail_fast
        )
        self.timers = Timers(clock, queue, self.apply, self.group.fail_fast)
        self.item_memory = ItemMemory()
        self._evaluations = FlowEvaluations(reuse, self.group, self._apply, self.apply, self.item_memory)
        self._attempt_starter = AttemptStarter(
            runner, step_queue, self.dispatcher, self.checkpointer, self.group, self.apply, self._attempt_task_ended
        )
        self._computer = StepComputer(
            runner, step_queue, self.checkpointer, self._apply_end, self._submit, self._attempt_ended
        )
        self._follow_ups = FollowUps(runner, clock, self.group, self.apply, self._attempt_starter.make_control)
        self._effect_handlers: Mapping[type[Effect], Callable[[ActiveWorkflow, Any], None]] = {
            StartAttempt: self._start_attempt,
            CancelAttempt: lambda workflow, effect: self._cancel_attempt(workflow, effect.task_id),
            FollowUp: lambda workflow, effect: self._follow_ups.begin(workflow, effect.position, effect.task_id),
            WakeAt: self.timers.wake,
            DeadlineAt: self.timers.set_deadline,
            Evaluate: self._evaluations.begin,
            CheckReuse: self._evaluations.begin_reuse_check,
            PauseOrResumeChild: sub_workflows.pause_or_resume,
        }
        self._checkpoints: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Run until cancelled. Raises if anything here breaks."""
        await self.group.run(self._begin)

    def _begin(self) -> None:
        self.started.set()
        _ = self.group.spawn(self.loop_lag.run(), "loop lag")
        self._checkpoints = self.group.spawn(self.checkpointer.run(), "checkpointer")

    # Workflows come and go

    @property
    def held(self) -> set[UUID]:
        """The workflows that must not be claimed: they are in memory, or have attempts or unwritten decisions here."""
        return self.workflows.keys() | self.leaving.ids | self.checkpointer.held

    @property
    def stopping(self) -> bool:
        return self._step_queue.closed

    def register(self, workflow: ActiveWorkflow) -> None:
        """Add the workflow to those in memory. Start nothing of it yet."""
        assert workflow.workflow_id not in self.workflows
        self.workflows[workflow.workflow_id] = workflow
        workflow.run.output_budget.max_bytes = self._results_max_bytes
        self.item_memory.add(workflow, workflow.items)
        self._claims.wake_if_idle()
        self._queue.count_registered(workflow)

    def start_pending(self, workflow: ActiveWorkflow) -> None:
        """Start the pending work of a registered workflow: timers, its deadline, follow-ups and ready steps."""
        self._dispatch(workflow, workflow.run.pending_work(), self._clock.now())
        self.start_steps()

    def unregister(self, workflow: ActiveWorkflow) -> None:
        """Remove the workflow from memory. The caller removes its timers, and its queued steps if it may have some."""
        if self.workflows.get(workflow.workflow_id) is workflow:
            del self.workflows[workflow.workflow_id]
            if workflow.attempts:
                self.leaving.add(workflow)
            self._evaluations.end(workflow)
            self.item_memory.forget(workflow)
            workflow.evicted.set()
            if workflow.on_hold and workflow.run.state.owner is not None:
                self._claims.request()  # because a claim has left it out
            self._queue.count_unregistered(workflow)
            self._sub_workflows.forget(workflow)

    @contextlib.contextmanager
    def pin(self, workflow: ActiveWorkflow) -> Iterator[None]:
        """Keep the workflow in memory within the context, unless this process loses it."""
        workflow.pins += 1
        try:
            yield
        finally:
            workflow.pins -= 1
            self.evict_if_idle(workflow)

    def evict_if_idle(self, workflow: ActiveWorkflow) -> None:
        """Remove the workflow from memory if nothing of it runs, nobody uses it, and all of it is written."""
        runs = workflow.run.active and not workflow.on_hold
        if not runs and not workflow.pins and not self.checkpointer.holds(workflow.workflow_id):
            self.unregister(workflow)
            self.timers.cancel_all(workflow)

    def drop(self, workflow_id: UUID) -> None:
        """Drop a workflow that another process has, or whose rows the database refuses.

        It is claimed again when its last attempt here has ended.
        """
        workflow = self.workflows.get(workflow_id)
        if workflow is not None:
            workflow.lost = True
            self.unregister(workflow)
            self.dispatcher.withdraw(workflow)
            self.timers.cancel_all(workflow)
            self._follow_ups.end(workflow)
        if leaving := self.leaving.versions_of(workflow_id):
            for each in leaving:
                each.lost = True
                for task_id in list(each.attempts):
                    self._cancel_attempt(each, task_id)
        else:
            self._claims.request_lost(workflow_id, 0 if workflow is None else workflow.refusals)
        self.start_steps()

    async def wait_until_evicted(self, workflow_id: UUID) -> None:
        """Wait until the workflow isn't in memory. If it isn't now, return without yielding to the event loop."""
        if workflow := self.workflows.get(workflow_id):
            await workflow.evicted.wait()

    async def stop(self, grace_s: float) -> None:
        """Stop the attempts before the process ends, for example after SIGTERM.

        An attempt that only waits for its job is cancelled, because the job goes on at the provider and the next
        process finds it. Others have *grace_s* seconds to end, and are cancelled then. No cancellation is recorded.
        """
        self._step_queue.closed = self._follow_ups.closed = self._evaluations.closed = True
        for workflow in self.workflows.values():
            self._follow_ups.end(workflow)
            self._evaluations.end(workflow)
        for attempt in (attempts := self.leaving.all_attempts()):
            if attempt.control is not None:
                attempt.control.cancel_at_rest()  # its job goes on at the provider, and the next process finds it
        if asyncio_tasks := [attempt.asyncio_task for attempt in attempts if attempt.asyncio_task is not None]:
            await asyncio.wait(asyncio_tasks, timeout=grace_s)
        for attempt in self.leaving.all_attempts():
            if attempt.control is not None:
                attempt.control.cancel()
        if rest := [asyncio_task for asyncio_task in asyncio_tasks if not asyncio_task.done()]:
            await asyncio.wait(rest, timeout=_CANCEL_S)
        for workflow in self.workflows.values():
            self.timers.cancel_all(workflow)
        self.dispatcher.close()
        self.checkpointer.close()

    async def wait_until_written(self) -> None:
        """After `stop`: wait until everything that was queued is committed."""
        assert self._checkpoints is not None
        await asyncio.wait({self._checkpoints})

    # Inputs and decisions

    def apply(self, workflow: ActiveWorkflow, input_: Input, marks: RequestMarks | None = None) -> bool:
        """Apply an input to the workflow, and start the steps that may start now. Return whether it changed anything.

        If the workflow isn't in memory any more, nothing happens and False is returned. The decision isn't committed
        yet: `Checkpointer.flushed` waits for that. Raises `InvalidTransition` for a verb that isn't allowed.
        """
        changed = self._apply(workflow, input_, marks)
        self.start_steps()
        return changed

    def handle_callback(self, workflow_id: UUID, task_id: UUID, body: bytes = b"") -> None:
        """Handle a provider's callback: if the attempt or its follow-up runs here, wake it, so that it polls."""
        if (workflow := self.workflows.get(workflow_id)) is not None:
            workflow.handle_callback(task_id, body)

    def _apply(
        self, workflow: ActiveWorkflow, input_: Input, marks: RequestMarks | None = None, now: datetime | None = None
    ) -> bool:
        if self.workflows.get(workflow.workflow_id) is not workflow:
            return False
        now = now or self._clock.now()
        decision = workflow.run.apply(input_, now)
        changed = decision.has_rows
        if changed and marks is not None:
            decision.mark(marks)
        self._dispatch(workflow, decision, now)
        return changed

    def _extend(
        self, workflow: ActiveWorkflow, input_: Dispatched | Computed | Succeeded, now: datetime, size: int = 0
    ) -> bool:
        """Add what the input changes to the workflow's last decision, if that is still in the queue.

        *size* is how many bytes the input adds. Return False if nothing was added. Hot path, see `Run.extend`.
        """
        decision = self.checkpointer.last_queued(workflow.workflow_id, _EXTENSION_EVENTS, size)
        if decision is None or workflow.on_hold or not workflow.run.is_plain:
            return False
        events, ready = len(decision.events), len(decision.ready)
        if not workflow.run.extend(decision, input_, now):
            return False
        self.checkpointer.grow(workflow.workflow_id, len(decision.events) - events, size)
        if type(input_) is not Dispatched:
            self._enqueue(workflow, self._update_queued(workflow, decision.ready[ready:]), now, decision)
        return True

    def _apply_end(self, workflow: ActiveWorkflow, end: Computed | Succeeded | AttemptFailed, now: datetime) -> None:
        if isinstance(end, AttemptFailed) or not self._extend(workflow, end, now, len(end.result)):
            self._apply(workflow, end, now=now)

    def _dispatch(self, workflow: ActiveWorkflow, decision: Decision, now: datetime) -> None:
        """Queue the rows of *decision* for the checkpointer, and its ready steps for a slot."""
        if workflow.evaluates:
            workflow.update_labels(decision)
        if workflow.on_hold:
            decision.effects.clear()  # `Run.pending_work` has them
            self._submit(workflow, decision)
            return
        ready = self._update_queued(workflow, decision.ready)
        if decision.new_items:
            self.item_memory.add(workflow, decision.new_items)
            if slots := workflow.count_items():
                self._queue.count_grown(workflow, slots)
        last = self._submit(workflow, decision)
        self._enqueue(workflow, ready, now, last)

    def _update_queued(self, workflow: ActiveWorkflow, ready: Sequence[int]) -> Sequence[int]:
        """Withdraw the queued steps of a workflow that has just stopped to start attempts, or just begun to.

        Return the positions to queue now: those that its decision has made *ready*, or the orphans if it has stopped.
        """
        if workflow.run.may_start:
            if workflow.dequeued:
                # Steps that still wait in the queue are also ready in the decision. None must be queued twice.
                workflow.dequeued = False
                self.dispatcher.withdraw(workflow)
        elif not workflow.dequeued:
            workflow.dequeued = True
            self.dispatcher.withdraw(workflow)
            return workflow.run.orphans()
        return ready

    def _enqueue(self, workflow: ActiveWorkflow, ready: Sequence[int], now: datetime, last: Decision | None) -> None:
        """Queue the steps for a slot. Start those at once that need no provider, while slots are free for all.

        *last* is the workflow's last decision, if that is in the queue of the checkpointer.
        """
        started = 0
        if ready and workflow.run.is_plain:
            while started < len(ready) and (slot := self.dispatcher.slot_at_once(workflow, ready[started])):
                if last is not None and workflow.can_be_computed(slot.position):
                    self._computer.compute_after(last, workflow, slot, self._new_id(now))
                else:
                    self._begin_attempt(AttemptStart(workflow, slot, None, None, in_process=True), now)
                started += 1
        if started < len(ready):
            self.dispatcher.enqueue(workflow, ready[started:])

    def start_steps(self) -> None:
        """Start every step in the queue that may start now.

        An attempt that has nothing to wait for ends at once, and may make other steps ready. The same loop starts these
        too, so nothing inside the loop calls this function.
        """
        if not self._step_queue.waiting:
            return
        now = self._clock.now()
        for start in self.dispatcher.next_starts():
            if isinstance(start, AttemptStart):
                self._begin_attempt(start, now)
            else:
                self._apply(start.workflow, start.input, now=now)

    def _submit(self, workflow: ActiveWorkflow, decision: Decision) -> Decision | None:
        """Queue the decision for the checkpointer, and return the one in its queue that this is part of now."""
        if (queued := self.checkpointer.submit(decision, workflow.tenant)) is None:
            self._run_effects(workflow, decision)
        return queued

    def _on_sent(self, decision: Decision) -> None:
        """Do the work that needs nothing outside this process while *decision* is being written."""
        workflow = self.workflows.get(decision.workflow.id)
        if workflow is None or workflow.on_hold or self._step_queue.closed:
            return
        if self._computer.work_ahead(workflow, decision, self._clock.now()):
            self.start_steps()

    def _on_committed(self, decision: Decision) -> None:
        workflow = self.workflows.get(decision.workflow.id)
        if workflow is None:
            self._bus.invalidate((decision.workflow.id,))
            return
        workflow.refusals = 0
        if decision.events:
            self._bus.publish(workflow.committed_events(decision))
            self.outcomes.committed(workflow, decision)
        if (parent_id := decision.ended_child_of) is not None:
            self._sub_workflows.child_ended(parent_id, workflow.workflow_id)
        self._run_effects(workflow, decision)
        self.start_steps()

    def _on_not_written(self, workflow_id: UUID, refused: bool) -> None:  # noqa: FBT001 - a callback
        """Drop a workflow whose decision was not written. Unless *refused*, another process has taken it over."""
        if not refused:
            self.lease_losses += 1
        elif (workflow := self.workflows.get(workflow_id)) is not None:
            workflow.refusals += 1
        self.drop(workflow_id)

    def _run_effects(self, workflow: ActiveWorkflow, decision: Decision) -> None:
        if decision.effects:
            self._computer.compute_steps(workflow, decision, self._clock.now())
        for effect in decision.effects:
            self._effect_handlers[type(effect)](workflow, effect)
        self.evict_if_idle(workflow)
        if not workflow.on_hold:
            self.timers.consider_parking(workflow)

    # Attempts

    def _begin_attempt(self, start: AttemptStart, now: datetime) -> None:
        """Apply `Dispatched`, which writes the attempt's INTENT. `_start_attempt` follows once that is committed.

        An item doesn't start, but fails, if the workflow's results have no room for another one. A step that can be
        computed gets no `Dispatched` if the workflow's last decision is still in the queue: it is computed after that.
        """
        workflow, task_id = start.workflow, self._new_id(now)
        # A step that has waited for an open breaker has no pool either, but its provider doesn't work in this process.
        computable = start.slot.pool is None and start.in_process and workflow.can_be_computed(start.slot.position)
        if computable and (last := self._computer.decision_before(workflow)) is not None:
            self._computer.compute_after(last, workflow, start.slot, task_id)
            return
        dispatched = Dispatched(start.slot.position, task_id, start.seed, start.in_process)
        if self._extend(workflow, dispatched, now):
            workflow.attempts[dispatched.task_id] = RunningAttempt(start.slot, self.dispatcher.track(start))
            return
        decision = workflow.run.apply(dispatched, now)
        effect = decision.effects[0] if decision.effects else None
        if isinstance(effect, StartAttempt):
            workflow.attempts[effect.task.id] = RunningAttempt(start.slot, self.dispatcher.track(start))
            self._submit(workflow, decision)
        else:
            self._step_queue.release(start.slot)
            self._dispatch(workflow, decision, now)

    def _start_attempt(self, workflow: ActiveWorkflow, effect: StartAttempt) -> None:
        task = effect.task
        if self._step_queue.closed:
            self._attempt_ended(workflow, task.id)
            return
        prepared = workflow.attempts[task.id].prepared or self._runner.prepare(workflow, task)
        if not isinstance(prepared, PreparedAttempt):
            self._computer.end(workflow, task.id, prepared, self._clock.now())
            return
        self._attempt_starter.begin(workflow, task, prepared)

    def _cancel_attempt(self, workflow: ActiveWorkflow, task_id: UUID) -> None:
        if (attempt := workflow.attempts.get(task_id)) is None:
            return
        if attempt.control is None:
            self._attempt_ended(workflow, task_id)
        else:
            attempt.control.cancel()

    def _attempt_task_ended(self, workflow: ActiveWorkflow, task_id: UUID) -> None:
        self._attempt_ended(workflow, task_id)
        self.start_steps()

    def _attempt_ended(self, workflow: ActiveWorkflow, task_id: UUID) -> None:
        attempt = workflow.attempts.pop(task_id)
        attempt.release_slot(self._step_queue)
        if attempt.tracked is not None:
            self.dispatcher.attempt_finished(workflow, attempt, None)
        if workflow.attempts:
            return
        workflow.quiet.set()
        if self.leaving.remove(workflow) and workflow.lost:
            self._claims.request_lost(workflow.workflow_id, workflow.refusals)
