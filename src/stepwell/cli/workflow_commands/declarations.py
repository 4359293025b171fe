"""The commands over the API, with their options."""

import re
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from stepwell.cli.workflow_commands.service_command import (
    complete_ids,
    lazy_command,
    optional_workflow_id,
    service_command,
    service_commands,
    workflow_id,
    workflow_ids,
)

# ruff: noqa: PLC0415 - a command imports its implementation when it runs
# ruff: noqa: FBT001 - a flag is an option

if TYPE_CHECKING:
    from stepwell.cli.workflow_commands.command_context import CommandContext
    from stepwell.cli.workflow_commands.listings import Order
    from stepwell.contract.forecasts import ControlVerb

_COST_KEYS = ("tenant", "provider", "model", "day", "definition")
_ORDERS: "dict[str, Order]" = {"newest": "-created_at", "oldest": "created_at"}


class _FileOrName(click.File):
    """A file, which is opened; or else the name of a stored definition, which may have a version."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from stepwell.contract.definition import DEFINITION_NAME

        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            is_absent = isinstance(error.__context__, FileNotFoundError | IsADirectoryError)
            if is_absent and re.fullmatch(f"{DEFINITION_NAME}(@.*)?", value):
                return value
            raise


_file_or_name = click.argument("source", metavar="DEFINITION", type=_FileOrName("rb"))
_definition = click.option("--definition", metavar="NAME[@VERSION]", help="Only runs of this stored definition.")
_values = click.option(
    "--set",
    "values",
    multiple=True,
    metavar="STEP.config.KEY=VALUE",
    help="Set a value in the config of a step, or with inputs.KEY an input: JSON, or else a text. A step id with dots "
    "stands in double quotes. Repeatable.",
)
_step = click.argument("step_id", metavar="STEP")
_dry_run = click.option("--dry-run", is_flag=True, help="Show what would happen, and change nothing.")
_data = click.option("--data", metavar="JSON", help="Data for the steps that read the result.")
_wait = click.option("--wait", is_flag=True, help="Wait for the end. Exit code 1 if it is not COMPLETED.")


@service_command("submit")
@_file_or_name
@_values
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Add a label. Repeatable.")
@click.option(
    "--upload",
    "uploads",
    multiple=True,
    metavar="STEP.config.KEY=FILE",
    help="Upload a file of yours, and set its path in the config of a step, or with inputs.KEY as an input. "
    "Repeatable: several files for one KEY make a list, if the definition says so, or KEY[].",
)
@click.option("--start/--no-start", default=True, show_default=True, help="Whether the workflow starts at once.")
@click.option("--name", help="The name of the workflow.")
@click.option("--origin-instance", help="The instance that creates it.")
@_wait
@click.option("--dry-run", is_flag=True, help="Show what would run, as `plan` does. Files are uploaded nevertheless.")
@click.option("--idempotency-key", metavar="KEY", help="Create it once, however often this is repeated with this key.")
def submit(context: "CommandContext", source: IO[bytes] | str, **options: Any) -> int:
    """Create a workflow from DEFINITION, a file ("-" for stdin) or the name of a stored one, and print its id.

    photo-set@3 names version 3. A file has precedence over a stored definition of its name.

    With --wait, it shows the progress, and prints the workflow at its end. Ctrl-C then ends the wait, not the workflow.
    """
    from stepwell.cli.workflow_commands.definition_commands import SubmitOptions, submit

    return submit(context, source, SubmitOptions(**options))


@service_command("plan")
@_file_or_name
@_values
def plan(context: "CommandContext", source: IO[bytes] | str, values: tuple[str, ...]) -> None:
    """Show how DEFINITION, as `submit` takes it, would run: order, providers and prices. Nothing is stored."""
    from stepwell.cli.workflow_commands.definition_commands import SubmitOptions, submit

    submit(context, source, SubmitOptions(values, dry_run=True))


@service_command("ls")
@click.option("--status", "statuses", multiple=True, help="A status, or several with commas. Repeatable: any of them.")
@click.option("--name", help="The beginning of the name, in upper or lower case.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="A label. Repeatable: all of them.")
@_definition
@click.option("--waits-for", type=click.Choice(["decision", "signal", "delay"]), help="What they wait for.")
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
@click.option("--all", "every", is_flag=True, help="List all that match, instead of --limit.")
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
    from stepwell.cli.workflow_commands.listings import ListOptions, list_workflows

    options = ListOptions(statuses, labels, None if every else limit, _ORDERS[order], counts)
    list_workflows(context, options, filters)


@lazy_command("show", "workflow_report.show")
@workflow_id
def show() -> None:
    """Show a workflow: its steps, costs, errors and results."""


@lazy_command("open", "open_page.open_page")
@optional_workflow_id
@click.option("--print", "print_url", is_flag=True, help="Print the URL, and open nothing.")
def open_page() -> None:
    """Open the web page in a browser: the runs, or the one with this ID.

    For the `stepwell up` on this machine, the URL signs in once, within ten minutes. Other services ask for a token.
    """


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


@lazy_command("budget", "budgets.show_budget")
@workflow_id
@click.option("--max-cost", multiple=True, help="The most that attempts may cost, like USD=8.00. Repeatable.")
@click.option("--max-attempts", type=click.IntRange(min=0), help="How many attempts at providers may begin.")
@click.option("--resume", is_flag=True, help="Continue the workflow with the new budget.")
def budget() -> None:
    """Show what a workflow has spent of its budget, or change the budget."""


@service_command("rerun")
@workflow_id
@_values
@click.option("--step", "steps", multiple=True, metavar="STEP", help="A step that runs in any case. Repeatable.")
@click.option("--definition", metavar="NAME[@VERSION]", help="A stored definition, in place of that of the workflow.")
@click.option("--start/--no-start", default=True, show_default=True, help="Whether the workflow starts at once.")
@_wait
@click.option("--dry-run", is_flag=True, help="Show what would be taken over, what would run, and what it costs.")
def rerun(context: "CommandContext", workflow: str, **options: Any) -> int:
    """Run a workflow again that has ended or is PAUSED, with changes, and print the id of the new one.

    What the changes don't concern is taken over, and costs nothing.
    """
    from stepwell.cli.workflow_commands.definition_commands import RerunOptions, rerun

    return rerun(context, workflow, RerunOptions(**options))


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


def _apply(context: "CommandContext", verb: "ControlVerb", workflows: tuple[str, ...], **options: bool) -> int:
    from stepwell.cli.workflow_commands.verbs import VerbOptions, apply_verb

    return apply_verb(context, verb, workflows, VerbOptions(**options))


@lazy_command("login", "login.login", connection=("token", "profile"))
@click.argument("url")
def login() -> None:
    """Store URL with a token as a profile, in your config folder. Later commands use it.

    The token is read from a hidden prompt, or from stdin if that is no terminal. The service must accept it.
    """


@lazy_command("decisions", "decision_commands.list_decisions")
@optional_workflow_id
@_definition
def decisions() -> None:
    """List the steps that wait for a decision, the longest waiting first: of all workflows, or of one and its
    sub-workflows.
    """


@lazy_command("decide", "decision_commands.decide")
@workflow_id
@_step
@click.argument("choice")
@click.option("--note", metavar="TEXT", help="Why, for people.")
@_data
def decide() -> None:
    """Decide for the STEP of a workflow, which waits for that, once. `decisions` lists the choices.

    CHOICE is the name of a choice, or its number. A name that is a number comes first.
    """


@lazy_command("signal", "decision_commands.send_signal")
@workflow_id
@click.argument("name")
@_data
def signal() -> None:
    """Send the signal NAME to the step of a workflow that waits for it, or is going to."""


@service_commands.group("step")
def step() -> None:
    """End a step, or an item of it, by hand: with a result that you give, or by skipping it.

    The workflow is FAILED or PAUSED. Nothing starts before `resume`.
    """


_item = click.option("--item", type=click.IntRange(min=0), metavar="N", help="Only this item of the step, from 0.")


@lazy_command("result", "by_hand_commands.give_result", group=step)
@workflow_id
@_step
@_item
@click.option(
    "--upload",
    "files",
    multiple=True,
    metavar="FILE",
    type=click.Path(path_type=Path, exists=True, dir_okay=False, readable=True),
    help="Upload an image or a video, and give it as the result. Repeatable.",
)
@click.option("--text", help="Give this text as the result.")
@click.option("--data", metavar="JSON", help="An object with other members of the result.")
@_dry_run
def step_result() -> None:
    """Complete the STEP of a workflow with a result that you give."""


@lazy_command("skip", "by_hand_commands.skip", group=step)
@workflow_id
@_step
@_item
@_dry_run
def step_skip() -> None:
    """Skip the STEP of a workflow: it counts as done, and `resume` leaves it."""


@lazy_command("outputs", "files.download_outputs")
@workflow_id
@click.option(
    "-o",
    "--output",
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder for the files. It is created. Default: one named by the workflow's id.",
)
@click.option(
    "--step",
    "steps",
    multiple=True,
    metavar="STEP",
    help="Only files of this step and below it: an id, or a path like each/0/large. Repeatable.",
)
def outputs() -> None:
    """Download the files of a workflow, its items and its sub-workflows, and print where they are.

    Each step and item has a folder in DIR. Files that are there already, and complete, aren't downloaded again.
    """


@lazy_command("upload", "files.upload")
@click.argument(
    "files",
    metavar="FILE...",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False, readable=True),
)
@click.option(
    "--origin-tenant-id", "tenant", metavar="TENANT", help="The tenant of the files, for tokens of all tenants."
)
def upload() -> None:
    """Upload files, and print the path of each. Inputs like `base_image_url` take such a path."""


@lazy_command("watch", "watch.watch")
@workflow_id
def watch() -> None:
    """Show a workflow live until its end: its steps with their progress, and why they wait.

    Without a terminal, it prints a line for each event, then the outcome. With --json, it prints the events and then
    the workflow, one in each line. Exit code 0: it is COMPLETED; 1: it is FAILED or CANCELLED. Ctrl-C ends the display,
    not the workflow.
    """


@lazy_command("top", "top.top")
@click.option("--once", is_flag=True, help="Show it once. This is the default without a terminal and with --json.")
def top() -> None:
    """Show what runs and what waits, live: workflows, steps with their reasons, and providers. Ctrl-C ends it."""


@service_command("events")
@click.argument("workflow", metavar="[ID]", required=False, shell_complete=complete_ids)
@click.option("-f", "--follow", is_flag=True, help="Continue with new events, until the workflow ends.")
@click.option("--after", type=click.IntRange(min=0), default=0, help="Only events with a higher number.")
@_definition
def events(context: "CommandContext", workflow: str | None, follow: bool, after: int, definition: str | None) -> None:
    """Print the events of a workflow, oldest first.

    Without ID, `events -f` follows the new events of all workflows, or of those of a definition, until Ctrl-C.
    """
    from stepwell.cli.workflow_commands.listings import events, feed

    if workflow is not None and definition is None:
        events(context, workflow, follow=follow, after=after)
    elif workflow is None and follow and not after:
        feed(context, definition)
    else:
        raise click.UsageError("Name a workflow, or use -f alone to follow the new events of all of them.")


@lazy_command("explain", "listings.explain")
@workflow_id
def explain() -> None:
    """Explain why a workflow and its steps don't progress, and what to do about it."""


