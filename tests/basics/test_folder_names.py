"""The names of outputs: safe parts of a path, unique in a folder, and the same each time."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.basics.folder_names import StepOrItem, StepPaths, encode_name, is_below, is_step_path, unique_names

SAFE = re.compile(r"[A-Za-z0-9._%~-]{1,100}")
alphabet = st.sampled_from("aAbB.-_~%/\\ éß漢\U0001f600")
names = st.lists(
    st.text(alphabet, min_size=1, max_size=4)
    | st.builds("".join, st.tuples(st.just("x" * 95), st.text(alphabet, max_size=9))),
    max_size=30,
)


@pytest.mark.parametrize(
    ("name", "encoded"),
    [
        ("large-1.5_x", "large-1.5_x"),
        ("a/b c%~", "a%2Fb%20c%25%7E"),
        ("é", "%C3%A9"),
        ("..", "%2E%2E"),
        ("...", "..."),
        ("x" * 101, "x" * 100),
        ("x" * 98 + "é", "x" * 98),
    ],
)
def test_a_name_is_encoded_and_cut_at_whole_characters(name: str, encoded: str) -> None:
    assert encode_name(name) == encoded


def test_a_name_that_is_taken_gets_a_number() -> None:
    assert unique_names(["Large", "large", "LARGE", "large~2"]) == ["Large", "large~2", "LARGE~3", "large%7E2"]
    long = "x" * 100
    assert unique_names([long + "a", long + "b"]) == [long, "x" * 94 + "~2"]


@given(names)
def test_no_name_escapes_or_collides(wanted: list[str]) -> None:
    made = unique_names(wanted)
    assert len({name.lower() for name in made}) == len(wanted)
    assert all(SAFE.fullmatch(name) and is_step_path(name) for name in made)
    assert unique_names(wanted) == made


def test_a_step_path_has_the_items_and_steps_that_lead_to_a_file() -> None:
    paths = StepPaths({(): ["Each", "each"], ("each",): ["a/b"]})
    assert paths.path([StepOrItem("Each", None)]) == "Each"
    assert paths.path([StepOrItem("each", 3), StepOrItem("a/b", None)]) == "each~2/3/a%2Fb"


def test_a_step_is_named_by_its_id_or_its_path() -> None:
    assert is_below("a%2Fb/0/large", "a/b")
    assert is_below("a%2Fb/0/large", "a%2Fb/0")
    assert is_below("a", "a")
    assert not is_below("ab", "a")
    assert not is_below("a/b", "b")


@pytest.mark.parametrize("path", ["", "/a", "a/", "a//b", "..", "a/../b", "a/.", "a\\b", "C:", "a\n"])
def test_a_path_that_leads_elsewhere_is_no_step_path(path: str) -> None:
    assert not is_step_path(path)
    assert is_step_path("each/0/..large")
