"""The app of a worker whose Redis delivers a message again after a second.

The broker is searched for such messages each second.
"""

from stepwell.executors.celery import app

app.conf.broker_transport_options = {
    "visibility_timeout": 1,
    "unacked_restore_interval": 1,
    "unacked_restore_throttle": 1,
}

__all__ = ["app"]
