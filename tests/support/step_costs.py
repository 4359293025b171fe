"""What a step costs: Python calls and bytecode instructions, counted by `sys.monitoring` and not timed.

`PYTHONPATH=tests python -m support.step_costs` prints the costs of three loads as JSON, on Python 3.12 or newer. The
whole engine runs them, on the database in memory and with the manual clock. The encoding of rows for PostgreSQL is
counted apart: the database in memory stores structs, so each batch is encoded here, and the rows are thrown away.
"""

import asyncio
import gc
import itertools
import json
import operator
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import pytest
import structlog
from anyio import to_thread

from stepwell.app import Database, running_app
from stepwell.basics.tenancy import TenantScope
from stepwell.bench.driver import drive, in_process
from stepwell.bench.loads import Load, Shape
from stepwell.lifecycle.decision import Decision
from stepwell.lifecycle.records import NewWorkflow
from stepwell.persistence.statements.encode_rows import checkpoint_rows, insert_rows, more_rows
from stepwell.testing import ManualClock, MemoryDatabase
from support.database.changed_source import ChangedSource
from support.service.live_service import SECRET, settings_for

LOADS: Mapping[str, Load] = {
    "chain 1x200": Load(Shape.CHAIN, 1, 200, concurrency=1),
    "chains 200x20": Load(Shape.CHAIN, 200, 20, concurrency=200),
    "fan 5x1000": Load(Shape.FAN, 5, 1_000, concurrency=5),
}
T = TypeVar("T")
_OWNER = UUID(int=1)
_COUNTED = ("calls", "instructions")


class Counter:
    """Counts the Python calls and the instructions of all threads, for one part of the work at a time.

    The callbacks are C functions that count how often they are called: Python functions take twice as long.
    """

    def __init__(self) -> None:
        self.counts = {f"{part} {what}": 0 for part in ("engine", "encoding") for what in _COUNTED} | {"rows": 0}
        self._callbacks = [lru_cache(maxsize=0)(operator.is_) for _ in _COUNTED]
        self._seen = [0 for _ in _COUNTED]

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count what the block does as the engine's."""
        monitoring = sys.monitoring  # type: ignore[attr-defined]
        tool, events = monitoring.PROFILER_ID, (monitoring.events.PY_START, monitoring.events.INSTRUCTION)
        monitoring.use_tool_id(tool, "stepwell step costs")
        for event, callback in zip(events, self._callbacks, strict=True):
            monitoring.register_callback(tool, event, callback)
        gc.collect()
        gc.disable()  # finalizers and callbacks would count
        monitoring.set_events(tool, events[0] | events[1])
        try:
            yield
            self._credit("engine")
        finally:
            monitoring.set_events(tool, 0)
            monitoring.free_tool_id(tool)
            gc.enable()

    @contextmanager
    def encoding(self) -> Iterator[None]:
        """Count what the block does as the encoding's. It contains no await."""
        self._credit("engine")
        yield
        self._credit("encoding")

    def _credit(self, part: str) -> None:
        """Add what was counted since the last call to *part*."""
        now = [callback.cache_info().misses for callback in self._callbacks]
        for what, before, after in zip(_COUNTED, self._seen, now, strict=True):
            self.counts[f"{part} {what}"] += after - before
        self._seen = now


async def _run_inline(call: Callable[..., T], *args: Any) -> T:
    return call(*args)


@contextmanager
def _repeatable() -> Iterator[None]:
    """Let the block do the same in each run. Each reading of the time is a microsecond after the one before. Work for
    threads is done in the loop. So batches and time slices don't depend on the machine.

    Nothing in the block may wait for a timer.
    """
    with pytest.MonkeyPatch.context() as patch:
        tick = itertools.count(time.monotonic(), 1e-6).__next__  # in C, so it isn't counted
        patch.setattr(time, "monotonic", tick)
        patch.setattr(time, "perf_counter", tick)
        patch.setattr(to_thread, "run_sync", _run_inline)
        yield


class _EncodingStore:
    """Encodes what is written as the stores on PostgreSQL do, and hands everything on to *inner*."""

    def __init__(self, inner: Any, counter: Counter) -> None:
        self._inner, self._counter = inner, counter

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def insert(self, scope: TenantScope, new: NewWorkflow) -> None:
        with self._counter.encoding():
            insert_rows(new)
        await self._inner.insert(scope, new)

    async def write(self, batch: Sequence[Decision]) -> set[UUID]:
        with self._counter.encoding():
            more = more_rows(batch)
            rows = checkpoint_rows(batch, flow=more is not None and more.flow is not None)
            if more is not None:
                more.parameters(_OWNER)
        self._counter.counts["rows"] += sum(map(len, rows))
        lost: set[UUID] = await self._inner.write(batch)
        return lost


async def costs_of(load: Load) -> dict[str, float]:
    """Return the calls and instructions that a step of *load* costs."""
    counter = Counter()

    def add_encoding(database: Database) -> None:
        database.workflow_store = _EncodingStore(database.workflow_store, counter)

    with tempfile.TemporaryDirectory() as folder:
        source = ChangedSource(MemoryDatabase(ManualClock()), add_encoding)
        settings = settings_for(Path(folder))
        async with running_app(settings, source=source, url_secret=SECRET.encode(), exclusive=True) as app:
            run_one = in_process(app.services)
            await app.engine.ownership.caught_up.wait()
            with _repeatable(), counter.counting():
                await drive(load.bodies(), run_one, load.concurrency)
    return {what: count / load.total_steps for what, count in counter.counts.items()}


async def measure() -> dict[str, dict[str, float]]:
    """Return the costs of a step by load. A small load comes first: what runs once in a process counts for no step."""
    for shape in (Shape.CHAIN, Shape.FAN):
        await costs_of(Load(shape, 2, 10, concurrency=2))
    return {name: await costs_of(load) for name, load in LOADS.items()}


def main() -> None:
    """Print the costs as JSON."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("error"))
    print(json.dumps(asyncio.run(measure()), indent=1))


if __name__ == "__main__":
    main()
