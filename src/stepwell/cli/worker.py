"""`stepwell worker`: starts a Celery worker that does the in-process work of the service."""

from stepwell.cli.errors import MISUSED, Refused
from stepwell.settings import Settings


def worker(settings: Settings, *, concurrency: int | None, queues: str | None) -> int:
    """Run a worker until a signal. Returns the exit code. Raises `Refused`."""
    require_celery()
    from stepwell.executors.celery import app  # noqa: PLC0415 - it needs the extra

    app.conf.update(worker_hijack_root_logger=False, worker_redirect_stdouts=False)
    arguments = ["worker", "--loglevel", settings.log_level]
    arguments += ["--concurrency", str(concurrency or settings.max_local_steps)]
    arguments += ["--queues", queues or ",".join(settings.celery_queues.names)]
    try:
        app.worker_main(arguments)
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    return 0


def require_celery() -> None:
    """Raise `Refused` unless the extra `celery` is installed."""
    try:
        import celery  # noqa: F401, PLC0415
        import redis  # noqa: F401, PLC0415
    except ImportError as error:
        advice = "install it with: pip install 'stepwell[celery]'"
        raise Refused(f"STEPWELL_EXECUTOR: celery needs the extra `celery`: {advice}", code=MISUSED) from error
