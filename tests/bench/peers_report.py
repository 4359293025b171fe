"""What `peers.py` compares and prints: shapes, medians, ratios and the table. Pure, and without the peers."""

import re
from argparse import ArgumentTypeError
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from bench.manual_blocks import paragraph, table

OURS = "Stepwell"
# By name: where its steps run, and what of them outlives a crash.
ENGINES = {
    OURS: ("one process", "each step's start and end together, committed to PostgreSQL"),
    "DBOS": ("one process, 4 threads", "each step's result, committed to the same PostgreSQL"),
    "Restate": ("its server, an endpoint per CPU", "each `ctx.run`, in its own log, synced by default"),
    "Temporal": ("its development server, one worker", "each activity, in SQLite: WAL, synced at each commit"),
    "Celery": ("a solo worker per CPU", "nothing: Redis in memory, no snapshot, no append-only file"),
}


PEERS = tuple(engine for engine in ENGINES if engine != OURS)


@dataclass(frozen=True)
class Shape:
    """*workflows* at once, of *steps* each: a chain one after the other, a fan 1 -> steps - 2 -> 1."""

    kind: str
    workflows: int
    steps: int

    @property
    def total_steps(self) -> int:
        return self.workflows * self.steps

    def __str__(self) -> str:
        plural = "" if self.workflows == 1 else "s"
        return f"{self.workflows:,} {self.kind}{plural} of {self.steps:,}"


def shape_of(text: str) -> Shape:
    """The shape that *text* names on the command line: chain:50x20."""
    parts = re.fullmatch(r"(chain|fan):([1-9]\d*)x([1-9]\d*)", text)
    if parts is None:
        raise ArgumentTypeError(f"{text!r} is not like chain:50x20 or fan:5x1000")
    shape = Shape(parts[1], int(parts[2]), int(parts[3]))
    if shape.kind == "fan" and shape.steps < 4:
        raise ArgumentTypeError(f"{text!r}: a fan has 4 steps or more")
    return shape


@dataclass(frozen=True)
class PeerRun:
    """One engine on one shape, once. `engine` may be the path of another tree of ours.

    The last two figures exist for Stepwell: the processor time of the engine, and a bare commit on the same database.
    """

    engine: str
    shape: Shape
    steps_per_s: float
    cpu_us_per_step: float | None = None
    commit_ms: float | None = None


@dataclass(frozen=True)
class Machine:
    date: str
    cpus: int
    python: str
    postgres: str
    redis: str | None
    settings: Mapping[str, str]
    sdks: Mapping[str, str]


@dataclass(frozen=True)
class Spread:
    """The rounds of one engine on one shape."""

    lowest: float
    median: float
    highest: float

    def __str__(self) -> str:
        if self.lowest == self.highest:
            return f"{self.median:,.0f}"
        return f"{self.median:,.0f} ({self.lowest:,.0f}-{self.highest:,.0f})"


def spreads(runs: Sequence[PeerRun]) -> dict[Shape, dict[str, Spread]]:
    rates: dict[Shape, dict[str, list[float]]] = {}
    for run in runs:
        rates.setdefault(run.shape, {}).setdefault(run.engine, []).append(run.steps_per_s)
    return {
        shape: {engine: Spread(min(found), median(found), max(found)) for engine, found in engines.items()}
        for shape, engines in rates.items()
    }


def ratios(engines: Mapping[str, Spread]) -> dict[str, float]:
    """Return how many times as fast as each peer we are, by the medians; empty without a run of ours."""
    if OURS not in engines:
        return {}
    return {engine: engines[OURS].median / engines[engine].median for engine in engines if engine in PEERS}


def manual_blocks(runs: Sequence[PeerRun], versions: Mapping[str, str], machine: Machine) -> list[str]:
    """Return what the manual's page has of a comparison: the conditions, tables and sentences."""
    return [
        paragraph(_conditions(runs, machine)),
        table(_rates(runs, versions, str)),
        *([table(_times(runs, versions))] if OURS in versions and len(versions) > 1 else []),
        *_commits(runs),
        table([["engine", "runs in", "durable"], *([engine, *ENGINES[engine]] for engine in versions)], right=False),
    ]


