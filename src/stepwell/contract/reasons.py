"""The reasons why a workflow and its steps don't progress: the response of `GET /api/v1/workflows/{id}/explain`.

`code` identifies a reason, and `detail` is a sentence for people. Times are UTC.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Struct

from stepwell.contract.enums import ProviderType, StepStatus, WorkflowStatus
from stepwell.contract.fields import about
from stepwell.contract.tasks import WorkflowBudget

Doing = Literal["recording", "preparing", "evaluating_mappings", "waiting_for_memory", "working", "fetching"]
SlotLimit = Literal["total", "provider", "model", "tenant"]


class Reason(Struct, frozen=True, kw_only=True, tag_field="code"):
    detail: Annotated[str, about("A sentence for people")]


# Of a workflow, and of its steps


class NotStarted(Reason, tag="not_started", frozen=True, kw_only=True):
    """The workflow is PENDING."""


class IsPaused(Reason, tag="paused", frozen=True, kw_only=True):
    """The workflow is PAUSED. `by` and `at` say who paused it and when. They are null while the database is
    unavailable. `budget`: the service has paused it, because its budget has no room for an attempt.
    """

    by: str | None
    at: datetime | None
    budget: bool = False


class OtherProcess(Reason, tag="other_process", frozen=True, kw_only=True):
    """Another process runs the workflow, and only that process knows what the step waits for. `lease_until` is null if
    the lease of that process has no end.
    """

    owner: UUID
    lease_until: datetime | None


class IsDraining(Reason, tag="draining", frozen=True, kw_only=True):
    """The process is stopping. The next one continues."""


class WaitsForAdmission(Reason, tag="waits_for_admission", frozen=True, kw_only=True):
    """The workflow is RUNNING, and waits in the database until a process has a slot for it. `position` is its position
    among the waiting workflows of its tenant, from 1. It is null while the database is unavailable.
    """

    position: int | None


class IsDeleted(Reason, tag="deleted", frozen=True, kw_only=True):
    """The workflow is FAILED and deleted, so nothing runs the remaining steps."""


class HasFailed(Reason, tag="failed", frozen=True, kw_only=True):
    """`steps` (at most 50) have failed for good, and `error` is the error of the first; or the workflow itself has
    failed, and `failure` says why. If the workflow is FAILED, resume runs the remaining steps. A FAILED step names
    itself.
    """

    steps: list[str]
    error: str | None
    failure: str | None


# Of a workflow alone


class OwnerDead(Reason, tag="owner_dead", frozen=True, kw_only=True):
    """The process that ran the workflow has ended, and another process takes the workflow over. `lease_until` is the
    end of the dead process's lease; null if that process ended in order.
    """

    owner: UUID
    lease_until: datetime | None


class DatabaseAway(Reason, tag="database_away", frozen=True, kw_only=True):
    """Nothing can be recorded, so nothing starts."""


class DiskIsFull(Reason, tag="disk_full", frozen=True, kw_only=True):
    """The database's disk is full: nothing can be recorded, so nothing starts."""


# Of a step alone


class WaitsForSteps(Reason, tag="waits_for_steps", frozen=True, kw_only=True):
    """The step waits for other steps: `unfinished` is their number, and `steps` are the first 50. `stuck` (at most 50)
    are those that only resume can run, because they ended without success or the workflow starts nothing new.
    """

    unfinished: int
    steps: list[str]
    stuck: list[str]


class WaitsForSlot(Reason, tag="waits_for_slot", frozen=True, kw_only=True):
    """All slots of a limit are in use. `limit` names the limit, `slots` is its size, and `used` is the number of slots
    in use. `position` is the step's position in the fair order of the queue, from 1.
    """

    limit: SlotLimit
    provider: ProviderType | None
    model: str | None
    slots: int
    used: int
    position: int


class RateLimited(Reason, tag="rate_limited", frozen=True, kw_only=True):
    """Only `per_minute` starts a minute are allowed. `until` is the earliest time at which this step can start."""

    provider: ProviderType
    model: str
    per_minute: float
    until: datetime
    position: int


class BreakerOpen(Reason, tag="breaker_open", frozen=True, kw_only=True):
    """The circuit breaker of the model is open until `until`. `probing` is true while one attempt tests the model."""

    provider: ProviderType
    model: str
    until: datetime | None
    probing: bool


class WaitsForRetry(Reason, tag="retry", frozen=True, kw_only=True):
    """The next attempt starts at the time `at`. It is number `attempt` of at most `attempts`. `error` is the last
    attempt's error.
    """

    provider: ProviderType | None
    attempt: int
    attempts: int
    at: datetime
    error: str | None


class ProviderAway(Reason, tag="provider_away", frozen=True, kw_only=True):
    """The provider can't be reached, or has asked to come back later, since the time `since`. Nothing was sent. The
    same attempt is tried again at the time `at`, and until `until` no try counts as a failure. `error` is that of the
    last try.
    """

    provider: ProviderType | None
    since: datetime
    at: datetime
    until: datetime
    error: str | None


class FailedElsewhere(Reason, tag="failed_elsewhere", frozen=True, kw_only=True):
    """The step could run, but `steps` (at most 50) have failed, or the workflow itself has failed, and `failure` says
    why. If the workflow is FAILED, resume runs the step.
    """

    steps: list[str]
    failure: str | None


