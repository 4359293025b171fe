"""Runs for tests: built from a few words, driven by hand, and read back from the recorded rows as after a crash."""

from collections.abc import Collection, Mapping, Sequence
from copy import copy
from datetime import UTC, datetime, timedelta
from uuid import UUID

from msgspec.structs import replace

from stepwell.basics.errors import InvalidTransition
from stepwell.contract.definition import WorkflowConfig
from stepwell.contract.enums import (
    EventType,
    OnFailure,
    ProviderType,
    RunIf,
    StepStatus,
    TaskStatus,
    TaskType,
    WorkflowStatus,
)
from stepwell.lifecycle.decision import Decision
from stepwell.lifecycle.effects import CancelAttempt, DeadlineAt, FollowUp, StartAttempt, WakeAt
from stepwell.lifecycle.inputs import (
    AttemptFailed,
    Cancel,
    Cleanup,
    Computed,
    Created,
    DeadlinePassed,
    Dispatched,
    Input,
    Pause,
    Resume,
    RetryDue,
    Start,
    Succeeded,
)
from stepwell.lifecycle.model import HistoryEvent, StepState, Task, WorkflowState
from stepwell.lifecycle.run import Run
from stepwell.lifecycle.steps import ResolvedStep
from stepwell.lifecycle.stored_run import StoredRun
from support.service.event_replay import OF_ATTEMPTS, fold

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
ACTOR = "alice"
OWNER = UUID(int=1)
OTHER_OWNER = UUID(int=2)
ENDED = (WorkflowStatus.COMPLETED, WorkflowStatus.FAILED, WorkflowStatus.CANCELLED)

CHAIN3 = ((), (0,), (1,))
DIAMOND = ((), (0,), (0,), (1, 2))


def config_of(policy: str = "drain", timeout: float | None = None) -> WorkflowConfig:
    """Return the config of a workflow. *policy* is its `on_failure`, *timeout* its time in seconds."""
    return WorkflowConfig(on_failure=OnFailure(policy), workflow_timeout_s=timeout)


def resolved_steps_of(
    dag: Sequence[Sequence[int]],
    *,
    max_retries: int = 3,
    provider: ProviderType = ProviderType.LOCAL,
    fallback: ProviderType | None = None,
    run_if: Mapping[int, RunIf] | None = None,
    optional: Collection[int] = (),
) -> list[ResolvedStep]:
    """Steps "s0", "s1"…; *dag* lists the positions that each depends on. *run_if* and *optional* are by position."""
    return [
        ResolvedStep(
            position=position,
            step_id=f"s{position}",
            task_type=TaskType.GENERATION,
            depends_on=tuple(depends_on),
            max_retries=max_retries,
            provider=provider,
            fallback=fallback,
            run_if=(run_if or {}).get(position, RunIf.ALL_COMPLETED),
            optional=position in optional,
        )
        for position, depends_on in enumerate(dag)
    ]


