"""`ports.storage.WorkflowStore` in memory: what the engine writes, loads and claims."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from msgspec import UNSET, json, structs

from stepwell.basics.artifacts import named_tasks
from stepwell.basics.errors import Forbidden, NotFound, ResultTooLarge, StillRunning
from stepwell.basics.tenancy import TenantScope
from stepwell.basics.workflow_limits import RootLimits, slots_of
from stepwell.contract.enums import ProviderType, StepStatus, TaskStatus, WorkflowStatus
from stepwell.definition.mapping.input_mapping import MAX_MAPPED_BYTES
from stepwell.lifecycle.child_records import ChildInsertion, ChildStatuses, ParentAttempt
from stepwell.lifecycle.decision import CleanupChange, Decision, copy_of
from stepwell.lifecycle.model import ItemState, Task, UnitKey, WorkflowState
from stepwell.lifecycle.records import (
    NO_PROCESS,
    AdmissionResult,
    EarlierResult,
    LoadedWorkflow,
    NewWorkflow,
    UnparkedWorkflows,
    WaitingCount,
)
from stepwell.lifecycle.unclean_ends import UNCLEAN_ENDS
from stepwell.ports.storage import PAUSED_A_PAGE, POSTPONED_S, STEPS_A_PAGE
from stepwell.testing.memory_budgets import write_budgets
from stepwell.testing.memory_costs import count_cost, count_saved
from stepwell.testing.memory_earlier_results import completed_units, earlier_results_of
from stepwell.testing.memory_items import stored_result
from stepwell.testing.memory_tables import (
    CleanupRow,
    DeliveryRow,
    ProcessAdapter,
    Tables,
    TaskRow,
    WaitRow,
    WorkflowRow,
)

_WINDOW = timedelta(minutes=10)


class MemoryWorkflowStore(ProcessAdapter):
    """Implements the port. The process *owner* sends the webhooks of the workflows that are written here."""

    async def insert(self, scope: TenantScope, new: NewWorkflow) -> None:
        self._insert(scope, new)

    async def insert_child(
        self, scope: TenantScope, new: NewWorkflow, attempt: ParentAttempt, limits: RootLimits
    ) -> ChildInsertion:
        link = new.record.parent
        assert link is not None
        parent, root = self._tables.workflows.get(link.workflow_id), self._tables.workflows.get(link.root_id)
        if new.record.state.id in self._tables.workflows:
            return ChildInsertion.STORED
        if root is not None and (full := _bound_reached(root, new, limits)) is not None:
            return full
        if parent is None or root is None or parent.record.state.owner != attempt.owner:
            return ChildInsertion.LOST
        task = parent.tasks.get(attempt.task_id)
        if task is None or task.task.status is not TaskStatus.RUNNING:
            return ChildInsertion.LOST
        self._insert(scope, new)
        root.sub_workflows += 1
        root.sub_workflow_steps += new.record.total_steps
        root.sub_workflow_bytes += new.definition_bytes
        return ChildInsertion.NEW

    def _insert(self, scope: TenantScope, new: NewWorkflow) -> None:
        record = new.record
        if not scope.covers(record.tenant, record.created_by):
            raise Forbidden("the workflow belongs to another tenant")
        workflow_id = record.state.id
        if workflow_id in self._tables.workflows:
            raise ValueError(f"the workflow {workflow_id} is stored already")
        _check_numbers(range(1, len(new.events) + 1), [event.id for event in new.events])
        steps = [
            structs.replace(step, state=structs.replace(step.state, updated_at=step.created_at))
            for step in record.steps or []
        ]
        texts = [
            json.encode(record.config),
            new.inputs.inputs or b"",
            new.named or b"",
            *(json.encode(step.definition) for step in steps),
        ]
        named = frozenset(named_tasks(*texts))
        self._tables.use_uploads(record.tenant, named)
        if new.claim is not None:
            key = self._tables.own_key(new.claim)
            if key is None or key.applied_to is not None:
                raise StillRunning
            key.applied_to = workflow_id
        row = WorkflowRow(
            structs.replace(record, state=copy_of(record.state), steps=steps),
            new.final_position,
            new.definition_bytes,
            named,
            new.feature_level,
            new.inputs,
            new.named,
            new.named_files,
        )
        self._tables.workflows[workflow_id] = row
        self._tables.append_events(self._tables.begin_transaction(), row, new.events)

    async def statuses(self, scope: TenantScope, workflow_ids: Collection[UUID]) -> dict[UUID, WorkflowStatus]:
        rows = self._tables.find_all(scope, workflow_ids)
        return {row.record.id: row.record.status for row in rows if row.record.state.deleted_at is None}

    async def child_statuses(self, scope: TenantScope, parent_id: UUID, child_ids: Collection[UUID]) -> ChildStatuses:
        statuses, parent = await self.statuses(scope, child_ids), self._tables.find(scope, parent_id)
        return ChildStatuses(statuses, 0 if parent is None else parent.child_ended_count)

    async def refer(self, scope: TenantScope, workflow_id: UUID, paths: Collection[str]) -> None:
        row = self._tables.find(scope, workflow_id)
        if row is None:
            raise NotFound("workflow")
        named = frozenset(named_tasks(" ".join(paths).encode()))
        row.named |= named
        self._tables.use_uploads(row.record.tenant, named)
        while row is not None:
            if row.named_files is not None:
                row.named_files = sorted({*row.named_files, *paths})
            row = None if row.record.parent is None else self._tables.workflows.get(row.record.parent.workflow_id)

    async def load(self, scope: TenantScope, workflow_id: UUID) -> LoadedWorkflow | None:
        row = self._tables.find(scope, workflow_id)
        return None if row is None else _loaded(row, self._tables)

    async def results(self, scope: TenantScope, wanted: Mapping[UUID, Sequence[int]]) -> dict[UUID, dict[int, bytes]]:
        by_workflow: dict[UUID, dict[int, bytes]] = {}
        for workflow_id, positions in wanted.items():
            if (row := self._tables.find(scope, workflow_id)) is None:
                continue
            results = {at: stored_result(row, row.steps[at]) for at in positions if 0 <= at < len(row.steps)}
            stored = {at: result for at in positions if (result := results.get(at)) is not None}
            if any(len(result) > MAX_MAPPED_BYTES for result in stored.values()):
                raise ResultTooLarge(MAX_MAPPED_BYTES)
            if stored:
                by_workflow[workflow_id] = stored
        return by_workflow

    async def earlier_results(self, scope: TenantScope, workflow_id: UUID) -> list[EarlierResult]:
        row = self._earlier(scope, workflow_id)
        return [] if row is None else earlier_results_of(row)

    async def take_results(
        self, scope: TenantScope, earlier_id: UUID, keys: Sequence[UnitKey], workflow_id: UUID | None
    ) -> dict[UnitKey, bytes]:
        if (row := self._earlier(scope, earlier_id)) is None:
            return {}
        units = completed_units(row)
        results = {key: result for key in keys if key in units and (result := units[key][1].result) is not None}
        named = frozenset(named_tasks(*results.values()))
        if workflow_id is not None and (reader := self._tables.workflows.get(workflow_id)) is not None:
            reader.reused |= named - reader.named
            reader.named |= named
        return results

    def _earlier(self, scope: TenantScope, workflow_id: UUID) -> WorkflowRow | None:
        row = self._tables.find(scope, workflow_id)
        return None if row is None or row.record.state.deleted_at is not None else row

    async def known_jobs(self, provider: ProviderType, remote_ids: Collection[str]) -> set[str]:
        rows = (task.task for row in self._tables.workflows.values() for task in row.tasks.values())
        return {
            task.remote_id
            for task in rows
            if task.provider == provider and task.remote_id is not None and task.remote_id in remote_ids
        }

    async def write(self, batch: Sequence[Decision]) -> set[UUID]:
        lost = set()
        landing = []
        for decision in batch:
            row = self._tables.workflows.get(decision.workflow.id)
            if row is not None and _is_fence(row, decision) and self._waits(decision):
                first = row.record.state.last_event + 1
                numbers = [event.id for event in decision.events]
                _check_numbers(range(first, first + len(numbers)), numbers)
                landing.append((row, decision))
            elif row is None or not _is_written(row, decision):
                lost.add(decision.workflow.id)
        transaction = self._tables.begin_transaction()
        for row, decision in sorted(landing, key=lambda pair: pair[1].workflow.id.int):
            self._apply(transaction, row, decision)
            if (parent_id := decision.ended_child_of) is not None:
                self._count_child_ended(parent_id)
        return lost

    def _count_child_ended(self, parent_id: UUID) -> None:
        if (parent := self._tables.workflows.get(parent_id)) is None:
            return
        parent.child_ended_count += 1
        state = parent.record.state
        if state.wake_at is not None:
            state.wake_at = min(state.wake_at, self._tables.clock.now())

    def _waits(self, decision: Decision) -> bool:
        """Return whether all commands of the decision wait, and have their idempotency keys."""
        rows = [self._tables.commands.get(mark.id) for mark in decision.commands]
        return all(row is not None and row.outcome is None and self._tables.holds_key(row.command) for row in rows)

    def _apply(self, transaction: int, row: WorkflowRow, decision: Decision) -> None:
        record, workflow_id = row.record, decision.workflow.id
        record.state = self._apply_flow(row, decision)
        if decision.labels is not UNSET:
            record.labels = dict(sorted((decision.labels or {}).items()))
        _apply_steps(row, decision)
        for task_id, decided in decision.tasks.items():
            task = copy_of(decided)
            if task.item_key is not None:
                task.position = task.item_key.step  # that of the item is only known in memory
            stored = row.tasks.get(task_id)
            count_cost(self._tables, record, None if stored is None else stored.task, task)
            if stored is None:
                row.tasks[task_id] = TaskRow(task)
                self._tables.workflow_of_task[task_id] = workflow_id
            else:
                stored.task = task
        count_saved(self._tables, record, decision.events)
        self._tables.append_events(transaction, row, decision.events)
        for delivery in decision.deliveries:
            row.deliveries[delivery.event_id] = DeliveryRow(
                workflow_id, delivery, self._owner, delivery.lane, delivery.at
            )
        for mark in decision.commands:
            command = self._tables.commands[mark.id]
            command.outcome = mark.outcome
            self._tables.notify_command(command.requester, "ended", mark.id)
        for claim in decision.key_claims:
            self._tables.mark_applied(claim, workflow_id)
        if decision.cleanup is not None or decision.budget is not UNSET:
            self._apply_side_rows(row, decision)

    def _apply_side_rows(self, row: WorkflowRow, decision: Decision) -> None:
        if decision.budget is not UNSET:
            write_budgets(self._tables, row.record, decision.budget)
        if decision.cleanup is CleanupChange.BEGUN:
            self._tables.cleanups[decision.workflow.id] = CleanupRow(self._owner, self._tables.clock.now())
        elif decision.cleanup is CleanupChange.ENDED:
            self._tables.cleanups.pop(decision.workflow.id, None)

    def _apply_flow(self, row: WorkflowRow, decision: Decision) -> WorkflowState:
        """Write waits and signals. Return the workflow's new state."""
        if not decision.has_flow:  # an ordinary checkpoint doesn't write `wake_at`
            return structs.replace(decision.workflow, wake_at=row.record.state.wake_at)
        for position, shown in decision.waits.items():
            flow = decision.steps[position].flow
            if shown is None or flow is None or flow.wait is None:
                row.waits.pop(position, None)
            else:
                row.waits[position] = WaitRow(flow.wait, shown)
        self._tables.note_waits(row.record, waits=bool(row.waits))
        for name, signal in decision.signals.items():
            if signal is None:
                row.signals.pop(name, None)
            else:
                row.signals[name] = signal
        row.named |= decision.named_files
        state = copy_of(decision.workflow)
        if state.wake_at is not None and row.child_ended_count > state.child_ended_seen:
            state.wake_at = min(state.wake_at, self._tables.clock.now())
        return state

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
        if divided and not self._tables.claim_is_counted(owner):
            return []
        orphans = sorted(
            (row for row in self._tables.workflows.values() if self._may_claim(row, owner, held, now)),
            key=lambda row: (-row.record.state.depth, row.record.state.id.int),
        )
        self._record_ends(owner)
        suspect = self._suspect(orphans, owner) if trials else None
        loaded, steps = [], 0
        for row in orphans[:limit] if suspect is None else [suspect]:
            if steps >= STEPS_A_PAGE:
                break
            steps += _size(row)
            state = row.record.state
            _, alone = self._tables.unclean_ends.get(state.owner or owner, (None, False))
            deaths = state.crashes if alone else 0
            state.owner, state.epoch, state.crashes = owner, state.epoch + 1, 0
            loaded.append(
                structs.replace(_loaded(row, self._tables), crashes_on_trial=None if suspect is None else deaths)
            )
        if not loaded:
            self._forget_dead()
        return loaded

    async def release_idle(self, owner: UUID, held: Collection[UUID], now: datetime, limit: int) -> int:
        rows = [
            row
            for row in self._tables.workflows.values()
            if self._may_claim(row, owner, held, now)
            and row.record.state.status is WorkflowStatus.RUNNING
            and not any(stored.is_open for stored in row.tasks.values())
        ]
        for row in rows[:limit]:
            state = row.record.state
            state.owner, state.epoch = None, state.epoch + 1
            if state.deadline_at is not None:
                state.timeout_left_s = max((state.deadline_at - self._tables.clock.now()).total_seconds(), 0.0)
                state.deadline_at = None
        return len(rows[:limit])

    async def hand_over(self, owner: UUID, workflow_ids: Collection[UUID]) -> None:
        for workflow_id in workflow_ids:
            row = self._tables.workflows.get(workflow_id)
            if row is not None and row.record.state.owner == owner:
                row.record.state.owner = NO_PROCESS
                row.record.state.epoch += 1
        self._tables.process_channel.notify(owner, None)

    async def waiting(self) -> list[WaitingCount]:
        starts: dict[str | None, list[datetime]] = {}
        for row in self._tables.waiting():
            assert row.record.state.started_at is not None
            starts.setdefault(row.record.tenant, []).append(row.record.state.started_at)
        return [WaitingCount(tenant, len(of_tenant), of_tenant[0]) for tenant, of_tenant in starts.items()]

    async def admit(self, owner: UUID, wanted: Mapping[str | None, int], held: Collection[UUID]) -> AdmissionResult:
        loaded, steps, left = [], 0, dict(wanted)
        next_slots: dict[str | None, int] = {}
        for row in self._tables.waiting():
            state, tenant = row.record.state, row.record.tenant
            if state.id in held or tenant not in wanted or tenant in next_slots:
                continue
            slots = slots_of(_size(row), row.definition_bytes)
            if slots > left[tenant] or steps >= STEPS_A_PAGE:
                next_slots[tenant] = slots
                continue
            left[tenant] -= slots
            steps += _size(row)
            state.owner, state.epoch = owner, state.epoch + 1
            if state.timeout_left_s is not None:
                state.deadline_at = self._tables.clock.now() + timedelta(seconds=state.timeout_left_s)
                state.timeout_left_s = None
            loaded.append(_loaded(row, self._tables))
        return AdmissionResult(loaded, next_slots)

    async def unpark(self, limit: int) -> UnparkedWorkflows:
        now, waiting = self._tables.clock.now(), Counter[str | None]()
        due = [row for row in self._tables.parked(WorkflowStatus.RUNNING) if _is_due(row, now)]
        for row in due[:limit]:
            row.record.state.wake_at = None
            row.record.state.epoch += 1
            waiting[row.record.tenant] += 1
        paused = [row for row in self._tables.parked(WorkflowStatus.PAUSED) if _is_due(row, now)][:PAUSED_A_PAGE]
        for row in paused:
            row.record.state.wake_at = now + timedelta(seconds=POSTPONED_S)
        return UnparkedWorkflows(waiting, [row.record.state.id for row in paused], self._tables.next_wake())

    async def fence(self, owner: UUID, workflow_id: UUID) -> LoadedWorkflow | None:
        row = self._tables.workflows.get(workflow_id)
        if row is None or (state := row.record.state).owner is None:
            return None
        if state.owner != owner and self._tables.is_alive(state.owner):
            return None
        state.epoch += 1
        return _loaded(row, self._tables)

    def _record_ends(self, owner: UUID) -> None:
        """Record the dead processes that had an attempt under way."""
        under_way = Counter(
            row.record.state.owner for row in self._tables.workflows.values() if _has_running_attempt(row)
        )
        for process, workflows in under_way.items():
            if process is not None and process != owner and self._has_crashed(process):
                self._tables.unclean_ends.setdefault(process, (self._tables.clock.now(), workflows == 1))

    def _suspect(self, orphans: list[WorkflowRow], owner: UUID) -> WorkflowRow | None:
        """Return the workflow that must be tried alone, or None."""
        since = self._tables.clock.now() - _WINDOW
        if sum(at > since for at, _ in self._tables.unclean_ends.values()) < UNCLEAN_ENDS:
            return None
        suspects = [
            row
            for row in orphans
            if row.record.state.owner != owner
            and self._has_crashed(row.record.state.owner or owner)
            and _has_running_attempt(row)
        ]
        return min(suspects, key=lambda row: (-row.record.state.crashes, row.record.state.id.int), default=None)

    def _has_crashed(self, process: UUID) -> bool:
        return process in self._tables.processes and not self._tables.is_alive(process)

    def _may_claim(self, row: WorkflowRow, owner: UUID, held: Collection[UUID], now: datetime) -> bool:
        state = row.record.state
        if state.owner is None or state.id in held:
            return False
        if not row.is_understood:
            return False
        if state.owner == owner:
            return state.updated_at is not None and state.updated_at < now
        return not self._tables.is_alive(state.owner)

    def _forget_dead(self) -> None:
        needed = {row.record.state.owner for row in self._tables.workflows.values()}
        needed |= {delivery.owner for delivery in self._tables.pending_deliveries()}
        needed |= {cleanup.owner for cleanup in self._tables.cleanups.values()}
        for process in [p for p in self._tables.processes if not self._tables.is_alive(p) and p not in needed]:
            del self._tables.processes[process]

    async def set_clock(self) -> None:
        """The clock is that of the tables already."""