def readme_blocks(runs: Sequence[PeerRun], versions: Mapping[str, str]) -> list[str]:
    return [table(_rates(runs, versions, lambda spread: f"{spread.median:,.0f}"))]


def processor_times(runs: Sequence[PeerRun]) -> str:
    """Return a table: the processor time of a step by our tree and by others, and ours over theirs."""
    others = list(dict.fromkeys(run.engine for run in runs if run.engine not in ENGINES))
    rows = [["CPU µs a step", OURS, *others, *(f"of {other}" for other in others)]]
    for shape in spreads(runs):
        found = _cpu_us_per_step(runs, shape)
        rows.append([str(shape), *(f"{found[engine]:.0f}" for engine in (OURS, *others))])
        rows[-1] += [f"{found[OURS] / found[other]:.2f}" for other in others]
    return table(rows)


def as_json(runs: Sequence[PeerRun], versions: Mapping[str, str], machine: Machine) -> dict[str, Any]:
    shapes = [
        asdict(shape)
        | {
            "steps_per_s": {engine: asdict(spread) for engine, spread in engines.items()},
            "times": ratios(engines),
            "cpu_us_per_step": _cpu_us_per_step(runs, shape),
        }
        for shape, engines in spreads(runs).items()
    ]
    return {"versions": dict(versions), "machine": asdict(machine), "shapes": shapes}


def _conditions(runs: Sequence[PeerRun], machine: Machine) -> str:
    rounds = max(Counter((run.shape, run.engine) for run in runs).values())
    settings = ", ".join(f"{name}={value}" for name, value in machine.settings.items())
    parts = [
        machine.date,
        f"{machine.cpus} CPUs",
        f"Python {machine.python}",
        f"PostgreSQL {machine.postgres} by TCP ({settings})",
    ]
    parts += [f"Redis {machine.redis}"] if machine.redis else []
    parts += [f"{name} {version}" for name, version in machine.sdks.items()]
    return f"Medians of {rounds} (lowest-highest); {', '.join(parts)}."


def _rates(runs: Sequence[PeerRun], versions: Mapping[str, str], text: Callable[[Spread], str]) -> list[list[str]]:
    rows = [["steps/s", *(f"{engine} {version}" for engine, version in versions.items())]]
    return rows + [[str(shape), *(text(found[each]) for each in versions)] for shape, found in spreads(runs).items()]


def _times(runs: Sequence[PeerRun], versions: Mapping[str, str]) -> list[list[str]]:
    rows = [["Stepwell is faster by", *(engine for engine in versions if engine in PEERS)]]
    for shape, engines in spreads(runs).items():
        times = ratios(engines)
        rows.append([str(shape), *(_ratio(times[engine]) for engine in rows[0][1:])])
    return rows


def _ratio(ratio: float) -> str:
    return f"{ratio:,.0f}" if ratio >= 10 else f"{ratio:.1f}"


def _commits(runs: Sequence[PeerRun]) -> list[str]:
    """Return a sentence for each single chain of ours: its steps beside bare commits, by the medians."""
    lines = []
    for shape in spreads(runs):
        commits = [run.commit_ms for run in runs if run.shape == shape and run.engine == OURS and run.commit_ms]
        if shape.kind == "chain" and shape.workflows == 1 and commits:
            step_ms, commit_ms = 1e3 / spreads(runs)[shape][OURS].median, median(commits)
            text = (
                f"Stepwell takes {step_ms:.2f} ms for a step of {shape}, and {commit_ms:.2f} ms for a bare commit of "
                f"one row on the same database: {step_ms / commit_ms:.1f} commits a step."
            )
            lines.append(paragraph(text))
    return lines


def _cpu_us_per_step(runs: Sequence[PeerRun], shape: Shape) -> dict[str, float]:
    """Return the median of each tree of ours."""
    found: dict[str, list[float]] = {}
    for run in runs:
        if run.shape == shape and run.cpu_us_per_step is not None:
            found.setdefault(run.engine, []).append(run.cpu_us_per_step)
    return {engine: median(values) for engine, values in found.items()}