class SimulatedRun:
    """A Run, the rows that it has recorded, and what an engine would hold for it. Every input is checked for what
    must hold of any: the write's guard, the numbering, rows that equal the state, a history that folds to it.

    `queue`: steps that wait for a slot. `live`: attempts under way in this process. `wake`, `deadline`: timers.
    `following`: given-up attempts whose jobs are followed up.
    """

    def __init__(
        self,
        dag: Sequence[Sequence[int]] = ((),),
        config: WorkflowConfig | None = None,
        *,
        max_retries: int = 3,
        provider: ProviderType = ProviderType.LOCAL,
        fallback: ProviderType | None = None,
        sources: Sequence[Sequence[int]] | None = None,
        started: bool = True,
        run_if: Mapping[int, RunIf] | None = None,
        optional: Collection[int] = (),
    ) -> None:
        self.now, self.config = EPOCH, config or WorkflowConfig()
        self.resolved_steps = resolved_steps_of(
            dag, max_retries=max_retries, provider=provider, fallback=fallback, run_if=run_if, optional=optional
        )
        self.sources = sources
        self.workflow = WorkflowState(UUID(int=7), WorkflowStatus.PENDING, "a workflow")
        self.step_rows = [StepState(resolved.position) for resolved in self.resolved_steps]
        self.task_rows: dict[UUID, Task] = {}
        self.events: list[HistoryEvent] = []
        self.executions = 0
        self.queue: set[int] = set()
        self.live: dict[int, Task] = {}
        self.wake: dict[int, datetime] = {}
        self.deadline: datetime | None = None
        self.following: set[UUID] = set()
        self.run = self._load()
        self.do(Created(ACTOR))
        if started:
            self.start()

    # What happens

    def do(self, input_: Input) -> Decision:
        before = self.picture()
        try:
            decision = self.run.apply(input_, self.now)
        except InvalidTransition:
            assert self.picture() == before
            raise
        if not decision.has_rows:
            assert not decision.steps
            assert not decision.tasks
        self._commit(decision)
        self._hand_over(input_)
        self._release(decision)
        self.check()
        return decision

    def do_but_crash(self, input_: Input) -> None:
        """The process dies between the decision and its commit."""
        self.run.apply(input_, self.now)
        self.crash()

    def start(self) -> Decision:
        return self.do(self.start_input())

    def start_input(self) -> Start:
        return Start(ACTOR, self._execution(), OWNER)

    def pause(self) -> Decision:
        return self.do(Pause(ACTOR))

    def resume(self) -> Decision:
        return self.do(self.resume_input())

    def resume_input(self) -> Resume:
        return Resume(ACTOR, self._execution(), OWNER)

    def cancel(self) -> Decision:
        return self.do(Cancel(ACTOR))

    def cleanup(self, *, cleanup_tasks: bool = False) -> Decision:
        return self.do(Cleanup(ACTOR, cleanup_tasks))

    def dispatch(self, *positions: int) -> Decision:
        """The last one's decision."""
        return [self.do(self.dispatch_input(position)) for position in positions][-1]

    def dispatch_input(self, position: int) -> Dispatched:
        attempt = self.run.steps[position].attempt + 1
        return Dispatched(position, UUID(int=(position + 1) * 1000 + attempt), seed=attempt)

    def succeed(self, *positions: int, result: bytes = b"{}") -> Decision:
        return [self.do(Succeeded(p, self.live[p].id, result)) for p in positions][-1]

    def fail(
        self,
        position: int,
        *,
        retryable: bool = False,
        provider_fault: bool = True,
        error: str = "no",
        jitter: float = 0.5,
        retry_after_s: float | None = None,
        provider_away: bool = False,
    ) -> Decision:
        failed = AttemptFailed(
            position, self.live[position].id, error, retryable, provider_fault, jitter, retry_after_s
        )
        return self.do(replace(failed, provider_away=provider_away))

    def due(self, position: int) -> Decision:
        """Time goes on to the step's timer, which fires."""
        self.now = max(self.now, self.wake[position])
        return self.do(RetryDue(position))

    def timeout(self) -> Decision:
        assert self.deadline is not None
        self.now = max(self.now, self.deadline)
        return self.do(DeadlinePassed())

    def later(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def crash(self) -> None:
        """The process dies; another claims the workflow from its rows, where it needs a process at all."""
        needed = self._needs_process
        self._forget_process()
        if needed:
            self.workflow.owner = UUID(int=self.workflow.epoch + 1000)
            self.workflow.epoch += 1
        self.run = self._load()
        if needed:
            self._release(self.run.pending_work())
        self.check()

    def take_up(self) -> None:
        """What an engine does at once after a claim: goes on with open attempts, lets overdue timers fire."""
        for position in sorted(self.queue):
            step = self.run.steps[position]
            if step.status is StepStatus.RUNNING and step.next_attempt_at is None:
                self.dispatch(position)
        for position in sorted(p for p, at in self.wake.items() if at <= self.now):
            self.due(position)

    def drive(self) -> WorkflowStatus:
        """Everything succeeds from here on, until nothing moves any more."""
        moved = True
        while moved:
            moved = False
            for position in sorted(self.queue):
                self.dispatch(position)
                moved = True
            for position in sorted(self.live):
                self.succeed(position)
                moved = True
            for position in self.sleeping:
                self.due(position)
                moved = True
        return self.status

    # What can be seen

    @property
    def waiting(self) -> list[int]:
        """The steps of the queue that a slot would really start."""
        return sorted(filter(self.run.wants_new_attempt, self.queue))

    @property
    def sleeping(self) -> list[int]:
        """The steps whose timer would really do something."""
        return sorted(p for p in self.wake if self.step_rows[p].next_attempt_at is not None and p not in self.queue)

    @property
    def status(self) -> WorkflowStatus:
        return self.workflow.status

    @property
    def statuses(self) -> list[StepStatus]:
        return [step.status for step in self.step_rows]

    def short_history(self, since: int = 0) -> list[str]:
        """The history in short: "step.started s0"."""
        return [f"{e.type}{f' {e.step_id}' if e.step_id else ''}" for e in self.events[since:]]

    def picture(self) -> object:
        f = self.run._units
        frontier = ({*f.ready}, {k: copy(v) for k, v in f.running.items()}, {*f.backoff}, {*f.attached}, f.failures)
        return copy(self.run.state), [copy(step) for step in self.run.steps], frontier

    def check(self) -> None:
        run, state = self.run, self.run.state
        assert state == self.workflow
        assert [replace(s, result=None) for s in run.steps] == [replace(s, result=None) for s in self.step_rows]
        assert fold(self.events, [resolved.step_id for resolved in self.resolved_steps]) == (self.status, self.statuses)
        open_tasks = {t.position: t for t in self.task_rows.values() if t.status is TaskStatus.RUNNING}
        assert open_tasks == run._units.running
        assert (state.owner is not None) == self._needs_process
        assert (state.completed_at is not None) == (state.status in ENDED)
        assert state.completed_steps == self.statuses.count(StepStatus.COMPLETED)
        is_done = all(map(self._is_done, self.resolved_steps, run.steps))
        assert (state.status is WorkflowStatus.COMPLETED) == is_done
        for step in run.steps:
            self._check_step(step, open_tasks.get(step.position))
        if state.status is WorkflowStatus.RUNNING:
            startable = self._startable() if run.may_start else set()
            assert startable <= self.queue
            assert startable or StepStatus.RUNNING in self.statuses, "stuck"

    def _is_done(self, resolved: ResolvedStep, step: StepState) -> bool:
        """Whether the step doesn't keep the workflow from being COMPLETED."""
        tolerated = step.status is StepStatus.FAILED and resolved.optional
        return step.status in (StepStatus.COMPLETED, StepStatus.SKIPPED) or tolerated

    def _check_step(self, step: StepState, task: Task | None) -> None:
        position = step.position
        assert (step.skip_reason is not None) == (step.status is StepStatus.SKIPPED)
        if step.status is StepStatus.RUNNING:
            assert self.status not in ENDED
            pauses = step.next_attempt_at is not None
            assert task is None or task.id == step.task_id
            assert pauses or task is not None
            assert not pauses or task is None or (step.flow is not None and step.flow.outage is not None)
            assert position in (self.wake if pauses else self.live) or position in self.queue
            assert not pauses or self.run.may_start
        else:
            assert task is None
            assert step.next_attempt_at is None
            assert position not in self.live

    def _is_tried_again(self, step: StepState) -> bool:
        """Whether the row only says when the attempt is tried again, because its provider is away."""
        outage = step.flow is not None and step.flow.outage is not None
        return outage and step.status is StepStatus.RUNNING and step.task_id in self.task_rows

    @property
    def _needs_process(self) -> bool:
        running = self.status is WorkflowStatus.RUNNING
        return running or any(t.status is TaskStatus.RUNNING or t.follow_up_until for t in self.task_rows.values())

    def _startable(self) -> set[int]:
        return {resolved.position for resolved in self.resolved_steps if self._is_startable(resolved)}

    def _is_startable(self, resolved: ResolvedStep) -> bool:
        """Whether the step is PENDING and its dependencies permit it to run, by the words of the manual."""
        of = [self.statuses[d] for d in resolved.depends_on]
        if self.statuses[resolved.position] is not StepStatus.PENDING:
            return False
        if resolved.run_if is RunIf.ALL_COMPLETED:
            return all(status is StepStatus.COMPLETED for status in of)
        ended = all(status in (StepStatus.COMPLETED, StepStatus.SKIPPED, StepStatus.FAILED) for status in of)
        return ended and (not of or resolved.run_if is RunIf.ALL_ENDED or StepStatus.COMPLETED in of)

    # The database's part, and the engine's

    def _load(self) -> Run:
        wanted = (t for t in self.task_rows.values() if t.status is TaskStatus.RUNNING or t.follow_up_until)
        open_tasks = [copy(t) for t in wanted]
        steps = [copy(step) for step in self.step_rows]
        stored = StoredRun(
            copy(self.workflow), self.config, self.resolved_steps, steps, open_tasks=open_tasks, sources=self.sources
        )
        return Run(stored)

    def _commit(self, decision: Decision) -> None:
        assert (decision.owner, decision.epoch) == (self.workflow.owner, self.workflow.epoch)
        assert decision.last_event == self.workflow.last_event
        numbers = [event.id for event in decision.events]
        assert numbers == list(range(decision.last_event + 1, decision.last_event + 1 + len(numbers)))
        if decision.has_rows:
            assert (decision.workflow.last_event, decision.workflow.updated_at) == (
                [decision.last_event, *numbers][-1],
                self.now,
            )
            taken_over = decision.workflow.owner not in (None, decision.owner)
            assert decision.workflow.epoch - decision.epoch == taken_over
        self._check_told(decision)
        self._check_costs(decision)
        self.workflow = copy(decision.workflow)
        for position, step in decision.steps.items():
            self.step_rows[position] = step
        self.task_rows |= decision.tasks
        self.events += decision.events

    def _check_told(self, decision: Decision) -> None:
        """Each change of a step's status has one event, and no event is about a step that did not change.

        A step that is computed begins and ends at once.
        """
        completed = {event.step_id for event in decision.events if event.type is EventType.STEP_COMPLETED}
        about_steps = [
            event
            for event in decision.events
            if event.type not in OF_ATTEMPTS
            and not (event.type is EventType.STEP_STARTED and event.step_id in completed)
        ]
        step_ids = [event.step_id for event in about_steps if event.step_id is not None]
        step_ids += [s for e in decision.events if isinstance(h := e.data.get("held_back"), list) for s in h]
        assert len(step_ids) == len(set(step_ids))
        recorded = {self.resolved_steps[position].step_id for position in decision.steps}
        silent = {self.resolved_steps[p].step_id for p, step in decision.steps.items() if self._is_tried_again(step)}
        if any(event.type is EventType.WORKFLOW_RESUMED for event in decision.events):
            assert not step_ids
        else:
            assert recorded - silent <= set(step_ids) <= recorded

    def _check_costs(self, decision: Decision) -> None:
        """A cost changes only together with an event, and stays known: `rules.costs` relies on it."""
        for task_id, task in decision.tasks.items():
            before = self.task_rows.get(task_id)
            if task.cost != (None if before is None else before.cost):
                assert decision.events
                assert task.cost is not None

    def _hand_over(self, input_: Input) -> None:
        """The engine lets go of what it has handed in."""
        match input_:
            case Succeeded(position, task_id) | AttemptFailed(position, task_id):
                if position in self.live and self.live[position].id == task_id:
                    del self.live[position]
            case Dispatched(position) | Computed(position):
                self.queue.discard(position)
            case RetryDue(position):
                self.wake.pop(position, None)

    def _release(self, decision: Decision) -> None:
        self.queue.update(decision.ready)
        for effect in decision.effects:
            match effect:
                case StartAttempt(task):
                    assert task.position not in self.live
                    self.live[task.position] = task
                case CancelAttempt(position, task_id):
                    assert self.live.pop(position).id == task_id
                case FollowUp(_, task_id):
                    self.following.add(task_id)
                case WakeAt(position, at):
                    self.wake[position] = at
                case DeadlineAt(at):
                    self.deadline = at

    def _forget_process(self) -> None:
        self.queue, self.live, self.wake, self.deadline, self.following = set(), {}, {}, None, set()

    def _execution(self) -> UUID:
        self.executions += 1
        return UUID(int=10**6 + self.executions)
