from typing import Annotated, Any

import pytest
from msgspec import Meta, Struct, convert

from stepwell.basics.strict_json.normalise import Handling, normalise


class Inner(Struct, frozen=True, forbid_unknown_fields=True):
    count: Annotated[int, Meta(ge=0)] = 1
    word: str = ""


class Open(Struct, frozen=True):
    count: int = 0


class Outer(Struct, forbid_unknown_fields=True):
    id: int
    one: Inner = Inner()
    many: list[Inner] = []
    named: dict[str, Inner] = {}
    counts: list[int] | None = None
    share: float = 0.0
    number_or_text: Annotated[int, Meta(ge=0)] | str | None = None
    anything: Any = None
    open: Open = Open()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"id": 1.0}, {"id": 1}),
        ({"id": None}, {"id": None}),  # required
        ({"id": 1, "one": None, "many": None, "counts": None}, {"id": 1, "counts": None}),
        ({"id": 1, "one": {"count": 2.0, "word": None}}, {"id": 1, "one": {"count": 2}}),
        ({"id": 1, "many": [{"count": 0.0}, {"count": None}]}, {"id": 1, "many": [{"count": 0}, {}]}),
        ({"id": 1, "named": {"a": {"count": 3.0}}}, {"id": 1, "named": {"a": {"count": 3}}}),
        ({"id": 1, "counts": [1.0, 2.5, 3]}, {"id": 1, "counts": [1, 2.5, 3]}),
        ({"id": 1, "number_or_text": 2.0}, {"id": 1, "number_or_text": 2}),
        ({"id": 1, "number_or_text": None}, {"id": 1, "number_or_text": None}),
        ({"id": 1e300, "share": 1.0, "anything": [1.0]}, {"id": 1e300, "share": 1.0, "anything": [1.0]}),
        ({"id": 1, "many": [None, 7]}, {"id": 1, "many": [None, 7]}),
        ([1.0], [1.0]),
    ],
)
def test_only_nulls_of_optional_members_and_integral_floats_change(value: Any, expected: Any) -> None:
    result = normalise(Outer, value)
    assert repr(result) == repr(expected)


def test_unknown_members_are_left_out_only_under_lenient_handling_and_only_where_they_are_refused() -> None:
    value = {"id": 1, "x": 1, "one": {"y": 2}, "many": [{"z": 3, "count": 1}], "open": {"own": 4}}
    assert normalise(Outer, value) is value
    lenient = normalise(Outer, value, Handling.LENIENT)
    assert lenient == {"id": 1, "one": {}, "many": [{"count": 1}], "open": {"own": 4}}
    assert convert(lenient, Outer) == Outer(1, many=[Inner(1)])
    assert value["x"] == 1
