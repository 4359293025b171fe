"""The commands over the API that upload and download files, with their options."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from stepwell.cli.workflow_commands.service_command import service_command, workflow_id

# ruff: noqa: PLC0415 - a command imports its implementation when it runs

if TYPE_CHECKING:
    from stepwell.cli.workflow_commands.command_context import CommandContext


@service_command("outputs")
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
def outputs(context: "CommandContext", workflow: str, folder: Path | None, steps: tuple[str, ...]) -> None:
    """Download the files of a workflow, its items and its sub-workflows, and print where they are.

    Each step and item has a folder in DIR. Files that are there already, and complete, aren't downloaded again.
    """
    from stepwell.cli.workflow_commands.downloads import download_outputs

    download_outputs(context, workflow, folder, steps)


@service_command("upload")
@click.argument(
    "files",
    metavar="FILE...",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False, readable=True),
)
@click.option("--origin-tenant-id", metavar="TENANT", help="The tenant of the files, for tokens of all tenants.")
def upload(context: "CommandContext", files: tuple[Path, ...], origin_tenant_id: str | None) -> None:
    """Upload files, and print the path of each. Inputs like `base_image_url` take such a path."""
    from stepwell.cli.workflow_commands.file_uploads import upload

    upload(context, files, origin_tenant_id)
