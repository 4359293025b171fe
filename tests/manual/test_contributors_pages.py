"""The contributors' pages in `.github`: the files, modules, headings and settings that they name exist."""

import re
from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from support.documents.diagrams import loose_ends
from support.documents.manual import anchors_of, unknown_settings
from support.documents.markdown import blocks_of
from support.processes.source_tree import TOP

FOLDER = TOP / ".github"
PAGES = {path.stem: path.read_text() for path in FOLDER.glob("*.md")}
_PATH = re.compile(r"(?<![\w./<-])(?:src|deploy|tests|migrations|\.ci|\.github)/[\w./-]*[\w/]")
_WRITTEN_BY_TESTS = {".ci/artefacts/screenshots"}
_FILE_NAME = re.compile(r"(?<=`)[\w-]+\.(?:py|js|toml|md)(?=`)")
_NAMES = re.compile(r"`(\w+)`(?: and `(\w+)`)? in `(src/[\w./]+\.\w+)`")
_MODULE = re.compile(r"python -m (support[\w.]+)")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def _code_of(text: str) -> Iterator[str]:
    """Yield what is in backquotes, without them in blocks and with them in lines."""
    yield from (block.text for block in blocks_of(text))
    yield from re.findall(r"`[^`\n]+`", text)


def test_these_are_the_pages() -> None:
    assert set(PAGES) == {"ARCHITECTURE", "CONTRIBUTING", "DECISIONS"}


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_a_page_names_exists(page: str) -> None:
    code = "\n".join(_code_of(PAGES[page]))
    paths = {path for path in _PATH.findall(code) if not (TOP / path).exists()} - _WRITTEN_BY_TESTS
    names = {
        name for name in _FILE_NAME.findall(code) if not (TOP / name).exists() and not any(TOP.glob(f"src/**/{name}"))
    }
    modules = {name for name in _MODULE.findall(code) if find_spec(name) is None}
    assert paths | names | modules == set()


@pytest.mark.parametrize("page", PAGES)
def test_every_name_that_a_page_looks_for_in_a_file_is_there(page: str) -> None:
    found = _NAMES.findall(PAGES[page])
    missing = [(name, path) for *names, path in found for name in names if name not in (TOP / path).read_text()]
    assert missing == []
    assert len(found) >= 10 or page != "ARCHITECTURE"


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_a_page_leads_to_a_file_and_its_heading(page: str) -> None:
    for link in _LINK.findall(PAGES[page]):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = FOLDER / path if path else FOLDER / f"{page}.md"
        assert target.exists(), link
        assert not anchor or anchor in anchors_of(target.read_text()), link


@pytest.mark.parametrize("page", PAGES)
def test_every_setting_that_a_page_names_exists(page: str) -> None:
    tests_only = {"STEPWELL_TEST_FULL", "STEPWELL_SCREENSHOTS"}
    assert unknown_settings(PAGES[page]) - tests_only == set()


def test_the_lines_of_the_diagram_of_the_layers_meet() -> None:
    diagram = next(block.text for block in blocks_of(PAGES["ARCHITECTURE"]) if not block.language)
    assert loose_ends(diagram) == []


def test_the_architecture_names_each_package_once() -> None:
    """A new package gets a row that says what it contains."""
    packages = {f"src/stepwell/{path.parent.name}/" for path in TOP.glob("src/stepwell/*/__init__.py")}
    section = PAGES["ARCHITECTURE"].partition("## The packages\n")[2].partition("\n## ")[0]
    rows = re.findall(r"`(src/[\w/]+/)`", section)
    named = {"/".join(row.split("/")[:3]) + "/" for row in rows}
    assert (named - {"src/stepwell/manual/"}, len(rows)) == (packages, len(set(rows)))
