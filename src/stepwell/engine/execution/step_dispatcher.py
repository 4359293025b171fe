"""From a step that is ready to an attempt: it waits for a slot, and then for its model's breaker.

An attempt that the breaker doesn't let through goes to the step's fallback at once, or is held back until the breaker
lets one through again. Work in this process has no breaker (LOCAL's attempts are counted, by type of task), and an
attempt that an earlier process had begun needs none: it is paid for.
"""

import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Protocol
from uuid import UUID

from stepwell.contract.enums import ProviderType
from stepwell.contract.task_configs import TaskConfig
from stepwell.domain.lifecycle.decision import Decision
from stepwell.domain.lifecycle.inputs import Admitted, AttemptFailed, Diverted, Input, Succeeded
from stepwell.engine.admission.controller import AdmissionController, Pool, Slot
from stepwell.engine.admission.model_health import ModelHealth, ModelKey, TrackedAttempt
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.engine.execution.seeds import drawn_seed
from stepwell.ports.clock import Clock, NewId, Timer

_HERE = (None, ProviderType.LOCAL)
_USUAL_TIMEOUT_S = TaskConfig().timeout_s


class Gated(Protocol):
    """The scheduler, as far as the gate goes."""

    handles: dict[UUID, ActiveWorkflow]

    def feed(self, handle: ActiveWorkflow, given: Input) -> bool: ...

    def begin(self, handle: ActiveWorkflow, decision: Decision, slot: Slot, flight: TrackedAttempt | None) -> None:
        """The attempt is let through."""

    def guarded(self, callback: Callable[..., Any]) -> Callable[..., None]: ...


class Models(Protocol):
    def model_key(self, context: ActiveWorkflow, position: int, *, on_fallback: bool) -> ModelKey | None:
        """What the step's next attempt would ask; null where that needs no breaker."""


