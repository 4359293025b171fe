"""A workflow in memory: its run, and its attempts, follow-ups and timers in this process.

What must hold:
- A workflow leaves the scheduler's map once, and then never gets an input again.
- `attempts` has every attempt that holds a slot or runs, until it has really ended, whether the workflow is still in
  the map or not.
"""

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from uuid import UUID

from msgspec import UNSET, Struct, structs, to_builtins

from stepwell.basics.errors import Unavailable
from stepwell.basics.strict_json.size import MAX_RESULT_BYTES
from stepwell.basics.tenancy import FileScope
from stepwell.basics.workflow_limits import slots_of
from stepwell.contract.definition import FieldMapping, WorkflowStepDefinition
from stepwell.contract.enums import ProviderType, RunIf, StepStatus
from stepwell.definition.mapping.config_expressions import StepExpressions, StepPart
from stepwell.definition.mapping.input_mapping import MAX_MAPPED_BYTES
from stepwell.definition.mapping.items import StepItem, item_mappings, item_texts
from stepwell.definition.mapping.task_configs import read_workflow_config
from stepwell.definition.mapping.templates import OPENING, evaluated_config, has_text
from stepwell.engine.attempts.attempt_control import AttemptControl
from stepwell.engine.attempts.input_resolver import PreparedAttempt
from stepwell.engine.dispatch.model_health import TrackedAttempt
from stepwell.engine.dispatch.step_queue import Slot, StepQueue
from stepwell.engine.events.bus import CommittedEvents
from stepwell.engine.execution.workflow_expressions import WorkflowExpressions
from stepwell.lifecycle.decision import Decision, copy_of
from stepwell.lifecycle.model import ItemKey, ItemState, Task
from stepwell.lifecycle.records import LoadedWorkflow, StepRecord
from stepwell.lifecycle.run import Run
from stepwell.lifecycle.steps import ResolvedStep
from stepwell.lifecycle.stored_run import StoredRun
from stepwell.lifecycle.units import unit_position
from stepwell.ports.clock import Timer
from stepwell.rules.earlier_results import EarlierResults


class RunningAttempt(Struct):
    """A running attempt: the slot and the model that it uses, and the asyncio task that runs it.

    `slot` is None once it is given back. `tracked` is None if the attempt's model isn't tracked, or once its end is
    counted. `control` and `asyncio_task` are None until its INTENT has committed; an attempt that has nothing to wait
    for never gets them. `early_callback` is the body of a provider's callback that came before `control`. A follow-up
    of an abandoned attempt has neither slot nor model. `lent`: others may use the slot while the attempt waits for its
    mappings. `prepared` has its mappings if they were evaluated while its INTENT was being written.
    """

    slot: Slot | None = None
    tracked: TrackedAttempt | None = None
    control: AttemptControl | None = None
    asyncio_task: asyncio.Task[None] | None = None
    early_callback: bytes | None = None
    lent: bool = False
    prepared: PreparedAttempt | None = None

    def lend_slot(self, step_queue: StepQueue) -> None:
        """Let others use the slot while this attempt waits for its mappings."""
        if self.slot is not None and not self.lent:
            step_queue.lend(self.slot)
            self.lent = True

    def release_slot(self, step_queue: StepQueue) -> None:
        """Give the slot back, once."""
        slot, self.slot = self.slot, None
        if slot is not None:
            (step_queue.take_back if self.lent else step_queue.release)(slot)

    def handle_callback(self, body: bytes) -> None:
        """Wake the attempt with the provider's callback, as soon as it runs."""
        if self.control is None:
            self.early_callback = body
        else:
            self.control.wake(body)


_ALL_COMPLETED = RunIf.ALL_COMPLETED  # hot path: an attribute of an enum costs 0.1 µs in Python 3.11


class _LentResult(Struct):
    """A stored result in memory, and the number of attempts that use it."""

    result: bytes
    borrowers: int = 0


