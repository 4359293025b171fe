"""Dry runs: what a verb would do, computed by the verb's own code on a copy of the workflow.

What must hold:
- Nothing changes: no row, no event, no lease, no file, and nothing in memory. The verb is applied to a copy of the run.
- A dry run raises what the verb would raise, like `InvalidTransition` and `NotFound`.
- If another live process runs the workflow, that process makes the dry run.
- The version of the outcome is that of the workflow. Its sub-workflows may change meanwhile.
"""

from functools import partial
from uuid import UUID

from msgspec import Raw, Struct

from stepwell.basics.errors import NotFound, Unavailable
from stepwell.basics.tenancy import TenantScope
from stepwell.contract.forecasts import DryRun, DryRunVerb
from stepwell.engine.execution.ownership import NEEDS_NEWER_VERSION
from stepwell.engine.execution.scheduler import Scheduler
from stepwell.engine.execution.workflow_access import RunsElsewhere
from stepwell.engine.explain.explainer import Explainer
from stepwell.engine.explain.nested_dry_runs import NestedDryRuns
from stepwell.engine.explain.owner_requests import OwnerRequests, encode_dry_run, encode_explanation
from stepwell.engine.explain.verb_forecast import forecast_verb, input_of
from stepwell.lifecycle.inputs import SERVICE, EndByHand
from stepwell.lifecycle.peer_commands import ClientVerb, DryRunRequest, ExplainRequest, OwnerRequest
from stepwell.lifecycle.preconditions import NO_PRECONDITIONS, Preconditions, Version
from stepwell.lifecycle.records import LoadedWorkflow
from stepwell.ports.clock import Clock, NewId
from stepwell.ports.storage import WorkflowReader, WorkflowStore
from stepwell.runtime.offloop import off_loop


class DryRunner(Struct, eq=False, kw_only=True):
    """Computes what verbs would do, without doing it. *owner* is the id of this process."""

    store: WorkflowReader
    workflow_store: WorkflowStore
    scheduler: Scheduler
    nested: NestedDryRuns
    clock: Clock
    owner: UUID
    new_id: NewId
    owner_requests: OwnerRequests

    async def run(
        self,
        scope: TenantScope,
        workflow_id: UUID,
        verb: DryRunVerb,
        preconditions: Preconditions = NO_PRECONDITIONS,
        *,
        cleanup_tasks: bool = False,
        by_hand: EndByHand | None = None,
    ) -> tuple[Version, DryRun | Raw]:
        """Return what *verb* would do to the workflow, and the version of the workflow that this is about.

        The result of another process is JSON. *cleanup_tasks* is the parameter of cleanup, and *by_hand* the input of a
        verb that ends a step by hand. Raises `PreconditionFailed` if *preconditions* don't hold.
        """
        try:
            loaded = await self._copy(scope, workflow_id)
        except RunsElsewhere:
            request = DryRunRequest(verb, cleanup_tasks, by_hand)
            outcome = await self.owner_requests.dry_run(scope, workflow_id, request, preconditions)
            if outcome is not None:
                return outcome.version, outcome.result
            loaded = await self._copy(scope, workflow_id)
        preconditions.check(loaded.state)
        version = Version.of(loaded.state.last_event, loaded.state.updated_at)
        now = self.clock.now()
        verb_input: ClientVerb
        match verb:
            case "give_result" | "skip":
                assert by_hand is not None
                verb_input = by_hand
            case _:
                verb_input = input_of(verb, SERVICE, self.new_id(now), self.owner, cleanup_tasks=cleanup_tasks)
        apply = partial(forecast_verb, verb, loaded, [verb_input], now)
        forecast = await off_loop(apply, steps=loaded.unit_count)
        owner = TenantScope(loaded.tenant)
        if verb == "cleanup" and cleanup_tasks:
            return version, await self.nested.with_files(owner, workflow_id, forecast.result)
        root_id = workflow_id if loaded.parent is None else loaded.parent.root_id
        return version, await self.nested.add(owner, root_id, forecast)

    async def _copy(self, scope: TenantScope, workflow_id: UUID) -> LoadedWorkflow:
        """Return a copy of the workflow, from memory if it is there. Raises as `run` does."""
        workflow = self.scheduler.workflows.get(workflow_id)
        if workflow is not None:
            if not scope.covers(workflow.tenant, workflow.created_by):
                raise NotFound("workflow")
            return workflow.snapshot()
        loaded = await self.workflow_store.load(scope, workflow_id)
        if loaded is None:
            raise NotFound("workflow")
        if loaded.state.owner not in (None, self.owner):
            ownership = await self.store.ownership(scope, workflow_id)
            if ownership is not None and ownership.alive:
                raise RunsElsewhere
        if not loaded.is_understood:
            raise Unavailable(NEEDS_NEWER_VERSION, 5)
        return loaded


async def outcome_of_request(
    explainer: Explainer,
    dry_runner: DryRunner,
    scope: TenantScope,
    workflow_id: UUID,
    request: OwnerRequest,
    preconditions: Preconditions,
) -> Raw:
    """Return the outcome of another process's request, as JSON. Raises a `StepwellError` that refuses the request."""
    if isinstance(request, ExplainRequest):
        return encode_explanation(await explainer.explain(scope, workflow_id))
    version, result = await dry_runner.run(
        scope, workflow_id, request.verb, preconditions, cleanup_tasks=request.cleanup_tasks, by_hand=request.by_hand
    )
    return encode_dry_run(version, result)
