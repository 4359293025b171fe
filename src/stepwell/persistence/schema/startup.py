"""Prepares a database at the start of a process: waits until it responds, then brings its tables up to date."""

import asyncio
import getpass
import os
import time
from collections.abc import Callable
from urllib.parse import parse_qs

import asyncpg
import structlog
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from stepwell.basics.urls import split_url
from stepwell.persistence.connections.database import driver_dsn, is_outage
from stepwell.persistence.schema.indexes import build_missing_indexes
from stepwell.persistence.schema.migrations import UnusableTables, migrate
from stepwell.runtime.outages import OUTAGE_RETRY_S

_CONNECT_S = 5.0
# In this pause, the statements of other processes that had to wait for the migration run.
_MIGRATION_PAUSE_S = 1.0
_INDEX_WAIT_S = 60.0

log = structlog.get_logger(__name__)


class DatabaseRefused(Exception):
    """The database can't be used. The message is one line with the reason, without a password."""


class WrongAddress(DatabaseRefused):
    """The address of the database is malformed."""


class Unreachable(DatabaseRefused):
    """No server responds at the address of the database, or the server refuses the login or knows no such database."""


async def prepare_database(
    dsn: str, *, timeout_s: float, waiting: Callable[[str], None], index_wait_s: float | None = _INDEX_WAIT_S
) -> None:
    """Return when the database at *dsn* has the tables of this version, or of a newer one that this one may use.

    Waits up to *timeout_s* in all for a database that doesn't respond, and for tables that other processes use. Calls
    *waiting* once, with the reason, if the database doesn't respond at once. Raises `DatabaseRefused`.

    Indexes that the tables lack are built for up to *index_wait_s*. If that isn't enough, or fails, the service works
    without them, but some lists are slow. With None, all of them are built.
    """
    deadline = time.monotonic() + timeout_s
    await reach_database(dsn, timeout_s=timeout_s, waiting=waiting)
    try:
        is_ours = await _migrate_by(deadline, dsn)
    except UnusableTables as error:
        raise DatabaseRefused(str(error)) from error
    except (asyncpg.PostgresError, asyncpg.InterfaceError, SQLAlchemyError, OSError) as error:
        raise DatabaseRefused(f"the database can't be migrated: {_first_line(error)}") from error
    if is_ours:
        await _build_indexes(dsn, index_wait_s)
    else:  # newer tables may lack indexes of this version on purpose
        log.info("database.newer", action="start")


async def _build_indexes(dsn: str, wait_s: float | None) -> None:
    try:
        async with asyncio.timeout(wait_s):
            await build_missing_indexes(
                dsn, lambda index: log.info("database.index_building", action="build", index=index)
            )
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:  # TimeoutError is an OSError
        why = _first_line(error)
        if isinstance(error, TimeoutError):
            why = f"not built within {wait_s} s: a long transaction or another build delays it"
        if wait_s is None:
            raise DatabaseRefused(f"an index can't be built: {why}") from error
        log.warning("database.index_missing", action="build", error=f"{why}; stepwell migrate builds it")


async def _migrate_by(deadline: float, dsn: str) -> bool:
    while True:
        try:
            return await migrate(dsn)
        except DBAPIError as error:
            if not _is_lock_conflict(error) or time.monotonic() + _MIGRATION_PAUSE_S > deadline:
                raise
        await asyncio.sleep(_MIGRATION_PAUSE_S)


async def reach_database(dsn: str, *, timeout_s: float, waiting: Callable[[str], None]) -> None:
    """Return when the database responds: the first half of `prepare_database`."""
    _check_user(dsn)
    deadline = time.monotonic() + timeout_s
    reported = False
    while True:
        try:
            connection = await asyncpg.connect(driver_dsn(dsn), timeout=_CONNECT_S)
        except (asyncpg.ClientConfigurationError, ValueError) as error:
            raise WrongAddress(_first_line(error)) from error
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            if not is_outage(error) or _is_permanent(error):
                raise Unreachable(f"{_database_at(dsn)} refuses: {_first_line(error)}") from error
            why = f"{_database_at(dsn)} doesn't respond: {_first_line(error)}"
            if time.monotonic() > deadline:
                raise Unreachable(why) from error
        else:
            await connection.close()
            return
        if not reported:
            reported = True
            waiting(why)
        await asyncio.sleep(OUTAGE_RETRY_S)


def _check_user(dsn: str) -> None:
    """Raise `WrongAddress` if *dsn* names no user and the process's uid, the default, has no user name."""
    parts = split_url(dsn)
    if parts.userinfo or parse_qs(parts.query).keys() & {"user", "service"} or os.environ.get("PGUSER"):
        return
    try:
        getpass.getuser()
    except (KeyError, OSError):  # OSError since Python 3.13
        raise WrongAddress(
            f"Expected a user in it (postgresql://user@host/name): uid {os.getuid()} has no name in /etc/passwd"
        ) from None


def _database_at(dsn: str) -> str:
    """Name the database with the host and port of *dsn*, for a message. Without them if there are none, or several."""
    parts = split_url(dsn)
    if parts.host is None:
        return "the database"
    host = f"[{parts.host}]" if ":" in parts.host else parts.host
    return f"the database at {host}" + (f":{parts.port}" if parts.port else "")


def _is_lock_conflict(error: DBAPIError) -> bool:
    """True for a deadlock, or a lock that wasn't free in time: other processes use the tables during an upgrade."""
    state = str(getattr(error.orig, "sqlstate", None))
    return state.startswith("40") or state == "55P03"


def _is_permanent(error: BaseException) -> bool:
    """True for a refused login or a missing database: waiting rarely helps, and would hide the mistake."""
    return isinstance(error, asyncpg.PostgresError) and str(error.sqlstate).startswith(("28", "3D"))


def _first_line(error: BaseException) -> str:
    cause = getattr(error, "orig", None) or error
    return (str(cause).strip() or type(cause).__name__).splitlines()[0]