@lazy_command("tasks", "listings.list_tasks")
@workflow_id
@click.option("--include-deleted", is_flag=True, help="Deleted tasks, too.")
def tasks() -> None:
    """List the tasks of a workflow, oldest first. A task is one attempt at a step."""


@lazy_command("items", "listings.list_items")
@workflow_id
@_step
@click.option("--status", "statuses", multiple=True, help="A status, or several with commas. Repeatable: any of them.")
def items() -> None:
    """List the items of the STEP of a workflow, which runs once for each of them, with their results and errors."""


@lazy_command("deliveries", "listings.list_deliveries")
@workflow_id
def deliveries() -> None:
    """List the webhooks of a workflow, those sent and those still to be sent."""


@service_command("redeliver")
@workflow_id
@click.argument("deliveries", metavar="[DELIVERY...]", nargs=-1)
@click.option(
    "--failed",
    is_flag=True,
    help="Send all webhooks of the workflow again that were given up: FAILED (no attempt is left) and STOPPED (the "
    "receiver responded with 410).",
)
def redeliver(context: "CommandContext", workflow: str, deliveries: tuple[str, ...], failed: bool) -> None:
    """Send webhooks of a workflow again, whatever their status is. `deliveries` lists them."""
    from stepwell.cli.workflow_commands.listings import redeliver

    if failed == bool(deliveries):
        raise click.UsageError("Name deliveries, or use --failed.")
    redeliver(context, workflow, deliveries)


