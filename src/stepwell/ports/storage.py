"""The storage of workflows, their events and idempotency keys, as protocols."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Final, Protocol
from uuid import UUID

from stepwell.basics.idempotency import KeyClaim, KeyState, StoredResponse
from stepwell.basics.tenancy import TenantScope
from stepwell.basics.workflow_limits import RootLimits
from stepwell.contract.enums import EventType, ProviderType, WorkflowStatus
from stepwell.contract.tasks import Output
from stepwell.lifecycle.child_records import ChildInsertion, ChildRecords, ChildStatuses, ParentAttempt
from stepwell.lifecycle.decision import Decision
from stepwell.lifecycle.model import HistoryEvent, UnitKey
from stepwell.lifecycle.preconditions import ReadVersion
from stepwell.lifecycle.records import (
    AdmissionResult,
    EarlierResult,
    LoadedWorkflow,
    NewWorkflow,
    StepRecord,
    StoredInputs,
    TaskRecord,
    UnparkedWorkflows,
    WaitingCount,
    WorkflowOwnership,
    WorkflowParts,
    WorkflowRecord,
)
from stepwell.rules.costs import CostQuery, CostSum
from stepwell.rules.event_feed import FeedCursor, FeedFilter, FeedPage, HistoryPage
from stepwell.rules.large_workflow_records import FoundWorkflow, LargeWorkflowSnapshot, ResponseSize, StoredStep
from stepwell.rules.list_records import (
    DecisionFilter,
    ItemFilter,
    ItemSlice,
    ListFilter,
    OutputCursor,
    StoredDecision,
    StoredOutput,
    TaskFilter,
    TaskSlice,
    WaitBelow,
    WorkflowFilter,
    WorkflowPage,
)

CONCURRENT_WRITES: Final = 2  # the most calls of `WorkflowStore.write` at a time
PAUSED_A_PAGE: Final = 100  # the most PAUSED workflows that `WorkflowStore.unpark` returns
POSTPONED_S: Final = 60.0  # after that time they are due again
STEPS_A_PAGE: Final = 20_000  # once a claim or an admission has loaded so many steps and items, it loads no more


class WorkflowStore(Protocol):
    """The engine's side of the stored workflows. Every write reports whether it was committed.

    All methods raise `Unavailable` while the database is away.
    """

    async def insert(self, scope: TenantScope, new: NewWorkflow) -> None:
        """Store the workflow, its steps and its events: all of them or none.

        Raises `Forbidden` outside of *scope*, and `StillRunning` for a key that another attempt has taken over.
        """

    async def insert_child(
        self, scope: TenantScope, new: NewWorkflow, attempt: ParentAttempt, limits: RootLimits
    ) -> ChildInsertion:
        """Store the sub-workflow as `insert` does, unless it is stored already. It has a `parent`, and no key.

        It isn't stored if *attempt* has ended: then its follow-up may have searched for the sub-workflow already.
        """

    async def refer(self, scope: TenantScope, workflow_id: UUID, paths: Collection[str]) -> None:
        """Store that the workflow needs these files from now on, and that it and those above it may read them (see
        `FileScope`).

        Raises `UploadsGone` if some of them are uploads that are being deleted, and `NotFound`.
        """

    async def load(self, scope: TenantScope, workflow_id: UUID) -> LoadedWorkflow | None:
        """Return the workflow as last committed, whichever process runs it. None if there is none in *scope*.

        Its `child_ended_seen` is how many ends of sub-workflows are counted, so the caller must look at the open ones.
        """

    async def statuses(self, scope: TenantScope, workflow_ids: Collection[UUID]) -> Mapping[UUID, WorkflowStatus]:
        """Return the statuses of those of the workflows that aren't deleted."""

    async def child_statuses(self, scope: TenantScope, parent_id: UUID, child_ids: Collection[UUID]) -> ChildStatuses:
        """Return what `statuses` returns, and how many ends of sub-workflows are counted in the row of the parent."""

    async def results(
        self, scope: TenantScope, wanted: Mapping[UUID, Sequence[int]]
    ) -> Mapping[UUID, Mapping[int, bytes]]:
        """Return the stored results of the steps at the *wanted* positions, by workflow and position.

        The result of a step with items is built from their results. Raises `ResultTooLarge` before it reads one of more
        than `MAX_MAPPED_BYTES`.
        """

    async def earlier_results(self, scope: TenantScope, workflow_id: UUID) -> list[EarlierResult]:
        """Return the results that a new run may take over, in the order of steps and items.

        There are none if the workflow is deleted, or not in *scope*.
        """

    async def take_results(
        self, scope: TenantScope, earlier_id: UUID, keys: Sequence[UnitKey], workflow_id: UUID | None
    ) -> Mapping[UnitKey, bytes]:
        """Return the results of the earlier run with these keys, and let *workflow_id* need the files that they name.

        There are none if the earlier run is deleted, or not in *scope*. Otherwise no cleanup that begins later deletes
        these files before *workflow_id* is deleted, too. None only reads the results.
        """

    async def known_jobs(self, provider: ProviderType, remote_ids: Collection[str]) -> set[str]:
        """Return those of *remote_ids* that an attempt of any tenant already has."""

    async def write(self, batch: Sequence[Decision]) -> set[UUID]:
        """Write the decisions. Return the ids of the workflows not written.

        All are written in one transaction and one round trip, except those about sub-workflows. Decisions that end some
        have one transaction for each parent, which counts the ends in the row of the parent, and makes it due if it is
        parked. The others have one for each depth. A workflow that is parked is due at once if more ends are counted
        than it has seen.

        *batch* has at most one decision per workflow. A decision is written only if the workflow still has the
        version (owner, epoch, last event) that it was made from. A decision that was written before, but whose result
        was lost, counts as committed. Callers make at most `CONCURRENT_WRITES` calls at a time, and one for a workflow.
        """

    async def claim(
        self,
        owner: UUID,
        held: Collection[UUID],
        now: datetime,
        limit: int,
        *,
        trials: bool = True,
        divided: bool = False,
    ) -> list[LoadedWorkflow]:
        """Make *owner* the owner of up to *limit* workflows that need a process, and return them as loaded.

        These are the workflows whose owner is dead. They also include workflows that *owner* owns without knowing it:
        those that are not in *held*, the ids that it held at *now*, and that haven't changed since. Each claim
        increments the epoch.

        If a process died without `LeaseStore.release` while an attempt was running, that is recorded. After three such
        ends within ten minutes, a claim takes a single workflow whose attempt was running, and sets its
        `crashes_on_trial`, as long as there are such workflows. It doesn't do this if *trials* is false.

        *divided*: limits are divided among processes. Then nothing is claimed unless *owner* has a lease, and is marked
        as claiming in the division of limits, or has all limits for itself.
        """

    async def fence(self, owner: UUID, workflow_id: UUID) -> LoadedWorkflow | None:
        """Return the workflow as loaded if its owner is dead, or is *owner*. Increment its epoch, and keep its owner.

        So later writes with the earlier epoch are refused. Return None if another live process owns it, if no process
        does, or if another process takes it at the same time.
        """

    async def release_idle(self, owner: UUID, held: Collection[UUID], now: datetime, limit: int) -> int:
        """Take the owner from up to *limit* of the workflows that `claim` would return. Return their number.

        Only RUNNING workflows that have no open attempt and no follow-up: they wait for admission from then on.
        *owner*, *held* and *now* are as for `claim`. Increments the epoch. A workflow's timeout stops until the
        admission.
        """

    async def hand_over(self, owner: UUID, workflow_ids: Collection[UUID]) -> None:
        """Let other processes claim these workflows of *owner* at once. `Presence` notifies them.

        *owner* has nothing of these workflows in memory any more. Increments the epoch.
        """

    async def waiting(self) -> list[WaitingCount]:
        """Count the workflows of each tenant that wait for admission: they are RUNNING, and have no owner."""

    async def admit(self, owner: UUID, wanted: Mapping[str | None, int], held: Collection[UUID]) -> AdmissionResult:
        """Make *owner* the owner of waiting workflows, and return them as loaded. *wanted* has the slots by tenant.

        Of each tenant, these are the workflows that were started first and together need at most its slots
        (`basics.workflow_limits.slots_of`). There are fewer if fewer wait, if another statement is changing some, if
        some are in *held*, or if all have so many steps that loading would take long. Increments the epoch. The timeout
        of a workflow counts from now.
        """

    async def unpark(self, limit: int) -> UnparkedWorkflows:
        """Let up to *limit* parked workflows that are due wait for admission. Return what has become of them.

        A parked workflow only waits, and `wake_at` says when it is due. It is RUNNING or PAUSED, without an owner. Of
        the PAUSED ones that are due, up to `PAUSED_A_PAGE` are returned; they are due again after `POSTPONED_S` unless
        the caller has changed them. Leaves those that another statement is changing. Increments the epoch.
        """

    async def set_clock(self) -> None:
        """Set the clock of this process to the database's."""


