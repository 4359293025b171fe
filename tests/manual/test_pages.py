"""The pages of the manual as texts: which there are, how they begin, and where their links lead."""

import re
from io import BytesIO

import pytest
from PIL import Image

from stepwell.api.routes.manual_pages import read_heading, read_images, read_page
from support.documents.diagrams import loose_ends
from support.documents.manual import CODE, FOLDER, anchors_of, pages, unknown_settings
from support.documents.markdown import blocks_of
from support.processes.source_tree import TOP

PAGES = pages()
README = (TOP / "README.md").read_text()
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_IMAGE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)")


def test_each_file_in_the_folder_is_a_page_or_an_image_of_a_page() -> None:
    names = {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*") if path.is_file()}
    images = {link for text in PAGES.values() for _, link in _IMAGE.findall(text)}
    assert names == {f"{name}.md" for name in PAGES} | images


@pytest.mark.parametrize("name", read_images())
def test_an_image_is_small_in_bytes_and_pixels(name: str) -> None:
    content = read_images()[name]
    assert len(content) <= 60_000
    with Image.open(BytesIO(content)) as image:
        assert image.format == "WEBP"
        assert image.width <= 800


@pytest.mark.parametrize("page", PAGES)
def test_the_images_of_a_page_are_files_of_the_manual_and_have_texts(page: str) -> None:
    for text, link in _IMAGE.findall(PAGES[page]):
        assert (FOLDER / link).is_file(), link
        assert len(text) >= 20, link


@pytest.mark.parametrize("page", PAGES)
def test_a_page_begins_with_a_title_and_a_short_sentence_about_itself(page: str) -> None:
    title, sentence = read_heading(page)
    assert re.fullmatch(r"[A-Z].{1,40}", title)
    assert sentence.endswith(".")
    assert len(sentence) <= 110


@pytest.mark.parametrize("page", PAGES)
def test_a_printed_page_contains_no_notes_to_the_tests(page: str) -> None:
    assert "<!--" not in read_page(page)


@pytest.mark.parametrize("page", PAGES)
def test_the_headings_of_a_page_differ(page: str) -> None:
    assert len(set(anchors_of(PAGES[page]))) == len(anchors_of(PAGES[page]))


@pytest.mark.parametrize("page", PAGES)
def test_the_links_of_a_page_lead_to_pages_and_headings_that_exist(page: str) -> None:
    for link in _LINK.findall(CODE.sub("", PAGES[page])):
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        target = PAGES[name.removesuffix(".md") if name else page]
        assert name == "" or name.endswith(".md"), link
        assert anchor == "" or anchor in anchors_of(target), link


@pytest.mark.parametrize("page", PAGES)
def test_every_setting_that_a_page_names_exists(page: str) -> None:
    assert unknown_settings(PAGES[page]) == set()


def test_a_line_of_a_diagram_that_meets_nothing_is_found() -> None:
    assert loose_ends("┌─┐\n│ │\n└─┘") == []
    assert loose_ends("┌──┐\n│  │►\n└─ ┘") == [(2, 5), (3, 2), (3, 4)]


@pytest.mark.parametrize("page", PAGES)
def test_the_lines_of_the_diagrams_of_a_page_meet(page: str) -> None:
    for block in blocks_of(PAGES[page]):
        if not block.language:
            assert loose_ends(block.text) == []


@pytest.mark.parametrize("page", [*PAGES, "README"])
def test_every_path_that_a_page_names_exists(page: str) -> None:
    for path in re.findall(r"`((?:src|deploy|tests|migrations)/[\w./-]+)`", {**PAGES, "README": README}[page]):
        assert (TOP / path).exists(), path
