"""The tables of processes: their leases, their ends, the commands between them, and the division of limits."""

from sqlalchemy import Boolean, Column, Index, Table, TypedColumns, text

from stepwell.persistence.tables import column
from stepwell.persistence.tables.column import metadata


class ProcessColumns(TypedColumns):
    """The processes that run workflows, each with its lease. A process without a row or with an ended lease is dead."""

    id = column.uuid(key=True)
    lease_until = column.time(nullable=False)


class UncleanEndColumns(TypedColumns):
    """Processes that died while an attempt was under way. `alone`: attempts of one workflow only."""

    process = column.uuid(key=True)
    at = column.time(nullable=False)
    alone: Column[bool] = Column(Boolean(), nullable=False)


class CommandColumns(TypedColumns):
    """The commands that one process passes to another. One without an `outcome` waits. `lane` is the tenant, or ""."""

    id = column.uuid(key=True)
    workflow_id = column.uuid()
    lane = column.text()
    requester = column.uuid()
    recipient = column.uuid()
    request = column.json()
    scope = column.text(nullable=True)
    key = column.text(nullable=True)
    token = column.uuid(nullable=True)
    created_at = column.time(nullable=False)
    outcome = column.json(nullable=True)


class LimitDivisionColumns(TypedColumns):
    """The division of limits, a single row. See `rules.limit_division`, also for the two columns of JSON."""

    singleton: Column[bool] = Column(Boolean(), primary_key=True)
    version = column.bigint()
    sole = column.uuid(nullable=True)
    starts = column.json()
    starts_from = column.seconds()


class LimitMemberColumns(TypedColumns):
    """The shares of each process that doesn't have all limits for itself."""

    owner = column.uuid(key=True)
    claiming: Column[bool] = Column(Boolean(), nullable=False)
    shares = column.json()
    updated_at = column.time(nullable=False)


processes = Table("processes", metadata, ProcessColumns)
unclean_ends = Table("unclean_ends", metadata, UncleanEndColumns)
commands = Table(
    "commands",
    metadata,
    CommandColumns,
    Index("commands_by_workflow_id", "workflow_id"),
    Index("commands_waiting", "lane", postgresql_where=text("outcome IS NULL")),
    Index("commands_by_created_at", "created_at"),
)
limit_division = Table("limit_division", metadata, LimitDivisionColumns, postgresql_with={"fillfactor": "50"})
limit_members = Table("limit_members", metadata, LimitMemberColumns, postgresql_with={"fillfactor": "50"})
