"""Measures the parts of a step: a clock for the parts of one thread, and the functions of Stepwell where parts begin.

There are few such functions, and most of them lie between two components. If one doesn't exist any more, `hooked`
raises `HookMissing`. Then change `HOOKS` to the function that does its work now.
"""

import functools
import importlib
import threading
import time
import types
from collections import Counter
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import asyncpg

DECIDE, ENCODE, SEND, DECODE = "decide", "encode", "send", "decode"
EFFECTS, DISPATCH, RESULT, TIMERS, TASKS, CREATE = "effects", "dispatch", "result", "timers", "tasks", "create"
OTHER = "other"  # what none of the hooks measures
_CALLS = 20_000  # of a function that does nothing, to measure what a hook costs


class HookMissing(Exception):
    """A function that a part is measured at doesn't exist."""


class Hook(NamedTuple):
    """The function `name` of the class `owner` in `module` is the part `part`.

    A coroutine is the part `part` until it has sent something, and then the part `after`.
    """

    module: str
    owner: str
    name: str
    part: str
    after: str | None = None


HOOKS = (
    Hook("stepwell.lifecycle.run", "Run", "apply", DECIDE),
    Hook("stepwell.persistence.stores.workflow_store", "PostgresWorkflowStore", "write", ENCODE, after=DECODE),
    Hook("stepwell.engine.execution.scheduler", "Scheduler", "_run_effects", EFFECTS),
    Hook("stepwell.engine.execution.scheduler", "Scheduler", "start_steps", DISPATCH),
    Hook("stepwell.engine.attempts.runner", "AttemptRunner", "prepare", RESULT),
    Hook("stepwell.engine.execution.timers", "Timers", "set", TIMERS),
    Hook("stepwell.engine.execution.timers", "Timers", "consider_parking", TIMERS),
    Hook("stepwell.engine.execution.fail_fast_group", "FailFastGroup", "spawn", TASKS),
    Hook("stepwell.engine.service", "WorkflowService", "create", CREATE, after=CREATE),
)


class PartClock:
    """Adds up the processor time of each part of one thread since `reset`, without the parts within it.

    Each change of the part costs time. `parts` returns the times without it, by what `calibrate` has measured.
    """

    def __init__(self, clock: Callable[[], int] = time.thread_time_ns) -> None:
        self._clock = clock
        self.sent = 0  # messages to the database
        self._within_ns = self._around_ns = 0.0
        self.reset()

    def reset(self) -> None:
        """Forget all times. The current thread is the one that is measured."""
        self._thread = threading.get_ident()
        self._ns: Counter[str] = Counter()
        self._entries: Counter[tuple[str, str]] = Counter()
        self._stack, self._since = [OTHER], self._clock()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        self._enter(name)
        try:
            yield
        finally:
            self._leave()

    def _enter(self, name: str) -> None:
        now, outer = self._clock(), self._stack[-1]
        self._ns[outer] += now - self._since
        self._entries[outer, name] += 1
        self._stack.append(name)
        self._since = now

    def _leave(self) -> None:
        now = self._clock()
        self._ns[self._stack.pop()] += now - self._since
        self._since = now

    def timed(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        """Return *function* as a part of that name. In other threads, it isn't measured."""

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            if threading.get_ident() != self._thread:
                return function(*args, **kwargs)
            self._enter(name)
            try:
                return function(*args, **kwargs)
            finally:
                self._leave()

        return call

    def timed_coroutine(self, function: Callable[..., Coroutine[Any, Any, Any]], hook: Hook) -> Callable[..., Any]:
        """Return *function* as a part whose waits aren't measured."""

        @functools.wraps(function)
        async def call(*args: Any, **kwargs: Any) -> Any:
            return await self._drive(function(*args, **kwargs), hook)

        return call

    @types.coroutine
    def _drive(self, work: Coroutine[Any, Any, Any], hook: Hook) -> Generator[Any, Any, Any]:
        step: Callable[[], Any] = functools.partial(work.send, None)
        sent = self.sent
        while True:
            self._enter(hook.part if self.sent == sent else str(hook.after))
            try:
                waits_for = step()
            except StopIteration as end:
                return end.value
            finally:
                self._leave()
            try:
                step = functools.partial(work.send, (yield waits_for))
            except BaseException as error:  # noqa: BLE001 - the coroutine handles it, a cancellation too
                step = functools.partial(work.throw, error)

    def calibrate(self) -> None:
        """Measure what a change of the part adds to the part, and to the one around it."""
        nothing: Callable[[], None] = lambda: None  # noqa: E731 - the cheapest function
        began = self._clock()
        for _ in range(_CALLS):
            nothing()
        plain = (self._clock() - began) / _CALLS
        self.reset()
        call = self.timed(nothing, "within")
        for _ in range(_CALLS):
            call()
        self._within_ns = max(self._ns["within"] / _CALLS - plain, 0.0)
        self._around_ns = max(self._ns[OTHER] / _CALLS - plain, 0.0)
        self.reset()

    def parts(self) -> tuple[dict[str, float], float]:
        """Return the nanoseconds of each part, and those that the changes of the part took."""
        now = self._clock()
        self._ns[self._stack[-1]] += now - self._since
        self._since = now
        times, changes = {name: float(ns) for name, ns in self._ns.items()}, 0.0
        for (outer, name), number in self._entries.items():
            times[name] -= number * self._within_ns
            times[outer] -= number * self._around_ns
            changes += number * (self._within_ns + self._around_ns)
        return {name: max(ns, 0.0) for name, ns in times.items()}, changes


class _TimedTransport:
    """A transport whose writes are the part `SEND`."""

    def __init__(self, transport: Any, clock: PartClock) -> None:
        self._transport, self._clock = transport, clock
        self.write = self._counted(clock.timed(transport.write, SEND))
        self.writelines = self._counted(clock.timed(transport.writelines, SEND))

    def _counted(self, write: Callable[[Any], None]) -> Callable[[Any], None]:
        def call(data: Any) -> None:
            self._clock.sent += 1
            write(data)

        return call

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


@contextmanager
def hooked(clock: PartClock) -> Iterator[None]:
    """Measure the parts of what the block builds and runs."""
    protocol = asyncpg.protocol.Protocol

    class TimedProtocol(protocol):  # type: ignore[misc, valid-type] # the driver has no types
        """The driver's protocol. The event loop calls it with what the database has sent."""

        def connection_made(self, transport: Any) -> None:
            super().connection_made(_TimedTransport(transport, clock))

        data_received = clock.timed(protocol.data_received, DECODE)

    with _replaced(asyncpg.protocol, "Protocol", TimedProtocol), _functions_replaced(clock):
        yield


@contextmanager
def _functions_replaced(clock: PartClock) -> Iterator[None]:
    replaced = []
    try:
        for hook in HOOKS:
            owner = getattr(importlib.import_module(hook.module), hook.owner, None)
            function = vars(owner).get(hook.name) if owner is not None else None
            if function is None:
                raise HookMissing(f"{hook.module} has no {hook.owner}.{hook.name}: change HOOKS in {__file__}")
            timed = clock.timed_coroutine(function, hook) if hook.after else clock.timed(function, hook.part)
            setattr(owner, hook.name, timed)
            replaced.append((owner, hook.name, function))
        yield
    finally:
        for owner, name, function in replaced:
            setattr(owner, name, function)


@contextmanager
def _replaced(owner: Any, name: str, value: object) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)
