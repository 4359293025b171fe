"""Pure work of a size that would hold up the event loop, done beside it."""

from collections.abc import Callable
from typing import TypeVar

from anyio import to_thread

T = TypeVar("T")
# What fewer steps take is less than what others would wait for a thread to let go of the interpreter.
_STEPS = 300


async def off_loop(call: Callable[[], T], *, steps: int) -> T:
    """What *call* returns, run in a thread where it is about many *steps*: it must touch nothing that others do."""
    return call() if steps <= _STEPS else await to_thread.run_sync(call)
