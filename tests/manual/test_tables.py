"""The tables of the manual that are generated say what the code says."""

import pytest

from support.documents.manual import pages
from support.documents.manual_tables import TABLES, with_tables

PAGES = pages()
COMMAND = "PYTHONPATH=tests python -m support.documents.manual_tables"


@pytest.mark.parametrize("page", PAGES)
def test_the_generated_tables_of_a_page_are_those_of_the_code(page: str) -> None:
    assert PAGES[page] == with_tables(PAGES[page]), f"run {COMMAND}"


def test_each_table_is_in_one_page() -> None:
    for name in TABLES:
        assert sum(text.count(f"<!-- table: {name} -->\n") for text in PAGES.values()) == 1, name
