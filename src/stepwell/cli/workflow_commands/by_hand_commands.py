"""`stepwell step result` and `step skip`: steps and items that a person ends."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from msgspec import DecodeError, json
from rich.console import RenderableType

from stepwell.cli.errors import MISUSED, Refused, os_errors
from stepwell.cli.workflow_commands.command_context import CommandContext
from stepwell.cli.workflow_commands.text_tables import plain
from stepwell.cli.workflow_commands.verbs import forecast_text
from stepwell.client import ItemPublic, Stepwell, WorkflowStepPublic


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
    workflow_id, client = context.workflow_id(workflow), context.client
    result = _parsed(data) | ({} if text is None else {"result_text": text})
    if files:
        tenant = client.get(workflow_id, include_steps=False, include_results=False).origin_tenant_id
        result |= _uploaded(client, files, tenant)
    if not result:
        raise Refused("Give a result: --upload FILE, --text TEXT or --data JSON", code=MISUSED)
    if dry_run:
        forecast = client.dry_run_by_hand(workflow_id, step_id, result, item=item)
        context.show(forecast, lambda each: forecast_text(workflow_id, each))
    elif item is None:
        context.show(client.give_result(workflow_id, step_id, result), _line)
    else:
        context.show(client.give_item_result(workflow_id, step_id, item, result), _item_line(step_id))


def skip(context: CommandContext, workflow: str, step_id: str, item: int | None, *, dry_run: bool) -> None:
    """Skip a step or its *item*."""
    workflow_id, client = context.workflow_id(workflow), context.client
    if dry_run:
        forecast = client.dry_run_by_hand(workflow_id, step_id, item=item)
        context.show(forecast, lambda each: forecast_text(workflow_id, each))
    elif item is None:
        context.show(client.skip_step(workflow_id, step_id), _line)
    else:
        context.show(client.skip_item(workflow_id, step_id, item), _item_line(step_id))


def _parsed(data: str | None) -> dict[str, Any]:
    """Return the value of `--data`. Raises `Refused`."""
    try:
        value = {} if data is None else json.decode(data)
    except DecodeError:
        value = None
    if not isinstance(value, dict):
        raise Refused(f'--data: Expected an object, like {{"result_text": "a text"}}: {data}', code=MISUSED)
    return value


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


def _line(step: WorkflowStepPublic) -> RenderableType:
    return plain(f"{step.step_id} {step.status}")


def _item_line(step_id: str) -> Callable[[ItemPublic], RenderableType]:
    return lambda item: plain(f"{step_id}, item {item.item} {item.status}")
