"""`stepwell manual`: the list of pages, and each page."""

import pytest

from stepwell.api.routes.manual_pages import PAGES, read_heading, read_page
from stepwell.cli.commands import run


def run_manual(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, str, str]:
    """Return the exit code of `stepwell manual` with *arguments*, its output and its errors."""
    monkeypatch.setattr("sys.argv", ["stepwell", "manual", *arguments])
    return (run(), *capsys.readouterr())


def test_without_a_page_every_page_is_listed_with_its_first_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run_manual(monkeypatch, capsys)
    assert (code, err) == (0, "")
    assert [line.split(maxsplit=1) for line in out.splitlines()] == [[name, read_heading(name)[1]] for name in PAGES]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_printed_in_markdown(
    page: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run_manual(monkeypatch, capsys, page)
    assert (code, err) == (0, "")
    assert out.rstrip("\n") == read_page(page).rstrip("\n")
    assert out.startswith("# ")


@pytest.mark.parametrize("link", ["tasks.md", "tasks.md#results", "tasks"])
def test_a_link_of_a_page_may_stand_for_the_page(
    link: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run_manual(monkeypatch, capsys, link)
    assert (code, err) == (0, "")
    assert out.rstrip("\n") == read_page("tasks").rstrip("\n")


@pytest.mark.parametrize("page", ["nothing", "", "../pyproject", ".md", "start.html"])
def test_an_unknown_page_is_refused_with_the_list_of_pages(
    page: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run_manual(monkeypatch, capsys, page)
    assert (code, out) == (2, "")
    assert err == f"stepwell: the manual has no page {page!r}; its pages are {', '.join(PAGES)}\n"
