"""The figures of a benchmark in the manual."""

import pytest

from bench.manual_blocks import PERFORMANCE, README, paragraph, replace_blocks, table

PAGE = "# Title\n\nMedians of 1.\n\n| a | b |\n| --- | ---: |\n| 1 | 2 |\n\nLast words.\n"


def test_a_block_replaces_the_one_that_begins_like_it() -> None:
    assert replace_blocks(PAGE, ["Medians of 3.", table([["a", "c"], ["4", "5"]])]) == (
        "# Title\n\nMedians of 3.\n\n| a | c |\n| --- | ---: |\n| 4 | 5 |\n\nLast words.\n"
    )
    assert replace_blocks(PAGE, ["Last of all."]) == PAGE.replace("Last words.", "Last of all.")


@pytest.mark.parametrize("block", ["Means of 3.", "| b | c |\n| --- | --- |"])
def test_a_block_without_its_like_is_refused(block: str) -> None:
    with pytest.raises(ValueError, match="0 blocks of the page begin with"):
        replace_blocks(PAGE, [block])


def test_a_paragraph_has_the_width_of_the_manual() -> None:
    assert max(map(len, paragraph("five letters " * 50).splitlines())) <= 132


def test_the_pages_have_a_block_for_each_that_the_benchmarks_print() -> None:
    tables = ["steps/s", "Stepwell is faster by", "engine", "microseconds for each step"]
    blocks = ["Medians of", "Stepwell takes", "Averages; of", *(table([[first, "x"]]) for first in tables)]
    replace_blocks(PERFORMANCE.read_text(), blocks)
    replace_blocks(README.read_text(), [table([["steps/s", "x"]])])
