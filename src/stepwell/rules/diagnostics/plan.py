"""The plan of a valid definition, which isn't run: the order of its steps, the calls to providers, and their prices.

What must hold of the numbers of items, as far as they follow from the definition:
- No run has more items than `most`, because the price of a plan is computed from it.
- Nothing is evaluated here. A source is understood if it is a path into `inputs` or to the result of another step,
  perhaps with one filter or projection. Any other source counts as 0 to `MAX_ITEMS` items.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from graphlib import TopologicalSorter
from math import inf
from typing import Any, Final, NamedTuple

from msgspec import UNSET, structs

from stepwell.contract.definition import MAX_ITEMS, Budget, FieldMapping, ForEach, WorkflowStepDefinition
from stepwell.contract.enums import ProviderType, RunIf, TaskType
from stepwell.contract.forecasts import (
    ForecastItems,
    PlannedBudget,
    PlannedCount,
    PlannedFallback,
    PlannedPrice,
    PlannedStep,
    StepForecast,
    WorkflowPlan,
)
from stepwell.contract.task_configs import MAX_IMAGES
from stepwell.contract.tasks import Money
from stepwell.definition.mapping.input_mapping import TIMEOUT, effective_config, put_input
from stepwell.definition.mapping.task_configs import normalise_inputs
from stepwell.definition.mapping.templates import INPUTS, ITEM, parse_template
from stepwell.definition.validation.item_rules import known_count
from stepwell.definition.validation.workflow import ValidatedWorkflow
from stepwell.lifecycle.items import MAX_WORKFLOW_ITEMS
from stepwell.lifecycle.steps import ResolvedStep
from stepwell.rules.costs import QUANTITIES, UNKNOWN, PricedWork, PriceList

_ONE: Final = PlannedCount(1, 1)
_UNKNOWN: Final = PlannedCount(0, MAX_ITEMS)
_NUM_IMAGES: Final = "num_images"
_NAME = r'(?:[A-Za-z_]\w*|"[^"\\]*")'
# A path, and perhaps a filter or a projection of its list, which gives at most as many elements.
_SOURCE = re.compile(rf"({_NAME})((?:\.{_NAME})*)(\[(?:\*|\?[^\[\]]*)\](?:\.{_NAME})*)?", re.ASCII)


class PlannedCall(NamedTuple):
    """The call that an attempt makes. `in_process`: the service or a Celery worker does the work, for nothing."""

    provider: ProviderType | None
    model: str | None
    in_process: bool


class PlannedReuse(NamedTuple):
    """The results that a run would take over: a forecast of each step, the numbers of items by position, and the files
    that are missing.
    """

    steps: Sequence[StepForecast]
    items: Mapping[int, ForecastItems]
    gone: Sequence[str]


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
    workflow: ValidatedWorkflow,
    calls: Sequence[PlannedCall],
    fallbacks: Mapping[int, PlannedCall],
    expected: Mapping[int, float],
    prices: PriceList,
    nested: Mapping[int, PlannedPrice],
    reuse: PlannedReuse | None = None,
) -> WorkflowPlan:
    """Return the plan. *calls* are by position, *fallbacks* by the positions that have one.

    *expected* holds the expected seconds of an attempt, by the positions where they are known. *nested* are the prices
    of one run of sub-workflows, by the positions of their steps. *reuse* is None if nothing is reused.
    """
    steps = workflow.steps
    order = list(TopologicalSorter({step.position: step.depends_on for step in steps}).static_order())
    depth = [0] * len(steps)
    for position in order:
        depth[position] = max((depth[needed] + 1 for needed in steps[position].depends_on), default=0)
    layers: list[list[str]] = [[] for _ in range(max(depth) + 1)]
    for step in steps:
        layers[depth[step.position]].append(step.step_id)
    items = item_counts(workflow, order)
    by_time = len(expected) == len(steps) and all(each.least == each.most for each in items.values())
    weights = _seconds(steps, expected, items) if by_time else dict.fromkeys(range(len(steps)), 1.0)
    chain = _longest(steps, order, weights)
    uncertain = uncertain_steps(steps)
    forecasts = _Forecasts(calls, fallbacks, expected, prices, items, nested)
    planned_steps = [
        _step(workflow, step, depth[step.position], forecasts, uncertain=step.position in uncertain) for step in steps
    ]
    if reuse is not None:
        planned_steps = [
            structs.replace(step, forecast=forecast, forecast_items=reuse.items.get(position))
            for position, (step, forecast) in enumerate(zip(planned_steps, reuse.steps, strict=True))
        ]
    price = _price([_paid(step) for step in planned_steps], forecasts)
    return WorkflowPlan(
        layers=layers,
        critical_path=[steps[position].step_id for position in chain.positions],
        critical_path_by="expected_s" if by_time else "steps",
        critical_path_s=round(chain.length, 3) if by_time else None,
        steps=planned_steps,
        runs=PlannedCount(len(steps) - len(uncertain), len(steps)),
        price=price,
        budget=_budget(workflow.config.budget, price),
        warnings=workflow.warnings,
        gone=() if reuse is None else reuse.gone,
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
    workflow: ValidatedWorkflow, step: ResolvedStep, layer: int, forecasts: _Forecasts, *, uncertain: bool
) -> PlannedStep:
    position, prices = step.position, forecasts.prices
    call, fallback = forecasts.calls[position], forecasts.fallbacks.get(position)
    definition = workflow.request.steps[position]
    config = normalise_inputs(step.task_type, effective_config(workflow.config, definition))
    config = {name: value for name, value in config.items() if name != TIMEOUT}
    for mapping in definition.input_mappings:
        put_input(config, mapping.to_field, _mapping_placeholder(mapping))
    if definition.for_each is not UNSET and definition.for_each.as_ not in (None, ITEM):
        config[str(definition.for_each.as_)] = {"from_item": True}
    attempts = 0 if step.flow is not None and step.flow.waits_for is not None else step.max_retries + 1
    spreads_items = definition.for_each is not UNSET and definition.for_each.as_ is None
    work = PricedWork(step.task_type, config | dict.fromkeys(QUANTITIES, UNKNOWN) if spreads_items else config)
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
        else PlannedFallback(fallback.provider, fallback.model, attempts, _price_of(fallback, prices, work)),
        timeout_s=_timeout(step, workflow, definition),
        price=_price_of(call, prices, work),
        expected_s=forecasts.expected.get(position),
        when=definition.condition,
        items=forecasts.items.get(position),
        repeat=None if definition.repeat is UNSET else definition.repeat,
        run_if=step.run_if,
        optional=step.optional,
        uncertain=uncertain,
        workflow_price=forecasts.nested.get(position),
    )


def _timeout(step: ResolvedStep, workflow: ValidatedWorkflow, definition: WorkflowStepDefinition) -> float | None:
    """Return the limit of an attempt or of a wait; None if it has none, or one that isn't known yet."""
    if step.flow is None or not (step.flow.waits_for or step.flow.runs_workflow):
        return step.timeout_s
    timeout = effective_config(workflow.config, definition).get(TIMEOUT)
    return float(timeout) if isinstance(timeout, int | float) else None


