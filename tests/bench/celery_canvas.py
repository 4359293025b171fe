"""The work of a load as a plain Celery canvas, for a comparison with Stepwell. Needs the extra `celery`.

This module is the Celery app of the workers. `python -m bench.celery_canvas` reads a `CanvasOrder` from stdin,
hands canvases in, and prints a line of JSON with the seconds that each kind took.
"""

import os
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any
from uuid import uuid4

from celery import Celery, chain, group
from celery.result import AsyncResult
from msgspec import json
from msgspec.structs import replace

from bench.plain_celery import BROKER_VARIABLE, FOLDER_VARIABLE, CanvasOrder, CanvasSeconds
from stepwell.bench.loads import IMAGE_INPUT, WAIT_S, Load, Shape, Work, image_task
from stepwell.providers.local.work import perform

_START_S = 60.0
_RUN_S = 24 * 3_600.0

app = Celery("stepwell-bench", broker=os.environ[BROKER_VARIABLE], backend=os.environ[BROKER_VARIABLE])
# As `stepwell worker` configures its app, so that both sides lose equally little if a worker dies.
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
)


@app.task(name="step")
def step(previous: Any, work: str, task_type: str, config: dict[str, Any]) -> str:
    """Do the work of one step. *previous* is the result of the step before, or a list of results.

    Returns the path of the image, if the work makes one.
    """
    match Work(work):
        case Work.NOTHING:
            return ""
        case Work.WAIT:
            time.sleep(WAIT_S)
            return ""
        case Work.IMAGE:
            return _image(previous[0] if isinstance(previous, list) else previous, task_type, config)


def _image(base: str | None, task_type: str, config: dict[str, Any]) -> str:
    path = str(Path(os.environ[FOLDER_VARIABLE], f"{uuid4().hex}.png"))
    outcome = perform(
        {
            "task_type": task_type,
            "inputs": config,
            "files": {} if base is None else {IMAGE_INPUT: base},
            "outputs": [path],
            "seed": config.get("seed", 0),
            "light_only": False,
        }
    )
    if "error" in outcome:
        raise RuntimeError(outcome["error"])
    return path


def canvas(load: Load, shape: Shape) -> chain:
    """Return one workflow of *load* as a chain, or as a step, a chord's header and its body."""
    first = step.s(None, load.work, *image_task(load, first=True))
    others = [step.s(load.work, *image_task(load, first=False)) for _ in range(load.steps - 1)]
    if shape is Shape.CHAIN or len(others) < 2:
        return chain(first, *others)
    return chain(first, group(others[:-1]), others[-1])


def main() -> None:
    order = json.decode(sys.stdin.buffer.readline(), type=CanvasOrder)
    deadline = time.monotonic() + _START_S
    while not app.control.ping(timeout=0.5):
        if time.monotonic() > deadline:
            sys.exit("the plain Celery worker doesn't respond")
    shapes = (Shape.CHAIN, Shape.FAN)
    for shape in shapes:  # opens the connections, and imports the code in each process
        _run(replace(order.load, workflows=2 * order.workers, concurrency=2 * order.workers), shape)
    seconds = CanvasSeconds(*(_run(order.load, shape) for shape in shapes))
    sys.stdout.buffer.write(json.encode(seconds) + b"\n")


def _run(load: Load, shape: Shape) -> float:
    """Hand in *load*, `load.concurrency` canvases at a time, and return the seconds until the last result."""
    began = time.perf_counter()
    in_flight: deque[AsyncResult] = deque()
    for _ in range(load.workflows):
        if len(in_flight) == load.concurrency:
            in_flight.popleft().get(timeout=_RUN_S)
        in_flight.append(canvas(load, shape).apply_async())
    while in_flight:
        in_flight.popleft().get(timeout=_RUN_S)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
