"""Settings that are read from JSON."""

import pytest

from stepwell.basics.setting_values import TaskQueues
from stepwell.contract.enums import TaskType


def test_queues_are_by_task_type_and_a_star_is_each_other_type() -> None:
    queues = TaskQueues.read('{"GENERATION": "gpu", "*": "others"}')
    assert (queues.of(TaskType.GENERATION), queues.of(TaskType.REFINE)) == ("gpu", "others")
    assert queues.names == ["gpu", "others"]
    assert TaskQueues.read("{}").names == ["stepwell"]
    assert TaskQueues.read('{"REFINE": "cpu"}').names == ["cpu", "stepwell"]


@pytest.mark.parametrize(
    "text", ["", "[]", '{"generation": "gpu"}', '{"**": "a"}', '{"*\\n": "a"}', '{"*": "a b"}', '{"*": ""}', '{"*": 1}']
)
def test_queues_that_cannot_be_are_refused_without_their_text(text: str) -> None:
    with pytest.raises(ValueError, match=r"^Expected JSON, like") as refused:
        TaskQueues.read(text)
    assert refused.value.__context__ is None or refused.value.__suppress_context__
