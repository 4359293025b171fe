"""Connections: SQLAlchemy's engine for the API's statements, asyncpg's pool for the engine's, and what an outage is.

Every statement has a deadline, on both sides: `command_timeout` here, `statement_timeout` on the server for the
case that this side is gone.
"""

import functools
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, ParamSpec, TypeAlias, TypeVar

import asyncpg
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from stepwell.domain.errors import Unavailable

P = ParamSpec("P")
R = TypeVar("R")
Connect: TypeAlias = Callable[..., Awaitable[asyncpg.Connection]]

# Classes and codes of SQLSTATE that say "not now": connection, login, database, a conflict between transactions,
# resources, intervention, read-only failover. https://www.postgresql.org/docs/current/errcodes-appendix.html
_OUTAGE_CLASSES = ("08", "28", "3D", "40", "53", "57", "58")
_OUTAGE_CODES = ("25006", "55P03", "25P03")

# The list's statements are planned for the values asked for, each time: what is best for a rare one is the worst for a
# common one. An index is read as quickly in any order, and one answer doesn't take all processors.
_LIST_SETTINGS = {
    "plan_cache_mode": "force_custom_plan",
    "random_page_cost": "1.1",
    "max_parallel_workers_per_gather": "0",
}


# All of the engine's statements find rows by a key that they are given: so each is planned once, and a plan that was
# made while the tables were small doesn't read them whole when they have grown.
_PLANS = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "random_page_cost": "0.1",
}


def driver_dsn(dsn: str) -> str:
    """*dsn* as asyncpg takes it: SQLAlchemy's way of naming the driver in it is left out."""
    scheme, _, rest = dsn.partition("://")
    return f"{scheme.partition('+')[0]}://{rest}"


def _server_settings(timeout_s: float) -> dict[str, str]:
    return {
        "application_name": "stepwell",
        "statement_timeout": str(int(timeout_s * 1000)),
        "idle_in_transaction_session_timeout": str(int(timeout_s * 1000)),
        "TimeZone": "UTC",
        "jit": "off",
    }


def create_engine(dsn: str, *, connect_args: Mapping[str, Any] | None = None, **options: Any) -> AsyncEngine:
    """SQLAlchemy's engine, but asyncpg reads *dsn*: so `sslmode` and the like are understood, and by both the same."""

    async def connect() -> asyncpg.Connection:
        return await asyncpg.connect(driver_dsn(dsn), **(connect_args or {}))

    return create_async_engine("postgresql+asyncpg://", async_creator=connect, **options)


def create_api_engine(
    dsn: str, *, pool: int, timeout_s: float, on_statement: Callable[[], object] = int
) -> AsyncEngine:
    """*on_statement* is called for each statement that is sent."""
    engine = create_engine(
        dsn,
        json_serializer=bytes.decode,
        json_deserializer=str.encode,
        pool_size=pool,
        max_overflow=0,
        pool_timeout=timeout_s,
        connect_args={
            "timeout": timeout_s,
            "command_timeout": timeout_s,
            "server_settings": _server_settings(timeout_s) | _LIST_SETTINGS,
        },
    )
    event.listen(engine.sync_engine, "before_cursor_execute", lambda *_: on_statement())
    return engine


def journal_connect(dsn: str, *, timeout_s: float, on_statement: Callable[[], object] = int) -> Connect:
    """What opens a connection for the engine's statements. *on_statement* is called for each that is sent."""

    async def connect(*_: Any, **options: Any) -> asyncpg.Connection:
        options["connection_class"] = _Counted
        connection = await asyncpg.connect(
            driver_dsn(dsn),
            timeout=timeout_s,
            command_timeout=timeout_s,
            server_settings=_server_settings(timeout_s) | _PLANS,
            **options,
        )
        connection.on_statement = on_statement
        return connection

    return connect


class _Counted(asyncpg.Connection):  # type: ignore[misc]
    """asyncpg's own query loggers cost a record and a turn of the loop for each statement."""

    __slots__ = ("on_statement",)

    async def execute(self, *args: Any, **options: Any) -> Any:
        self.on_statement()
        return await super().execute(*args, **options)

    async def fetch(self, *args: Any, **options: Any) -> Any:
        self.on_statement()
        return await super().fetch(*args, **options)

    async def fetchrow(self, *args: Any, **options: Any) -> Any:
        self.on_statement()
        return await super().fetchrow(*args, **options)

    async def fetchval(self, *args: Any, **options: Any) -> Any:
        self.on_statement()
        return await super().fetchval(*args, **options)


def create_journal_pool(connect: Connect) -> asyncpg.Pool:
    """Three connections by *connect*, each when it is first used. To be awaited, or entered, before.

    Their sessions are never changed, so that they go back to the pool without a round trip to reset them.
    """
    return asyncpg.create_pool(
        min_size=0, max_size=3, max_inactive_connection_lifetime=0, connect=connect, reset=_leave_alone
    )


async def _leave_alone(_: object) -> None:
    pass


async def assert_durable(pool: asyncpg.Pool) -> None:
    """Raise `NotDurable` unless a commit on this server means that it is on disk."""
    row = await pool.fetchrow(
        "SELECT current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS synchronous_commit"
    )
    if row["fsync"] != "on" or row["synchronous_commit"] == "off":
        raise NotDurable(f"fsync is {row['fsync']}, synchronous_commit is {row['synchronous_commit']}: both must be on")


class NotDurable(Exception):
    """The server may lose what it has committed; Stepwell's promises would be void."""


def is_outage(error: BaseException) -> bool:
    """Whether *error* says that the database can't answer now, rather than that the statement is wrong."""
    if isinstance(error, DBAPIError):
        if error.connection_invalidated:
            return True
        error = error.driver_exception
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        return state.startswith(_OUTAGE_CLASSES) or state in _OUTAGE_CODES
    if isinstance(error, ValueError):  # asyncpg's own DataError: an argument that it can't encode
        return False
    return isinstance(
        error, OSError | TimeoutError | PoolTimeout | asyncpg.InterfaceError | asyncpg.InternalClientError
    )


def unavailable_in_outage(call: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
    """Turn an outage into `errors.Unavailable`, so that callers know one word for it."""

    @functools.wraps(call)
    async def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await call(*args, **kwargs)
        except (
            SQLAlchemyError,
            asyncpg.PostgresError,
            asyncpg.InterfaceError,
            asyncpg.InternalClientError,
            OSError,
        ) as e:
            if is_outage(e):
                raise Unavailable("the database is away") from e
            raise

    return wrapper
