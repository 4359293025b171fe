"""The two writers of the checkpointer: which one writes what, of one tenant and of several."""

import asyncio
from uuid import UUID

import pytest

from stepwell.engine.execution import checkpointer as module
from support.database.checkpoint_bench import A, B, C, running, writing
from support.providers.scripted import eventually


async def test_a_tenant_does_not_wait_for_the_write_of_another() -> None:
    async with running() as bench:
        bench.workflow_store.gate.clear()
        bench.submit(A, tenant="mallory")
        await writing(bench)
        bench.submit(B, tenant="mallory")
        bench.submit(C, tenant="alice")
        await writing(bench, 2)
        assert bench.workflow_store.batches == [[A], [C]]
        bench.workflow_store.gate.set()
        await bench.flushed(B)
        assert bench.workflow_store.batches == [[A], [C], [B]]


async def test_a_third_tenant_gets_the_writer_with_fewer_decisions_and_is_in_its_next_batch() -> None:
    many = [UUID(int=n) for n in range(10, 20)]
    async with running() as bench:
        bench.workflow_store.gate.clear()
        bench.submit(*many, tenant="mallory")
        bench.submit(A, tenant="alice")
        await writing(bench, 2)
        bench.submit(*many, tenant="mallory")
        bench.submit(B, tenant="alice")
        bench.submit(C, tenant="carol")
        bench.workflow_store.gate.set()
        await bench.flushed(C)
        await bench.flushed(many[-1])
        assert sorted(bench.workflow_store.batches, key=len) == [[A], [B, C], many, many]


async def test_a_tenant_with_few_events_has_one_write_at_a_time() -> None:
    async with running() as bench:
        bench.workflow_store.gate.clear()
        bench.submit(A, tenant="alice")
        await writing(bench)
        bench.submit(B, C, tenant="alice")
        await asyncio.sleep(0)
        assert bench.workflow_store.batches == [[A]]
        bench.workflow_store.gate.set()
        await bench.flushed(C)
        assert bench.workflow_store.batches == [[A], [B, C]]


@pytest.fixture
def uses_both(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a tenant that is alone use both writers from its second event on."""
    monkeypatch.setattr(module, "_ALONE_EVENTS", 1)


@pytest.mark.usefixtures("uses_both")
async def test_a_tenant_that_is_alone_has_two_writes_at_a_time_and_each_workflow_one() -> None:
    async with running() as bench:
        bench.workflow_store.gate.clear()
        bench.submit(A, B, tenant="alice")
        await writing(bench, 2)
        assert bench.workflow_store.batches == [[A], [B]]
        bench.submit(A, B, C, A, B, tenant="alice")
        bench.workflow_store.gate.set()
        await asyncio.gather(*map(bench.flushed, (A, B, C)))
        assert sorted(bench.workflow_store.batches[2:]) == [[A, C], [B]]
        assert sorted(bench.committed) == [(A, [1]), (A, [2, 3]), (B, [1]), (B, [2, 3]), (C, [1])]


@pytest.mark.usefixtures("uses_both")
async def test_a_tenant_that_used_both_writers_leaves_one_of_them_to_a_second_tenant() -> None:
    async with running() as bench:
        bench.submit(A, B, tenant="mallory")
        await asyncio.gather(*map(bench.flushed, (A, B)))
        bench.workflow_store.gate.clear()
        bench.submit(A, B, tenant="mallory")
        bench.submit(C, tenant="alice")  # gets the writer of A, and mallory keeps that of B
        await writing(bench, 4)
        await eventually(lambda: len(bench.sent) == 2)
        await asyncio.sleep(0)
        assert [decision.workflow.id for decision in bench.sent] == [C, B]
        bench.ledger.gates[B] = asyncio.Event()
        bench.when_committed = lambda each: bench.submit(A, tenant="mallory") if each.workflow.id == A else None
        bench.workflow_store.gate.set()
        await eventually(lambda: (A, [2]) in bench.committed)
        bench.when_committed = lambda _: None
        for _ in range(5):
            await asyncio.sleep(0)
        assert bench.workflow_store.batches[2:] == [[A, C], [B]], "what came later waits for the tenant's own writer"
        bench.ledger.gates[B].set()
        await bench.flushed(A)
    assert bench.workflow_store.batches[2:] == [[A, C], [B], [A]]


@pytest.mark.usefixtures("uses_both")
async def test_a_tenant_that_used_both_writers_keeps_the_one_with_more_events() -> None:
    d = UUID(int=4)
    async with running() as bench:
        bench.workflow_store.gate.clear()
        bench.submit(A, B, B, tenant="mallory")  # the writer of B has more events than that of A
        await writing(bench, 2)
        bench.submit(C, tenant="alice")  # gets the writer of A, which was mallory's first
        bench.submit(d, tenant="mallory")
        bench.workflow_store.gate.set()
        await asyncio.gather(*map(bench.flushed, (A, B, C, d)))
    assert sorted(bench.workflow_store.batches[2:]) == [[C], [d]]


@pytest.mark.usefixtures("uses_both")
async def test_what_a_tenant_with_both_writers_decides_after_close_goes_to_the_one_that_still_runs() -> None:
    async with running() as bench:
        bench.ledger.gates[B] = asyncio.Event()
        bench.submit(A, B, tenant="alice")
        await bench.flushed(A)
        bench.checkpointer.close()
        await asyncio.sleep(0)  # the writer of A has nothing more to write, and ends
        bench.submit(C, tenant="alice")
        bench.ledger.gates[B].set()
        await bench.flushed(C)
    assert bench.committed == [(A, [1]), (B, [1]), (C, [1])]


async def test_what_is_decided_after_close_is_written_while_a_writer_still_runs() -> None:
    async with running() as bench:
        bench.workflow_store.gate.clear()
        bench.submit(A, tenant="alice")
        await writing(bench)
        bench.checkpointer.close()
        await asyncio.sleep(0)  # the other writer has nothing to write, and ends
        bench.submit(B, tenant="carol")
        bench.workflow_store.gate.set()
    assert bench.committed == [(A, [1]), (B, [1])]
