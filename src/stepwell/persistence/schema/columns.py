"""The columns of the tables. `tables` has the tables themselves.

In the rows of workflows and steps the first columns never change after create; the others are the state.
"""

from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Double,
    Integer,
    LargeBinary,
    Numeric,
    Text,
    TypedColumns,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSON


def _time(*, nullable: bool = True) -> Column[datetime]:
    return Column(DateTime(timezone=True), nullable=nullable)


def _text(*, nullable: bool = False) -> Column[str]:
    return Column(Text(), nullable=nullable)


def _id(*, nullable: bool = False) -> Column[UUID]:
    return Column(Uuid(), nullable=nullable)


def _json(*, nullable: bool = False) -> Column[Any]:
    """JSON and not JSONB, because JSONB changes what clients and providers sent: the order of keys, 1.0, -0.

    `database.create_api_engine` passes it on as encoded bytes: a result goes from the row to the response undecoded.
    """
    return Column(JSON(), nullable=nullable)


def _seconds(*, nullable: bool = False) -> Column[float]:
    return Column(Double(), nullable=nullable)


def _int(*, nullable: bool = False) -> Column[int]:
    return Column(Integer(), nullable=nullable)


def _count() -> Column[int]:
    return Column(Integer(), nullable=False, server_default=text("0"))


def _flag() -> Column[bool]:
    return Column(Boolean(), nullable=False, server_default=text("false"))


def _positions() -> Column[Any]:
    return Column(ARRAY(Integer), nullable=False)


class ProcessColumns(TypedColumns):
    """The processes that run workflows, each with its lease. A process without a row or with an ended lease is dead."""

    id = Column(Uuid(), primary_key=True)
    lease_until = _time(nullable=False)


class InstallationColumns(TypedColumns):
    """One row: the id of the database, and the oldest migration revision whose code may still work on the tables.

    `sessions_ended_at` is when all sessions of the web page were ended the last time.
    """

    id = Column(Uuid(), primary_key=True)
    oldest_revision = _text()
    has_folder = _flag()
    sessions_ended_at = _time()


class UncleanEndColumns(TypedColumns):
    """Processes that died while an attempt was under way. `alone`: attempts of one workflow only."""

    process = Column(Uuid(), primary_key=True)
    at = _time(nullable=False)
    alone: Column[bool] = Column(Boolean(), nullable=False)


class WorkflowColumns(TypedColumns):
    """The workflows, each with its state."""

    id = Column(Uuid(), primary_key=True)
    tenant = _text(nullable=True)
    origin_instance = _text()
    origin_zone = _text(nullable=True)
    origin_reference = _text(nullable=True)
    config = _json()
    suppress_subtask_events = _flag()
    total_steps = _int()
    final_position = _int()
    definition_bytes = _count()
    feature_level = Column(Integer(), nullable=False, server_default=text("1"))
    inputs = _json(nullable=True)
    inputs_schema = _json(nullable=True)
    evaluates = _flag()
    has_flow = _flag()
    created_at = _time(nullable=False)
    status = _text()
    name = _text()
    description = _text(nullable=True)
    webhook_url = _text(nullable=True)
    completed_steps = _count()
    execution_id = _id(nullable=True)
    failure = _text(nullable=True)
    started_at = _time()
    completed_at = _time()
    updated_at = _time(nullable=False)
    deleted_at = _time()
    deadline_at = _time()
    timeout_left_s = _seconds(nullable=True)
    owner = _id(nullable=True)
    epoch = _count()
    last_event = _count()
    crashes = _count()
    wake_at = _time()
    parent_id = _id(nullable=True)
    parent_step = _text(nullable=True)
    parent_item = _int(nullable=True)
    root_id = _id(nullable=True)
    depth = _count()
    child_ends = _count()
    sub_workflows = _count()
    sub_workflow_steps = _count()
    sub_workflow_bytes: Column[int] = Column(BigInteger(), nullable=False, server_default=text("0"))


