"""Opens the database: the adapters of its ports, the connections that they use, and the coordination of processes."""

import asyncio
import contextlib
import math
from collections.abc import Callable
from functools import partial
from typing import Protocol
from uuid import UUID

import asyncpg
from msgspec import Struct

from stepwell.engine.explain.availability import Probe, WriteMonitor
from stepwell.persistence.clock import DatabaseClock
from stepwell.persistence.connections.connection_pool import SmallPool
from stepwell.persistence.connections.database import (
    Observer,
    assert_durable,
    asyncpg_connect,
    create_api_engine,
    create_asyncpg_pool,
)
from stepwell.persistence.connections.write_probe import try_to_write
from stepwell.persistence.stores.budgets import PostgresBudgets
from stepwell.persistence.stores.cleanups import PostgresCleanups
from stepwell.persistence.stores.cost_queries import PostgresDailyCosts
from stepwell.persistence.stores.deliveries import PostgresDeliveries
from stepwell.persistence.stores.event_feed import PostgresEventFeed
from stepwell.persistence.stores.idempotency_keys import PostgresIdempotencyKeys
from stepwell.persistence.stores.installation import PostgresInstallation
from stepwell.persistence.stores.lease_store import PostgresLeaseStore
from stepwell.persistence.stores.limit_store import PostgresLimitStore
from stepwell.persistence.stores.notifications import PostgresNotifications, PostgresPresence
from stepwell.persistence.stores.outbox import PostgresOutbox
from stepwell.persistence.stores.peer_commands import PostgresCommands
from stepwell.persistence.stores.purges import PostgresPurges
from stepwell.persistence.stores.sign_ins import PostgresSignIns
from stepwell.persistence.stores.stored_definitions import PostgresDefinitions
from stepwell.persistence.stores.uploads import PostgresUploads
from stepwell.persistence.stores.workflow_reader import PostgresWorkflowReader
from stepwell.persistence.stores.workflow_store import PostgresWorkflowStore
from stepwell.ports.budgets import Budgets
from stepwell.ports.clock import Clock
from stepwell.ports.deletions import Cleanups, DailyCosts, Purges
from stepwell.ports.processes import (
    Commands,
    Installation,
    LeaseStore,
    LimitStore,
    Notifications,
    OtherProcesses,
    Presence,
)
from stepwell.ports.sign_ins import SignIns
from stepwell.ports.storage import EventFeed, IdempotencyKeys, WorkflowReader, WorkflowStore
from stepwell.ports.stored_definitions import Definitions
from stepwell.ports.uploads import Uploads
from stepwell.ports.webhooks import Deliveries, Outbox
from stepwell.settings import Settings

_LAST_WRITES_S = 2.0
# Of a small pool. With one connection, all would wait for a long statement. With more, fewer calls share a statement.
_CONNECTIONS = 2


class StatementCounter:
    def __init__(self) -> None:
        self.sent = 0

    def add(self) -> None:
        self.sent += 1


class Database(Struct):
    """The adapters of an open database for one process. A database in memory has no `installation` and no `probe`."""

    reader: WorkflowReader
    workflow_store: WorkflowStore
    leases: LeaseStore
    keys: IdempotencyKeys
    outbox: Outbox
    deliveries: Deliveries
    feed: EventFeed
    notifications: Notifications
    presence: Presence
    cleanups: Cleanups
    uploads: Uploads
    definitions: Definitions
    purges: Purges
    daily_costs: DailyCosts
    commands: Commands
    limits: LimitStore
    sign_ins: SignIns
    budgets: Budgets
    installation: Installation | None = None
    probe: Probe | None = None


class DatabaseSource(Protocol):
    """A database that can be opened. `clock` has the time of the database once it is open."""

    @property
    def clock(self) -> Clock: ...

    async def open(
        self,
        settings: Settings,
        owner: UUID,
        on_statement: Callable[[], None],
        writes: WriteMonitor,
        stack: contextlib.AsyncExitStack,
    ) -> Database:
        """Open the database for the process *owner*. *stack* closes it.

        *on_statement* is called for each statement that is sent. Failed writes are reported to *writes*. Raises
        `Unavailable`.
        """