def _mapping_placeholder(mapping: FieldMapping) -> dict[str, Any]:
    placeholder: dict[str, Any] = {"from_step": mapping.from_step, "from_field": mapping.from_field}
    return placeholder if mapping.transform is None else placeholder | {"transform": mapping.transform}


def _price_of(call: PlannedCall, prices: PriceList, work: PricedWork) -> Money | None:
    if call.in_process or call.provider is None:
        return Money(0.0, prices.currency)
    cost = None if call.model is None else prices.of(call.provider, call.model, work)
    return None if cost is None else Money(cost.amount, cost.currency)


def _paid(step: PlannedStep) -> PlannedStep:
    """Return the step without the items whose results are taken over. One that is taken over as a whole has none."""
    if step.forecast in ("reused", "skipped"):
        return structs.replace(step, items=PlannedCount(0, 0))
    if step.forecast_items is not None:
        return structs.replace(step, items=PlannedCount(step.forecast_items.runs, step.forecast_items.runs))
    return structs.replace(step, uncertain=True) if step.forecast == "depends" else step


def _is_paid(call: PlannedCall | None) -> bool:
    return call is not None and call.provider not in (None, ProviderType.LOCAL) and not call.in_process


def _price(steps: Sequence[PlannedStep], forecasts: _Forecasts) -> PlannedPrice:
    unknown, attempts, currencies = 0, list[_ItemPrice](), {forecasts.prices.currency: None}
    for position, step in enumerate(steps):
        nested, has_items = step.workflow_price, step.items is None or step.items.most > 0
        fallback = () if step.fallback is None else (step.fallback.price,)
        tried = [step.price, *fallback]
        unknown += (None in tried and has_items) + (0 if nested is None or not has_items else nested.unknown_steps)
        for price in (*tried, *(() if nested is None else nested.worst)):
            currencies |= {} if price is None else {price.currency: None}
        paid = [_is_paid(forecasts.calls[position]), _is_paid(forecasts.fallbacks.get(position))]
        number = sum(paid) * step.attempts + (0 if nested is None else nested.attempts)
        attempts.append(_ItemPrice(step.items, number * (1 if step.repeat is None else step.repeat.max)))
    sums = [_sums(steps, currency) for currency in currencies]
    used = [each for each in sums if any(money.amount for money in each)] or sums[:1]
    worst = tuple(each.worst for each in used)
    return PlannedPrice(
        known_least=[each.known_least for each in used],
        known=[each.known for each in used],
        unknown_steps=unknown,
        worst_case=None if unknown or len(used) > 1 else worst[0],
        worst=worst,
        attempts=round(_highest(attempts)),
    )


