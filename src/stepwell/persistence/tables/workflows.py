"""The tables `workflows` and `labels`: their columns and indexes, and the structs that the rows become.

No index contains a column that changes with every transition, so that these updates stay HOT (heap-only tuples).
"""

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa
from msgspec import json

from stepwell.contract.definition import DefinitionReference
from stepwell.contract.enums import WaitsFor, WorkflowStatus
from stepwell.contract.tasks import CostSums
from stepwell.lifecycle.child_records import ParentLink
from stepwell.lifecycle.model import ReuseRule, WorkflowState
from stepwell.lifecycle.records import Summary, WorkflowRecord
from stepwell.persistence.tables import column
from stepwell.persistence.tables.column import Columns, Decoder, Row, RowType, decoder, fields_of, metadata, part_of
from stepwell.rules.costs import CurrencySum, cost_sums

read_object: Final = json.Decoder(dict[str, Any]).decode
_read_sums: Final = json.Decoder(list[CurrencySum]).decode
_read_reuse: Final = json.Decoder(ReuseRule).decode


class _NewWorkflowColumns(sa.TypedColumns):
    """The columns that never change after create."""

    id = column.uuid(key=True)
    tenant = column.text(nullable=True, of="record")
    created_by = column.text(of="record")
    origin_instance = column.text(of="record")
    origin_zone = column.text(nullable=True, of="record")
    origin_reference = column.text(nullable=True, of="record")
    config = column.json(decode=read_object, of="record")
    suppress_subtask_events = column.flag(of="record")
    total_steps = column.integer(of="record")
    final_position = column.integer(of="new")
    definition_bytes = column.integer(default=0, of="new")
    feature_level = column.integer(default=1, of="new")
    inputs = column.json(nullable=True, of="stored")
    inputs_schema = column.json(nullable=True, of="stored")
    evaluates = column.flag(of="stored")
    has_flow = column.flag(of="new")
    stored_definition = column.text(
        nullable=True, of="record", field="definition", encode=str, decode=DefinitionReference.parse
    )
    named_definitions = column.json(nullable=True, of="new", field="named")
    named_files = column.json(nullable=True, of="new", encode=column.encode_json)
    reuse = column.json(nullable=True, of="record", encode=column.encode_json, decode=_read_reuse)
    created_at = column.time(nullable=False, of="record")


class _WorkflowStateColumns(sa.TypedColumns):
    """The columns that every checkpoint writes."""

    status = column.text(decode=WorkflowStatus)
    name = column.text()
    description = column.text(nullable=True)
    webhook_url = column.text(nullable=True)
    completed_steps = column.count()
    execution_id = column.uuid(nullable=True)
    failure = column.text(nullable=True)
    started_at = column.time()
    completed_at = column.time()
    updated_at = column.time(nullable=False)
    deleted_at = column.time()
    deadline_at = column.time()
    timeout_left_s = column.seconds(nullable=True)
    owner = column.uuid(nullable=True)
    epoch = column.count()
    last_event = column.count()
    crashes = column.count()


class WorkflowColumns(_WorkflowStateColumns, _NewWorkflowColumns):
    """The workflows, each with its state. `wake_at` is set while it is parked; the others are about sub-workflows."""

    wake_at = column.time()
    parent_id = column.uuid(nullable=True)
    parent_step = column.text(nullable=True)
    parent_item = column.integer(nullable=True)
    root_id = column.uuid(nullable=True)
    depth = column.count()
    child_ended_count = column.count()
    sub_workflows = column.count()
    sub_workflow_steps = column.count()
    sub_workflow_bytes = column.bigint(default=0)


def in_scope(first: int, prefix: str = "") -> str:
    """Return the condition that a workflow or an upload is in a `TenantScope`, as SQL.

    The fields of the scope are the parameters from number *first* on. *prefix* stands before the columns.
    """
    of_tenant = f"(${first + 1}::bool OR {prefix}tenant IS NOT DISTINCT FROM ${first}::text)"
    return f"{of_tenant} AND (${first + 2}::text IS NULL OR {prefix}created_by = ${first + 2}::text)"


NEWEST: Final = ("created_at", "id")
_OF_TENANT: Final = "status origin_instance deleted_at parent_id"


