"""`stepwell up`: runs the service with its embedded PostgreSQL on one data folder.

`cli.postgres` starts and restarts PostgreSQL, and `cli.embedded_service` runs the service. A thread imports the service
while PostgreSQL starts, so this module imports nothing that loads it.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from importlib import import_module

from msgspec.structs import replace

from stepwell.cli.data_folder import UP, open_folder
from stepwell.cli.errors import Refused
from stepwell.cli.keys import check_keys
from stepwell.cli.listeners import bound_sockets
from stepwell.cli.postgres import claim_folder, migrate_apart, start_server
from stepwell.cli.signals import Signals
from stepwell.contract.enums import ProviderType
from stepwell.persistence.embedded.server import DataFolderInUse
from stepwell.settings import LOCAL_INSTANCE, Settings


def up(settings: Settings, signals: Signals) -> int:
    """Serve until a signal. Returns the exit code.

    Raises `Refused`, and KeyboardInterrupt for a signal before the start.
    """
    check_keys(settings)
    open_folder(settings.data_dir)
    with ExitStack() as stack:
        # The lock on the folder comes first, because only its owner may write there. The port precedes the database.
        try:
            postgres = stack.enter_context(claim_folder(settings, UP))
        except DataFolderInUse as error:
            raise Refused(f"{error}: use that one, or choose another folder with --data-dir") from error
        listeners = stack.enter_context(bound_sockets(settings))
        with ThreadPoolExecutor(1, "imports") as imports:
            imported = imports.submit(import_module, "stepwell.cli.embedded_service")
            new = not postgres.has_data
            start_server(postgres, signals)
            if new:
                migrate_apart(postgres, signals)
            imported.result()
        from stepwell.cli.embedded_service import serve_folder  # noqa: PLC0415 - the thread has imported it

        # URLs of artifacts contain the port, so it must be known here if the system chose it.
        settings = embedded_settings(settings, port=listeners.api.getsockname()[1])
        return serve_folder(settings, postgres, listeners, signals)


def embedded_settings(settings: Settings, **changes: object) -> Settings:
    """Return *settings* with *changes*, and with defaults that `serve` lacks: a provider and an `origin_instance`."""
    return replace(
        settings,
        default_provider=settings.default_provider or ProviderType.LOCAL,
        origin_instance=settings.origin_instance or LOCAL_INSTANCE,
        **changes,
    )
