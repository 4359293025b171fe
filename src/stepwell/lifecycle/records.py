"""Workflows, steps and tasks as stored: their constant columns, beside the state that changes."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Final
from uuid import UUID

from msgspec import Struct

from stepwell.basics.idempotency import KeyClaim
from stepwell.basics.tenancy import FileScope
from stepwell.basics.workflow_limits import slots_of
from stepwell.contract.definition import DefinitionReference, JsonObject, WorkflowStepDefinition
from stepwell.contract.enums import TaskType, WaitsFor, WorkflowStatus
from stepwell.contract.tasks import CostSums
from stepwell.contract.workflows import ItemCounts
from stepwell.lifecycle.child_records import ParentLink
from stepwell.lifecycle.feature_level import BASE_LEVEL, FEATURE_LEVEL
from stepwell.lifecycle.model import (
    HistoryEvent,
    ItemState,
    Reused,
    ReuseRule,
    StepState,
    StoredSignal,
    Task,
    UnitKey,
    WorkflowState,
)
from stepwell.lifecycle.steps import ResolvedStep

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

    `attempts` and `items` are only read for responses. `items` is None before the step has begun, and without items.
    """

    id: UUID
    resolved: ResolvedStep
    definition: WorkflowStepDefinition
    state: StepState
    created_at: datetime
    attempts: StepAttempts = NO_ATTEMPTS
    items: ItemCounts | None = None


class ItemRecord(Struct):
    """A stored item of a step. Its `result` is None unless it is COMPLETED."""

    state: ItemState
    attempts: StepAttempts = NO_ATTEMPTS


class Summary(Struct, frozen=True):
    """The views of a workflow that need its steps.

    `final_step_result` is JSON. `errors` are in the order of the definition. `cost` is None if no request was sent to a
    provider. `error_message` is the first of the errors that isn't about an optional step. `done_without_result` counts
    the steps that are done without being COMPLETED: optional FAILED ones, and those that no failure has skipped.
    `items_done` adds up the fractions of the COMPLETED items of all other steps that aren't COMPLETED. `waits_for` is
    the first of `WaitsFor` for which a step of the workflow or of its sub-workflows waits.
    """

    current_step: str | None
    final_step_id: str
    final_step_result: bytes | None
    errors: tuple[str, ...]
    cost: CostSums | None = None
    error_message: str | None = None
    done_without_result: int = 0
    items_done: float = 0.0
    waits_for: WaitsFor | None = None


class WorkflowRecord(Struct):
    """A stored workflow. `steps` are in the order of the definition; None if the caller didn't ask for them.

    `results` is false if the caller didn't ask for results: then those of the steps and of the final step are absent.
    `labels` are in the order of their keys. `parent` is None unless it is a sub-workflow, `definition` unless it runs a
    stored one. `created_by` is the subject whose token has created it, or its root. `reuse` is None unless it takes
    over results of an earlier run.
    """

    state: WorkflowState
    tenant: str | None
    created_by: str
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
    definition: DefinitionReference | None = None
    reuse: ReuseRule | None = None

    @property
    def id(self) -> UUID:
        return self.state.id

    @property
    def status(self) -> WorkflowStatus:
        return self.state.status


class WorkflowParts(Struct, frozen=True):
    """The parts of workflows that a response contains, beside their own fields."""

    steps: bool = True
    results: bool = True


