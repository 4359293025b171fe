"""The files of the manual, and which of their blocks of code the tests don't run."""

from stepwell.api.manual_pages import PAGES
from support.processes.source_tree import TOP

FOLDER = TOP / "src/stepwell/manual"
# Page, first line of the block, and why it isn't run.
NOT_RUN: list[tuple[str, str, str]] = []


def pages() -> dict[str, str]:
    """Return the Markdown of each page by its name, with the notes to the tests."""
    return {name: (FOLDER / f"{name}.md").read_text(encoding="utf-8") for name in PAGES}
