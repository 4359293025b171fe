"""The connections that the service has to its database, each kind for a purpose of its own."""

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from uuid import UUID

import asyncpg
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncEngine

from stepwell.engine.write_monitor import Place, WriteMonitor
from stepwell.persistence.clock import DatabaseClock
from stepwell.persistence.database import (
    Connect,
    Observer,
    create_api_engine,
    create_journal_pool,
    journal_connect,
)
from stepwell.persistence.hints import PostgresHints, PostgresPresence
from stepwell.persistence.journal import PostgresJournal
from stepwell.persistence.kept import Kept
from stepwell.persistence.outbox import CONNECTIONS as OUTBOX_CONNECTIONS
from stepwell.persistence.outbox import PostgresOutbox
from stepwell.persistence.repeats import CONNECTIONS as KEY_CONNECTIONS
from stepwell.persistence.repeats import PostgresKeys
from stepwell.persistence.single import CONNECTIONS
from stepwell.persistence.store import PostgresStore
from stepwell.persistence.write_probe import try_to_write
from stepwell.settings import Settings

_LAST_WRITES_S = 2.0


class Database(Struct):
    connect: Connect
    pool: asyncpg.Pool
    engine: AsyncEngine
    store: PostgresStore
    journal: PostgresJournal
    keys: PostgresKeys
    outbox: PostgresOutbox
    hints: PostgresHints
    presence: PostgresPresence


async def opened(
    dsn: str,
    settings: Settings,
    clock: DatabaseClock,
    owner: UUID,
    on_statement: Callable[[], None],
    server_disk_full: Callable[[], bool],
    writes: WriteMonitor,
    stack: contextlib.AsyncExitStack,
) -> Database:
    """It is closed with *stack*. Raises `Unavailable`."""
    timeout_s = settings.database_timeout_s
    observer = Observer(on_statement, writes.database_failed, server_disk_full)
    connect = journal_connect(dsn, timeout_s=timeout_s, observer=observer)
    writes.add_probe(Place.DATABASE, partial(try_to_write, connect))
    pool = await create_journal_pool(connect)
    stack.push_async_callback(_close_pool, pool)
    engine = create_api_engine(dsn, pool=settings.database_pool, timeout_s=timeout_s, observer=observer)
    stack.push_async_callback(engine.dispose)
    journal = PostgresJournal(pool, connect, clock, owner)
    stack.callback(journal.end_writing)

    def kept(size: int) -> Kept:
        made = Kept(connect, size=size, timeout_s=timeout_s)
        stack.callback(made.close)
        return made

    return Database(
        connect,
        pool,
        engine,
        PostgresStore(engine, kept(CONNECTIONS)),
        journal,
        PostgresKeys(kept(KEY_CONNECTIONS), owner),
        PostgresOutbox(kept(OUTBOX_CONNECTIONS)),
        PostgresHints(connect, kept(1), owner),
        PostgresPresence(connect, owner),
    )


async def _close_pool(pool: asyncpg.Pool) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LAST_WRITES_S):
            await pool.close()
            return
    pool.terminate()
