"""Events as lines of text."""

from msgspec import json
from rich.text import Text

from stepwell.cli.workflow_commands.recent_workflows import short_id
from stepwell.cli.workflow_commands.text_tables import line_text
from stepwell.contract.events import EventPublic, FeedEventPublic

_STYLES = {
    "workflow.completed": "bold green",
    "workflow.failed": "bold red",
    "workflow.cancelled": "bold magenta",
    "step.completed": "green",
    "step.failed": "red",
    "step.retrying": "yellow",
    "step.outcome_unknown": "yellow",
}
_TYPE_WIDTH = len("step.outcome_unknown")
_SERVICE = "stepwell"


def event_line(event: EventPublic) -> Text:
    """Return an event in one line: its local time, number, type and step, the facts of its data, and who caused it. An
    event of the feed has the end of its workflow's id.
    """
    at = event.at.astimezone()
    line = Text().append(f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03} ", "dim")
    if isinstance(event, FeedEventPublic):
        line.append(f"{short_id(event.workflow_id)} ", "bold")
    line.append(f"{event.id:>4} ", "dim").append(f"{event.type:<{_TYPE_WIDTH}}", _STYLES.get(event.type, ""))
    if event.step_id is not None:
        line.append(" ").append_text(line_text(event.step_id, "bold"))
    for name, value in event.data.items():
        if value is None:
            continue
        line.append(" ").append_text(line_text(f"{name}={_value(value)}", "dim"))
    if event.actor != _SERVICE:
        line.append(" by ", "dim").append_text(line_text(event.actor))
    return line


def _value(value: object) -> str:
    return value if isinstance(value, str) else json.encode(value).decode()
