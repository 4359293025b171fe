"""Connections and outages: SQLAlchemy's engine for the API's statements, asyncpg's pool for the engine's.

Every statement has a deadline on both sides: `command_timeout` here, and `statement_timeout` on the server in case this
process is gone.
"""

import errno
import functools
import inspect
import os
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, ParamSpec, TypeAlias, TypeVar

import asyncpg
from msgspec import Struct
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from stepwell.basics.errors import DiskFull, ReadOnly, ResourcesExhausted, Unavailable

P = ParamSpec("P")
R = TypeVar("R")
Connect: TypeAlias = Callable[..., Awaitable[asyncpg.Connection]]

# Classes and codes of SQLSTATE that mean "not now": connection, login, database, a conflict between transactions,
# resources, intervention, read-only failover. https://www.postgresql.org/docs/current/errcodes-appendix.html
_OUTAGE_CLASSES = ("08", "28", "3D", "40", "53", "57", "58")
_DISK_FULL, _READ_ONLY = "53100", "25006"
_OUTAGE_CODES = (_READ_ONLY, "55P03", "25P03")
_EXHAUSTED = {
    "53200": "the database is out of memory",
    "53300": "the database has no connection left: raise its max_connections, or give it fewer clients",
    "53400": "the database has reached a limit of its own configuration",
}
_AWAY = "the database is away"
DISK_IS_FULL = "the database's disk is full: nothing can be stored until space is freed there"
IS_READ_ONLY = (
    "the database is read-only (a standby, or default_transaction_read_only is on): nothing can be stored until it "
    "takes writes"
)

# The list's statements are planned anew for the values of each request, because the best plan for a rare value is the
# worst for a common one. Reading an index out of order is cheap. One request doesn't occupy all processors. A join of a
# name and a label holds the rows of one of them.
_LIST_SETTINGS = {
    "plan_cache_mode": "force_custom_plan",
    "random_page_cost": "1.1",
    "max_parallel_workers_per_gather": "0",
    "work_mem": "16MB",
}


# All statements of the engine find rows by key. So one plan serves all values, and each statement is planned once. The
# plan must not scan whole tables, even if it was made while they were small.
_PLANS = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "random_page_cost": "0.1",
}


def driver_dsn(dsn: str) -> str:
    """Return *dsn* without the name of a driver, which SQLAlchemy allows in it and asyncpg doesn't."""
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


class Observer(Struct, frozen=True):
    """Callbacks for each statement that is sent, and for each outage that a statement or a new connection meets.

    `server_disk_full` returns whether an unreachable server has too little disk space to start. Only the owner of an
    embedded server can check this.
    """

    on_statement: Callable[[], object] = lambda: None
    on_outage: Callable[[Unavailable], object] = lambda _: None
    server_disk_full: Callable[[], bool] = lambda: False

    def failed(self, error: Exception) -> None:
        """Report *error* of a statement or a connection, if it is an outage."""
        if is_outage(error):
            self.on_outage(outage_of(error))


_NO_OBSERVER = Observer()


async def _connect(dsn: str, observer: Observer, **options: Any) -> asyncpg.Connection:
    try:
        return await asyncpg.connect(driver_dsn(dsn), **options)
    except Exception as error:
        if _is_unreachable(error) and observer.server_disk_full():
            full = asyncpg.DiskFullError("the server can't start: its data folder has no room")
            observer.failed(full)
            raise full from error
        observer.failed(error)
        raise


def create_engine(
    dsn: str, *, observer: Observer = _NO_OBSERVER, connect_args: Mapping[str, Any] | None = None, **options: Any
) -> AsyncEngine:
    """Return an engine of SQLAlchemy for which asyncpg reads *dsn*, so that both accept the same, like `sslmode`."""

    async def connect() -> asyncpg.Connection:
        return await _connect(dsn, observer, **(connect_args or {}))

    return create_async_engine("postgresql+asyncpg://", async_creator=connect, **options)