class ActiveWorkflow:
    """A workflow in memory: its definition, its run, its attempts and its timers. Implements `AttemptContext`.

    Positions are those of units: steps, and their items, which have positions of their own (`Run.units`).

    - `slots` is the number of active workflows that it counts as.
    - `pins` counts the verbs that use the workflow: it stays in memory while there are any. See `Scheduler`.
    - `dequeued`: its waiting steps are out of the queue, because it starts nothing.
    - `on_hold`: a verb needs it, but its dead owner has no successor yet, or its trial hasn't begun. Nothing of it
      starts: a decision is only stored, as if the dead owner had stored it just before its end.
    - `lost`: this process must not touch the workflow any more, nor its files.
    - `refusals` is how often in a row the database has refused its rows.
    - `evaluates`: its steps have conditions, or expressions in their configs.
    - `mapping_work` is the work of its expressions and mappings in child processes, in the units of `work_budget`.
    - `attempts` and `follow_ups` are by task id.
    - `timers` are by position. The key None has the timer of the workflow's deadline.
    - `park_timer` lets it leave memory, because it only waits.
    - `waiting_since` has the monotonic times at which steps that may start began to wait, by position, the earliest
      first.
    - `earlier` has the results of the earlier run that it may take over, once they are read, and `earlier_children` the
      sub-workflows of that run, by step and item.
    - `evicted` is set when the workflow has left memory.
    - `quiet` is set when its last attempt has ended. Who waits for that clears it before.

    *works_here* says whether a provider works in this process; it is needed only if the workflow has open attempts.
    Raises `Unavailable` if this version can't read the stored workflow.
    """

    def __init__(self, loaded: LoadedWorkflow, works_here: Callable[[ProviderType | None], bool] | None = None) -> None:
        if loaded.unreadable is not None:
            raise Unavailable(f"this version can't read the stored workflow: {loaded.unreadable}")
        self.workflow_id: UUID = loaded.state.id
        self.tenant, self.created_by, self.slots = loaded.tenant, loaded.created_by, loaded.slots
        self.origin_instance = loaded.origin_instance
        self.config = read_workflow_config(loaded.config)
        self.pins = self.refusals = self.mapping_work = 0
        self.dequeued = self.lost = self.on_hold = False
        self.attempts: dict[UUID, RunningAttempt] = {}
        self.follow_ups: dict[UUID, RunningAttempt] = {}
        self.timers: dict[int | None, Timer] = {}
        self.park_timer: Timer | None = None
        self.waiting_since: dict[int, float] = {}
        self.evicted, self.quiet = asyncio.Event(), asyncio.Event()
        self._loaded, self._steps = loaded, loaded.steps
        self._lent: dict[int, _LentResult] = {}
        self.earlier: EarlierResults | None = None
        self.earlier_children: Mapping[tuple[str, int | None], Sequence[UUID]] | None = None
        self.evaluates = loaded.evaluates
        self._expressions = WorkflowExpressions(loaded) if loaded.evaluates else None
        self._positions = {step.resolved.step_id: step.resolved.position for step in loaded.steps}
        for task in loaded.open_tasks:
            if task.item_key is not None:
                task.position = unit_position(len(loaded.steps), task.item_key)
        stored = StoredRun(
            loaded.state,
            self.config,
            [step.resolved for step in loaded.steps],
            [step.state for step in loaded.steps],
            open_tasks=loaded.open_tasks,
            sources=[self._sources(step) for step in loaded.steps],
            in_process=[task.position for task in loaded.open_tasks if works_here and works_here(task.provider)],
            items=loaded.items,
            signals=loaded.signals,
            result_bytes=loaded.result_bytes,
            suppress_subtask_events=loaded.suppress_subtask_events,
            tenant=loaded.tenant,
            reuse=loaded.reuse,
            always_run=[step.resolved.position for step in loaded.steps if step.definition.reuse is False],
        )
        self.run = Run(stored)

    def committed_events(self, decision: Decision) -> CommittedEvents:
        """Return the events of *decision* for the bus. The caller publishes them once they are committed."""
        status = decision.workflow.status
        return CommittedEvents(
            self.workflow_id, self.tenant, status, self.origin_instance, decision.events, decision.deliveries
        )

    @property
    def open_evaluations(self) -> Collection[int]:
        """The positions of the steps whose evaluation has no result yet."""
        return () if self.run.conditions is None else self.run.conditions.requested.keys()

    @property
    def execution_id(self) -> UUID | None:
        return self.run.state.execution_id

    @property
    def budget_root(self) -> UUID | None:
        return self._loaded.budget_root

    @property
    def retries_waiting(self) -> int:
        """The number of steps that wait for the time of their next attempt."""
        waits = () if self.run.waits is None else self.run.waits.open
        return sum(position is not None and position not in waits for position in self.timers)

    @property
    def is_resting(self) -> bool:
        """True if it has attempts here, and all of them only wait for time to pass."""
        controls = [attempt.control for attempt in self.attempts.values()]
        return bool(controls) and all(
            control is not None and control.resting and not control.waits_for_memory for control in controls
        )

    @property
    def files(self) -> FileScope:
        return self._loaded.files

    def may_read(self, paths: Collection[str]) -> None:
        """Let the workflow read these files, if it may not read all files of its tenant."""
        if self._loaded.named_files is not None:
            self._loaded.named_files = {*self._loaded.named_files, *paths}

    def snapshot(self) -> LoadedWorkflow:
        """Return copies of the workflow as it is now, including what isn't committed yet."""
        steps = [
            StepRecord(step.id, step.resolved, step.definition, copy_of(step.state), step.created_at)
            for step in self._steps
        ]
        state, tasks, items = copy_of(self.run.state), self.run.open_tasks(), [copy_of(item) for item in self.items]
        config, size = self._loaded.config, self.run.output_budget.result_bytes
        if (budget := self.run.config.budget) is not self.config.budget:
            config = config | {"budget": to_builtins(budget)}
        return structs.replace(
            self._loaded, state=state, config=config, steps=steps, items=items, open_tasks=tasks, result_bytes=size
        )

    def handle_callback(self, task_id: UUID, body: bytes) -> None:
        """Wake the attempt or the follow-up that a provider has called back, if it runs here."""
        attempt = self.attempts.get(task_id) or self.follow_ups.get(task_id)
        if attempt is not None:
            attempt.handle_callback(body)

    def run_number(self, position: int) -> int:
        flow = self.run.units[position].flow
        return 0 if flow is None else flow.run

    def item(self, position: int) -> StepItem:
        unit, for_each = self.run.units[position], self._step(position).definition.for_each
        assert isinstance(unit, ItemState)
        assert for_each is not UNSET
        return StepItem(unit.item_key.item, unit.value, for_each.as_)

    def count_items(self) -> int:
        """Let the workflow count as more active workflows, once it has more items. Return how many more."""
        items, before = self.items, self.slots
        size = sum(len(item.value) for item in items)
        self.slots = max(slots_of(len(self._steps) + len(items), self._loaded.definition_bytes + size), before)
        return self.slots - before

    @property
    def items(self) -> list[ItemState]:
        groups = () if self.run.items is None else self.run.items.groups.values()
        return [item for group in groups for item in group.items]

    def _step(self, position: int) -> StepRecord:
        """Return the step at the position, or the one whose item is there."""
        return self._steps[self.run.resolved_units[position].position]

    def resolved_step(self, position: int) -> ResolvedStep:
        return self.run.resolved_units[position]

    def definition(self, position: int) -> WorkflowStepDefinition:
        """Return the step's definition, without the mappings that its attempt doesn't use.

        These read from steps that had no result when the attempt began, which `run_if` permits. An attempt that
        another process continues uses the same ones.
        """
        steps = self._steps
        step = steps[position] if position < len(steps) else self._step(position)  # hot path: a call costs as much
        if step.resolved.run_if is _ALL_COMPLETED:
            return step.definition
        task, flow = self.run.open_task(position), step.resolved.flow
        if task is None and (flow is None or flow.waits_for is None):
            return step.definition
        used = [each for each in step.definition.input_mappings if self._had_result(each.from_step, task)]
        return structs.replace(step.definition, input_mappings=used)

    def left_out_mappings(self, position: int) -> Sequence[FieldMapping]:
        """Return the mappings that `definition` leaves out."""
        step = self._step(position)
        used = self.definition(position).input_mappings
        return [each for each in step.definition.input_mappings if each not in used]

    def usable_mappings(self, position: int) -> Sequence[FieldMapping]:
        mappings = self._step(position).definition.input_mappings
        return [each for each in mappings if self._had_result(each.from_step, None)]

    def can_be_computed(self, position: int) -> bool:
        """Return whether a step without a provider needs no attempt that begins before it is computed.

        It needs one if another process has begun it, or if `run_if` lets it use those results that are there when its
        attempt begins.
        """
        return not self.run.has_attempt(position) and self.run.resolved_units[position].run_if is _ALL_COMPLETED

    def open_unit(self, step_id: str, item: int | None) -> int | None:
        """Return the position of the unit if it has yet to begin, and to be checked for reuse.

        An item that isn't known yet has the position of its step.
        """
        run, position = self.run, self._positions.get(step_id)
        if position is None:
            return None
        if item is not None:
            of_item = unit_position(len(self._steps), ItemKey(position, item))
            if run.steps[position].status is not StepStatus.PENDING or of_item in run.resolved_units:
                position = of_item
        known = position < len(self._steps) or (run.items is not None and position in run.resolved_units)
        is_open = known and run.units[position].status is StepStatus.PENDING and not run.wants_new_attempt(position)
        return position if is_open else None

    def has_sources(self, position: int) -> bool:
        """Return whether all results that an attempt at the unit reads are there. False for a step with items."""
        if position < len(self._steps) and self._steps[position].definition.for_each is not UNSET:
            return False
        return all(self._had_result(each, None) for each in self._read_steps(position, StepPart.CONFIG))

    def provider(self, position: int) -> ProviderType | None:
        """Return the provider of the next attempt at the step or item; None if it needs none."""
        resolved = self.run.resolved_units[position]
        if resolved.fallback is None:
            return resolved.provider
        return resolved.fallback if self.run.units[position].on_fallback else resolved.provider

    def on_fallback(self, position: int) -> bool:
        return self.run.units[position].on_fallback

    def has_sent(self, position: int) -> bool:
        task = self.run.open_task(position)
        return task is not None and task.sent is not None

    def parse_work(self, position: int, part: StepPart = StepPart.CONFIG) -> int:
        if self._expressions is None:
            return 0
        return self._expressions.parse_work(self.run.resolved_units[position].position, part)

    def expressions(self, position: int, part: StepPart = StepPart.CONFIG) -> StepExpressions | None:
        """Return the expressions in a *part* of the step, and what they read of the workflow and of the item.

        Returns None if it has none.
        """
        if self._expressions is None:
            return None
        unit = self.run.units[position]
        item = unit.value if isinstance(unit, ItemState) else None
        return self._expressions.of(self.run.resolved_units[position].position, self.run.state, part, item)

    def update_labels(self, decision: Decision) -> None:
        """Let the expressions of steps see the labels that *decision* has changed."""
        if self._expressions is not None and decision.labels is not UNSET:
            self._expressions.labels = decision.labels or {}

    def results(self, position: int, part: StepPart = StepPart.CONFIG) -> Mapping[str, bytes]:
        """Return the results that a *part* of the step reads and that are in memory, encoded, by step id."""
        results = {}
        for step_id in self._read_steps(position, part):
            source = self._positions[step_id]
            result = self.run.steps[source].result
            if result is None and (lent := self._lent.get(source)) is not None:
                result = lent.result
            if result is not None:
                results[step_id] = result
        return results

    def stored_results(self, position: int, part: StepPart = StepPart.CONFIG) -> list[int]:
        stored = list[int]()
        for step_id in self._read_steps(position, part):
            source = self._positions[step_id]
            step = self.run.steps[source]
            if step.result is None and self.run.results_in_memory.is_stored_only(step) and source not in stored:
                stored.append(source)
        return stored

    def max_result_bytes(self, positions: Sequence[int]) -> int:
        with_items = sum(self._steps[position].definition.for_each is not UNSET for position in positions)
        return with_items * MAX_MAPPED_BYTES + (len(positions) - with_items) * MAX_RESULT_BYTES

    @contextmanager
    def lend_results(self, results: Mapping[int, bytes]) -> Iterator[None]:
        """Let `results` find these stored results, by position, within the context."""
        for position, result in results.items():
            self._lent.setdefault(position, _LentResult(result)).borrowers += 1
        try:
            yield
        finally:
            for position in results:
                self._lent[position].borrowers -= 1
                if not self._lent[position].borrowers:
                    del self._lent[position]

    def _had_result(self, step_id: str, task: Task | None) -> bool:
        """Return whether the step was COMPLETED when the attempt *task* began; None stands for now."""
        source = self.run.steps[self._positions[step_id]]
        if source.status is not StepStatus.COMPLETED or task is None:
            return source.status is StepStatus.COMPLETED
        began = task.started_at
        return source.completed_at is not None and began is not None and source.completed_at <= began

    def _read_steps(self, position: int, part: StepPart) -> Sequence[str]:
        """Return the ids of the steps whose results a *part* of the step reads."""
        named = () if self._expressions is None else self._named_steps(position, part)
        match part:
            case StepPart.CONFIG:
                return [*(mapping.from_step for mapping in self.definition(position).input_mappings), *named]
            case StepPart.CONDITION:
                return named
            case StepPart.ITEMS:
                for_each = self._step(position).definition.for_each
                mapped = [] if for_each is UNSET else item_mappings(for_each)
                return [*(mapping.from_step for mapping in mapped), *named]

    def _named_steps(self, position: int, part: StepPart) -> Sequence[str]:
        """Return the ids of the steps whose results the expressions in a *part* of the step read."""
        assert self._expressions is not None
        resolved = self.run.resolved_units[position]
        named = self._expressions.read_steps(resolved.position, part)
        if part is StepPart.CONFIG and resolved.run_if is not RunIf.ALL_COMPLETED:
            task = self.run.open_task(position)
            return [each for each in named if task is None or self._had_result(each, task)]
        return named

    def _sources(self, step: StepRecord) -> tuple[int, ...]:
        """Return the positions that the step reads: a superset if it has expressions, which are parsed only later."""
        definition = step.definition
        sources = {self._positions[mapping.from_step] for mapping in definition.input_mappings}
        evaluates = definition.when is not UNSET
        if definition.for_each is not UNSET:
            sources.update(self._positions[mapping.from_step] for mapping in item_mappings(definition.for_each))
            evaluates = evaluates or bool(item_texts(definition.for_each))
        if self._expressions is None:
            return tuple(sources)
        if evaluates or has_text(evaluated_config(definition.task_type, definition.config), OPENING):
            sources.update(step.resolved.depends_on)
        return tuple(sources)
