"""Equal requests share reads, and each gets a read that began after it came."""

import asyncio

from stepwell.engine.reads.shared_reads import SharedReads


class Source:
    """Answers with the number of its call, once it may."""

    def __init__(self) -> None:
        self.calls = 0
        self.release = asyncio.Event()

    async def load(self) -> int:
        self.calls += 1
        number = self.calls
        await self.release.wait()
        return number


async def iterations() -> None:
    """Let all tasks run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_requests_that_wait_for_a_read_share_the_next_one() -> None:
    reads, source = SharedReads[int](), Source()
    async with asyncio.TaskGroup() as group:
        first = group.create_task(reads.read("list", source.load))
        await iterations()
        later = [group.create_task(reads.read("list", source.load)) for _ in range(100)]
        other = group.create_task(reads.read("another list", source.load))
        await iterations()
        source.release.set()
    assert (first.result(), other.result()) == (1, 2)
    assert [each.result() for each in later] == [3] * 100
    assert await reads.read("list", source.load) == 4


async def test_a_request_that_is_cancelled_ends_no_read_of_another() -> None:
    reads, source = SharedReads[int](), Source()
    async with asyncio.TaskGroup() as group:
        first = group.create_task(reads.read("list", source.load))
        await iterations()
        leaving, staying = (group.create_task(reads.read("list", source.load)) for _ in range(2))
        await iterations()
        first.cancel()
        await iterations()
        assert source.calls == 2
        leaving.cancel()
        await iterations()
        source.release.set()
    assert staying.result() == 3


async def test_requests_share_the_error_of_their_read_and_the_next_one_reads_again() -> None:
    reads, source = SharedReads[int](), Source()
    source.release.set()

    async def fail() -> int:
        await iterations()
        raise ConnectionError(await source.load())

    errors = await asyncio.gather(*(reads.read("list", fail) for _ in range(3)), return_exceptions=True)
    assert [str(error) for error in errors] == ["1", "2", "2"]
    assert await reads.read("list", source.load) == 3


async def test_a_cancelled_read_is_repeated_beside_that_of_a_request_which_comes_at_the_same_moment() -> None:
    reads, source = SharedReads[int](), Source()
    async with asyncio.TaskGroup() as group:
        group.create_task(reads.read("list", source.load))
        await iterations()
        cancelled, waiting = (group.create_task(reads.read("list", source.load)) for _ in range(2))
        await iterations()
        source.release.set()
        source.release = asyncio.Event()
        await iterations()
        cancelled.cancel()
        later = group.create_task(reads.read("list", source.load))
        await iterations()
        source.release.set()
    assert {waiting.result(), later.result()} == {3, 4}
    assert await reads.read("list", source.load) == 5