def definition_name(reference: sa.ColumnElement[str]) -> sa.ColumnElement[str]:
    """The name in a column that has the `str` of a `DefinitionReference`."""
    return sa.func.split_part(reference, sa.literal_column("'@'"), sa.literal_column("1"))


def runs_definition(reference: sa.ColumnElement[str]) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    """The conditions that a column has the definition of the parameters. `definition_values` returns these."""
    named = definition_name(reference) == sa.bindparam("definition_name", type_=sa.Text())
    return named, reference.like(sa.bindparam("definition", type_=sa.Text()))


def definition_values(wanted: DefinitionReference | None) -> dict[str, str | None]:
    if wanted is None:
        return {"definition_name": None, "definition": None}
    # No name has a special character of LIKE.
    return {"definition_name": wanted.name, "definition": f"{wanted.name}@{wanted.version or '%'}"}


def _list_index(name: str, *key: Any, include: str, where: str | None = None, **options: Any) -> sa.Index:
    """Return an index for lists, by *key* and then by time.

    Each contains all columns that the list filters by, so that no other index and no row is read, whatever the filters
    are and however many rows they reject. Each row is in four indexes, because an index that begins with `tenant` has
    no order for `tenant IS NULL`.
    """
    if where is not None:
        options["postgresql_where"] = sa.text(where)
    return sa.Index(name, *key, *NEWEST, postgresql_include=include.split(), **options)


workflows = sa.Table(
    "workflows",
    metadata,
    WorkflowColumns,
    _list_index("workflows_list_by_created", include="status tenant origin_instance deleted_at parent_id"),
    _list_index("workflows_list_by_status", "status", include="tenant origin_instance deleted_at parent_id"),
    _list_index("workflows_list_by_tenant", "tenant", include=_OF_TENANT, where="tenant IS NOT NULL"),
    _list_index("workflows_list_without_tenant", include=_OF_TENANT, where="tenant IS NULL"),
    _list_index("workflows_list_by_instance", "origin_instance", include="status tenant deleted_at parent_id"),
    # A name or a reference may have 1 or 2 kB, and an index row at most 2.7 kB, so these lack columns of the others.
    _list_index(
        "workflows_list_by_name",
        sa.literal_column("lower(name)").label("lower_name"),
        include="name status tenant deleted_at parent_id",
        postgresql_ops={"lower_name": "text_pattern_ops"},
    ),
    _list_index(
        "workflows_list_by_reference",
        "origin_reference",
        include="status tenant deleted_at parent_id",
        where="origin_reference IS NOT NULL",
    ),
    _list_index(
        "workflows_list_by_zone",
        "origin_zone",
        include="status tenant origin_instance deleted_at parent_id",
        where="origin_zone IS NOT NULL",
    ),
    _list_index(
        "workflows_list_by_definition",
        definition_name(sa.literal_column("stored_definition")).label("definition_name"),
        include="stored_definition status tenant origin_instance deleted_at parent_id",
        where="stored_definition IS NOT NULL",
    ),
    # A workflow's completed_at changes together with its status, so this index makes no other update slower.
    sa.Index("workflows_by_completed_at", "completed_at", postgresql_where=sa.text("completed_at IS NOT NULL")),
    sa.Index("workflows_by_owner", "owner", "id", postgresql_where=sa.text("owner IS NOT NULL")),
    sa.Index(
        "workflows_to_admit",
        *(sa.text("coalesce(tenant, '')"), "started_at", "id"),
        postgresql_include=["tenant"],
        postgresql_where=sa.text("status = 'RUNNING' AND owner IS NULL AND wake_at IS NULL"),
    ),
    sa.Index(
        "workflows_due",  # those that are parked, in the order in which they are due
        "status",
        "wake_at",
        postgresql_include=["feature_level"],
        postgresql_where=sa.text("wake_at IS NOT NULL"),
    ),
    # Those of one parent.
    sa.Index("workflows_by_parent", "parent_id", "id", postgresql_where=sa.text("parent_id IS NOT NULL")),
    # Those that some version doesn't understand, so that such a version finds them without reading all that wait.
    sa.Index("workflows_by_feature_level", "feature_level", "id", postgresql_where=sa.text("feature_level > 1")),
    postgresql_with={
        "fillfactor": "80",
        "autovacuum_vacuum_scale_factor": "0.05",
        "autovacuum_vacuum_insert_scale_factor": "0.05",
    },
)


