"""Encodes and decodes the rows of waits and signals, and the state of a step's flow control."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec import Raw, Struct, json

from stepwell.domain.lifecycle.decision import Decision
from stepwell.domain.model import FlowState, StoredSignal

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
    """Return the parameters of `flow_statements.WRITE_WAITS`."""
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
            inputs = shown.shown.decode()
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
    )
