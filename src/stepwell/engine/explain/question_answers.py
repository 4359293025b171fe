"""The answers to questions of other processes about a workflow that this process runs."""

from uuid import UUID

from msgspec import Raw

from stepwell.basics.tenancy import TenantScope
from stepwell.engine.explain.dry_run import DryRunner
from stepwell.engine.explain.explainer import Explainer
from stepwell.engine.explain.owner_questions import encode_dry_run, encode_explanation
from stepwell.lifecycle.peer_commands import ExplainQuestion, Question
from stepwell.lifecycle.preconditions import Preconditions


async def answer_question(
    explainer: Explainer,
    dry_runner: DryRunner,
    scope: TenantScope,
    workflow_id: UUID,
    question: Question,
    preconditions: Preconditions,
) -> Raw:
    """Return the answer as JSON. Raises a `StepwellError` that refuses it."""
    if isinstance(question, ExplainQuestion):
        return encode_explanation(await explainer.explain(scope, workflow_id))
    version, result = await dry_runner.run(
        scope, workflow_id, question.verb, preconditions, cleanup_tasks=question.cleanup_tasks
    )
    return encode_dry_run(version, result)
