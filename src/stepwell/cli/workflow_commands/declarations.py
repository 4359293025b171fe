"""The commands over the API that create, list, show and control workflows, with their options."""

from typing import IO, TYPE_CHECKING, Any

import click

from stepwell.cli.workflow_commands.service_command import (
    optional_workflow_id,
    service_command,
    workflow_id,
    workflow_ids,
)

# ruff: noqa: PLC0415 - a command imports its implementation when it runs
# ruff: noqa: FBT001 - a flag is an option

if TYPE_CHECKING:
    from stepwell.cli.workflow_commands.command_context import CommandContext
    from stepwell.cli.workflow_commands.workflow_list import Order
    from stepwell.contract.forecasts import DryRunVerb

_ORDERS: "dict[str, Order]" = {"newest": "-created_at", "oldest": "created_at"}

_definition = click.argument("file", type=click.File("rb"))
_values = click.option(
    "--set",
    "values",
    multiple=True,
    metavar="STEP.config.KEY=VALUE",
    help="Set a value in the config of a step, or with inputs.KEY an input: JSON, or else a text. A step id with dots "
    "stands in double quotes. Repeatable.",
)
_dry_run = click.option("--dry-run", is_flag=True, help="Show what would happen, and change nothing.")
_wait = click.option("--wait", is_flag=True, help="Wait for the end. Exit code 1 if it is not COMPLETED.")


@service_command("submit")
@_definition
@_values
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Add a label. Repeatable.")
@click.option(
    "--upload",
    "uploads",
    multiple=True,
    metavar="STEP.config.KEY=FILE",
    help="Upload a file of yours, and set its path in the config of a step, or with inputs.KEY as an input. "
    "Repeatable.",
)
@click.option("--start/--no-start", default=True, show_default=True, help="Whether the workflow starts at once.")
@_wait
@click.option("--idempotency-key", metavar="KEY", help="Create it once, however often this is repeated with this key.")
def submit(
    context: "CommandContext",
    file: IO[bytes],
    values: tuple[str, ...],
    labels: tuple[str, ...],
    uploads: tuple[str, ...],
    start: bool,
    wait: bool,
    idempotency_key: str | None,
) -> int:
    """Create a workflow from the definition in FILE ("-" for stdin), and print its id.

    With --wait, it shows the progress, and prints the workflow at its end. Ctrl-C then ends the wait, not the workflow.
    """
    from stepwell.cli.workflow_commands.submit import SubmitOptions, submit

    options = SubmitOptions(values, labels, uploads, start, wait, idempotency_key)
    return submit(context, file.read(), options)


@service_command("plan")
@_definition
@_values
def plan(context: "CommandContext", file: IO[bytes], values: tuple[str, ...]) -> None:
    """Show how the definition in FILE ("-" for stdin) would run: order, providers and prices. Nothing is stored."""
    from stepwell.cli.workflow_commands.plan_report import plan

    plan(context, file.read(), values)


@service_command("ls")
@click.option("--status", "statuses", multiple=True, help="A status, or several with commas. Repeatable: any of them.")
@click.option("--name", help="The beginning of the name, in upper or lower case.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="A label. Repeatable: all of them.")
@click.option("--origin-instance", help="The instance that created it.")
@click.option("--origin-tenant-id", help="The tenant.")
@click.option("--origin-zone", help="The zone.")
@click.option("--origin-reference", help="The caller's reference.")
@click.option("--created-after", metavar="TIME", help="Like 2026-01-31 or 2026-01-31T12:00:00Z.")
@click.option("--created-before", metavar="TIME", help="In local time, without an offset.")
@click.option("--include-children", is_flag=True, help="Sub-workflows, too.")
@click.option("--include-deleted", is_flag=True, help="Deleted workflows, too.")
@click.option("--order", type=click.Choice(list(_ORDERS)), default="newest", show_default=True, help="Which are first.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="The most to list.")
@click.option("--all", "every", is_flag=True, help="List all that match, in place of --limit.")
@click.option("--counts", is_flag=True, help="Print the number of workflows by status, and no list.")
def ls(
    context: "CommandContext",
    statuses: tuple[str, ...],
    labels: tuple[str, ...],
    order: str,
    limit: int,
    every: bool,
    counts: bool,
    **filters: Any,
) -> None:
    """List workflows, the newest first."""
    from stepwell.cli.workflow_commands.workflow_list import ListOptions, list_workflows

    options = ListOptions(statuses, labels, None if every else limit, _ORDERS[order], counts)
    list_workflows(context, options, filters)


@service_command("show")
@workflow_id
def show(context: "CommandContext", workflow: str) -> None:
    """Show a workflow: its steps, costs, errors and results."""
    from stepwell.cli.workflow_commands.workflow_report import show

    show(context, workflow)


@service_command("open")
@optional_workflow_id
@click.option("--print", "print_url", is_flag=True, help="Print the URL, and open nothing.")
def open_page(context: "CommandContext", workflow: str | None, print_url: bool) -> None:
    """Open the web page in a browser: the runs, or the one with this ID.

    For the `stepwell up` on this machine, the URL signs in once, within ten minutes. Other services ask for a token.
    """
    from stepwell.cli.workflow_commands.open_page import open_page

    open_page(context, workflow, print_url=print_url)


@service_command("start")
@workflow_ids
@_dry_run
@_wait
def start(context: "CommandContext", workflows: tuple[str, ...], dry_run: bool, wait: bool) -> int:
    """Start workflows that are PENDING."""
    return _apply(context, "start", workflows, dry_run=dry_run, wait=wait)


@service_command("pause")
@workflow_ids
@_dry_run
def pause(context: "CommandContext", workflows: tuple[str, ...], dry_run: bool) -> int:
    """Pause workflows that are RUNNING: nothing new starts, and running steps end."""
    return _apply(context, "pause", workflows, dry_run=dry_run)


@service_command("resume")
@workflow_ids
@_dry_run
@_wait
def resume(context: "CommandContext", workflows: tuple[str, ...], dry_run: bool, wait: bool) -> int:
    """Continue workflows that are PAUSED or FAILED, from their last checkpoint."""
    return _apply(context, "resume", workflows, dry_run=dry_run, wait=wait)


@service_command("cancel")
@workflow_ids
@_dry_run
def cancel(context: "CommandContext", workflows: tuple[str, ...], dry_run: bool) -> int:
    """Cancel workflows with their running tasks. A cancelled workflow can't be resumed."""
    return _apply(context, "cancel", workflows, dry_run=dry_run)


@service_command("cleanup")
@workflow_ids
@_dry_run
@click.option("--yes", is_flag=True, help="Delete without asking. Required if there is no terminal.")
def cleanup(context: "CommandContext", workflows: tuple[str, ...], dry_run: bool, yes: bool) -> int:
    """Delete workflows with their tasks and files, after a question."""
    return _apply(context, "cleanup", workflows, dry_run=dry_run, yes=yes)


def _apply(context: "CommandContext", verb: "DryRunVerb", workflows: tuple[str, ...], **options: bool) -> int:
    from stepwell.cli.workflow_commands.verbs import VerbOptions, apply_verb

    return apply_verb(context, verb, workflows, VerbOptions(**options))


@service_command("login", connection=("token", "profile"))
@click.argument("url")
def login(context: "CommandContext", url: str) -> None:
    """Store URL with a token as a profile, in your config folder. Later commands use it.

    The token is read from a hidden prompt, or from stdin if that is no terminal. The service must accept it.
    """
    from stepwell.cli.workflow_commands.login import login

    login(context, url)
