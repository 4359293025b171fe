from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import json

from stepwell.basics.artifacts import MAX_NAMED_FILES, artifact_path, named_files, named_tasks

ONE = UUID("01980000-0000-7000-8000-0000000000a1")
TWO = UUID("01980000-0000-7000-8000-0000000000b2")
PATH = f"media/{ONE}/image.png"
SIGNED = f"https://stepwell.example/api/v1/artifacts/{PATH}?expires=1796000000&signature=0a"


def named(value: Any) -> set[UUID]:
    return {UUID(task_id) for task_id in named_tasks(json.encode(value))}


@pytest.mark.parametrize(
    "value",
    [
        PATH,
        SIGNED,
        "/api/v1/artifacts/" + PATH,
        {"base_image_url": PATH},
        {"reference_image_urls": ["https://elsewhere.example/a.png", SIGNED]},
        {"arguments": {"images": [{"url": {"of": [[PATH]]}}]}},
        {PATH: None},
        [PATH, SIGNED, PATH],
        f"first\n{PATH}",
        f'paint "{PATH}" \\{PATH}\u00fc',
        "\u001f" + PATH,
        f"media/media/{PATH}",
        f"media/{ONE}/",
        f"media/{ONE}/{TWO}/a.png",
    ],
)
def test_a_path_in_a_value_names_its_task(value: Any) -> None:
    assert named(value) == {ONE}


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        [],
        1.5,
        "a picture of the media/press building",
        str(ONE),
        f"media/{ONE}",
        f"media/{ONE}?/",
        f"media/{ONE.hex}/image.png",
        f"media/{{{ONE}}}/image.png",
        f"MEDIA/{ONE}/image.png",
        f"media\\{ONE}\\image.png",
        f"media//{ONE}/image.png",
        f"media/{str(ONE).upper()}/image.png",  # opens no file
        f"media/{str(ONE)[:-1]}/image.png",
        f"media/{ONE}0/image.png",
        ["media/", f"{ONE}/image.png"],
        {"media/": f"{ONE}/image.png"},
    ],
)
def test_a_text_without_an_artifact_path_names_no_task(value: Any) -> None:
    assert named(value) == set()


def test_every_path_in_a_value_counts() -> None:
    assert named({"a": PATH, "b": [f"media/{TWO}/a", f"see media/{TWO}/b"]}) == {ONE, TWO}
    assert named(f"media/{ONE}/media/{TWO}/") == {ONE, TWO}


@pytest.mark.parametrize("depth", [100_000])
def test_a_deep_value_is_searched_without_recursion(depth: int) -> None:
    assert named_tasks(("[" * depth + f'"{PATH}"' + "]" * depth).encode()) == {str(ONE)}


@given(before=st.text(), after=st.text())
def test_text_around_a_path_makes_no_difference(before: str, after: str) -> None:
    assert named([before, {before: before + PATH + after}, after]) >= {ONE}


def test_named_files_are_the_strings_that_are_paths_by_member() -> None:
    first, second, third = (artifact_path(UUID(int=number), "a.png") for number in (1, 2, 3))
    shown = {
        "one": first,
        "more": [{"deep": [second, first]}, {third: "a key"}],
        "text": f'see {third}, "{third}" or \\"{third}"',
        third: 1,
    }
    assert named_files(json.encode(shown)) == [("one", first), ("more", second)]
    many = {"all": [artifact_path(UUID(int=number), "a") for number in range(MAX_NAMED_FILES + 1)]}
    assert len(named_files(json.encode(many))) == MAX_NAMED_FILES
    assert named_files(b"{}") == []
