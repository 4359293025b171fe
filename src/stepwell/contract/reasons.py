"""Why a workflow and its steps don't move: what `GET /api/v1/workflows/{id}/explain` answers.

A reason is told by its `code`; `detail` is a sentence for people. Times are UTC.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct

from stepwell.contract.enums import ProviderType, StepStatus, WorkflowStatus

Doing = Literal["recording", "preparing", "working", "fetching"]
SlotLimit = Literal["total", "provider", "model", "tenant"]


class Reason(Struct, frozen=True, kw_only=True, tag_field="code"):
    detail: Annotated[str, Meta(description="A sentence for people")]


# Of a workflow, and of its steps


class NotStarted(Reason, tag="not_started", frozen=True, kw_only=True):
    """The workflow is PENDING."""


class IsPaused(Reason, tag="paused", frozen=True, kw_only=True):
    """`by` and `at` are null while the database, which knows, is away."""

    by: str | None
    at: datetime | None


class OtherProcess(Reason, tag="other_process", frozen=True, kw_only=True):
    """Another process runs the workflow, and it alone knows what for. `lease_until` is null for one without an end."""

    owner: UUID
    lease_until: datetime | None


class IsDraining(Reason, tag="draining", frozen=True, kw_only=True):
    """The process is stopping; the next one goes on."""


# Of a workflow alone


class HasFailed(Reason, tag="failed", frozen=True, kw_only=True):
    """`steps` have failed for good, 50 of them at most; `failure` is no step's fault. Resume runs what is left."""

    steps: list[str]
    failure: str | None


class OwnerDead(Reason, tag="owner_dead", frozen=True, kw_only=True):
    """The process that ran it has ended, its lease at `lease_until`, null for one that ended in order; another takes
    the workflow over.
    """

    owner: UUID
    lease_until: datetime | None


class DatabaseAway(Reason, tag="database_away", frozen=True, kw_only=True):
    """Nothing can be recorded, and nothing starts before it is."""


class DiskIsFull(Reason, tag="disk_full", frozen=True, kw_only=True):
    """The database answers, but nothing can be recorded until there is room on its disk."""


# Of a step alone


class WaitsForSteps(Reason, tag="waits_for_steps", frozen=True, kw_only=True):
    """For so many `unfinished` ones, of which `steps` are the first 50. Those that are `stuck`, 50 at most, only resume
    moves: they have ended without success, or nothing new starts in the workflow.
    """

    unfinished: int
    steps: list[str]
    stuck: list[str]


class WaitsForSlot(Reason, tag="waits_for_slot", frozen=True, kw_only=True):
    """All `slots` of a `limit` are `used`. `position`: how many starts it is until this step's own, that included, in
    the fair order of its queue.
    """

    limit: SlotLimit
    provider: ProviderType | None
    model: str | None
    slots: int
    used: int
    position: int


class RateLimited(Reason, tag="rate_limited", frozen=True, kw_only=True):
    """So many starts `per_minute` are allowed; `until`: when this step's turn comes at that pace, at the earliest."""

    provider: ProviderType
    model: str
    per_minute: float
    until: datetime
    position: int


class BreakerOpen(Reason, tag="breaker_open", frozen=True, kw_only=True):
    """The model has failed too often. `probing`: an attempt was let through to see, and its end is waited for."""

    provider: ProviderType
    model: str
    until: datetime | None
    probing: bool


class WaitsForRetry(Reason, tag="retry", frozen=True, kw_only=True):
    """Number `attempt` of `attempts` at that provider starts `at` that time; `error` is the last one's."""

    provider: ProviderType | None
    attempt: int
    attempts: int
    at: datetime
    error: str | None


class FailedElsewhere(Reason, tag="failed_elsewhere", frozen=True, kw_only=True):
    """The step could run, but `steps` have failed, 50 at most, or the workflow has, by `failure`. Resume runs it."""

    steps: list[str]
    failure: str | None


class RemoteJob(Reason, tag="remote_job", frozen=True, kw_only=True):
    """A job at a provider goes on. `state` is the provider's own word, `since` when it says so as far as this process
    has seen, for `seconds`; null before the first look, and where another process looks, and then `since` is when it
    was sent. `trouble`: why the last look had no answer.
    """

    attempt: int
    provider: ProviderType
    remote_id: str
    state: str | None
    since: datetime
    seconds: float
    progress: float | None
    trouble: str | None


class BeingSent(Reason, tag="sending", frozen=True, kw_only=True):
    """A provider was sent the work, and its answer is waited for."""

    attempt: int
    provider: ProviderType
    since: datetime


class OutcomeNotKnown(Reason, tag="outcome_unknown", frozen=True, kw_only=True):
    """A provider was sent the work, and its answer was lost: its job is looked for, and nothing is sent again before
    that has ended. `since`: when it was sent.
    """

    attempt: int
    provider: ProviderType
    since: datetime
    trouble: str | None


class RunsHere(Reason, tag="running_locally", frozen=True, kw_only=True):
    """The process is at work on it: its start is being recorded, inputs are prepared, the work itself is done here,
    or the result of a job that has ended is fetched.
    """

    attempt: int
    doing: Doing
    provider: ProviderType | None
    since: datetime | None
    trouble: str | None


class FollowsUp(Reason, tag="following_up", frozen=True, kw_only=True):
    """The step has ended, but the job of an attempt that was given up has not: it is ended at the provider, and its end
    is waited for `until` that time.
    """

    provider: ProviderType | None
    remote_id: str | None
    until: datetime


WorkflowReason = NotStarted | IsPaused | OtherProcess | OwnerDead | DatabaseAway | DiskIsFull | IsDraining | HasFailed
StepReason = (
    NotStarted
    | WaitsForSteps
    | WaitsForSlot
    | RateLimited
    | BreakerOpen
    | WaitsForRetry
    | IsPaused
    | FailedElsewhere
    | RemoteJob
    | BeingSent
    | OutcomeNotKnown
    | RunsHere
    | OtherProcess
    | IsDraining
    | FollowsUp
)


class ExplainedStep(Struct, frozen=True):
    step_id: str
    status: StepStatus
    reason: StepReason


class Explanation(Struct, frozen=True):
    """`reason`: why the workflow as a whole doesn't move, null where it does or has ended. `steps`: those that have not
    ended, and those with a job that is still to be ended, in the order of the definition.
    """

    workflow_id: UUID
    status: WorkflowStatus
    reason: WorkflowReason | None
    steps: Sequence[ExplainedStep]
