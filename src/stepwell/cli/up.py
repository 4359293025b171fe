"""`stepwell up`: runs the service with its embedded PostgreSQL on one data folder.

`cli.postgres` starts and restarts PostgreSQL, and `cli.service_host` runs the service.
"""

import sys
from contextlib import ExitStack
from pathlib import Path

from msgspec.structs import replace

from stepwell.cli.data_folder import UP, open_folder, publish_address, write_token
from stepwell.cli.errors import Refused
from stepwell.cli.http_server import Listeners, address_of, bound_sockets
from stepwell.cli.keys import ServiceKeys, check_keys, keys_of_folder
from stepwell.cli.output import print_result
from stepwell.cli.postgres import claim_folder, kept_running, migrate_embedded, start_server
from stepwell.cli.service_host import announce_ready, answer_requests, open_service
from stepwell.cli.signals import Signals, Stop, run_stoppable
from stepwell.cli.tokens import make_token
from stepwell.contract.enums import ProviderType
from stepwell.persistence.embedded.server import DataFolderInUse, EmbeddedPostgres
from stepwell.rules.access.sessions import SESSION
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
        start_server(postgres, signals)
        # URLs of artifacts contain the port, so it must be known here if the system chose it.
        settings = embedded_settings(settings, port=listeners.api.getsockname()[1])
        keys = keys_of_folder(settings)
        secret = keys.settings.jwt_secret
        token = make_token(keys.settings, subject="stepwell up", secret=secret) if keys.can_sign else None
        token_path = write_token(settings.data_dir, token)
        stack.enter_context(publish_address(settings.data_dir, address_of(listeners.api)))
        return run_stoppable(signals, lambda stop: _main(keys, postgres, listeners, stop, token, token_path), stopped=0)


def embedded_settings(settings: Settings, **changes: object) -> Settings:
    """Return *settings* with *changes*, and with defaults that `serve` lacks: a provider and an `origin_instance`."""
    return replace(
        settings,
        default_provider=settings.default_provider or ProviderType.LOCAL,
        origin_instance=settings.origin_instance or LOCAL_INSTANCE,
        **changes,
    )


async def _main(
    keys: ServiceKeys,
    postgres: EmbeddedPostgres,
    listeners: Listeners,
    stop: Stop,
    token: str | None,
    token_path: Path | None,
) -> int:
    secrets: list[str] = []

    def ready() -> None:
        announce_ready(keys.settings, f"token in {token_path}" if token_path else "tokens by your own key")
        for line in secrets:
            print_result(line)

    async with kept_running(postgres):
        await migrate_embedded(postgres)
        async with open_service(keys, postgres.dsn(), exclusive=True, server_disk_full=postgres.is_disk_full) as app:
            if token is not None and sys.stdout.isatty():
                path = await app.sign_in.sign_in_path(token, valid=SESSION)
                secrets += [f"Token: {token}", f"Sign in to the web page (once): {address_of(listeners.api)}{path}"]
            return await answer_requests(app, keys, listeners, stop, ready)
