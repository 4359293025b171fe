"""The embedded PostgreSQL under a command: started before its loop, watched in it, stopped after it."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import structlog

from stepwell.cli.folder import remove_address
from stepwell.cli.refusal import Refused
from stepwell.cli.signals import Signals
from stepwell.persistence.embedded import DataFolderInUse, EmbeddedPostgres, PostgresUnavailable
from stepwell.persistence.reach import DatabaseRefused, prepare_database
from stepwell.settings import Settings

log = structlog.get_logger()

UP = "up"  # the command whose process serves the API of the data folder that it owns

_LOOK_S = 0.1
_ANSWER_S = 30.0
_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.02, 5.0
_STABLE_S = 30.0
_REPEAT_S = 60.0


@contextmanager
def embedded_postgres(
    settings: Settings, signals: Signals, in_use: str, command: str = ""
) -> Iterator[EmbeddedPostgres]:
    """The running server on the data folder, which is ours meanwhile; *in_use* says what to do where it isn't.

    Main thread only. Raises `Refused`, and KeyboardInterrupt for a signal before it is ready.
    """
    with ExitStack() as stack:
        try:
            postgres = stack.enter_context(claimed_folder(settings, command))
        except DataFolderInUse as error:
            raise Refused(f"{error}: {in_use}") from error
        start_server(postgres, signals)
        yield postgres


@contextmanager
def claimed_folder(settings: Settings, command: str, *, restoring: bool = False) -> Iterator[EmbeddedPostgres]:
    """The server on the data folder, not yet started; the folder is ours meanwhile, and others learn our *command*.

    Raises `DataFolderInUse`, and `Refused` for all other reasons.
    """
    postgres = server_on(settings, restoring=restoring)
    with postgres_faults():
        # What a killed `up` has left says where another program may listen by now.
        postgres.claim(command, lambda: remove_address(settings.data_dir))
    try:
        yield postgres
    finally:
        postgres.stop()


def start_server(postgres: EmbeddedPostgres, signals: Signals) -> None:
    """Main thread only. Raises `Refused`, and KeyboardInterrupt for a signal before the server is ready."""
    with postgres_faults():
        postgres.start(signals.check)


def server_on(settings: Settings, *, restoring: bool = False) -> EmbeddedPostgres:
    """The server of the data folder, which is neither claimed nor started; with *restoring*, on new data."""
    return EmbeddedPostgres(settings.data_dir / "postgres", binaries=settings.postgres_bin, restoring=restoring)


async def migrated(postgres: EmbeddedPostgres) -> None:
    """Return when its database has all tables. Raises `Refused`."""
    try:
        await prepare_database(postgres.dsn(), timeout_s=_ANSWER_S, waiting=lambda _: None)
    except DatabaseRefused as error:
        raise Refused(str(error)) from error


async def keep_running(postgres: EmbeddedPostgres) -> None:
    """Bring the server back whenever it dies, until cancelled. In the main thread: the server ends with its thread."""
    pause, started = _FIRST_PAUSE_S, time.monotonic()
    logged = -float("inf")  # when it was last said that the server doesn't come back
    while True:
        await asyncio.sleep(_LOOK_S)
        if postgres.running:
            continue
        lived = time.monotonic() - started
        pause = _FIRST_PAUSE_S if lived > _STABLE_S else min(pause * 2, _LAST_PAUSE_S)
        if started - logged > _REPEAT_S:
            log.warning("postgres.died", action="respawn", pause_s=pause)
        await asyncio.sleep(pause)
        started = time.monotonic()
        try:
            await _respawn(postgres)
        except (PostgresUnavailable, OSError) as error:
            if started - logged > _REPEAT_S:
                logged, full = started, postgres.has_no_room()
                log.error("postgres.not_back", action="respawn", disk_full=full, error=str(error))  # noqa: TRY400
        else:
            logged = -float("inf")
            log.info("postgres.back", action="respawn")


async def _respawn(postgres: EmbeddedPostgres) -> None:
    while True:
        # False until all processes of the dead server have ended; then it starts, and does nothing more.
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
def postgres_faults() -> Iterator[None]:
    """What is wrong with the embedded PostgreSQL, as `Refused`."""
    try:
        yield
    except PostgresUnavailable as error:
        raise Refused(*_told(str(error))) from error


def _told(message: str) -> list[str]:
    """The lines that a user needs: what a program printed only where the first line refers to it."""
    first, *rest = message.splitlines()
    return [first, *rest] if first.endswith(":") else [first]
