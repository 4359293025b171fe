"""The commands that read one answer and print it: explain, tasks, items, deliveries, redeliver, providers, costs."""

import re
from collections.abc import Iterator, Sequence

from stepwell.cli.errors import MISUSED, Refused
from stepwell.cli.workflow_commands.command_context import CommandContext, utc_now
from stepwell.cli.workflow_commands.display.report_tables import (
    cost_table,
    delivery_table,
    explanation_table,
    item_table,
    provider_table,
    task_table,
)
from stepwell.contract.enums import DeliveryStatus, StepStatus
from stepwell.contract.events import DeliveryPublic

_GIVEN_UP = (DeliveryStatus.FAILED, DeliveryStatus.STOPPED)
_DELIVERY_ID = re.compile(r"[A-Za-z0-9_-]+")


def explain(context: CommandContext, workflow: str) -> None:
    workflow_id = context.workflow_id(workflow)
    context.remember(workflow_id)
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
    context.remember(workflow_id)
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


def list_costs(context: CommandContext, since: str | None, until: str | None, keys: Sequence[str]) -> None:
    context.show_each(context.client.costs(since, until, by=keys), cost_table)
