"""`ports.storage.WorkflowReader` in memory: what the API reads, and the deletion mark of tasks."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any
from uuid import UUID

from msgspec import UNSET, Raw, json, structs

from stepwell.basics.errors import ResultTooLarge
from stepwell.basics.tenancy import FileScope, TenantScope
from stepwell.contract.enums import EventType, SkipReason, StepStatus, WaitKind, WaitsFor, WorkflowStatus
from stepwell.contract.reasons import StepAbove
from stepwell.contract.tasks import Output
from stepwell.contract.workflows import AncestorStep
from stepwell.definition.mapping.input_mapping import MAX_MAPPED_BYTES
from stepwell.lifecycle.child_records import ChildRecord, ChildRecords
from stepwell.lifecycle.decision import copy_of
from stepwell.lifecycle.model import HistoryEvent, ItemKey, StepState, Task
from stepwell.lifecycle.preconditions import ReadVersion
from stepwell.lifecycle.records import (
    NO_INPUTS,
    WHOLE,
    StepAttempts,
    StepRecord,
    StoredInputs,
    Summary,
    TaskRecord,
    WorkflowOwnership,
    WorkflowParts,
    WorkflowRecord,
)
from stepwell.rules.costs import CostQuery, CostSum
from stepwell.rules.large_workflow_records import (
    SMALL_BYTES,
    SMALL_PAGE_BYTES,
    STATES_PER_BLOCK,
    TASK_BYTES,
    FoundWorkflow,
    LargeWorkflow,
    LargeWorkflowSnapshot,
    ResponseSize,
    StepSnapshot,
    StoredStep,
)
from stepwell.rules.list_records import (
    MAX_ITEM_BYTES,
    MAX_ITEM_TEXT,
    MOST_COUNTED,
    DecisionFilter,
    ItemFilter,
    ItemSlice,
    ListFilter,
    OutputCursor,
    StoredDecision,
    StoredOutput,
    TaskCursor,
    TaskFilter,
    TaskSlice,
    WaitBelow,
    WorkflowCursor,
    WorkflowFilter,
    WorkflowPage,
)
from stepwell.testing.memory_costs import currency_sums, read_costs, task_costs
from stepwell.testing.memory_items import final_result, item_counts, item_slice, items_done, stored_result
from stepwell.testing.memory_outputs import outputs_of
from stepwell.testing.memory_tables import ALWAYS, NEVER, MemoryAdapter, WorkflowRow, task_record, within_bytes

_BARE = WorkflowParts(steps=False)


class MemoryWorkflowReader(MemoryAdapter):
    async def get(self, scope: TenantScope, workflow_id: UUID) -> WorkflowRecord | None:
        row = self._tables.find(scope, workflow_id)
        return None if row is None else self._record(row, _BARE)

    async def find(self, scope: TenantScope, workflow_id: UUID, parts: WorkflowParts) -> FoundWorkflow | None:
        row = self._tables.find(scope, workflow_id)
        if row is None:
            return None
        if _weight(row, parts) > SMALL_BYTES:
            return LargeWorkflow(workflow_id, row.record.tenant, row.record.state.status)
        return self._record(row, parts)

    async def size(
        self, scope: TenantScope, workflow_ids: Sequence[UUID], parts: WorkflowParts, stop_at: int
    ) -> ResponseSize | None:
        total = snapshot = largest = 0
        for workflow_id in workflow_ids:
            if (row := self._tables.find(scope, workflow_id)) is None:
                return None
            own = [_step_weight(row, parts, step) for step in row.steps]
            total, largest = total + _weight(row, parts), max(largest, *own)
            snapshot += _weight(row, WorkflowParts(steps=False, results=parts.results)) + 200 * len(own)
            if total > stop_at:
                break
        return ResponseSize(total, snapshot, largest)

    async def snapshot(
        self, scope: TenantScope, workflow_ids: Sequence[UUID], parts: WorkflowParts
    ) -> list[LargeWorkflowSnapshot]:
        rows = self._tables.find_all(scope, workflow_ids)
        bare = WorkflowParts(steps=False, results=parts.results)
        return [LargeWorkflowSnapshot(self._record(row, bare), _states(row) if parts.steps else []) for row in rows]

    async def step_slice(
        self, scope: TenantScope, workflow_id: UUID, parts: WorkflowParts, first: int, count: int, max_bytes: int
    ) -> list[StoredStep]:
        if (row := self._tables.find(scope, workflow_id)) is None:
            return []
        steps = row.steps[first : first + count]
        return [
            _stored_step(row, step, parts) for step in within_bytes(steps, partial(_step_weight, row, parts), max_bytes)
        ]

    async def inputs(self, scope: TenantScope, workflow_id: UUID) -> StoredInputs:
        row = self._tables.find(scope, workflow_id)
        return NO_INPUTS if row is None else row.inputs

    async def named_definitions(self, scope: TenantScope, root_id: UUID, names: Sequence[str]) -> Mapping[str, bytes]:
        return {name: content for name, content in self._named(scope, root_id).items() if name in names}

    async def deleted_definitions(self, scope: TenantScope, root_id: UUID) -> Mapping[str, bytes]:
        named, row = self._named(scope, root_id), self._tables.find(scope, root_id)
        lane = "" if row is None else row.record.tenant or ""
        stored = {
            f"{name}@{version}"
            for (each, name), found in self._tables.definitions.items()
            if each == lane
            for version in found.versions
        }
        return {name: content for name, content in named.items() if name not in stored}

    def _named(self, scope: TenantScope, root_id: UUID) -> dict[str, bytes]:
        row = self._tables.find(scope, root_id)
        contents = json.decode((row and row.named_definitions) or b"{}", type=dict[str, Raw])
        return {name: bytes(content) for name, content in contents.items()}

    async def step(self, scope: TenantScope, workflow_id: UUID, step_id: str) -> StepRecord | None:
        steps = self._steps(scope, workflow_id)
        return _small(next((step for step in steps if step.resolved.step_id == step_id), None))

    async def step_at(self, scope: TenantScope, workflow_id: UUID, position: int) -> StepRecord | None:
        steps = self._steps(scope, workflow_id)
        return _small(next((step for step in steps if step.resolved.position == position), None))

    def _steps(self, scope: TenantScope, workflow_id: UUID) -> Sequence[StepRecord]:
        row = self._tables.find(scope, workflow_id)
        return () if row is None else self._record(row, WHOLE).steps or ()

    def _record(self, row: WorkflowRow, parts: WorkflowParts) -> WorkflowRecord:
        return _record(row, parts, self._tables.waits_for(row.record).get(row.record.id))

    async def item_slice(
        self, scope: TenantScope, workflow_id: UUID, query: ItemFilter, count: int, max_bytes: int
    ) -> ItemSlice | None:
        row = self._tables.find(scope, workflow_id)
        steps = [] if row is None else row.steps
        step = next((step for step in steps if step.resolved.step_id == query.step_id), None)
        return None if row is None or step is None else item_slice(row, step, query, count, max_bytes)

    async def decisions(self, scope: TenantScope, query: DecisionFilter) -> list[StoredDecision]:
        found = [each for each in self._open(scope, query) if query.after is None or each.cursor > query.after]
        return sorted(found, key=lambda decision: decision.cursor)[: query.limit]

    async def decision_count(self, scope: TenantScope, query: DecisionFilter) -> int:
        return min(MOST_COUNTED, len(list(self._open(scope, query))))

    def _open(self, scope: TenantScope, query: DecisionFilter) -> Iterator[StoredDecision]:
        """Yield the open decisions that match, on all pages."""
        for row in self._tables.workflows.values():
            if query.definition is not None and not query.definition.covers(self._above(row)[0].record.definition):
                continue
            if row.record.state.deleted_at is None and self._is_in_family(row.record, query.workflow_id):
                for decision in self._decisions(row, scope):
                    own = {f"{key}:{value}" for key, value in decision.labels.items()}
                    if query.step_id in (None, decision.step_id) and own.issuperset(query.labels):
                        yield decision

    def _decisions(self, row: WorkflowRow, scope: TenantScope) -> Iterator[StoredDecision]:
        """Yield the steps of the workflow that wait for a decision, if it is in *scope*."""
        if row.waits and scope.covers(row.record.tenant, row.record.created_by):
            top, above = self._above(row)
            record, top_id = row.record, top.record.id
            files = FileScope.of(record.tenant, record.created_by, top_id, row.named_files)
            own = (record.id, record.state.name, files)
            for position, each in row.waits.items():
                if each.wait.kind is not WaitKind.DECISION:
                    continue
                step_id = row.steps[position].resolved.step_id
                yield StoredDecision(*own, position, step_id, each.wait, each.shown.inputs, above, top.record.labels)

    def _above(self, row: WorkflowRow) -> tuple[WorkflowRow, list[AncestorStep]]:
        """Return the run at the top of the workflow, and the steps between them."""
        link = row.record.parent
        if link is None:
            return row, []
        parent = self._tables.workflows[link.workflow_id]
        attempt, item, value = parent.tasks.get(row.record.id), None, None
        if attempt is not None and link.item is not None:
            item = parent.items.get(ItemKey(attempt.task.position, link.item))
        if item is not None and len(item.value) <= MAX_ITEM_BYTES:
            is_text = item.value.startswith(b'"') and rb"\u0000" not in item.value
            text = json.decode(item.value, type=str) if is_text else item.value.decode()
            value = text[:MAX_ITEM_TEXT]
        top, above = self._above(parent)
        here = AncestorStep(
            workflow_id=link.workflow_id,
            workflow_name=parent.record.state.name,
            step_id=link.step_id,
            item=link.item,
            value=value,
        )
        return top, [*above, here]

    def _is_in_family(self, record: WorkflowRecord, workflow_id: UUID | None) -> bool:
        """Return whether it is the workflow, or one of its sub-workflows. Without *workflow_id*, all match."""
        while workflow_id not in (None, record.id):
            parent = None if record.parent is None else self._tables.workflows.get(record.parent.workflow_id)
            if parent is None:
                return False
            record = parent.record
        return True

    async def decision(self, scope: TenantScope, workflow_id: UUID, position: int) -> StoredDecision | None:
        row = self._tables.find(scope, workflow_id)
        if row is None or row.record.state.deleted_at is not None:
            return None
        return next((each for each in self._decisions(row, scope) if each.position == position), None)

    async def waits_below(self, scope: TenantScope, workflow_id: UUID, most: int) -> list[WaitBelow]:
        if (row := self._tables.find(scope, workflow_id)) is None:
            return []
        found = [
            below
            for waiting_id in self._tables.waiting_ids(row.record)
            for below in self._waits_of(self._tables.workflows[waiting_id], workflow_id)
        ]
        kinds = [*WaitsFor]
        found.sort(key=lambda each: (kinds.index(WaitsFor(each.wait.kind)), each.wait.since, each.workflow_id))
        return [
            each
            for number, each in enumerate(found)
            if sum(other.above[0].step_id == each.above[0].step_id for other in found[:number]) < most
        ]

    def _waits_of(self, row: WorkflowRow, above: UUID) -> Iterator[WaitBelow]:
        """Yield the waits of the workflow if it is a sub-workflow, at any depth, of the workflow *above*."""
        ids = [each.workflow_id for each in self._above(row)[1]]
        if above in ids:
            steps = [StepAbove(each.step_id, each.item) for each in self._above(row)[1][ids.index(above) :]]
            for position, each in sorted(row.waits.items()):
                resolved = row.steps[position].resolved
                signal = None if resolved.flow is None else resolved.flow.signal
                yield WaitBelow(steps, row.record.id, resolved.step_id, signal, each.wait)

    async def step_of_signal(self, scope: TenantScope, workflow_id: UUID, name: str) -> StepRecord | None:
        steps = self._steps(scope, workflow_id)
        return next(
            (step for step in steps if step.resolved.flow is not None and step.resolved.flow.signal == name), None
        )

    async def version(self, scope: TenantScope, workflow_id: UUID) -> ReadVersion | None:
        row = self._tables.find(scope, workflow_id)
        waits_for = {} if row is None else self._tables.waits_for(row.record)
        return None if row is None else ReadVersion.of(row.record.state, waits_for.get(workflow_id))

    async def owner(self, scope: TenantScope, workflow_id: UUID) -> TenantScope | None:
        row = self._tables.find(scope, workflow_id)
        return None if row is None else TenantScope(row.record.tenant)

    async def page(self, scope: TenantScope, query: ListFilter) -> WorkflowPage:
        waits_for = self._tables.waits_for()
        rows = [row for row in self._tables.workflows.values() if _matches(row.record, scope, query, waits_for)]
        total = len(rows)
        rows.sort(key=_cursor, reverse=not query.oldest_first)
        if (after := query.after) is not None:
            rows = [row for row in rows if (_cursor(row) > after if query.oldest_first else _cursor(row) < after)]
        page = rows[query.skip : query.skip + query.limit]
        last = _cursor(page[-1]) if page and len(rows) > query.skip + query.limit else None
        versions = {row.record.id: ReadVersion.of(row.record.state, waits_for.get(row.record.id)) for row in page}
        large = sum(_weight(row, query.parts) for row in page) > SMALL_PAGE_BYTES
        records = None if large else [_record(row, query.parts, waits_for.get(row.record.id)) for row in page]
        return WorkflowPage(versions, records, total if query.count else None, last)

    async def counts(self, scope: TenantScope, query: WorkflowFilter) -> dict[WorkflowStatus, int]:
        records, waits_for = (row.record for row in self._tables.workflows.values()), self._tables.waits_for()
        return dict(Counter(record.status for record in records if _matches(record, scope, query, waits_for)))

    async def events(
        self, scope: TenantScope, workflow_id: UUID, after: int, limit: int, types: frozenset[EventType] | None = None
    ) -> Sequence[HistoryEvent] | None:
        row = self._tables.find(scope, workflow_id)
        if row is None:
            return None
        return [each for each in row.events if each.id > after and (types is None or each.type in types)][:limit]

    async def tasks(
        self, scope: TenantScope, workflow_id: UUID, *, include_deleted: bool
    ) -> Sequence[TaskRecord] | None:
        if (row := self._tables.find(scope, workflow_id)) is None:
            return None
        rows = row.ordered_tasks
        return [task_record(row, stored) for stored in rows if include_deleted or stored.deleted_at is None]

    async def task_slice(self, scope: TenantScope, workflow_id: UUID, query: TaskFilter) -> TaskSlice | None:
        records = await self.tasks(scope, workflow_id, include_deleted=query.include_deleted)
        if records is None:
            return None
        if query.step_id is not None:
            records = [each for each in records if each.step_id == query.step_id]
        if query.after is not None:
            records = [each for each in records if TaskCursor.of(each.task) > query.after]
        read = within_bytes(records[: query.count], _task_weight, query.max_bytes)
        return TaskSlice(read, len(read) < len(records))

    async def outputs(
        self, scope: TenantScope, workflow_id: UUID, after: OutputCursor | None, limit: int
    ) -> list[StoredOutput] | None:
        row = self._tables.find(scope, workflow_id)
        return None if row is None else outputs_of(self._tables, row, after)[:limit]

    async def task(self, scope: TenantScope, task_id: UUID) -> TaskRecord | None:
        pair = self._tables.find_task(scope, task_id)
        return None if pair is None else task_record(*pair)

    async def children(self, scope: TenantScope, workflow_id: UUID, limit: int) -> ChildRecords:
        found = [
            ChildRecord(record.id, record.parent.step_id, record.parent.item, record.status)
            for row in self._tables.workflows.values()
            if (record := row.record).parent is not None
            and record.parent.workflow_id == workflow_id
            and record.state.deleted_at is None
            and scope.covers(record.tenant, record.created_by)
        ]
        return ChildRecords(sorted(found, key=lambda child: child.id.int)[:limit], len(found))

    async def ownership(self, scope: TenantScope, workflow_id: UUID) -> WorkflowOwnership | None:
        if (row := self._tables.find(scope, workflow_id)) is None:
            return None
        state, pause = row.record.state, None
        if state.status is WorkflowStatus.PAUSED:
            pause = next((e for e in reversed(row.events) if e.type is EventType.WORKFLOW_PAUSED), None)
        waiting = [each for each in self._tables.waiting() if each.record.tenant == row.record.tenant]
        lease = None if state.owner is None else self._tables.processes.get(state.owner)
        return WorkflowOwnership(
            state.owner,
            (lease or NEVER) > self._tables.clock.now(),
            None if lease == ALWAYS else lease,
            None if pause is None else pause.actor,
            None if pause is None else pause.at,
            waiting.index(row) if state.waits_for_admission else None,
        )

    async def stored_outputs(self, scope: TenantScope, task_ids: Sequence[UUID]) -> set[str]:
        rows = [pair[1] for task_id in task_ids if (pair := self._tables.find_task(scope, task_id)) is not None]
        outputs = [output for stored in rows if stored.deleted_at is None for output in stored.task.outputs]
        removed = [
            row for each in task_ids if (row := self._tables.removals.get(each)) and scope.covers(row.tenant, None)
        ]
        return {output.path for output in (*outputs, *(output for row in removed for output in row.outputs))}

    async def needed_outputs(self, scope: TenantScope, task_id: UUID) -> tuple[str | None, Sequence[Output]]:
        row = self._tables.removals.get(task_id)
        if row is None or not scope.covers(row.tenant, None):
            return None, ()
        if not self._tables.readers_of(task_id, TenantScope(row.tenant)):
            return None, ()
        return row.tenant, row.outputs

    async def references_to(
        self, scope: TenantScope, workflow_id: UUID, task_ids: Sequence[UUID]
    ) -> Mapping[UUID, UUID]:
        readers = {task_id: self._tables.readers_of(task_id, scope, workflow_id) for task_id in task_ids}
        return {task_id: ids[0] for task_id, ids in readers.items() if ids}

    async def costs(self, scope: TenantScope, query: CostQuery) -> Sequence[CostSum]:
        return read_costs(self._tables, scope, query)

    async def ping(self) -> None:
        """Only the round trip."""


def _cursor(row: WorkflowRow) -> WorkflowCursor:
    return WorkflowCursor(row.record.created_at, row.record.state.id)


def _matches(
    record: WorkflowRecord, scope: TenantScope, query: WorkflowFilter, waits_for: Mapping[UUID, WaitsFor]
) -> bool:
    return (
        scope.covers(record.tenant, record.created_by)
        and (not query.statuses or record.state.status in query.statuses)
        and {f"{key}:{value}" for key, value in record.labels.items()}.issuperset(query.labels)
        and (query.name is None or record.state.name.lower().startswith(query.name.lower()))
        and query.waits_for in (None, waits_for.get(record.id))
        and (query.definition is None or query.definition.covers(record.definition))
        and query.origin_zone in (None, record.origin_zone)
        and query.origin_reference in (None, record.origin_reference)
        and (query.created_after is None or record.created_at > query.created_after)
        and (query.created_before is None or record.created_at < query.created_before)
        and query.origin_instance in (None, record.origin_instance)
        and query.origin_tenant_id in (None, record.tenant)
        and (query.include_deleted or record.state.deleted_at is None)
        and (query.include_children or record.parent is None)
    )


def _record(row: WorkflowRow, parts: WorkflowParts, waits_for: WaitsFor | None) -> WorkflowRecord:
    record, steps = row.record, row.steps
    of_steps = _tasks_of_steps(row)
    copies = [
        structs.replace(
            step,
            state=structs.replace(step.state, result=stored_result(row, step)),
            attempts=_attempts(step.state, of_steps),
            items=item_counts(row, step),
        )
        for step in steps
    ]
    for step in copies:
        if not parts.results or step.state.status is not StepStatus.COMPLETED:
            step.state.result = None  # a step that repeats has its best result so far
    summary = structs.replace(_summary(row, steps), waits_for=waits_for)
    return structs.replace(
        record,
        state=copy_of(record.state),
        summary=summary if parts.results else structs.replace(summary, final_step_result=None),
        steps=copies if parts.steps else None,
        results=parts.results,
    )


def _small(step: StepRecord | None) -> StepRecord | None:
    """Return the step. Raises `ResultTooLarge`."""
    if step is not None and len(step.state.result or b"") > MAX_MAPPED_BYTES:
        raise ResultTooLarge(MAX_MAPPED_BYTES)
    return step


def _weight(row: WorkflowRow, parts: WorkflowParts) -> int:
    """About the bytes of a response with the workflow, as `persistence` computes them."""
    steps = row.steps
    errors = sum(len(step.state.error_message or "") for step in steps)
    config = len(json.encode(row.record.config))
    if parts.steps:
        return config + errors + sum(200 + _step_weight(row, parts, step) for step in steps)
    final = final_result(row, steps[row.final_position]) if parts.results else None
    return config + errors + len(final or b"")


def _step_weight(row: WorkflowRow, parts: WorkflowParts, step: StepRecord) -> int:
    return len(json.encode(step.definition)) + (len(stored_result(row, step) or b"") if parts.results else 0)


def _task_weight(record: TaskRecord) -> int:
    return TASK_BYTES + len(record.task.error or "") + len(json.encode(record.task.outputs))


def _stored_step(row: WorkflowRow, step: StepRecord, parts: WorkflowParts) -> StoredStep:
    resolved, definition = step.resolved, step.definition
    rules = (resolved.max_retries, resolved.run_if, resolved.optional, definition.condition)
    constant = (resolved.position, step.id, *rules)
    repeat, for_each = (
        None if each is UNSET else json.encode(each) for each in (definition.repeat, definition.for_each)
    )
    result = stored_result(row, step) if parts.results else None
    return StoredStep(*constant, repeat, for_each, json.encode(definition), result)


def _states(row: WorkflowRow) -> list[bytes]:
    steps = row.steps
    blocks = [steps[begin : begin + STATES_PER_BLOCK] for begin in range(0, len(steps), STATES_PER_BLOCK)]
    of_steps = _tasks_of_steps(row)
    return [json.encode([_snapshot(row, step, of_steps) for step in block]) for block in blocks]


def _snapshot(row: WorkflowRow, step: StepRecord, of_steps: dict[int, list[Task]]) -> StepSnapshot:
    state = step.state
    attempts = _attempts(state, of_steps)
    values: dict[str, Any] = {
        "provider": attempts.provider,
        "model": attempts.model,
        "costs": currency_sums(of_steps[state.position]),
        "items": item_counts(row, step),
    }
    values |= {name: getattr(state, name) for name in StepSnapshot.__struct_fields__ if name not in values}
    return StepSnapshot(**values)


def _tasks_of_steps(row: WorkflowRow) -> dict[int, list[Task]]:
    of_steps: dict[int, list[Task]] = defaultdict(list)
    for stored in row.tasks.values():
        of_steps[stored.task.position].append(stored.task)
    return of_steps


def _attempts(state: StepState, of_steps: dict[int, list[Task]]) -> StepAttempts:
    tasks = of_steps[state.position]
    latest = next((task for task in tasks if task.id == state.task_id), None)
    if latest is None:
        return StepAttempts(cost=task_costs(tasks))
    return StepAttempts(latest.provider, None if latest.sent is None else latest.sent.model, task_costs(tasks))


def _summary(row: WorkflowRow, steps: list[StepRecord]) -> Summary:
    failure = row.record.state.failure
    running = [step for step in steps if step.state.status is StepStatus.RUNNING]
    first = min(running, key=lambda step: (step.state.started_at or ALWAYS, step.resolved.position), default=None)
    failed = [step for step in steps if step.state.status is StepStatus.FAILED]
    own = () if failure is None else (failure,)
    fatal = (*own, *(_error(step) for step in failed if not step.resolved.optional))
    done = [step for step in failed if step.resolved.optional]
    done += [step for step in steps if step.state.skip_reason not in (None, SkipReason.FAILURE)]
    final = steps[row.final_position]
    return Summary(
        None if first is None else first.resolved.step_id,
        final.resolved.step_id,
        final_result(row, final),
        (*own, *map(_error, failed)),
        task_costs([stored.task for stored in row.tasks.values()]),
        next(iter(fatal), None),
        len(done),
        items_done(row),
    )


def _error(step: StepRecord) -> str:
    return f"{step.resolved.step_id}: {step.state.error_message or ''}"
