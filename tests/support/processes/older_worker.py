"""The app of a worker whose version of the messages is older: `celery -A support.processes.older_worker:app`."""

from stepwell.executors.celery import app
from stepwell.providers.celery import messages

messages.VERSION = 0

__all__ = ["app"]