class WorkflowReader(Protocol):
    """The API's side of the stored workflows.

    *scope* is the tenant whose workflows a call may see. All other workflows count as unknown. All methods raise
    `Unavailable` while the database is away.
    """

    async def get(self, scope: TenantScope, workflow_id: UUID) -> WorkflowRecord | None:
        """Return the workflow without its steps, deleted or not. None if it is unknown."""

    async def find(self, scope: TenantScope, workflow_id: UUID, parts: WorkflowParts) -> FoundWorkflow | None:
        """Return the workflow with *parts*, deleted or not. None if it is unknown.

        If it weighs more than some 64 KiB, only its version is read.
        """

    async def size(
        self, scope: TenantScope, workflow_ids: Sequence[UUID], parts: WorkflowParts, stop_at: int
    ) -> ResponseSize | None:
        """Return the size of a response with these workflows. It stops once the total exceeds *stop_at*.

        None if one of them is unknown.
        """

    async def snapshot(
        self, scope: TenantScope, workflow_ids: Sequence[UUID], parts: WorkflowParts
    ) -> list[LargeWorkflowSnapshot]:
        """Return what changes of these workflows, all at one moment, in the order of the ids. Unknown ones are absent.

        The caller has reserved the memory for it, `ResponseSize.snapshot`.
        """

    async def step_slice(
        self, scope: TenantScope, workflow_id: UUID, parts: WorkflowParts, first: int, count: int, max_bytes: int
    ) -> list[StoredStep]:
        """Return what never changes of up to *count* steps, from position *first* on.

        Their definitions and results have at most *max_bytes* together, unless there is only one.
        """

    async def inputs(self, scope: TenantScope, workflow_id: UUID) -> StoredInputs:
        """Return the inputs of the workflow, which never change. With their schema they have at most some 1.1 MiB."""

    async def named_definitions(self, scope: TenantScope, root_id: UUID, names: Sequence[str]) -> Mapping[str, bytes]:
        """Return those of the stored definitions that sub-workflows of the root run, as JSON by name@version."""

    async def deleted_definitions(self, scope: TenantScope, root_id: UUID) -> Mapping[str, bytes]:
        """Return those of them that aren't stored under their names any more."""

    async def step(self, scope: TenantScope, workflow_id: UUID, step_id: str) -> StepRecord | None:
        """Return one step of the workflow, with its result and its attempts. None if either is unknown.

        Raises `ResultTooLarge` if its result is built from items and is over `MAX_MAPPED_BYTES`.
        """

    async def step_at(self, scope: TenantScope, workflow_id: UUID, position: int) -> StepRecord | None:
        """Return the step at *position*, as `step` does."""

    async def item_slice(
        self, scope: TenantScope, workflow_id: UUID, query: ItemFilter, count: int, max_bytes: int
    ) -> ItemSlice | None:
        """Return up to *count* items of a step, in their order, with their values and results. None if it is unknown.

        Values and results have at most *max_bytes* together, unless there is only one item.
        """

    async def decisions(self, scope: TenantScope, query: DecisionFilter) -> list[StoredDecision]:
        """Return the steps that wait for a decision, those that have waited longest first.

        Those of deleted workflows aren't among them.
        """

    async def decision_count(self, scope: TenantScope, query: DecisionFilter) -> int:
        """Return how many steps wait for a decision, at most `MOST_COUNTED`. The page of *query* has no effect."""

    async def decision(self, scope: TenantScope, workflow_id: UUID, position: int) -> StoredDecision | None:
        """Return the step at *position* if it waits for a decision."""

    async def waits_below(self, scope: TenantScope, workflow_id: UUID, most: int) -> list[WaitBelow]:
        """Return the waits in the workflow's sub-workflows: for each of its steps the first *most*, by `WaitsFor`."""

    async def step_of_signal(self, scope: TenantScope, workflow_id: UUID, name: str) -> StepRecord | None:
        """Return the step that waits for signals of this name, as `step` does. None if there is none."""

    async def version(self, scope: TenantScope, workflow_id: UUID) -> ReadVersion | None:
        """Return the version of the workflow that `get` would return, without reading the steps."""

    async def owner(self, scope: TenantScope, workflow_id: UUID) -> TenantScope | None:
        """Return the tenant of the workflow, deleted or not. None if it is unknown."""

    async def page(self, scope: TenantScope, query: ListFilter) -> WorkflowPage:
        """Return a page of the workflows that match *query*, in its order. `total` counts all of them, exactly.

        The workflows themselves are read only if they weigh at most some 256 KiB together.
        """

    async def counts(self, scope: TenantScope, query: WorkflowFilter) -> dict[WorkflowStatus, int]:
        """Return the number of the workflows that match *query* in each status that occurs."""

    async def events(
        self, scope: TenantScope, workflow_id: UUID, after: int, limit: int, types: frozenset[EventType] | None = None
    ) -> Sequence[HistoryEvent] | None:
        """Return up to *limit* events of the history, from number *after* + 1 on; without *types*, of all types.

        None for an unknown workflow.
        """

    async def tasks(
        self, scope: TenantScope, workflow_id: UUID, *, include_deleted: bool
    ) -> Sequence[TaskRecord] | None:
        """Return the tasks in the order of steps and attempts. None for an unknown workflow."""

    async def task_slice(self, scope: TenantScope, workflow_id: UUID, query: TaskFilter) -> TaskSlice | None:
        """Return tasks in the order of `tasks`. None for an unknown workflow."""

    async def outputs(
        self, scope: TenantScope, workflow_id: UUID, after: OutputCursor | None, limit: int
    ) -> list[StoredOutput] | None:
        """Return up to *limit* files of the results of the workflow, its items and its sub-workflows at any depth.

        They begin behind *after*, or at the beginning of the list if that is None. First come the files of the
        workflow's own steps, in their order. Then come those of each sub-workflow, in the same order, by its step and
        item. The list has no files of failed attempts, of runs of `repeat` whose result isn't that of the step, and of
        deleted tasks. Returns None for an unknown workflow.
        """

    async def task(self, scope: TenantScope, task_id: UUID) -> TaskRecord | None:
        """Return the task, deleted or not. None if it is unknown."""

    async def ownership(self, scope: TenantScope, workflow_id: UUID) -> WorkflowOwnership | None:
        """Return which process runs the workflow, and who has paused it. None for an unknown workflow."""

    async def children(self, scope: TenantScope, workflow_id: UUID, limit: int) -> ChildRecords:
        """Return up to *limit* sub-workflows of the workflow that aren't deleted, and their number."""

    async def stored_outputs(self, scope: TenantScope, task_ids: Sequence[UUID]) -> set[str]:
        """Return the paths of the outputs of those of the tasks that aren't deleted, or whose files aren't yet."""

    async def needed_outputs(self, scope: TenantScope, task_id: UUID) -> tuple[str | None, Sequence[Output]]:
        """Return the tenant and the outputs of a task whose workflow was purged.

        There are none unless an undeleted workflow of *scope* names them.
        """

    async def references_to(
        self, scope: TenantScope, workflow_id: UUID, task_ids: Sequence[UUID]
    ) -> Mapping[UUID, UUID]:
        """Return the tasks whose files another workflow needs, each with the lowest id of such a workflow.

        A workflow needs the files that its definition names. Counted are workflows of *scope* that aren't deleted,
        except *workflow_id*.
        """

    async def costs(self, scope: TenantScope, query: CostQuery) -> Sequence[CostSum]:
        """Return sums of costs, in the order of their keys, then of the currency. They outlive the workflows."""

    async def ping(self) -> None:
        """Return if the database responds; raise `Unavailable` otherwise."""


