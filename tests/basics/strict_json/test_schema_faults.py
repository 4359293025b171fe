from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, Meta, Struct, UnsetType, field

from stepwell.basics.errors import Fault
from stepwell.basics.strict_json.schema_faults import Loc, cap_faults, collect, iter_faults, printable_key


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Part(Struct, forbid_unknown_fields=True):
    id: Annotated[str, Meta(min_length=1, max_length=5, pattern="^[a-z]*$")]
    size: Annotated[int, Meta(ge=0, le=9)] = 0
    ratio: Annotated[Annotated[float, Meta(gt=0, lt=1)] | None, Meta(description="a share")] = None
    colour: Colour | None = None
    mode: Literal["a", "b"] = "a"
    tags: Annotated[list[str], Meta(max_length=2)] = field(default_factory=list)


class Whole(Struct, forbid_unknown_fields=True):
    name: str
    parts: Annotated[list[Part], Meta(min_length=1)]
    by_name: dict[str, Part] = field(default_factory=dict)
    extra: dict[str, Any] | None = None
    note: Annotated[str, Meta(max_length=3)] | UnsetType | None = UNSET
    count: Annotated[int, Meta(ge=1)] | UnsetType = UNSET
    either: int | str = 0
    on: bool = False


class Loose(Struct):
    a: int = 0


def faults_of(type_: Any, value: Any, **options: Any) -> list[tuple[Loc, str]]:
    return [(fault.loc, fault.type) for fault in collect(type_, value, ("body",), **options)]


def good(**changes: Any) -> dict[str, Any]:
    return {"name": "n", "parts": [{"id": "p"}]} | changes


def part(**changes: Any) -> dict[str, Any]:
    return good(parts=[{"id": "p"} | changes])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (good(), []),
        (good(note=None, extra=None, count=3, either="x"), []),
        (None, [((), "dict_type")]),
        ([], [((), "dict_type")]),
        ("x", [((), "dict_type")]),
        ({}, [(("name",), "missing"), (("parts",), "missing")]),
        (good(name=5), [(("name",), "string_type")]),
        (good(name=None), [(("name",), "string_type")]),
        (good(parts=[]), [(("parts",), "too_short")]),
        (good(parts={}), [(("parts",), "list_type")]),
        (good(parts=[None]), [(("parts", 0), "dict_type")]),
        (good(parts=[{}, {"id": ""}]), [(("parts", 0, "id"), "missing"), (("parts", 1, "id"), "too_short")]),
        (good(by_name={"x y": {"id": 1}}), [(("by_name", "x y", "id"), "string_type")]),
        (good(extra=[]), [(("extra",), "dict_type")]),
        (good(note="long"), [(("note",), "too_long")]),
        (good(count=None), [(("count",), "int_type")]),
        (good(count=0), [(("count",), "greater_than_equal")]),
        (good(either=None), [(("either",), "value_error")]),
        (good(on=1), [(("on",), "bool_type")]),
        (good(on="true"), [(("on",), "bool_type")]),
        (good(Name=1, nmae=2), [(("Name",), "extra_forbidden"), (("nmae",), "extra_forbidden")]),
        (part(id="toolong"), [(("parts", 0, "id"), "too_long")]),
        (part(id="A"), [(("parts", 0, "id"), "string_pattern_mismatch")]),
        (part(size=1.0), [(("parts", 0, "size"), "int_type")]),
        (part(size=True), [(("parts", 0, "size"), "int_type")]),
        (part(size="1"), [(("parts", 0, "size"), "int_type")]),
        (part(size=10), [(("parts", 0, "size"), "less_than_equal")]),
        (part(ratio=0), [(("parts", 0, "ratio"), "greater_than")]),
        (part(ratio=1), [(("parts", 0, "ratio"), "less_than")]),
        (part(ratio="x"), [(("parts", 0, "ratio"), "float_type")]),
        (part(ratio=10**400), [(("parts", 0, "ratio"), "value_error")]),
        (part(colour="green"), [(("parts", 0, "colour"), "enum")]),
        (part(colour=1), [(("parts", 0, "colour"), "enum")]),
        (part(mode="c"), [(("parts", 0, "mode"), "enum")]),
        (
            part(tags=[1, "x", None]),
            [
                (("parts", 0, "tags"), "too_long"),
                (("parts", 0, "tags", 0), "string_type"),
                (("parts", 0, "tags", 2), "string_type"),
            ],
        ),
        (
            {"parts": [{"id": 1, "size": -1, "zzz": 1}, 7], "name": []},
            [
                (("name",), "string_type"),
                (("parts", 0, "id"), "string_type"),
                (("parts", 0, "size"), "greater_than_equal"),
                (("parts", 0, "zzz"), "extra_forbidden"),
                (("parts", 1), "dict_type"),
            ],
        ),
    ],
)
def test_each_fault_has_its_place_and_type(value: Any, expected: list[tuple[Loc, str]]) -> None:
    assert faults_of(Whole, value) == [(("body", *loc), type_) for loc, type_ in expected]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (good(name=5), "Expected a string, got an integer"),
        (good(note=5), "Expected a string or null, got an integer"),
        (good(note="long"), "Expected a string of length <= 3 or null"),
        (part(size=1.0), "Expected an integer, got a number with a decimal point"),
        (part(size=-1), "Expected an integer >= 0"),
        (part(colour="green"), "Expected one of red, blue or null"),
        (part(mode="c"), "Expected one of a, b"),
        (part(id="A"), "Expected a string matching the pattern '^[a-z]*$'"),
        (part(x=1), "Unknown field; known are id, size, ratio, colour, mode, tags"),
        (good(either=[]), "Expected an integer or a string, got a list"),
    ],
)
def test_messages_say_what_was_expected(value: Any, message: str) -> None:
    assert [fault.msg for fault in collect(Whole, value, ())] == [message]


