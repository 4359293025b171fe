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
