"""The answer of a verb with `dry_run=true`."""

from collections.abc import Sequence
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct

from stepwell.contract.enums import ProviderType, WorkflowStatus

DryRunVerb = Literal["start", "pause", "resume", "cancel", "cleanup"]


class JobToCancel(Struct, frozen=True):
    """A job that would be cancelled at its provider. `remote_id` is null if it isn't known yet."""

    step_id: str
    provider: ProviderType | None
    remote_id: str | None
    item: Annotated[int, Meta(description="The number of the step's item; null if it has none")] | None = None


class KeptFile(Struct, frozen=True):
    """A file that would not be deleted, because the workflow `workflow_id` uses it."""

    path: str
    workflow_id: UUID


class DryRunItems(Struct, frozen=True):
    """The numbers of items of a step that would run or continue. `total` and `would_run` are null if only the run knows
    how many items there are. `running`: those whose attempts continue. `kept`: COMPLETED items, which don't run again.
    `still_failed`: those that stay FAILED.
    """

    step_id: str
    total: int | None
    would_run: int | None
    running: int
    kept: int
    still_failed: int


class DryRunRepeat(Struct, frozen=True):
    """A step that repeats, and would run or continue. `run` is the number of its next run, or of the one that
    continues, and `max` how many there are at most. The items of a step repeat each for itself, so steps with items
    aren't listed.
    """

    step_id: str
    run: int
    max: int


class DryRun(Struct, frozen=True, kw_only=True):
    """A forecast of a verb. Nothing has changed. The lists hold ids of steps, in the order of the definition; a
    list that doesn't concern the verb is empty. `would_run`: the steps that would wait for a slot at once, or begin to
    wait for a decision, a signal or a time.
    `would_run_later`: those that would run after others. `may_run`: those that would run only if a condition is true,
    their own one or one further up. `running`: those whose attempts or waits continue. `kept`:
    COMPLETED steps, which don't run again. `reset`: those that return to PENDING, by resume with a fresh retry budget.
    `still_skipped` and `still_failed`: those that resume leaves SKIPPED or FAILED. `cancelled`: those that become
    CANCELLED. `items` and `repeats` are about steps with `for_each` and `repeat` that would run. Files are those
    recorded by the `tasks` tasks that cleanup would examine. `sub_workflows` has a forecast for each sub-workflow that
    the verb would create or change, and `sub_workflows_left_out` counts those that are left out because there are too
    many. `allowed` is false only for a sub-workflow that would be refused, so that its step would fail.
    """

    verb: DryRunVerb
    allowed: bool = True
    status_now: WorkflowStatus
    status_after: WorkflowStatus
    would_run: Sequence[str] = ()
    would_run_later: Sequence[str] = ()
    may_run: Sequence[str] = ()
    running: Sequence[str] = ()
    kept: Sequence[str] = ()
    reset: Sequence[str] = ()
    still_skipped: Sequence[str] = ()
    still_failed: Sequence[str] = ()
    cancelled: Sequence[str] = ()
    items: Sequence[DryRunItems] = ()
    repeats: Sequence[DryRunRepeat] = ()
    remote_jobs_to_cancel: Sequence[JobToCancel] = ()
    files_to_delete: Sequence[str] = ()
    files_kept: Sequence[KeptFile] = ()
    tasks: int = 0
    sub_workflows: Sequence["SubWorkflowDryRun"] = ()
    sub_workflows_left_out: int = 0


class SubWorkflowDryRun(Struct, frozen=True):
    """The forecast of a sub-workflow that the step `step_id` runs. `workflow_id` is null if it would be created. Then
    `verb` is `start`, and the entry stands for the sub-workflows of all items that have none yet. `item` is the number
    of the item that runs it.
    """

    step_id: str
    item: int | None
    workflow_id: UUID | None
    dry_run: DryRun
