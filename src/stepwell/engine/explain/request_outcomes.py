"""The outcomes of other processes' requests about a workflow that this process runs."""

from uuid import UUID

from msgspec import Raw

from stepwell.basics.tenancy import TenantScope
from stepwell.engine.explain.dry_run import DryRunner
from stepwell.engine.explain.explainer import Explainer
from stepwell.engine.explain.owner_requests import encode_dry_run, encode_explanation
from stepwell.lifecycle.peer_commands import ExplainRequest, OwnerRequest
from stepwell.lifecycle.preconditions import Preconditions


async def outcome_of_request(
    explainer: Explainer,
    dry_runner: DryRunner,
    scope: TenantScope,
    workflow_id: UUID,
    request: OwnerRequest,
    preconditions: Preconditions,
) -> Raw:
    """Return the outcome as JSON. Raises a `StepwellError` that refuses the request."""
    if isinstance(request, ExplainRequest):
        return encode_explanation(await explainer.explain(scope, workflow_id))
    version, result = await dry_runner.run(
        scope, workflow_id, request.verb, preconditions, cleanup_tasks=request.cleanup_tasks, by_hand=request.by_hand
    )
    return encode_dry_run(version, result)
