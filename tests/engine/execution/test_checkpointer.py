"""Group commit: order, effects after the commit, outages, and who goes down with a decision that can't be written."""

import asyncio
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepwell.basics.errors import Unavailable
from stepwell.engine.execution import checkpointer as module
from stepwell.engine.execution.checkpointer import NotWritten
from stepwell.lifecycle.decision import Decision
from stepwell.lifecycle.effects import DeadlineAt
from stepwell.lifecycle.model import NEVER, ShownWait, StepState, StoredSignal
from support.database.checkpoint_bench import A, B, Bench, C, running, writing
from support.database.failing_store import AFTER, BEFORE
from support.providers.scripted import eventually
from support.workflows.runs import EPOCH


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FIRST_RETRY_S", 0.001)
    monkeypatch.setattr(module, "_LAST_RETRY_S", 0.002)


async def test_what_is_decided_during_a_write_is_one_batch_and_one_decision_a_run() -> None:
    async with running() as bench:
        bench.workflow_store.gate.clear()
        bench.submit(A)
        await writing(bench)
        bench.submit(A, B, A, C, A)
        bench.workflow_store.gate.set()
        await bench.flushed(A)
        assert bench.workflow_store.batches == [[A], [A, B, C]]
        assert bench.committed == [(A, [1]), (A, [2, 3, 4]), (B, [1]), (C, [1])]
        assert (bench.checkpointer.batches, bench.checkpointer.events) == (2, 6)


async def test_nothing_is_told_before_the_commit_not_even_to_those_who_wait() -> None:
    async with running() as bench:
        bench.workflow_store.gate.clear()
        bench.submit(A)
        waiting = bench.flushed(A)
        await writing(bench)
        assert not bench.committed
        assert not waiting.done()
        assert bench.checkpointer.holds(A)
        bench.workflow_store.gate.set()
        await waiting
        assert bench.committed == [(A, [1])]
        assert not bench.checkpointer.holds(A)


async def test_who_waits_is_told_when_all_that_is_queued_until_now_is_written() -> None:
    async with running() as bench:
        bench.workflow_store.gate.clear()
        bench.submit(A)
        await writing(bench)
        first = bench.flushed(A)
        bench.submit(A)
        second = bench.flushed(A)
        other = bench.flushed(B)
        await other
        notified = list[str]()
        first.add_done_callback(lambda _: notified.append("first"))
        second.add_done_callback(lambda _: notified.append("second"))
        bench.workflow_store.gate.set()
        await second
        await asyncio.sleep(0)
        assert notified == ["first", "second"]
        assert bench.committed == [(A, [1]), (A, [2])]


async def test_a_decision_without_rows_is_not_queued_while_nothing_is() -> None:
    async with running() as bench:
        bench.submit(A)
        await bench.flushed(A)
        bench.committed.clear()
        assert not bench.checkpointer.submit(bench.runs[A].pending_work(), None)
        assert (bench.committed, len(bench.workflow_store.batches)) == ([], 1)


async def test_effects_of_a_decision_without_rows_join_those_that_wait() -> None:
    async with running() as bench:
        bench.workflow_store.gate.clear()
        bench.submit(A, B)
        await writing(bench)
        bench.submit(A)
        seen: list[int] = []
        bench.when_committed = lambda decision: seen.append(len(decision.effects))
        rowless = bench.runs[A].pending_work()
        rowless.effects.append(DeadlineAt(EPOCH))
        assert bench.checkpointer.submit(rowless, None)
        assert not seen
        bench.workflow_store.gate.set()
        await bench.flushed(A)
        assert seen == [0, 0, 1]


@pytest.mark.parametrize("fault", [BEFORE, AFTER])
async def test_an_outage_loses_nothing_and_repeats_nothing(fault: str) -> None:
    async with running() as bench:
        bench.workflow_store.faults.extend([fault] * 5)
        bench.submit(A, B)
        await eventually(lambda: bench.checkpointer.outage)
        bench.submit(A, C)
        await asyncio.gather(*(bench.flushed(workflow_id) for workflow_id in (A, B, C)))
        assert bench.ledger.events == {A: [1, 2], B: [1], C: [1]}
        assert bench.committed == [(A, [1]), (B, [1]), (A, [2]), (C, [1])]
        assert not bench.lost
        assert not bench.checkpointer.outage
        assert bench.workflow_store.batches == [[A, B]] * 6 + [[A, C]]


