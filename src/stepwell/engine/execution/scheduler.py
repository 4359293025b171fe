"""The heart's beat: feeds every run in memory its inputs, starts and ends attempts, keeps the timers.

What must hold:
- A run is in memory exactly while it is active here, or a verb holds it; all its inputs come one after the other.
- An attempt starts only after its INTENT has committed, and has its slot until its task has really ended.
- Nothing is fed to a run that this process has lost; its attempts are cancelled and record nothing.
- Every task lives in the group of `run`; if anything here breaks, `run` raises, and the process ends with it.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol, assert_never
from uuid import UUID

import structlog
from anyio import CancelScope

from stepwell.domain.idempotency import Reservation
from stepwell.domain.lifecycle.decision import Decision
from stepwell.domain.lifecycle.effects import CancelAttempt, DeadlineAt, Effect, FollowUp, StartAttempt, WakeAt
from stepwell.domain.lifecycle.inputs import AttemptFailed, DeadlinePassed, Input, RetryDue, Succeeded
from stepwell.domain.model import Task
from stepwell.engine.admission.controller import AdmissionController, Slot
from stepwell.engine.admission.model_health import ModelHealth, TrackedAttempt
from stepwell.engine.attempts.runner import AttemptRunner, PreparedAttempt
from stepwell.engine.events.bus import EventBus
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.engine.execution.checkpointer import Checkpointer, NotWritten
from stepwell.engine.execution.follow_up_tasks import FollowUpTasks
from stepwell.engine.execution.outcomes import Outcomes
from stepwell.engine.execution.running_attempt import AttemptControl, RunningAttempt
from stepwell.engine.execution.step_dispatcher import StepDispatcher
from stepwell.engine.execution.timers import Timers
from stepwell.engine.execution.waiting import Waiting
from stepwell.engine.monitoring.loop_lag import LoopLag
from stepwell.ports.clock import Clock, NewId
from stepwell.ports.storage import WorkflowStore

log = structlog.get_logger()


class WorkflowListener(Protocol):
    """Is called when workflows come and go. The calls must return at once, and not raise."""

    def workflow_registered(self) -> None:
        """A workflow has come into memory."""

    def lost_workflow_left(self) -> None:
        """A workflow that this process had lost has nothing left here: it may be claimed."""


class Scheduler:
    def __init__(
        self,
        journal: WorkflowStore,
        runner: AttemptRunner,
        admission: AdmissionController,
        health: ModelHealth,
        clock: Clock,
        new_id: NewId,
        bus: EventBus,
        outcomes: Outcomes,
    ) -> None:
        self.outcomes, self.loop_lag = outcomes, LoopLag()
        self._runner, self._admission, self._clock, self._bus = runner, admission, clock, bus
        self.checkpointer = Checkpointer(journal, self._committed, self._not_written)
        self.handles: dict[UUID, ActiveWorkflow] = {}
        self._live: dict[UUID, dict[UUID, RunningAttempt]] = {}  # workflow id -> task id -> attempt
        self._ending = Waiting()  # for the end of an attempt, by task id
        self._trailing = FollowUpTasks(self, runner, clock)
        self._gate = StepDispatcher(self, runner, admission, health, clock, new_id)
        self._timers = Timers(clock, self._fire, self.guarded)
        self._quiet, self._idle = Waiting(), Waiting()
        self._losing: set[UUID] = set()
        self.lease_losses = 0  # workflows that another process has taken over from this one
        self.refused: Counter[UUID] = Counter()  # how often the database would not have a workflow's rows
        self._listeners: list[WorkflowListener] = []
        self.started = asyncio.Event()
        self._broken: asyncio.Future[None] | None = None
        self._group: asyncio.TaskGroup | None = None
        self._checkpoints: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Until it is cancelled, or something here breaks: then it raises."""
        self._broken = asyncio.get_running_loop().create_future()
        async with asyncio.TaskGroup() as self._group:
            self.started.set()
            self._group.create_task(self.loop_lag.run(), name="loop lag")
            self._checkpoints = self._group.create_task(self.checkpointer.run(), name="checkpointer")
            self._checkpoints.add_done_callback(self.guarded(lambda task: task.cancelled() or task.result()))
            await self._broken

    def listen(self, listener: WorkflowListener) -> None:
        self._listeners.append(listener)

    # Runs in memory

    @property
    def held(self) -> set[UUID]:
        """The workflows that no claim may bring in: those in memory, and lost ones that still have something here."""
        return self.handles.keys() | self._live.keys() | self.checkpointer.held

    def lives(self, workflow_id: UUID) -> Mapping[UUID, RunningAttempt]:
        """The workflow's attempts in this process, by task."""
        return self._live.get(workflow_id, {})

    @property
    def stopping(self) -> bool:
        return self._admission.closed

    def adopt(self, handle: ActiveWorkflow) -> None:
        assert handle.workflow_id not in self.handles
        self.handles[handle.workflow_id] = handle
        for listener in self._listeners:
            listener.workflow_registered()

    def recover(self, handle: ActiveWorkflow) -> None:
        """Take up a workflow that this process has just come to own."""
        self.adopt(handle)
        self.take_up(handle)

    def take_up(self, handle: ActiveWorkflow) -> None:
        self._dispatch(handle, handle.run.recover())

    def abandon(self, handle: ActiveWorkflow) -> None:
        """Let go of a workflow of which nothing runs here."""
        if self.handles.get(handle.workflow_id) is handle:
            del self.handles[handle.workflow_id]
            self._idle.tell(handle.workflow_id)

    def feed(self, handle: ActiveWorkflow, given: Input, reservation: Reservation | None = None) -> bool:
        """Hand an input to a run; whether it changed anything. What it decides is not yet committed: see
        `Checkpointer.settled`. Raises `InvalidTransition` for a verb that isn't allowed.
        """
        decision = handle.run.apply(given, self._clock.now())
        changed = decision.has_rows
        if changed and reservation is not None:
            decision.reservations.append(reservation)
        self._dispatch(handle, decision)
        return changed

    def forget_if_idle(self, handle: ActiveWorkflow) -> None:
        if not handle.run.active and not handle.users and not self.checkpointer.holds(handle.workflow_id):
            self.abandon(handle)
            self._timers.drop(handle)

    def called_back(self, workflow_id: UUID, task_id: UUID, told: bytes) -> None:
        """A provider has called back about an attempt: what of it runs here looks at its job now."""
        live = self._live.get(workflow_id, {}).get(task_id) or self._trailing.find(workflow_id, task_id)
        if live is not None:
            live.nudge(told)

    async def idle(self, workflow_id: UUID) -> None:
        """Until the workflow isn't in memory."""
        if workflow_id in self.handles:
            await self._idle.until_told(workflow_id)

    async def quiesce(self, workflow_id: UUID) -> None:
        """Until no attempt of the workflow runs in this process any more."""
        while self._live.get(workflow_id):
            await self._quiet.until_told(workflow_id)

    async def stop(self, grace_s: float) -> None:
        """Start nothing more, let short work end, cancel the rest without recording it, write what is queued."""
        self._admission.closed = True
        self._trailing.end()
        for live in [live for lives in self._live.values() for live in lives.values() if live.resting]:
            live.cancel()  # what works elsewhere goes on there, and the next process finds it
        tasks = [live.task for lives in self._live.values() for live in lives.values() if live.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=grace_s)
        for lives in list(self._live.values()):
            for live in list(lives.values()):
                live.cancel()
        if rest := [task for task in tasks if not task.done()]:
            await asyncio.wait(rest, timeout=2)
        for handle in self.handles.values():
            self._timers.drop(handle)
        self._gate.close()
        self.checkpointer.close()

    async def written(self) -> None:
        """After `stop`: until all that was queued is committed."""
        assert self._checkpoints is not None
        await asyncio.wait({self._checkpoints})

    # From decisions to the world

    def _dispatch(self, handle: ActiveWorkflow, decision: Decision) -> None:
        ready = decision.ready
        if handle.run.starting:
            if handle.halted:
                # What was left in the queue is among the ready: once is enough.
                handle.halted = False
                self._gate.withdraw(handle)
        elif not handle.halted:
            handle.halted = True
            self._gate.withdraw(handle)
            ready = handle.run.orphans()
        self._gate.enqueue(handle, ready)
        self.checkpointer.submit(decision)
        self._gate.grant()

    def begin(self, handle: ActiveWorkflow, decision: Decision, slot: Slot, flight: TrackedAttempt | None) -> None:
        """An attempt that the gate has let through; it starts once *decision* has committed."""
        for effect in decision.effects:
            assert isinstance(effect, StartAttempt)
            self._live.setdefault(handle.workflow_id, {})[effect.task.id] = RunningAttempt(slot, flight)
        self.checkpointer.submit(decision)

    def _committed(self, decision: Decision) -> None:
        self.refused.pop(decision.workflow.id, None)
        handle = self.handles.get(decision.workflow.id)
        if handle is None:
            self._bus.invalidate((decision.workflow.id,))
            return
        if decision.events:
            self._bus.publish(handle.committed(decision))
            self.outcomes.committed(handle, decision)
        for effect in decision.effects:
            self._release(handle, effect)
        self.forget_if_idle(handle)

    def _release(self, handle: ActiveWorkflow, effect: Effect) -> None:
        match effect:
            case StartAttempt(task):
                self._start(handle, task)
            case CancelAttempt(_, task_id):
                self._cancel(handle.workflow_id, task_id)
            case FollowUp(position, task_id):
                self._trailing.begin(handle, position, task_id)
            case WakeAt(position, at):
                self._timers.set(handle, position, at, RetryDue(position))
            case DeadlineAt(at):
                self._timers.set(handle, None, at, DeadlinePassed())
            case _:
                assert_never(effect)

    def lose(self, workflow_id: UUID) -> None:
        """Drop a workflow that another process has, or whose rows the database won't have."""
        handle = self.handles.get(workflow_id)
        if handle is not None:
            self.abandon(handle)
            handle.lost = True
            self._gate.withdraw(handle)
            self._timers.drop(handle)
        self._losing.add(workflow_id)
        for task_id in list(self._live.get(workflow_id, ())):
            self._cancel(workflow_id, task_id)
        self._trailing.end(workflow_id)
        self._gone_if_quiet(workflow_id)

    def _not_written(self, workflow_id: UUID, refused: bool) -> None:  # noqa: FBT001 - a callback
        if refused:
            self.refused[workflow_id] += 1
        else:
            self.lease_losses += 1
        self.lose(workflow_id)

    def _gone_if_quiet(self, workflow_id: UUID) -> None:
        if workflow_id in self._losing and workflow_id not in self._live:
            self._losing.discard(workflow_id)
            for listener in self._listeners:
                listener.lost_workflow_left()

    # Attempts

    def _start(self, handle: ActiveWorkflow, task: Task) -> None:
        assert self._group is not None
        if self._admission.closed:
            self._ended(handle.workflow_id, task.id)
            return
        live = self._live[handle.workflow_id][task.id]
        begun = self._runner.begin(handle, task)
        if isinstance(begun, PreparedAttempt):
            work = self._attempt(handle, task, begun, live)
            live.task = self.spawn(work, f"attempt {task.id}", lambda _: self._ended(handle.workflow_id, task.id))
        else:
            self._free(live)
            self._accept(handle, begun)
            self._ended(handle.workflow_id, task.id)

    async def _attempt(self, handle: ActiveWorkflow, task: Task, work: PreparedAttempt, live: RunningAttempt) -> None:
        if live.cancelled:
            return
        ended = await self._runner.run(handle, task, work, AttemptControl(self, handle, live))
        # The slot goes back first, so that the step's dependants can have it in the very same batch.
        self._free(live)
        self._landed(handle, live, ended.outcome)
        kept = ended.outcome is not None and self._accept(handle, ended.outcome)
        if ended.outcome is None and self.stopping:
            return  # the next process goes on with the attempt
        if ended.stored and not (kept and isinstance(ended.outcome, Succeeded)):
            with CancelScope(shield=True):
                await self._discard(handle, task)

    async def _discard(self, handle: ActiveWorkflow, task: Task) -> None:
        """Delete the files of an attempt that didn't succeed, once that is committed: until then another process may
        have the workflow, and with it these files.
        """
        with contextlib.suppress(NotWritten):
            await self.checkpointer.flushed(handle.workflow_id)
            if not handle.lost:
                await self._runner.discard(task)

    def _accept(self, handle: ActiveWorkflow, outcome: Succeeded | AttemptFailed) -> bool:
        """Feed an outcome to its run; False if the run doesn't want it any more."""
        return self.handles.get(handle.workflow_id) is handle and self.feed(handle, outcome)

    def _cancel(self, workflow_id: UUID, task_id: UUID) -> None:
        live = self._live.get(workflow_id, {}).get(task_id)
        if live is None:
            return
        if live.task is None:
            self._ended(workflow_id, task_id)
        else:
            live.cancel()

    def _free(self, live: RunningAttempt) -> None:
        if live.slot is not None:
            self._admission.release(live.slot)
            live.slot = None

    def _landed(
        self, handle: ActiveWorkflow | None, live: RunningAttempt, outcome: Succeeded | AttemptFailed | None
    ) -> None:
        """For the breaker, before the run hears of it; once an attempt."""
        flight, live.flight = live.flight, None
        if flight is not None:
            self._gate.landed(handle, flight, outcome)

    def _ended(self, workflow_id: UUID, task_id: UUID) -> None:
        lives = self._live[workflow_id]
        live = lives.pop(task_id)
        self._free(live)
        self._landed(None, live, None)
        self._ending.tell(task_id)
        if not lives:
            del self._live[workflow_id]
            self._quiet.tell(workflow_id)
            self._gone_if_quiet(workflow_id)
        self._gate.grant()

    async def until_over(self, workflow_id: UUID, task_id: UUID) -> None:
        while task_id in self._live.get(workflow_id, ()):
            await self._ending.until_told(task_id)

    def spawn(
        self, work: Coroutine[Any, Any, None], name: str, done: Callable[[asyncio.Task[None]], None]
    ) -> asyncio.Task[None]:
        assert self._group is not None
        task = self._group.create_task(work, name=name)
        task.add_done_callback(self.guarded(done))
        return task

    def _fire(self, handle: ActiveWorkflow, given: Input) -> None:
        if self.handles.get(handle.workflow_id) is handle:
            self.feed(handle, given)

    def guarded(self, callback: Callable[..., Any]) -> Callable[..., None]:
        """*callback* for the event loop: what it raises ends the scheduler instead of vanishing in a log line."""

        def call(*args: Any) -> None:
            try:
                callback(*args)
            except BaseException as error:  # noqa: BLE001 - it is raised by `run`
                if self._broken is not None and not self._broken.done():
                    self._broken.set_exception(error)

        return call
