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

from stepwell.runtime.telemetry import Metrics

_LAG_PAUSE_S = 0.005  # between two timers at the beginning of a run
_LAG_SAMPLES = 200  # in a run of one second; a run that is twice as long has 139 more
TRANSITIONS = "stepwell_checkpoint_events_total"
_STATEMENTS = "stepwell_database_statements_total"
_BATCHES = "stepwell_checkpoint_batches_total"


class Counts(Struct, frozen=True):
    """Totals of one process since its start, or of all processes during a run."""

    wall_s: float
    cpu_s: float
    statements: float
    batches: float
    transitions: float

    def since(self, before: "Counts") -> "Counts":
        return Counts(*(getattr(self, name) - getattr(before, name) for name in self.__struct_fields__))


class Measurements(Struct):
    """The measurements of a run. `counts` exist when it has ended.

    `lags_s` are delays of a timer, which is set every few milliseconds, and less often in a long run. `began_s` and
    `ended_s` are readings of a clock that all processes of the machine share.
    """

    counts: Counts | None = None
    lags_s: list[float] = field(default_factory=list)
    began_s: float = 0.0
    ended_s: float = 0.0
    peak_rss_mb: float = 0.0


@asynccontextmanager
async def measure(metrics: Metrics) -> AsyncIterator[Measurements]:
    """Measure what happens within the context. Garbage that exists before isn't collected within it."""
    measurements = Measurements()
    gc.collect()
    async with asyncio.TaskGroup() as group:
        lag = group.create_task(_watch_lag(measurements.lags_s), name="loop lag")
        before = _counts(metrics)
        measurements.began_s = time.monotonic()
        yield measurements
        measurements.ended_s = time.monotonic()
        measurements.counts = _counts(metrics).since(before)
        measurements.peak_rss_mb = peak_rss_mb()
        lag.cancel()


def of_all_processes(parts: Sequence[Measurements]) -> Measurements:
    """Return what several processes have measured of one run. The memory is that of the largest process."""
    began_s, ended_s = min(part.began_s for part in parts), max(part.ended_s for part in parts)
    counts = [part.counts for part in parts if part.counts is not None]
    assert len(counts) == len(parts)
    return Measurements(
        Counts(
            ended_s - began_s,
            sum(part.cpu_s for part in counts),
            sum(part.statements for part in counts),
            sum(part.batches for part in counts),
            sum(part.transitions for part in counts),
        ),
        [lag for part in parts for lag in part.lags_s],
        began_s,
        ended_s,
        max(part.peak_rss_mb for part in parts),
    )


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
    began = loop.time()
    while True:
        # Some 200 timers a second would take a fifth of the processor time of a load of images.
        pause_s = max(_LAG_PAUSE_S, (loop.time() - began) / _LAG_SAMPLES)
        due = loop.time() + pause_s
        try:
            await asyncio.sleep(pause_s)
        finally:  # also when cancelled, so that a run shorter than one pause has a value
            lags_s.append(max(loop.time() - due, 0.0))
