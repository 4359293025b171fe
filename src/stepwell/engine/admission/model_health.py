"""How the models of the providers do: their circuit breakers, who waits for one to close, and figures of the last
minutes. It all stands in memory: a new process begins with every breaker closed.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from msgspec import Struct

from stepwell.contract.enums import BreakerState, ProviderType
from stepwell.contract.providers import BreakerStatus, Latency, ModelLimit, ModelStatus
from stepwell.domain.circuit_breaker import Breaker, BreakerPolicy
from stepwell.domain.lifecycle.inputs import AttemptFailed, Succeeded
from stepwell.ports.clock import Clock

WINDOW = timedelta(minutes=5)
_SAMPLES = 1_000  # of a model, at most
_MODELS = 1_000  # those asked for last are remembered
_SOON_S = 0.005


class ModelKey(NamedTuple):
    provider: ProviderType
    model: str


class TrackedAttempt(Struct):
    """An attempt under way. `probe`: an open breaker has let it through to see."""

    key: ModelKey
    began_at: datetime
    probe: bool = False


class BreakerHold(NamedTuple):
    """By a breaker, until that time; *probing*: until the attempt that was let through has ended."""

    key: ModelKey
    until: datetime | None
    probing: bool


class _Record:
    def __init__(self, policy: BreakerPolicy) -> None:
        self.breaker = Breaker(policy)
        self.ended: deque[tuple[datetime, float | None]] = deque(maxlen=_SAMPLES)  # null seconds: it failed
        self.in_flight = 0
        self.tenants: set[str | None] = set()
        self.held_back: dict[tuple[UUID, int], None] = {}

    @property
    def in_use(self) -> bool:
        return bool(self.in_flight or self.held_back)


class ModelHealth:
    def __init__(self, policy: BreakerPolicy, clock: Clock) -> None:
        self._policy, self._clock = policy, clock
        self._records: OrderedDict[ModelKey, _Record] = OrderedDict()
        self._open: set[ModelKey] = set()

    @property
    def troubled(self) -> bool:
        """Whether any breaker is open: else nobody need ask."""
        return bool(self._open)

    def lets(self, key: ModelKey) -> bool:
        """Whether an attempt at it may start now."""
        record = self._records.get(key)
        return record is None or record.breaker.allows(self._clock.now())

    def hold_back(self, key: ModelKey, workflow_id: UUID, position: int) -> None:
        """Keep a step until the breaker lets an attempt through."""
        self._records[key].held_back[workflow_id, position] = None

    def closes_in(self, key: ModelKey) -> float | None:
        """In how many seconds `due` may have those that are held back; null if nobody is, or if that is only known
        once the attempt that was let through has ended.
        """
        record = self._records.get(key)
        if record is None or not record.held_back or record.breaker.open_until is None:
            return None
        left = (record.breaker.open_until - self._clock.now()).total_seconds()
        return None if left <= 0 and record.breaker.probing else max(left, _SOON_S)

    def withdraw(self, workflow_id: UUID) -> None:
        """Forget all that is held back of a workflow."""
        for record in self._records.values():
            if record.held_back:
                for place in [place for place in record.held_back if place[0] == workflow_id]:
                    del record.held_back[place]

    def held_of(self, workflow_id: UUID) -> dict[int, BreakerHold]:
        """The steps of a workflow that breakers hold back, by position. Costs O(all that they hold back)."""
        found = {}
        for key, record in self._records.items():
            for held_id, position in record.held_back:
                if held_id == workflow_id:
                    found[position] = BreakerHold(key, record.breaker.open_until, record.breaker.probing)
        return found

    def typical_s(self, key: ModelKey, covers: Callable[[str | None], bool]) -> float | None:
        """The median of what its attempts took that ended well, of the last thousand; null where nothing is known, or
        none of the tenants that *covers* has asked for it.
        """
        record = self._records.get(key)
        if record is None or not any(map(covers, record.tenants)):
            return None
        return _percentile(sorted(seconds for _, seconds in record.ended if seconds is not None), 50)

    def due(self, key: ModelKey) -> Sequence[tuple[UUID, int]]:
        """Those that were held back and may ask again; they aren't any more."""
        record = self._records.get(key)
        if record is None or not record.breaker.allows(self._clock.now()):
            return ()
        freed = list(record.held_back)
        record.held_back.clear()
        return freed

    def started(self, key: ModelKey, tenant: str | None) -> TrackedAttempt:
        record = self._records.get(key)
        if record is None:
            record = self._records[key] = _Record(self._policy)
        self._records.move_to_end(key)
        record.in_flight += 1
        record.tenants.add(tenant)
        now = self._clock.now()
        self._forget_some()
        return TrackedAttempt(key, now, probe=record.breaker.started(now))

    def ended(
        self, flight: TrackedAttempt, outcome: Succeeded | AttemptFailed | None, *, blamed: bool, used_up: bool
    ) -> None:
        """Null: it was cancelled. *blamed*: it failed by the provider's fault; *used_up*: the step makes no more
        attempts there.
        """
        record, now = self._records[flight.key], self._clock.now()
        record.in_flight -= 1
        if isinstance(outcome, Succeeded):
            record.ended.append((now, (now - flight.began_at).total_seconds()))
            record.breaker.succeeded()
        elif blamed:
            record.ended.append((now, None))
            record.breaker.failed(now, probe=flight.probe, used_up=used_up)
        elif flight.probe:
            record.breaker.abandoned()
        if record.breaker.open_until is None:
            self._open.discard(flight.key)
        else:
            self._open.add(flight.key)

    def known(self, provider: ProviderType, covers: Callable[[str | None], bool]) -> list[ModelKey]:
        """The models that steps of these tenants have asked for."""
        return sorted(
            key
            for key, record in self._records.items()
            if key.provider is provider and any(map(covers, record.tenants))
        )

    def status(self, key: ModelKey, limit: ModelLimit | None, waiting: int) -> ModelStatus:
        """*waiting*: for a slot of the model's own."""
        record, now = self._records[key], self._clock.now()
        breaker = record.breaker
        recent = [seconds for at, seconds in record.ended if at >= now - WINDOW]
        took = sorted(seconds for seconds in recent if seconds is not None)
        return ModelStatus(
            model=key.model,
            limit=limit,
            in_flight=record.in_flight,
            waiting=waiting + len(record.held_back),
            breaker=BreakerStatus(breaker.state(now), breaker.failures, breaker.open_until),
            attempts=len(recent),
            error_rate=round(1 - len(took) / len(recent), 4) if recent else None,
            latency_s=Latency(*(_percentile(took, share) for share in (50, 95, 99))),
        )

    def held_back(self, provider: ProviderType | None = None) -> int:
        """Return how many steps the breakers of *provider* hold back; None counts those of all providers."""
        held = ((key, len(record.held_back)) for key, record in self._records.items())
        return sum(count for key, count in held if provider in (None, key.provider))

    def breakers(self) -> Iterator[tuple[ModelKey, BreakerState]]:
        """Yield each model outside of this process that was used, with the state of its breaker."""
        now = self._clock.now()
        for key, record in self._records.items():
            if key.provider is not ProviderType.LOCAL:
                yield key, record.breaker.state(now)

    def _forget_some(self) -> None:
        """Model names are the callers': the one that was asked for longest ago goes, unless it has something here."""
        while len(self._records) > _MODELS:
            key = next((key for key, record in self._records.items() if not record.in_use), None)
            if key is None:
                return
            del self._records[key]
            self._open.discard(key)


def _percentile(values: Sequence[float], share: int) -> float | None:
    """By the nearest rank; *values* are sorted."""
    return round(values[-(-len(values) * share // 100) - 1], 3) if values else None
