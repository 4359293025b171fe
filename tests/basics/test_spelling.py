"""Names that a misspelled one may mean."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.basics.spelling import SimilarNames, similar_name


@pytest.mark.parametrize(
    ("name", "similar"),
    [
        ("depend_on", "depends_on"),  # a letter is missing
        ("depends__on", "depends_on"),  # a letter too many
        ("depends-on", "depends_on"),
        ("heigth", "height"),  # two neighbours are exchanged
        ("DEPENDS_ON", "depends_on"),
        ("depends", None),
        ("hight", "height"),
        ("thgieh", None),
        ("abc", None),  # too short to be sure
        ("x" * 256, None),
    ],
)
def test_a_name_is_similar_if_one_edit_leads_to_it(name: str, similar: str | None) -> None:
    assert similar_name(name, ["abd", "depends_on", "height", "x" * 255]) == similar


NAMES = st.text("abc", max_size=5)


def one_edit(name: str) -> set[str]:
    """All texts at one edit from *name*, by the definition."""
    cuts = [(name[:n], name[n:]) for n in range(len(name) + 1)]
    removed = {left + right[1:] for left, right in cuts if right}
    exchanged = {left + right[1] + right[0] + right[2:] for left, right in cuts if len(right) > 1}
    replaced = {left + letter + right[1:] for left, right in cuts if right for letter in "abc"}
    inserted = {left + letter + right for left, right in cuts for letter in "abc"}
    return (removed | exchanged | replaced | inserted) - {name}


@given(NAMES, NAMES)
def test_a_name_is_similar_exactly_at_one_edit(known: str, name: str) -> None:
    assert SimilarNames([known]).of(name) == ([known] if name in one_edit(known) else [])


@pytest.mark.parametrize("name", ["heigth", "hight", "heightt", "Height", "eight"])
def test_usual_slips_are_found(name: str) -> None:
    assert SimilarNames(["height", "width"]).of(name) == ["height"]


def test_all_similar_names_are_listed() -> None:
    assert SimilarNames(["x", "y", "prompt"]).of("z") == ["x", "y"]
