"""Measurements while a load runs: processor time, memory, the lag of the event loop, and database statements."""

import asyncio
import gc
import math
import resource
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from msgspec import Struct, field

from stepwell.telemetry import Metrics

_LAG_PAUSE_S = 0.005
TRANSITIONS = "stepwell_checkpoint_events_total"
_STATEMENTS = "stepwell_database_statements_total"
_BATCHES = "stepwell_checkpoint_batches_total"


class Counts(Struct, frozen=True):
    """Totals of this process since its start."""

    wall_s: float
    cpu_s: float
    statements: float
    batches: float
    transitions: float

    def since(self, before: "Counts") -> "Counts":
        return Counts(*(getattr(self, name) - getattr(before, name) for name in self.__struct_fields__))


class Measurements(Struct):
    """`counts` exist when the measurement has ended. `lags_s` are delays of a timer, one every few milliseconds."""

    counts: Counts | None = None
    lags_s: list[float] = field(default_factory=list)


@asynccontextmanager
async def measure(metrics: Metrics) -> AsyncIterator[Measurements]:
    """Measure what happens within the context. Garbage that exists before isn't collected within it."""
    measurements = Measurements()
    gc.collect()
    async with asyncio.TaskGroup() as group:
        lag = group.create_task(_watch_lag(measurements.lags_s), name="loop lag")
        before = _counts(metrics)
        yield measurements
        measurements.counts = _counts(metrics).since(before)
        lag.cancel()


def peak_rss_mb() -> float:
    """Return the peak memory of this process, in MB of 10**6 bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e6


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that *percent* of *values* don't exceed (nearest rank). NaN without values."""
    if not values:
        return math.nan
    return sorted(values)[max(math.ceil(len(values) * percent / 100) - 1, 0)]


def _counts(metrics: Metrics) -> Counts:
    return Counts(
        time.perf_counter(),
        time.process_time(),
        metrics.value(_STATEMENTS),
        metrics.value(_BATCHES),
        metrics.value(TRANSITIONS),
    )


async def _watch_lag(lags_s: list[float]) -> None:
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + _LAG_PAUSE_S
        try:
            await asyncio.sleep(_LAG_PAUSE_S)
        finally:  # also when cancelled, so that a run shorter than one pause has a value
            lags_s.append(max(loop.time() - due, 0.0))