class RemoteJob(Reason, tag="remote_job", frozen=True, kw_only=True):
    """A job at a provider is running. `state` is the provider's own word for its state, `since` is when this process
    first read that word, and `seconds` is the time since then. If this process hasn't polled the job, `state` is null,
    and `since` is when the job was sent. `trouble` says why the last poll failed.
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
    """A request was sent to a provider at the time `since`, and the service waits for the answer."""

    attempt: int
    provider: ProviderType
    since: datetime


class OutcomeNotKnown(Reason, tag="outcome_unknown", frozen=True, kw_only=True):
    """A request was sent to a provider at the time `since`, and its answer was lost. The service looks for the job, and
    sends no other request until it knows what became of this one.
    """

    attempt: int
    provider: ProviderType
    since: datetime
    trouble: str | None


class RunsHere(Reason, tag="running_locally", frozen=True, kw_only=True):
    """The process works on the step: it is recording the start, preparing inputs, evaluating mappings in a child
    process where tenants take turns, waiting for memory, working, or fetching the result of a job.
    """

    attempt: int
    doing: Doing
    provider: ProviderType | None
    since: datetime | None
    trouble: str | None


class EvaluatesExpressions(Reason, tag="evaluating_expressions", frozen=True, kw_only=True):
    """The steps before it have ended, and the step's condition or its items are evaluated, or the config of a step that
    waits.
    Expressions that are too heavy for this process wait for a child process, where tenants take turns. Items wait
    for up to 30 s while the workflows of the tenant have items of more than 32 MiB in memory.
    """


class ChecksReuse(Reason, tag="checking_reuse", frozen=True, kw_only=True):
    """The step could run. First, the service looks for a result of the earlier run `workflow_id` that it could take
    over: it evaluates the inputs of the step, and checks that the files of the result are there. While the artifact
    store is away, the step waits.
    """

    workflow_id: UUID


class WaitsForItems(Reason, tag="waits_for_items", frozen=True, kw_only=True):
    """The items of the step run: so many are `pending`, `running`, `completed` and `failed`. `reasons` counts the
    running and the queued ones, by the code of their own reason; `detail` has the reason of the first of them.
    """

    total: int
    pending: int
    running: int
    completed: int
    failed: int
    reasons: dict[str, int]


class WaitsForBudget(Reason, tag="waits_for_budget", frozen=True, kw_only=True):
    """The budget of the tenant for this day (UTC) has no room for the next attempt. It is tried again at the time
    `at`.
    """

    at: datetime


class WaitsForDecision(Reason, tag="waits_for_decision", frozen=True, kw_only=True):
    """Somebody has to decide, by `POST …/steps/{step_id}/decision` or by the step's decision link. Without a decision,
    the wait ends at `until`; null without a limit.
    """

    since: datetime
    until: datetime | None
    choices: list[str]


class WaitsForSignal(Reason, tag="waits_for_signal", frozen=True, kw_only=True):
    """The step waits for `POST …/signals/{name}`. Without a signal, the wait ends at `until`; null without a limit."""

    name: str
    since: datetime
    until: datetime | None


class IsDelayed(Reason, tag="delayed", frozen=True, kw_only=True):
    """The step waits until the time `until`."""

    since: datetime
    until: datetime | None


class RunsWorkflow(Reason, tag="runs_workflow", frozen=True, kw_only=True):
    """The step runs a sub-workflow, and ends with it. `below` of the step says what the sub-workflow waits for."""

    workflow_id: UUID
    since: datetime


class FollowsUp(Reason, tag="following_up", frozen=True, kw_only=True):
    """The step has ended, but the job of an abandoned attempt has not. The service cancels that job at the provider,
    and waits for its end `until` the given time.
    """

    provider: ProviderType | None
    remote_id: str | None
    until: datetime


WorkflowReason = (
    NotStarted
    | WaitsForAdmission
    | IsPaused
    | OtherProcess
    | OwnerDead
    | DatabaseAway
    | DiskIsFull
    | IsDraining
    | HasFailed
    | IsDeleted
)
StepReason = (
    NotStarted
    | WaitsForAdmission
    | WaitsForSteps
    | WaitsForSlot
    | RateLimited
    | BreakerOpen
    | WaitsForRetry
    | ProviderAway
    | WaitsForBudget
    | IsPaused
    | FailedElsewhere
    | HasFailed
    | IsDeleted
    | RemoteJob
    | BeingSent
    | OutcomeNotKnown
    | RunsHere
    | EvaluatesExpressions
    | ChecksReuse
    | WaitsForItems
    | OtherProcess
    | IsDraining
    | WaitsForDecision
    | WaitsForSignal
    | IsDelayed
    | RunsWorkflow
    | FollowsUp
)


class StepAbove(Struct, frozen=True):
    """A step that runs a sub-workflow. `item` is the number of its item; null without for_each."""

    step_id: str
    item: int | None


class StepBelow(Struct, frozen=True):
    """A step of a sub-workflow, at any depth. `workflow_id` is that sub-workflow. `above` are the steps that lead to
    it, from the explained one on.
    """

    workflow_id: UUID
    step_id: str
    above: Sequence[StepAbove]
    status: StepStatus
    reason: StepReason


_BELOW = (
    "The steps of its sub-workflows that really wait, at any depth: at most 5, those for decisions and signals first"
)


class ExplainedStep(Struct, frozen=True):
    step_id: str
    status: StepStatus
    reason: StepReason
    below: Annotated[Sequence[StepBelow], about(_BELOW)] = ()


class Explanation(Struct, frozen=True):
    """The reasons why a workflow doesn't progress.

    `reason` applies to the workflow as a whole; null if it progresses or has ended. `steps` are the steps that have not
    ended, those with an abandoned job that has not ended, and the first 50 that have failed and aren't optional, in the
    order of the definition.
    """

    workflow_id: UUID
    status: WorkflowStatus
    reason: WorkflowReason | None
    steps: Sequence[ExplainedStep]
    budget: Annotated[WorkflowBudget, about("Null without a budget, and while the database is away")] | None = None
