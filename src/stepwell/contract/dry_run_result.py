"""The answer of a verb with `dry_run=true`."""

from collections.abc import Sequence
from typing import Literal
from uuid import UUID

from msgspec import Struct

from stepwell.contract.enums import ProviderType, WorkflowStatus

DryRunVerb = Literal["start", "resume", "cancel", "cleanup"]


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

    verb: DryRunVerb
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
