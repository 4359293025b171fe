"""Runs pure work in a thread if it would block the event loop for too long."""

from collections.abc import Callable
from typing import TypeVar

from anyio import to_thread

T = TypeVar("T")
# Fewer steps take less time than other tasks would wait for the thread to release the interpreter.
_STEPS = 300


async def off_loop(call: Callable[[], T], *, steps: int) -> T:
    """Return the result of *call*, which processes *steps* steps. Many steps are processed in a thread.

    *call* must not use objects that other code uses at the same time.
    """
    return call() if steps <= _STEPS else await to_thread.run_sync(call)
