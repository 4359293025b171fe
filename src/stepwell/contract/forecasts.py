"""Forecasts: the response of `POST /api/v1/workflows/plan`, and those of verbs with `dry_run=true`."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeAlias
from uuid import UUID

from msgspec import Struct

from stepwell.contract.definition import Repeat
from stepwell.contract.enums import ProviderType, RunIf, TaskType, WorkflowStatus
from stepwell.contract.fields import about
from stepwell.contract.problems import DefinitionWarning
from stepwell.contract.tasks import Money


class PlannedFallback(Struct, frozen=True):
    """The provider that is used once the attempts at the first one are used up. `price` is the price of one attempt."""

    provider: ProviderType
    model: str | None
    attempts: int
    price: Money | None


class PlannedCount(Struct, frozen=True):
    """A number that only the run knows. Of the steps that run if none fails, `least` are those without a condition.
    The number of items is known if the definition or its inputs have them. If they are a part of such a list, or of the
    items or pictures of another step, that list is the most. Otherwise it is 0 to 1,000.
    """

    least: int
    most: int


class PlannedPrice(Struct, frozen=True):
    """The price of the workflow. `known` is the sum of one attempt at each step whose price is known, at each of its
    items, and at each run of what repeats. `known_least` is without the steps that conditions may skip, with the
    fewest items, and with one run of each step or item. `unknown_steps` counts the steps whose price, or whose
    fallback's price, isn't known. `worst_case` is the price if every step runs, and every attempt is made and paid for,
    fallbacks included; null if a price isn't known, or if there are several currencies. `worst` has that sum of the
    known prices in each currency. `attempts` counts the attempts of the worst case that aren't at LOCAL. The steps of
    sub-workflows count in all of these. Where only the run knows the numbers of items, there are at most 10,000 in a
    workflow.
    """

    known_least: Sequence[Money]
    known: Sequence[Money]
    unknown_steps: int
    worst_case: Money | None
    worst: Sequence[Money] = ()
    attempts: int = 0


class PlannedBudget(Struct, frozen=True):
    """Whether the worst case fits into the budget of the definition. Unknown prices count as 0; `unknown_steps` counts
    the steps that have one.
    """

    fits: bool
    worst_case: Sequence[Money]
    attempts: int
    unknown_steps: int


StepForecast: TypeAlias = Literal["reused", "runs", "depends", "skipped"]


class ForecastItems(Struct, frozen=True):
    """The numbers of items of a step whose results would be taken over, and of those that would run."""

    reused: int
    runs: int


class PlannedStep(Struct, frozen=True, kw_only=True):
    """A step as it would run. `model` is the model that limits and prices apply to; null for PASSTHROUGH, and if it
    depends on inputs that aren't known yet. `config` is what the provider would get: the step's config over the
    workflow's `step_defaults`. A mapped value is `{from_step, from_field}`, with `transform` if the mapping has one. An
    input that holds the item of a step with items is `{"from_item": true}`.
    `price` is the price of one attempt: 0 for work in this process, null if it isn't known. `expected_s` is the median
    time of the model's successful attempts in this process, or the `seconds` of a DELAY. `items` is the number of its
    items; null without `for_each`. `when`, `repeat`, `run_if` and `optional` are those of the definition, or the
    default. `uncertain`: a condition decides whether the step runs, its own one or one further up. `workflow_price` is
    the price of one run of its sub-workflow; null for other steps. If the run reuses results, `forecast` is `reused`,
    `runs`, `depends` (on a step that runs, or that waits) or `skipped` (its condition isn't true), and `forecast_items`
    has the numbers of its items, once these are known; otherwise both are null.
    """

    step_id: str
    layer: int
    task_type: TaskType
    provider: ProviderType | None
    model: str | None
    config: dict[str, Any]
    attempts: int
    fallback: PlannedFallback | None
    timeout_s: Annotated[float, about("Of an attempt or a wait; null if a wait has no known limit")] | None
    price: Money | None
    expected_s: float | None
    when: str | None
    items: PlannedCount | None
    repeat: Repeat | None
    run_if: RunIf
    optional: bool
    uncertain: bool
    workflow_price: PlannedPrice | None = None
    forecast: StepForecast | None = None
    forecast_items: ForecastItems | None = None


class WorkflowPlan(Struct, frozen=True):
    """A forecast of a run of a definition. A layer of `layers` holds steps that could run at the same time, with
    enough slots. `critical_path` is the longest chain of steps: by their expected seconds if these are known for all
    steps (`critical_path_s` is then the sum), otherwise by their number. `runs` is the number of steps that run.
    `warnings` are those that create would return. Results that would be taken over cost nothing in `price`. `gone`
    lists the files of the earlier run that are missing, so that steps run.
    """

    layers: Sequence[Sequence[str]]
    critical_path: Sequence[str]
    critical_path_by: Annotated[Literal["expected_s", "steps"], about("By what the critical path is the longest")]
    critical_path_s: float | None
    steps: Sequence[PlannedStep]
    runs: PlannedCount
    price: PlannedPrice
    budget: Annotated[PlannedBudget, about("Null without a budget")] | None = None
    warnings: Sequence[DefinitionWarning] = ()
    gone: Sequence[str] = ()


ControlVerb: TypeAlias = Literal["start", "pause", "resume", "cancel", "cleanup"]
"""The verbs that are about a workflow as a whole."""
DryRunVerb: TypeAlias = Literal[ControlVerb, "give_result", "skip"]


class JobToCancel(Struct, frozen=True):
    """A job that would be cancelled at its provider. `remote_id` is null if it isn't known yet."""

    step_id: str
    provider: ProviderType | None
    remote_id: str | None
    item: Annotated[int, about("The number of the step's item; null if it has none")] | None = None


class KeptFile(Struct, frozen=True):
    """A file that would not be deleted, because the workflow `workflow_id` uses it."""

    path: str
    workflow_id: UUID


class DryRunItems(Struct, frozen=True):
    """The numbers of items of a step that would run or continue. `total` and `would_run` are null if only the run knows
    how many items there are. `running`: those whose attempts continue. `kept`: COMPLETED items, which don't run again.
    `still_failed`: those that stay FAILED. `skipped`: those that a person has skipped.
    """

    step_id: str
    total: int | None
    would_run: int | None
    running: int
    kept: int
    still_failed: int
    skipped: int = 0


class DryRunRepeat(Struct, frozen=True):
    """A step that repeats, and would run or continue. `run` is the number of its next run, or of the one that
    continues, and `max` how many there are at most. The items of a step repeat each for itself, so steps with items
    aren't listed.
    """

    step_id: str
    run: int
    max: int


class DryRun(Struct, frozen=True, kw_only=True):
    """A forecast of a verb. Nothing has changed. The lists hold ids of steps, in the order of the definition; a
    list that doesn't concern the verb is empty. `would_run`: the steps that would wait for a slot at once, or begin to
    wait for a decision, a signal or a time.
    `would_run_later`: those that would run after others. `may_run`: those that would run only if a condition is true,
    their own one or one further up. `running`: those whose attempts or waits continue. `kept`:
    COMPLETED steps, which don't run again. `reset`: those that return to PENDING, by resume with a fresh retry budget.
    `still_skipped` and `still_failed`: those that resume leaves SKIPPED or FAILED. `cancelled`: those that become
    CANCELLED. `completed` and `skipped`: those that become COMPLETED or SKIPPED by an end by hand; `reset` are then the
    steps that were skipped because of it. `items` and `repeats` are about steps with `for_each` and `repeat` that would
    run. Files are those
    recorded by the `tasks` tasks that cleanup would examine. `sub_workflows` has a forecast for each sub-workflow that
    the verb would create or change, and `sub_workflows_left_out` counts those that are left out because there are too
    many. `allowed` is false only for a sub-workflow that would be refused, so that its step would fail.
    """

    verb: DryRunVerb
    allowed: bool = True
    status_now: WorkflowStatus
    status_after: WorkflowStatus
    would_run: Sequence[str] = ()
    would_run_later: Sequence[str] = ()
    may_run: Sequence[str] = ()
    running: Sequence[str] = ()
    kept: Sequence[str] = ()
    reset: Sequence[str] = ()
    still_skipped: Sequence[str] = ()
    still_failed: Sequence[str] = ()
    cancelled: Sequence[str] = ()
    completed: Sequence[str] = ()
    skipped: Sequence[str] = ()
    items: Sequence[DryRunItems] = ()
    repeats: Sequence[DryRunRepeat] = ()
    remote_jobs_to_cancel: Sequence[JobToCancel] = ()
    files_to_delete: Sequence[str] = ()
    files_kept: Sequence[KeptFile] = ()
    tasks: int = 0
    sub_workflows: Sequence["SubWorkflowDryRun"] = ()
    sub_workflows_left_out: int = 0


class SubWorkflowDryRun(Struct, frozen=True):
    """The forecast of a sub-workflow that the step `step_id` runs. `workflow_id` is null if it would be created. Then
    `verb` is `start`, and the entry stands for the sub-workflows of all items that have none yet. `item` is the number
    of the item that runs it.
    """

    step_id: str
    item: int | None
    workflow_id: UUID | None
    dry_run: DryRun
