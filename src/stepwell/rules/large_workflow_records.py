"""Records of workflows that are too large to be read at once. Their responses are sent piece by piece."""

from datetime import datetime
from typing import Final, TypeAlias
from uuid import UUID

from msgspec import Struct

from stepwell.contract.enums import RunIf, SkipReason, StepStatus, WorkflowStatus
from stepwell.contract.workflows import ItemCounts
from stepwell.lifecycle.model import FlowState
from stepwell.lifecycle.records import StepAttempts, WorkflowRecord
from stepwell.rules.costs import CurrencySum, cost_sums

SMALL_BYTES: Final = 64 * 1024  # a workflow of more weight is large
SMALL_PAGE_BYTES: Final = 256 * 1024  # a page of more weight is large: it is read and sent in slices
TASK_BYTES: Final = 600  # of a task in a response, without its error and outputs


class LargeWorkflow(Struct, frozen=True):
    """Stands for a workflow that is too large to be read at once, because of its steps, results or errors."""

    id: UUID
    tenant: str | None
    status: WorkflowStatus


FoundWorkflow: TypeAlias = WorkflowRecord | LargeWorkflow


class StoredStep(Struct, frozen=True):
    """The constant columns of a step, and its result. `definition` and `result` are JSON. `definition` is without
    `run_if`, `optional`, `repeat`, `for_each`, and `when`, which is `condition` here. `repeat` and `for_each` are JSON.

    `result` belongs to a response only if the step is COMPLETED in the snapshot that the response shows.
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
    """The changing columns of a step that responses show, and the members of its `StepAttempts`.

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


class ResponseSize(Struct, frozen=True):
    """The size of a response with whole workflows, in bytes, before it is read.

    `total` is about that of the response. If that is too large, it may be less. `snapshot` is the part that is read at
    once, and `largest_step` that of the largest step among the rest.
    """

    total: int
    snapshot: int
    largest_step: int