WHOLE: Final = WorkflowParts()


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

    `definition_bytes` is its `workflow_limits.definition_size`; 0 if that is unknown. With a `claim` it is stored
    at most once, and only while the claim holds. `feature_level` is the level that a process needs to run it.
    `has_flow` and `named`: see `ValidatedWorkflow`. The database reads nothing of flow control for other workflows.
    `named_files` are the paths that its stored definition names; None if it may read all files of its tenant (see
    `FileScope`).
    """

    record: WorkflowRecord
    final_position: int
    definition_bytes: int
    events: tuple[HistoryEvent, ...]
    claim: KeyClaim | None = None
    feature_level: int = BASE_LEVEL
    has_flow: bool = False
    inputs: StoredInputs = NO_INPUTS
    named: bytes | None = None
    named_files: Collection[str] | None = None


class LoadedWorkflow(Struct):
    """A stored workflow with all that is needed to run it, without results.

    `definition_bytes` is its `workflow_limits.definition_size`; 0 if that is unknown. `result_bytes` is the size of its
    results together, or 0 if it has ended for good. `open_tasks` are the attempts of RUNNING steps and items, and those
    that are followed up. `evaluates`: the configs of its steps have expressions. Only then, `inputs` (JSON) and
    `labels` are loaded. `signals` have arrived, and no step has taken them. `items` are in the order of their steps.
    `parent` is None unless it is a sub-workflow. `named_files`: see `NewWorkflow`. `unreadable` says why this version
    can't read its rows; `steps` is then incomplete. `crashes_on_trial` counts the deaths of processes in a row during
    its trials (see `lifecycle.unclean_ends`); None if it needs no trial. `reuse`: see `WorkflowRecord`.
    `root_has_budget` is false unless it is a sub-workflow.
    """

    state: WorkflowState
    tenant: str | None
    created_by: str
    origin_instance: str
    config: JsonObject
    suppress_subtask_events: bool
    definition_bytes: int
    steps: list[StepRecord]
    open_tasks: list[Task]
    result_bytes: int = 0
    unreadable: str | None = None
    crashes_on_trial: int | None = None
    feature_level: int = BASE_LEVEL
    evaluates: bool = False
    inputs: bytes | None = None
    labels: dict[str, str] = {}
    signals: dict[str, StoredSignal] = {}
    items: list[ItemState] = []
    parent: ParentLink | None = None
    named_files: Collection[str] | None = None
    reuse: ReuseRule | None = None
    root_has_budget: bool = False

    @property
    def files(self) -> FileScope:
        root_id = self.state.id if self.parent is None else self.parent.root_id
        return FileScope.of(self.tenant, self.created_by, root_id, self.named_files)

    @property
    def budget_root(self) -> UUID | None:
        """The workflow whose budget its attempts use: this one, or the one at the top. None: there is none."""
        if self.parent is not None:
            return self.parent.root_id if self.root_has_budget else None
        return None if self.config.get("budget") is None else self.state.id

    @property
    def is_understood(self) -> bool:
        """False if only a newer version may run or change it."""
        return self.feature_level <= FEATURE_LEVEL

    @property
    def unit_count(self) -> int:
        """The number of its steps and their items."""
        return len(self.steps) + len(self.items)

    @property
    def slots(self) -> int:
        """The number of active workflows that it counts as."""
        item_bytes = sum(len(item.value) for item in self.items)
        return slots_of(self.unit_count, self.definition_bytes + item_bytes)


class EarlierResult(Struct, frozen=True):
    """A COMPLETED result of an earlier run, which a new one may take over if the fingerprint is the same.

    `step_id` is the step there, and `size` that of the result in bytes. `reused` is recorded if it is taken over. Its
    `outputs` are the files of all attempts.
    """

    step_id: str
    size: int
    reused: Reused

    @property
    def key(self) -> UnitKey:
        """The key in the earlier run."""
        return self.reused.source

    @property
    def name(self) -> tuple[str, int | None]:
        return self.step_id, self.key.item


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

    `next_slots` has, by tenant, how many slots the first workflow needs that waits and was not admitted, because the
    tenant's slots were too few or the page was full. A tenant is absent if no other workflow of it was found.
    """

    loaded: list[LoadedWorkflow]
    next_slots: dict[str | None, int]


class WorkflowOwnership(Struct, frozen=True):
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


class TaskRecord(Struct):
    """A stored task, with its workflow, step and type. Cleanup sets `deleted_at`."""

    task: Task
    workflow_id: UUID
    step_id: str
    task_type: TaskType
    created_at: datetime
    deleted_at: datetime | None = None
