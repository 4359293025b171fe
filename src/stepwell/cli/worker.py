"""`stepwell worker`: starts a Celery worker that does the in-process work of the service."""

import asyncio
import os
from multiprocessing import get_context
from multiprocessing.connection import Connection

from stepwell.artifacts.store_setup import StorageRefused, open_storage
from stepwell.cli.errors import MISUSED, Refused
from stepwell.settings import Settings

_STORAGE_S = 60.0


def worker(settings: Settings, *, concurrency: int | None, queues: str | None) -> int:
    """Run a worker until a signal. Returns the exit code. Raises `Refused`."""
    require_celery()
    from stepwell.executors.celery import app  # noqa: PLC0415 - it needs the extra

    _check_storage(settings)
    app.conf.update(worker_hijack_root_logger=False, worker_redirect_stdouts=False)
    # Celery distinguishes workers by this name, also those of one machine.
    arguments = ["worker", "--loglevel", settings.log_level, "--hostname", f"stepwell-{os.getpid()}@%h"]
    arguments += ["--without-gossip"]  # it reads the events of all workers, and nothing uses them
    arguments += ["--concurrency", str(concurrency or settings.max_local_steps)]
    arguments += ["--queues", queues or ",".join(settings.celery_queues.names)]
    try:
        app.worker_main(arguments)
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    return 0


def _check_storage(settings: Settings) -> None:
    """Raise `Refused` if the artifact store can't be used, or doesn't respond.

    The check runs in another process, because it starts threads, and Celery forks its processes from this one.
    """
    context = get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    with receiver:
        with sender:
            check = context.Process(target=_send_storage_fault, args=(settings, sender), daemon=True)
            check.start()
        try:
            if not receiver.poll(_STORAGE_S):
                raise Refused(f"the artifact store didn't respond within {_STORAGE_S:g} s")
            fault: str | None = receiver.recv()
        except EOFError:
            raise Refused("the check of the artifact store ended early") from None
        finally:
            check.kill()
            check.join()
    if fault is not None:
        raise Refused(fault)


def _send_storage_fault(settings: Settings, sender: "Connection") -> None:
    sender.send(_storage_fault(settings))


def _storage_fault(settings: Settings) -> str | None:
    try:
        asyncio.run(_open_storage(settings))
    except StorageRefused as error:
        return str(error)
    except OSError as error:
        return f"cannot use the artifact folder {settings.artifacts}: {error.strerror}"
    return None


async def _open_storage(settings: Settings) -> None:
    await open_storage(settings)


def require_celery() -> None:
    """Raise `Refused` unless the extra `celery` is installed."""
    try:
        import celery  # noqa: F401, PLC0415
        import redis  # noqa: F401, PLC0415
    except ImportError as error:
        advice = "install it with: pip install 'stepwell[celery]'"
        raise Refused(f"STEPWELL_EXECUTOR: celery needs the extra `celery`: {advice}", code=MISUSED) from error
