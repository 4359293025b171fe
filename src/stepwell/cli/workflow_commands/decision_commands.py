"""`stepwell decisions`, `decide` and `signal`: the steps that wait for people and programs."""

from collections.abc import Sequence
from typing import Any

from msgspec import DecodeError, json
from rich.console import RenderableType

from stepwell.cli.errors import MISUSED, Refused
from stepwell.cli.workflow_commands.command_context import CommandContext
from stepwell.cli.workflow_commands.recent_workflows import short_id
from stepwell.cli.workflow_commands.text_tables import plain, table, time_text
from stepwell.contract.workflows import OpenDecision, WorkflowStepPublic


def list_decisions(context: CommandContext, workflow: str | None) -> None:
    workflow_id = None if workflow is None else context.workflow_id(workflow)
    found = list(context.client.decisions(workflow_id))
    context.remember(*dict.fromkeys(each.workflow_id for each in found))
    context.show_each(found, _decision_table)


def decide(
    context: CommandContext, workflow: str, step_id: str, choice: str, note: str | None, data: str | None
) -> None:
    workflow_id = context.workflow_id(workflow)
    context.remember(workflow_id)
    context.show(context.client.decide(workflow_id, step_id, choice, note=note, data=_parsed(data)), _step_line)


def send_signal(context: CommandContext, workflow: str, name: str, data: str | None) -> None:
    workflow_id = context.workflow_id(workflow)
    context.remember(workflow_id)
    context.show(context.client.signal(workflow_id, name, _parsed(data)), _step_line)


def _parsed(data: str | None) -> Any:
    """Return the value of `--data`. Raises `Refused`."""
    try:
        return None if data is None else json.decode(data)
    except DecodeError:
        raise Refused(f'--data: Expected JSON, like 5, "a text" or {{"euros": 5}}: {data}', code=MISUSED) from None


def _decision_table(decisions: Sequence[OpenDecision]) -> RenderableType:
    if not decisions:
        return "No step waits for a decision."
    rows = [
        (short_id(each.workflow_id), each.step_id, time_text(each.since), " ".join(each.choices), _about(each))
        for each in decisions
    ]
    return table("ID", "STEP", "SINCE", "CHOICES", "ABOUT", rows=rows, whole=("ID",))


def _about(decision: OpenDecision) -> str:
    text = decision.message or decision.workflow_name
    return text if decision.until is None else f"{text} (until {time_text(decision.until)})"


def _step_line(step: WorkflowStepPublic) -> RenderableType:
    return plain(f"{step.step_id} {step.status}")
