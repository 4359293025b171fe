"""`stepwell step result` and `step skip`: steps and items that a person ends."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from msgspec import DecodeError, ValidationError, json

from stepwell.cli.errors import MISUSED, Refused, os_errors
from stepwell.cli.workflow_commands.command_context import CommandContext
from stepwell.cli.workflow_commands.decision_commands import step_line
from stepwell.cli.workflow_commands.text_tables import plain
from stepwell.cli.workflow_commands.verbs import forecast_text
from stepwell.client import Stepwell


def give_result(
    context: CommandContext,
    workflow: str,
    step_id: str,
    item: int | None,
    *,
    files: Sequence[Path],
    text: str | None,
    data: str | None,
    dry_run: bool,
) -> None:
    """Complete a step or its *item* with a result of uploaded *files*, a *text* and the members in *data*."""
    workflow_id, result = context.workflow_id(workflow), _parsed(data)
    if text is not None:
        result["result_text"] = text
    if files:
        tenant = context.client.get(workflow_id, include_steps=False, include_results=False).origin_tenant_id
        result |= _uploaded(context.client, files, tenant)
    if not result:
        raise Refused("Give a result: --upload FILE, --text TEXT or --data JSON", code=MISUSED)
    _end(context, workflow_id, step_id, item, result, dry_run=dry_run)


def skip(context: CommandContext, workflow: str, step_id: str, item: int | None, *, dry_run: bool) -> None:
    """Skip a step or its *item*."""
    _end(context, context.workflow_id(workflow), step_id, item, None, dry_run=dry_run)


def _end(
    context: CommandContext,
    workflow_id: UUID,
    step_id: str,
    item: int | None,
    result: dict[str, Any] | None,
    *,
    dry_run: bool,
) -> None:
    client, ended = context.client, (workflow_id, step_id)
    if dry_run:
        forecast = client.dry_run_by_hand(*ended, result, item=item)
        context.show(forecast, lambda each: forecast_text(workflow_id, each))
    elif item is None:
        context.show(client.skip_step(*ended) if result is None else client.give_result(*ended, result), step_line)
    else:
        of_item = client.skip_item(*ended, item) if result is None else client.give_item_result(*ended, item, result)
        context.show(of_item, lambda each: plain(f"{step_id}, item {each.item} {each.status}"))


def _parsed(data: str | None) -> dict[str, Any]:
    """Return the value of `--data`. Raises `Refused`."""
    try:
        return {} if data is None else json.decode(data, type=dict[str, Any])
    except (DecodeError, ValidationError):
        raise Refused(f'--data: Expected an object, like {{"result_text": "a text"}}: {data}', code=MISUSED) from None


def _uploaded(client: Stepwell, files: Sequence[Path], tenant: str | None) -> dict[str, Any]:
    """Upload the *files*. Return the members of a result that name them. Raises `Refused`."""
    paths = defaultdict[str, list[str]](list)
    for file in files:
        with os_errors(f"cannot read {file}"):
            upload = client.upload(file, origin_tenant_id=tenant)
        kind = upload.media_type.partition("/")[0]
        if kind not in ("image", "video"):
            raise Refused(f"{file}: Expected an image or a video; --text and --data give other results", code=MISUSED)
        paths[kind].append(upload.path)
    members: dict[str, Any] = {f"result_{kind}_path": own[0] for kind, own in paths.items()}
    return members | {f"result_{kind}_paths": own for kind, own in paths.items() if len(own) > 1}
