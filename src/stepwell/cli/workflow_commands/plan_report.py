"""`stepwell plan`: the forecast of a run of a definition."""

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType

from stepwell.cli.outcome import print_warnings
from stepwell.cli.workflow_commands.command_context import CommandContext
from stepwell.cli.workflow_commands.definition_changes import read_definition, set_values
from stepwell.cli.workflow_commands.text_tables import money_text, properties, table
from stepwell.contract.forecasts import PlannedCount, PlannedStep, WorkflowPlan


def plan(context: CommandContext, data: bytes, values: Sequence[str]) -> None:
    """Print the forecast of a run of the definition *data*. Nothing is stored."""
    definition = read_definition(data)
    set_values(definition, values)
    forecast = context.client.plan(definition)
    print_warnings(forecast.warnings)
    context.show(forecast, _render)


def _render(forecast: WorkflowPlan) -> RenderableType:
    return Group(_step_table(forecast.steps), "", properties(_totals(forecast)))


def _step_table(steps: Sequence[PlannedStep]) -> RenderableType:
    rows = [
        (
            step.layer + 1,  # as `watch` counts
            step.step_id,
            _task(step),
            _provider(step),
            step.attempts,
            money_text(step.price),
            None if step.expected_s is None else f"{step.expected_s:.1f} s",
        )
        for step in sorted(steps, key=lambda step: step.layer)
    ]
    headings = ("LAYER", "STEP", "TASK TYPE", "PROVIDER", "ATTEMPTS", "PRICE", "EXPECTED")
    return table(*headings, rows=rows, numbers=("LAYER", "ATTEMPTS", "PRICE", "EXPECTED"))


def _task(step: PlannedStep) -> str:
    items = "" if step.items is None else f", {_count(step.items)} items"
    runs = "" if step.repeat is None else f", 1 to {step.repeat.max} runs"
    runs += " each" if items and runs else ""
    return step.task_type + items + runs + (", if a condition is true" if step.uncertain else "")


def _count(count: PlannedCount) -> str:
    return f"{count.most:,}" if count.least == count.most else f"{count.least:,} to {count.most:,}"


def _provider(step: PlannedStep) -> str | None:
    first = f"{step.provider} {step.model}" if step.provider and step.model else step.provider
    return first if step.fallback is None else f"{first}, else {step.fallback.provider}"


def _totals(forecast: WorkflowPlan) -> Iterator[tuple[str, object]]:
    price = forecast.price
    least, known = (" + ".join(map(money_text, each)) or "0" for each in (price.known_least, price.known))
    if least != known:
        known = f"{least} to {known}"
    unknown = f", and {price.unknown_steps} steps whose price isn't known" if price.unknown_steps else ""
    if forecast.runs.least < forecast.runs.most:
        yield "steps", f"{forecast.runs.least} to {forecast.runs.most}, as conditions decide"
    yield "price", known + unknown
    yield "at worst", None if price.worst_case is None else money_text(price.worst_case)
    seconds = "" if forecast.critical_path_s is None else f" ({forecast.critical_path_s:.1f} s)"
    yield "longest chain", " > ".join(forecast.critical_path) + seconds
