"""The embedded PostgreSQL of a command: started before its event loop, respawned in it, and stopped after it."""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress

import structlog

from stepwell.cli.data_folder import remove_address
from stepwell.cli.errors import Refused
from stepwell.cli.signals import Signals
from stepwell.persistence.embedded.server import DataFolderInUse, EmbeddedPostgres, PostgresUnavailable
from stepwell.settings import Settings

log = structlog.get_logger()

_POLL_S = 0.1
DATABASE_S = 30.0
_INDEX_WAIT_S = 60.0
_MIGRATE_S = 30.0
_MIGRATE_POLL_S = 0.02
_MIGRATE = """
import asyncio, sys
from stepwell.persistence.schema.migrations import migrate
asyncio.run(migrate(sys.stdin.read()))
"""
_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.02, 5.0
_STABLE_S = 30.0
_REPEAT_S = 60.0


@contextmanager
def embedded_postgres(
    settings: Settings, signals: Signals, in_use: str, command: str, *, restoring: bool = False
) -> Iterator[EmbeddedPostgres]:
    """Claim the data folder and run its server. *in_use* ends the message if another process owns the folder.

    Main thread only. Raises `Refused`, and KeyboardInterrupt for a signal before it is ready.
    """
    with ExitStack() as stack:
        try:
            postgres = stack.enter_context(claim_folder(settings, command, restoring=restoring))
        except DataFolderInUse as error:
            raise Refused(f"{error}: {in_use}") from error
        start_server(postgres, signals)
        yield postgres


@contextmanager
def claim_folder(settings: Settings, command: str, *, restoring: bool = False) -> Iterator[EmbeddedPostgres]:
    """Claim the data folder, and yield its server, which isn't started. Other processes can read *command*.

    Raises `DataFolderInUse`, and `Refused` for all other reasons.
    """
    postgres = server_on(settings, restoring=restoring)
    with postgres_errors():
        # A killed `up` leaves its address behind. Another program may listen there now.
        postgres.claim(command, lambda: remove_address(settings.data_dir))
    try:
        yield postgres
    finally:
        postgres.stop()


@contextmanager
def own_or_running_server(
    settings: Settings, signals: Signals, command: str
) -> Iterator[tuple[EmbeddedPostgres, bool]]:
    """Yield the server that runs on the data folder, and whether it is started here, because no process owns it.

    Main thread only. Raises `Refused`, and KeyboardInterrupt for a signal before it is ready.
    """
    with ExitStack() as stack:
        try:
            postgres = stack.enter_context(claim_folder(settings, command))
        except DataFolderInUse:
            yield server_on(settings), False
            return
        start_server(postgres, signals)
        yield postgres, True


def start_server(postgres: EmbeddedPostgres, signals: Signals) -> None:
    """Start the server. Main thread only. Raises `Refused`, and KeyboardInterrupt for a signal before it is ready."""
    with postgres_errors():
        postgres.start(signals.check)


def server_on(settings: Settings, *, restoring: bool = False) -> EmbeddedPostgres:
    """Return the server of the data folder, neither claimed nor started; with *restoring*, on new data."""
    return EmbeddedPostgres(settings.data_dir / "postgres", binaries=settings.postgres_bin, restoring=restoring)


async def migrate_embedded(postgres: EmbeddedPostgres, *, index_wait_s: float | None = _INDEX_WAIT_S) -> None:
    """Migrate the tables of the embedded database. Raises `Refused`. *index_wait_s* is as for `prepare_database`."""
    # It loads SQLAlchemy, which `up` loads while PostgreSQL starts, and other commands don't need.
    from stepwell.persistence.schema.startup import DatabaseRefused, prepare_database  # noqa: PLC0415

    try:
        await prepare_database(postgres.dsn(), timeout_s=DATABASE_S, waiting=lambda _: None, index_wait_s=index_wait_s)
    except DatabaseRefused as error:
        raise Refused(str(error)) from error


def migrate_apart(postgres: EmbeddedPostgres, signals: Signals) -> None:
    """Create the tables of a new database in a child process, so that this process need not load Alembic: 10 MB.

    This reports no failure, because `migrate_embedded` does then what is missing. A signal raises KeyboardInterrupt.
    """
    until = time.monotonic() + _MIGRATE_S
    with suppress(OSError):
        command, quiet = [sys.executable, "-P", "-c", _MIGRATE], subprocess.DEVNULL
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet)  # noqa: S603 - our own code
        try:
            assert child.stdin is not None
            child.stdin.write(postgres.dsn().encode())
            child.stdin.close()
            while child.poll() is None and time.monotonic() < until:
                signals.check()
                time.sleep(_MIGRATE_POLL_S)
        finally:
            child.kill()
            child.wait()


@asynccontextmanager
async def kept_running(postgres: EmbeddedPostgres) -> AsyncIterator[None]:
    """In this context the server is started again whenever it dies. Main thread only: it ends with its thread."""
    async with asyncio.TaskGroup() as group:
        respawning = group.create_task(_keep_running(postgres), name="postgres")
        yield
        respawning.cancel()


async def _keep_running(postgres: EmbeddedPostgres) -> None:
    pause, started = _FIRST_PAUSE_S, time.monotonic()
    logged_at = -float("inf")  # when "postgres.not_back" was last logged
    while True:
        await asyncio.sleep(_POLL_S)
        if postgres.running:
            continue
        lived = time.monotonic() - started
        pause = _FIRST_PAUSE_S if lived > _STABLE_S else min(pause * 2, _LAST_PAUSE_S)
        if started - logged_at > _REPEAT_S:
            log.warning("postgres.died", action="respawn", pause_s=pause)
        await asyncio.sleep(pause)
        started = time.monotonic()
        try:
            await _respawn(postgres)
        except (PostgresUnavailable, OSError) as error:
            if started - logged_at > _REPEAT_S:
                logged_at, full = started, postgres.is_disk_full()
                log.error("postgres.not_back", action="respawn", disk_full=full, error=str(error))  # noqa: TRY400
        else:
            logged_at = -float("inf")
            log.info("postgres.back", action="respawn")


async def _respawn(postgres: EmbeddedPostgres) -> None:
    while True:
        # `respawn` returns False until all processes of the dead server have ended. Then it starts the server once.
        if postgres.respawn():
            try:
                postgres.wait_ready(0)
            except PostgresUnavailable:
                if not postgres.running:
                    raise
            else:
                return
        await asyncio.sleep(_FIRST_PAUSE_S)


@contextmanager
def postgres_errors() -> Iterator[None]:
    """Turn a `PostgresUnavailable` into `Refused`."""
    try:
        yield
    except PostgresUnavailable as error:
        raise Refused(*_user_lines(str(error))) from error


def _user_lines(message: str) -> list[str]:
    """Return the lines for the user. A program's output is included only if the first line refers to it."""
    first, *rest = message.splitlines()
    return [first, *rest] if first.endswith(":") else [first]