def create_api_engine(dsn: str, *, pool: int, timeout_s: float, observer: Observer = _NO_OBSERVER) -> AsyncEngine:
    """Return the engine for the API's reads, with up to *pool* connections. JSON columns hold bytes, not objects."""
    engine = create_engine(
        dsn,
        observer=observer,
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
    event.listen(engine.sync_engine, "before_cursor_execute", lambda *_: observer.on_statement())
    event.listen(
        engine.sync_engine,
        "handle_error",
        lambda context: observer.failed(context.sqlalchemy_exception or context.original_exception),
    )
    return engine


def asyncpg_connect(dsn: str, *, timeout_s: float, observer: Observer = _NO_OBSERVER) -> Connect:
    """Return the function that opens a connection for the engine's statements."""

    async def connect(*_: Any, **options: Any) -> asyncpg.Connection:
        options["connection_class"] = _ObservedConnection
        connection = await _connect(
            dsn,
            observer,
            max_cacheable_statement_size=0,  # without a limit: the longest ones are the costliest to plan
            timeout=timeout_s,
            command_timeout=timeout_s,
            server_settings=_server_settings(timeout_s) | _PLANS,
            **options,
        )
        connection.observer = observer
        return connection

    return connect


class _ObservedConnection(asyncpg.Connection):  # type: ignore[misc]
    """A connection that reports to an `Observer`.

    Hot path (see `stepwell.persistence`): asyncpg's own query loggers cost a record and an iteration of the loop for
    each statement.
    """

    __slots__ = ("observer",)

    async def execute(self, *args: Any, **options: Any) -> Any:
        return await self._run(super().execute(*args, **options))

    async def fetch(self, *args: Any, **options: Any) -> Any:
        self.observer.on_statement()
        try:
            return await super().fetch(*args, **options)
        except Exception as error:
            self.observer.failed(error)
            raise

    async def fetchrow(self, *args: Any, **options: Any) -> Any:
        return await self._run(super().fetchrow(*args, **options))

    async def fetchval(self, *args: Any, **options: Any) -> Any:
        return await self._run(super().fetchval(*args, **options))

    async def _run(self, statement: Awaitable[Any]) -> Any:
        self.observer.on_statement()
        try:
            return await statement
        except Exception as error:
            self.observer.failed(error)
            raise


def create_asyncpg_pool(connect: Connect) -> asyncpg.Pool:
    """Return a pool of three connections by *connect*, each opened when it is first used. Await the pool first.

    Hot path (see `stepwell.persistence`): the sessions are never changed, so they return to the pool without a round
    trip to reset them.
    """
    return asyncpg.create_pool(
        min_size=0, max_size=3, max_inactive_connection_lifetime=0, connect=connect, reset=_do_nothing
    )


async def _do_nothing(_: object) -> None:
    pass


async def assert_durable(pool: asyncpg.Pool) -> None:
    """Raise `NotDurable` unless this server writes each commit to disk before it responds."""
    row = await pool.fetchrow(
        "SELECT current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS synchronous_commit"
    )
    if row["fsync"] != "on" or row["synchronous_commit"] == "off":
        raise NotDurable(f"fsync is {row['fsync']}, synchronous_commit is {row['synchronous_commit']}: both must be on")


class NotDurable(Exception):
    """The server may lose committed data, so Stepwell couldn't keep its promises."""


def is_outage(error: BaseException) -> bool:
    """Return whether *error* means that the database can't respond now, rather than that the statement is wrong."""
    if isinstance(error, DBAPIError):
        if error.connection_invalidated:
            return True
        error = error.driver_exception
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        return state.startswith(_OUTAGE_CLASSES) or state in _OUTAGE_CODES or _is_over_quota(error)
    if isinstance(error, ValueError):  # asyncpg's own DataError: an argument that it can't encode
        return False
    return isinstance(
        error, OSError | TimeoutError | PoolTimeout | asyncpg.InterfaceError | asyncpg.InternalClientError
    )


def _is_unreachable(error: BaseException) -> bool:
    """Return whether no server has responded, or the server is starting."""
    return isinstance(error, asyncpg.CannotConnectNowError) or (
        is_outage(error) and not isinstance(error, asyncpg.PostgresError)
    )


def outage_of(error: BaseException) -> Unavailable:
    """Return the outage that *error* reports, with the driver's own error as its cause."""
    cause = error.driver_exception if isinstance(error, DBAPIError) else error
    state = (cause.sqlstate or "") if isinstance(cause, asyncpg.PostgresError) else ""
    if state == _DISK_FULL or (isinstance(cause, asyncpg.PostgresError) and _is_over_quota(cause)):
        outage: Unavailable = DiskFull(DISK_IS_FULL)
    elif state == _READ_ONLY:
        outage = ReadOnly(IS_READ_ONLY)
    elif state in _EXHAUSTED:
        outage = ResourcesExhausted(_EXHAUSTED[state])
    else:
        outage = Unavailable(_AWAY)
    outage.__cause__ = cause
    return outage


def _is_over_quota(error: asyncpg.PostgresError) -> bool:
    """Return whether a disk quota is exceeded. The server has no code for it, but quotes the system's message."""
    return error.sqlstate == "XX000" and os.strerror(errno.EDQUOT) in str(error)


def unavailable_in_outage(call: Callable[P, Awaitable[R]]) -> Callable[P, Coroutine[Any, Any, R]]:
    """Decorate *call* so that an outage raises `errors.Unavailable`."""

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
                raise outage_of(e) from e
            raise

    return wrapper


class PostgresAdapter:
    """An implementation of a port. In an outage, each method of the port raises `errors.Unavailable`."""

    def __init_subclass__(cls) -> None:
        for name, call in list(vars(cls).items()):
            if inspect.iscoroutinefunction(call) and not name.startswith("_"):
                setattr(cls, name, unavailable_in_outage(call))
