import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepwell.basics.errors import InvalidRequest
from stepwell.basics.strict_json.decode import DETAILED_BYTES, MAX_DEPTH, MAX_FAULTS, decode_body
from support.examples import examples

DEEPEST = b"[" * MAX_DEPTH + b"]" * MAX_DEPTH


def faults(data: bytes) -> list[tuple[tuple[str | int, ...], str]]:
    with pytest.raises(InvalidRequest) as caught:
        decode_body(data)
    return [(fault.loc, fault.type) for fault in caught.value.faults]


def message(data: bytes) -> str:
    with pytest.raises(InvalidRequest) as caught:
        decode_body(data)
    return caught.value.faults[0].msg


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"{}", {}),
        (b' \r\n\t{"a" : [1, 1.0, -0.0, true, null, "\\ud83d\\ude00"]} ', {"a": [1, 1.0, -0.0, True, None, "😀"]}),
        (b"[9223372036854775807, -9223372036854775808]", [2**63 - 1, -(2**63)]),
        (b'["\\\\u0000", "12345678901234567890"]', ["\\u0000", "12345678901234567890"]),
        (b'{"a": "\\":", "b": " : \\t:"}', {"a": '":', "b": " : \t:"}),
        (b'{"a": {"x": 1}, "b": {"x": 1}}', {"a": {"x": 1}, "b": {"x": 1}}),
        ('"é\u2028"'.encode(), "é\u2028"),
        (b'{"": 1}', {"": 1}),
    ],
)
def test_valid_bodies_are_decoded(data: bytes, value: Any) -> None:
    decoded = decode_body(data)
    assert decoded == value
    assert json.dumps(decoded) == json.dumps(value)


def test_64_levels_are_accepted() -> None:
    assert decode_body(DEEPEST) == json.loads(DEEPEST)
    assert decode_body(b'{"a":' * 64 + b"1" + b"}" * 64)


@pytest.mark.parametrize(
    ("data", "type_", "words"),
    [
        (b"", "missing", "required"),
        (b" \n", "json_invalid", "line 2, column 1"),
        (b"\xef\xbb\xbf{}", "json_invalid", "byte order mark"),
        ("{}".encode("utf-16"), "json_invalid", "UTF-8"),
        ("{}".encode("utf-16-be"), "json_invalid", "line 1, column 1"),
        (b'{"a": "\xff"}', "json_invalid", "byte 7"),
        (b'"\xc0\x80"', "json_invalid", "UTF-8"),
        (b'"\xed\xa0\x80"', "json_invalid", "UTF-8"),
        (b'"\xe2\x82', "json_invalid", "UTF-8"),
        (b'{"a":1', "json_invalid", "line 1, column 7"),
        (b'{\n "a": tru}', "json_invalid", "line 2, column 7 (byte 8)"),
        (b"[1,]", "json_invalid", "line 1"),
        (b"{'a': 1}", "json_invalid", "line 1, column 2"),
        (b"{} {}", "json_invalid", "column 4"),
        (b"01", "json_invalid", "column 2"),
        (b'["a\tb"]', "json_invalid", "byte 3"),
        (b'"\x00"', "json_invalid", "byte 1"),
        (b'"\\x"', "json_invalid", "byte 1"),
        ('["é", }'.encode(), "json_invalid", "column 7 (byte 7)"),
    ],
)
def test_malformed_json_is_refused_with_its_place(data: bytes, type_: str, words: str) -> None:
    assert faults(data) == [(("body",), type_)]
    assert words in message(data)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"NaN", [(("body",), "finite_number")]),
        (b'{"a": [1e999, -Infinity]}', [(("body", "a", 0), "finite_number"), (("body", "a", 1), "finite_number")]),
        (b'{"a": 9223372036854775808}', [(("body", "a"), "int_out_of_range")]),
        (b"[-9223372036854775809]", [(("body", 0), "int_out_of_range")]),
        (b'{"a": ' + b"9" * 5000 + b"}", [(("body", "a"), "int_out_of_range")]),
        (b"9" * 400, [(("body",), "int_out_of_range")]),
        (b'["\\u0000"]', [(("body", 0), "nul_character")]),
        (b'{"a\\u0000": 1}', [(("body", "a\0"), "nul_character")]),
        (b'{"a": {"b": ["x", "\\ud800"]}}', [(("body", "a", "b", 1), "lone_surrogate")]),
        (b'{"\\udfff": 1}', [(("body", "\\udfff"), "lone_surrogate")]),
        (b'{"a": {"b": 1, "c": 2, "b": 3}}', [(("body", "a", "b"), "duplicate_key")]),
        (b'{"b" : 1, "b"\n: 1, "b"\t:1,"b":2}', [(("body", "b"), "duplicate_key")] * 3),
        (b'{"a":1,"\\u0061":2}', [(("body", "a"), "duplicate_key")]),
        (b"[" + DEEPEST + b"]", [(("body", *[0] * 64), "too_deep")]),
        (b'{"a": [1, ' + DEEPEST + b"]}", [(("body", "a", 1, *[0] * 62), "too_deep")]),
        (b'{"k": [1, ' + b"[" * 5000 + b"]" * 5001 + b"}", [(("body",), "too_deep")]),
        (b'{"a":' * 100_000, [(("body",), "too_deep")]),
        (b"[NaN, " + b"[" * 900 + b"]" * 901, [(("body",), "too_deep")]),
        (b'{"b": 1, "b": ' + b"[" * 900 + b"]" * 900 + b"}", [(("body",), "too_deep")]),
    ],
)
def test_values_that_cannot_be_stored_are_refused_at_their_place(data: bytes, expected: list[Any]) -> None:
    assert faults(data) == expected


