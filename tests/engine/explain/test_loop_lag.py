"""The lag of the event loop, by a clock that the test controls."""

import asyncio

from stepwell.runtime.telemetry import LoopLag


class ManualLoop(asyncio.SelectorEventLoop):
    now = 0.0

    def time(self) -> float:
        return self.now


def test_the_lag_is_measured_once_a_second() -> None:
    loop, lag = ManualLoop(), LoopLag()

    async def measure() -> None:
        async with asyncio.TaskGroup() as group:
            asyncio_task = group.create_task(lag.run(), name="loop lag")
            for late in (0.0, 0.75):
                await run_callbacks()
                loop.now += 1 + late
            await run_callbacks()
            loop.now += 0.5  # not yet a second
            await run_callbacks()
            asyncio_task.cancel()

    async def run_callbacks() -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    try:
        loop.run_until_complete(measure())
    finally:
        loop.close()
    buckets = dict(lag.seconds.buckets())
    assert (buckets["0.001"], buckets["0.5"], buckets["1.0"], buckets["+Inf"], lag.seconds.total) == (1, 1, 2, 2, 0.75)
