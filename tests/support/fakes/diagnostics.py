"""What the fake service answers to questions that change nothing."""
# ruff: noqa: ARG002 - it keeps to the signatures

from uuid import UUID

from stepwell.contract.costs import Money
from stepwell.contract.dry_run_result import DryRun, Rehearsed
from stepwell.contract.enums import StepStatus, WorkflowStatus
from stepwell.contract.plan_result import PlannedPrice, WorkflowPlan
from stepwell.contract.reasons import ExplainedStep, Explanation, NotStarted
from stepwell.domain.idempotency import NO_TERMS, Preconditions, Version
from stepwell.domain.tenancy import TenantScope
from stepwell.domain.validation.workflow import ValidatedWorkflow


class FakeInsight:
    """One step waits, one would run."""

    async def explain(self, scope: TenantScope, workflow_id: UUID) -> Explanation:
        reason = NotStarted(detail="The workflow was never started.")
        step = ExplainedStep("a", StepStatus.PENDING, reason)
        return Explanation(workflow_id, WorkflowStatus.PENDING, reason, [step])

    async def plan(self, scope: TenantScope, planned: ValidatedWorkflow) -> WorkflowPlan:
        return WorkflowPlan([["a"]], ["a"], "steps", None, [], PlannedPrice([Money(0.5, "USD")], 0, Money(1.0, "USD")))

    async def rehearse(
        self,
        scope: TenantScope,
        workflow_id: UUID,
        verb: Rehearsed,
        terms: Preconditions = NO_TERMS,
        *,
        cleanup_tasks: bool = False,
    ) -> tuple[Version, DryRun]:
        told = DryRun(verb=verb, status_now=WorkflowStatus.PENDING, status_after=WorkflowStatus.RUNNING)
        return Version(1, 1), told