class IdempotencyKeys(Protocol):
    """The keys of requests that may be repeated. Each is kept for 48 hours from the start of its attempt.

    An attempt is one arrival of the request, and has a token. Tokens increase with each attempt of a process. All
    methods raise `Unavailable` while the database is away.
    """

    async def claim(
        self, scope: TenantScope, key: str, token: UUID, fingerprint: bytes, workflow_id: UUID | None = None
    ) -> KeyState:
        """Claim the key for the attempt *token*, or return what is stored for the key.

        The key is deleted with the workflow that the request is about, or that it has made.

        The key is free if it isn't stored, or if the stored attempt has had no effect, has the same *fingerprint*, and
        is over: its process is dead, or it is an earlier attempt of this process. The caller must know that no such
        attempt is still running here. Raises `StillRunning` if the stored row keeps changing.
        """

    async def store_response(self, claim: KeyClaim, response: StoredResponse) -> StoredResponse:
        """Store the response, unless one is stored. Return the response that must be sent."""

    async def release(self, claims: Collection[KeyClaim]) -> None:
        """Delete the keys of attempts that have had no effect. After that, a create that is still queued can't take
        effect.

        An attempt that has had an effect but no response loses the ownership of its key. Then any process may respond
        to a repeat.
        """


class EventFeed(Protocol):
    """Stored events, of one workflow and of all workflows. All methods raise `Unavailable` while the database is away.

    *scope* is the tenant whose workflows a call may see. All other workflows count as unknown. `rules.event_feed`
    explains the order of the events of all workflows.
    """

    async def history(self, scope: TenantScope, workflow_id: UUID, after: int, limit: int) -> HistoryPage | None:
        """Return up to *limit* events of the workflow from number *after* + 1 on, and its status, as of one moment.

        None for an unknown workflow.
        """

    async def page(self, scope: TenantScope, wanted: FeedFilter, after: FeedCursor, limit: int) -> FeedPage:
        """Return up to *limit* of the *wanted* events behind *after*.

        A call reads a few thousand events at most, so the page may be empty although `more` is true.
        """

    async def end(self) -> FeedCursor:
        """Return the cursor behind all events that can be read now."""

    async def renumber_restored(self) -> bool:
        """Renumber some of the events that were restored from a backup of another server.

        Such events have numbers that this server hasn't reached yet. They move to the beginning of the feed. Return
        false if there were none.
        """

    async def last_events(self, scope: TenantScope, workflow_ids: Collection[UUID]) -> Mapping[UUID, int]:
        """Return the number of the last event of each of these workflows."""
