"""The notation of places that the command line, the client and assistants share."""

import pytest

from stepwell.contract.problems import place_text


@pytest.mark.parametrize(
    ("loc", "text"),
    [
        (("body", "steps", 1, "config", "width"), "steps[1].config.width"),
        (("body", "inputs", "a.b", 0), 'inputs."a.b"[0]'),
        (("body", "config", "x[0]", "a b", 'd"e', ""), r'config."x[0]"."a b"."d\"e".""'),
        (("body", "inputs", "\x1b[2J"), r'inputs."\u001b[2J"'),
        (("query", "limit"), "limit"),
        (("body", 3), "[3]"),
        (("body",), "body"),
        ((), "request"),
    ],
)
def test_a_place_is_a_path_whose_names_are_quoted_where_they_could_be_misread(
    loc: tuple[str | int, ...], text: str
) -> None:
    assert place_text(loc) == text
