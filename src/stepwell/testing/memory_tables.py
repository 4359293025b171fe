"""The rows of the database in memory, and the queries that several of its adapters use."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import wraps
from inspect import iscoroutinefunction
from itertools import accumulate, chain
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from msgspec import Struct, field, json, structs

from stepwell.basics.errors import Unavailable, UploadsGone
from stepwell.basics.idempotency import KeyClaim, StoredResponse
from stepwell.basics.tenancy import EVERY_TENANT, TenantScope
from stepwell.contract.enums import DeliveryStatus, TaskStatus, WaitsFor, WorkflowStatus
from stepwell.contract.events import DeliveryAttemptPublic
from stepwell.contract.tasks import Output
from stepwell.lifecycle.decision import copy_of
from stepwell.lifecycle.feature_level import FEATURE_LEVEL
from stepwell.lifecycle.model import NEVER as PARKED_FOR_EVER
from stepwell.lifecycle.model import HistoryEvent, ItemKey, ItemState, ShownWait, StepState, StoredSignal, Task, Wait
from stepwell.lifecycle.peer_commands import Command, Outcome
from stepwell.lifecycle.records import StepRecord, StoredInputs, TaskRecord, WorkflowRecord
from stepwell.lifecycle.webhook_deliveries import Delivery
from stepwell.ports.clock import Clock
from stepwell.ports.deletions import BEFORE_ALL_TASKS
from stepwell.ports.processes import CommandListener
from stepwell.ports.uploads import UploadStatus
from stepwell.rules.event_feed import FeedCursor
from stepwell.rules.limit_division import Share
from stepwell.rules.list_records import TaskCursor
from stepwell.rules.stored_definitions import StoredName, StoredVersion
from stepwell.rules.uploads import NewUpload, UploadRecord

T = TypeVar("T")

ALWAYS = datetime.max.replace(tzinfo=UTC)  # the lease of a process that is alone on its database
NEVER = datetime.min.replace(tzinfo=UTC)  # the lease of a process that was declared dead


class TaskRow(Struct):
    task: Task
    deleted_at: datetime | None = None

    @property
    def is_open(self) -> bool:
        """Whether it is RUNNING, or its abandoned job is polled."""
        return self.task.status is TaskStatus.RUNNING or self.task.follow_up_until is not None


class DeliveryRow(Struct):
    """A webhook delivery. `next_at` is None if no attempt is left."""

    workflow_id: UUID
    delivery: Delivery
    owner: UUID | None
    lane: str
    next_at: datetime | None
    status: DeliveryStatus = DeliveryStatus.PENDING
    tries: int = 0
    attempts: Sequence[DeliveryAttemptPublic] = ()
    body: str | None = None


class CleanupRow(Struct):
    """A cleanup that is still to delete files. `begun` is the cursor of the last task whose files may be deleted.

    `named` are the tasks whose files the workflow of a purge has named.
    """

    owner: UUID
    next_at: datetime
    tries: int = 0
    begun: TaskCursor = BEFORE_ALL_TASKS
    deleted: int = 0
    gone: int = 0
    repeated: bool = False
    purge: bool = False
    purged_by: str | None = None
    named: frozenset[str] = frozenset()


class RemovalRow(Struct):
    """The files of a task whose workflow was purged."""

    workflow_id: UUID
    tenant: str | None
    outputs: tuple[Output, ...]
    forced: bool = False


class KeyRow(Struct):
    """An idempotency key. `workflow_id` is the workflow that the request is about.

    `applied_to` is the workflow on which the request took effect; None before that.
    """

    token: UUID
    owner: UUID
    fingerprint: bytes
    created_at: datetime
    workflow_id: UUID | None = None
    applied_to: UUID | None = None
    response: StoredResponse | None = None


class CommandRow(Struct):
    """A command. It waits while `outcome` is None."""

    command: Command
    tenant: str | None
    requester: UUID
    recipient: UUID
    created_at: datetime
    outcome: Outcome | None = None


class UploadRow(Struct):
    """An upload, with its file or without."""

    new: NewUpload
    ttl_s: float
    created_at: datetime
    expires_at: datetime
    status: UploadStatus = UploadStatus.PENDING
    preview_bytes: int = 0
    presigned_until: datetime = NEVER
    workflow_id: UUID | None = None

    def __post_init__(self) -> None:
        self.workflow_id = self.new.workflow_id

    @property
    def ttl(self) -> timedelta:
        return timedelta(seconds=self.ttl_s)

    def record(self) -> UploadRecord:
        new = structs.replace(self.new, workflow_id=self.workflow_id)
        return UploadRecord(**structs.asdict(new), created_at=self.created_at, expires_at=self.expires_at)


class DefinitionRow(Struct):
    """A name of a definition with its versions, the oldest first, and their contents. A deleted name has none."""

    name: StoredName
    versions: dict[int, tuple[StoredVersion, bytes]] = field(default_factory=dict)


class WaitRow(Struct, frozen=True):
    """The wait of a step. A decision is shown so."""

    wait: Wait
    shown: ShownWait


class WorkflowRow(Struct):
    """A workflow with its steps, tasks and events. `record` contains the steps with their results, and an empty
    summary. `named` are the ids of the tasks whose files the workflow needs: its definition names them, or, for those
    in `reused`, results that it has taken over. The counts from `child_ended_count` on are as in the table.
    """

    record: WorkflowRecord
    final_position: int
    definition_bytes: int
    named: frozenset[str]
    feature_level: int
    inputs: StoredInputs
    named_definitions: bytes | None = None
    named_files: Collection[str] | None = None
    reused: frozenset[str] = frozenset()
    events: list[HistoryEvent] = field(default_factory=list)
    tasks: dict[UUID, TaskRow] = field(default_factory=dict)
    deliveries: dict[int, DeliveryRow] = field(default_factory=dict)
    waits: dict[int, WaitRow] = field(default_factory=dict)
    signals: dict[str, StoredSignal] = field(default_factory=dict)
    items: dict[ItemKey, ItemState] = field(default_factory=dict)
    child_ended_count: int = 0
    sub_workflows: int = 0
    sub_workflow_steps: int = 0
    sub_workflow_bytes: int = 0

    @property
    def is_understood(self) -> bool:
        return self.feature_level <= FEATURE_LEVEL

    @property
    def steps(self) -> list[StepRecord]:
        return self.record.steps or []

    @property
    def units(self) -> list[StepState]:
        """The states of its steps and items."""
        return [*(step.state for step in self.steps), *self.items.values()]

    @property
    def ordered_tasks(self) -> list[TaskRow]:
        return sorted(self.tasks.values(), key=lambda stored: TaskCursor.of(stored.task))


class CostRowKey(NamedTuple):
    """The key of a sum of costs. `tenant` and `definition` are "" for none."""

    tenant: str
    day: date
    provider: str
    model: str
    currency: str
    definition: str = ""


class CostRow(Struct):
    amount: Decimal = Decimal()
    attempts: int = 0
    saved: Decimal = Decimal()


class BudgetRow(Struct):
    spent: Decimal = Decimal()
    reserved: Decimal = Decimal()


class LimitDivisionRow(Struct):
    version: int = 0
    sole: UUID | None = None
    starts: dict[str, float] = {}
    starts_from: float = 0.0


class LimitMemberRow(Struct):
    claiming: bool
    shares: dict[str, Share]
    updated_at: datetime


class Channel:
    """Notifications between processes on one database, as PostgreSQL's LISTEN and NOTIFY."""

    def __init__(self) -> None:
        self._subscriptions: list[MemorySubscription] = []

    @property
    def subscribers(self) -> int:
        return len(self._subscriptions)

    def notify(self, sender: UUID, payload: Any) -> None:
        """Schedule the callbacks of all subscribers except the *sender*."""
        for subscription in self._subscriptions:
            if subscription.owner != sender:
                asyncio.get_running_loop().call_soon(subscription.callback, payload)

    @asynccontextmanager
    async def subscribed(self, owner: UUID, callback: Callable[[Any], None]) -> AsyncIterator["MemorySubscription"]:
        subscription = MemorySubscription(owner, callback)
        self._subscriptions.append(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.remove(subscription)

    def disconnect(self) -> None:
        for subscription in self._subscriptions:
            subscription.disconnected.set()


class MemorySubscription:
    """`ports.processes.Subscription`."""

    def __init__(self, owner: UUID, callback: Callable[[Any], None]) -> None:
        self.owner, self.callback = owner, callback
        self.disconnected = asyncio.Event()

    async def until_disconnected(self) -> None:
        await self.disconnected.wait()


def task_record(row: WorkflowRow, stored: TaskRow) -> TaskRecord:
    task, resolved = stored.task, row.steps[stored.task.position].resolved
    assert task.started_at is not None
    return TaskRecord(
        copy_of(task), row.record.id, resolved.step_id, resolved.task_type, task.started_at, stored.deleted_at
    )


def within_bytes(rows: Sequence[T], size_of: Callable[[T], int], max_bytes: int) -> list[T]:
    """Return the first of *rows*, and those after it as long as all have *max_bytes* together."""
    sizes = accumulate(map(size_of, rows))
    return [row for number, (row, size) in enumerate(zip(rows, sizes, strict=True)) if not number or size <= max_bytes]


class Tables:
    """All rows. A test may read them, and change them as another process would."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.workflows: dict[UUID, WorkflowRow] = {}
        self.waiting_by_root: dict[UUID, set[UUID]] = {}  # the workflows that have rows of waits, by their root
        self.processes: dict[UUID, datetime] = {}  # the end of each process's lease
        self.keys: dict[tuple[str, str], KeyRow] = {}
        self.log: list[tuple[FeedCursor, HistoryEvent]] = []  # the events of all workflows, in the order of the feed
        self.unclean_ends: dict[UUID, tuple[datetime, bool]] = {}  # by process: when, and whether one was under way
        self.cleanups: dict[UUID, CleanupRow] = {}
        self.commands: dict[UUID, CommandRow] = {}
        self.command_listeners: dict[UUID, Sequence[CommandListener]] = {}  # by process
        self.uploads: dict[UUID, UploadRow] = {}
        self.definitions: dict[tuple[str, str], DefinitionRow] = {}  # by tenant, "" for none, and name
        self.removals: dict[UUID, RemovalRow] = {}  # by task
        self.deletions: dict[UUID, tuple[str, datetime]] = {}  # by workflow: who, when
        self.workflow_of_task: dict[UUID, UUID] = {}
        self.daily_costs: dict[CostRowKey, CostRow] = {}
        self.budgets: dict[tuple[str, str], BudgetRow] = {}  # by scope and unit
        self.reservations: dict[UUID, dict[tuple[str, str], Decimal]] = {}  # by task, then by scope and unit
        self.limit_division = LimitDivisionRow()
        self.limit_members: dict[UUID, LimitMemberRow] = {}
        self.used_sign_in_codes: dict[UUID, datetime] = {}  # by code: its end
        self.sessions_ended_at: datetime | None = None
        self.transactions = 0
        self.workflow_channel, self.process_channel = Channel(), Channel()
        self.available = True

    async def round_trip(self) -> None:
        """Let other code run, as a statement does while it waits for its result. Raises `Unavailable` during an
        outage.
        """
        await asyncio.sleep(0)
        if not self.available:
            raise Unavailable("the database is away")

    @asynccontextmanager
    async def subscribed(
        self, channel: Channel, owner: UUID, callback: Callable[[Any], None]
    ) -> AsyncIterator[MemorySubscription]:
        await self.round_trip()
        async with channel.subscribed(owner, callback) as subscription:
            yield subscription

    def note_waits(self, record: WorkflowRecord, *, waits: bool) -> None:
        """Record whether the workflow has rows of waits."""
        root = record.id if record.parent is None else record.parent.root_id
        if waits:
            self.waiting_by_root.setdefault(root, set()).add(record.id)
        elif root in self.waiting_by_root:
            self.waiting_by_root[root].discard(record.id)

    def waiting_ids(self, record: WorkflowRecord | None = None) -> Iterable[UUID]:
        """Return the workflows that have rows of waits: all, or those with the same root as *record*."""
        if record is None:
            return chain.from_iterable(self.waiting_by_root.values())
        return self.waiting_by_root.get(record.id if record.parent is None else record.parent.root_id, ())

    def waits_for(self, record: WorkflowRecord | None = None) -> dict[UUID, WaitsFor]:
        """Return what workflows wait for, by id: all, or those with the same root as *record*.

        Each wait counts for its workflow and for all workflows above that.
        """
        found: dict[UUID, WaitsFor] = {}
        for workflow_id in self.waiting_ids(record):
            row: WorkflowRow | None = self.workflows[workflow_id]
            kinds = {WaitsFor(wait.wait.kind) for wait in self.workflows[workflow_id].waits.values()}
            while row is not None:
                record = row.record
                known = kinds if (other := found.get(record.id)) is None else {*kinds, other}
                found[record.id] = min(known, key=[*WaitsFor].index)
                row = None if record.parent is None else self.workflows.get(record.parent.workflow_id)
        return found

    def find(self, scope: TenantScope, workflow_id: UUID) -> WorkflowRow | None:
        row = self.workflows.get(workflow_id)
        return row if row is not None and scope.covers(row.record.tenant, row.record.created_by) else None

    def find_all(self, scope: TenantScope, workflow_ids: Iterable[UUID]) -> list[WorkflowRow]:
        return [row for each in workflow_ids if (row := self.find(scope, each)) is not None]

    def find_task(self, scope: TenantScope, task_id: UUID) -> tuple[WorkflowRow, TaskRow] | None:
        workflow_id = self.workflow_of_task.get(task_id)
        row = None if workflow_id is None else self.find(scope, workflow_id)
        return None if row is None else (row, row.tasks[task_id])

    def task_of_any(self, task_id: UUID) -> TaskRow | None:
        pair = self.find_task(EVERY_TENANT, task_id)
        return None if pair is None else pair[1]

    def readers_of(
        self, task_id: UUID, scope: TenantScope, except_for: UUID | None = None, *, reused: bool = True
    ) -> list[UUID]:
        """Return the undeleted workflows in *scope* that name the files of the task or upload, sorted by id.

        Without *reused*, those that only name them in results that they have taken over are absent.
        """
        rows = [row for row in self.workflows.values() if str(task_id) in row.named]
        records = [row.record for row in rows if reused or str(task_id) not in row.reused]
        readers = [
            each for each in records if each.state.deleted_at is None and scope.covers(each.tenant, each.created_by)
        ]
        return sorted((each.id for each in readers if each.id != except_for), key=lambda each: each.int)

    def is_alive(self, owner: UUID | None) -> bool:
        return owner is not None and self.processes.get(owner, NEVER) > self.clock.now()

    def is_orphan(self, owner: UUID | None, due_at: datetime) -> bool:
        """Return whether work of *owner* may be taken over: its lease has ended, and the work is due.

        Work without an owner, and that of a process that was declared dead, needn't be due.
        """
        has_ended = owner is None or self.processes.get(owner, NEVER) == NEVER
        return not self.is_alive(owner) and (has_ended or due_at <= self.clock.now())

    def claim_is_counted(self, owner: UUID) -> bool:
        """Return whether *owner* has a lease and all limits, or is marked as claiming in the division of limits."""
        member = self.limit_members.get(owner)
        is_marked = self.limit_division.sole == owner or (member is not None and member.claiming)
        return self.is_alive(owner) and is_marked

    def waiting(self) -> list[WorkflowRow]:
        """Return the understood workflows that wait for admission, those that were started first before the others."""
        rows = [row for row in self.workflows.values() if row.record.state.waits_for_admission and row.is_understood]
        return sorted(rows, key=lambda row: (row.record.state.started_at or ALWAYS, row.record.state.id.int))

    def parked(self, status: WorkflowStatus) -> list[WorkflowRow]:
        """Return the understood workflows of that status that are parked, the ones due first before the others."""
        parked = [
            (at, row.record.state.id.int, row)
            for row in self.workflows.values()
            if (at := row.record.state.wake_at) is not None and row.record.state.status is status and row.is_understood
        ]
        return [row for _, _, row in sorted(parked, key=lambda each: each[:2])]

    def next_wake(self) -> datetime | None:
        """Return when the next parked workflow is due, of those that wait for a time; None if none is."""
        rows = [*self.parked(WorkflowStatus.RUNNING), *self.parked(WorkflowStatus.PAUSED)]
        times = [row.record.state.wake_at or PARKED_FOR_EVER for row in rows]
        return min((at for at in times if at < PARKED_FOR_EVER), default=None)

    def may_take_over(self, workflow_id: UUID) -> bool:
        """Return whether this version may work on what belongs to the workflow, which may be purged."""
        row = self.workflows.get(workflow_id)
        return row is None or row.is_understood

    def pending_deliveries(self) -> Iterator[DeliveryRow]:
        for row in self.workflows.values():
            for delivery in row.deliveries.values():
                if delivery.next_at is not None:
                    yield delivery

    def own_cleanup(self, owner: UUID, workflow_id: UUID, *, purge: bool = False) -> CleanupRow | None:
        row = self.cleanups.get(workflow_id)
        return row if row is not None and row.owner == owner and (row.purge or not purge) else None

    def use_uploads(self, tenant: str | None, named: Collection[str]) -> None:
        """Record that a new workflow of *tenant* names these uploads. Raises `UploadsGone`."""
        uploads = [row for row in self.uploads.values() if str(row.new.id) in named and row.new.tenant == tenant]
        if deleted := [row.new.id for row in uploads if row.status is not UploadStatus.STORED]:
            raise UploadsGone(deleted)
        for row in uploads:
            row.expires_at = max(row.expires_at, self.clock.now() + row.ttl)

    def begin_transaction(self) -> int:
        self.transactions += 1
        return self.transactions

    def append_events(self, transaction: int, row: WorkflowRow, events: Iterable[HistoryEvent]) -> None:
        """Append *events* to the workflow's history and to the feed. The feed sorts the events of a transaction by
        workflow id.
        """
        workflow_id = row.record.state.id
        for event in events:
            stored = structs.replace(event, data=json.decode(json.encode(event.data)))
            row.events.append(stored)
            self.log.append((FeedCursor(transaction, workflow_id.int, event.id), stored))

    def notify_command(self, process: UUID | None, message: str, command_id: UUID) -> None:
        """Schedule the notification of the process that a command was sent to it, or has ended."""
        listeners = () if process is None else self.command_listeners.get(process, ())
        for listener in listeners:
            if message == "sent":
                asyncio.get_running_loop().call_soon(listener.command_sent)
            else:
                asyncio.get_running_loop().call_soon(listener.command_ended, command_id)

    def holds_key(self, command: Command) -> bool:
        """Return whether the command has no idempotency key, or still has it."""
        if command.claim is None:
            return True
        key = self.own_key(command.claim)
        return key is not None and key.applied_to is None

    def mark_applied(self, claim: KeyClaim, workflow_id: UUID) -> None:
        if (key := self.own_key(claim)) is not None:
            key.applied_to = workflow_id

    def own_key(self, claim: KeyClaim) -> KeyRow | None:
        """Return the row of the key if the claim on it still holds; else None."""
        row = self.keys.get((claim.scope, claim.key))
        return row if row is not None and row.token == claim.token else None


class MemoryAdapter:
    """An implementation of a port on the rows in memory. Each call of a method of the port begins with a round trip."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def __init_subclass__(cls) -> None:
        for name, call in list(vars(cls).items()):
            if iscoroutinefunction(call) and not name.startswith("_"):
                setattr(cls, name, _after_round_trip(call))


class ProcessAdapter(MemoryAdapter):
    """A `MemoryAdapter` of the process *owner*."""

    def __init__(self, tables: Tables, owner: UUID) -> None:
        super().__init__(tables)
        self._owner = owner


def _after_round_trip(call: Callable[..., Awaitable[T]]) -> Callable[..., Awaitable[T]]:
    @wraps(call)
    async def wrapper(self: MemoryAdapter, *args: Any, **kwargs: Any) -> T:
        await self._tables.round_trip()
        return await call(self, *args, **kwargs)

    return wrapper
