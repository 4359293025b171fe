"""Counts by status are read at most once in five seconds, and cached for a few filters of each tenant."""

import asyncio
from collections.abc import Mapping

import pytest

from stepwell.basics.tenancy import EVERY_TENANT, TenantScope
from stepwell.contract.enums import WorkflowStatus
from stepwell.engine.reads.shared_reads import FILTERS_A_SCOPE, WorkflowCounts
from stepwell.rules.list_records import WorkflowFilter
from stepwell.testing import ManualClock

PENDING = WorkflowStatus.PENDING


class Reader:
    """Counts its calls, and returns their number. Each scope may have one call at a time."""

    def __init__(self) -> None:
        self.calls: list[TenantScope] = []
        self.running: set[TenantScope] = set()
        self.release = asyncio.Event()
        self.release.set()

    async def counts(self, scope: TenantScope, _query: WorkflowFilter) -> Mapping[WorkflowStatus, int]:
        assert scope not in self.running
        self.running.add(scope)
        self.calls.append(scope)
        number = len(self.calls)
        await self.release.wait()
        self.running.discard(scope)
        return {PENDING: number}


@pytest.fixture
def reader() -> Reader:
    return Reader()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def counts(reader: Reader, clock: ManualClock) -> WorkflowCounts:
    return WorkflowCounts(reader, clock)  # type: ignore[arg-type]


async def read(counts: WorkflowCounts, scope: TenantScope = EVERY_TENANT, name: str | None = None) -> int:
    return (await counts.read(scope, WorkflowFilter(name=name))).by_status[PENDING]


async def test_counts_are_cached_for_five_seconds(counts: WorkflowCounts, clock: ManualClock) -> None:
    assert await read(counts) == 1
    clock.advance(5)
    assert await read(counts) == 1
    clock.advance(0.1)
    assert await read(counts) == 2


async def test_each_scope_and_filter_has_counts_of_its_own(counts: WorkflowCounts) -> None:
    assert [await read(counts, TenantScope("a")), await read(counts, TenantScope("b"))] == [1, 2]
    assert [await read(counts, TenantScope("a"), "x"), await read(counts, TenantScope("a"))] == [3, 1]


async def test_counts_of_one_tenant_have_its_scope_whoever_asks(counts: WorkflowCounts, reader: Reader) -> None:
    await counts.read(EVERY_TENANT, WorkflowFilter(origin_tenant_id="a"))
    assert reader.calls == [TenantScope("a")]


async def test_a_scope_has_one_statement_at_a_time_and_equal_requests_share_it(
    counts: WorkflowCounts, reader: Reader
) -> None:
    reader.release.clear()
    async with asyncio.TaskGroup() as group:
        reads = [group.create_task(read(counts, TenantScope("a"), name)) for name in ("x", "x", "y", "y")]
        other = group.create_task(read(counts, TenantScope("b")))
        while len(reader.calls) < 2:
            await asyncio.sleep(0)
        reader.release.set()
    assert [each.result() for each in reads] == [1, 1, 3, 3]
    assert other.result() == 2


async def test_a_scope_keeps_the_counts_of_few_filters(counts: WorkflowCounts) -> None:
    for number in range(FILTERS_A_SCOPE + 1):
        await read(counts, EVERY_TENANT, str(number))
    assert await read(counts, EVERY_TENANT, "1") == 2
    assert await read(counts, EVERY_TENANT, "0") == FILTERS_A_SCOPE + 2


async def test_a_failed_count_is_not_cached(counts: WorkflowCounts, reader: Reader) -> None:
    reader.release.clear()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await read(counts)
    reader.release.set()
    reader.running.clear()
    assert await read(counts) == 2
