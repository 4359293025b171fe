"""The result of a transition: the rows to write in one transaction, and the effects that follow."""

from collections.abc import Callable
from datetime import datetime
from enum import Enum, auto
from operator import attrgetter, methodcaller
from typing import Any, Self, TypeVar
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType, field

from stepwell.basics.artifacts import named_tasks
from stepwell.basics.idempotency import KeyClaim
from stepwell.contract.definition import Budget
from stepwell.contract.enums import TERMINAL_EVENTS, TERMINAL_STATUSES, CancelReceipt, EventType
from stepwell.contract.tasks import Cost
from stepwell.lifecycle.effects import Effect
from stepwell.lifecycle.model import HistoryEvent, ItemState, ShownWait, StepState, StoredSignal, Task, WorkflowState
from stepwell.lifecycle.peer_commands import CommandMark
from stepwell.lifecycle.webhook_deliveries import Delivery

T = TypeVar("T", bound=Struct)
# `copy.copy` calls this too, but takes longer to find it than the copy itself takes.
copy_of: Callable[[T], T] = methodcaller("__copy__")
_rows_of = attrgetter(
    "steps", "tasks", "events", "deliveries", "key_claims", "commands", "waits", "signals", "new_items"
)


class CleanupChange(Enum):
    """The change of the workflow's row in `cleanups`: BEGUN inserts the row, ENDED deletes it."""

    BEGUN = auto()
    ENDED = auto()


class RequestMarks(Struct, frozen=True):
    """The marks of a request, which are written with the decision that it has led to."""

    claim: KeyClaim | None = None
    command: CommandMark | None = None


class Settlement(Struct, frozen=True):
    """The end of what the attempt `task_id` has reserved in budgets.

    It has spent `cost`. `kept`: nobody knows what it has cost, because the provider may have a job of it, also one that
    failed. Then all that was reserved counts as spent.
    `counts`: it counts as an attempt, because its request was sent.
    """

    task_id: UUID
    cost: Cost | None = None
    kept: bool = False
    counts: bool = True


class BudgetRows(Struct):
    """The changes of budgets: the `settlements` of attempts, and the new `budget` of the workflow."""

    settlements: list[Settlement] = field(default_factory=list)
    budget: Budget | None = None

    def merge(self, later: "BudgetRows") -> None:
        self.settlements += later.settlements
        self.budget = later.budget or self.budget


