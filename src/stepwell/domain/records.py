"""Workflows, steps and tasks as stored: their constant columns, beside the state that changes."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, NamedTuple, TypeAlias
from uuid import UUID

from msgspec import Struct

from stepwell.contract.costs import CostSums
from stepwell.contract.definition import JsonObject, WorkflowStepDefinition
from stepwell.contract.enums import RunIf, SkipReason, StepStatus, TaskType, WorkflowStatus
from stepwell.contract.workflows import ItemCounts
from stepwell.domain.child_records import ParentLink
from stepwell.domain.feature_level import BASE_LEVEL, FEATURE_LEVEL
from stepwell.domain.idempotency import Reservation
from stepwell.domain.model import FlowState, HistoryEvent, ItemState, StepState, StoredSignal, Task, Wait, WorkflowState
from stepwell.domain.preconditions import Version
from stepwell.domain.prices import CurrencySum, cost_sums
from stepwell.domain.steps import ResolvedStep
from stepwell.domain.workflow_limits import places_of

NO_PROCESS: Final = UUID(int=0)
"""The owner of workflows that a process has handed over. It is never alive."""


class StepAttempts(Struct, frozen=True, gc=False):
    """The provider and the model of a step's latest attempt, and the cost of all its attempts.

    `model` is None before a request is sent to a provider, and `cost` if none was sent.
    """

    provider: str | None = None
    model: str | None = None
    cost: CostSums | None = None


NO_ATTEMPTS: Final = StepAttempts()


class StepRecord(Struct, gc=False):
    """A stored step. It is in no reference cycle, so the garbage collector can skip it: there may be a million.

    `attempts` and `items` are only read for answers. `items` is None for a step without items, and before it has begun.
    """

    id: UUID
    plan: ResolvedStep
    definition: WorkflowStepDefinition
    state: StepState
    created_at: datetime
    attempts: StepAttempts = NO_ATTEMPTS
    items: ItemCounts | None = None


class ItemRecord(Struct):
    """A stored item of a step. Its `result` is None unless it is COMPLETED."""

    state: ItemState
    attempts: StepAttempts = NO_ATTEMPTS


class ItemFilter(Struct, frozen=True):
    """A choice of the items of a step: behind the item `after`, in one of `statuses`, or in any if there are none.

    The first `skip` of them are left out.
    """

    step_id: str
    statuses: frozenset[StepStatus] = frozenset()
    skip: int = 0
    after: int = -1


class ItemSlice(Struct, frozen=True):
    """Consecutive items of a step. `total` is the number of items of the filter, without regard to `skip`.

    `has_items` is false for a step without `for_each`, `repeats` is true for one with `repeat`.
    """

    items: list[ItemRecord] = []
    total: int = 0
    has_items: bool = True
    repeats: bool = False


class DecisionPlace(NamedTuple):
    """The place of an open decision in the list of them."""

    since: datetime
    workflow_id: UUID
    position: int


class DecisionFilter(Struct, frozen=True):
    """A page of the open decisions: up to *limit* of them behind *after*, of one workflow or of all."""

    limit: int
    workflow_id: UUID | None = None
    after: DecisionPlace | None = None


class StoredDecision(Struct, frozen=True):
    """A step that waits for a decision. `shown` is an encoded JSON object of its other inputs."""

    workflow_id: UUID
    workflow_name: str
    tenant: str | None
    position: int
    step_id: str
    wait: Wait
    shown: bytes

    @property
    def place(self) -> DecisionPlace:
        return DecisionPlace(self.wait.since, self.workflow_id, self.position)


class Summary(Struct, frozen=True):
    """The views of a workflow that need its steps.

    `final_step_result` is JSON. `errors` are in the order of the definition. `cost` is None if no request was sent to a
    provider. `error_message` is the first of the errors that isn't about an optional step. `done_without_result` counts
    the steps that are done without being COMPLETED: optional FAILED ones, and those that no failure has skipped.
    `items_done` adds up the shares of the COMPLETED items of all other steps that aren't COMPLETED.
    """

    current_step: str | None
    final_step_id: str
    final_step_result: bytes | None
    errors: tuple[str, ...]
    cost: CostSums | None = None
    error_message: str | None = None
    done_without_result: int = 0
    items_done: float = 0.0


class WorkflowRecord(Struct):
    """A stored workflow. `steps` are in the order of the definition; None if the caller didn't ask for them.

    `results` is false if the caller didn't ask for results: then those of the steps and of the final step are absent.
    `labels` are in the order of their keys. `parent` is None unless it is a sub-workflow.
    """

    state: WorkflowState
    tenant: str | None
    origin_instance: str
    origin_zone: str | None
    origin_reference: str | None
    config: JsonObject
    suppress_subtask_events: bool
    total_steps: int
    created_at: datetime
    summary: Summary
    steps: list[StepRecord] | None = None
    results: bool = True
    labels: dict[str, str] = {}
    parent: ParentLink | None = None

    @property
    def id(self) -> UUID:
        return self.state.id

    @property
    def status(self) -> WorkflowStatus:
        return self.state.status


class WorkflowParts(Struct, frozen=True):
    """The parts of workflows that an answer contains, beside their own fields."""

    steps: bool = True
    results: bool = True


WHOLE: Final = WorkflowParts()


class LargeWorkflow(Struct, frozen=True):
    """Stands for a workflow that is too large to be read at once, because of its steps, results or errors."""

    id: UUID
    status: WorkflowStatus


FoundWorkflow: TypeAlias = WorkflowRecord | LargeWorkflow


class StoredStep(Struct, frozen=True):
    """The constant columns of a step, and its result. `definition` and `result` are JSON. `definition` is without
    `run_if`, `optional`, `repeat`, `for_each`, and `when`, which is `condition` here. `repeat` and `for_each` are JSON.

    `result` belongs to an answer only if the step is COMPLETED in the snapshot that the answer shows.
    """

    position: int
    id: UUID
    max_retries: int
    run_if: RunIf
    optional: bool
    condition: str | None
    repeat: bytes | None
    for_each: bytes | None
    definition: bytes
    result: bytes | None


class StepSnapshot(Struct, frozen=True, array_like=True, gc=False):
    """The changing columns of a step that answers show, and the members of its `StepAttempts`.

    `costs` has the arguments of `prices.cost_sums`.
    """

    status: StepStatus
    task_id: UUID | None
    retry_count: int
    next_attempt_at: datetime | None
    error_message: str | None
    started_at: datetime | None
    completed_at: datetime | None
    updated_at: datetime | None
    provider: str | None
    model: str | None
    costs: list[CurrencySum] | None
    skip_reason: SkipReason | None
    flow: FlowState | None
    items: ItemCounts | None

    @property
    def attempts(self) -> StepAttempts:
        cost = None if self.costs is None else cost_sums(self.costs)
        return StepAttempts(self.provider, self.model, cost)


class LargeWorkflowSnapshot(Struct):
    """A workflow at one moment. `states` has the `StepSnapshot`s of its steps, as JSON lists of `STATES_PER_BLOCK`.

    They stay encoded until they are sent, because decoded they would take ten times as much memory.
    """

    record: WorkflowRecord
    states: list[bytes]


STATES_PER_BLOCK: Final = 250


class AnswerSize(Struct, frozen=True):
    """The size of an answer with whole workflows, in bytes, before it is read.

    `total` is about that of the answer. If that is too large, it may be less. `snapshot` is the part that is read at
    once, and `largest_step` that of the largest step among the rest.
    """

    total: int
    snapshot: int
    largest_step: int


class StoredInputs(Struct, frozen=True):
    """The `inputs` and the `inputs_schema` of a workflow as JSON; None if it has none.

    `evaluates`: its steps have conditions, or expressions in their configs. Else their texts are literal.
    """

    inputs: bytes | None = None
    inputs_schema: bytes | None = None
    evaluates: bool = False


NO_INPUTS: Final = StoredInputs()


class NewWorkflow(Struct, frozen=True):
    """A workflow to insert: the record with all its steps, and the events of the decisions that made it.

    `definition_bytes` is its `workflow_limits.definition_size`; 0 if that is unknown. With a `reservation` it is stored
    at most once, and only while the reservation holds. `feature_level` is the level that a process needs to run it.
    """

    record: WorkflowRecord
    final_position: int
    definition_bytes: int
    events: tuple[HistoryEvent, ...]
    reservation: Reservation | None = None
    feature_level: int = BASE_LEVEL
    inputs: StoredInputs = NO_INPUTS


class LoadedWorkflow(Struct):
    """A stored workflow with all that is needed to run it, without results.

    `definition_bytes` is its `workflow_limits.definition_size`; 0 if that is unknown. `result_bytes` is the size of its
    results together, or 0 if it has ended for good. `open_tasks` are the attempts of RUNNING steps and items, and those
    that are followed up. `evaluates`: the configs of its steps have expressions. Only then, `inputs` (JSON) and
    `labels` are loaded. `signals` have arrived, and no step has taken them. `items` are in the order of their steps.
    `parent` is None unless it is a sub-workflow. `unreadable` says why this version can't read its rows; `steps` is
    then incomplete. `deaths_alone` counts the deaths of processes in a row during its trials (see
    `lifecycle.unclean_ends`); None if it needs no trial.
    """

    state: WorkflowState
    tenant: str | None
    origin_instance: str
    config: JsonObject
    suppress_subtask_events: bool
    definition_bytes: int
    steps: list[StepRecord]
    open_tasks: list[Task]
    result_bytes: int = 0
    unreadable: str | None = None
    deaths_alone: int | None = None
    feature_level: int = BASE_LEVEL
    evaluates: bool = False
    inputs: bytes | None = None
    labels: dict[str, str] = {}
    signals: dict[str, StoredSignal] = {}
    items: list[ItemState] = []
    parent: ParentLink | None = None

    @property
    def is_understood(self) -> bool:
        """False if only a newer version may run or change it."""
        return self.feature_level <= FEATURE_LEVEL

    @property
    def unit_count(self) -> int:
        """The number of its steps and their items."""
        return len(self.steps) + len(self.items)

    @property
    def places(self) -> int:
        """The number of active workflows that it counts as."""
        item_bytes = sum(len(item.value) for item in self.items)
        return places_of(self.unit_count, self.definition_bytes + item_bytes)


class UnparkedWorkflows(Struct, frozen=True):
    """The parked workflows that were due, see `WorkflowStore.unpark`.

    `waiting` is how many of each tenant now wait for admission. `paused` are PAUSED workflows. `next_at` is when the
    next workflow is due; None if none is.
    """

    waiting: Mapping[str | None, int]
    paused: list[UUID]
    next_at: datetime | None


class AdmissionResult(Struct, frozen=True):
    """The workflows that an admission has loaded, and the sizes of the next ones.

    `next_places` has, by tenant, how many places the first workflow needs that waits and was not admitted, because the
    tenant's places were too few or the page was full. A tenant is absent if no other workflow of it was found.
    """

    loaded: list[LoadedWorkflow]
    next_places: dict[str | None, int]


class Ownership(Struct, frozen=True):
    """The owner of a workflow, and the actor who paused it.

    `owner` is None if no process runs it. `ahead` is the number of the tenant's workflows that are admitted before it;
    None if it doesn't wait for admission. `lease_until` is None if the owner has no lease, or one without an end.
    `paused_by` and `paused_at` are None unless the workflow is PAUSED.
    """

    owner: UUID | None
    alive: bool
    lease_until: datetime | None
    paused_by: str | None
    paused_at: datetime | None
    ahead: int | None = None


class WaitingCount(Struct, frozen=True):
    """The number of a tenant's workflows that wait for admission, and when the first of them was started."""

    tenant: str | None
    number: int
    oldest: datetime


