"""What `peers.py` compares and prints: shapes, medians, ratios and the table. Pure, and without the peers."""

import re
from argparse import ArgumentTypeError
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

OURS = "Stepwell"
# By name: where its steps run, and what of them outlives a crash.
ENGINES = {
    OURS: ("one process", "each step's start and end, committed to PostgreSQL before anything follows"),
    "DBOS": ("one process, 4 threads", "each step's result, committed to the same PostgreSQL"),
    "Celery": ("a solo worker a CPU", "nothing: Redis in memory, no snapshot, no append-only file"),
}


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
class Turn:
    """One engine on one shape, once."""

    engine: str
    shape: Shape
    steps_per_s: float


@dataclass(frozen=True)
class Machine:
    cpus: int
    python: str
    postgres: str
    redis: str | None
    commit_ms: float
    settings: Mapping[str, str]


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


def spreads(turns: Sequence[Turn]) -> dict[Shape, dict[str, Spread]]:
    rates: dict[Shape, dict[str, list[float]]] = {}
    for turn in turns:
        rates.setdefault(turn.shape, {}).setdefault(turn.engine, []).append(turn.steps_per_s)
    return {
        shape: {engine: Spread(min(found), median(found), max(found)) for engine, found in engines.items()}
        for shape, engines in rates.items()
    }


def ratios(engines: Mapping[str, Spread]) -> dict[str, float]:
    """How many times as fast as each peer we are, by the medians; empty without a run of ours."""
    if OURS not in engines:
        return {}
    return {engine: engines[OURS].median / spread.median for engine, spread in engines.items() if engine != OURS}


def markdown(turns: Sequence[Turn], versions: Mapping[str, str], machine: Machine) -> str:
    """The tables for the manual: rates and ratios, then what each engine keeps."""
    peers = [engine for engine in versions if engine != OURS and OURS in versions]
    head = ["steps/s", *(f"{engine} {version}" for engine, version in versions.items())]
    rows = [head + [f"times {peer}" for peer in peers]]
    for shape, engines in spreads(turns).items():
        times = ratios(engines)
        rows.append([str(shape), *(str(engines[engine]) for engine in versions)])
        rows[-1] += [_times(times[peer]) for peer in peers]
    kept = [["engine", "runs in", "durable"], *([engine, *ENGINES[engine]] for engine in versions)]
    return f"{_circumstances(turns, machine)}\n\n{_table(rows, right=True)}\n\n{_table(kept, right=False)}\n"


def as_json(turns: Sequence[Turn], versions: Mapping[str, str], machine: Machine) -> dict[str, Any]:
    shapes = [
        asdict(shape)
        | {
            "steps_per_s": {engine: asdict(spread) for engine, spread in engines.items()},
            "times": ratios(engines),
        }
        for shape, engines in spreads(turns).items()
    ]
    return {"versions": dict(versions), "machine": asdict(machine), "shapes": shapes}


def _circumstances(turns: Sequence[Turn], machine: Machine) -> str:
    rounds = max(Counter((turn.shape, turn.engine) for turn in turns).values())
    settings = ", ".join(f"{name}={value}" for name, value in machine.settings.items())
    redis = f", Redis {machine.redis}" if machine.redis else ""
    return (
        f"Medians of {rounds} (lowest-highest); {machine.cpus} CPUs, Python {machine.python}, "
        f"PostgreSQL {machine.postgres} ({settings}; a bare one-row commit takes {machine.commit_ms:.2f} ms){redis}."
    )


def _times(ratio: float) -> str:
    return f"{ratio:,.0f}" if ratio >= 10 else f"{ratio:.1f}"


def _table(rows: Sequence[Sequence[str]], *, right: bool) -> str:
    rule = ["---"] + ["---:" if right else "---"] * (len(rows[0]) - 1)
    return "\n".join(f"| {' | '.join(row)} |" for row in (rows[0], rule, *rows[1:]))
