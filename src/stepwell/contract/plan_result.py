"""The answer of `POST /api/v1/workflows/plan`."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from stepwell.contract.costs import Money
from stepwell.contract.enums import ProviderType, TaskType


class PlannedFallback(Struct, frozen=True):
    """Who is asked when the attempts at the first provider are used up: so often, at that price for each."""

    provider: ProviderType
    model: str | None
    attempts: int
    price: Money | None


class PlannedStep(Struct, frozen=True, kw_only=True):
    """`model` is what limits and prices go by, as far as it is known before the inputs are; null for PASSTHROUGH.
    `config` is what the provider would get: the step's over the workflow's `step_defaults`; a value that a mapping
    gives stands as `{from_step, from_field}`, with a `transform` where it has one. `price` is that of one attempt, 0
    for work in this process, null where nobody has named one. `expected_s`: the median of the model's attempts in this
    process that succeeded.
    """

    step_id: str
    layer: int
    task_type: TaskType
    provider: ProviderType | None
    model: str | None
    config: dict[str, Any]
    attempts: int
    fallback: PlannedFallback | None
    timeout_s: float
    price: Money | None
    expected_s: float | None


class PlannedPrice(Struct, frozen=True):
    """`known`: the sum of one attempt at each step whose price is known; `unknown_steps`: so many steps have a price,
    or a fallback's, that isn't. `worst_case`: every attempt is made and paid for, fallbacks included; null where a
    price isn't known.
    """

    known: Sequence[Money]
    unknown_steps: int
    worst_case: Money | None


class WorkflowPlan(Struct, frozen=True):
    """`layers`: steps that could run at the same time, were there slots for all. `critical_path`: the longest chain,
    by the seconds that are expected where those of all steps are known (`critical_path_s` is then their sum), else by
    the number of its steps.
    """

    layers: Sequence[Sequence[str]]
    critical_path: Sequence[str]
    critical_path_by: Annotated[Literal["expected_s", "steps"], Meta(description="What the chain is the longest by")]
    critical_path_s: float | None
    steps: Sequence[PlannedStep]
    price: PlannedPrice
