"""Plans a valid definition without running it: the order of its steps, the calls to providers, and their prices."""

from collections.abc import Mapping, Sequence
from graphlib import TopologicalSorter
from typing import Any, NamedTuple

from msgspec import UNSET

from stepwell.contract.definition import FieldMapping, WorkflowStepDefinition
from stepwell.contract.enums import ProviderType
from stepwell.contract.forecasts import PlannedCount, PlannedFallback, PlannedPrice, PlannedStep, WorkflowPlan
from stepwell.contract.tasks import Money
from stepwell.definition.mapping.input_mapping import TIMEOUT, effective_config, put_input
from stepwell.definition.mapping.task_configs import normalise_inputs
from stepwell.definition.mapping.templates import ITEM
from stepwell.definition.validation.workflow import ValidatedWorkflow
from stepwell.lifecycle.item_group import MAX_WORKFLOW_ITEMS
from stepwell.lifecycle.steps import ResolvedStep
from stepwell.rules.diagnostics.item_counts import item_counts
from stepwell.rules.diagnostics.uncertain_steps import uncertain_steps
from stepwell.rules.prices import PriceList


class PlannedCall(NamedTuple):
    """The call that an attempt makes. `in_process`: the service or a worker of it does the work, for nothing."""

    provider: ProviderType | None
    model: str | None
    in_process: bool


_ONE = PlannedCount(1, 1)
NO_PROVIDER = PlannedCall(None, None, in_process=True)


class Chain(NamedTuple):
    """The longest chain of dependencies: its positions, and its length in seconds or steps."""

    positions: Sequence[int]
    length: float


class _Forecasts(NamedTuple):
    """The forecasts of all steps by their positions, and the price list.

    `calls` has each position; the mappings have those whose value is known.
    """

    calls: Sequence[PlannedCall]
    fallbacks: Mapping[int, PlannedCall]
    expected: Mapping[int, float]
    prices: PriceList
    items: Mapping[int, PlannedCount]
    nested: Mapping[int, PlannedPrice]


class _ItemPrice(NamedTuple):
    """The price of a step without items, or of each of its items."""

    items: PlannedCount | None
    amount: float


def build_plan(
    planned: ValidatedWorkflow,
    calls: Sequence[PlannedCall],
    fallbacks: Mapping[int, PlannedCall],
    expected: Mapping[int, float],
    prices: PriceList,
    nested: Mapping[int, PlannedPrice],
) -> WorkflowPlan:
    """Return the plan. *calls* are by position, *fallbacks* by the positions that have one.

    *expected* holds the expected seconds of an attempt, by the positions where they are known. *nested* are the prices
    of one run of sub-workflows, by the positions of their steps.
    """
    steps = planned.steps
    order = list(TopologicalSorter({step.position: step.depends_on for step in steps}).static_order())
    depth = [0] * len(steps)
    for position in order:
        depth[position] = max((depth[needed] + 1 for needed in steps[position].depends_on), default=0)
    layers: list[list[str]] = [[] for _ in range(max(depth) + 1)]
    for step in steps:
        layers[depth[step.position]].append(step.step_id)
    items = item_counts(planned, order)
    by_time = len(expected) == len(steps) and all(each.least == each.most for each in items.values())
    weights = _seconds(steps, expected, items) if by_time else dict.fromkeys(range(len(steps)), 1.0)
    chain = _longest(steps, order, weights)
    uncertain = uncertain_steps(steps)
    forecasts = _Forecasts(calls, fallbacks, expected, prices, items, nested)
    planned_steps = [
        _step(planned, step, depth[step.position], forecasts, uncertain=step.position in uncertain) for step in steps
    ]
    return WorkflowPlan(
        layers=layers,
        critical_path=[steps[position].step_id for position in chain.positions],
        critical_path_by="expected_s" if by_time else "steps",
        critical_path_s=round(chain.length, 3) if by_time else None,
        steps=planned_steps,
        runs=PlannedCount(len(steps) - len(uncertain), len(steps)),
        price=_price(planned_steps, prices.currency),
        warnings=planned.warnings,
    )


