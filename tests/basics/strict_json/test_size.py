from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.basics.strict_json.size import is_deeper, is_larger_than

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**31), 2**31) | st.text("abc"),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abc", min_size=1), inner),
)


@given(JSON)
def test_the_measured_size_is_near_the_encoded_size(value: Any) -> None:
    size = len(msgspec.json.encode(value))
    assert not is_larger_than(value, 2 * size + 10)
    assert is_larger_than(value, size // 4 - 2)


def test_a_repeated_text_counts_each_time_and_the_walk_stops_at_the_limit() -> None:
    text = "x" * 1000
    assert is_larger_than([text] * 1000, 999_000)
    held: Any = [text]
    for _ in range(64):
        held = [held, held]  # 2**64 times
    assert is_larger_than(held, 1_000_000)


@pytest.mark.parametrize("depth", [100_000])
def test_a_deep_value_is_measured_without_recursion(depth: int) -> None:
    value: Any = []
    for _ in range(depth):
        value = [value]
    assert not is_larger_than(value, 10 * depth)
    while value:
        value = value[0]  # or its end would recurse


@given(JSON)
def test_the_levels_of_a_value_are_counted(value: Any) -> None:
    def levels(value: Any) -> int:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
        return 0 if inner is None else 1 + max(map(levels, inner), default=0)

    assert not is_deeper(value, levels(value))
    assert levels(value) == 0 or is_deeper(value, levels(value) - 1)