class PagePlace(NamedTuple):
    """The place of a workflow in the list of all workflows, which is ordered by these values."""

    created_at: datetime
    id: UUID


class WorkflowPage(Struct):
    """A page of a list of workflows. `total` counts the workflows that match the filter; None if nobody asked for it.

    `versions` has the version of each workflow, in the order of the page. `workflows` is None if they are too large to
    be read at once (`LargeWorkflow`). `last` is the place of the last workflow of the page if others follow it.
    """

    versions: dict[UUID, Version]
    workflows: list[WorkflowRecord] | None
    total: int | None
    last: PagePlace | None = None


class WorkflowFilter(Struct, frozen=True, kw_only=True):
    """The conditions that all listed workflows meet. None and () set no condition.

    `statuses` are alternatives. `labels` are `key:value`, and a workflow has all of them. `name` is a prefix,
    case-insensitive. `created_after` and `created_before` are exclusive. `include_children`: sub-workflows match, too.
    """

    statuses: tuple[WorkflowStatus, ...] = ()
    labels: tuple[str, ...] = ()
    name: str | None = None
    origin_instance: str | None = None
    origin_tenant_id: str | None = None
    origin_zone: str | None = None
    origin_reference: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    include_deleted: bool = False
    include_children: bool = False


class ListFilter(WorkflowFilter, frozen=True, kw_only=True):
    """The filters of a list of workflows, its page, and the parts of the workflows that it includes.

    The page begins behind the place `after`, and then skips `skip` workflows. `count`: the total is wanted.
    """

    skip: int = 0
    limit: int = 50
    after: PagePlace | None = None
    oldest_first: bool = False
    count: bool = True
    parts: WorkflowParts = WHOLE


