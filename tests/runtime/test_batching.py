"""Batches alone: what is in one, in which order, and what each caller gets when an item fails or a caller leaves."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import pytest

from stepwell.basics.errors import Unavailable
from stepwell.runtime.batching import MAX_TIMEOUTS_IN_A_ROW, SHARED_BATCHES, BatchedCalls, BatchQueue, ItemFailure


class Refused(Exception):
    """One item is at fault."""


class Machine:
    """Executes batches of words as they are, in upper case. `turn` says when it begins, `go_on` when it ends.

    A batch with a word of `refuse` fails by that word, one with a word of `broken` as a whole. If there are words in
    `slow`, only a batch of these alone waits for `go_on`.
    """

    def __init__(
        self, *, rows: int = 100, size: int = 1000, shared: bool = True, shared_rows: int | None = None
    ) -> None:
        self.executed: list[list[str]] = []
        self.turn, self.go_on = asyncio.Event(), asyncio.Event()
        self.turn.set()
        self.go_on.set()
        self.refuse: set[str] = set()
        self.broken: set[str] = set()
        self.slow: set[str] = set()
        self.timed_out = False
        self.concurrent = self.most_concurrent = 0
        limits = (rows, size)
        self.calls: BatchedCalls[str, list[str], str] = BatchedCalls(
            self._execute, max_weight=limits, weigh=_weight, shared=shared
        )
        shared_limits = None if shared_rows is None else (shared_rows, size)
        self.queue: BatchQueue[str, list[str]] = BatchQueue(
            max_weight=limits, weigh=_weight, shared_weight=shared_limits
        )

    async def _execute(self, take: Callable[[], Mapping[str, list[str]]]) -> dict[str, str]:
        if not self.turn.is_set():
            await self.turn.wait()
        items = take()
        self.executed.append([" ".join(words) for words in items.values()])
        words = {word for words in items.values() for word in words}
        self.concurrent += 1
        self.most_concurrent = max(self.concurrent, self.most_concurrent)
        try:
            if not self.slow or words <= self.slow:
                await self.go_on.wait()
        finally:
            self.concurrent -= 1
        if words & self.broken:
            raise ConnectionError
        if words & self.refuse:
            raise ItemFailure(Refused(), timed_out=self.timed_out)
        return {key: " ".join(words).upper() for key, words in items.items()}

    def call(self, *words: str) -> "asyncio.Task[str]":
        """Start a call for the first word's first letter, with these words as its item."""
        return _task(self.calls.call(words[0][0], list(words)))

    async def under_way(self, *words: str) -> "asyncio.Task[str]":
        """Start a call and return when it is executed, until `go_on` is set."""
        self.go_on.clear()
        executed = len(self.executed)
        task = self.call(*words)
        await _turns()
        assert len(self.executed) == executed + 1
        return task


def _weight(words: list[str]) -> tuple[int, int]:
    return len(words), sum(map(len, words))


def _task(coroutine: Coroutine[Any, Any, str]) -> "asyncio.Task[str]":
    return asyncio.ensure_future(coroutine)


