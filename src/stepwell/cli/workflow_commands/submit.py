"""`stepwell submit`: creates a workflow from a file."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from msgspec import UNSET

from stepwell.cli.errors import MISUSED, Refused
from stepwell.cli.outcome import exit_code_of, print_warnings
from stepwell.cli.output import print_message
from stepwell.cli.run_progress import advice_of_service, progress_display
from stepwell.cli.workflow_commands.command_context import CommandContext
from stepwell.cli.workflow_commands.definition_changes import (
    read_definition,
    set_labels,
    set_uploads,
    set_values,
)
from stepwell.cli.workflow_commands.recent_workflows import short_id
from stepwell.cli.workflow_commands.text_tables import plain
from stepwell.cli.workflow_commands.workflow_report import render_workflow
from stepwell.contract.workflows import WorkflowPublic

_KEY = re.compile(r"[\x21-\x7e]{1,255}")


class SubmitOptions(NamedTuple):
    """The options of `submit`. The first three change the definition."""

    values: Sequence[str]
    labels: Sequence[str]
    uploads: Sequence[str]
    start: bool
    wait: bool
    idempotency_key: str | None


def submit(context: CommandContext, data: bytes, options: SubmitOptions) -> int:
    """Create the workflow that *data* defines. Returns the exit code."""
    if options.wait and not options.start:
        raise Refused("--wait: a workflow that isn't started doesn't end; use --start", code=MISUSED)
    key = options.idempotency_key
    if key is not None and _KEY.fullmatch(key) is None:
        raise Refused("--idempotency-key: Expected 1 to 255 printable ASCII characters without spaces", code=MISUSED)
    definition = read_definition(data)
    set_values(definition, options.values)
    set_labels(definition, options.labels)
    set_uploads(definition, options.uploads, lambda path: context.client.upload(path).path)
    created = context.client.create(definition, start=options.start, idempotency_key=key)
    context.remember(created.id, submitted=created.id)
    context.store_shown_ids()  # before the wait, so that other commands can name it meanwhile
    print_warnings([] if created.warnings is UNSET else created.warnings)
    if not options.wait:
        short = short_id(created.id)
        print_message(f"submitted {created.name}, which is {created.status}: see `stepwell show {short}`")
        context.show(created, lambda workflow: plain(workflow.id))
        return 0
    print_message(f"submitted workflow {created.id}")
    workflow = _follow(context, created)
    context.show(workflow, render_workflow)
    return exit_code_of(workflow.status)


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