class TaskRecord(Struct):
    """A stored task, with its workflow, step and type. Cleanup sets `deleted_at`."""

    task: Task
    workflow_id: UUID
    step_id: str
    task_type: TaskType
    created_at: datetime
    deleted_at: datetime | None = None


ITEM_ATTEMPTS: Final = 1_000_000
"""The number of attempts that the place of a task has room for, for each item."""


class TaskPlace(NamedTuple):
    """The place of a task in the order of its workflow's tasks: by the position of the step, the item and the attempt.

    `attempt` of an item's task is that of the item, plus `ITEM_ATTEMPTS` for each item before it.
    """

    position: int
    attempt: int

    @classmethod
    def of(cls, task: Task) -> "TaskPlace":
        if task.place is None:
            return cls(task.position, task.attempt)
        return cls(task.place.step, task.place.item * ITEM_ATTEMPTS + task.attempt)


class TaskSlice(Struct, frozen=True):
    """Consecutive tasks of a workflow. `more`: others may follow."""

    tasks: list[TaskRecord]
    more: bool


class CleanupFault(Struct, frozen=True):
    """A task that could not be cleaned completely."""

    task_id: UUID
    step_id: str
    task_type: TaskType
    error: str


class CleanupReport(Struct):
    """The result of a cleanup. `tasks_processed` counts the examined tasks, `tasks_cleaned` the wholly cleaned ones.

    `pending`: files are left that are still to be deleted.
    """

    tasks_processed: int = 0
    tasks_cleaned: int = 0
    deleted_paths: list[str] = []
    errors: list[CleanupFault] = []
    pending: bool = False


