"""`stepwell manual`: the pages of the manual, as Markdown."""

from stepwell.api.routes.manual_pages import PAGES, read_heading, read_page
from stepwell.cli.errors import MISUSED, Refused


def manual_page(name: str) -> str:
    """Return a page as Markdown text. Raises `Refused`, which lists the names.

    *name* is that of the page, or what a link between pages contains: `tasks.md`, or `tasks.md#results`.
    """
    page = name.partition("#")[0].removesuffix(".md")
    if page not in PAGES:
        raise Refused(f"the manual has no page {name!r}; its pages are {', '.join(PAGES)}", code=MISUSED)
    return read_page(page)


def manual_pages() -> dict[str, str]:
    """Return the first sentence of each page, by the page's name, in the order in which they are to be read."""
    return {name: read_heading(name)[1] for name in PAGES}
