"""`stepwell events`: the events of a workflow, or the new events of all workflows."""

from collections.abc import Iterator
from uuid import UUID

from stepwell.cli.workflow_commands.command_context import CommandContext
from stepwell.cli.workflow_commands.display.event_lines import event_line
from stepwell.contract.events import EventPublic


def events(context: CommandContext, workflow: str, *, follow: bool, after: int) -> None:
    """Print the events with numbers above *after*: the stored ones, or with *follow* all until the workflow ends."""
    workflow_id = context.workflow_id(workflow)
    if follow:
        context.client.get(workflow_id, include_steps=False, include_results=False)
    client = context.patient_client
    stream = client.events(workflow_id, after) if follow else _stored_events(context, workflow_id, after)
    context.show_stream(stream, event_line)


def feed(context: CommandContext) -> None:
    """Print the new events of all workflows until Ctrl-C."""
    context.client.page(limit=1, include_steps=False, include_results=False, total=False)
    context.show_stream(context.patient_client.feed(), event_line)


def _stored_events(context: CommandContext, workflow_id: UUID, after: int) -> Iterator[EventPublic]:
    while True:
        page = context.client.event_page(workflow_id, after)
        yield from page.events
        if not page.has_more:
            return
        after = page.events[-1].id