async def _turns() -> None:
    """Let the tasks run as far as they can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def _outcomes(*asyncio_tasks: "asyncio.Task[str]") -> list[str]:
    async with asyncio.timeout(30):
        results = await asyncio.gather(*asyncio_tasks, return_exceptions=True)
    return [result if isinstance(result, str) else type(result).__name__ for result in results]


async def test_a_single_call_is_executed_at_once_and_alone() -> None:
    machine = Machine()
    assert await machine.calls.call("a", ["a"]) == "A"
    assert machine.executed == [["a"]]


async def test_calls_that_arrive_before_the_turn_are_one_batch() -> None:
    machine = Machine()
    machine.turn.clear()
    calls = [machine.call(word) for word in "abc"]
    await _turns()
    assert machine.executed == []
    machine.turn.set()
    assert await _outcomes(*calls) == ["A", "B", "C"]
    assert machine.executed == [["a", "b", "c"]]


async def test_calls_that_arrive_after_the_turn_are_not_in_the_batch() -> None:
    machine = Machine()
    first = await machine.under_way("a")
    machine.turn.clear()
    later = [machine.call(word) for word in "bc"]
    await _turns()
    machine.go_on.set()
    assert await _outcomes(first) == ["A"]
    assert machine.executed == [["a"]]
    machine.turn.set()
    assert await _outcomes(*later) == ["B", "C"]
    assert machine.executed == [["a"], ["b", "c"]]


async def test_as_many_batches_run_at_once_as_there_are_turns() -> None:
    machine = Machine()
    calls = [await machine.under_way(word) for word in "abc"]
    assert machine.most_concurrent == 3
    machine.go_on.set()
    assert await _outcomes(*calls) == ["A", "B", "C"]


async def test_a_batch_is_within_its_limits_and_the_rest_follows_without_a_new_call() -> None:
    machine = Machine(rows=2, size=6)
    machine.turn.clear()
    calls = [machine.call(word) for word in ("a", "b", "c", "dddd", "eee", "ffffffffff", "g")]
    await _turns()
    machine.turn.set()
    assert await _outcomes(*calls) == ["A", "B", "C", "DDDD", "EEE", "FFFFFFFFFF", "G"]
    assert machine.executed == [["a", "b"], ["c", "dddd"], ["eee"], ["ffffffffff"], ["g"]]


async def test_calls_with_one_key_share_an_execution_and_its_result() -> None:
    machine = Machine()
    machine.turn.clear()
    calls = [machine.call("a1"), machine.call("b"), machine.call("a2")]
    await _turns()
    machine.turn.set()
    assert await _outcomes(*calls) == ["A1", "B", "A1"]
    assert machine.executed == [["a1", "b"]]


async def test_items_of_one_key_that_are_not_shared_are_executed_in_order_and_behind_the_other_keys() -> None:
    machine = Machine(rows=2, shared=False)
    machine.turn.clear()
    calls = [machine.call(word) for word in ("a1", "a2", "b", "c", "a3")]
    await _turns()
    machine.turn.set()
    assert await _outcomes(*calls) == ["A1", "A2", "B", "C", "A3"]
    assert machine.executed == [["a1", "b"], ["c", "a2"], ["a3"]]


async def test_only_the_item_at_fault_fails() -> None:
    machine = Machine()
    machine.refuse = {"b"}
    machine.turn.clear()
    calls = [machine.call(word) for word in "abcb"]
    await _turns()
    machine.turn.set()
    assert await _outcomes(*calls) == ["A", "Refused", "C", "Refused"]
    assert machine.executed == [["a", "b", "c"], ["a"], ["b"], ["c"]]


async def test_an_item_that_fails_alone_is_executed_once() -> None:
    machine = Machine()
    machine.refuse = {"a"}
    assert await _outcomes(machine.call("a")) == ["Refused"]
    assert machine.executed == [["a"]]


async def test_callers_of_a_split_batch_do_not_wait_for_the_items_behind_theirs() -> None:
    machine = Machine()
    machine.refuse = machine.slow = {"c"}
    machine.turn.clear()
    machine.go_on.clear()
    calls = [machine.call(word) for word in "abc"]
    await _turns()
    machine.turn.set()
    assert await _outcomes(calls[1]) == ["B"]
    assert machine.executed == [["a", "b", "c"], ["a"], ["b"], ["c"]]
    assert not calls[2].done()
    machine.go_on.set()
    assert await _outcomes(*calls) == ["A", "B", "Refused"]


async def test_after_three_time_outs_in_a_row_the_rest_fails_without_an_execution() -> None:
    machine = Machine()
    words = [chr(ord("a") + number) for number in range(2 * MAX_TIMEOUTS_IN_A_ROW + 2)]
    sound = words[MAX_TIMEOUTS_IN_A_ROW - 1]
    machine.refuse, machine.timed_out = {*words} - {sound}, True
    machine.turn.clear()
    calls = [machine.call(word) for word in words]
    await _turns()
    machine.turn.set()
    assert await _outcomes(*calls) == [word.upper() if word == sound else "Refused" for word in words]
    assert machine.executed[1:] == [[word] for word in words[: 2 * MAX_TIMEOUTS_IN_A_ROW]]


async def test_other_failures_in_a_row_are_not_counted() -> None:
    machine = Machine()
    machine.refuse = {*"abcdefg"}
    machine.turn.clear()
    calls = [machine.call(word) for word in "abcdefgh"]
    await _turns()
    machine.turn.set()
    assert await _outcomes(*calls) == ["Refused"] * 7 + ["H"]


async def test_an_outage_fails_the_whole_batch_and_no_later_one() -> None:
    machine = Machine(rows=2)
    machine.broken = {"a"}
    machine.turn.clear()
    calls = [machine.call(word) for word in "abcd"]
    await _turns()
    machine.turn.set()
    assert await _outcomes(*calls) == ["ConnectionError", "ConnectionError", "C", "D"]
    assert machine.executed == [["a", "b"], ["c", "d"]]


async def test_without_a_turn_all_that_is_queued_fails_and_later_calls_succeed() -> None:
    no_turn = asyncio.Event()

    async def execute(take: Callable[[], Mapping[str, str]]) -> dict[str, str]:
        if not no_turn.is_set():
            await no_turn.wait()
            raise TimeoutError
        return {key: item.upper() for key, item in take().items()}

    batched: BatchedCalls[str, str, str] = BatchedCalls(execute, max_weight=(2, 2), weigh=lambda _: (1, 0))
    calls = [_task(batched.call(word, word)) for word in "abcde"]
    await _turns()
    no_turn.set()
    assert await _outcomes(*calls) == ["TimeoutError"] * 5
    assert await batched.call("a", "a") == "A"


async def test_a_caller_that_leaves_takes_its_own_item_along_and_nothing_from_the_others() -> None:
    machine = Machine()
    machine.turn.clear()
    calls = [machine.call(word) for word in "abc"]
    await _turns()
    calls[1].cancel()
    machine.turn.set()
    assert await _outcomes(*calls) == ["A", "CancelledError", "C"]
    assert machine.executed == [["a", "c"]]


async def test_an_item_is_executed_as_long_as_one_caller_waits_for_it() -> None:
    machine = Machine()
    machine.turn.clear()
    calls = [machine.call("a"), machine.call("b1"), machine.call("b2")]
    await _turns()
    calls[1].cancel()
    machine.turn.set()
    assert await _outcomes(*calls) == ["A", "CancelledError", "B1"]


async def test_if_the_caller_that_was_to_execute_leaves_another_one_does() -> None:
    machine = Machine()
    machine.turn.clear()
    calls = [machine.call(word) for word in "abcd"]
    await _turns()
    calls[1].cancel()
    calls[0].cancel()
    await _turns()
    calls[2].cancel()
    await _turns()
    machine.turn.set()
    assert await _outcomes(*calls) == ["CancelledError", "CancelledError", "CancelledError", "D"]
    assert machine.executed == [["d"]]


async def test_a_caller_that_leaves_as_it_is_chosen_to_execute_is_replaced() -> None:
    machine = Machine()
    machine.turn.clear()
    calls = [machine.call(word) for word in "abc"]
    await _turns()
    calls[0].cancel()
    await asyncio.sleep(0)  # now the second is chosen, and hasn't run yet
    calls[1].cancel()
    machine.turn.set()
    assert await _outcomes(*calls) == ["CancelledError", "CancelledError", "C"]
    assert machine.executed == [["c"]]


async def test_after_all_callers_have_left_the_next_call_is_executed() -> None:
    machine = Machine()
    machine.turn.clear()
    calls = [machine.call(word) for word in "abc"]
    await _turns()
    for call in calls:
        call.cancel()
    assert await _outcomes(*calls) == ["CancelledError"] * 3
    machine.turn.set()
    assert await machine.calls.call("d", ["d"]) == "D"
    assert machine.executed == [["d"]]


async def test_if_the_executing_caller_leaves_the_others_of_its_batch_learn_that_nobody_knows() -> None:
    machine = Machine()
    machine.turn.clear()
    calls = [machine.call(word) for word in "abc"]
    await _turns()
    machine.go_on.clear()
    machine.turn.set()
    await _turns()
    assert machine.executed == [["a", "b", "c"]]
    queued = machine.call("d")
    calls[0].cancel()
    assert await _outcomes(*calls) == ["CancelledError", Unavailable.__name__, Unavailable.__name__]
    machine.go_on.set()
    assert await _outcomes(queued) == ["D"]


async def test_a_caller_that_leaves_during_the_execution_disturbs_nobody() -> None:
    machine = Machine()
    machine.turn.clear()
    calls = [machine.call(word) for word in "abc"]
    await _turns()
    machine.go_on.clear()
    machine.turn.set()
    await _turns()
    calls[1].cancel()
    await _turns()
    machine.go_on.set()
    assert await _outcomes(*calls) == ["A", "CancelledError", "C"]


def test_an_owner_takes_batches_in_which_each_key_is_once() -> None:
    queue = Machine(rows=2).queue
    for word in ("a1", "b", "c", "a2"):
        queue.add(word[0], [word])
    assert queue.last("a") == ["a2"]
    assert queue.last("z") is None
    batches = []
    while queue:
        batches.append(queue.take())
    assert batches == [{"a": ["a1"], "b": ["b"]}, {"c": ["c"], "a": ["a2"]}]


async def test_an_owner_removes_what_is_queued_for_a_key() -> None:
    machine = Machine()
    for word in ("a1", "b", "a2"):
        machine.queue.add(word[0], [word])
    assert list(machine.queue.remove("a")) == [["a1"], ["a2"]]
    assert list(machine.queue.remove("a")) == []
    assert list(machine.queue.keys) == ["b"]


async def test_a_failure_before_the_batch_is_closed_is_nobody_s_fault() -> None:
    async def execute(_take: Callable[[], Mapping[str, str]]) -> dict[str, str]:
        raise ItemFailure(Refused())

    batched: BatchedCalls[str, str, str] = BatchedCalls(execute, max_weight=(2, 2), weigh=lambda _: (1, 0))
    calls = [_task(batched.call(word, word)) for word in "ab"]
    assert await _outcomes(*calls) == ["Refused", "Refused"]
    with pytest.raises(Refused):
        await batched.call("c", "c")


def test_tenants_take_turns_in_a_batch_and_from_batch_to_batch() -> None:
    queue = Machine(rows=3).queue
    for word in ("a", "b", "c", "d", "e"):
        queue.add(word, [word], "many")
    for word in ("x", "y"):
        queue.add(word, [word], "few")
    assert [list(queue.take()) for _ in range(3)] == [["a", "x", "b"], ["y", "c", "d"], ["e"]]


def test_each_of_many_tenants_has_a_turn_before_any_has_its_next() -> None:
    queue = Machine(rows=2).queue
    for tenant in "abcdef":
        for number in range(2):
            queue.add(f"{tenant}{number}", ["x"], tenant)
    assert [list(queue.take()) for _ in range(4)] == [["a0", "b0"], ["c0", "d0"], ["e0", "f0"], ["a1", "b1"]]


def test_a_tenant_with_heavy_items_delays_another_by_one_batch_at_most() -> None:
    queue = Machine(rows=3).queue
    for word in ("a", "b", "c"):
        queue.add(word, [word] * 5, "heavy")
    queue.add("x", ["x"], "light")
    assert [list(queue.take()) for _ in range(4)] == [["a"], ["x"], ["b"], ["c"]]


def test_batches_are_small_while_several_tenants_have_items_and_some_batches_longer() -> None:
    queue = Machine(rows=3, shared_rows=2).queue

    def batch(*tenants: str) -> int:
        for tenant in tenants:
            for number in range(3):
                queue.add(f"{tenant}{number}", ["x"], tenant)
        size = len(queue.take())
        while queue:
            queue.take()
        return size

    assert batch("a") == 3
    assert batch("a", "b") == 2
    sizes = [batch("a") for _ in range(SHARED_BATCHES)]
    assert sizes == [*[2] * (SHARED_BATCHES // 2), *[3] * (SHARED_BATCHES // 2)]