class _CurrencySums(NamedTuple):
    """The parts of a `PlannedPrice` in one currency."""

    known_least: Money
    known: Money
    worst: Money


def _sums(steps: Sequence[PlannedStep], currency: str) -> _CurrencySums:
    def amount(*prices: Money | None) -> float:
        return sum(price.amount for price in prices if price is not None and price.currency == currency)

    once, worst, least = list[_ItemPrice](), list[_ItemPrice](), 0.0
    for step in steps:
        items = _ONE if step.items is None else step.items
        runs = 1 if step.repeat is None else step.repeat.max
        tried = step.attempts * amount(step.price)
        tried += 0.0 if step.fallback is None else step.fallback.attempts * amount(step.fallback.price)
        below, below_least = 0.0, 0.0
        if (nested := step.workflow_price) is not None:
            below, below_least = amount(*nested.known), amount(*nested.known_least)
            tried += amount(*nested.worst)
        once.append(_ItemPrice(step.items, (amount(step.price) + below) * runs))
        least += 0.0 if step.uncertain else (amount(step.price) + below_least) * items.least
        worst.append(_ItemPrice(step.items, runs * tried))
    return _CurrencySums(*(Money(round(each, 9), currency) for each in (least, _highest(once), _highest(worst))))


def _budget(budget: Budget | None, price: PlannedPrice) -> PlannedBudget | None:
    """Return whether the worst case fits into the budget, as far as prices are known."""
    if budget is None:
        return None
    maxima = {currency: float(maximum) for currency, maximum in budget.max_cost.items()}
    fits = all(each.amount <= maxima.get(each.currency, inf) for each in price.worst)
    fits = fits and (budget.max_attempts is None or price.attempts <= budget.max_attempts)
    return PlannedBudget(fits, price.worst, price.attempts, price.unknown_steps)


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


def uncertain_steps(steps: Sequence[ResolvedStep], decided: Collection[int] = ()) -> set[int]:
    """Return the positions of the steps that a condition may skip: their own one, or one further up.

    *decided* steps run, or have a result already. Failures aren't considered. Costs O(steps + edges).
    """
    if not any(step.flow is not None and step.flow.has_condition for step in steps):
        return set()
    uncertain = set[int]()
    for position in TopologicalSorter({step.position: step.depends_on for step in steps}).static_order():
        if position not in decided and _is_uncertain(steps[position], uncertain):
            uncertain.add(position)
    return uncertain


