"""Implements `attempt_io.WorkerTurns`: one attempt's share of LOCAL's workers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from stepwell.engine.admission.local_admission import LocalAdmission, StepKey
from stepwell.engine.attempts.attempt_control import AttemptControl
from stepwell.ports.providers import WorkWeight


class AttemptWorkers:
    """The workers of one attempt. Its deadline is suspended while it waits, because others cause the wait."""

    def __init__(self, local: LocalAdmission, tenant: str | None, step: StepKey, control: AttemptControl) -> None:
        self._local, self._tenant, self._step, self._control = local, tenant, step, control

    @asynccontextmanager
    async def worker(self, weight: WorkWeight) -> AsyncIterator[None]:
        self._control.pause_deadline()
        try:
            async with self._local.worker(self._tenant, self._step, weight):
                self._control.resume_deadline()
                yield
        finally:
            self._control.resume_deadline()

    def charge(self, cost: float) -> None:
        self._local.charge(self._tenant, self._step, cost)
