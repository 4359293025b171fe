"""The sub-workflows in a dry run: what becomes of those that exist, and of those that would be created.

What must hold:
- A sub-workflow is read from its rows as they are committed, whichever process runs it. Nothing changes.
- One dry run has at most `_MAX_WORKFLOWS` sub-workflows with at most `_MAX_UNITS` steps and items together, and takes
  at most `_MAX_SECONDS` seconds for them. The result counts those that it leaves out.
- At most `_AT_ONCE` sub-workflows are read or built at once, and one for each tenant that owns them.
- Sub-workflows belong to the tenant of their parent, and are read within its scope, also for a caller who may see all
  tenants.
"""

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final
from uuid import UUID

from msgspec import Struct, field, structs

from stepwell.basics.errors import InvalidRequest, InvalidTransition
from stepwell.basics.strict_json.normalise import Handling
from stepwell.basics.tenancy import TenantScope
from stepwell.contract.enums import WorkflowStatus
from stepwell.contract.forecasts import ControlVerb, DryRun, KeptFile, SubWorkflowDryRun
from stepwell.definition.named_definitions import stored_request
from stepwell.definition.validation.provider_rules import ProviderCatalog
from stepwell.definition.validation.sub_workflow_rules import with_origin
from stepwell.definition.validation.workflow import validate_workflow
from stepwell.engine.execution.new_workflow import Creation, build_workflow, loaded_of
from stepwell.engine.execution.runnable_definitions import definition_of_step
from stepwell.engine.explain.verb_forecast import ExistingChild, NewChild, VerbForecast, forecast_verb, input_of
from stepwell.engine.files.task_files import TaskFiles
from stepwell.lifecycle.inputs import SERVICE, GiveUp
from stepwell.lifecycle.peer_commands import ClientVerb
from stepwell.lifecycle.records import LoadedWorkflow
from stepwell.ports.clock import Clock, NewId
from stepwell.ports.storage import WorkflowReader, WorkflowStore
from stepwell.runtime.fair_turns import FairTurns
from stepwell.runtime.offloop import off_loop, off_loop_if_large

_MAX_WORKFLOWS: Final = 200
_MAX_UNITS: Final = 10_000
_MAX_SECONDS: Final = 5.0
_AT_ONCE: Final = 4
_REFUSED: Final = DryRun(
    verb="start", allowed=False, status_now=WorkflowStatus.PENDING, status_after=WorkflowStatus.PENDING
)


class _Budget(Struct):
    """The sub-workflows, and their steps and items, that one dry run may still read, and the time at which it stops."""

    until: float
    workflows: int = _MAX_WORKFLOWS
    units: int = _MAX_UNITS

    @property
    def is_used_up(self) -> bool:
        return self.workflows <= 0 or self.units <= 0 or asyncio.get_running_loop().time() >= self.until

    def take(self, units: int) -> None:
        self.workflows -= 1
        self.units -= units