async def test_a_run_that_moved_on_elsewhere_goes_down_alone_with_all_that_is_queued_for_it() -> None:
    async with running() as bench:
        bench.ledger.events[B] = [1, 2, 3]
        bench.workflow_store.gate.clear()
        bench.submit(A, B)
        in_the_batch = bench.flushed(B)
        await writing(bench)
        bench.submit(A, B)
        queued = bench.flushed(B)
        bench.workflow_store.gate.set()
        for waiting in (in_the_batch, queued):
            with pytest.raises(NotWritten):
                await waiting
        await bench.flushed(A)
        assert bench.lost == [(B, False)]
        assert bench.ledger.events == {A: [1, 2], B: [1, 2, 3]}
        assert bench.workflow_store.batches == [[A, B], [A]]


@pytest.mark.parametrize("others", [(), (A,), (A, C)])
async def test_rows_that_the_database_refuses_take_down_only_their_own_run(others: tuple[UUID, ...]) -> None:
    async with running() as bench:
        bench.workflow_store.refuse.add(B)
        bench.workflow_store.gate.clear()
        bench.submit(B, *others)
        waiting = bench.flushed(B)
        await writing(bench)
        bench.submit(B, *others)
        bench.workflow_store.gate.set()
        with pytest.raises(NotWritten):
            await waiting
        for other in others:
            await bench.flushed(other)
        assert bench.lost == [(B, True)]
        assert bench.ledger.events == {other: [1, 2] for other in others}


async def test_an_outage_in_the_midst_of_a_split_batch_is_waited_for() -> None:
    async with running() as bench:
        bench.workflow_store.refuse.add(A)
        bench.workflow_store.faults.extend([BEFORE, AFTER])
        bench.submit(A, B, C)
        await bench.flushed(C)
        assert bench.lost == [(A, True)]
        assert bench.ledger.events == {B: [1], C: [1]}


async def test_a_waiter_that_gave_up_disturbs_nobody() -> None:
    async with running() as bench:
        bench.workflow_store.gate.clear()
        bench.submit(A, B)
        gone, lost = bench.flushed(A), bench.flushed(B)
        gone.cancel()
        lost.cancel()
        bench.ledger.events[B] = [1, 2, 3]
        bench.workflow_store.gate.set()
        await bench.flushed(A)
        assert (bench.committed, bench.lost) == ([(A, [1])], [(B, False)])


async def test_a_batch_is_bounded_but_one_decision_is_never_torn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BATCH_EVENTS", 3)
    async with running() as bench:
        bench.submit(A, A, A, A, A, B, C, C)
        await asyncio.gather(bench.flushed(B), bench.flushed(C))
        assert bench.workflow_store.batches == [[A], [B, C]]
        assert bench.ledger.events == {A: [1, 2, 3, 4, 5], B: [1], C: [1, 2]}


async def test_one_workflow_takes_no_more_than_its_share_of_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHANGE_EVENTS", 2)
    async with running() as bench:
        bench.submit(A, A, B, A, A, A)
        await bench.flushed(A)
        assert bench.committed == [(A, [1, 2]), (B, [1]), (A, [3, 4]), (A, [5])]
        assert bench.workflow_store.batches == [[A, B], [A], [A]]


async def test_the_next_batch_is_sent_before_the_last_one_is_worked_off_and_told_after_it() -> None:
    async with running() as bench:
        sent: list[list[list[UUID]]] = []
        bench.when_committed = lambda _: sent.append([list(batch) for batch in bench.workflow_store.batches])
        bench.workflow_store.gate.clear()
        bench.submit(A)
        await writing(bench)
        bench.submit(A, B)
        waiting = bench.flushed(A)
        bench.workflow_store.gate.set()
        await waiting
        assert bench.committed == [(A, [1]), (A, [2]), (B, [1])]
        assert sent == [[[A], [A, B]]] * 3


