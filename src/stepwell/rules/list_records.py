"""Lists of stored workflows, tasks, items, outputs and open decisions: their filters, cursors and pages."""

from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from msgspec import Struct

from stepwell.basics.tenancy import FileScope
from stepwell.contract.definition import DefinitionReference
from stepwell.contract.enums import StepStatus, WaitsFor, WorkflowStatus
from stepwell.contract.reasons import StepAbove
from stepwell.contract.tasks import Output
from stepwell.contract.workflows import AncestorStep
from stepwell.lifecycle.model import Task, Wait
from stepwell.lifecycle.preconditions import ReadVersion
from stepwell.lifecycle.records import WHOLE, ItemRecord, TaskRecord, WorkflowParts, WorkflowRecord

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


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


class DecisionCursor(NamedTuple):
    """The position of an open decision in the list of them. `since_us` is in microseconds since 1970: a time would make
    the text of the cursor too long.
    """

    since_us: int
    workflow_id: UUID
    position: int

    @property
    def since(self) -> datetime:
        return _EPOCH + self.since_us * _MICROSECOND


class DecisionFilter(Struct, frozen=True):
    """A page of the open decisions: up to *limit* of them behind *after*.

    They are those of the workflow *workflow_id* and its sub-workflows in all depths, or of all workflows. *step_id* is
    the id of their step. The run at the top has all *labels*, each `key:value`, and runs the *definition*.
    """

    limit: int
    workflow_id: UUID | None = None
    after: DecisionCursor | None = None
    step_id: str | None = None
    labels: tuple[str, ...] = ()
    definition: DefinitionReference | None = None


MOST_COUNTED: Final = 1_000
"""The number of open decisions at which counting them ends."""
MAX_ITEM_BYTES, MAX_ITEM_TEXT = 8_192, 200
"""The most stored bytes of an item's value that the list of open decisions reads, and the most characters it shows."""


class StoredDecision(Struct, frozen=True):
    """A step that waits for a decision. `shown` is an encoded JSON object of its other inputs.

    `files` are those that its workflow may read. `ancestors` are the steps above its workflow, from the run at the top
    on. `labels` are those of that run.
    """

    workflow_id: UUID
    workflow_name: str
    files: FileScope
    position: int
    step_id: str
    wait: Wait
    shown: bytes
    ancestors: list[AncestorStep] = []
    labels: dict[str, str] = {}

    @property
    def tenant(self) -> str | None:
        return self.files.tenant

    @property
    def cursor(self) -> DecisionCursor:
        return DecisionCursor((self.wait.since - _EPOCH) // _MICROSECOND, self.workflow_id, self.position)


class WaitBelow(Struct, frozen=True):
    """A wait of a step of a sub-workflow. `above` are the steps that lead to it, from the top on. `signal` is the name
    of the signal that it waits for, if it has another one than the step.
    """

    above: list[StepAbove]
    workflow_id: UUID
    step_id: str
    signal: str | None
    wait: Wait


class WorkflowCursor(NamedTuple):
    """The position of a workflow in the list of all workflows, which is ordered by these values."""

    created_at: datetime
    id: UUID


class WorkflowPage(Struct):
    """A page of a list of workflows. `total` counts the workflows that match the filter; None if it wasn't requested.

    `versions` has the version of each workflow, in the order of the page. `workflows` is None if they are too large to
    be read at once (`LargeWorkflow`). `last` is the cursor of the last workflow of the page if others come after it.
    """

    versions: dict[UUID, ReadVersion]
    workflows: list[WorkflowRecord] | None
    total: int | None
    last: WorkflowCursor | None = None


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
    waits_for: WaitsFor | None = None
    definition: DefinitionReference | None = None
    include_deleted: bool = False
    include_children: bool = False


class ListFilter(WorkflowFilter, frozen=True, kw_only=True):
    """The filters of a list of workflows, its page, and the parts of the workflows that it includes.

    The page begins behind `after`, and then skips `skip` workflows. `count`: the total is wanted.
    """

    skip: int = 0
    limit: int = 50
    after: WorkflowCursor | None = None
    oldest_first: bool = False
    count: bool = True
    parts: WorkflowParts = WHOLE


ITEM_ATTEMPTS: Final = 1_000_000
"""The most attempts of an item that a `TaskCursor` can count."""


class TaskCursor(NamedTuple):
    """The position of a task among those of its workflow, which are ordered by step, item and attempt.

    `attempt` of an item's task is that of the item, plus `ITEM_ATTEMPTS` for each item before it.
    """

    position: int
    attempt: int

    @classmethod
    def of(cls, task: Task) -> "TaskCursor":
        if task.item_key is None:
            return cls(task.position, task.attempt)
        return cls(task.item_key.step, task.item_key.item * ITEM_ATTEMPTS + task.attempt)


class TaskFilter(Struct, frozen=True):
    """Up to *count* tasks behind *after*, or the first ones, of all steps or of one.

    Together they have at most about *max_bytes*, unless there is only one.
    """

    count: int
    max_bytes: int
    after: TaskCursor | None = None
    include_deleted: bool = False
    step_id: str | None = None


class TaskSlice(Struct, frozen=True):
    """Consecutive tasks of a workflow. `more`: others may come after them."""

    tasks: list[TaskRecord]
    more: bool


class OutputCursor(NamedTuple):
    """The position of a file in the list of outputs of a run: a task of the run or of a sub-workflow, and the number of
    the file among the task's, from 1. `position` and `attempt` are those of `TaskCursor`.
    """

    workflow_id: UUID
    position: int
    attempt: int
    number: int


class StoredOutput(Struct, frozen=True):
    """A file of a result of a run. `is_final` says whether it belongs to the final result."""

    cursor: OutputCursor
    output: Output
    task_id: UUID
    step_path: str
    is_final: bool