class NestedDryRuns(Struct, eq=False):
    """Adds the sub-workflows to dry runs, at any depth."""

    _reader: WorkflowReader
    _store: WorkflowStore
    _task_files: TaskFiles
    _catalog: ProviderCatalog
    _clock: Clock
    _owner: UUID
    _new_id: NewId
    _turns: FairTurns = field(default_factory=lambda: FairTurns(_AT_ONCE, 1))

    async def add(
        self, scope: TenantScope, root_id: UUID, forecast: VerbForecast, budget: _Budget | None = None
    ) -> DryRun:
        """Return the forecast with its sub-workflows. *root_id* is the run at the top."""
        if not (forecast.existing or forecast.new):
            return forecast.result
        budget, children, left_out = budget or _new_budget(), list[SubWorkflowDryRun](), 0
        statuses = await self._store.statuses(scope, [child.id for child in forecast.existing])
        for child in forecast.existing:
            if statuses.get(child.id) not in child.statuses:
                continue
            if budget.is_used_up:
                left_out += 1
            elif (below := await self._of_existing(scope, child, budget)) is not None:
                whole = await self.add(scope, root_id, below, budget)
                children.append(SubWorkflowDryRun(child.step_id, child.item, child.id, whole))
        for new in forecast.new:
            if budget.is_used_up:
                left_out += 1
            else:
                below = await self._of_new(scope, root_id, new, budget)
                whole = await self.add(scope, root_id, below, budget)
                children.append(SubWorkflowDryRun(new.step_id, None, None, whole))
        return _with_children(forecast.result, children, left_out)

    async def with_files(
        self, scope: TenantScope, workflow_id: UUID, result: DryRun, budget: _Budget | None = None
    ) -> DryRun:
        """Add what a cleanup would delete, and what it would keep: of the workflow and of its sub-workflows."""
        budget, runs = budget or _new_budget(), list[SubWorkflowDryRun]()
        result = await self._with_own_files(scope, workflow_id, result)
        children = await self._reader.children(scope, workflow_id, _MAX_WORKFLOWS)
        for read, child in enumerate(children.first):
            if budget.is_used_up:
                return _with_children(result, runs, children.total - read)
            existing = ExistingChild(child.step_id, child.item, child.id, "cleanup", frozenset([child.status]))
            if (below := await self._of_existing(scope, existing, budget)) is not None:
                whole = await self.with_files(scope, child.id, below.result, budget)
                runs.append(SubWorkflowDryRun(child.step_id, child.item, child.id, whole))
        return _with_children(result, runs, children.total - len(children.first))

    async def _of_existing(self, scope: TenantScope, child: ExistingChild, budget: _Budget) -> VerbForecast | None:
        """Return what becomes of a sub-workflow that exists; None if nothing, because it has changed meanwhile."""
        async with self._turns.turn(scope.account):
            loaded = await self._store.load(scope, child.id)
            if loaded is None or loaded.state.status not in child.statuses or not loaded.is_understood:
                return None
            budget.take(loaded.unit_count)
            inputs, now = self._inputs(child.verb, loaded.state.status), self._clock.now()
            try:
                return await off_loop(partial(forecast_verb, child.verb, loaded, inputs, now), steps=loaded.unit_count)
            except InvalidTransition:
                return None

    async def _of_new(self, scope: TenantScope, root_id: UUID, child: NewChild, budget: _Budget) -> VerbForecast:
        """Return what a new sub-workflow would do. The inputs that its step gives aren't known."""
        async with self._turns.turn(scope.account):
            await asyncio.sleep(0)  # many that are small would otherwise be built in one pass of the loop
            try:
                definition, _ = await definition_of_step(self._reader, scope, root_id, child.config)
                loaded = await off_loop_if_large(self._build, definition)
            except InvalidRequest:
                budget.take(1)
                return VerbForecast(_REFUSED)
            budget.take(loaded.unit_count)
            start = self._inputs("start", loaded.state.status)
            apply = partial(forecast_verb, "start", loaded, start, self._clock.now())
            return await off_loop(apply, steps=loaded.unit_count)

    def _build(self, definition: Mapping[str, Any]) -> LoadedWorkflow:
        """Return a new sub-workflow. Raises `InvalidRequest`."""
        # Names of inputs aren't checked here, because the step may give more of them.
        planned = validate_workflow(with_origin(definition), self._catalog, handling=Handling.LENIENT)
        planned = structs.replace(planned, request=stored_request(planned.request))
        now = self._clock.now()
        creation = Creation(self._new_id(now), None, SERVICE, SERVICE, now)
        bundle = build_workflow(planned, creation, None, self._new_id)
        return loaded_of(bundle.new.record, planned)

    def _inputs(self, verb: ControlVerb, status: WorkflowStatus) -> Sequence[ClientVerb]:
        """Return what a sub-workflow with this status gets if the *verb* is applied to its parent."""
        give_up = GiveUp("the workflow that runs this one was cancelled", cancels=True)
        if verb == "cancel":
            return [give_up]
        own = input_of(verb, SERVICE, self._new_id(self._clock.now()), self._owner, cleanup_tasks=True)
        must_end = verb == "cleanup" and status in (WorkflowStatus.RUNNING, WorkflowStatus.PAUSED)
        return [give_up, own] if must_end else [own]

    async def _with_own_files(self, scope: TenantScope, workflow_id: UUID, result: DryRun) -> DryRun:
        """Add the files that cleanup would delete, and those that it would keep."""
        to_delete: list[str] = []
        kept: list[KeptFile] = []
        selected = await self._task_files.select(scope, workflow_id)
        for task in selected:
            paths = [output.path for output in task.record.task.outputs]
            if task.referenced_by is None:
                to_delete += paths
            else:
                kept += [KeptFile(path, task.referenced_by) for path in paths]
        return structs.replace(result, files_to_delete=to_delete, files_kept=kept, tasks=len(selected))


def _new_budget() -> _Budget:
    return _Budget(asyncio.get_running_loop().time() + _MAX_SECONDS)


def _with_children(result: DryRun, children: Sequence[SubWorkflowDryRun], left_out: int) -> DryRun:
    return structs.replace(result, sub_workflows=children, sub_workflows_left_out=left_out)
