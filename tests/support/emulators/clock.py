"""A clock that moves on at will, for tests of deadlines."""

import asyncio
import time


def skip_time(seconds: float) -> None:
    """Move the clock of the running loop on."""
    loop = asyncio.get_running_loop()
    ahead_s = loop.time() - time.monotonic() + seconds
    loop.time = lambda: time.monotonic() + ahead_s  # type: ignore[method-assign]
