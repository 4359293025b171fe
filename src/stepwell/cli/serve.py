"""`stepwell serve`: runs the service on the operator's own database."""

from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from msgspec.structs import replace

from stepwell.cli.errors import MISUSED, Refused
from stepwell.cli.keys import ServiceKeys, key_faults, keys_of_settings
from stepwell.cli.listeners import Listeners, bound_sockets
from stepwell.cli.service_host import announce_ready, open_service, serve_requests
from stepwell.cli.signals import Signals, Stop, run_stoppable
from stepwell.persistence.schema.startup import DatabaseRefused, Unreachable, WrongAddress, prepare_database
from stepwell.settings import Settings

log = structlog.get_logger()

_WAIT_S = 60.0
_DATABASE = "STEPWELL_DATABASE_URL"
_ADVICE = f"start it, or correct host, user, password and name in {_DATABASE}"


def serve(settings: Settings, signals: Signals) -> int:
    """Serve until a signal. Returns the exit code. Raises `Refused`."""
    if faults := [*_address_faults(settings.database_url), *key_faults(settings, required=True)]:
        raise Refused(*faults, code=MISUSED)
    with bound_sockets(settings) as listeners:
        keys = keys_of_settings(replace(settings, port=listeners.api.getsockname()[1]))
        return run_stoppable(signals, lambda stop: _main(keys, listeners, stop), stopped=0)


def configured_dsn(settings: Settings) -> str:
    """Return the URL of the configured database. Raises `Refused`."""
    if faults := list(_address_faults(settings.database_url)):
        raise Refused(*faults, code=MISUSED)
    assert settings.database_url is not None
    return settings.database_url


@contextmanager
def database_faults() -> Iterator[None]:
    """Raise faults of the configured database as `Refused`."""
    try:
        yield
    except WrongAddress as error:
        raise Refused(f"{_DATABASE}: {error}", code=MISUSED) from error
    except Unreachable as error:
        raise Refused(f"{error}: {_ADVICE}") from error
    except DatabaseRefused as error:
        raise Refused(str(error)) from error


async def prepare_configured_database(settings: Settings, *, index_wait_s: float | None = _WAIT_S) -> str:
    """Wait for the configured database, migrate it, and return its URL. Raises `Refused`.

    *index_wait_s* is as for `prepare_database`.
    """
    dsn = configured_dsn(settings)
    with database_faults():
        await prepare_database(dsn, timeout_s=_WAIT_S, waiting=_log_waiting, index_wait_s=index_wait_s)
    return dsn


async def _main(keys: ServiceKeys, listeners: Listeners, stop: Stop) -> int:
    dsn = await prepare_configured_database(keys.settings)
    async with open_service(keys, dsn, exclusive=False) as app:
        return await serve_requests(app, keys, listeners, stop, lambda: announce_ready(keys.settings))


def _log_waiting(why: str) -> None:
    log.warning("database.awaited", action="start", error=f"{why}: {_ADVICE}", at_most_s=_WAIT_S)


def _address_faults(dsn: str | None) -> Iterator[str]:
    scheme = (dsn or "").partition("://")[0]
    if scheme.partition("+")[0] not in ("postgresql", "postgres"):
        yield f"{_DATABASE}: Expected postgresql://user:password@host/name"
