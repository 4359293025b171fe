"""One shape on Celery: this process hands it in, workers of its own run it, by the Redis at the URL it is told.

    python -m bench.peers_celery URL chain|fan WORKFLOWS STEPS

`peers.py` starts it. Its last line on stdout is the seconds from the first workflow handed in to the last result known.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from celery import Celery, chain, group

from bench.peers_report import Shape

_START_S = 30.0
_RUN_S = 150.0
_STOP_S = 10.0

app = Celery("peers")


@app.task(name="one_more")
def one_more(count: int) -> int:
    return count + 1


@app.task(name="joined")
def joined(counts: list[int]) -> int:
    return len(counts) + 2


def canvas(shape: Shape) -> chain:
    if shape.kind == "chain":
        return chain(one_more.s(0), *(one_more.s() for _ in range(shape.steps - 1)))
    return chain(one_more.s(0), group(one_more.s() for _ in range(shape.steps - 2)), joined.s())


def run(shape: Shape) -> None:
    handles = [canvas(shape).apply_async() for _ in range(shape.workflows)]
    counts = [handle.get(timeout=_RUN_S) for handle in handles]
    assert counts == [shape.steps] * shape.workflows


@contextmanager
def workers(url: str) -> Iterator[None]:
    """A solo worker a CPU: no pool beats that with tasks this short, which cost less than their way through a pool."""
    command = [sys.executable, "-m", "celery", "-A", "bench.peers_celery", "-b", url, "--result-backend", url, "worker"]
    command += ["--pool", "solo", "--loglevel", "ERROR", "--without-gossip", "--without-mingle", "--without-heartbeat"]
    names = [f"worker{number}@localhost" for number in range(os.cpu_count() or 1)]
    started = [subprocess.Popen([*command, "--hostname", name], stdout=subprocess.DEVNULL) for name in names]
    try:
        deadline = time.monotonic() + _START_S
        while len(app.control.ping(timeout=0.5)) < len(names):
            assert time.monotonic() < deadline, "the workers don't respond"
        yield
    finally:
        for worker in started:
            worker.terminate()
        for worker in started:
            worker.wait(_STOP_S)


def main(url: str, kind: str, workflows: str, steps: str) -> None:
    app.conf.update(broker_url=url, result_backend=url)
    with workers(url):
        run(Shape(kind, 2, 5))  # so that connections are there
        started = time.perf_counter()
        run(Shape(kind, int(workflows), int(steps)))
        print(time.perf_counter() - started)


if __name__ == "__main__":
    main(*sys.argv[1:])