class StepColumns(TypedColumns):
    """The steps, each with its definition, state and result."""

    workflow_id = _id()
    position = _int()
    id = _id()
    step_id = _text()
    task_type = _text()
    definition = _json()
    depends_on = _positions()
    max_retries = _int()
    timeout_s = _seconds()
    provider = _text(nullable=True)
    fallback = _text(nullable=True)
    run_if = _text(nullable=True)
    optional = _flag()
    condition = _text(nullable=True)
    repeat = _json(nullable=True)
    for_each = _json(nullable=True)
    status = _text()
    task_id = _id(nullable=True)
    attempt = _count()
    provider_attempts = _count()
    retry_count = _count()
    on_fallback = _flag()
    next_attempt_at = _time()
    result = _json(nullable=True)
    error_message = _text(nullable=True)
    started_at = _time()
    completed_at = _time()
    updated_at = _time(nullable=False)
    skip_reason = _text(nullable=True)
    flow = _json(nullable=True)


class ItemColumns(TypedColumns):
    """The items of steps with `for_each`, each with its value, state and result. `value` is never null."""

    workflow_id = _id()
    position = _int()
    item = _int()
    value = _json(nullable=True)
    status = _text()
    task_id = _id(nullable=True)
    attempt = _count()
    provider_attempts = _count()
    retry_count = _count()
    on_fallback = _flag()
    next_attempt_at = _time()
    result = _json(nullable=True)
    error_message = _text(nullable=True)
    started_at = _time()
    completed_at = _time()
    updated_at = _time(nullable=False)
    skip_reason = _text(nullable=True)
    flow = _json(nullable=True)


class WaitColumns(TypedColumns):
    """The open decisions, a row for each, as people see them. `shown` has the inputs that a decision is about."""

    workflow_id = _id()
    position = _int()
    id = _id()
    kind = _text()
    tenant = _text(nullable=True)
    since = _time(nullable=False)
    until = _time()
    message = _text(nullable=True)
    choices = _json()
    shown = _json()


class SignalColumns(TypedColumns):
    """The signals that have arrived and that no step has taken yet."""

    workflow_id = _id()
    name = _text()
    data = _json()
    sender = _text()
    at = _time(nullable=False)


class TaskColumns(TypedColumns):
    """The tasks: attempts at steps, and at their items. `attempt` of an item's is `TaskPlace.attempt`."""

    id = Column(Uuid(), primary_key=True)
    workflow_id = _id()
    position = _int()
    attempt = _int()
    provider = _text(nullable=True)
    seed: Column[int] = Column(BigInteger(), nullable=True)
    started_at = _time(nullable=False)
    status = _text()
    phase = _text()
    remote_id = _text(nullable=True)
    outcome_unknown = _flag()
    cancel_receipt = _text(nullable=True)
    outputs = _json()
    error = _text(nullable=True)
    completed_at = _time()
    deleted_at = _time()
    sent = _json(nullable=True)
    urls = _json(nullable=True)
    follow_up_until = _time()
    cost = _json(nullable=True)
    item = _int(nullable=True)


class EventColumns(TypedColumns):
    """The events of all workflows, numbered in each workflow."""

    workflow_id = _id()
    id = _int()
    type = _text()
    at = _time(nullable=False)
    step_id = _text(nullable=True)
    task_id = _id(nullable=True)
    actor = _text()
    data = _json()
    txid: Column[int] = Column(
        BigInteger(), nullable=False, server_default=text("(pg_current_xact_id()::text)::bigint")
    )


class DeliveryColumns(TypedColumns):
    """Webhook deliveries: one for each event that fires a webhook."""

    workflow_id = _id()
    event_id = _int()
    type = _text()
    lane = _text()
    status = _text()
    owner = _id(nullable=True)
    created_at = _time(nullable=False)
    next_at = _time()
    tries = _count()
    attempts = _json()
    body = _text(nullable=True)


class IdempotencyColumns(TypedColumns):
    """The idempotency keys, each with its request, and with the answer or the workflow that came of it."""

    scope = _text()
    key = _text()
    token = _id()
    owner = _id()
    fingerprint: Column[bytes] = Column(LargeBinary(), nullable=False)
    created_at = _time(nullable=False)
    applied_at = _time()
    workflow_id = _id(nullable=True)
    status = _int(nullable=True)
    headers = _json(nullable=True)
    body: Column[bytes] = Column(LargeBinary(), nullable=True)


