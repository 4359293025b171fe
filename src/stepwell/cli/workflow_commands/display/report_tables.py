"""Tables of tasks, items, deliveries, providers, costs and reasons."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec import UNSET, json
from rich.console import RenderableType
from rich.text import Text

from stepwell.cli.workflow_commands.display.step_advice import step_advice, workflow_advice
from stepwell.cli.workflow_commands.recent_workflows import short_id
from stepwell.cli.workflow_commands.text_tables import (
    byte_size,
    cost_text,
    counted,
    duration,
    duration_between,
    exact_number,
    line_text,
    plain,
    status_text,
    table,
    time_text,
)
from stepwell.contract.enums import BreakerState, CostKey
from stepwell.contract.events import DeliveryPublic
from stepwell.contract.providers import ModelStatus, ProviderStatus
from stepwell.contract.reasons import Explanation
from stepwell.contract.tasks import CostGroup, TaskPublic
from stepwell.contract.workflows import ItemPublic

_MAX_VALUE = 200
PROVIDER_COLUMNS = ("PROVIDER", "RUNNING", "WAITING", "BREAKER", "ERRORS", "MEDIAN", "ABOUT")
PROVIDER_NUMBERS = ("RUNNING", "WAITING", "ERRORS", "MEDIAN")
_BREAKER_STYLES = {BreakerState.OPEN: "red", BreakerState.HALF_OPEN: "yellow"}


def task_table(tasks: Sequence[TaskPublic], now: datetime) -> RenderableType:
    if not tasks:
        return "There are no tasks."
    rows = [
        (
            task.step_id if task.item is None else f"{task.step_id}, item {task.item}",
            task.attempt,
            status_text(task.status),
            " ".join(filter(None, (task.provider, task.model, task.remote_id))),
            duration_between(task.started_at, task.completed_at or now),
            "" if task.cost is None else f"{exact_number(task.cost.amount)} {task.cost.currency}",
            _about_task(task),
        )
        for task in tasks
    ]
    headings = ("STEP", "ATTEMPT", "STATUS", "WHERE", "TIME", "COST", "OUTPUTS OR ERROR")
    return table(*headings, rows=rows, numbers=("ATTEMPT", "TIME"))


def _about_task(task: TaskPublic) -> Text:
    facts = [f"{output.path.rpartition('/')[2]} ({byte_size(output.size)})" for output in task.outputs]
    if task.error:
        facts.append(task.error)
    if task.outcome_unknown:
        facts.append("outcome unknown")
    if task.cancel_receipt is not None:
        facts.append(f"job: {task.cancel_receipt}")
    if task.is_deleted:
        facts.append("deleted")
    return plain(", ".join(facts), "red" if task.error else "")


def item_table(items: Sequence[ItemPublic], now: datetime) -> RenderableType:
    if not items:
        return "There are no such items."
    rows = [
        (
            item.item,
            status_text(item.status),
            line_text(_short(item.value)),
            duration_between(item.started_at, item.completed_at or now),
            cost_text(item.cost),
            item.retry_count,
            _about_item(item),
        )
        for item in items
    ]
    headings = ("ITEM", "STATUS", "VALUE", "TIME", "COST", "RETRIES", "RESULT OR ERROR")
    return table(*headings, rows=rows, numbers=("ITEM", "TIME", "COST", "RETRIES"), whole=("STATUS",))


def _about_item(item: ItemPublic) -> Text:
    if item.error_message:
        return plain(item.error_message, "red")
    if item.waiting_for is not None:
        return plain(f"waits for the sub-workflow {item.waiting_for.workflow_id}")
    return line_text("" if item.result is None else _short(item.result))


def _short(value: object) -> str:
    """Return a value in one line, cut at 200 characters; a text without quotes."""
    text = value if isinstance(value, str) else json.encode(value).decode()
    return text if len(text) <= _MAX_VALUE else f"{text[:_MAX_VALUE]}…"


def delivery_table(deliveries: Sequence[DeliveryPublic]) -> RenderableType:
    if not deliveries:
        return "There are no webhooks."
    rows = [(delivery.id, status_text(delivery.status), _about_delivery(delivery)) for delivery in deliveries]
    # `redeliver` takes the id, so it is in one piece.
    return table("DELIVERY", "STATUS", "EVENT AND LAST ATTEMPT", rows=rows, whole=("DELIVERY", "STATUS"))


def _about_delivery(delivery: DeliveryPublic) -> str:
    facts = [str(delivery.type)]
    if delivery.attempts:
        last = delivery.attempts[-1]
        outcome = last.error or "no response" if last.code is None else str(last.code)
        facts.append(f"attempt {len(delivery.attempts)}: {outcome}")
    if delivery.next_at is not None:
        facts.append(f"next attempt at {time_text(delivery.next_at)}")
    return ", ".join(facts)


def provider_table(providers: Sequence[ProviderStatus]) -> RenderableType:
    return table(*PROVIDER_COLUMNS, rows=provider_rows(providers), numbers=PROVIDER_NUMBERS)


def provider_rows(providers: Sequence[ProviderStatus]) -> list[list[Text]]:
    """Return a row for each provider, and one for each of its models that steps have used."""
    rows = []
    for provider in providers:
        about = line_text(provider.detail or ", ".join(provider.capabilities), "red" if provider.detail else "dim")
        running, waiting = Text(f"{provider.in_flight}/{provider.limit}"), Text(str(provider.waiting))
        rows.append([line_text(provider.provider_type, "bold"), running, waiting, Text(), Text(), Text(), about])
        rows += map(_model_row, provider.models)
    return rows


def _model_row(model: ModelStatus) -> list[Text]:
    concurrency, per_minute = (None, None) if model.limit is None else (model.limit.concurrency, model.limit.per_minute)
    about = [f"{counted(model.attempts, 'attempt')} in 5 min"] if model.attempts else []
    if per_minute is not None:
        about.append(f"at most {exact_number(per_minute)} a minute")
    if model.breaker.open_until is not None:
        about.append(f"open until {time_text(model.breaker.open_until)}")
    return [
        line_text(f"  {model.model}"),
        Text(str(model.in_flight) if concurrency is None else f"{model.in_flight}/{concurrency}"),
        Text(str(model.waiting)),
        Text(model.breaker.state, style=_BREAKER_STYLES.get(model.breaker.state, "dim")),
        Text("" if model.error_rate is None else f"{model.error_rate * 100:.0f} %"),
        Text("" if model.latency_s.p50 is None else duration(model.latency_s.p50)),
        line_text(", ".join(about), "dim"),
    ]


def cost_table(costs: Sequence[CostGroup]) -> RenderableType:
    """Return the sums, with the keys by which they are summed. The amounts are exact decimals."""
    if not costs:
        return "There are no costs."
    keys = [key for key in CostKey if getattr(costs[0], key) is not UNSET]
    rows = [
        (
            *(getattr(group, key) for key in keys),
            *_sums(group.amount, group.saved),
            group.currency,
            f"{group.attempts:,}",
        )
        for group in costs
    ]
    headings = [*(key.upper() for key in keys), "AMOUNT", "SAVED", "CURRENCY", "ATTEMPTS"]
    return table(*headings, rows=rows, numbers=("AMOUNT", "SAVED", "ATTEMPTS"))


def _sums(*amounts: Any) -> tuple[str, ...]:
    return tuple(map(exact_number, amounts))  # the client decodes amounts as decimals


def explanation_table(explanation: Explanation) -> RenderableType:
    """Return the reason of the workflow and of each step in full, each with what to do about it."""
    rows: list[tuple[object, ...]] = []
    workflow_id, status = explanation.workflow_id, explanation.status
    if explanation.reason is not None:
        about = _with_advice(explanation.reason.detail, workflow_advice(explanation.reason, workflow_id, status))
        rows.append(("workflow", status_text(explanation.status), about))
    for step in explanation.steps:
        about = _with_advice(step.reason.detail, step_advice(step.reason, workflow_id, status))
        rows.append((plain(step.step_id, "bold"), status_text(step.status), about))
        for below in step.below:
            about = plain(f"In {short_id(below.workflow_id)}: {below.reason.detail}")
            rows.append((plain(f"  {below.step_id}"), status_text(below.status), about))
    if not rows:
        return Text("The workflow is ").append_text(status_text(explanation.status)).append(": nothing waits.")
    return table("STEP", "STATUS", "REASON", rows=rows)


def _with_advice(detail: str, advice: str | None) -> Text:
    text = plain(detail)
    if advice:
        text.append("\n").append_text(plain(advice, "dim"))
    return text
