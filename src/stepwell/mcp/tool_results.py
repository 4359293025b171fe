"""The results of the tools: what an assistant needs of the API's responses, of bounded length."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

from msgspec import UNSET, Struct, convert, json
from msgspec.structs import replace

from stepwell.contract.definition import DefinitionReference
from stepwell.contract.enums import CostKey, SkipReason, StepStatus, WaitsFor, WorkflowStatus
from stepwell.contract.fields import about
from stepwell.contract.files import ArtifactPublic
from stepwell.contract.forecasts import DryRun, PlannedBudget, PlannedPrice, PlannedStep, WorkflowPlan
from stepwell.contract.problems import DefinitionWarning
from stepwell.contract.providers import ProviderStatus
from stepwell.contract.reasons import ExplainedStep, Explanation
from stepwell.contract.tasks import CostGroup, CostSums, WorkflowBudget
from stepwell.contract.workflows import (
    AncestorStep,
    ItemCounts,
    ItemPublic,
    OpenDecision,
    ShownFile,
    WorkflowCleanupDetail,
    WorkflowPublic,
    WorkflowStepPublic,
)
from stepwell.mcp.shortening import shorten_object, shorten_text

MAX_STEPS: Final = 100
_MAX_ERRORS = 20
_ERROR_CHARACTERS = 500
_OBJECTS_BYTES = 24 * 1024  # of the objects of any content in one result together
_LEAST_OBJECT_BYTES = 300


class Result(Struct, kw_only=True):
    """The result of a tool. `shortened` is set if something was left out."""

    shortened: Annotated[bool, about("Something was left out, because it is too long")] = False


class WorkflowSummary(Struct, kw_only=True):
    id: UUID
    name: str
    definition: Annotated[DefinitionReference | None, about("The stored definition that it runs")]
    status: WorkflowStatus
    progress: Annotated[float, about("Percent of the steps that are done")]
    total_steps: int
    completed_steps: int
    waits_for: Annotated[WaitsFor, about("For what a step of it, or of its sub-workflows, waits")] | None
    created_at: datetime
    completed_at: datetime | None
    error_message: str | None
    labels: dict[str, str]
    is_deleted: bool


class StepStatusSummary(Struct, kw_only=True):
    """A step. `reason` says why it doesn't progress, if it has not ended. `optional`: its failure doesn't stop the
    workflow. `skip_reason` says why it is SKIPPED.
    """

    step_id: str
    task_type: str
    status: StepStatus
    provider: str | None
    retry_count: int
    error_message: str | None
    optional: bool = False
    items: ItemCounts | None = None
    skip_reason: SkipReason | None = None
    reason: str | None = None


class WorkflowStatusResult(Result, kw_only=True):
    """A workflow with its steps, and why it doesn't progress. `next` says what to do now."""

    workflow: WorkflowSummary
    steps: Annotated[list[StepStatusSummary], about(f"The first {MAX_STEPS} at most")]
    errors: list[str]
    reason: Annotated[str, about("Why the whole workflow doesn't progress")] | None = None
    cost: CostSums | None = None
    budget: Annotated[WorkflowBudget, about("What it has spent of its budget, while it hasn't ended")] | None = None
    warnings: list[DefinitionWarning] = []
    next: str


class ItemSummary(Struct, kw_only=True):
    """An item of a step. `value` is JSON as a text. `result` is null unless it is COMPLETED."""

    item: Annotated[int, about("Its number, from 0")]
    value: str
    status: StepStatus
    result: dict[str, Any] | None
    error_message: str | None
    retry_count: int


class DecisionSummary(Struct, kw_only=True):
    """A step that waits for a decision. `inputs` are shown to those who decide, and `files` are the files in them.

    `ancestors` are the steps above its workflow, with the values of their items.
    """

    workflow_id: UUID
    workflow_name: str
    ancestors: list[AncestorStep]
    step_id: str
    message: str | None
    choices: list[str]
    since: datetime
    until: Annotated[datetime, about("It is decided then without anybody; null without a limit")] | None
    inputs: dict[str, Any] | None
    files: list[ShownFile]


