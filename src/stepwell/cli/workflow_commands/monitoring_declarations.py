"""The commands over the API that show what runs, waits, has happened and costs, with their options."""

from typing import TYPE_CHECKING

import click

from stepwell.cli.workflow_commands.service_command import complete_ids, service_command, workflow_id

# ruff: noqa: PLC0415 - a command imports its implementation when it runs
# ruff: noqa: FBT001 - a flag is an option

if TYPE_CHECKING:
    from stepwell.cli.workflow_commands.command_context import CommandContext

_COST_KEYS = ("tenant", "provider", "model", "day")


@service_command("watch")
@workflow_id
def watch(context: "CommandContext", workflow: str) -> int:
    """Show a workflow live until its end: its steps with their progress, and why they wait.

    Without a terminal, it prints a line for each event, then the outcome. With --json, it prints the events and then
    the workflow, one in each line. Exit code 0: it is COMPLETED; 1: it is FAILED or CANCELLED. Ctrl-C ends the display,
    not the workflow.
    """
    from stepwell.cli.workflow_commands.watch import watch

    return watch(context, workflow)


@service_command("top")
@click.option("--once", is_flag=True, help="Show it once. This is the default without a terminal and with --json.")
def top(context: "CommandContext", once: bool) -> None:
    """Show what runs and what waits, live: workflows, steps with their reasons, and providers. Ctrl-C ends it."""
    from stepwell.cli.workflow_commands.top import top

    top(context, once=once)


@service_command("events")
@click.argument("workflow", metavar="[ID]", required=False, shell_complete=complete_ids)
@click.option("-f", "--follow", is_flag=True, help="Continue with new events, until the workflow ends.")
@click.option("--after", type=click.IntRange(min=0), default=0, help="Only events with a higher number.")
def events(context: "CommandContext", workflow: str | None, follow: bool, after: int) -> None:
    """Print the events of a workflow, oldest first.

    Without ID, `events -f` follows the new events of all workflows until Ctrl-C.
    """
    from stepwell.cli.workflow_commands.listings import events, feed

    if workflow is not None:
        events(context, workflow, follow=follow, after=after)
    elif follow and not after:
        feed(context)
    else:
        raise click.UsageError("Name a workflow, or use -f alone to follow the new events of all of them.")


@service_command("explain")
@workflow_id
def explain(context: "CommandContext", workflow: str) -> None:
    """Explain why a workflow and its steps don't progress, and what to do about it."""
    from stepwell.cli.workflow_commands.listings import explain

    explain(context, workflow)


@service_command("tasks")
@workflow_id
@click.option("--include-deleted", is_flag=True, help="Deleted tasks, too.")
def tasks(context: "CommandContext", workflow: str, include_deleted: bool) -> None:
    """List the tasks of a workflow, oldest first. A task is one attempt at a step."""
    from stepwell.cli.workflow_commands.listings import list_tasks

    list_tasks(context, workflow, include_deleted=include_deleted)


@service_command("items")
@workflow_id
@click.argument("step")
@click.option("--status", "statuses", multiple=True, help="A status, or several with commas. Repeatable: any of them.")
def items(context: "CommandContext", workflow: str, step: str, statuses: tuple[str, ...]) -> None:
    """List the items of the STEP of a workflow, which runs once for each of them, with their results and errors."""
    from stepwell.cli.workflow_commands.listings import list_items

    list_items(context, workflow, step, statuses)


@service_command("deliveries")
@workflow_id
def deliveries(context: "CommandContext", workflow: str) -> None:
    """List the webhooks of a workflow, those sent and those still to be sent."""
    from stepwell.cli.workflow_commands.listings import list_deliveries

    list_deliveries(context, workflow)


@service_command("redeliver")
@workflow_id
@click.argument("deliveries", metavar="[DELIVERY...]", nargs=-1)
@click.option(
    "--failed",
    is_flag=True,
    help="Send all webhooks of the workflow again that were given up: FAILED (no attempt is left) and STOPPED (the "
    "receiver answered 410).",
)
def redeliver(context: "CommandContext", workflow: str, deliveries: tuple[str, ...], failed: bool) -> None:
    """Send webhooks of a workflow again, whatever their status is. `deliveries` lists them."""
    from stepwell.cli.workflow_commands.listings import redeliver

    if failed == bool(deliveries):
        raise click.UsageError("Name deliveries, or use --failed.")
    redeliver(context, workflow, deliveries)


@service_command("providers")
def providers(context: "CommandContext") -> None:
    """List the providers, with their slots, models, circuit breakers and refused keys."""
    from stepwell.cli.workflow_commands.listings import list_providers

    list_providers(context)


@service_command("costs")
@click.option("--from", "since", metavar="DAY", help="Only attempts that ended on this day (UTC) or later.")
@click.option("--to", "until", metavar="DAY", help="Only attempts that ended before this day (UTC).")
@click.option(
    "--by",
    "keys",
    type=click.Choice(_COST_KEYS),
    multiple=True,
    help="What to sum by. Repeatable. Without it, there is one sum for each currency.",
)
def costs(context: "CommandContext", since: str | None, until: str | None, keys: tuple[str, ...]) -> None:
    """Show the costs of attempts at providers, as exact sums by currency."""
    from stepwell.cli.workflow_commands.listings import list_costs

    list_costs(context, since, until, keys)
