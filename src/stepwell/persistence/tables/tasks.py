"""The table `tasks`: its columns and indexes, and the structs that the rows become."""

from typing import Final

from msgspec import json, structs
from sqlalchemy import Index, Table, TypedColumns, UniqueConstraint, text

from stepwell.contract.enums import CancelReceipt, ProviderType, TaskPhase, TaskStatus
from stepwell.contract.tasks import Cost, Output
from stepwell.lifecycle.model import ItemKey, Sent, Task
from stepwell.persistence.tables import column
from stepwell.persistence.tables.column import Row, RowType, decoder, encode_json, metadata, without
from stepwell.rules.list_records import ITEM_ATTEMPTS, TaskCursor


class TaskColumns(TypedColumns):
    """The tasks: attempts at steps, and at their items. `attempt` of an item's is `TaskCursor.attempt`."""

    id = column.uuid(key=True)
    workflow_id = column.uuid()
    position = column.integer()
    attempt = column.integer()
    provider = column.text(nullable=True, decode=ProviderType)
    seed = column.bigint(nullable=True)
    started_at = column.time(nullable=False)
    status = column.text(decode=TaskStatus)
    phase = column.text(decode=TaskPhase)
    remote_id = column.text(nullable=True)
    outcome_unknown = column.flag()
    cancel_receipt = column.text(nullable=True, decode=CancelReceipt)
    outputs = column.json(
        encode=lambda outputs: encode_json(outputs) if outputs else b"[]",
        decode=json.Decoder(tuple[Output, ...]).decode,
    )
    error = column.text(nullable=True)
    completed_at = column.time()
    deleted_at = column.time()
    sent = column.json(nullable=True, encode=encode_json, decode=json.Decoder(Sent).decode)
    urls = column.json(nullable=True, encode=encode_json, decode=json.Decoder(dict[str, str]).decode)
    follow_up_until = column.time()
    cost = column.json(nullable=True, encode=encode_json, decode=json.Decoder(Cost).decode)
    item = column.integer(nullable=True)
    fingerprint = column.text(nullable=True)


tasks = Table(
    "tasks",
    metadata,
    TaskColumns,
    UniqueConstraint("workflow_id", "position", "attempt"),
    Index("tasks_by_remote_id", "remote_id", "provider", postgresql_where=text("remote_id IS NOT NULL")),
    Index("tasks_to_follow_up", "workflow_id", postgresql_where=text("follow_up_until IS NOT NULL")),
    Index("tasks_sent", "workflow_id", postgresql_where=text("sent IS NOT NULL")),
    postgresql_with={"fillfactor": "80"},
)

_PLAIN: Final = without(tasks.c, "deleted_at", "item")
CHANGING: Final = without(_PLAIN, "id", "workflow_id", "position", "attempt", "provider", "started_at")
# The rows of `CHECKPOINT` in `statements.engine_statements`, and of `CHECKPOINT_AND_FLOW`.
PLAIN_TASK: Final = RowType("checkpoint_task", _PLAIN, "workflow_id, task")
TASK: Final = RowType("checkpoint_flow_task", (*_PLAIN, tasks.c.item), "workflow_id, item, task")
_decode: Final = decoder(without(_PLAIN, "workflow_id"), Task)


def encode_task(workflow_id: bytes, task: Task) -> bytes:
    if task.item_key is None:
        return TASK.encode(workflow_id, None, task)
    position, attempt = TaskCursor.of(task)
    return TASK.encode(workflow_id, task.item_key.item, structs.replace(task, position=position, attempt=attempt))


def read_task(row: Row) -> Task:
    task = _decode(row)
    if (item := row["item"]) is not None:
        task.item_key = ItemKey(task.position, item)
        task.attempt -= item * ITEM_ATTEMPTS
    return task
