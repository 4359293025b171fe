"""The health of each model: its circuit breaker, the steps that the breaker holds back, and statistics of attempts.

All of this is in memory only. A new process begins with every breaker closed, until others report theirs.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from msgspec import Struct

from stepwell.contract.enums import BreakerState, ProviderType
from stepwell.contract.providers import BreakerStatus, Latency, ModelLimit, ModelStatus
from stepwell.lifecycle.inputs import AttemptFailed, Succeeded
from stepwell.ports.clock import Clock
from stepwell.rules.circuit_breaker import Breaker, BreakerPolicy

WINDOW = timedelta(minutes=5)
_MOST_SAMPLES = 1_000  # of one model
_MOST_MODELS = 1_000
_MOST_CHANGES = 1_000
_SHORTEST_WAIT_S = 0.005
LONGEST_MODEL = 255  # the longest name whose breaker other processes learn of


class ModelKey(NamedTuple):
    """A model of a provider. For LOCAL, `model` is the type of task."""

    provider: ProviderType
    model: str


class TrackedAttempt(Struct):
    """An attempt in flight. `probe`: a half-open breaker let only this one through, to see whether the model works."""

    key: ModelKey
    began_at: datetime
    probe: bool = False


class BreakerHold(NamedTuple):
    """The reason why a step is blocked: the breaker of `key` is open until `until`.

    `probing`: the breaker has let a probe through, and the step waits for the end of that attempt.
    """

    key: ModelKey
    until: datetime | None
    probing: bool


class _Result(NamedTuple):
    at: datetime
    took_s: float | None  # None: the attempt failed


class _Record:
    """The record of one model. `blocked`: the steps that wait for its breaker, oldest first."""

    def __init__(self, policy: BreakerPolicy) -> None:
        self.breaker = Breaker(policy)
        self.results: deque[_Result] = deque(maxlen=_MOST_SAMPLES)
        self.in_flight = 0
        self.tenants: set[str | None] = set()
        self.blocked: dict[tuple[UUID, int], None] = {}

    @property
    def in_use(self) -> bool:
        return bool(self.in_flight or self.blocked)


class ModelHealth:
    """Tracks the models that were used lately: the last thousand, and all that are in use."""

    def __init__(self, policy: BreakerPolicy, clock: Clock) -> None:
        self._policy, self._clock, self.longest_open_s = policy, clock, policy.longest_s
        # The models whose breakers have changed here, with the ends of their open times; None: the breaker closed.
        # `BreakerMessages` sends them to the other processes.
        self.changes: dict[ModelKey, datetime | None] = {}
        self.changed = asyncio.Event()
        self._records: OrderedDict[ModelKey, _Record] = OrderedDict()
        self._open: set[ModelKey] = set()

    @property
    def any_open(self) -> bool:
        """True if any breaker is open. If none is, `allows` returns True for every model."""
        return bool(self._open)

    def allows(self, key: ModelKey) -> bool:
        record = self._records.get(key)
        return record is None or record.breaker.allows(self._clock.now())

    def block(self, key: ModelKey, workflow_id: UUID, position: int) -> None:
        """Block a step until the breaker allows an attempt. `release_blocked` returns it then."""
        self._records[key].blocked[workflow_id, position] = None

    def seconds_until_release(self, key: ModelKey) -> float | None:
        """Return the seconds until `release_blocked` may return the blocked steps.

        None if there are no such steps, or if they wait for the end of a probe.
        """
        record = self._records.get(key)
        if record is None or not record.blocked or record.breaker.open_until is None:
            return None
        left = (record.breaker.open_until - self._clock.now()).total_seconds()
        return None if left <= 0 and record.breaker.probing else max(left, _SHORTEST_WAIT_S)

    def release_blocked(self, key: ModelKey) -> Sequence[tuple[UUID, int]]:
        """Release the blocked steps, and return the workflow and position of each.

        Nothing is released while the breaker allows no attempt.
        """
        record = self._records.get(key)
        if record is None or not record.breaker.allows(self._clock.now()):
            return ()
        released = list(record.blocked)
        record.blocked.clear()
        return released

    def withdraw(self, workflow_id: UUID) -> None:
        for record in self._records.values():
            if record.blocked:
                for step in [step for step in record.blocked if step[0] == workflow_id]:
                    del record.blocked[step]

    def holds_on(self, workflow_id: UUID) -> dict[int, BreakerHold]:
        """Return why steps of a workflow are blocked, by position. Costs O(all blocked steps)."""
        holds = {}
        for key, record in self._records.items():
            for blocked_id, position in record.blocked:
                if blocked_id == workflow_id:
                    holds[position] = BreakerHold(key, record.breaker.open_until, record.breaker.probing)
        return holds

    def count_blocked(self, provider: ProviderType | None = None) -> int:
        """Return how many steps the breakers of *provider* block; None counts those of all providers."""
        counts = ((key, len(record.blocked)) for key, record in self._records.items())
        return sum(count for key, count in counts if provider in (None, key.provider))

    def record_start(self, key: ModelKey, tenant: str | None) -> TrackedAttempt:
        """Count the start of an attempt. Each one ends with `record_end`."""
        record = self._records.get(key)
        if record is None:
            record = self._records[key] = _Record(self._policy)
        self._records.move_to_end(key)
        record.in_flight += 1
        record.tenants.add(tenant)
        now = self._clock.now()
        self._evict()
        return TrackedAttempt(key, now, probe=record.breaker.started(now))

    def record_end(
        self,
        attempt: TrackedAttempt,
        outcome: Succeeded | AttemptFailed | None,
        *,
        provider_failed: bool,
        retries_exhausted: bool,
    ) -> None:
        """Count the end of an attempt. *outcome* is None if the attempt was cancelled.

        *provider_failed*: the failure is the provider's fault. *retries_exhausted*: the step makes no further attempt
        at this model.
        """
        record, now = self._records[attempt.key], self._clock.now()
        open_before = record.breaker.open_until
        record.in_flight -= 1
        if isinstance(outcome, Succeeded):
            record.results.append(_Result(now, (now - attempt.began_at).total_seconds()))
            record.breaker.succeeded()
        elif provider_failed:
            record.results.append(_Result(now, None))
            record.breaker.failed(now, probe=attempt.probe, used_up=retries_exhausted)
        elif attempt.probe:
            record.breaker.abandoned()
        if record.breaker.open_until is None:
            self._open.discard(attempt.key)
        else:
            self._open.add(attempt.key)
        if record.breaker.open_until != open_before:
            self.report_change(attempt.key, record.breaker.open_until)

    def report_change(self, key: ModelKey, until: datetime | None) -> None:
        """Report a breaker to the other processes. *until* is the end of its open time; None: it is closed."""
        if len(key.model) <= LONGEST_MODEL and len(self.changes) < _MOST_CHANGES:
            self.changes[key] = until
            self.changed.set()

    def open_breakers(self) -> list[tuple[ModelKey, datetime]]:
        """Return the models whose breaker lets nothing through now, and until when."""
        now, untils = self._clock.now(), {key: self._records[key].breaker.open_until for key in self._open}
        return [(key, until) for key, until in untils.items() if until is not None and until > now]

    def adopt_breaker(self, key: ModelKey, at: datetime, until: datetime | None) -> bool:
        """Adopt the state that the breaker of another process has had since *at*. Return whether this one changes.

        *until* is None if it has closed.
        """
        record = self._records.get(key)
        if until is None:
            if record is None or not record.breaker.closed_elsewhere(at):
                return False
            self._open.discard(key)
            return True
        if record is None:
            record = self._records[key] = _Record(self._policy)
        if not record.breaker.opened_elsewhere(until):
            return False
        self._open.add(key)
        self._evict()
        return True

    def median_s(self, key: ModelKey, covers: Callable[[str | None], bool]) -> float | None:
        """Return the median duration of the successful attempts among the last thousand.

        None if there are none, or if no tenant that *covers* accepts has used the model.
        """
        record = self._records.get(key)
        if record is None or not any(map(covers, record.tenants)):
            return None
        return _percentile(sorted(took_s for _, took_s in record.results if took_s is not None), 50)

    def models_of(self, provider: ProviderType, covers: Callable[[str | None], bool]) -> list[ModelKey]:
        """Return the models of *provider* that a tenant which *covers* accepts has used, sorted by name."""
        return sorted(
            key
            for key, record in self._records.items()
            if key.provider == provider and any(map(covers, record.tenants))
        )

    def status(self, key: ModelKey, limit: ModelLimit | None, waiting: int) -> ModelStatus:
        """Return the state of a model, with statistics of the last five minutes.

        *waiting*: how many steps wait for a slot of the model's own. Raises `KeyError` if the model isn't known.
        """
        record, now = self._records[key], self._clock.now()
        breaker = record.breaker
        recent = [result.took_s for result in record.results if result.at >= now - WINDOW]
        took = sorted(took_s for took_s in recent if took_s is not None)
        return ModelStatus(
            model=key.model,
            limit=limit,
            in_flight=record.in_flight,
            waiting=waiting + len(record.blocked),
            breaker=BreakerStatus(breaker.state(now), breaker.failures, breaker.open_until),
            attempts=len(recent),
            error_rate=round(1 - len(took) / len(recent), 4) if recent else None,
            latency_s=Latency(*(_percentile(took, percent) for percent in (50, 95, 99))),
        )

    def breakers(self) -> Iterator[tuple[ModelKey, BreakerState]]:
        """Yield the models of all providers but LOCAL, each with the state of its breaker."""
        now = self._clock.now()
        for key, record in self._records.items():
            if key.provider is not ProviderType.LOCAL:
                yield key, record.breaker.state(now)

    def _evict(self) -> None:
        """Evict the least recently used models that aren't in use, because clients choose model names: the number of
        records must be bounded.
        """
        while len(self._records) > _MOST_MODELS:
            key = next((key for key, record in self._records.items() if not record.in_use), None)
            if key is None:
                return
            del self._records[key]
            self._open.discard(key)


def _percentile(values: Sequence[float], percent: int) -> float | None:
    """Return a percentile by the nearest rank, to the millisecond; None if there are no values. *values* are sorted."""
    return round(values[-(-len(values) * percent // 100) - 1], 3) if values else None
