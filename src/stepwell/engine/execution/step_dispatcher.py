"""Decides which waiting steps start: a step waits for a slot, and then for the circuit breaker of its model.

If the breaker lets no attempt through, the step is diverted to its fallback at once, or is blocked until the breaker
lets one through again. Work in this process has no breaker; LOCAL's attempts are only counted, by type of task. An
attempt that an earlier process began starts whatever its breaker says, because it is paid for.

What must hold:
- The dispatcher changes no run. It returns the steps that may start, and the scheduler starts them.
- The slot of a returned start is the scheduler's to release. The dispatcher releases every other slot itself.
- A step waits in one place: in the queue of its pool, or blocked by a breaker.

An item of a step waits and starts as a step does, under a position of its own.
"""

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from msgspec import Struct

from stepwell.contract.task_configs import TaskConfig
from stepwell.engine.attempts.runner import AttemptRunner
from stepwell.engine.dispatch.model_health import ModelHealth, ModelKey, TrackedAttempt
from stepwell.engine.dispatch.pools import LOCAL, ModelPool, Pool
from stepwell.engine.dispatch.step_queue import Slot, StepQueue
from stepwell.engine.execution.active_workflow import ActiveWorkflow, RunningAttempt
from stepwell.lifecycle.inputs import AttemptFailed, Diverted, Succeeded
from stepwell.ports.clock import Clock, Timer

_USUAL_TIMEOUT_S = TaskConfig().timeout_s


class AttemptStart(Struct, frozen=True):
    """A step that starts an attempt, or continues one of an earlier process.

    `seed` is None if no provider does the step, `model` if the attempt isn't tracked. `in_process`: the attempt
    works in this process.
    """

    workflow: ActiveWorkflow
    slot: Slot
    seed: int | None
    model: ModelKey | None
    in_process: bool


class StepDiversion(Struct, frozen=True):
    """A step that goes to its fallback."""

    workflow: ActiveWorkflow
    input: Diverted


