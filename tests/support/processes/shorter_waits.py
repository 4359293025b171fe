"""Shorter waits of the service and of Celery workers for a broker, a backend or a worker that may have died."""

from stepwell.providers.celery import configuration, job_monitor, job_records, worker_queues

CALL_S = 3.0  # after that, the service gives up a call to the broker


def shorten_waits() -> None:
    """Do it in this process. `sitecustomize` calls this before any module has copied one of the constants."""
    vars(configuration)["_SOCKET_S"] = 2.0
    vars(worker_queues)["_CALL_S"] = CALL_S
    vars(job_records).update(CLAIM_S=6.0, RENEW_S=1.0)
    vars(job_monitor).update(_SWEEP_S=1.0, _PROBE_AFTER_S=2.0, _PROBE_AGAIN_S=5.0, _SETTLE_S=2.0)
