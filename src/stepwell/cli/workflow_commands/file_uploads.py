"""`stepwell upload`: uploads files to the service."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from stepwell.cli.errors import os_errors
from stepwell.cli.workflow_commands.command_context import CommandContext
from stepwell.cli.workflow_commands.text_tables import plain
from stepwell.contract.files import ArtifactPublic


def upload(context: CommandContext, files: Sequence[Path], tenant: str | None) -> None:
    """Upload *files*, and print the path of each as soon as it is stored. Raises `Refused`."""
    client = context.client

    def upload_each() -> Iterator[ArtifactPublic]:
        for file in files:
            with os_errors(f"cannot read {file}"):
                artifact = client.upload(file, origin_tenant_id=tenant)
            yield artifact

    context.show_stream(upload_each(), lambda artifact: plain(artifact.path))
