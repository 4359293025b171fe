"""One workflow as a text: its properties, its steps, its errors and its results."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from msgspec import UNSET, json
from rich.console import Group, RenderableType
from rich.text import Text

from stepwell.cli.workflow_commands.command_context import CommandContext, utc_now
from stepwell.cli.workflow_commands.text_tables import (
    NONE,
    cost_text,
    duration_between,
    items_text,
    plain,
    properties,
    status_text,
    table,
    time_text,
)
from stepwell.contract.enums import StepStatus
from stepwell.contract.workflows import WorkflowPublic, WorkflowStepPublic

_MAX_RESULT = 2_000  # characters


def show(context: CommandContext, workflow: str) -> None:
    context.show(context.client.get(context.workflow_id(workflow)), render_workflow)


def render_workflow(workflow: WorkflowPublic) -> RenderableType:
    steps = [] if workflow.steps is UNSET else workflow.steps
    parts = list[RenderableType]([properties(_properties(workflow))])
    if steps:
        parts += ["", _step_table(steps)]
    for title, lines in (("ERRORS", _errors(workflow, steps)), ("RESULTS", _results(steps))):
        if texts := list(lines):
            parts += ["", plain(title, "bold"), *texts]
    return Group(*parts)


def _properties(workflow: WorkflowPublic) -> Iterator[tuple[str, object]]:
    yield "workflow", workflow.id
    yield "name", workflow.name
    yield "description", workflow.description
    yield "definition", workflow.definition
    yield "status", status_text(workflow.status)
    yield "steps", f"{workflow.completed_steps} of {workflow.total_steps} completed"
    yield "created", time_text(workflow.created_at)
    if workflow.started_at:
        elapsed = "" if workflow.completed_at else f" ({duration_between(workflow.started_at, utc_now())} ago)"
        yield "started", time_text(workflow.started_at) + elapsed
    if workflow.completed_at:
        yield "ended", f"{time_text(workflow.completed_at)} (after {_duration(workflow)})"
    if workflow.cost:
        yield "cost", cost_text(workflow.cost)
    yield "labels", ", ".join(f"{key}={value}" for key, value in workflow.labels.items()) or None
    yield "tenant", workflow.origin_tenant_id
    yield "reference", workflow.origin_reference
    if workflow.deleted_at:
        yield "deleted", time_text(workflow.deleted_at)


def _duration(workflow: WorkflowPublic) -> str:
    return duration_between(workflow.started_at or workflow.created_at, workflow.completed_at)


def _step_table(steps: Sequence[WorkflowStepPublic]) -> RenderableType:
    now = utc_now()
    rows = [
        (
            step.step_id,
            step.task_type,
            _status(step),
            _provider(step),
            cost_text(step.cost),
            duration_between(step.started_at, _end_of(step, now)) or NONE,
            step.retry_count,
        )
        for step in steps
    ]
    headings = ("STEP", "TASK TYPE", "STATUS", "PROVIDER", "COST", "TIME", "RETRIES")
    return table(*headings, rows=rows, numbers=("COST", "TIME", "RETRIES"), whole=("STATUS",))


def _status(step: WorkflowStepPublic) -> Text:
    text = status_text(step.status)
    return text if step.items is None else text.append(f" ({items_text(step.items)})", "dim")


def _end_of(step: WorkflowStepPublic, now: datetime) -> datetime | None:
    """Return the end of the step's time: *now* while it runs."""
    return now if step.status is StepStatus.RUNNING else step.completed_at


def _provider(step: WorkflowStepPublic) -> str | None:
    return f"{step.provider} {step.model}" if step.provider and step.model else step.provider


def _errors(workflow: WorkflowPublic, steps: Sequence[WorkflowStepPublic]) -> Iterator[Text]:
    """Yield the errors of steps, also of those that will be tried again; without steps, those of the workflow."""
    if not steps:
        for error in workflow.errors:
            step_id, _, message = error.partition(": ")
            yield _line(step_id, message, "red")
    yield from (_line(step.step_id, step.error_message, "red") for step in steps if step.error_message)


def _results(steps: Sequence[WorkflowStepPublic]) -> Iterator[Text]:
    for step in steps:
        if step.result is UNSET or step.result is None:
            continue
        text = json.encode(step.result).decode()
        cut = f"{text[:_MAX_RESULT]}... (--json prints all of it)" if len(text) > _MAX_RESULT else text
        yield _line(step.step_id, cut)


def _line(step_id: str, text: str, style: str = "") -> Text:
    """Return a line that only the terminal wraps, so that a path in it can be copied."""
    return Text.assemble(plain(step_id, "bold"), ": ", plain(text, style), no_wrap=True, overflow="ignore")
