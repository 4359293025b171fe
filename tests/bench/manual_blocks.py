"""Writes the tables and sentences that a benchmark prints to the pages that have them."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

TOP = Path(__file__).parents[2]
PERFORMANCE, README = TOP / "src/stepwell/manual/performance.md", TOP / "README.md"
_WIDTH = 132


def table(rows: Sequence[Sequence[str]], *, right: bool = True) -> str:
    """Return a table in Markdown, of the header and the other *rows*. With *right*, the figures are aligned."""
    rule = ["---"] + ["---:" if right else "---"] * (len(rows[0]) - 1)
    return "\n".join(f"| {' | '.join(row)} |" for row in (rows[0], rule, *rows[1:]))


def paragraph(text: str) -> str:
    return textwrap.fill(text, _WIDTH, break_long_words=False, break_on_hyphens=False)


def replace_blocks(page: str, blocks: Sequence[str]) -> str:
    """Return *page* with each of *blocks* instead of the block that begins like it.

    Blocks are separated by blank lines. Two tables begin alike if their first cells are equal, two paragraphs if their
    first words are. Raises `ValueError` unless there is exactly one for each.
    """
    found = page.split("\n\n")
    for block in blocks:
        places = [index for index, each in enumerate(found) if _beginning(each) == _beginning(block)]
        if len(places) != 1:
            raise ValueError(f"{len(places)} blocks of the page begin with {_beginning(block)!r}")
        ending = "\n" if found[places[0]].endswith("\n") else ""
        found[places[0]] = block + ending
    return "\n\n".join(found)


def _beginning(block: str) -> str:
    return block.split("|")[1].strip() + "|" if block.startswith("|") else block.partition(" ")[0]
