"""The Celery app of the workers: `celery -A stepwell.executors.celery:app`. `stepwell worker` starts a worker of it.

The app is an ordinary one: Celery's options, and tools such as `inspect` and Flower, work. It reads the settings of the
environment when Celery first needs its configuration.
"""

import os
from typing import Any

from celery import Celery, Task
from celery.exceptions import Ignore, ImproperlyConfigured, SoftTimeLimitExceeded

from stepwell.executors.worker_loop import WorkerLoop
from stepwell.outbound.sanitise import sanitised
from stepwell.providers.celery.configuration import worker_configuration
from stepwell.providers.celery.messages import ATTEMPT_TASK, PROBE_TASK, ReportedError, ResultMessage, encode
from stepwell.settings import InvalidSettings, Settings, read_settings

app = Celery("stepwell", set_as_current=False)
_loops: dict[int, WorkerLoop] = {}  # by process: a fork has none yet


def worker_settings() -> Settings:
    """Return the settings of a worker. Raises `InvalidSettings`, also if there is no broker."""
    return read_settings(os.environ, executor="celery")


@app.add_defaults
def configuration() -> dict[str, Any]:
    """Return the configuration of the app. Raises `ImproperlyConfigured`."""
    try:
        settings = worker_settings()
    except InvalidSettings as error:
        raise ImproperlyConfigured(str(error)) from None
    assert settings.celery_broker_url is not None
    assert settings.result_backend is not None
    return worker_configuration(settings.celery_broker_url, settings.result_backend)


@app.task(bind=True, name=ATTEMPT_TASK)
def attempt(self: Task, text: str) -> str:
    """Do one attempt. Returns a `ResultMessage`."""
    try:
        future = _loop().execute(self.request.id, text, self.request.hostname)
    except Exception as error:  # noqa: BLE001 - the artifact store can't be used, for example
        _loops.pop(os.getpid(), None)  # the next attempt tries again
        message = sanitised(f"the worker {self.request.hostname} can't start: {error}")
        return encode(ResultMessage(error=ReportedError(message=message, retryable=True)))
    try:
        answer = future.result()
    except SoftTimeLimitExceeded:  # the step has not ended itself when its time was over
        future.cancel()
        message = f"timed out after {self.request.timelimit[1]:g} s"
        return encode(ResultMessage(error=ReportedError(message=message, retryable=True)))
    if answer is None:
        raise Ignore  # the result in the backend stays as it is
    return answer


@app.task(name=PROBE_TASK)
def probe() -> None:
    """Do nothing. Its end shows that the messages before it have been delivered."""


def _loop() -> WorkerLoop:
    if (loop := _loops.get(os.getpid())) is None:
        loop = _loops[os.getpid()] = WorkerLoop(worker_settings())
    return loop
