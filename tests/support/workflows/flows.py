"""Runs with flow control for tests: described by `StepSpec`s, driven by hand or at random, rebuilt from rows."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from msgspec import json
from msgspec.structs import replace

from stepwell.contract.definition import WorkflowConfig
from stepwell.contract.enums import (
    CancelReceipt,
    OnFailure,
    StepStatus,
    TaskStatus,
    WaitKind,
    WorkflowStatus,
)
from stepwell.lifecycle.decision import Decision
from stepwell.lifecycle.effects import (
    CancelAttempt,
    DeadlineAt,
    Evaluate,
    FollowUp,
    PauseOrResumeChild,
    StartAttempt,
    WakeAt,
)
from stepwell.lifecycle.inputs import (
    AttemptFailed,
    ChildPausedOrResumed,
    Created,
    DeadlinePassed,
    Decide,
    Dispatched,
    EndByHand,
    Evaluated,
    FollowUpEnded,
    Input,
    Resume,
    RetryDue,
    RunVerdict,
    Sending,
    Signal,
    Start,
    Submitted,
    Succeeded,
    Unpark,
    WaitTerms,
)
from stepwell.lifecycle.model import (
    NEVER,
    Sent,
    StepState,
    Task,
    Wait,
)
from stepwell.lifecycle.run import Run
from support.workflows.flow_checks import check_flow
from support.workflows.flow_children import Children
from support.workflows.flow_rows import FlowRows
from support.workflows.flow_specs import StepSpec
from support.workflows.runs import ENDED

EPOCH_AT = datetime.fromisoformat("2026-01-01T00:00:00+00:00")
ACTOR = "alice"


# The simulation


class SimulatedFlow(FlowRows):
    """A Run, the rows that it has recorded, and what an engine would hold for it. Every input is checked.

    `queue`, `live`, `wake` and `pauses` are of this process, by position. `following` are the tasks that it follows up.
    `evaluations` are those that the run has requested. `memory` is None while no process has the workflow.
    """

    def __init__(
        self, specs: Sequence[StepSpec], config: WorkflowConfig, *, unpark: bool = True, started: bool = True
    ) -> None:
        super().__init__(specs, config)
        self.now = EPOCH_AT
        self.takes = unpark  # a process that gets a decision has room for the workflow
        self.failed: dict[tuple[int, int], int] = {}  # attempts by step and run
        self.done: dict[tuple[int, int], int] = {}
        self.evaluated_before: set[int] = set()  # a true condition isn't stored, so a restart asks again
        self.children = Children()
        self.ids = 10**6
        self.memory: Run | None = None
        self.deadline: datetime | None = None
        self.evaluations: dict[int, Evaluate] = {}
        self.forget_process()
        self.memory = self.load()
        self.do(Created(ACTOR))
        if started:
            self.do(Start(ACTOR, self.new_id(), self.new_id()))

    @property
    def run(self) -> Run:
        assert self.memory is not None
        return self.memory

    @property
    def open_waits(self) -> Mapping[int, Wait]:
        return {} if self.run.waits is None else self.run.waits.open

    @property
    def requested(self) -> Mapping[int, int]:
        """The numbers of the evaluations that have no result yet, by position."""
        return {} if self.run.conditions is None else self.run.conditions.requested

    def new_id(self) -> UUID:
        self.ids += 1
        return UUID(int=self.ids)

    @property
    def is_parked(self) -> bool:
        return self.memory is None

    def do(self, *inputs: Input) -> Decision:
        """Apply the inputs, and commit their decisions as one."""
        run = self.run
        if run.has_children and self.workflow.owner is None and not isinstance(inputs[0], Resume | EndByHand):
            inputs = (Unpark(self.new_id()), *inputs)
        decision = run.apply(inputs[0], self.now)
        for input_ in inputs[1:]:
            decision.merge(run.apply(input_, self.now))
        if self.takes and isinstance(inputs[-1], Decide | Signal) and run.state.waits_for_admission:
            decision.merge(run.apply(Unpark(self.new_id()), self.now))
        self.commit(decision)
        for input_ in inputs:
            self._hand_over(input_)
        self._release(decision)
        self.check()
        self._evict()
        return decision

    def do_but_crash(self, *inputs: Input) -> None:
        """The process dies between the decision and its commit."""
        for input_ in inputs:
            self.run.apply(input_, self.now)
        self.crash()

    def crash(self) -> None:
        """The process dies; another claims the workflow from its rows, if it has an owner."""
        if self.is_parked:
            return
        claimed = self.workflow.owner is not None
        self.forget_process()
        if claimed:
            self.claim()
        else:
            self.memory = self.load()
            self._evict()

    def claim(self) -> None:
        """Another process takes the workflow over, or an admission takes it into memory."""
        self.workflow.owner, self.workflow.epoch = self.new_id(), self.workflow.epoch + 1
        self.workflow.wake_at = None
        self.memory = self.load()
        self._release(self.run.pending_work())
        self.check()

    def load_for_verb(self) -> None:
        """Bring a parked workflow into memory."""
        self.memory = self.memory or self.load()

    def admit_if_waiting(self) -> None:
        """A workflow that waits for admission gets in."""
        if self.is_parked and self.workflow.waits_for_admission:
            self.claim()

    # What its world does

    def dispatch_input(self, position: int) -> Dispatched:
        attempt = self.run.units[position].attempt + 1
        return Dispatched(position, UUID(int=(position + 1) * 1000 + attempt), seed=attempt)

    def end_input(self, position: int) -> Input:
        """Return how the attempt at the step ends, by its script."""
        task = self.live[position]
        if self.spec_of(position)[0].child:
            return self._create_child(position, task)
        return self._end_input(position, task)

    def _create_child(self, position: int, task: Task) -> Input:
        """Return the next input of an attempt that creates its sub-workflow."""
        flow, open_task = self.run.units[position].flow, self.run.open_task(position)
        assert flow is not None
        assert open_task is not None
        if open_task.sent is None:
            return Sending(position, task.id, Sent("", "", self.now))
        return Submitted(position, task.id, str(flow.child), {})

    def ending_children(self) -> list[int]:
        """Return the positions whose sub-workflow may end now."""
        running = [task for task in self.run.open_tasks() if task.follow_up_until is None]
        return sorted(task.position for task in running if self.children.is_open(task))

    def child_ended_input(self, position: int) -> Input:
        task = self.run.open_task(position)
        assert task is not None
        return self._end_input(position, task)

    def _end_input(self, position: int, task: Task) -> Input:
        (spec, item), run = self.spec_of(position), self.run_number(position)
        script = spec.script(item, run)
        if not spec.child and self.failed.get((position, run), 0) < script.flaky:
            return AttemptFailed(position, task.id, "again", retryable=True, provider_fault=True, jitter=0.5)
        if not script.succeeds:
            return AttemptFailed(position, task.id, "no", retryable=False, provider_fault=False, jitter=0.5)
        verdict = None
        if spec.repeat is not None:
            verdict = RunVerdict(run == spec.repeat.until, script.score if spec.repeat.has_best else None)
        return Succeeded(position, task.id, json.encode({"run": run}), verdict=verdict)

    def evaluated(self, position: int) -> Evaluated:
        request, spec = self.evaluations[position], self.specs[position]
        if spec.condition == "error":
            return Evaluated(position, request.number, error="no such function")
        if spec.condition is False:
            return Evaluated(position, request.number, runs=False)
        items = tuple(b"%d" % number for number in range(spec.items or 0)) if request.items else None
        return Evaluated(position, request.number, items=items, terms=_terms(spec, self.new_id(), self.now))

    def decide_input(self, position: int) -> Input | None:
        """Return how a person, or another service, ends the wait. None if only time does."""
        spec = self.specs[position]
        if spec.answer == "timeout" or spec.waits_for is WaitKind.DELAY:
            return None
        if spec.waits_for is WaitKind.SIGNAL:
            return Signal(ACTOR, f"signal {position}")
        return Decide(ACTOR, position, "reject" if spec.answer == "reject" else "approve")

    # Driving

    def take_up(self) -> None:
        """Do what an engine does at once: go on with open attempts, let overdue timers fire, evaluate again."""
        while self.memory is not None:
            orphans = [p for p in self.queue if self.run.has_attempt(p)]
            overdue = [p for p, at in self.wake.items() if at <= self.now]
            if orphans:
                self.do(self.dispatch_input(min(orphans)))
            elif overdue:
                self.do(RetryDue(self.first_due(overdue)))
            elif self.deadline is not None and self.deadline <= self.now:
                self.do(DeadlinePassed())
            elif self.pauses:
                pause = self.pauses[min(self.pauses)]
                self.children.pause(pause.child, paused=pause.paused)
                self.do(ChildPausedOrResumed(pause.position, pause.task_id, pause.paused))
            elif again := self.evaluated_before & self.evaluations.keys():
                self.do(self.evaluated(min(again)))
            else:
                return

    def first_due(self, positions: Sequence[int]) -> int:
        """Return the position whose timer fires first."""
        return min(positions, key=lambda position: (self.wake[position], position))

    def wake_up(self) -> bool:
        """Let time pass until a parked workflow is due. Return False if only something else wakes it."""
        at = self.workflow.wake_at
        if not self.is_parked or at is None or at == NEVER:
            return False
        self.now = max(self.now, at)
        if self.status is WorkflowStatus.RUNNING:
            self.claim()
        else:
            self.memory = self.load()
            waits = self.open_waits
            self.do(RetryDue(min(waits, key=lambda each: (waits[each].until or NEVER, each))))
        self.take_up()
        return True

    def child_wakes(self) -> bool:
        """Let a sub-workflow of a parked workflow end, which wakes it. Return False if there is none."""
        if not self.is_parked or not any(map(self.children.is_open, self.child_rows())):
            return False
        if self.status is WorkflowStatus.RUNNING:
            self.claim()
        else:
            self.memory = self.load()
            self.do(self.child_ended_input(self.ending_children()[0]))
        self.take_up()
        return True

    def follow_input(self, task_id: UUID) -> Input:
        """Stop the sub-workflow of an abandoned attempt. Return the input that reports it."""
        task = self.task_rows[task_id]
        flow = self.row(self.unit(task)).flow
        cancelled = self.status is WorkflowStatus.CANCELLED
        status = WorkflowStatus.CANCELLED if cancelled else WorkflowStatus.FAILED
        self.children.stop(None if flow is None else flow.child, status)
        return FollowUpEnded(self.unit(task), task_id, CancelReceipt.PROVIDER_CANCELLED)

    def decide(self, position: int) -> None:
        """Let the wait of a step end by a decision or a signal."""
        input_ = self.decide_input(position)
        assert input_ is not None
        self.load_for_verb()
        self.do(input_)
        self.admit_if_waiting()
        self.take_up()

    def move(self) -> bool:
        """Let one thing happen that is to be expected. Return False if nothing moves any more."""
        self.admit_if_waiting()
        self.take_up()
        if self.is_parked:
            if undecided := self.undecided():
                self.decide(undecided[0])
                return True
            return self.child_wakes() or self.wake_up()
        if startable := self.startable():
            self.do(self.dispatch_input(startable[0]))
        elif self.live:
            self.do(self.end_input(min(self.live)))
        elif self.evaluations and self.run.may_start:
            self.do(self.evaluated(min(self.evaluations)))
        elif self.following:
            self.do(self.follow_input(min(self.following)))
        elif undecided := [p for p in self.undecided() if self.status not in ENDED]:
            self.decide(undecided[0])
        elif ends := self.ending_children():
            self.do(self.child_ended_input(ends[0]))
        elif sleeping := self.sleeping():
            position = self.first_due(sleeping)
            self.now = max(self.now, self.wake[position])
            self.do(RetryDue(position))
        else:
            return False
        return True

    def sleeping(self) -> list[int]:
        """Return the steps whose timer would do something."""
        rows = (*self.step_rows, *self.item_rows.values())
        retries = {row.position for row in rows if row.next_attempt_at is not None} - self.queue
        return [position for position in self.wake if position in self.open_waits or position in retries]

    def drive(self) -> WorkflowStatus:
        """Go on until nothing moves any more; a paused workflow is resumed, and one that failed while it was paused."""
        for _ in range(5_000):
            if self.move():
                continue
            continues = self.config.on_failure is OnFailure.CONTINUE and StepStatus.PENDING in self.statuses
            continues = continues and self.workflow.deleted_at is None and self.workflow.failure is None
            if not (self.status is WorkflowStatus.PAUSED or (self.status is WorkflowStatus.FAILED and continues)):
                return self.status
            self.resume()
        raise AssertionError("it never ends")

    def resume(self) -> None:
        if self.memory is None:
            self.memory = self.load()
        self.do(Resume(ACTOR, self.new_id(), self.new_id()))
        self.take_up()

    # What can be seen

    def undecided(self) -> list[int]:
        """Return the waits that a person or a service would end now."""
        return [position for position in self.waiting_rows() if self.decide_input(position) is not None]

    def startable(self) -> list[int]:
        orphans = self.run.orphans()
        return sorted(
            position for position in self.queue if position in orphans or self.run.wants_new_attempt(position)
        )

    def outcome(self) -> tuple[object, ...]:
        """All that can be told from outside, but for who runs it."""
        workflow = replace(self.workflow, owner=None, epoch=0, execution_id=None, last_event=0, updated_at=None)
        events = [(event.type, event.step_id, event.data.get("item")) for event in self.events]
        return workflow, self.item_rows, [replace(row, flow=_without_ids(row)) for row in self.step_rows], events

    def check(self) -> None:
        check_flow(self)

    # The engine's part

    def _hand_over(self, input_: Input) -> None:  # noqa: C901, PLR0912 - one case for each input
        match input_:
            case Succeeded(position, task_id) | AttemptFailed(position, task_id):
                task = self.task_rows[task_id]
                if task.status is not TaskStatus.RUNNING:
                    won = isinstance(input_, Succeeded)
                    self.children.end(task, WorkflowStatus.COMPLETED if won else WorkflowStatus.FAILED)
                if isinstance(input_, Succeeded) and task.status is TaskStatus.COMPLETED:
                    key = (position, json.decode(input_.result)["run"])
                    self.done[key] = self.done.get(key, 0) + 1
                elif task.status is TaskStatus.FAILED and task.error == "again":
                    key = (position, self.run_number(position))
                    self.failed[key] = self.failed.get(key, 0) + 1
                if position in self.live and self.live[position].id == task_id:
                    del self.live[position]
            case Submitted(position, task_id, remote_id):
                self.children.create(UUID(remote_id), (position, self.run_number(position)))
                if position in self.live and self.live[position].id == task_id:
                    del self.live[position]
            case ChildPausedOrResumed(position):
                self.pauses.pop(position, None)
            case FollowUpEnded(_, task_id):
                self.following.discard(task_id)
            case Dispatched(position):
                self.queue.discard(position)
            case RetryDue(position):
                self.wake.pop(position, None)
            case Resume():
                self.evaluated_before.clear()
            case Evaluated(position, number):
                if position in self.evaluations and self.evaluations[position].number == number:
                    self.evaluated_before.add(position)
                    del self.evaluations[position]

    def _release(self, decision: Decision) -> None:
        self.queue.update(decision.ready)
        self.evaluations = {p: q for p, q in self.evaluations.items() if self.requested.get(p) == q.number}
        for effect in decision.effects:
            match effect:
                case StartAttempt(task):
                    assert task.position not in self.live
                    assert all(self.unit(self.task_rows[each]) != task.position for each in self.following)
                    self.live[task.position] = task
                case CancelAttempt(position, task_id):
                    assert self.live.pop(position).id == task_id
                case WakeAt(position, at):
                    self.wake[position] = at
                case DeadlineAt():
                    self.deadline = effect.at
                case Evaluate(position):
                    self.evaluations[position] = effect
                case FollowUp(_, task_id):
                    self.following.add(task_id)
                case PauseOrResumeChild(position):
                    self.pauses[position] = effect

    def forget_if_idle(self) -> None:
        """Forget the workflow after a verb that was refused, if it only waits."""
        if self.memory is not None:
            self._evict()

    def _evict(self) -> None:
        if not self.run.active and self.status in (WorkflowStatus.RUNNING, WorkflowStatus.PAUSED):
            self.forget_process()

    def forget_process(self) -> None:
        self.memory, self.deadline, self.evaluations = None, None, {}
        self.following: set[UUID] = set()
        self.pauses: dict[int, PauseOrResumeChild] = {}
        self.queue: set[int] = set()
        self.live: dict[int, Task] = {}
        self.wake: dict[int, datetime] = {}


def _without_ids(row: StepState) -> Any:
    flow = row.flow
    if flow is None or flow.wait is None:
        return flow
    return replace(flow, wait=replace(flow.wait, id=UUID(int=0)))


def _terms(spec: StepSpec, wait_id: UUID, now: datetime) -> WaitTerms | None:
    if spec.waits_for is None:
        return None
    if spec.waits_for is WaitKind.DELAY:
        return WaitTerms(wait_id, until=now + timedelta(seconds=100))
    timeout = 50.0 if spec.answer == "timeout" else None
    return WaitTerms(wait_id, None, timeout, ("approve", "reject", "other"), spec.on_timeout)


# Short forms for examples


def flow(*specs: StepSpec, policy: OnFailure = OnFailure.DRAIN, room: bool = True) -> SimulatedFlow:
    return SimulatedFlow(specs, WorkflowConfig(on_failure=policy), unpark=room)


def approval(answer: str = "decide", on_timeout: str = "fail", **more: object) -> StepSpec:
    return StepSpec(waits_for=WaitKind.DECISION, answer=answer, on_timeout=on_timeout, **more)  # type: ignore[arg-type]


def evaluate(sim: SimulatedFlow, *positions: int) -> None:
    for position in positions:
        sim.do(sim.evaluated(position))


def run_step(sim: SimulatedFlow, position: int) -> None:
    sim.do(sim.dispatch_input(position))
    sim.do(sim.end_input(position))
