"""Which results of a workflow stay in memory."""

from hypothesis import given
from hypothesis import strategies as st

from stepwell.contract.enums import StepStatus
from stepwell.lifecycle.model import StepState
from stepwell.lifecycle.results_in_memory import MAX_BYTES_IN_MEMORY, ResultsInMemory

RESULT = b"k" * (MAX_BYTES_IN_MEMORY // 2)


def steps_of(count: int) -> list[StepState]:
    return [StepState(position) for position in range(count)]


def complete(in_memory: ResultsInMemory, step: StepState, result: bytes) -> None:
    step.status, step.result = StepStatus.COMPLETED, result
    in_memory.complete(step.position)


def test_a_result_stays_until_the_last_step_that_reads_it_has_completed() -> None:
    steps = steps_of(3)
    in_memory = ResultsInMemory(steps, [(), (0,), (0,)])
    complete(in_memory, steps[0], b"{}")
    complete(in_memory, steps[1], b"{}")
    assert [step.result for step in steps] == [b"{}", None, None]
    complete(in_memory, steps[2], b"{}")
    assert [step.result for step in steps] == [None, None, None]


def test_a_result_that_nobody_reads_does_not_stay() -> None:
    steps = steps_of(1)
    complete(ResultsInMemory(steps, [()]), steps[0], b"{}")
    assert steps[0].result is None


def test_results_beyond_the_bound_are_in_the_database_only() -> None:
    steps = steps_of(4)
    in_memory = ResultsInMemory(steps, [(), (), (), (0, 1, 2)])
    for step in steps[:3]:
        complete(in_memory, step, RESULT)
    assert [step.result for step in steps] == [RESULT, RESULT, None, None]
    assert [in_memory.is_stored_only(step) for step in steps] == [False, False, True, False]
    complete(in_memory, steps[3], b"{}")
    assert [step.result for step in steps] == [None] * 4


def test_a_workflow_with_small_results_is_loaded_with_them_and_one_with_large_ones_is_not() -> None:
    steps = steps_of(3)
    for step in steps[:2]:
        step.status = StepStatus.COMPLETED
    in_memory = ResultsInMemory(steps, [(), (), (0,)])
    assert (in_memory.to_load(MAX_BYTES_IN_MEMORY), in_memory.to_load(MAX_BYTES_IN_MEMORY + 1)) == ([0], [])
    in_memory.put({0: b"{}", 1: b"{}"})
    assert [step.result for step in steps] == [b"{}", None, None]
    assert in_memory.to_load(4) == []


@given(st.lists(st.tuples(st.integers(0, MAX_BYTES_IN_MEMORY), st.sets(st.integers(0, 9))), max_size=10))
def test_the_results_in_memory_are_bounded_whatever_the_workflow(shape: list[tuple[int, set[int]]]) -> None:
    steps = steps_of(len(shape))
    sources = [tuple(source for source in read if source < position) for position, (_, read) in enumerate(shape)]
    in_memory = ResultsInMemory(steps, sources)
    for step, (size, _) in zip(steps, shape, strict=True):
        complete(in_memory, step, bytes(size))
        assert sum(len(each.result) for each in steps if each.result is not None) <= MAX_BYTES_IN_MEMORY
    assert [step.result for step in steps] == [None] * len(steps)
