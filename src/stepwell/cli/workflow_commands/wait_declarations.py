"""The commands over the API about steps that wait for decisions and signals, with their options."""

from typing import TYPE_CHECKING

import click

from stepwell.cli.workflow_commands.service_command import optional_workflow_id, service_command, workflow_id

# ruff: noqa: PLC0415 - a command imports its implementation when it runs

if TYPE_CHECKING:
    from stepwell.cli.workflow_commands.command_context import CommandContext

_data = click.option("--data", metavar="JSON", help="Data for the steps that read the result.")


@service_command("decisions")
@optional_workflow_id
def decisions(context: "CommandContext", workflow: str | None) -> None:
    """List the steps that wait for a decision, the longest waiting first: of all workflows, or of one and its
    sub-workflows.
    """
    from stepwell.cli.workflow_commands.decision_commands import list_decisions

    list_decisions(context, workflow)


@service_command("decide")
@workflow_id
@click.argument("step")
@click.argument("choice")
@click.option("--note", metavar="TEXT", help="Why, for people.")
@_data
def decide(
    context: "CommandContext", workflow: str, step: str, choice: str, note: str | None, data: str | None
) -> None:
    """Decide for the STEP of a workflow, which waits for that, once. `decisions` lists the choices."""
    from stepwell.cli.workflow_commands.decision_commands import decide

    decide(context, workflow, step, choice, note, data)


@service_command("signal")
@workflow_id
@click.argument("name")
@_data
def signal(context: "CommandContext", workflow: str, name: str, data: str | None) -> None:
    """Send the signal NAME to the step of a workflow that waits for it, or is going to."""
    from stepwell.cli.workflow_commands.decision_commands import send_signal

    send_signal(context, workflow, name, data)
