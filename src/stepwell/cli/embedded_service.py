"""The service of `stepwell up`, on a data folder whose PostgreSQL runs."""

import sys
from pathlib import Path

from stepwell.cli.data_folder import publish_address, write_token
from stepwell.cli.keys import ServiceKeys, keys_of_folder
from stepwell.cli.listeners import Listeners, address_of
from stepwell.cli.output import print_result
from stepwell.cli.postgres import kept_running, migrate_embedded
from stepwell.cli.service_host import announce_ready, open_service, serve_requests
from stepwell.cli.signals import Signals, Stop, run_stoppable
from stepwell.cli.tokens import make_token
from stepwell.persistence.embedded.server import EmbeddedPostgres
from stepwell.rules.access.sessions import SESSION
from stepwell.settings import Settings


def serve_folder(settings: Settings, postgres: EmbeddedPostgres, listeners: Listeners, signals: Signals) -> int:
    """Serve on the data folder of the settings until a signal. Returns the exit code. Raises `Refused`.

    The folder gets a token and the address of the service, for other commands.
    """
    keys = keys_of_folder(settings)
    secret = keys.settings.jwt_secret
    token = make_token(keys.settings, subject="stepwell up", secret=secret) if keys.can_sign else None
    token_path = write_token(settings.data_dir, token)
    with publish_address(settings.data_dir, address_of(listeners.api)):
        return run_stoppable(signals, lambda stop: _main(keys, postgres, listeners, stop, token, token_path), stopped=0)


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
            return await serve_requests(app, keys, listeners, stop, ready)