class CleanupColumns(TypedColumns):
    """Cleanups that are still to delete files. `lane` is the tenant, "" for none.

    `purge`: all rows of the workflow are deleted too; `purged_by` asked for that, None: the retention.
    """

    workflow_id = Column(Uuid(), primary_key=True)
    lane = _text()
    owner = _id()
    next_at = _time(nullable=False)
    tries = _count()
    begun_position = Column(Integer(), nullable=False, server_default=text("-1"))
    begun_attempt = _count()
    deleted = _count()
    gone = _count()
    repeated = _flag()
    purge = _flag()
    purged_by = _text(nullable=True)


class FileRemovalColumns(TypedColumns):
    """The files of tasks whose rows a purge has deleted, until they are deleted themselves."""

    task_id = Column(Uuid(), primary_key=True)
    workflow_id = _id()
    tenant = _text(nullable=True)
    outputs = _json()


class DeletionColumns(TypedColumns):
    """Deletions of a workflow's data: the caller who asked for each, and its time."""

    workflow_id = Column(Uuid(), primary_key=True)
    actor = _text()
    at = _time(nullable=False)


class DailyCostColumns(TypedColumns):
    """Sums of the costs of attempts, see `rules.daily_costs`. `tenant` is "" for none."""

    tenant = _text()
    day: Column[date] = Column(Date(), nullable=False)
    provider = _text()
    model = _text()
    currency = _text()
    amount: Column[Decimal] = Column(Numeric(), nullable=False)
    attempts: Column[int] = Column(BigInteger(), nullable=False)


class ReferenceColumns(TypedColumns):
    """The tasks whose files a workflow's definition names. A row of a workflow that doesn't exist has no effect."""

    task_id = _id()
    workflow_id = _id()


class LabelColumns(TypedColumns):
    """The labels of workflows, each as `key:value`. `created_at` is that of the workflow, for lists by label."""

    workflow_id = _id()
    label = _text()
    created_at = _time(nullable=False)


class UploadColumns(TypedColumns):
    """The files that users have uploaded, and those that came as data URIs in the definition of `workflow_id`."""

    id = Column(Uuid(), primary_key=True)
    tenant = _text(nullable=True)
    name = _text()
    status = _text()
    size = Column(BigInteger(), nullable=False)
    preview_bytes: Column[int] = Column(BigInteger(), nullable=False, server_default=text("0"))
    sha256 = _text()
    media_type = _text()
    width = _int(nullable=True)
    height = _int(nullable=True)
    duration_s = _seconds(nullable=True)
    workflow_id = _id(nullable=True)
    ttl_s = _seconds()
    created_at = _time(nullable=False)
    used_at = _time()
    expires_at = _time(nullable=False)
    presigned_until = _time()


class UsageColumns(TypedColumns):
    """The bytes and the number of the uploads of each tenant. `lane` is the tenant, "" for none."""

    lane: Column[str] = Column(Text(), primary_key=True)
    bytes = Column(BigInteger(), nullable=False)
    uploads = _int()


class CommandColumns(TypedColumns):
    """The commands that one process passes to another. One without an `outcome` waits. `lane` is the tenant, or ""."""

    id = Column(Uuid(), primary_key=True)
    workflow_id = _id()
    lane = _text()
    requester = _id()
    recipient = _id()
    request = _json()
    scope = _text(nullable=True)
    key = _text(nullable=True)
    token = _id(nullable=True)
    created_at = _time(nullable=False)
    outcome = _json(nullable=True)


class LimitDivisionColumns(TypedColumns):
    """The division of limits, a single row. See `rules.limit_division`, also for the two columns of JSON."""

    singleton: Column[bool] = Column(Boolean(), primary_key=True)
    version: Column[int] = Column(BigInteger(), nullable=False)
    sole = _id(nullable=True)
    starts = _json()
    starts_from = _seconds()


class LimitMemberColumns(TypedColumns):
    """The shares of each process that doesn't have all limits for itself."""

    owner = Column(Uuid(), primary_key=True)
    claiming: Column[bool] = Column(Boolean(), nullable=False)
    shares = _json()
    updated_at = _time(nullable=False)


class UsedSignInCodeColumns(TypedColumns):
    """The codes that have signed somebody in to the web page."""

    id = Column(Uuid(), primary_key=True)
    expires_at = _time(nullable=False)
