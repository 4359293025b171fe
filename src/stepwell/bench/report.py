"""The report of a benchmark."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

from stepwell.bench.loads import Load, Work
from stepwell.bench.measurements import Measurements, percentile
from stepwell.persistence.benchmark import Times, Written


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