class DueCleanup(Struct, frozen=True):
    """A cleanup whose next pass is due. `tries` counts the failed passes. `lane` is the tenant, "" for none.

    `purge`: all rows of the workflow are deleted too. `expired`: the retention does that, and not a request.
    """

    workflow_id: UUID
    lane: str
    tries: int
    purge: bool = False
    expired: bool = False


class FileRemoval(Struct, frozen=True):
    """The files of a task whose rows a purge has deleted."""

    task_id: UUID
    workflow_id: UUID
    paths: tuple[str, ...]


class PurgedRows(Struct, frozen=True):
    """The workflows whose rows a purge has deleted. Those in `unfinished` may still have rows."""

    workflow_ids: frozenset[UUID] = frozenset()
    unfinished: frozenset[UUID] = frozenset()


class ExpiredBatch(Struct, frozen=True):
    """A batch of workflows that the retention has deleted.

    `with_files`: some of them have files, which are still to be deleted. `busy`: nothing was deleted, because the files
    of an earlier batch are still being deleted. `is_behind`: before the batch, a workflow was due. `next_s`: the
    seconds until the next one is due; None without one.
    """

    count: int
    with_files: bool
    busy: bool
    is_behind: bool
    next_s: float | None


class DataDeletion(Struct):
    """The result of deleting all data of a workflow. `pending`: something is left that is still to be deleted."""

    files_deleted: int = 0
    pending: bool = False


class TaskToClean(Struct, frozen=True):
    """A task whose files a cleanup handles.

    `referenced_by`: another workflow that still needs the files, so that they stay. `begun`: an earlier pass of the
    same cleanup may have deleted them already.
    """

    record: TaskRecord
    referenced_by: UUID | None
    begun: bool


class CleanupCounts(Struct, frozen=True):
    """The files that a cleanup has deleted, and those that were gone before it.

    `repeated`: an earlier cleanup of the workflow has written workflow.files_deleted already.
    """

    deleted: int
    gone: int
    repeated: bool
