"""Runs pure work in a thread if it would block the event loop for too long."""

from collections.abc import Callable
from typing import Any, TypeVar

from anyio import to_thread

from stepwell.basics.strict_json.size import is_larger_than

T = TypeVar("T")
# Fewer steps take less time than other code would wait for the thread to release the interpreter.
_STEPS = 300
_JSON_BYTES = 16 * 1024  # less is encoded in less time than a thread takes to begin and to report


async def off_loop(call: Callable[[], T], *, steps: int) -> T:
    """Return the result of *call*, which processes *steps* steps. Many steps are processed in a thread.

    *call* must not use objects that other code uses at the same time.
    """
    return call() if steps <= _STEPS else await to_thread.run_sync(call)


async def off_loop_if_large(function: Callable[[Any], T], value: Any) -> T:
    """Return *function* of the JSON *value*, as encoding or hashing it. A large value is processed in a thread."""
    return await to_thread.run_sync(function, value) if is_larger_than(value, _JSON_BYTES) else function(value)