async def test_nothing_is_sent_behind_a_loss() -> None:
    async with running() as bench:
        bench.workflow_store.gate.clear()
        bench.submit(A)
        await writing(bench)
        bench.submit(A, B)
        bench.ledger.events[A] = [1, 2, 3]  # somebody else's
        waiting = bench.flushed(B)
        bench.workflow_store.gate.set()
        await waiting
        assert (bench.committed, bench.lost) == ([(B, [1])], [(A, False)])
        assert bench.workflow_store.batches == [[A], [B]]


@pytest.mark.parametrize("slice_s", [-1, 10])
async def test_work_is_done_ahead_once_while_a_batch_is_being_written(
    monkeypatch: pytest.MonkeyPatch, slice_s: float
) -> None:
    """The first batch may still wait for its connection. With short slices, releasing takes longer than the write."""
    monkeypatch.setattr(module, "_SLICE_S", slice_s)
    async with running() as bench:
        bench.submit(A)
        await bench.flushed(A)
        assert bench.sent == []
        bench.workflow_store.gate.clear()
        bench.submit(A, B, C)
        await writing(bench, 2)
        await eventually(lambda: bool(bench.sent))
        ahead = [decision.workflow.id for decision in bench.sent]
        assert ahead == ([A] if slice_s < 0 else [A, B, C])
        assert [workflow_id for workflow_id, _ in bench.committed] == [A]
        bench.submit(A, B, C)
        bench.workflow_store.gate.set()
        await asyncio.gather(*map(bench.flushed, (A, B, C)))
        assert len({id(decision) for decision in bench.sent}) == len(bench.sent)


async def test_what_a_batch_lets_go_is_worked_off_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SLICE_S", -1)  # every slice is too long
    async with running() as bench:
        others: list[UUID] = []
        seen: list[list[UUID]] = []

        def when_committed(decision: Decision) -> None:
            seen.append(list(others))
            asyncio.get_running_loop().call_soon(others.append, decision.workflow.id)

        bench.when_committed = when_committed
        bench.submit(A, B, C)
        await bench.flushed(C)
        assert seen == [[], [A], [A, B]]
        assert bench.workflow_store.batches == [[A, B, C]]


@pytest.mark.parametrize("end", ["commit", "loss"])
async def test_results_count_in_memory_until_they_are_committed_or_dropped(end: str) -> None:
    async with running() as bench:
        bench.workflow_store.gate.clear()
        for size in (60_000, 10_000, 100_000):  # the first one alone is small, the others join it
            decision = bench.decide(A)
            decision.steps[0] = StepState(0, result=b"x" * size)
            bench.checkpointer.submit(decision, "big")
            await writing(bench)
        assert bench.memory.held == 110_000
        if end == "loss":
            bench.ledger.events[A] = [1, 2, 3]
        waiting = bench.flushed(A)
        bench.workflow_store.gate.set()
        await asyncio.wait({waiting})
        assert (bench.memory.held, waiting.exception() is None) == (0, end == "commit")


async def test_a_tenant_with_many_unwritten_bytes_is_backed_up_and_no_other_is() -> None:
    async with running() as bench:
        bench.workflow_store.gate.clear()

        def submit(workflow_id: UUID, tenant: str, mebibytes: int) -> None:
            decision = bench.decide(workflow_id)
            decision.steps[0] = StepState(0, result=bytes(mebibytes * 1024 * 1024))
            bench.checkpointer.submit(decision, tenant)

        def backed_up() -> list[str]:
            return [tenant for tenant in ("a", "b", "c") if bench.checkpointer.is_backed_up(tenant)]

        submit(A, "a", 32)
        assert backed_up() == []
        submit(A, "a", 1)
        assert backed_up() == ["a"]
        submit(B, "b", 10)
        assert backed_up() == ["a"]
        submit(A, "a", 100)
        assert backed_up() == ["a", "b"]
        bench.workflow_store.gate.set()
        await asyncio.gather(bench.flushed(A), bench.flushed(B))
        assert backed_up() == []


