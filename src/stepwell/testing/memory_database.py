"""A database in memory: all ports of the database over one set of tables."""

import contextlib
from collections.abc import Callable
from uuid import UUID

from stepwell.app import Database
from stepwell.engine.explain.availability import WriteMonitor
from stepwell.lifecycle.model import WorkflowState
from stepwell.ports.clock import Clock
from stepwell.settings import Settings
from stepwell.testing.clocks import ManualClock
from stepwell.testing.memory_budgets import MemoryBudgets
from stepwell.testing.memory_costs import MemoryDailyCosts
from stepwell.testing.memory_definitions import MemoryDefinitions
from stepwell.testing.memory_deletions import MemoryCleanups, MemoryPurges
from stepwell.testing.memory_events import MemoryDeliveries, MemoryEventFeed, MemoryOutbox
from stepwell.testing.memory_idempotency import MemoryIdempotencyKeys
from stepwell.testing.memory_processes import (
    MemoryCommands,
    MemoryLeaseStore,
    MemoryLimitStore,
    MemoryNotifications,
    MemoryPresence,
)
from stepwell.testing.memory_sign_ins import MemorySignIns
from stepwell.testing.memory_tables import ALWAYS, NEVER, Tables
from stepwell.testing.memory_uploads import MemoryUploads
from stepwell.testing.memory_workflow_reader import MemoryWorkflowReader
from stepwell.testing.memory_workflow_store import MemoryWorkflowStore


class MemoryDatabase:
    """A `DatabaseSource` for tests. Services that open it, one after the other or at the same time, have the same rows.

    It has no SQL, and its rows are lost when the test's process ends. A test that needs either needs PostgreSQL.
    *clock* defaults to a new `ManualClock`.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock: Clock = clock or ManualClock()
        self.tables = Tables(self.clock)

    @property
    def available(self) -> bool:
        return self.tables.available

    @available.setter
    def available(self, available: bool) -> None:
        """False starts an outage: every call raises `Unavailable`, and subscriptions are disconnected."""
        self.tables.available = available
        if not available:
            self.tables.workflow_channel.disconnect()
            self.tables.process_channel.disconnect()

    def take_over(self, owner: UUID) -> None:
        """Give every workflow that a process runs to *owner*, as if *owner* had claimed it."""
        self.tables.processes[owner] = ALWAYS
        for state in self.states():
            if state.owner is not None:
                state.owner, state.epoch = owner, state.epoch + 1

    def declare_dead(self) -> None:
        """End the leases of all processes, as if none were alive."""
        self.tables.processes = dict.fromkeys(self.tables.processes, NEVER)

    def states(self) -> list[WorkflowState]:
        """The stored state of every workflow, in the order of creation."""
        return [row.record.state for row in self.tables.workflows.values()]

    def connect(self, owner: UUID) -> Database:
        tables = self.tables
        return Database(
            reader=MemoryWorkflowReader(tables),
            workflow_store=MemoryWorkflowStore(tables, owner),
            leases=MemoryLeaseStore(tables),
            keys=MemoryIdempotencyKeys(tables, owner),
            outbox=MemoryOutbox(tables),
            deliveries=MemoryDeliveries(tables),
            feed=MemoryEventFeed(tables),
            notifications=MemoryNotifications(tables, owner),
            presence=MemoryPresence(tables, owner),
            cleanups=MemoryCleanups(tables),
            uploads=MemoryUploads(tables),
            definitions=MemoryDefinitions(tables),
            purges=MemoryPurges(tables),
            daily_costs=MemoryDailyCosts(tables),
            commands=MemoryCommands(tables),
            limits=MemoryLimitStore(tables),
            sign_ins=MemorySignIns(tables),
            budgets=MemoryBudgets(tables),
        )

    async def open(
        self,
        settings: Settings,  # noqa: ARG002 - the source's
        owner: UUID,
        on_statement: Callable[[], None],  # noqa: ARG002 - the source's
        writes: WriteMonitor,  # noqa: ARG002 - the source's
        stack: contextlib.AsyncExitStack,  # noqa: ARG002 - the source's
    ) -> Database:
        await self.tables.round_trip()
        return self.connect(owner)
