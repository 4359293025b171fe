"""The answer of `POST /api/v1/workflows/plan`."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from stepwell.contract.costs import Money
from stepwell.contract.definition import Repeat
from stepwell.contract.enums import ProviderType, RunIf, TaskType
from stepwell.contract.problems import DefinitionWarning


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
    fallbacks included; null if a price isn't known. The steps of sub-workflows count in all of these. Where only the
    run knows the numbers of items, there are at most 10,000 in a workflow.
    """

    known_least: Sequence[Money]
    known: Sequence[Money]
    unknown_steps: int
    worst_case: Money | None


class PlannedStep(Struct, frozen=True, kw_only=True):
    """A step as it would run. `model` is the model that limits and prices apply to; null for PASSTHROUGH, and if it
    depends on inputs that aren't known yet. `config` is what the provider would get: the step's config over the
    workflow's `step_defaults`. A mapped value is `{from_step, from_field}`, with `transform` if the mapping has one. An
    input that holds the item of a step with items is `{"from_item": true}`.
    `price` is the price of one attempt: 0 for work in this process, null if it isn't known. `expected_s` is the median
    time of the model's successful attempts in this process, or the `seconds` of a DELAY. `items` is the number of its
    items; null without `for_each`. `when`, `repeat`, `run_if` and `optional` are those of the definition, or the
    default. `uncertain`: a condition decides whether the step runs, its own one or one further up. `workflow_price` is
    the price of one run of its sub-workflow; null for other steps.
    """

    step_id: str
    layer: int
    task_type: TaskType
    provider: ProviderType | None
    model: str | None
    config: dict[str, Any]
    attempts: int
    fallback: PlannedFallback | None
    timeout_s: Annotated[float, Meta(description="Of an attempt or a wait; null if a wait has no known limit")] | None
    price: Money | None
    expected_s: float | None
    when: str | None
    items: PlannedCount | None
    repeat: Repeat | None
    run_if: RunIf
    optional: bool
    uncertain: bool
    workflow_price: PlannedPrice | None = None


class WorkflowPlan(Struct, frozen=True):
    """A forecast of a run of a definition. A layer of `layers` holds steps that could run at the same time, with
    enough slots. `critical_path` is the longest chain of steps: by their expected seconds if these are known for all
    steps (`critical_path_s` is then the sum), otherwise by their number. `runs` is the number of steps that run.
    `warnings` are those that create would return.
    """

    layers: Sequence[Sequence[str]]
    critical_path: Sequence[str]
    critical_path_by: Annotated[
        Literal["expected_s", "steps"], Meta(description="By what the critical path is the longest")
    ]
    critical_path_s: float | None
    steps: Sequence[PlannedStep]
    runs: PlannedCount
    price: PlannedPrice
    warnings: Sequence[DefinitionWarning] = ()
