"""An attempt that runs in this process, as the scheduler knows it."""

import asyncio

from msgspec import Struct

from stepwell.engine.admission.controller import Slot
from stepwell.engine.admission.model_health import TrackedAttempt
from stepwell.engine.attempts.attempt_control import AttemptControl


class RunningAttempt(Struct):
    """What a running attempt occupies, and the task that runs it.

    `slot` is None once it is given back. `tracked` is None if the attempt's model isn't tracked, or once its end is
    counted. `control` and `task` are None until the attempt's INTENT has committed; an attempt that has nothing to wait
    for never gets them. `early_callback` is the body of a provider's callback that came before `control`. A follow-up
    of an abandoned attempt has neither slot nor model.
    """

    slot: Slot | None = None
    tracked: TrackedAttempt | None = None
    control: AttemptControl | None = None
    task: asyncio.Task[None] | None = None
    early_callback: bytes | None = None

    def handle_callback(self, body: bytes) -> None:
        """Wake the attempt with the provider's callback, as soon as it runs."""
        if self.control is None:
            self.early_callback = body
        else:
            self.control.wake(body)
