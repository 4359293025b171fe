"""Workflows, steps and tasks as they are stored and read back: what never changes, beside the state that does."""

from datetime import datetime
from uuid import UUID

from msgspec import Struct

from stepwell.contract.costs import WorkflowCost
from stepwell.contract.definition import JsonObject, WorkflowStepDefinition
from stepwell.contract.enums import TaskType, WorkflowStatus
from stepwell.domain.idempotency import Reservation
from stepwell.domain.model import HistoryEvent, StepState, Task, WorkflowState
from stepwell.domain.steps import ResolvedStep


class StepRecord(Struct, gc=False):
    """A step as stored. Nothing in one refers back, so the collector is spared them: there may be a million."""

    id: UUID
    plan: ResolvedStep
    definition: WorkflowStepDefinition
    state: StepState
    created_at: datetime


class Summary(Struct, frozen=True):
    """The views of a workflow that need its steps. `final_step_result` is JSON; `errors` in definition order; `cost` is
    null where nothing has left for a provider.
    """

    current_step: str | None
    final_step_id: str
    final_step_result: bytes | None
    errors: tuple[str, ...]
    cost: WorkflowCost | None = None


class WorkflowRecord(Struct):
    """A stored workflow. `steps` in the order of the definition, null where they were not asked for."""

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


class NewWorkflow(Struct, frozen=True):
    """A workflow to insert: the record with all its steps, and the events of the decisions that made it. With a
    `reservation` it may be stored once, and only while that holds.
    """

    record: WorkflowRecord
    final_position: int
    events: tuple[HistoryEvent, ...]
    reservation: Reservation | None = None


class LoadedWorkflow(Struct):
    """What it takes to run a stored workflow, results left out. `open_tasks`: the attempts of its RUNNING steps.
    `unreadable` says why its rows make no sense to this version, where they don't; `steps` is then incomplete.
    """

    state: WorkflowState
    tenant: str | None
    origin_instance: str
    config: JsonObject
    suppress_subtask_events: bool
    steps: list[StepRecord]
    open_tasks: list[Task]
    unreadable: str | None = None


class Ownership(Struct, frozen=True):
    """Who runs a workflow, null for nobody: a process that is `alive` or not, whose lease ends then (null: it has none,
    or one without an end). Who has paused it and when, null where it isn't PAUSED.
    """

    owner: UUID | None
    alive: bool
    lease_until: datetime | None
    paused_by: str | None
    paused_at: datetime | None


class WorkflowPage(Struct):
    workflows: list[WorkflowRecord]
    total: int


class ListFilter(Struct, frozen=True, kw_only=True):
    skip: int = 0
    limit: int = 50
    status: WorkflowStatus | None = None
    origin_instance: str | None = None
    origin_tenant_id: str | None = None
    include_deleted: bool = False
    include_steps: bool = True


class TaskRecord(Struct):
    """A stored task with the names of what it belongs to. `deleted_at` is set by cleanup."""

    task: Task
    workflow_id: UUID
    step_id: str
    task_type: TaskType
    created_at: datetime
    deleted_at: datetime | None = None


class CleanupFault(Struct, frozen=True):
    task_id: UUID
    step_id: str
    task_type: TaskType
    error: str


class CleanupReport(Struct):
    tasks_processed: int
    tasks_cleaned: int
    deleted_paths: list[str]
    errors: list[CleanupFault]