class Decision(Struct):
    """The result of `Run.apply`.

    The rows to write in one transaction:

    - `workflow`, `tasks`, `events`, `deliveries`, `key_claims` and `cleanup`.
    - `steps`, by position. Positions beyond those of the definition are items. `new_items` are to be inserted.
      `has_flow_steps`: an item, the state of a step's flow control, or a step that a person has skipped is among these
      rows.
    - `labels`: all new labels of the workflow, None if it keeps none. UNSET doesn't change them.
    - `commands`: those that the decision carries out. Nothing is written if one of them was withdrawn.
    - `waits`, by position: those that have begun. None: the wait has ended.
    - `signals`, by name: they are to be stored. None: the signal is to be deleted.
    - `budget`: UNSET if no budget changes.
    - `parking_changes`: `wake_at`, the owner or `crashes` of the workflow's row changes, perhaps without an event.

    `ready` holds the positions of the steps that now want a slot. The `effects` follow once the rows are committed.

    `owner`, `epoch` and `last_event` are those of the row before. The write succeeds only if the stored row still has
    them; otherwise another process has taken the workflow over.
    """

    owner: UUID | None
    epoch: int
    last_event: int
    workflow: WorkflowState
    steps: dict[int, StepState] = field(default_factory=dict)
    tasks: dict[UUID, Task] = field(default_factory=dict)
    events: list[HistoryEvent] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    key_claims: list[KeyClaim] = field(default_factory=list)
    cleanup: CleanupChange | None = None
    labels: dict[str, str] | UnsetType | None = UNSET
    commands: tuple[CommandMark, ...] = ()
    waits: dict[int, ShownWait | None] = field(default_factory=dict)
    signals: dict[str, StoredSignal | None] = field(default_factory=dict)
    budget: BudgetRows | UnsetType = UNSET
    parking_changes: bool = False
    has_flow_steps: bool = False
    new_items: list[ItemState] = field(default_factory=list)
    ready: list[int] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)

    @classmethod
    def of(cls, state: WorkflowState) -> Self:
        return cls(state.owner, state.epoch, state.last_event, state)

    @property
    def has_rows(self) -> bool:
        return bool(self.events or self.tasks or self.parking_changes)

    @property
    def has_costs(self) -> bool:
        """True if the decision has a task whose cost is known."""
        for task in self.tasks.values():  # noqa: SIM110 - hot path: `any` of a generator takes twice as long
            if task.cost is not None:
                return True
        return False

    @property
    def is_plain(self) -> bool:
        """True if the decision has no costs, and only rows of its workflow, steps, tasks and events."""
        if self.parking_changes or self.has_flow_steps or self.waits or self.signals or self.new_items:  # hot path
            return False
        return not (self.has_side_rows or self.has_costs)

    @property
    def has_side_rows(self) -> bool:
        """True if the decision has rows of webhooks, requests or cleanups, or changes the labels."""
        if self.deliveries or self.key_claims or self.cleanup or self.commands:
            return True
        return self.labels is not UNSET or self.budget is not UNSET

    @property
    def has_flow(self) -> bool:
        """True if the decision changes columns or rows that only workflows with flow control have."""
        if self.has_flow_steps or self.parking_changes:
            return True
        return bool(self.waits or self.signals or self.new_items)

    @property
    def ended_child_of(self) -> UUID | None:
        """The id of the parent if the decision ends a sub-workflow; None otherwise."""
        if (parent_id := self.workflow.parent_id) is None or self.workflow.status not in TERMINAL_STATUSES:  # hot path
            return None
        return parent_id if any(event.type in TERMINAL_EVENTS for event in self.events) else None

    @property
    def named_files(self) -> frozenset[str]:
        """The ids of the tasks and uploads whose files the results of waits, and the signals to be stored, name.

        The files of results that were taken over are referenced already.
        """
        texts = [signal.data for signal in self.signals.values() if signal is not None]
        unattempted = [step for step in self.steps.values() if step.task_id is None]
        own = [step for step in unattempted if step.flow is None or step.flow.reused is None]
        texts += [step.result for step in own if step.result is not None]
        return frozenset(named_tasks(*texts))

    @property
    def rows(self) -> int:
        """The number of rows to write. The row of the workflow is one of them, and so are all its labels together."""
        number = 1 + sum(map(len, _rows_of(self))) + (self.labels is not UNSET)
        return number if self.budget is UNSET else number + len(self.budget.settlements)

    def mark(self, marks: RequestMarks) -> None:
        if marks.claim is not None:
            self.key_claims.append(marks.claim)
        if marks.command is not None:
            self.commands += (marks.command,)

    def record(self, step: StepState, now: datetime, task: Task | None = None) -> None:
        """Add the rows of *step* and *task* as they are now. The last state of a row is written."""
        step.updated_at = now
        self.steps[step.position] = copy_of(step)
        if step.flow is not None or type(step) is not StepState:  # an item
            self.has_flow_steps = True
        if task is not None:
            self.record_task(task)

    def record_task(self, task: Task) -> None:
        """Add the row of *task* as it is now."""
        self.tasks[task.id] = copy_of(task)

    def settle(self, task: Task) -> None:
        """Add the settlement of *task*, which has ended, if it has reserved anything."""
        if task.sent is not None and task.sent.reserved is True:
            never_sent = task.cancel_receipt is CancelReceipt.NEVER_STARTED
            may_be_charged = task.remote_id is not None or task.outcome_unknown
            kept = task.cost is None and not never_sent and (may_be_charged or task.cancel_receipt is not None)
            self.change_budget(BudgetRows([Settlement(task.id, task.cost, kept=kept, counts=not never_sent)]))

    def change_budget(self, rows: BudgetRows) -> None:
        if self.budget is UNSET:
            self.budget = rows
        else:
            self.budget.merge(rows)

    def emit(
        self,
        state: WorkflowState,
        now: datetime,
        kind: EventType,
        actor: str,
        *,
        step_id: str | None = None,
        task_id: UUID | None = None,
        data: dict[str, Any] | None = None,
    ) -> None:
        """Add an event with the next number of the workflow's history."""
        state.last_event += 1
        self.events.append(HistoryEvent(state.last_event, kind, now, step_id, task_id, actor, data or {}))

    def merge(self, later: "Decision") -> None:
        """Add the next decision of the same run, so that both are written as one."""
        if later.has_rows:  # otherwise its `workflow` is the run's own state, which will change
            self.workflow = later.workflow
        if self.has_flow_steps:
            self._keep_results(later)
        self.steps |= later.steps
        self.tasks |= later.tasks
        self.events += later.events
        self.ready += later.ready
        self.effects += later.effects
        if later.has_side_rows:
            self.deliveries += later.deliveries
            self.key_claims += later.key_claims
            self.commands += later.commands
            self.cleanup = later.cleanup or self.cleanup
            self.labels = self.labels if later.labels is UNSET else later.labels
            if later.budget is not UNSET:
                self.change_budget(later.budget)
        if later.has_flow:
            self.waits |= later.waits
            self.signals |= later.signals
            self.parking_changes |= later.parking_changes
            self.has_flow_steps |= later.has_flow_steps
            self.new_items += later.new_items

    def _keep_results(self, later: "Decision") -> None:
        """Let the rows of *later* keep the best results so far of steps that repeat."""
        for position, step in later.steps.items():
            before = self.steps.get(position)
            if step.flow is not None and step.result is None and before is not None:
                step.result = before.result
