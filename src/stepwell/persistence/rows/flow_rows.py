"""Encodes and decodes the rows of waits, signals and items, and the state of a step's flow control."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec import Raw, Struct, json

from stepwell.contract.enums import StepStatus
from stepwell.lifecycle.decision import Decision
from stepwell.lifecycle.model import FlowState, ItemPlace, ItemState, StoredSignal
from stepwell.persistence.rows.item_statements import ITEM_COLUMNS

read_flow = json.Decoder(FlowState).decode


class _Signal(Struct):
    data: Raw
    sender: str
    at: datetime


_read_signals = json.Decoder(dict[str, _Signal]).decode


def read_signals(text: str | None) -> dict[str, StoredSignal]:
    """Decode the column `signals` of `engine_statements.LOAD_WORKFLOWS`."""
    if text is None:
        return {}
    return {name: StoredSignal(bytes(each.data), each.sender, each.at) for name, each in _read_signals(text).items()}


def flow_rows(batch: Sequence[Decision]) -> tuple[list[Any], ...]:
    """Return the parameters of `flow_statements.WRITE_WAITS` and `item_statements.WRITE_ITEMS`."""
    waits, ended, signals, taken, named = list[Any](), list[Any](), list[Any](), list[Any](), list[tuple[str, UUID]]()
    for decision in batch:
        workflow_id = decision.workflow.id
        for position, shown in decision.waits.items():
            flow = decision.steps[position].flow
            if shown is None or flow is None or flow.wait is None:
                ended.append((workflow_id, position))
                continue
            wait, choices = flow.wait, json.encode(flow.wait.choices).decode()
            times = (wait.since, wait.until)
            inputs = shown.inputs.decode()
            waits.append((workflow_id, position, wait.id, wait.kind, *times, shown.message, choices, inputs))
        for name, signal in decision.signals.items():
            if signal is None:
                taken.append((workflow_id, name))
            else:
                signals.append((workflow_id, name, signal.data.decode(), signal.by, signal.at))
        named += [(file_id, workflow_id) for file_id in sorted(decision.named_files)]
    return (
        waits,
        [row[0] for row in ended],
        [row[1] for row in ended],
        signals,
        [row[0] for row in taken],
        [row[1] for row in taken],
        [UUID(file_id) for file_id, _ in named],
        [workflow_id for _, workflow_id in named],
        [row for decision in batch for row in _item_rows(decision)],
    )


def _item_rows(decision: Decision) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of the items as the decision leaves them. Those of new items have their values."""
    items = {step.position: step for step in decision.steps.values() if isinstance(step, ItemState)}
    values = {item.position: item.value for item in decision.new_items}
    for position, item in ({item.position: item for item in decision.new_items} | items).items():
        value = values.get(position)
        yield (
            decision.workflow.id,
            *item.place,
            None if value is None else value.decode(),
            item.status,
            item.task_id,
            item.attempt,
            item.provider_attempts,
            item.retry_count,
            item.on_fallback,
            item.next_attempt_at,
            None if item.result is None else item.result.decode(),
            item.error_message,
            item.started_at,
            item.completed_at,
            item.updated_at,
            item.skip_reason,
            None if item.flow is None else json.encode(item.flow).decode(),
        )


def read_item(row: Any) -> ItemState:
    """Decode a row of `item_statements.LOAD_ITEMS`."""
    values = {name: row[name] for name in ITEM_COLUMNS if name != "result"}
    values["status"] = StepStatus(values["status"])
    values["skip_reason"] = None
    values["flow"] = None if values["flow"] is None else read_flow(values["flow"])
    place = ItemPlace(row["position"], row["item"])
    return ItemState(row["position"], place=place, value=row["value"].encode(), **values)
