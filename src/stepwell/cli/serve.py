"""`stepwell serve`: the service on a database of its operator's."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from msgspec.structs import replace

from stepwell.cli.errors import MISUSED, Refused
from stepwell.cli.http_server import bound_socket
from stepwell.cli.keys import ServiceKeys, key_faults, keys_of_settings
from stepwell.cli.service_host import answer_requests, service, tell_ready
from stepwell.cli.signals import Signals, Stop, run_stoppable
from stepwell.persistence.schema.startup import DatabaseRefused, WrongAddress, prepare_database
from stepwell.settings import Settings

log = structlog.get_logger()

_WAIT_S = 60.0
_DATABASE = "STEPWELL_DATABASE_URL"


def serve(settings: Settings, signals: Signals) -> int:
    """Until a signal ends it; the exit code. Raises `Refused`."""
    if faults := [*_address_faults(settings.database_url), *key_faults(settings, required=True)]:
        raise Refused(*faults, code=MISUSED)
    with bound_socket(settings) as listener:
        keys = keys_of_settings(replace(settings, port=listener.getsockname()[1]))
        return run_stoppable(signals, lambda stop: _main(keys, listener, stop), stopped=0)


def configured_dsn(settings: Settings) -> str:
    """The address of the configured database. Raises `Refused`."""
    if faults := list(_address_faults(settings.database_url)):
        raise Refused(*faults, code=MISUSED)
    assert settings.database_url is not None
    return settings.database_url


@contextmanager
def database_faults() -> Iterator[None]:
    """What is wrong with the configured database, as `Refused`."""
    try:
        yield
    except WrongAddress as error:
        raise Refused(f"{_DATABASE}: {error}", code=MISUSED) from error
    except DatabaseRefused as error:
        raise Refused(str(error)) from error


async def prepared_database(settings: Settings) -> str:
    """The address of the configured database, once it answers and has all tables. Raises `Refused`."""
    dsn = configured_dsn(settings)
    with database_faults():
        await prepare_database(dsn, timeout_s=_WAIT_S, waiting=_tell_waiting)
    return dsn


async def _main(keys: ServiceKeys, listener: socket.socket, stop: Stop) -> int:
    dsn = await prepared_database(keys.settings)
    async with service(keys, dsn, exclusive=False) as app:
        return await answer_requests(app, keys, listener, stop, lambda: tell_ready(keys.settings))


def _tell_waiting(why: str) -> None:
    log.warning("database.awaited", action="start", error=why, at_most_s=_WAIT_S)


def _address_faults(dsn: str | None) -> Iterator[str]:
    scheme = (dsn or "").partition("://")[0]
    if scheme.partition("+")[0] not in ("postgresql", "postgres"):
        yield f"{_DATABASE}: Expected postgresql://user:password@host/name"