class DecisionsResult(Result, kw_only=True):
    """Steps that wait for decisions, the longest waiting first. `shortened`: there are more."""

    decisions: list[DecisionSummary]


class WaitEndedResult(Result, kw_only=True):
    """A step after a decision or a signal. `result` is null unless it is COMPLETED."""

    step_id: str
    status: StepStatus
    result: dict[str, Any] | None
    error_message: str | None


class StepEndedResult(Result, kw_only=True):
    """A step or an item that was ended by hand, or the forecast of that. Nothing starts before resume_workflow."""

    dry_run: bool
    step_id: str
    item: int | None = None
    status: StepStatus | None = None
    forecast: DryRun | None = None


class ItemsResult(Result, kw_only=True):
    """Items of a step, in their order. Long values and results are shortened."""

    items: list[ItemSummary]
    total: Annotated[int, about("The number of all that match")]


class WorkflowListResult(Result, kw_only=True):
    workflows: list[WorkflowSummary]
    total: Annotated[int, about("The number of all that match")] | None


class PlanResult(Result, kw_only=True):
    """A forecast of a run. `layers` lists the steps that can run at the same time."""

    total_steps: int
    layers: list[list[str]]
    steps: Annotated[list[PlannedStep], about(f"The first {MAX_STEPS} at most")]
    price: PlannedPrice
    budget: Annotated[PlannedBudget, about("Null if the definition has no budget")] | None
    expected_s: Annotated[float, about("The seconds of the longest chain of steps")] | None
    warnings: list[DefinitionWarning]
    gone: Annotated[list[str], about("Files of the earlier run that are missing, so that steps run")] = []


class RerunResult(Result, kw_only=True):
    """The new workflow, or with `dry_run` its plan, which says for each step whether its result is taken over."""

    plan: PlanResult | None = None
    workflow: WorkflowStatusResult | None = None


class VerbResult(Result, kw_only=True):
    """The workflow after a verb, or with `dry_run` what the verb would do. `next` says what to do now."""

    dry_run: bool
    workflow: WorkflowSummary | None = None
    forecast: DryRun | None = None
    cleanup: WorkflowCleanupDetail | None = None
    next: str


class OutputFile(Struct, kw_only=True):
    """A file of a step. `url` works without a token until `expires_at`. `path` is what a `*_url` input accepts."""

    step_path: Annotated[str, about("The steps and items that lead to it, like each/0/large")]
    final: Annotated[bool, about("Whether it belongs to the final result")]
    path: str
    size: int
    media_type: str
    url: str
    expires_at: datetime
    shown: Annotated[bool, about("Its preview is among the images of this result")] = False


class StepResult(Struct, kw_only=True):
    step_id: str
    result: dict[str, Any] | None


class OutputsResult(Result, kw_only=True):
    """The files of a workflow, its items and its sub-workflows, and the results of its COMPLETED steps."""

    status: WorkflowStatus
    total_files: int
    files: list[OutputFile]
    results: list[StepResult]


class UploadResult(Result, kw_only=True):
    file: ArtifactPublic
    next: str


class ProvidersResult(Result, kw_only=True):
    providers: list[ProviderStatus]


class CostTotal(Struct, kw_only=True):
    """A sum of costs, and what reuse saved. `amount` and `saved` are exact decimal numbers."""

    keys: Annotated[dict[str, str | None], about("The values of the properties that `by` names")]
    currency: str
    amount: str
    attempts: int
    saved: str


class CostsResult(Result, kw_only=True):
    costs: list[CostTotal]


def summarise(workflow: WorkflowPublic) -> WorkflowSummary:
    summary = convert(workflow, WorkflowSummary, from_attributes=True)
    return replace(summary, error_message=_cut_error(summary.error_message))


