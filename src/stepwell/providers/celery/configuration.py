"""The configuration of Celery, for the service and for its workers."""

from ssl import CERT_REQUIRED
from typing import Any

from stepwell.basics.setting_values import DEFAULT_QUEUE

RESULT_EXPIRES_S = 86_400
_VISIBILITY_S = 3_600  # Redis delivers a message again after this time, whether its worker lives or not
_CONNECT_S = 4.0
_SOCKET_S = 5.0


def worker_configuration(broker_url: str, result_backend: str) -> dict[str, Any]:
    """Return the configuration of the workers' app. Everything in it is Celery's own.

    A message is acknowledged when its attempt has ended, and delivered again if the worker is lost. Each message names
    its own time limits.
    """
    return _shared(broker_url) | {
        "result_backend": result_backend,
        "result_expires": RESULT_EXPIRES_S,
        "result_backend_always_retry": True,
        "redis_retry_on_timeout": True,
        # Celery requires this for `rediss://`, unless the URL has it.
        "redis_backend_use_ssl": {"ssl_cert_reqs": CERT_REQUIRED} if result_backend.startswith("rediss") else None,
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "worker_prefetch_multiplier": 1,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
    }


def publisher_configuration(broker_url: str) -> dict[str, Any]:
    """Return the configuration of the service's app, which only sends: it reads the results by itself."""
    options: dict[str, Any] = {"confirm_publish": True, "read_timeout": _SOCKET_S, "write_timeout": _SOCKET_S}
    if broker_url.startswith("redis"):
        options = {"socket_timeout": _SOCKET_S, "socket_connect_timeout": _CONNECT_S}
    shared = _shared(broker_url)
    return shared | {
        "broker_connection_timeout": _CONNECT_S,
        "broker_transport_options": shared["broker_transport_options"] | options,
        "task_publish_retry_policy": {"max_retries": 1, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.2},
    }


def _shared(broker_url: str) -> dict[str, Any]:
    return {
        "broker_url": broker_url,
        "broker_transport_options": {"visibility_timeout": _VISIBILITY_S} if broker_url.startswith("redis") else {},
        "task_default_queue": DEFAULT_QUEUE,
        "task_serializer": "json",
        "result_serializer": "json",
        "accept_content": ["json"],
        "result_accept_content": ["json"],
        "enable_utc": True,
    }
