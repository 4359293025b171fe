"""The commands about stored definitions, with their options."""

from typing import IO, TYPE_CHECKING

import click

from stepwell.cli.workflow_commands.service_command import lazy_command, service_command, service_commands

# ruff: noqa: PLC0415 - a command imports its implementation when it runs
# ruff: noqa: FBT001 - a flag is an option

if TYPE_CHECKING:
    from stepwell.cli.workflow_commands.command_context import CommandContext


@service_commands.group("definitions")
def definitions() -> None:
    """Store definitions by name, in versions, and list, compare, pin, archive and delete them."""


_name = click.argument("name")


@service_command("put", group=definitions)
@click.argument("name", required=False)
@click.argument("file", type=click.File("rb"), required=False)
@click.option("--example", help="Store this example instead of a file, as NAME or under its own name.")
@click.option("--dry-run", is_flag=True, help="Show what would happen, and change nothing.")
def put_definition(
    context: "CommandContext", name: str | None, file: IO[bytes] | None, example: str | None, dry_run: bool
) -> None:
    """Store the definition in FILE ("-" for stdin) as the next version of NAME, and print that.

    Members that belong to a run, like `name`, are left out. If the newest version is equal, nothing is stored.
    """
    from stepwell.cli.workflow_commands.stored_definitions import put, put_example

    if example is not None and file is None:
        put_example(context, name or example, example, dry_run=dry_run)
    elif example is None and file is not None and name is not None:
        put(context, name, file.read(), dry_run=dry_run)
    else:
        raise click.UsageError("Name a definition and a file, or use --example.")


@lazy_command("ls", "stored_definitions.list_all", group=definitions)
@click.option("--name", help="The beginning of the name.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="A label. Repeatable: all of them.")
@click.option("--archived", is_flag=True, help="Only archived ones.")
def list_definitions() -> None:
    """List the stored definitions, ordered by name."""


@lazy_command("show", "stored_definitions.show", group=definitions)
@click.argument("name", metavar="NAME[@VERSION]")
def show_definition() -> None:
    """Print a stored definition in its newest version, or in another one."""


@lazy_command("diff", "stored_definitions.compare", group=definitions)
@_name
@click.argument("old", type=click.IntRange(min=1))
@click.argument("new", type=click.IntRange(min=1))
def compare_definitions() -> None:
    """Print the difference between the versions OLD and NEW of a stored definition."""


@lazy_command("pin", "stored_definitions.pin", group=definitions)
@_name
@click.argument("version")
def pin_definition() -> None:
    """Make VERSION, a number or `newest`, the default version of a stored definition."""


@service_command("archive", group=definitions)
@_name
@click.option("--undo", is_flag=True, help="End that.")
def archive_definition(context: "CommandContext", name: str, undo: bool) -> None:
    """Archive a stored definition."""
    from stepwell.cli.workflow_commands.stored_definitions import change

    change(context, name, archived=not undo)


@lazy_command("rm", "stored_definitions.delete", group=definitions)
@_name
@click.option("--yes", is_flag=True, help="Delete without asking. Required if there is no terminal.")
def delete_definition() -> None:
    """Delete a stored definition with all its versions, after a question."""
