"""`stepwell budget`: what a workflow has spent of its budget, and how the budget is changed."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from stepwell.cli.errors import MISUSED, Refused
from stepwell.cli.workflow_commands.command_context import CommandContext
from stepwell.cli.workflow_commands.text_tables import NONE, table
from stepwell.contract.reasons import Explanation
from stepwell.contract.tasks import BudgetPart

_LIMIT = re.compile(r"([A-Z]{3})=([0-9]+(?:\.[0-9]+)?)")


def show_budget(
    context: CommandContext, workflow: str, max_cost: Sequence[str], max_attempts: int | None, *, resume: bool
) -> None:
    """Change what the options name, and show the budget. Raises `Refused`."""
    workflow_id = context.workflow_id(workflow)
    if max_cost or max_attempts is not None:
        found = context.client.get(workflow_id, include_steps=False)
        present: Mapping[str, Any] = found.config.get("budget") or {}
        changed = dict(present) | ({} if max_attempts is None else {"max_attempts": max_attempts})
        changed["max_cost"] = {**(present.get("max_cost") or {}), **_limits(max_cost)}
        context.client.update(workflow_id, budget=changed)
    if resume:
        context.client.resume(workflow_id)
    context.show(context.client.explain(workflow_id), render_budget)


def _limits(texts: Sequence[str]) -> dict[str, str]:
    limits = {}
    for text in texts:
        if (match := _LIMIT.fullmatch(text)) is None:
            raise Refused(f"--max-cost: Expected a currency and an amount, like USD=8.00: {text}", code=MISUSED)
        limits[match[1]] = match[2]
    return limits


def render_budget(explanation: Explanation) -> RenderableType:
    """Return the budget as a table: a line for each currency, and one for attempts."""
    if (budget := explanation.budget) is None:
        return Text("The workflow has no budget.")
    parts = {**budget.costs, "attempts": budget.attempts}
    rows = [
        (name, *map(_number, (part.spent, part.reserved, part.maximum)), _left(part)) for name, part in parts.items()
    ]
    headings = ("UNIT", "SPENT", "RESERVED", "AT MOST", "LEFT")
    return table(*headings, rows=rows, numbers=headings[1:])


def _left(part: BudgetPart) -> str:
    return NONE if part.maximum is None else _number(round(max(part.maximum - part.spent - part.reserved, 0), 9))


def _number(value: float | None) -> str:
    return NONE if value is None else f"{value:,.9f}".rstrip("0").rstrip(".")
