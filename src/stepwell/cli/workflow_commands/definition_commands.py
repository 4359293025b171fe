"""`stepwell submit` and `plan`: the commands that send a definition, or name a stored one."""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any, NamedTuple

from msgspec import UNSET
from rich.console import Group, RenderableType

from stepwell.cli.errors import MISUSED, NOT_FOUND, Refused
from stepwell.cli.outcome import exit_code_of, print_warnings
from stepwell.cli.output import print_message
from stepwell.cli.run_progress import advice_of_service, progress_display
from stepwell.cli.workflow_commands.command_context import CommandContext
from stepwell.cli.workflow_commands.definition_changes import (
    read_changes,
    read_definition,
    set_labels,
    set_uploads,
    set_values,
)
from stepwell.cli.workflow_commands.input_prompts import ask_inputs
from stepwell.cli.workflow_commands.recent_workflows import short_id
from stepwell.cli.workflow_commands.stored_definitions import find_runnable
from stepwell.cli.workflow_commands.text_tables import money_text, plain, properties, table
from stepwell.cli.workflow_commands.workflow_report import render_workflow
from stepwell.client import Invalid, NotFound
from stepwell.client.definition_text import RerunChanges, run_body
from stepwell.contract.forecasts import PlannedCount, PlannedStep, WorkflowPlan
from stepwell.contract.stored_definitions import DEFINITION
from stepwell.contract.workflows import WorkflowPublic

_KEY = re.compile(r"[\x21-\x7e]{1,255}")


class SubmitOptions(NamedTuple):
    """The options of `submit`. The first five change the definition."""

    values: Sequence[str]
    labels: Sequence[str] = ()
    uploads: Sequence[str] = ()
    name: str | None = None
    origin_instance: str | None = None
    start: bool = True
    wait: bool = False
    dry_run: bool = False
    idempotency_key: str | None = None


def submit(context: CommandContext, source: IO[bytes] | str, options: SubmitOptions) -> int:
    """Create the workflow that a file defines, or a stored definition. Returns the exit code.

    *source* is the file, or the name of the definition.
    """
    if options.wait and not options.start:
        raise Refused("--wait: a workflow that isn't started doesn't end; use --start", code=MISUSED)
    key = options.idempotency_key
    if key is not None and _KEY.fullmatch(key) is None:
        raise Refused("--idempotency-key: Expected 1 to 255 printable ASCII characters without spaces", code=MISUSED)
    try:
        body = _body(context, source, options)
        if options.dry_run:
            _show_plan(context, context.client.plan(body))
            return 0
        created = context.client.create(body, start=options.start, idempotency_key=key)
    except (Invalid, NotFound) as error:
        faults = error.faults if isinstance(error, Invalid) else ()
        is_unknown = isinstance(error, NotFound) or any(each.loc[:2] == ["body", DEFINITION] for each in faults)
        if isinstance(source, str) and is_unknown:
            both = f"neither a file {source} nor a stored definition {source} at {context.endpoint.url}"
            raise Refused(f"there is {both}", "`stepwell definitions ls` lists those", code=NOT_FOUND) from error
        raise
    return _end(context, created, wait=options.wait)


def _end(context: CommandContext, created: WorkflowPublic, *, wait: bool) -> int:
    """Print the id of a new workflow, or wait for its end. Returns the exit code."""
    context.remember(created.id, submitted=created.id)
    context.store_shown_ids()  # before the wait, so that other commands can name it meanwhile
    print_warnings([] if created.warnings is UNSET else created.warnings)
    if not wait:
        short = short_id(created.id)
        print_message(f"submitted {created.name}, which is {created.status}: see `stepwell show {short}`")
        context.show(created, lambda workflow: plain(workflow.id))
        return 0
    print_message(f"submitted workflow {created.id}")
    workflow = _follow(context, created)
    context.show(workflow, render_workflow)
    return exit_code_of(workflow.status)


class RerunOptions(NamedTuple):
    """The options of `rerun`."""

    values: Sequence[str]
    steps: Sequence[str] = ()
    definition: str | None = None
    start: bool = True
    wait: bool = False
    dry_run: bool = False


