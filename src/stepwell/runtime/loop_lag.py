"""A monitor of the event loop's lag. Code that blocks the loop delays every request and every attempt."""

import asyncio

from stepwell.runtime.telemetry import Distribution

_EVERY_S = 1.0
_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class LoopLag:
    """A monitor that measures once a second how late a timer of the event loop fires. `seconds` has the values."""

    def __init__(self) -> None:
        self.seconds = Distribution(_BUCKETS_S)

    async def run(self) -> None:
        """Measure until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _EVERY_S
            fired = asyncio.Event()
            timer = loop.call_at(due, _fire, fired)
            try:
                await fired.wait()
            finally:
                timer.cancel()
            self.seconds.observe(max(loop.time() - due, 0.0))


def _fire(fired: asyncio.Event) -> None:
    fired.set()
