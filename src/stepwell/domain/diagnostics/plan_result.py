"""What would happen: the answers of `POST /api/v1/workflows/plan`, and of a verb with `dry_run=true`."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import Meta, Struct

from stepwell.domain.model import ProviderType, TaskType, WorkflowStatus
from stepwell.domain.model_terms import Money

Rehearsed = Literal["start", "resume", "cancel", "cleanup"]


class JobToCancel(Struct, frozen=True):
    """A job that would be cancelled at its provider. `remote_id` is null where it isn't known yet."""

    step_id: str
    provider: ProviderType | None
    remote_id: str | None


class KeptFile(Struct, frozen=True):
    """A file that stays, for another workflow names it."""

    path: str
    workflow_id: UUID


class DryRun(Struct, frozen=True, kw_only=True):
    """What a verb would do now; nothing has changed. Steps are named by their ids, in the order of the definition, and
    a list that doesn't concern the verb is empty. `would_run`: would want a slot at once; `would_run_later`: once
    others are done; `running`: their attempts go on; `kept`: COMPLETED, and don't run again; `reset`: go back to
    PENDING with a fresh retry budget; `cancelled`: become CANCELLED. Files are those that tasks have recorded, of
    `tasks` tasks that would be looked at.
    """

    verb: Rehearsed
    allowed: bool = True
    status_now: WorkflowStatus
    status_after: WorkflowStatus
    would_run: Sequence[str] = ()
    would_run_later: Sequence[str] = ()
    running: Sequence[str] = ()
    kept: Sequence[str] = ()
    reset: Sequence[str] = ()
    cancelled: Sequence[str] = ()
    remote_jobs_to_cancel: Sequence[JobToCancel] = ()
    files_to_delete: Sequence[str] = ()
    files_kept: Sequence[KeptFile] = ()
    tasks: int = 0


class PlannedFallback(Struct, frozen=True):
    """Who is asked when the attempts at the first provider are used up: so often, at that price for each."""

    provider: ProviderType
    model: str | None
    attempts: int
    price: Money | None


class PlannedStep(Struct, frozen=True, kw_only=True):
    """`model` is what limits and prices go by, as far as it is known before the inputs are; null for PASSTHROUGH.
    `config` is what the provider would get: the step's over the workflow's `step_defaults`; a value that a mapping
    gives stands as `{from_step, from_field}`, with a `transform` where it has one. `price` is that of one attempt, 0
    for work in this process, null where nobody has named one. `expected_s`: the median of the model's attempts in this
    process that succeeded.
    """

    step_id: str
    layer: int
    task_type: TaskType
    provider: ProviderType | None
    model: str | None
    config: dict[str, Any]
    attempts: int
    fallback: PlannedFallback | None
    timeout_s: float
    price: Money | None
    expected_s: float | None


class PlannedPrice(Struct, frozen=True):
    """`known`: the sum of one attempt at each step whose price is known; `unknown_steps`: so many steps have a price,
    or a fallback's, that isn't. `worst_case`: every attempt is made and paid for, fallbacks included; null where a
    price isn't known.
    """

    known: Sequence[Money]
    unknown_steps: int
    worst_case: Money | None


class WorkflowPlan(Struct, frozen=True):
    """`layers`: steps that could run at the same time, were there slots for all. `critical_path`: the longest chain,
    by the seconds that are expected where those of all steps are known (`critical_path_s` is then their sum), else by
    the number of its steps.
    """

    layers: Sequence[Sequence[str]]
    critical_path: Sequence[str]
    critical_path_by: Annotated[Literal["expected_s", "steps"], Meta(description="What the chain is the longest by")]
    critical_path_s: float | None
    steps: Sequence[PlannedStep]
    price: PlannedPrice