def status_result(
    workflow: WorkflowPublic, explanation: Explanation | None, next_: str, warnings: Sequence[DefinitionWarning] = ()
) -> WorkflowStatusResult:
    steps = [] if workflow.steps is UNSET else workflow.steps
    reasons = {} if explanation is None else {each.step_id: each for each in explanation.steps}
    return WorkflowStatusResult(
        workflow=summarise(workflow),
        steps=[_step_summary(step, reasons.get(step.step_id)) for step in steps[:MAX_STEPS]],
        errors=[shorten_text(error, _ERROR_CHARACTERS) for error in workflow.errors[:_MAX_ERRORS]],
        reason=None if explanation is None or explanation.reason is None else explanation.reason.detail,
        cost=workflow.cost,
        budget=None if explanation is None else explanation.budget,
        warnings=list(warnings),
        next=next_,
        shortened=len(steps) < workflow.total_steps or len(steps) > MAX_STEPS or len(workflow.errors) > _MAX_ERRORS,
    )


def plan_result(plan: WorkflowPlan) -> PlanResult:
    """Return *plan* with the first steps."""
    first_steps = plan.steps[:MAX_STEPS]
    most = _object_bytes(len(first_steps))
    return PlanResult(
        total_steps=len(plan.steps),
        layers=[list(layer[:MAX_STEPS]) for layer in plan.layers[:MAX_STEPS]],
        steps=[_with_short_config(step, most) for step in first_steps],
        price=plan.price,
        budget=plan.budget,
        expected_s=plan.critical_path_s,
        warnings=list(plan.warnings[:_MAX_ERRORS]),
        gone=list(plan.gone[:_MAX_ERRORS]),
        shortened=len(plan.steps) > len(first_steps),
    )


def step_results(steps: Sequence[WorkflowStepPublic]) -> list[StepResult]:
    """Return the results of *steps*, each with the beginning of its JSON if that is long."""
    most = _object_bytes(len(steps))
    return [StepResult(step_id=step.step_id, result=_short_result(step, most)) for step in steps]


def cost_total(group: CostGroup) -> CostTotal:
    values = {key.value: getattr(group, key) for key in CostKey}
    keys = {name: None if value is None else str(value) for name, value in values.items() if value is not UNSET}
    amount, saved = str(group.amount), str(group.saved)
    return CostTotal(keys=keys, currency=group.currency, amount=amount, attempts=group.attempts, saved=saved)


def _step_summary(step: WorkflowStepPublic, explained: ExplainedStep | None) -> StepStatusSummary:
    summary = convert(step, StepStatusSummary, from_attributes=True)
    detail = None
    if explained is not None:
        below = (
            f" Step '{each.step_id}' of workflow {each.workflow_id}: {each.reason.detail}" for each in explained.below
        )
        detail = explained.reason.detail + "".join(below)
    return replace(summary, error_message=_cut_error(summary.error_message), reason=detail)


def decision_summary(decision: OpenDecision, most: int) -> DecisionSummary:
    """Return a decision, whose inputs have at most *most* bytes."""
    summary = convert(decision, DecisionSummary, from_attributes=True)
    return replace(summary, inputs=shorten_object(summary.inputs, most))


def item_summary(item: ItemPublic, most: int) -> ItemSummary:
    """Return the item with a value and a result of at most about *most* bytes each."""
    result: Any = item.result
    return ItemSummary(
        item=item.item,
        value=shorten_text(json.encode(item.value).decode(), most),
        status=item.status,
        result=shorten_object(result, most) if isinstance(result, dict) else None,
        error_message=_cut_error(item.error_message),
        retry_count=item.retry_count,
    )


def _short_result(step: WorkflowStepPublic, most: int) -> dict[str, Any] | None:
    result: Any = step.result  # the client has decoded it
    return shorten_object(result, most) if isinstance(result, dict) else None


def _with_short_config(step: PlannedStep, most: int) -> PlannedStep:
    return replace(step, config=shorten_object(step.config, most) or {})


def _object_bytes(count: int) -> int:
    """Return the most bytes of each of *count* objects of any content."""
    return max(_LEAST_OBJECT_BYTES, _OBJECTS_BYTES // max(count, 1))


def _cut_error(text: str | None) -> str | None:
    return None if text is None else shorten_text(text, _ERROR_CHARACTERS)
