"""Measurements while a load runs, and the report of them: processor time, memory, lag of the event loop, statements."""

import asyncio
import gc
import math
import resource
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from msgspec import Struct, field
from msgspec.structs import asdict

from stepwell.bench.loads import Load, Work
from stepwell.persistence.benchmark import Times, Written
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
            ended_s - began_s, *(sum(getattr(part, name) for part in counts) for name in Counts.__struct_fields__[1:])
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


class Report(Struct, frozen=True):
    """The figures of one run.

    The time of a step or workflow is from its start to its end, as its row records them. `cpu_us_per_step` is the
    processor time of the processes that run the engine. It includes creating the workflows, and excludes the database
    and the workers. `peak_rss_mb` is that of the largest process. `commit_ms` is the median of one-row commits to the
    same database, before and after the run. The server writes `wal_bytes_per_step` to its log, also for others that use
    it meanwhile. The tables and their indexes grow by `stored_bytes_per_step`.

    The other figures exist if the run has them.
    """

    shape: str
    workflows: int
    steps: int
    steps_per_s: float
    transitions_per_s: float
    commits: int
    statements_per_step: float
    rows_per_batch: float
    ms_per_step_p50: float
    ms_per_step_p95: float
    workflow_ms_p50: float
    workflow_ms_p99: float
    cpu_us_per_step: float
    peak_rss_mb: float
    loop_lag_ms_p99: float
    commit_ms: float
    wal_bytes_per_step: float
    stored_bytes_per_step: float
    work: str | None = None
    processes: int | None = None
    workers: int | None = None
    images_per_s: float | None = None

    def present(self) -> dict[str, Any]:
        """Return the figures that exist, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def report_of(
    load: Load, measurements: Measurements, times: Times, written: Written, commits_s: Sequence[float]
) -> Report:
    """Return the report of a run. It has no figures about processes and workers."""
    counts, steps = measurements.counts, load.total_steps
    assert counts is not None
    return Report(
        shape=load.shape,
        workflows=load.workflows,
        steps=steps,
        steps_per_s=_rounded(steps / counts.wall_s),
        transitions_per_s=_rounded(counts.transitions / counts.wall_s),
        commits=int(counts.batches),
        statements_per_step=_rounded(counts.statements / steps),
        rows_per_batch=_rounded(counts.transitions / counts.batches),
        ms_per_step_p50=_rounded(times.step_p50_s * 1e3),
        ms_per_step_p95=_rounded(times.step_p95_s * 1e3),
        workflow_ms_p50=_rounded(times.workflow_p50_s * 1e3),
        workflow_ms_p99=_rounded(times.workflow_p99_s * 1e3),
        cpu_us_per_step=_rounded(counts.cpu_s / steps * 1e6),
        peak_rss_mb=_rounded(measurements.peak_rss_mb),
        loop_lag_ms_p99=_rounded(percentile(measurements.lags_s, 99) * 1e3),
        commit_ms=_rounded(percentile(commits_s, 50) * 1e3),
        wal_bytes_per_step=_rounded(written.wal_bytes / steps),
        stored_bytes_per_step=_rounded(written.stored_bytes / steps),
        work=None if load.work is Work.NOTHING else load.work,
        images_per_s=_rounded(steps / counts.wall_s) if load.work is Work.IMAGE else None,
    )


def _rounded(value: float) -> float:
    """Return *value* with about three digits. More would be noise."""
    return round(value, 1) if value >= 100 else float(f"{value:.3g}")  # noqa: PLR2004 - see above
