"""The diagnostics that the API offers. None of them changes anything."""

from uuid import UUID

from msgspec import Raw

from stepwell.basics.tenancy import TenantScope
from stepwell.contract.forecasts import DryRun, DryRunVerb, WorkflowPlan
from stepwell.contract.reasons import Explanation
from stepwell.definition.validation.workflow import ValidatedWorkflow
from stepwell.engine.explain.dry_run import DryRunner
from stepwell.engine.explain.explainer import Explainer
from stepwell.engine.explain.owner_questions import encode_dry_run, encode_explanation
from stepwell.engine.explain.planner import Planner
from stepwell.lifecycle.peer_commands import ExplainQuestion, Question
from stepwell.lifecycle.preconditions import NO_PRECONDITIONS, Preconditions, Version


class Diagnostics:
    """Explains workflows, plans definitions, and runs verbs dry. *scope* limits each call to the caller's tenants."""

    def __init__(self, explainer: Explainer, planner: Planner, dry_runner: DryRunner) -> None:
        self._explainer, self._planner, self._dry_runner = explainer, planner, dry_runner

    async def explain(self, scope: TenantScope, workflow_id: UUID) -> Explanation:
        """Return the reason why each step that has not ended isn't moving. Raises as `Explainer.explain` does."""
        return await self._explainer.explain(scope, workflow_id)

    async def plan(self, scope: TenantScope, validated: ValidatedWorkflow) -> WorkflowPlan:
        """Return what running a definition would involve: its order, calls, durations and prices."""
        return await self._planner.plan(scope, validated)

    async def dry_run(
        self,
        scope: TenantScope,
        workflow_id: UUID,
        verb: DryRunVerb,
        preconditions: Preconditions = NO_PRECONDITIONS,
        *,
        cleanup_tasks: bool = False,
    ) -> tuple[Version, DryRun | Raw]:
        """Return what *verb* would do, and the version that this is about. See `DryRunner.run`."""
        return await self._dry_runner.run(scope, workflow_id, verb, preconditions, cleanup_tasks=cleanup_tasks)

    async def answer(
        self, scope: TenantScope, workflow_id: UUID, question: Question, preconditions: Preconditions
    ) -> Raw:
        """Return the answer to the question of another process about a workflow that this one runs."""
        if isinstance(question, ExplainQuestion):
            return encode_explanation(await self.explain(scope, workflow_id))
        version, result = await self.dry_run(
            scope, workflow_id, question.verb, preconditions, cleanup_tasks=question.cleanup_tasks
        )
        return encode_dry_run(version, result)