class StepDispatcher:
    """Decides which ready steps start. *workflows* are those in memory, by id.

    *wake* is called when steps may start because time has passed. *fail_fast* makes a timer's callback end the
    scheduler if it raises.
    """

    def __init__(
        self,
        workflows: Mapping[UUID, ActiveWorkflow],
        runner: AttemptRunner,
        step_queue: StepQueue,
        health: ModelHealth,
        clock: Clock,
        wake: Callable[[], None],
        fail_fast: Callable[[Callable[..., Any]], Callable[..., None]],
    ) -> None:
        self._workflows, self._runner, self._step_queue, self._health = workflows, runner, step_queue, health
        self._clock, self._wake, self._fail_fast = clock, wake, fail_fast
        self._next_wake: Timer | None = None  # for the next start that a rate limit allows
        self._next_wake_at = 0.0
        self._breaker_timers: dict[ModelKey, Timer] = {}  # of breakers that hold steps back

    def enqueue(self, workflow: ActiveWorkflow, positions: Iterable[int]) -> None:
        """Queue steps for a slot. A step that waits already keeps the time at which it began to wait."""
        now, tenant, workflow_id = time.monotonic(), workflow.tenant, workflow.workflow_id
        for position in positions:
            workflow.waiting_since.setdefault(position, now)
            pool = self._pool(workflow, position)
            if pool is None or not self._is_continued(workflow, position, pool):
                self._step_queue.enqueue(tenant, workflow_id, position, pool)
            else:
                self._step_queue.enqueue_continued(tenant, workflow_id, position, pool)

    def withdraw(self, workflow: ActiveWorkflow) -> None:
        """Remove all steps of the workflow, both queued ones and those that breakers hold back."""
        self._step_queue.withdraw(workflow.tenant, workflow.workflow_id)
        self._health.withdraw(workflow.workflow_id)
        workflow.waiting_since.clear()

    def slot_at_once(self, workflow: ActiveWorkflow, position: int) -> Slot | None:
        """Return a slot for a step without a provider if one is free and no step waits; None otherwise.

        Hot path: the same as to enqueue the step, and to get it back as the next start.
        """
        if workflow.provider(position) is not None:
            return None
        return self._step_queue.take_at_once(workflow.tenant, workflow.workflow_id, position)

    def next_starts(self) -> Iterator[AttemptStart | StepDiversion]:
        """Yield the starts and diversions, until no slot or no step is left.

        The caller may enqueue more steps and release slots meanwhile: they are considered in the same iteration.
        """
        while (slot := self._step_queue.grant()) is not None:
            workflow = self._workflows.get(slot.workflow_id)
            start = None if workflow is None else self._next_start(workflow, slot)
            if not isinstance(start, AttemptStart):
                self._step_queue.release(slot)
            if start is not None:
                yield start
        if self._step_queue.retry_in_s is not None:
            self._wake_in(self._step_queue.retry_in_s)

    def track(self, start: AttemptStart) -> TrackedAttempt | None:
        """Count the beginning attempt at its model."""
        return None if start.model is None else self._health.record_start(start.model, start.workflow.tenant)

    def attempt_finished(
        self, workflow: ActiveWorkflow, attempt: RunningAttempt, outcome: Succeeded | AttemptFailed | None
    ) -> None:
        """Report the attempt's end to the breaker of its model, once, and before the run gets the outcome.

        *outcome* is None if the attempt was cancelled.
        """
        tracked, attempt.tracked = attempt.tracked, None
        if tracked is None:
            return
        failed = outcome if isinstance(outcome, AttemptFailed) else None
        blamed = failed is not None and _is_provider_failure(workflow, failed)
        if self._runner.works_here(tracked.key.provider):  # its breaker never opens
            self._health.record_end(tracked, outcome, provider_failed=blamed, retries_exhausted=False)
            return
        used_up = failed is not None and workflow.run.attempts.is_last(failed, self._clock.now())
        allowed_before = self._health.allows(tracked.key)
        self._health.record_end(tracked, outcome, provider_failed=blamed, retries_exhausted=used_up)
        if allowed_before and not self._health.allows(tracked.key):
            self._requeue_model(tracked.key)
        self._release_blocked(tracked.key)

    def adopt_breaker(self, key: ModelKey, at: datetime, until: datetime | None) -> None:
        """Adopt the breaker of another process: see `ModelHealth.adopt_breaker`. Steps may start then."""
        if not self._runner.works_here(key.provider) and self._health.adopt_breaker(key, at, until):
            if until is not None:
                self._requeue_model(key)
            self._release_blocked(key)
            self._wake()

    def close(self) -> None:
        for timer in self._breaker_timers.values():
            timer.cancel()
        if self._next_wake is not None:
            self._next_wake.cancel()

    def _pool(self, workflow: ActiveWorkflow, position: int) -> Pool:
        provider = workflow.provider(position)
        if provider is None or provider is LOCAL:  # LOCAL has no models
            return provider
        limited = provider in self._step_queue.limits.models
        key = self._key(workflow, position) if limited or self._health.any_open else None
        if key is not None and not workflow.run.has_attempt(position) and not self._health.allows(key):
            return None  # nothing is sent for it: it is turned away as soon as it is next
        return self._step_queue.limits.pool(provider, key.model if key else "") if limited else provider

    def _is_continued(self, workflow: ActiveWorkflow, position: int, pool: Pool) -> bool:
        """Return whether the step's attempt may have a job at its provider.

        If a request may still have to be sent, and the model has a rate, the attempt waits for its start.
        """
        task = workflow.run.open_task(position)
        if task is None or self._runner.works_here(workflow.provider(position)):
            return False
        has_rate = isinstance(pool, ModelPool) and pool.limit.per_minute is not None
        return task.remote_id is not None or not has_rate

    def _key(self, workflow: ActiveWorkflow, position: int) -> ModelKey | None:
        return self._runner.model_key(workflow, position, on_fallback=workflow.on_fallback(position))

    def _next_start(self, workflow: ActiveWorkflow, slot: Slot) -> AttemptStart | StepDiversion | None:
        """Return what the step with *slot* does: a start or a diversion. None if it keeps waiting."""
        position = slot.position
        key, provider = None, workflow.provider(position)
        if provider is LOCAL and workflow.run.wants_new_attempt(position):
            key = ModelKey(provider, workflow.resolved_step(position).task_type)
        elif provider is not None and workflow.run.wants_new_attempt(position):
            key = self._key(workflow, position)
            if key is not None and not self._health.allows(key):
                return self._divert_or_block(workflow, position, key)
            if slot.pool is None:
                self.enqueue(workflow, [position])  # the breaker has closed meanwhile, so it needs a slot of its model
                return None
        elif provider is not None and workflow.run.is_tried_again(position):
            key = self._key(workflow, position)  # the breaker learns of the try, and doesn't hold it back
        workflow.waiting_since.pop(position, None)
        # A step without a provider draws nothing, so it gets no seed.
        seed = None if slot.pool is None else drawn_seed(slot.workflow_id, position, workflow.run_number(position))
        return AttemptStart(workflow, slot, seed, key, self._runner.works_here(provider))

    def _divert_or_block(self, workflow: ActiveWorkflow, position: int, key: ModelKey) -> StepDiversion | None:
        """Divert the step, or hold it back, because the breaker lets no attempt through."""
        if workflow.resolved_step(position).fallback is not None and not workflow.on_fallback(position):
            other = self._runner.model_key(workflow, position, on_fallback=True)
            if other is None or self._health.allows(other):
                return StepDiversion(workflow, Diverted(position, key.provider, key.model))
        self._health.block(key, workflow.workflow_id, position)
        self._set_breaker_timer(key)
        return None

    def _requeue_model(self, key: ModelKey) -> None:
        """Enqueue the steps of a model again: its breaker has opened, so they must not wait for a slot of it."""
        limits = self._step_queue.limits
        for workflow_id, position in self._step_queue.take_all(limits.pool(key.provider, key.model)):
            if (workflow := self._workflows.get(workflow_id)) is not None:
                self.enqueue(workflow, [position])

    def _release_blocked(self, key: ModelKey) -> None:
        """Enqueue the steps that the breaker has blocked, if it allows attempts now; else try again later."""
        for workflow_id, position in self._health.release_blocked(key):
            workflow = self._workflows.get(workflow_id)
            if workflow is not None and not workflow.dequeued and workflow.run.wants_new_attempt(position):
                self.enqueue(workflow, [position])
        self._set_breaker_timer(key)

    def _set_breaker_timer(self, key: ModelKey) -> None:
        seconds = self._health.seconds_until_release(key)
        if seconds is not None and key not in self._breaker_timers:
            fire = self._fail_fast(partial(self._on_breaker_timer, key))
            self._breaker_timers[key] = self._clock.call_later(seconds, fire)

    def _on_breaker_timer(self, key: ModelKey) -> None:
        del self._breaker_timers[key]
        self._release_blocked(key)
        self._wake()

    def _wake_in(self, seconds: float) -> None:
        at = self._clock.monotonic() + seconds
        if self._next_wake is not None:
            if self._next_wake_at <= at:
                return
            self._next_wake.cancel()
        self._next_wake_at = at
        self._next_wake = self._clock.call_later(seconds, self._fail_fast(self._on_rate_timer))

    def _on_rate_timer(self) -> None:
        self._next_wake = None
        self._wake()


def drawn_seed(workflow_id: UUID, position: int, run: int) -> int:
    """Return the seed of a step or an item whose config has none, 0 to 2**31 - 1. *run* is the number of its run,
    from 0.

    All attempts of a run get the same seed, so that a retry draws the same picture. Seeds of different workflows are
    as good as random.
    """
    of_run = run.to_bytes(4, "big") if run else b""
    digest = hashlib.sha256(workflow_id.bytes + position.to_bytes(4, "big") + of_run).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def _is_provider_failure(workflow: ActiveWorkflow, failed: AttemptFailed) -> bool:
    """Return whether the failure shows that something is wrong at the provider.

    A time-out shows that only if something was sent, and only within a time that isn't the step's own, because the step
    may allow too little time for any provider.
    """
    if not (failed.retryable and failed.provider_fault) or failed.request_fault:
        return False
    in_time = workflow.resolved_step(failed.position).timeout_s >= _USUAL_TIMEOUT_S
    return not failed.timed_out or (in_time and workflow.has_sent(failed.position))
