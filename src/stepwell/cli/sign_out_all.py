"""`stepwell sign-out-all`: ends all sessions of the web page and all sign-in URLs, while a service runs or not."""

from stepwell.basics.errors import Unavailable
from stepwell.cli.data_folder import open_folder
from stepwell.cli.errors import FAILED, Refused, os_errors
from stepwell.cli.output import print_result
from stepwell.cli.postgres import migrate_embedded, own_or_running_server, postgres_errors, server_on
from stepwell.cli.serve import prepare_configured_database
from stepwell.cli.signals import Signals, Stop, run_stoppable
from stepwell.persistence.connections.connection_pool import SmallPool
from stepwell.persistence.connections.database import asyncpg_connect
from stepwell.persistence.stores.sign_ins import CONNECTIONS, PostgresSignIns
from stepwell.settings import Settings


def sign_out_all(settings: Settings, signals: Signals) -> int:
    """End the sessions of the configured database, or else of the data folder's. Returns the exit code.

    Raises `Refused`, and KeyboardInterrupt for a signal.
    """
    if settings.database_url is not None:

        async def configured(_stop: Stop) -> int:
            return await _sign_out(await prepare_configured_database(settings), settings)

        return run_stoppable(signals, configured, stopped=FAILED)
    with os_errors(f"cannot use the data folder {settings.data_dir}"):
        if not server_on(settings).has_data:
            raise Refused(f"there is no database in {settings.data_dir}")
    open_folder(settings.data_dir)
    with own_or_running_server(settings, signals, "sign-out-all") as (postgres, is_own), postgres_errors():
        dsn = postgres.running_dsn()

        async def embedded(_stop: Stop) -> int:
            if is_own:
                await migrate_embedded(postgres)
            return await _sign_out(dsn, settings)

        return run_stoppable(signals, embedded, stopped=FAILED)


async def end_all_sessions(dsn: str, settings: Settings) -> None:
    """End all sessions and all sign-in URLs of the database. Raises `Refused`."""
    timeout_s = settings.database_timeout_s
    connections = SmallPool(asyncpg_connect(dsn, timeout_s=timeout_s), size=CONNECTIONS, timeout_s=timeout_s)
    try:
        await PostgresSignIns(connections).end_all()
    except Unavailable as error:
        raise Refused(f"no session was ended: {error}") from error
    finally:
        connections.close()


async def _sign_out(dsn: str, settings: Settings) -> int:
    await end_all_sessions(dsn, settings)
    print_result("All sessions and sign-in URLs have ended. A running service notices it within 5 seconds.")
    return 0