def _is_uncertain(step: ResolvedStep, uncertain: Collection[int]) -> bool:
    if step.flow is not None and step.flow.has_condition:
        return True
    match step.run_if:
        case RunIf.ALL_COMPLETED:
            return any(needed in uncertain for needed in step.depends_on)
        case RunIf.ANY_COMPLETED:
            return bool(step.depends_on) and all(needed in uncertain for needed in step.depends_on)
        case RunIf.ALL_ENDED:
            return False


def item_counts(workflow: ValidatedWorkflow, order: Sequence[int]) -> dict[int, PlannedCount]:
    """Return the least and the highest number of items of each step that has items, by position.

    *order* has the positions of all steps, each after those that its step depends on.
    """
    counts = dict[int, PlannedCount]()
    positions = {step.step_id: step.position for step in workflow.steps}
    for position in order:
        for_each = workflow.request.steps[position].for_each
        if for_each is not UNSET:
            known = known_count(for_each)
            own = PlannedCount(known, known) if known is not None else _of_source(workflow, for_each, positions, counts)
            counts[position] = own if own.most <= MAX_ITEMS else _UNKNOWN
    return counts


def _of_source(
    workflow: ValidatedWorkflow, for_each: ForEach, positions: Mapping[str, int], counts: Mapping[int, PlannedCount]
) -> PlannedCount:
    """Return how many items come from a source that the definition only names: an input, or the result of a step."""
    if for_each.from_step is not None and for_each.transform is not None:
        return _UNKNOWN
    if (read := _SOURCE.fullmatch(_text(for_each))) is None:
        return _UNKNOWN
    owner, path, is_part = read[1].strip('"'), re.findall(_NAME, read[2]), read[3] is not None
    names = [name.strip('"') for name in path]
    if owner == INPUTS and for_each.from_step is None:
        count = _of_input(workflow.request.inputs, names, is_number=for_each.count is not None)
    elif (position := positions.get(owner)) is not None:
        count = _of_result(workflow, position, names, counts, is_number=for_each.count is not None)
    else:
        return _UNKNOWN
    return PlannedCount(0, count.most) if is_part else count


def _text(for_each: ForEach) -> str:
    """Return the expression that gives the items or their number."""
    if for_each.from_step is not None:
        return f'"{for_each.from_step}".{for_each.from_field}'
    template = parse_template(str(for_each.items if for_each.count is None else for_each.count))
    return template.expressions[0].text if template.is_expression else ""


def _of_input(inputs: Any, names: Sequence[str], *, is_number: bool) -> PlannedCount:
    value = inputs
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    if is_number and isinstance(value, int) and not isinstance(value, bool):
        return PlannedCount(value, value) if value > 0 else _UNKNOWN
    if not is_number and isinstance(value, list):
        return PlannedCount(len(value), len(value))
    return _UNKNOWN


def _of_result(
    workflow: ValidatedWorkflow,
    position: int,
    names: Sequence[str],
    counts: Mapping[int, PlannedCount],
    *,
    is_number: bool,
) -> PlannedCount:
    """Return how many items a member of the result of the step at *position* gives."""
    items = counts.get(position)
    if items is not None and names == (["count"] if is_number else ["items"]):
        return items
    if is_number or names != ["result_image_paths"] or (images := _images(workflow, position)) is None:
        return _UNKNOWN
    return PlannedCount(0, images * (_ONE if items is None else items).most)


def _images(workflow: ValidatedWorkflow, position: int) -> int | None:
    """Return how many images a run of the step at *position* makes at most; None if its provider decides that."""
    step, definition = workflow.steps[position], workflow.request.steps[position]
    if step.provider is not ProviderType.LOCAL or step.fallback not in (None, ProviderType.LOCAL):
        return None
    if step.task_type is not TaskType.GENERATION:
        return 1
    number = effective_config(workflow.config, definition).get(_NUM_IMAGES, 1)
    return number if isinstance(number, int) and not _is_replaced(definition) else MAX_IMAGES


def _is_replaced(definition: WorkflowStepDefinition) -> bool:
    """Return whether a mapping or an item may give the number of images."""
    for_each = definition.for_each
    of_item = for_each is not UNSET and for_each.as_ in (None, _NUM_IMAGES)
    return of_item or any(mapping.to_field == _NUM_IMAGES for mapping in definition.input_mappings)