def _seconds(
    steps: Sequence[ResolvedStep], expected: Mapping[int, float], items: Mapping[int, PlannedCount]
) -> dict[int, float]:
    """Return the expected seconds of each step, which has a known number of items if it has any."""
    seconds = dict(expected)
    for position, count in items.items():
        flow = steps[position].flow
        at_once = count.most if flow is None or flow.for_each is None else flow.for_each.max_concurrency
        seconds[position] *= -(-count.most // max(1, at_once))
    return seconds


def _longest(steps: Sequence[ResolvedStep], order: Sequence[int], weights: Mapping[int, float]) -> Chain:
    length, before = dict.fromkeys(order, (0.0, 0)), dict[int, int | None]()
    for position in order:
        needed = steps[position].depends_on
        # Of equally long chains, the one with more steps counts; then the one whose step is listed first.
        before[position] = max(sorted(needed), key=length.__getitem__, default=None)
        longest = before[position]
        seconds, count = (0.0, 0) if longest is None else length[longest]
        length[position] = (seconds + weights[position], count + 1)
    last = end = max(range(len(steps)), key=length.__getitem__)
    positions = [end]
    while (needed_last := before[last]) is not None:
        positions.append(last := needed_last)
    return Chain(positions[::-1], length[end][0])


def _step(
    planned: ValidatedWorkflow, step: ResolvedStep, layer: int, forecasts: _Forecasts, *, uncertain: bool
) -> PlannedStep:
    position, prices = step.position, forecasts.prices
    call, fallback = forecasts.calls[position], forecasts.fallbacks.get(position)
    definition = planned.request.steps[position]
    config = normalise_inputs(step.task_type, effective_config(planned.config, definition))
    config = {name: value for name, value in config.items() if name != TIMEOUT}
    for mapping in definition.input_mappings:
        put_input(config, mapping.to_field, _mapping_placeholder(mapping))
    if definition.for_each is not UNSET and definition.for_each.as_ not in (None, ITEM):
        config[str(definition.for_each.as_)] = {"from_item": True}
    attempts = 0 if step.flow is not None and step.flow.waits_for is not None else step.max_retries + 1
    return PlannedStep(
        step_id=step.step_id,
        layer=layer,
        task_type=step.task_type,
        provider=call.provider,
        model=call.model,
        config=config,
        attempts=attempts,
        fallback=None
        if fallback is None or fallback.provider is None
        else PlannedFallback(fallback.provider, fallback.model, attempts, _price_of(fallback, prices)),
        timeout_s=_timeout(step, planned, definition),
        price=_price_of(call, prices),
        expected_s=forecasts.expected.get(position),
        when=definition.condition,
        items=forecasts.items.get(position),
        repeat=None if definition.repeat is UNSET else definition.repeat,
        run_if=step.run_if,
        optional=step.optional,
        uncertain=uncertain,
        workflow_price=forecasts.nested.get(position),
    )


def _timeout(step: ResolvedStep, planned: ValidatedWorkflow, definition: WorkflowStepDefinition) -> float | None:
    """Return the limit of an attempt or of a wait; None if it has none, or one that isn't known yet."""
    if step.flow is None or not (step.flow.waits_for or step.flow.runs_workflow):
        return step.timeout_s
    timeout = effective_config(planned.config, definition).get(TIMEOUT)
    return float(timeout) if isinstance(timeout, int | float) else None


def _mapping_placeholder(mapping: FieldMapping) -> dict[str, Any]:
    placeholder: dict[str, Any] = {"from_step": mapping.from_step, "from_field": mapping.from_field}
    return placeholder if mapping.transform is None else placeholder | {"transform": mapping.transform}


def _price_of(call: PlannedCall, prices: PriceList) -> Money | None:
    if call.in_process or call.provider is None:
        return Money(0.0, prices.currency)
    cost = None if call.model is None else prices.of(call.provider, call.model)
    return None if cost is None else Money(cost.amount, cost.currency)


def _price(steps: Sequence[PlannedStep], currency: str) -> PlannedPrice:
    once, worst = list[_ItemPrice](), list[_ItemPrice]()
    least, unknown = 0.0, 0
    for step in steps:
        amount = 0.0 if step.price is None else step.price.amount
        items = _ONE if step.items is None else step.items
        runs = 1 if step.repeat is None else step.repeat.max
        tried = [step.price] * step.attempts
        tried += [] if step.fallback is None else [step.fallback.price] * step.fallback.attempts
        unknown += None in tried and items.most > 0
        below, below_least = 0.0, 0.0
        if (nested := step.workflow_price) is not None:
            below, below_least = (sum(each.amount for each in sums) for sums in (nested.known, nested.known_least))
            tried.append(nested.worst_case)
            unknown += nested.unknown_steps if items.most else 0
        once.append(_ItemPrice(step.items, (amount + below) * runs))
        least += 0.0 if step.uncertain else (amount + below_least) * items.least
        worst.append(_ItemPrice(step.items, runs * sum(price.amount for price in tried if price is not None)))
    known_least, known = ([Money(round(amount, 9), currency)] for amount in (least, _highest(once)))
    return PlannedPrice(known_least, known, unknown, None if unknown else Money(round(_highest(worst), 9), currency))


def _highest(prices: Sequence[_ItemPrice]) -> float:
    """Return the highest sum of the prices. Of all items, the dearest `MAX_WORKFLOW_ITEMS` count.

    A known number of items takes no precedence over an unknown one, because a condition may skip the step that has it.
    """
    total, left = 0.0, MAX_WORKFLOW_ITEMS
    for price in sorted(prices, key=lambda price: -price.amount):
        number = 1 if price.items is None else min(price.items.most, left)
        total += number * price.amount
        left -= 0 if price.items is None else number
    return total
