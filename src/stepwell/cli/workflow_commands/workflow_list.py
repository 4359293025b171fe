"""`stepwell ls`: workflows, newest first."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, Literal, NamedTuple, TypeAlias

from rich.console import RenderableType

from stepwell.cli.errors import MISUSED, Refused
from stepwell.cli.workflow_commands.command_context import CommandContext, utc_now
from stepwell.cli.workflow_commands.definition_changes import read_labels
from stepwell.cli.workflow_commands.recent_workflows import short_id
from stepwell.cli.workflow_commands.text_formats import duration_between
from stepwell.cli.workflow_commands.text_tables import NONE, cost_text, status_text, table, time_text
from stepwell.contract.enums import WorkflowStatus
from stepwell.contract.workflows import WorkflowCountsResponse, WorkflowPublic

_MAX_PAGE = 1_000
Order: TypeAlias = Literal["-created_at", "created_at"]


class ListOptions(NamedTuple):
    """The options of `ls`, beside the filters that the API takes as they are. `limit` None: all that match."""

    statuses: Sequence[str]
    labels: Sequence[str]
    limit: int | None
    order: Order
    counts: bool


def list_workflows(context: CommandContext, options: ListOptions, filters: Mapping[str, Any]) -> None:
    """Print the workflows that match the options and *filters*; or their number by status. Raises `Refused`."""
    filters = {name: value for name, value in filters.items() if value is not None}
    for name in ("created_after", "created_before"):
        if name in filters:
            filters[name] = _time(filters[name], f"--{name.replace('_', '-')}")
    if options.statuses:
        filters["status"] = list(_statuses(options.statuses))
    if options.labels:
        filters["labels"] = read_labels(options.labels)
    if options.counts:
        context.show(context.client.count(**filters), _render_counts)
    else:
        context.show_each(_workflows(context, filters, options), _render)


def _workflows(context: CommandContext, filters: Mapping[str, Any], options: ListOptions) -> Iterator[WorkflowPublic]:
    page = _MAX_PAGE if options.limit is None else min(options.limit, _MAX_PAGE)
    matches = context.client.list(
        **filters, page_size=page, order=options.order, include_steps=False, include_results=False
    )
    for workflow in islice(matches, options.limit):
        context.remember(workflow.id)
        yield workflow


def _render(workflows: Sequence[WorkflowPublic]) -> RenderableType:
    if not workflows:
        return "There are no such workflows."
    now = utc_now()
    rows = [
        (
            short_id(workflow.id),
            workflow.name,
            status_text(workflow.status),
            f"{workflow.completed_steps}/{workflow.total_steps}",
            cost_text(workflow.cost),
            time_text(workflow.created_at),
            duration_between(workflow.started_at, workflow.completed_at or now) or NONE,
        )
        for workflow in workflows
    ]
    headings = ("ID", "NAME", "STATUS", "STEPS", "COST", "CREATED", "TIME")
    return table(*headings, rows=rows, numbers=("STEPS", "COST", "TIME"), whole=("ID", "STATUS", "CREATED"))


def _render_counts(counts: WorkflowCountsResponse) -> RenderableType:
    rows = [(status_text(status), number) for status, number in counts.counts.items()]
    return table("STATUS", "WORKFLOWS", rows=[*rows, ("all", counts.total)], numbers=("WORKFLOWS",))


def _statuses(texts: Iterable[str]) -> Iterator[WorkflowStatus]:
    for name in (part.strip().upper() for text in texts for part in text.split(",")):
        if name not in WorkflowStatus.__members__:
            raise Refused(f"--status: Expected one of {', '.join(WorkflowStatus)}", code=MISUSED)
        yield WorkflowStatus(name)


def _time(text: str, option: str) -> datetime:
    """Return the time; in the zone of this machine, if *text* has no offset."""
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError, OSError):
        raise Refused(f"{option}: Expected a time like 2026-01-31 or 2026-01-31T12:00:00Z", code=MISUSED) from None
