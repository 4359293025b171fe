"""The answer of a verb with `dry_run=true`."""

from collections.abc import Sequence
from typing import Literal
from uuid import UUID

from msgspec import Struct

from stepwell.contract.enums import ProviderType, WorkflowStatus

DryRunVerb = Literal["start", "pause", "resume", "cancel", "cleanup"]


class JobToCancel(Struct, frozen=True):
    """A job that would be cancelled at its provider. `remote_id` is null if it isn't known yet."""

    step_id: str
    provider: ProviderType | None
    remote_id: str | None


class KeptFile(Struct, frozen=True):
    """A file that would not be deleted, because the workflow `workflow_id` uses it."""

    path: str
    workflow_id: UUID


class DryRun(Struct, frozen=True, kw_only=True):
    """A forecast of a verb. Nothing has changed. The lists hold ids of steps, in the order of the definition; a
    list that doesn't concern the verb is empty. `would_run`: the steps that would wait for a slot at once.
    `would_run_later`: those that would run after others. `may_run`: those that would run only if a condition is true,
    their own one or one further up. `running`: those whose attempts or waits continue. `kept`:
    COMPLETED steps, which don't run again. `reset`: those that return to PENDING, by resume with a fresh retry budget.
    `still_skipped` and `still_failed`: those that resume leaves SKIPPED or FAILED. `cancelled`: those that become
    CANCELLED. Files are those recorded by the `tasks` tasks that cleanup would examine.
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
    remote_jobs_to_cancel: Sequence[JobToCancel] = ()
    files_to_delete: Sequence[str] = ()
    files_kept: Sequence[KeptFile] = ()
    tasks: int = 0