class LabelColumns(sa.TypedColumns):
    """The labels of workflows, each as `key:value`. `created_at` is that of the workflow, for lists by label."""

    workflow_id = column.uuid()
    label = column.text()
    created_at = column.time(nullable=False)


labels = sa.Table(
    "labels",
    metadata,
    LabelColumns,
    sa.PrimaryKeyConstraint("workflow_id", "label"),
    sa.Index("labels_by_label", "label", "created_at", "workflow_id"),
)

_NEW: Final = part_of(workflows, _NewWorkflowColumns)
STATE: Final = part_of(workflows, _WorkflowStateColumns)
LOADED: Final = (*STATE, *workflows.c["wake_at", "parent_id", "depth"])
_FENCE: Final[Columns] = (
    workflows.c.id,
    sa.Column("fence_owner", sa.Uuid(), info={"of": "decision", "field": "owner"}),
    sa.Column("fence_epoch", sa.Integer(), info={"of": "decision", "field": "epoch"}),
    sa.Column("fence_event", sa.Integer(), info={"of": "decision", "field": "last_event"}),
)
_CHILD_ENDED_SEEN: Final = sa.Column("child_ended_seen", sa.Integer())
# The rows of `INSERT` in `statements.engine_statements`, of `CHECKPOINT`, and of `CHECKPOINT_AND_FLOW`.
NEW_WORKFLOW: Final = RowType("insert_workflow", _NEW + STATE, "config, new, stored, record, state")
PLAIN_WORKFLOW: Final = RowType("checkpoint_workflow", _FENCE + STATE, "decision, state")
WORKFLOW: Final = RowType(
    "checkpoint_flow_workflow", (*_FENCE, *STATE, workflows.c.wake_at, _CHILD_ENDED_SEEN), "decision, state"
)
workflow_state: Final = decoder((workflows.c.id, *LOADED), WorkflowState)
_decode_record: Final[Decoder[dict[str, Any]]] = decoder(fields_of(_NEW, "record"), dict)


def workflow_record(row: Row, final_result: bytes | None, *, results: bool = True) -> WorkflowRecord:
    """Decode a row of `workflow_queries.summarised`. *final_result* is its `final_step_result` as bytes.

    Without *results*, the record lacks it.
    """
    state = workflow_state(row)
    return WorkflowRecord(
        state=state,
        **_decode_record(row),
        summary=_summary(state, row, final_result if results else None),
        results=results,
        labels=read_labels(row["labels"]),
        parent=parent_link(row),
    )


def parent_link(row: Row) -> ParentLink | None:
    """Decode the columns about the parent of a sub-workflow; None if it has no parent."""
    if row["parent_id"] is None:  # hot path
        return None
    return ParentLink(row["parent_id"], row["parent_step"], row["parent_item"], row["root_id"], row["depth"])


def read_labels(labels: Sequence[str] | None) -> dict[str, str]:
    return dict(sorted(label.split(":", 1) for label in labels or ()))


def _summary(state: WorkflowState, row: Row, final_result: bytes | None) -> Summary:
    own = () if state.failure is None else (state.failure,)
    errors = (*own, *(row["step_errors"] or ()))
    fatal = (*own, row["fatal_error"]) if row["has_flow"] else errors[:1]
    return Summary(
        current_step=row["current_step"],
        final_step_id=row["final_step_id"],
        final_step_result=final_result,
        errors=errors,
        error_message=next(iter(fatal), None),
        done_without_result=row["done_without_result"] or 0,
        items_done=row["items_done"] or 0.0,
        cost=read_cost_sums(row["costs"]),
        waits_for=read_waits_for(row),
    )


def read_reuse(row: Row) -> ReuseRule | None:
    return None if (rule := row["reuse"]) is None else _read_reuse(rule)


def read_waits_for(row: Row) -> WaitsFor | None:
    return None if (kind := row["waits_for"]) is None else WaitsFor(kind)


def read_cost_sums(text: str | None) -> CostSums | None:
    """Decode the costs that `step_attempt_queries` sums up, as JSON."""
    return None if text is None else cost_sums(_read_sums(text))