@pytest.mark.parametrize("what", ["result", "wait", "signal"])
async def test_big_rows_are_written_in_several_batches_in_order(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BATCH_BYTES", 100)
    async with running() as bench:
        bench.workflow_store.gate.clear()
        bench.submit(A)
        await writing(bench)
        for _ in range(5):
            decision = bench.decide(A)
            match what:
                case "result":
                    decision.steps[0] = StepState(0, result=b"x" * 40)
                case "wait":
                    decision.waits[decision.last_event] = ShownWait(inputs=b"x" * 40)
                case "signal":
                    decision.signals[str(decision.last_event)] = StoredSignal(b"x" * 40, "alice", NEVER)
            bench.checkpointer.submit(decision, None)
        bench.submit(B)
        waiting = bench.flushed(A)
        bench.workflow_store.gate.set()
        await waiting
        assert bench.committed == [(A, [1]), (A, [2, 3]), (B, [1]), (A, [4, 5]), (A, [6])]
        assert bench.workflow_store.batches == [[A], [A, B], [A], [A]]


async def test_thousands_of_workflows_that_are_parked_at_once_are_several_batches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_BATCH_EVENTS", 2)
    async with running() as bench:
        bench.workflow_store.gate.clear()
        bench.submit(A)
        await writing(bench)
        ids = [UUID(int=number) for number in range(100, 105)]
        for workflow_id in ids:
            decision = bench.decide(workflow_id)
            decision.parking_changes, decision.events = True, []
            bench.checkpointer.submit(decision, None)
        waiting = bench.flushed(ids[-1])
        bench.workflow_store.gate.set()
        await waiting
        assert bench.workflow_store.batches == [[A], ids[:2], ids[2:4], ids[4:]]


async def test_close_writes_what_is_queued_first_even_through_an_outage() -> None:
    bench = Bench()
    bench.workflow_store.faults.extend([BEFORE, AFTER, BEFORE])
    bench.submit(A)
    bench.checkpointer.close()
    await bench.checkpointer.run()
    assert bench.ledger.events == {A: [1]}


async def test_a_decision_that_comes_after_the_end_is_reported_as_not_written() -> None:
    """Otherwise a request that the service has accepted just before it stops would wait for ever."""
    bench = Bench()
    bench.checkpointer.close()
    await bench.checkpointer.run()
    bench.submit(A)
    with pytest.raises(Unavailable, match="shutting down"):
        await bench.flushed(A)
    await bench.flushed(B)


async def test_what_the_commit_itself_provokes_is_in_the_next_batch() -> None:
    async with running() as bench:
        bench.when_committed = lambda decision: bench.submit(A) if decision.workflow.last_event < 20 else None
        bench.submit(A)
        await eventually(lambda: bench.ledger.events.get(A) == list(range(1, 21)))
        assert bench.workflow_store.batches == [[A]] * 20


@settings(max_examples=40)
@given(
    alone_events=st.sampled_from([1, 3, 100]),
    submissions=st.lists(st.lists(st.sampled_from([A, B, C]), max_size=4), max_size=12),
    faults=st.lists(st.sampled_from([BEFORE, AFTER, None]), max_size=12),
)
def test_whatever_fails_each_decision_lands_once_and_in_order(
    alone_events: int, submissions: list[list[UUID]], faults: list[str | None]
) -> None:
    async def play() -> None:
        async with running() as bench:
            bench.workflow_store.faults.extend(faults)
            for submitted in submissions:
                bench.submit(*submitted)
                await asyncio.sleep(0)
            await asyncio.gather(*(bench.flushed(workflow_id) for workflow_id in (A, B, C)))
            for workflow_id in (A, B, C):
                events = list(range(1, sum(s.count(workflow_id) for s in submissions) + 1))
                assert bench.ledger.events.get(workflow_id, []) == events
                assert [e for w, ids in bench.committed if w == workflow_id for e in ids] == events
            assert not bench.lost

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_FIRST_RETRY_S", 0.0)
        patch.setattr(module, "_ALONE_EVENTS", alone_events)
        asyncio.run(play())


async def test_the_refusal_of_a_writer_s_last_decision_ends_its_outage_and_is_no_present_write() -> None:
    async with running() as bench:
        bench.workflow_store.faults.extend([BEFORE, ValueError("refused")])
        bench.submit(A, tenant="alice")
        with pytest.raises(NotWritten):
            await bench.flushed(A)
        assert not bench.checkpointer.outage
        await asyncio.sleep(0.01)
        assert not bench.checkpointer.is_slow(0.01)
