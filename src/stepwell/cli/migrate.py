"""`stepwell migrate`: migrates the tables without running the service."""

from collections.abc import Awaitable, Callable

from stepwell.cli.data_folder import open_folder
from stepwell.cli.errors import FAILED
from stepwell.cli.output import print_result
from stepwell.cli.postgres import embedded_postgres, migrate_embedded
from stepwell.cli.serve import prepare_configured_database
from stepwell.cli.signals import Signals, Stop, run_stoppable
from stepwell.settings import Settings


def migrate(settings: Settings, signals: Signals) -> int:
    """Migrate the configured database, or else the data folder's. Returns the exit code. Raises `Refused`."""
    if settings.database_url is not None:
        return _run(signals, lambda: prepare_configured_database(settings, index_wait_s=None))
    open_folder(settings.data_dir)
    with embedded_postgres(settings, signals, "the Stepwell that runs on it has migrated it", "migrate") as postgres:
        return _run(signals, lambda: migrate_embedded(postgres, index_wait_s=None))


def _run(signals: Signals, work: Callable[[], Awaitable[object]]) -> int:
    async def main(_stop: Stop) -> int:
        await work()
        print_result("The tables are up to date.")
        return 0

    return run_stoppable(signals, main, stopped=FAILED)
