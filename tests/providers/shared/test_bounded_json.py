"""Whether a body is valid JSON doesn't depend on the version of Python."""

from typing import Any

import pytest
from msgspec import Struct

from stepwell.basics.strict_json.size import MAX_LEVELS
from stepwell.providers.comfyui.lenient_json import read_lenient_json
from stepwell.providers.shared.bounded_json import decode_json, read_json


class Answer(Struct):
    output: Any


def nested(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


@pytest.mark.parametrize("levels", [MAX_LEVELS + 1, 500, 900, 990, 2_000, 9_000, 100_000])
def test_json_of_too_many_levels_is_refused(levels: int) -> None:
    assert read_json(nested(levels), Any) is None
    assert read_json(nested(levels).decode(), Any) is None
    assert read_json(b'{"output": %s}' % nested(levels - 1), Answer) is None
    assert read_json(b'{"a":' * levels + b"1" + b"}" * levels, dict[str, Any]) is None
    assert read_lenient_json(b"[NaN, %s]" % nested(levels - 1), list[Any]) is None
    with pytest.raises(ValueError, match=f"^nested deeper than {MAX_LEVELS} levels$"):
        decode_json(nested(levels), Any)


def test_json_of_the_most_levels_is_read() -> None:
    assert read_json(nested(MAX_LEVELS), Any) is not None
    assert read_json(b'{"output": %s}' % nested(MAX_LEVELS - 1), Answer) is not None
    assert read_lenient_json(b"[NaN, %s]" % nested(MAX_LEVELS - 1), list[Any]) is not None


def test_many_brackets_beside_each_other_or_in_texts_are_no_levels() -> None:
    flat = {"output": ["[" * 5_000, *([[]] * 5_000)]}
    assert read_json(b'{"output": ["%s"%s]}' % (b"[" * 5_000, b", []" * 5_000), dict[str, Any]) == flat


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"\xff", b'"\xff"', b'"\\ud800"', b"1" * 5_000, b"1e999", b"NaN", b"[", b'{"output": 1', "\ud800"],
    ids=lambda body: ascii(body)[:20],
)
def test_invalid_json_is_refused(body: bytes | str) -> None:
    assert read_json(body, Any) is None
    with pytest.raises(ValueError):  # noqa: PT011 - msgspec's words
        decode_json(body, Any)


def test_another_kind_of_json_is_refused() -> None:
    assert read_json(b"5", Answer) is None
    assert read_json(b"null", Any) is None
    assert decode_json(b"null", Any) is None
