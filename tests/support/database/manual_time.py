"""A PostgreSQL database whose time is that of a test's clock."""

import asyncpg

from stepwell.app import PostgresSource
from stepwell.ports.clock import Clock
from stepwell.testing import ManualClock
from support.database.postgres import connected

# Functions without a schema are looked up in `manual` before `pg_catalog`, which has those of PostgreSQL.
_SHADOWS = """
CREATE SCHEMA manual;
CREATE TABLE manual.time (at timestamptz NOT NULL);
CREATE FUNCTION manual.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS 'SELECT at FROM manual.time';
CREATE FUNCTION manual.now() RETURNS timestamptz LANGUAGE sql AS 'SELECT at FROM manual.time';
DO $$ BEGIN
    EXECUTE format('ALTER DATABASE %I SET search_path = public, manual, pg_catalog', current_database());
END $$
"""


class ManualSource(PostgresSource):
    """The database of one process, with the clock of the test."""

    def __init__(self, dsn: str, clock: ManualClock) -> None:
        super().__init__(dsn, durable=False)
        self._manual = clock

    @property
    def clock(self) -> Clock:
        return self._manual


async def let_time_stand_still(dsn: str, clock: ManualClock) -> None:
    """Give the database the time of *clock*, for all connections that are opened later."""
    async with connected(dsn) as sql:
        await sql.execute(_SHADOWS)
        await sql.execute("INSERT INTO manual.time VALUES ($1)", clock.now())


async def advance(sql: asyncpg.Connection, clock: ManualClock, seconds: float) -> None:
    """Let *seconds* pass in the database, and in all processes that use the *clock*."""
    await sql.execute("UPDATE manual.time SET at = at + make_interval(secs => $1)", seconds)
    clock.advance(seconds)