def _apply_steps(row: WorkflowRow, decision: Decision) -> None:
    """Write steps and items. Those that repeat keep their best results so far."""
    for item in decision.new_items:
        row.items[item.item_key] = copy_of(item)
    for position, state in decision.steps.items():
        if isinstance(state, ItemState):
            before = row.items[state.item_key]
            row.items[state.item_key] = structs.replace(state, result=state.result or before.result)
        else:
            best = None if state.flow is None else row.steps[position].state.result
            row.steps[position].state = structs.replace(state, result=state.result or best)


def _size(row: WorkflowRow) -> int:
    """The number of its steps and items."""
    return row.record.total_steps + len(row.items)


def _is_due(row: WorkflowRow, now: datetime) -> bool:
    wake_at = row.record.state.wake_at
    return wake_at is not None and wake_at <= now


def _has_running_attempt(row: WorkflowRow) -> bool:
    """Return whether an attempt is under way. A sub-workflow that exists is none."""
    running = (stored.task for stored in row.tasks.values() if stored.task.status is TaskStatus.RUNNING)
    return any(task.provider is not None or task.remote_id is None for task in running)


def _check_numbers(expected: range, numbers: list[int]) -> None:
    """Raise ValueError where the database would refuse an event because its number exists."""
    if numbers != list(expected):
        raise ValueError(f"the events have the numbers {numbers} instead of {list(expected)}")