class PostgresSource:
    """A migrated PostgreSQL database at *dsn*.

    `open` raises `database.NotDurable` if the server doesn't write commits to disk. With *durable* false it doesn't
    check this, which is only for tests on throw-away databases. *server_disk_full* returns whether an unreachable
    server has too little disk space to start.
    """

    def __init__(self, dsn: str, *, durable: bool = True, server_disk_full: Callable[[], bool] = lambda: False) -> None:
        self._dsn, self._durable, self._server_disk_full = dsn, durable, server_disk_full
        self._clock = DatabaseClock()

    @property
    def clock(self) -> Clock:
        return self._clock

    async def open(
        self,
        settings: Settings,
        owner: UUID,
        on_statement: Callable[[], None],
        writes: WriteMonitor,
        stack: contextlib.AsyncExitStack,
    ) -> Database:
        timeout_s = settings.database_timeout_s
        observer = Observer(on_statement, writes.database_failed, self._server_disk_full)
        connect = asyncpg_connect(self._dsn, timeout_s=timeout_s, observer=observer)
        pool = await create_asyncpg_pool(connect)
        stack.push_async_callback(_close_pool, pool)
        engine = create_api_engine(self._dsn, pool=settings.database_pool, timeout_s=timeout_s, observer=observer)
        stack.push_async_callback(engine.dispose)
        workflow_store = PostgresWorkflowStore(pool, connect, self._clock, owner)
        stack.callback(workflow_store.end_writing)

        def open_pool(size: int = _CONNECTIONS) -> SmallPool:
            small_pool = SmallPool(connect, size=size, timeout_s=timeout_s)
            stack.callback(small_pool.close)
            return small_pool

        notifying, cleaning = open_pool(1), open_pool()
        if self._durable:
            await assert_durable(pool)
        return Database(
            reader=PostgresWorkflowReader(engine, open_pool(), open_pool()),
            workflow_store=workflow_store,
            leases=PostgresLeaseStore(pool),
            keys=PostgresIdempotencyKeys(open_pool(3), owner),
            outbox=PostgresOutbox(open_pool()),
            deliveries=PostgresDeliveries(engine),
            feed=PostgresEventFeed(engine, pool),
            notifications=PostgresNotifications(connect, notifying, owner),
            presence=PostgresPresence(connect, notifying, owner),
            cleanups=PostgresCleanups(cleaning),
            uploads=PostgresUploads(open_pool()),
            definitions=PostgresDefinitions(open_pool()),
            purges=PostgresPurges(cleaning),
            daily_costs=PostgresDailyCosts(cleaning),
            commands=PostgresCommands(open_pool(3)),
            limits=PostgresLimitStore(notifying),
            sign_ins=PostgresSignIns(open_pool(1)),
            budgets=PostgresBudgets(open_pool()),
            installation=PostgresInstallation(pool),
            probe=partial(try_to_write, connect),
        )


async def _close_pool(pool: asyncpg.Pool) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LAST_WRITES_S):
            await pool.close()
            return
    pool.terminate()


class SharedCoordination:
    """The coordination with other living processes."""

    poll_s = 5.0

    def __init__(self, owner: UUID, lease_s: float, leases: LeaseStore, others: OtherProcesses) -> None:
        self.owner, self.lease_s, self._leases, self._others = owner, lease_s, leases, others

    async def renew_lease(self) -> None:
        await self._leases.renew(self.owner, self.lease_s)

    async def release_lease(self) -> None:
        await self._leases.release(self.owner)

    async def next_expiry_s(self) -> float:
        seconds = await self._leases.next_expiry(self.owner)
        return math.inf if seconds is None else seconds

    async def other_processes(self) -> OtherProcesses:
        return self._others


class ExclusiveCoordination:
    """The coordination of a process that knows that no other one is alive."""

    lease_s = poll_s = math.inf

    def __init__(self, owner: UUID, leases: LeaseStore) -> None:
        self.owner, self._leases = owner, leases

    async def renew_lease(self) -> None:
        """Get a lease without end, and end the leases that dead processes left, so that their work can be claimed."""
        await self._leases.renew(self.owner, None)
        await self._leases.expire_others(self.owner)

    async def release_lease(self) -> None:
        await self._leases.release(self.owner)

    async def next_expiry_s(self) -> float:
        return math.inf

    async def other_processes(self) -> OtherProcesses:
        others: asyncio.Future[OtherProcesses] = asyncio.get_running_loop().create_future()
        return await others  # nobody sets it
