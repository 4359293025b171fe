"""An attempt that runs in this process, as the scheduler knows it."""

import asyncio

from msgspec import Struct

from stepwell.engine.admission.controller import AdmissionController, Slot
from stepwell.engine.admission.model_health import TrackedAttempt
from stepwell.engine.attempts.attempt_control import AttemptControl


class RunningAttempt(Struct):
    """A running attempt: the slot and the model that it uses, and the task that runs it.

    `slot` is None once it is given back. `tracked` is None if the attempt's model isn't tracked, or once its end is
    counted. `control` and `task` are None until the attempt's INTENT has committed; an attempt that has nothing to wait
    for never gets them. `early_callback` is the body of a provider's callback that came before `control`. A follow-up
    of an abandoned attempt has neither slot nor model. `lent`: others may use the slot while the attempt waits for its
    mappings.
    """

    slot: Slot | None = None
    tracked: TrackedAttempt | None = None
    control: AttemptControl | None = None
    task: asyncio.Task[None] | None = None
    early_callback: bytes | None = None
    lent: bool = False

    def lend_slot(self, admission: AdmissionController) -> None:
        """Let others use the slot while this attempt waits for its mappings."""
        if self.slot is not None and not self.lent:
            admission.lend(self.slot)
            self.lent = True

    def release_slot(self, admission: AdmissionController) -> None:
        """Give the slot back, once."""
        slot, self.slot = self.slot, None
        if slot is not None:
            (admission.take_back if self.lent else admission.release)(slot)

    def handle_callback(self, body: bytes) -> None:
        """Wake the attempt with the provider's callback, as soon as it runs."""
        if self.control is None:
            self.early_callback = body
        else:
            self.control.wake(body)