def _is_fence(row: WorkflowRow, decision: Decision) -> bool:
    state = row.record.state
    return (state.owner, state.epoch, state.last_event) == (decision.owner, decision.epoch, decision.last_event)


def _is_written(row: WorkflowRow, decision: Decision) -> bool:
    """Return whether an earlier write has stored this decision, and only its result was lost."""
    stored, decided = row.record.state, decision.workflow
    names = ("owner", "epoch", "last_event", "updated_at")
    return all(getattr(stored, name) == getattr(decided, name) for name in names)


def _loaded(row: WorkflowRow, tables: Tables) -> LoadedWorkflow:
    record = row.record
    root = None if record.parent is None else tables.workflows.get(record.parent.root_id)
    steps = [structs.replace(step, state=structs.replace(step.state, result=None)) for step in row.steps]
    items = [structs.replace(row.items[key], result=None) for key in sorted(row.items)]
    return LoadedWorkflow(
        structs.replace(record.state, child_ended_seen=row.child_ended_count),
        record.tenant,
        record.created_by,
        record.origin_instance,
        record.config,
        record.suppress_subtask_events,
        row.definition_bytes,
        steps,
        _open_tasks(row),
        sum(len(unit.result or b"") for unit in row.units),
        feature_level=row.feature_level,
        evaluates=row.inputs.evaluates,
        inputs=row.inputs.inputs if row.inputs.evaluates else None,
        labels=dict(record.labels) if row.inputs.evaluates else {},
        signals=dict(row.signals),
        items=items,
        parent=record.parent,
        named_files=row.named_files,
        reuse=record.reuse,
        root_has_budget=root is not None and root.record.config.get("budget") is not None,
    )


def _open_tasks(row: WorkflowRow) -> list[Task]:
    """Return the attempts of RUNNING steps and items, and those whose abandoned job is polled."""
    latest = {state.task_id for state in row.units if state.status is StepStatus.RUNNING}
    tasks = [stored.task for stored in row.tasks.values()]
    return [
        copy_of(task)
        for task in tasks
        if (task.id in latest and task.status is TaskStatus.RUNNING) or task.follow_up_until is not None
    ]


def _bound_reached(root: WorkflowRow, new: NewWorkflow, limits: RootLimits) -> ChildInsertion | None:
    """Return the bound of the root that another sub-workflow would exceed."""
    if root.sub_workflows >= limits.sub_workflows:
        return ChildInsertion.TOO_MANY
    if root.sub_workflow_steps + new.record.total_steps > limits.steps:
        return ChildInsertion.TOO_MANY_STEPS
    if root.sub_workflow_bytes + new.definition_bytes > limits.definition_bytes:
        return ChildInsertion.TOO_LARGE
    return None
