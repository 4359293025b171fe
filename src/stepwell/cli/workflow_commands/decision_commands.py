"""`stepwell decisions`, `decide` and `signal`: the steps that wait for people and programs."""

from collections.abc import Sequence
from typing import Any, Final

from msgspec import DecodeError, json
from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from stepwell.cli.errors import MISUSED, Refused
from stepwell.cli.workflow_commands.command_context import CommandContext
from stepwell.cli.workflow_commands.recent_workflows import SHORT, short_id
from stepwell.cli.workflow_commands.text_tables import line_text, plain, time_text
from stepwell.contract.workflows import OpenDecision, WorkflowStepPublic

_HEADINGS: Final = f"{'ID':<{SHORT}} {'SINCE':<19} STEP: QUESTION, CHOICES"
_MAX_DIGITS: Final = 3


def list_decisions(context: CommandContext, workflow: str | None, definition: str | None) -> None:
    workflow_id = None if workflow is None else context.workflow_id(workflow)
    decisions = list(context.client.decisions(workflow_id, definition=definition))
    context.remember(*dict.fromkeys(each.workflow_id for each in decisions))
    context.show_each(decisions, decision_table)


def decide(
    context: CommandContext, workflow: str, step_id: str, choice: str, note: str | None, data: str | None
) -> None:
    """Decide for a step. *choice* is the name of a choice, or else its number from 1."""
    workflow_id, value = context.workflow_id(workflow), _parsed(data)
    if choice.isdecimal() and len(choice) <= _MAX_DIGITS:
        decisions = context.client.decisions(workflow_id, step_id=step_id)  # a token that may only decide reads them
        choice = named_choice(choice, next((each.choices for each in decisions if each.workflow_id == workflow_id), ()))
    context.show(context.client.decide(workflow_id, step_id, choice, note=note, data=value), step_line)


def named_choice(choice: str, choices: Sequence[str]) -> str:
    """Return the name of a choice. A choice that is named like the number comes first; else the service refuses it."""
    is_number = choice not in choices and 1 <= int(choice) <= len(choices)
    return choices[int(choice) - 1] if is_number else choice


def send_signal(context: CommandContext, workflow: str, name: str, data: str | None) -> None:
    workflow_id = context.workflow_id(workflow)
    context.show(context.client.signal(workflow_id, name, _parsed(data)), step_line)


def _parsed(data: str | None) -> Any:
    """Return the value of `--data`. Raises `Refused`."""
    try:
        return None if data is None else json.decode(data)
    except DecodeError:
        raise Refused(f'--data: Expected JSON, like 5, "a text" or {{"euros": 5}}: {data}', code=MISUSED) from None


def decision_table(decisions: Sequence[OpenDecision]) -> RenderableType:
    if not decisions:
        return "No step waits for a decision."
    lines: list[RenderableType] = [Text(_HEADINGS, "bold", no_wrap=True, overflow="ellipsis")]
    for each in decisions:
        lines.append(line_text(f"{short_id(each.workflow_id)} {time_text(each.since)} {each.step_id}: {_about(each)}"))
        choices = [plain(f"{number} {choice}") for number, choice in enumerate(each.choices, 1)]
        lines.append(Padding(Columns(choices, padding=(0, 2)), (0, 0, 0, SHORT + 1)))
    return Group(*lines)


def _about(decision: OpenDecision) -> str:
    items = [each.value for each in decision.ancestors if each.value is not None]
    text = ", ".join([*items, decision.message or decision.workflow_name])
    return text if decision.until is None else f"{text} (until {time_text(decision.until)})"


def step_line(step: WorkflowStepPublic) -> RenderableType:
    return plain(f"{step.step_id} {step.status}")
