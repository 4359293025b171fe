"""The pages of the manual: Markdown files in the package, the HTML made of them, and their images.

The files also contain lines of HTML comments, which are notes to the tests of the manual: which command writes a table,
and which block of code isn't run. `read_page` removes them.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from html import escape
from importlib.resources import files
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from stepwell.api.responses.page_style import STYLE

if TYPE_CHECKING:
    from markdown_it.token import Token

_FOLDER: Final = files("stepwell") / "manual"
_GROUPS: Final[Mapping[str, Sequence[str]]] = {
    "Use it": (
        "start",
        "concepts",
        "page",
        "api",
        "curl",
        "cli",
        "python",
        "typescript",
        "assistant",
        "events",
        "webhooks",
        "explain",
        "money",
        "tasks",
        "flow",
        "waits",
        "by-hand",
        "definitions",
        "rerun",
        "pipelines",
        "testing",
    ),
    "Providers": ("providers",),
    "Run it": (
        "settings",
        "operations",
        "scaling",
        "workers",
        "metrics",
        "storage",
        "container",
        "security",
        "performance",
    ),
    "Reference": ("definition", "changelog"),
}


def _grouped() -> dict[str, tuple[str, ...]]:
    """Return the pages by group. A page that no group names is about a provider."""
    named = {name for names in _GROUPS.values() for name in names}
    others = {file.name.removesuffix(".md") for file in _FOLDER.iterdir() if file.name.endswith(".md")} - named
    return {group: (*names, *(sorted(others) if group == "Providers" else ())) for group, names in _GROUPS.items()}


GROUPS: Final[Mapping[str, Sequence[str]]] = _grouped()
PAGES: Final = tuple(name for names in GROUPS.values() for name in names)
FIRST_PAGE: Final = PAGES[0]

_NOTE = re.compile(r"^<!-- .* -->\n", re.MULTILINE)
_LINK = re.compile(r"([a-z0-9-]+)\.md(#[\w-]+)?")
_IMAGES: Final = "images"  # the folder beside the pages, and a part of the path of an image
_STYLE = """
main { overflow-wrap: anywhere } main > pre, table { background: var(--card) } h2 { padding-bottom: .2rem }
h3 { margin: 1.8rem 0 .4rem } td, th, td:first-child { width: auto; padding: .35rem .8rem .35rem 0; text-align: left;
  vertical-align: top; overflow-wrap: break-word } table { background: none }
  td.number, th.number { text-align: right } nav a.here { font-weight: 700 }
nav a.part { padding-left: .9rem; color: var(--dim) } blockquote { margin: .6rem 0; padding-left: 1rem;
  border-left: 3px solid var(--line) } img { max-width: 100%; height: auto; border: 1px solid var(--line);
  border-radius: 8px } li { margin: .25rem 0 } td code { overflow-wrap: anywhere }
@media (max-width: 40rem) { thead { display: none } td, td:first-child { padding: .1rem 0 }
  td:first-child { font-weight: 600 } td.number { text-align: left }
  td[data-label]::before { content: attr(data-label) ": "; color: var(--dim) } ul, ol { padding-left: 1.3rem } }
"""


def read_page(name: str) -> str:
    """Return the Markdown of the page *name*, one of `PAGES`, without the notes to the tests."""
    return _NOTE.sub("", (_FOLDER / f"{name}.md").read_text(encoding="utf-8"))


@cache
def read_images() -> Mapping[str, bytes]:
    """Return the images of the pages, WebP files, by their names."""
    return {file.name: file.read_bytes() for file in (_FOLDER / _IMAGES).iterdir()}


@cache
def read_heading(name: str) -> tuple[str, str]:
    """Return the title of the page *name*, and the first sentence of its text."""
    title, text = read_page(name).split("\n\n", 2)[:2]
    sentence = re.match(r".+?\.(?= |$)", text.replace("\n", " "))
    return title.removeprefix("# "), text if sentence is None else sentence[0]


@cache
def render_page(name: str) -> bytes:
    """Return the HTML page of *name*, one of `PAGES`. The first call takes up to 50 ms."""
    from markdown_it import MarkdownIt  # noqa: PLC0415 - 1 MB, which a service whose manual nobody reads saves

    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(read_page(name))
    parts = list(_with_anchors(tokens))
    _label_cells(tokens)
    title = escape(read_heading(name)[0])
    contents = "".join(_contents(name, parts))
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title} - Stepwell</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}{_STYLE}</style>'
        f'<nav class="side">{contents}</nav><main>'
        f'<details class="menu"><summary>Contents</summary><nav>{contents}</nav></details>'
        f"{parser.renderer.render(tokens, parser.options, {})}</main></html>"
    ).encode()


def _with_anchors(tokens: "Sequence[Token]") -> Iterable[tuple[str, str]]:
    """Give each heading an anchor, and each link to a page and each image its path of this service.

    Yield anchor and text of the h2 headings.
    """
    for token, next_token in pairwise(tokens):  # the last token ends a block, so it has neither
        if token.type == "heading_open":
            text = "".join(child.content for child in next_token.children or ())
            token.attrSet("id", anchor_of(text))
            if token.tag == "h2":
                yield anchor_of(text), text
        for child in token.children or ():
            if child.type == "link_open" and (link := _LINK.fullmatch(str(child.attrGet("href")))):
                child.attrSet("href", f"/manual/{link[1]}{link[2] or ''}")
            elif child.type == "image":
                child.attrSet("src", f"/manual/{child.attrGet('src')}")


def _label_cells(tokens: "Sequence[Token]") -> None:
    """Give each cell of a table its heading, which narrow screens show before it, and numbers their class."""
    headings: list[str] = []
    column = 0
    for token, next_token in pairwise(tokens):
        match token.type:
            case "thead_open":
                headings = []
            case "tr_open":
                column = 0
            case "th_open":
                headings.append(next_token.content)
            case "td_open":
                if column and headings[column]:
                    token.attrSet("data-label", headings[column])
                column += 1
        if token.attrs.pop("style", None) == "text-align:right":
            token.attrSet("class", "number")


def anchor_of(heading: str) -> str:
    """Return the anchor of a heading, by GitHub's rule: lower case, hyphens instead of spaces, no punctuation."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def _contents(current: str, parts: Sequence[tuple[str, str]]) -> Iterable[str]:
    for group, names in GROUPS.items():
        yield f"<strong>{escape(group)}</strong>"
        for name in names:
            title = escape(read_heading(name)[0])
            yield f'<a{" class=here" if name == current else ""} href="/manual/{name}">{title}</a>'
            if name == current:
                yield from (f'<a class="part" href="#{anchor}">{escape(text)}</a>' for anchor, text in parts)
    yield '<a href="/docs">API</a>'
