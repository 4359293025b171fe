"""The number of JSON values in a body, counted without decoding it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.basics.strict_json import size as json_size
from stepwell.basics.strict_json.size import JsonCounts, count_values, most_members, most_values

TEXTS = st.text(st.sampled_from('a,:{}[]"\\é\n '), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXTS, inner, max_size=5),
)


def counts_of(value: Any) -> JsonCounts:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    counts = [counts_of(each) for each in inner]
    members = len(value) if isinstance(value, dict) else 0
    return JsonCounts(1 + sum(each.values for each in counts), members + sum(each.members for each in counts))


@given(
    value=VALUES, indent=st.sampled_from([None, 1]), size=st.sampled_from([1, 2, 3, 7, 10_000]), ascii_=st.booleans()
)
def test_the_count_is_that_of_the_decoded_value(value: Any, indent: int | None, size: int, *, ascii_: bool) -> None:
    data = json.dumps(value, indent=indent, ensure_ascii=ascii_).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_size, "_SLICE", size)
        assert count_values(data) == counts_of(value)
        assert counts_of(value).values <= most_values(data)
        assert counts_of(value).members <= most_members(data)


@pytest.mark.parametrize("data", [b"", b"\\", b'"', b"[", b"{{{", b",,,", b'"a', b"\xff\x00"])
def test_any_bytes_can_be_counted(data: bytes) -> None:
    assert 0 <= count_values(data).values <= most_values(data)


def test_the_count_goes_over_the_edges_of_slices() -> None:
    count = 400_000
    assert count_values(b"[" + b"{} , " * count + b'"a\\"[,"]') == JsonCounts(count + 2, 0)
