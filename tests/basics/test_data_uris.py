"""Base64 and data URIs: the same results as the standard library's, whatever the length."""

import base64
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.basics.data_uris import MAX_ESCAPES, data_uri, decode_base64, decode_data, encode_base64

SLICE = 3 << 18


@pytest.mark.parametrize("size", [0, 1, 2, 3, SLICE - 1, SLICE, SLICE + 1, SLICE + 2, 2 * SLICE + 5])
def test_data_of_any_length_is_encoded_as_the_standard_library_does(size: int) -> None:
    data = (bytes(range(256)) * (size // 256 + 1))[:size]
    text = encode_base64(data)
    assert text == base64.b64encode(data).decode()
    assert decode_base64(text) == data
    assert decode_data(text, is_base64=True) == data


@given(st.text(alphabet="abAB01+/=%é ", max_size=12))
def test_a_short_text_is_decoded_or_refused_as_the_standard_library_does(text: str) -> None:
    assert _decoded(decode_base64, text) == _decoded(lambda text: base64.b64decode(text, validate=True), text)


def test_padding_inside_of_a_long_text_is_refused() -> None:
    with pytest.raises(ValueError, match="padding inside"):
        decode_base64("A" * (SLICE - 4) + "QQ==" + "AAAA")


@pytest.mark.parametrize("offset", [0, 1, 2])
def test_a_percent_encoded_character_on_the_border_of_two_slices_is_decoded(offset: int) -> None:
    assert decode_data("a" * (SLICE - offset) + "%41%42", is_base64=False) == b"a" * (SLICE - offset) + b"AB"


def test_too_many_percent_encoded_characters_are_refused() -> None:
    assert decode_data("%41" * MAX_ESCAPES, is_base64=False) == b"A" * MAX_ESCAPES
    with pytest.raises(ValueError, match="use base64"):
        decode_data("%" * (MAX_ESCAPES + 1), is_base64=False)


def test_white_space_and_missing_padding_are_accepted_in_a_data_uri() -> None:
    assert decode_data("Q U\nJ%20D RA", is_base64=True) == b"ABCD"


def test_a_data_uri_names_its_type() -> None:
    assert data_uri(b"ABCD", "image/png") == "data:image/png;base64,QUJDRA=="


def _decoded(decode: Callable[[str], bytes], text: str) -> bytes | None:
    """Return the data; None if *decode* refuses the text."""
    try:
        return decode(text)
    except ValueError:
        return None