class StepDispatcher:
    def __init__(
        self,
        scheduler: Gated,
        models: Models,
        admission: AdmissionController,
        health: ModelHealth,
        clock: Clock,
        new_id: NewId,
    ) -> None:
        self._scheduler, self._models, self._admission, self._health = scheduler, models, admission, health
        self._clock, self._new_id = clock, new_id
        self._granting = False
        self._next_grant: Timer | None = None  # for the next start that a rate allows
        self._next_grant_at = 0.0
        self._closing: dict[ModelKey, Timer] = {}  # of breakers, for those that are held back

    def enqueue(self, handle: ActiveWorkflow, positions: Iterable[int]) -> None:
        """Let steps wait for a slot. A step that waits already keeps the time at which it began to wait."""
        now = time.monotonic()
        for position in positions:
            handle.waiting_since.setdefault(position, now)
            self._admission.enqueue(handle.tenant, handle.workflow_id, position, self._pool(handle, position))

    def withdraw(self, handle: ActiveWorkflow) -> None:
        """Forget all that a workflow waits for."""
        self._admission.withdraw(handle.tenant, handle.workflow_id)
        self._health.withdraw(handle.workflow_id)
        handle.waiting_since.clear()

    def grant(self) -> None:
        """Hand out the slots that are free."""
        # What is granted may end at once, and ask for the next: it has it from here, not one call within the other.
        if self._granting:
            return
        self._granting = True
        try:
            while (slot := self._admission.grant()) is not None:
                if not self._use(slot):
                    self._admission.release(slot)
        finally:
            self._granting = False
        if self._admission.retry_in_s is not None:
            self._grant_in(self._admission.retry_in_s)

    def landed(
        self, handle: ActiveWorkflow | None, flight: TrackedAttempt, outcome: Succeeded | AttemptFailed | None
    ) -> None:
        """An attempt has ended; to be told before its run is. Null outcome: it was cancelled."""
        failed = outcome if handle is not None and isinstance(outcome, AttemptFailed) else None
        blamed = failed is not None and handle is not None and _blames(handle, failed)
        if flight.key.provider in _HERE:
            # Without exhausted retries the breaker never opens.
            self._health.record_end(flight, outcome, provider_failed=blamed, retries_exhausted=False)
            return
        used_up = failed is not None and handle is not None and handle.run.gives_up(failed)
        open_before = not self._health.allows(flight.key)
        self._health.record_end(flight, outcome, provider_failed=blamed, retries_exhausted=used_up)
        if not open_before and not self._health.allows(flight.key):
            self._ask_anew(flight.key)
        self._let_go(flight.key)

    def close(self) -> None:
        for timer in self._closing.values():
            timer.cancel()
        if self._next_grant is not None:
            self._next_grant.cancel()

    def _pool(self, handle: ActiveWorkflow, position: int) -> Pool:
        provider = handle.provider(position)
        # One that is under way is no new start.
        if provider in _HERE or handle.run.under_way(position):
            return provider
        limited = provider in self._admission.limits.models
        key = self._key(handle, position) if limited or self._health.any_open else None
        if key is not None and not self._health.allows(key):
            return None  # it asks nobody: it is turned away as soon as it has its turn
        return self._admission.limits.pool(provider, key.model if key else "") if limited else provider

    def _key(self, handle: ActiveWorkflow, position: int) -> ModelKey | None:
        return self._models.model_key(handle, position, on_fallback=handle.on_fallback(position))

    def _grant_in(self, seconds: float) -> None:
        at = self._clock.monotonic() + seconds
        if self._next_grant is not None:
            if self._next_grant_at <= at:
                return
            self._next_grant.cancel()
        self._next_grant_at = at
        self._next_grant = self._clock.call_later(seconds, self._scheduler.guarded(self._grant_again))

    def _grant_again(self) -> None:
        self._next_grant = None
        self.grant()

    def _use(self, slot: Slot) -> bool:
        handle, position = self._scheduler.handles.get(slot.workflow_id), slot.position
        if handle is None:
            return False
        key, provider = None, handle.provider(position)
        if provider is ProviderType.LOCAL and handle.run.waits(position):
            key = ModelKey(provider, handle.plan(position).task_type)
        elif provider is not None and handle.run.waits(position):
            key = self._key(handle, position)
            if key is not None and self._turns_away(handle, position, key):
                return False
            if slot.pool is None:
                self.enqueue(handle, [position])  # the breaker has closed meanwhile: now it needs a slot there
                return False
        now = self._clock.now()
        # Where nobody draws, no seed is drawn.
        seed = None if slot.pool is None else drawn_seed(slot.workflow_id, position)
        handle.waiting_since.pop(position, None)
        decision = handle.run.apply(Admitted(position, self._new_id(now), seed), now)
        if not decision.effects:
            return False
        flight = None if key is None else self._health.record_start(key, handle.tenant)
        self._scheduler.begin(handle, decision, slot, flight)
        return True

    def _turns_away(self, handle: ActiveWorkflow, position: int, key: ModelKey) -> bool:
        """Whether no attempt may start; then the step is looked after."""
        if self._health.allows(key):
            return False
        if handle.plan(position).fallback is not None and not handle.on_fallback(position):
            other = self._models.model_key(handle, position, on_fallback=True)
            if other is None or self._health.allows(other):
                self._scheduler.feed(handle, Diverted(position, key.provider, key.model))
                return True
        self._health.hold_back(key, handle.workflow_id, position)
        self._look_later(key)
        return True

    def _ask_anew(self, key: ModelKey) -> None:
        """A breaker has opened: what waits for a slot of its model waits for nothing any more."""
        limits = self._admission.limits
        for workflow_id, position in self._admission.take_all(limits.pool(key.provider, key.model)):
            if (handle := self._scheduler.handles.get(workflow_id)) is not None:
                self.enqueue(handle, [position])

    def _look_later(self, key: ModelKey) -> None:
        """See to it that those who are held back are asked about once the breaker's time is over."""
        seconds = self._health.seconds_until_release(key)
        if seconds is not None and key not in self._closing:
            fire = self._scheduler.guarded(partial(self._may_close, key))
            self._closing[key] = self._clock.call_later(seconds, fire)

    def _may_close(self, key: ModelKey) -> None:
        del self._closing[key]
        self._let_go(key)

    def _let_go(self, key: ModelKey) -> None:
        """Those that a breaker has held back ask again, if they still wait; later, if it isn't time yet."""
        for workflow_id, position in self._health.release_held(key):
            handle = self._scheduler.handles.get(workflow_id)
            if handle is not None and not handle.halted and handle.run.waits(position):
                self.enqueue(handle, [position])
        self._look_later(key)
        self.grant()


def _blames(handle: ActiveWorkflow, failed: AttemptFailed) -> bool:
    """Whether it says that something is wrong at the provider. A time-out does so only where something had left, and
    within a time that isn't the step's own, which may be too short for anybody.
    """
    if not (failed.retryable and failed.provider_fault) or failed.request_fault:
        return False
    in_time = handle.plan(failed.position).timeout_s >= _USUAL_TIMEOUT_S
    return not failed.timed_out or (in_time and handle.has_sent(failed.position))