def rerun(context: CommandContext, name: str, options: RerunOptions) -> int:
    """Run a workflow again, with changes. Returns the exit code."""
    if options.wait and not options.start:
        raise Refused("--wait: a workflow that isn't started doesn't end; use --start", code=MISUSED)
    workflow_id = context.workflow_id(name)
    config, inputs = read_changes(options.values)
    changes: RerunChanges = {"steps": options.steps, "config": config, "inputs": inputs}
    if options.definition is not None:
        changes["definition"] = options.definition
    if options.dry_run:
        _show_plan(context, context.client.plan_rerun(workflow_id, **changes))
        return 0
    return _end(context, context.client.rerun(workflow_id, start=options.start, **changes), wait=options.wait)


def _follow(context: CommandContext, created: WorkflowPublic) -> WorkflowPublic:
    """Show the progress of the workflow until its end. Return it as it is then."""
    client = context.patient_client
    try:
        with progress_display(created.total_steps, advice_of_service(created.id)) as progress:
            for event in client.events(created.id):
                progress.show(event)
    except KeyboardInterrupt:
        print_message(f"stopped waiting: workflow {created.id} continues")
        raise
    return client.get(created.id)


def _body(context: CommandContext, source: IO[bytes] | str, options: SubmitOptions) -> dict[str, Any]:
    """Return the body of the request: the definition in a file, or a run of a stored one, as the options change it."""
    stored: Mapping[str, Any] | None = None
    if isinstance(source, str):
        stored, body = find_runnable(context, source), run_body(source, {})
    else:
        body = read_definition(source.read())
    set_values(body, options.values, stored)
    set_labels(body, options.labels)
    set_uploads(body, options.uploads, lambda path: context.client.upload(path).path, stored)
    if stored and sys.stdin.isatty() and sys.stderr.isatty():
        inputs = body.setdefault("inputs", {})
        inputs |= ask_inputs(stored, inputs, lambda path: context.client.upload(path).path)
    named = {"name": options.name, "origin_instance": options.origin_instance}
    return body | {member: value for member, value in named.items() if value is not None}


def _show_plan(context: CommandContext, forecast: WorkflowPlan) -> None:
    print_warnings(forecast.warnings)
    context.show(forecast, _render)


def _render(forecast: WorkflowPlan) -> RenderableType:
    return Group(_step_table(forecast.steps), "", properties(_totals(forecast)))


def _step_table(steps: Sequence[PlannedStep]) -> RenderableType:
    rows: list[tuple[object, ...]] = [
        (
            step.layer + 1,  # as `watch` counts
            step.step_id,
            _forecast(step),
            _task(step),
            _provider(step),
            step.attempts,
            money_text(step.price),
            None if step.expected_s is None else f"{step.expected_s:.1f} s",
        )
        for step in sorted(steps, key=lambda step: step.layer)
    ]
    headings = ["LAYER", "STEP", "FORECAST", "TASK TYPE", "PROVIDER", "ATTEMPTS", "PRICE", "EXPECTED"]
    if all(step.forecast is None for step in steps):
        headings.remove("FORECAST")
        rows = [row[:2] + row[3:] for row in rows]
    return table(*headings, rows=rows, numbers=("LAYER", "ATTEMPTS", "PRICE", "EXPECTED"))


def _forecast(step: PlannedStep) -> str | None:
    if (items := step.forecast_items) is None or step.forecast is None:
        return step.forecast
    return f"{step.forecast}: {items.reused} items reused, {items.runs} run" if items.runs else step.forecast


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
    if forecast.gone:
        yield "files gone", ", ".join(forecast.gone)
    yield "at worst", None if price.worst_case is None else money_text(price.worst_case)
    if (budget := forecast.budget) is not None:
        unknown = ", if unknown prices are 0" if budget.unknown_steps else ""
        yield "budget", f"the worst case {'fits' if budget.fits else 'does not fit'}{unknown}"
    seconds = "" if forecast.critical_path_s is None else f" ({forecast.critical_path_s:.1f} s)"
    yield "longest chain", " > ".join(forecast.critical_path) + seconds
