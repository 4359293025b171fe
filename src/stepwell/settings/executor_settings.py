"""The settings of the executor: where in-process work runs, and the Celery queues that it goes through."""

from typing import Annotated, Literal

from msgspec import field

from stepwell.basics.setting_values import TaskQueues, about
from stepwell.settings.upload_settings import UploadSettings


class ExecutorSettings(UploadSettings, frozen=True, kw_only=True):
    """The place where the work of LOCAL and of plug-ins that are in-process runs."""

    executor: Annotated[
        Literal["inline", "celery"],
        about(
            "Where LOCAL and in-process plug-ins work: `inline` on the machine of the service, `celery` on the workers "
            "that `stepwell worker` starts"
        ),
    ] = "inline"
    celery_broker_url: Annotated[
        str | None,
        about("The broker of the workers: `redis://`, `rediss://`, `amqp://` or `amqps://`"),
    ] = None
    celery_result_backend: Annotated[
        str | None,
        about(
            "The Redis in which the workers store their results: `redis://` or `rediss://`",
            default="the broker, if it is a Redis",
        ),
    ] = None
    celery_queues: Annotated[
        TaskQueues,
        about(
            'The queue of a step, by its task type; `*` is each type that isn\'t named: `{"GENERATION": "gpu", '
            '"*": "stepwell"}`',
            default="`stepwell` for all",
        ),
    ] = field(default_factory=TaskQueues)

    @property
    def result_backend(self) -> str | None:
        """The URL of the Redis with the results; None if there is none."""
        if self.celery_result_backend is not None:
            return self.celery_result_backend
        is_redis = self.celery_broker_url is not None and self.celery_broker_url.startswith(("redis://", "rediss://"))
        return self.celery_broker_url if is_redis else None