def test_faults_of_all_kinds_come_in_the_order_of_the_document() -> None:
    data = b'{"a": "\\u0000", "a": "\\ud800\\u0000", "n": [NaN, 18446744073709551616, ' + DEEPEST + b"]}"
    assert faults(data) == [
        (("body", "a"), "duplicate_key"),
        (("body", "a"), "nul_character"),
        (("body", "a"), "lone_surrogate"),
        (("body", "n", 0), "finite_number"),
        (("body", "n", 1), "int_out_of_range"),
        (("body", "n", 2, *[0] * 62), "too_deep"),
    ]


def test_the_list_of_faults_is_bounded() -> None:
    found = faults(b"[" + b",".join([b'"\\u0000"'] * 250) + b"]")
    assert len(found) == MAX_FAULTS + 1
    assert found[-1] == (("body",), "too_many_faults")
    assert message(b"[" + b"NaN," * 50_000 + b"1]")


def test_a_long_key_is_not_repeated_in_full() -> None:
    [(loc, _)] = faults(b'{"' + b"k" * 100_000 + b'": NaN}')
    assert loc == ("body", "k" * 255 + "…")


SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
)
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
VALUES = st.recursive(SCALARS | TEXT, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner))
PIECES = st.sampled_from(
    [
        b"[",
        b"]",
        b"{",
        b"}",
        b",",
        b":",
        b'"a"',
        b'"\\u0000"',
        b'"\\ud800"',
        b"NaN",
        b"1e999",
        b"-0",
        b" ",
        b"\xff",
        b"0" * 30,
    ]
)


@given(VALUES, st.sampled_from([True, False]))
def test_any_valid_value_is_decoded_unchanged(value: Any, ascii_only: Any) -> None:
    assert decode_body(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@given(st.binary() | st.lists(PIECES).map(b"".join))
@settings(max_examples=examples(500))
def test_any_bytes_are_decoded_or_refused(data: bytes) -> None:
    try:
        value = decode_body(data)
    except InvalidRequest as error:
        places = [fault.loc[0] for fault in error.faults]
        assert set(places) == {"body"}
    else:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()


PADDING = b" " * DETAILED_BYTES


@pytest.mark.parametrize(
    ("data", "type_"),
    [(b'{"a": 1, "b" : {"a": 1, "a": 2}}', "duplicate_key"), (b'{"a": 1, "b" : [}', "json_invalid")],
)
def test_a_big_body_that_the_second_parser_would_read_has_one_fault(data: bytes, type_: str) -> None:
    assert faults(data + PADDING) == [(("body",), type_)]


def test_a_big_body_whose_strings_look_like_keys_is_decoded_and_its_values_are_checked() -> None:
    data = rb'{"a": "\": \" : ", "b" : [1, 2]}'
    assert decode_body(data + PADDING) == {"a": '": " : ', "b": [1, 2]}
    assert faults(data.replace(b"2", b"9" * 19) + PADDING) == [(("body", "b", 1), "int_out_of_range")]