class _ListByDefault(click.Group):
    """A group whose command `list` runs if none of its commands is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        named = [each for each in args if each in self.commands or each in ctx.help_option_names]
        return super().parse_args(ctx, args if named else ["list", *args])


@service_commands.group("providers", cls=_ListByDefault)
def providers() -> None:
    """List the providers of a service, or check one with a small paid job."""


@lazy_command("list", "listings.list_providers", group=providers)
def list_providers() -> None:
    """List the providers, with their slots, models, circuit breakers and refused keys."""


@providers.command("check")
@click.argument("provider")
@click.option("--model", help="The model [the provider's default].")
@click.option(
    "--spend",
    type=click.FloatRange(min=0),
    help="The most that both jobs may cost by STEPWELL_PRICES, in their currency [0.05]. Required without a price.",
)
@click.option("--dry-run", is_flag=True, help="Print what would be sent, and send nothing.")
def check_provider(**options: Any) -> int:
    """Check that PROVIDER works as Stepwell expects, by a small job at the real one, which is paid.

    It submits a job, polls it, fetches its result, and cancels a second job. The keys and URLs are the settings of
    `serve`; no service is needed. Exit code 0: all agreed; 1: something differed; 2: nothing was sent.
    """
    import os

    from stepwell.cli.output import settings_of, start_logging
    from stepwell.cli.provider_check import CheckOptions, check_provider
    from stepwell.cli.signals import Signals

    settings = settings_of(os.environ)
    start_logging(settings, os.environ, quiet=True)
    with Signals() as signals:
        return check_provider(settings, CheckOptions(**options), signals)


@lazy_command("costs", "listings.list_costs")
@click.option("--from", "since", metavar="DAY", help="Only attempts that ended on this day (UTC) or later.")
@click.option("--to", "until", metavar="DAY", help="Only attempts that ended before this day (UTC).")
@click.option(
    "--by",
    "keys",
    type=click.Choice(_COST_KEYS),
    multiple=True,
    help="What to sum by. Repeatable. Without it, there is one sum for each currency.",
)
@_definition
def costs() -> None:
    """Show the costs of attempts at providers, and what reuse has saved, as exact sums by currency."""