def test_lists_dicts_tuples_and_unions_are_walked() -> None:
    assert faults_of(list[int], ["x", 1]) == [(("body", 0), "int_type")]
    assert faults_of(dict[str, list[int]], {"a b": ["x"]}) == [(("body", "a b", 0), "int_type")]
    assert faults_of(tuple[int, int], [1, "x"]) == [(("body", 1), "int_type")]
    assert faults_of(list[Part] | None, [{}]) == [(("body", 0, "id"), "missing")]
    assert faults_of(Loose, {"a": 1, "b": 2}) == []
    assert faults_of(Any, object()) == []


def test_texts_are_converted_unless_strict() -> None:
    assert faults_of(Loose, {"a": "12"}, strict=False) == []
    assert faults_of(Loose, {"a": "x"}, strict=False) == [(("body", "a"), "int_type")]
    assert faults_of(Colour, "red", strict=False) == []


def test_a_hook_decides_about_its_types() -> None:
    def to_path(type_: type, value: Any) -> Any:
        return type_(value)

    assert faults_of(Path, "/x") == [(("body",), "value_error")]
    assert faults_of(dict[str, Path], {"a": "/x"}, dec_hook=to_path) == []


def test_no_message_quotes_the_value() -> None:
    value = good(
        note="S3cret", extra="S3cret", parts=[{"id": "S3cret", "colour": "S3cret", "mode": "S3cret", "size": "S3cret"}]
    )
    assert len(collect(Whole, value, ())) == 6
    assert not any("S3cret" in fault.msg for fault in collect(Whole, value, ()))


def test_the_faults_beyond_the_most_are_counted() -> None:
    few = [Fault((index,), "m", "t") for index in range(3)]
    assert cap_faults(few, 3) == few
    assert cap_faults(few, 2) == [*few[:2], Fault(("body",), "1 more fault", "too_many_faults")]
    many = cap_faults(iter_faults(list[int], ["x"] * 20_000, ()), 5)
    assert many[-1].msg == "more than 10000 more faults"


def test_a_key_is_shortened_or_escaped_only_if_it_must_be() -> None:
    assert printable_key("é ключ \u2028") == "é ключ \u2028"
    assert printable_key("\ud800") == "\\ud800"
    assert len(printable_key("k" * 10_000)) == 256


NAMES = ["id", "size", "ratio", "colour", "mode", "tags", "name", "parts", "by_name", "x"]
LEAVES = st.sampled_from([None, True, 0, -1, 12, 0.5, 1.0, -3.5, "", "a", "red", "toolong", "A"])
JUNK = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=20,
)
PARTS = st.fixed_dictionaries(
    {"id": st.sampled_from(["a", "bc", "", "A"])},
    optional={
        "size": st.integers(-1, 10),
        "ratio": st.none() | st.floats(-0.5, 1.5),
        "colour": st.sampled_from([None, "red", "green"]),
        "tags": st.lists(st.sampled_from(["x", 1]), max_size=3),
    },
)
WHOLES = st.fixed_dictionaries({"name": st.just("n") | JUNK, "parts": st.lists(PARTS | JUNK, max_size=3)})


@given(
    JUNK | PARTS | WHOLES, st.sampled_from([Whole, Part, list[Part], dict[str, Part | None], Part | None, int | str])
)
def test_exactly_the_values_that_msgspec_refuses_have_faults(value: Any, type_: Any) -> None:
    try:
        msgspec.convert(value, type_)
    except msgspec.ValidationError:
        faults = collect(type_, value, ("body",))
        assert faults
        for fault in faults:
            place = value
            for step in fault.loc[1:-1]:
                place = place[step]
    else:
        assert collect(type_, value, ("body",)) == []
