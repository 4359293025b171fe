"""`stepwell migrate`: the tables brought up to date, without a service."""

from collections.abc import Awaitable, Callable

from stepwell.cli.data_folder import open_folder
from stepwell.cli.errors import FAILED
from stepwell.cli.output import tell
from stepwell.cli.postgres import embedded_postgres, migrated
from stepwell.cli.serve import prepared_database
from stepwell.cli.signals import Signals, Stop, run_stoppable
from stepwell.settings import Settings


def migrate(settings: Settings, signals: Signals) -> int:
    """Migrate the configured database, or the data folder's where none is; the exit code. Raises `Refused`."""
    if settings.database_url is not None:
        return _run(signals, lambda: prepared_database(settings))
    open_folder(settings.data_dir)
    with embedded_postgres(settings, signals, "the Stepwell that runs on it has migrated it", "migrate") as postgres:
        return _run(signals, lambda: migrated(postgres))


def _run(signals: Signals, work: Callable[[], Awaitable[object]]) -> int:
    async def main(_stop: Stop) -> int:
        await work()
        tell("The tables are up to date.")
        return 0

    return run_stoppable(signals, main, stopped=FAILED)
