"""The commands that list: workflows, explain, tasks, items, deliveries, redeliver, providers, costs, and events."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, Literal, NamedTuple, TypeAlias
from uuid import UUID

from rich.console import RenderableType

from stepwell.cli.errors import MISUSED, Refused
from stepwell.cli.workflow_commands.command_context import CommandContext, utc_now
from stepwell.cli.workflow_commands.definition_changes import read_labels
from stepwell.cli.workflow_commands.display.event_lines import event_line
from stepwell.cli.workflow_commands.display.report_tables import (
    cost_table,
    delivery_table,
    explanation_table,
    item_table,
    provider_table,
    task_table,
)
from stepwell.cli.workflow_commands.recent_workflows import short_id
from stepwell.cli.workflow_commands.text_tables import (
    NONE,
    cost_text,
    duration_between,
    status_text,
    table,
    time_text,
    workflow_status_text,
)
from stepwell.contract.enums import DeliveryStatus, StepStatus, WorkflowStatus
from stepwell.contract.events import DeliveryPublic, EventPublic
from stepwell.contract.workflows import WorkflowCountsResponse, WorkflowPublic

_GIVEN_UP = (DeliveryStatus.FAILED, DeliveryStatus.STOPPED)
_DELIVERY_ID = re.compile(r"[A-Za-z0-9_-]+")


def explain(context: CommandContext, workflow: str) -> None:
    workflow_id = context.workflow_id(workflow)
    context.show(context.client.explain(workflow_id), explanation_table)


def list_tasks(context: CommandContext, workflow: str, *, include_deleted: bool) -> None:
    tasks = context.client.tasks(context.workflow_id(workflow), include_deleted=include_deleted)
    now = utc_now()
    context.show_each(tasks, lambda tasks: task_table(tasks, now))


def list_items(context: CommandContext, workflow: str, step_id: str, statuses: Sequence[str]) -> None:
    """Print the items of the step in one of these *statuses*, or all of them. Raises `Refused`."""
    wanted = [status for text in statuses for status in text.upper().split(",")]
    if unknown := [status for status in wanted if status not in StepStatus.__members__]:
        raise Refused(f"--status: Expected one of {', '.join(StepStatus)}: {unknown[0]}", code=MISUSED)
    workflow_id = context.workflow_id(workflow)
    now = utc_now()
    items = context.client.items(workflow_id, step_id, status=wanted)
    context.show_each(items, lambda items: item_table(items, now))


def list_deliveries(context: CommandContext, workflow: str) -> None:
    context.show_each(context.client.deliveries(context.workflow_id(workflow)), delivery_table)


def redeliver(context: CommandContext, workflow: str, deliveries: Sequence[str]) -> None:
    """Send *deliveries* again; all that were given up if there are none. Raises `Refused`."""
    for delivery_id in deliveries:
        if _DELIVERY_ID.fullmatch(delivery_id) is None:
            raise Refused(f"{delivery_id}: Expected the id of a delivery, as `deliveries` lists it", code=MISUSED)
    workflow_id = context.workflow_id(workflow)
    client = context.client

    def send_each() -> Iterator[DeliveryPublic]:
        failed = () if deliveries else [each.id for each in client.deliveries(workflow_id) if each.status in _GIVEN_UP]
        for delivery_id in (*deliveries, *failed):
            yield client.redeliver(workflow_id, delivery_id)

    context.show_each(send_each(), delivery_table)


def list_providers(context: CommandContext) -> None:
    context.show_each(context.client.providers(), provider_table)


def list_costs(
    context: CommandContext, since: str | None, until: str | None, keys: Sequence[str], definition: str | None
) -> None:
    context.show_each(context.client.costs(since, until, by=keys, definition=definition), cost_table)


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
            workflow_status_text(workflow),
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


def events(context: CommandContext, workflow: str, *, follow: bool, after: int) -> None:
    """Print the events with numbers above *after*: the stored ones, or with *follow* all until the workflow ends."""
    workflow_id = context.workflow_id(workflow)
    if follow:
        context.client.get(workflow_id, include_steps=False, include_results=False)
    client = context.patient_client
    stream = client.events(workflow_id, after) if follow else _stored_events(context, workflow_id, after)
    context.show_stream(stream, event_line)


def feed(context: CommandContext, definition: str | None) -> None:
    context.client.page(definition=definition, limit=1, include_steps=False, include_results=False, total=False)
    context.show_stream(context.patient_client.feed(definition=definition), event_line)


def _stored_events(context: CommandContext, workflow_id: UUID, after: int) -> Iterator[EventPublic]:
    while True:
        page = context.client.event_page(workflow_id, after)
        yield from page.events
        if not page.has_more:
            return
        after = page.events[-1].id
