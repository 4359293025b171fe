"""`stepwell migrate`, `sign-out-all`, `dump` and `restore`: commands on the database, while a service runs or not."""

import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from stepwell.basics.errors import Unavailable
from stepwell.cli.data_folder import open_folder
from stepwell.cli.errors import FAILED, MISUSED, Refused, os_errors
from stepwell.cli.output import print_message, print_result
from stepwell.cli.postgres import embedded_postgres, migrate_embedded, own_or_running_server, postgres_errors, server_on
from stepwell.cli.serve import prepare_configured_database
from stepwell.cli.signals import Signals, Stop, run_stoppable
from stepwell.cli.user_files import open_staged
from stepwell.persistence.connections.connection_pool import SmallPool
from stepwell.persistence.connections.database import asyncpg_connect
from stepwell.persistence.embedded.server import EmbeddedPostgres
from stepwell.persistence.schema.migrations import PRE_RELEASE_TABLE, VERSION_TABLE
from stepwell.persistence.stores.sign_ins import PostgresSignIns
from stepwell.settings import Settings

_MIGRATED = "The tables are up to date."
_SIGNED_OUT = "All sessions and sign-in URLs have ended. A running service notices it within 5 seconds."


def dump(settings: Settings, target: Path | None, signals: Signals) -> int:
    """Write the database to the file *target*, or to stdout for None. Returns the exit code. An `up` may run meanwhile.

    Raises `Refused`, and KeyboardInterrupt for a signal. The file gets its name only when it is complete.
    """
    _refuse_other_database(settings)
    if target is None and sys.stdout.isatty():
        raise Refused("a dump is no text for a terminal: name a file, or redirect stdout", code=MISUSED)
    _open_with_database(settings)
    with (
        own_or_running_server(settings, signals, "dump") as (postgres, _),
        _output(target) as descriptor,
        postgres_errors(),
        os_errors(f"cannot write {target or 'to stdout'}"),
    ):
        postgres.clients().dump(descriptor, signals.check)
    if target is not None:
        print_result(f"The database is in {target}.")
    print_message(f"Files of tasks are not in it: they stay in {_artifact_location(settings)}")
    return 0


def restore(settings: Settings, source: int, signals: Signals) -> int:
    """Restore the data folder's database from the dump that the descriptor *source* reads. Returns the exit code.

    All sessions and sign-in URLs end: the backup doesn't know which ones were ended or used after it was made. Raises
    `Refused`, and KeyboardInterrupt for a signal. In both cases the data folder's database is unchanged.
    """
    _refuse_other_database(settings)
    open_folder(settings.data_dir)
    with embedded_postgres(settings, signals, "stop it first", "restore", restoring=True) as postgres:
        return _restore(settings, postgres, source, signals)


def _restore(settings: Settings, postgres: EmbeddedPostgres, source: int, signals: Signals) -> int:
    with postgres_errors():
        with os_errors(f"cannot read the dump, or copy it to {settings.data_dir}"):
            postgres.clients().restore(source, settings.data_dir, signals.check)
        if not any(map(postgres.clients().has_table, (VERSION_TABLE, PRE_RELEASE_TABLE))):
            raise Refused("this is a dump of PostgreSQL, but not of a database of Stepwell")

    async def main(_stop: Stop) -> int:
        await migrate_embedded(postgres)
        await end_all_sessions(postgres.dsn(), settings)
        return 0

    if code := run_stoppable(signals, main, stopped=FAILED):
        return code
    with postgres_errors():
        aside = postgres.publish()
    print_result(f"The database is restored in {settings.data_dir}. All sessions and sign-in URLs have ended.")
    if aside is not None:
        print_message(f"The old data are in {aside}: delete them when you don't need them any more")
    return 0


def _open_with_database(settings: Settings) -> None:
    with os_errors(f"cannot use the data folder {settings.data_dir}"):
        if not server_on(settings).has_data:
            raise Refused(f"there is no database in {settings.data_dir}")
    open_folder(settings.data_dir)


def _refuse_other_database(settings: Settings) -> None:
    if settings.database_url is not None:
        raise Refused(
            "STEPWELL_DATABASE_URL: Expected none: use the pg_dump and pg_restore of that PostgreSQL, or name a data "
            "folder with --data-dir",
            code=MISUSED,
        )


def _artifact_location(settings: Settings) -> str:
    return f"the bucket {settings.s3_bucket}" if settings.s3_bucket else str(settings.artifacts)


@contextmanager
def _output(target: Path | None) -> Iterator[int]:
    """Yield a descriptor for the dump. The file *target* appears, or is replaced, unless the context raises."""
    if target is None:
        yield sys.stdout.fileno()
        return
    with os_errors(f"cannot write {target}"):
        path = target.resolve()
        if path.exists() and not path.is_file():
            raise Refused(f"cannot write {target}: it is no regular file; - is stdout")
        staged, descriptor = open_staged(path)
    try:
        yield descriptor
        with os_errors(f"cannot write {target}"):
            os.fsync(descriptor)
            staged.replace(path)
    finally:
        os.close(descriptor)
        staged.unlink(missing_ok=True)


def migrate(settings: Settings, signals: Signals) -> int:
    """Migrate the configured database, or else the data folder's. Returns the exit code. Raises `Refused`."""
    if settings.database_url is not None:
        return _run(signals, lambda: prepare_configured_database(settings, index_wait_s=None), _MIGRATED)
    open_folder(settings.data_dir)
    with embedded_postgres(settings, signals, "the Stepwell that runs on it has migrated it", "migrate") as postgres:
        return _run(signals, lambda: migrate_embedded(postgres, index_wait_s=None), _MIGRATED)


def _run(signals: Signals, work: Callable[[], Awaitable[object]], done: str) -> int:
    """Do the work, and print *done*. Returns the exit code."""

    async def main(_stop: Stop) -> int:
        await work()
        print_result(done)
        return 0

    return run_stoppable(signals, main, stopped=FAILED)


def sign_out_all(settings: Settings, signals: Signals) -> int:
    """End the sessions of the configured database, or else of the data folder's. Returns the exit code.

    Raises `Refused`, and KeyboardInterrupt for a signal.
    """
    if settings.database_url is not None:

        async def configured() -> None:
            await end_all_sessions(await prepare_configured_database(settings), settings)

        return _run(signals, configured, _SIGNED_OUT)
    _open_with_database(settings)
    with own_or_running_server(settings, signals, "sign-out-all") as (postgres, is_own), postgres_errors():
        dsn = postgres.running_dsn()

        async def embedded() -> None:
            if is_own:
                await migrate_embedded(postgres)
            await end_all_sessions(dsn, settings)

        return _run(signals, embedded, _SIGNED_OUT)


async def end_all_sessions(dsn: str, settings: Settings) -> None:
    """End all sessions and all sign-in URLs of the database. Raises `Refused`."""
    timeout_s = settings.database_timeout_s
    connections = SmallPool(asyncpg_connect(dsn, timeout_s=timeout_s), size=1, timeout_s=timeout_s)
    try:
        await PostgresSignIns(connections).end_all()
    except Unavailable as error:
        raise Refused(f"no session was ended: {error}") from error
    finally:
        connections.close()
