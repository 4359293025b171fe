"""How late the loop is, by a clock that the test moves."""

import asyncio

from stepwell.engine.loop_lag import LoopLag


class MovedLoop(asyncio.SelectorEventLoop):
    now = 0.0

    def time(self) -> float:
        return self.now


def test_each_second_counts_by_how_much_it_was_late() -> None:
    loop, lag = MovedLoop(), LoopLag()

    async def measured() -> None:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(lag.run(), name="loop lag")
            for late in (0.0, 0.75):
                await turns()
                loop.now += 1 + late
            await turns()
            loop.now += 0.5  # not yet a second
            await turns()
            task.cancel()

    async def turns() -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    try:
        loop.run_until_complete(measured())
    finally:
        loop.close()
    buckets = dict(lag.seconds.buckets())
    assert (buckets["0.001"], buckets["0.5"], buckets["1.0"], buckets["+Inf"], lag.seconds.total) == (1, 1, 2, 2, 0.75)
