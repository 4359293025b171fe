"""The manual at /manual: readable by anyone, complete in itself, harmless."""

import re
from html.parser import HTMLParser

import httpx
import pytest

from stepwell.api.routes.manual_pages import FIRST_PAGE, PAGES, read_images
from support.service.conformance import conforming_client
from support.service.live_service import Service

pytestmark = pytest.mark.asyncio(loop_scope="module")
CORE_PAGES = {"start", "concepts"}
EVERY_PAGE = [name if name in CORE_PAGES else pytest.param(name, marks=pytest.mark.extended) for name in PAGES]
EXTERNAL = re.compile(r"https://[\w.-]+(/|$)")


class Page(HTMLParser):
    """The tags of an HTML page, and the values of its ids, sources and links."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag == "img":
            self.images.append(dict(attrs))
            return
        for name, value in attrs:
            if name in ("id", "href", "src", "style"):
                {"id": self.ids, "href": self.links}.get(name, self.loads).append(value or "")


async def test_the_manual_needs_no_token(api: Service) -> None:
    async with conforming_client(api.app.api) as client:
        first = await client.get("/manual")
        assert first.status_code == 200
        assert first.text == (await client.get(f"/manual/{FIRST_PAGE}")).text


@pytest.mark.parametrize("name", EVERY_PAGE)
async def test_a_page_loads_its_images_only_and_its_links_lead_somewhere(client: httpx.AsyncClient, name: str) -> None:
    response = await client.get(f"/manual/{name}")
    page = Page(response.text)
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["content-security-policy"] == (
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; img-src 'self'"
    )
    assert response.headers["x-content-type-options"] == "nosniff"
    assert page.loads == []
    assert not {"script", "link", "iframe", "form"} & page.tags
    for image in page.images:
        assert set(image) == {"src", "alt"}
        assert image["alt"]
        served = await client.get(str(image["src"]))
        assert (served.status_code, served.headers["content-type"]) == (200, "image/webp"), image
    assert len(set(page.ids)) == len(page.ids)
    for link in page.links:
        if link.startswith("#"):
            assert link.removeprefix("#") in page.ids
        elif link.startswith("/"):
            target = await client.get(link)
            assert target.status_code == 200, link
            _, _, anchor = link.partition("#")
            assert not anchor or anchor in Page(target.text).ids, link
        else:
            assert EXTERNAL.match(link), link


@pytest.mark.parametrize("name", EVERY_PAGE)
async def test_a_page_fits_a_screen_of_360_pixels(client: httpx.AsyncClient, name: str) -> None:
    """The rules that a browser showed to suffice: words break, tables become lists, and code scrolls."""
    text = (await client.get(f"/manual/{name}")).text
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in text
    style = text.partition("<style>")[2].partition("</style>")[0]
    assert re.search(r"pre \{[^}]*overflow: auto", style)
    assert re.search(r"main \{[^}]*overflow-wrap: anywhere", style)
    assert "tr, td, td:first-child { display: block; width: auto" in style
    assert text.count('<details class="menu"><summary>Contents</summary><nav>') == 1


async def test_an_image_is_served_by_its_name_only_and_browsers_store_it(client: httpx.AsyncClient) -> None:
    response = await client.get("/manual/images/runs.webp")
    assert response.content == read_images()["runs.webp"]
    assert response.headers["cache-control"] == "public, max-age=3600"
    assert response.headers["x-content-type-options"] == "nosniff"
    for name in ("nothing.webp", "start.md", "..%2fstart.md", "%00"):
        unknown = await client.get(f"/manual/images/{name}")
        assert (unknown.status_code, unknown.headers["content-type"]) == (404, "application/problem+json"), name


async def test_a_cell_of_a_table_names_its_column(client: httpx.AsyncClient) -> None:
    text = (await client.get("/manual/settings")).text
    assert '<td data-label="default">9000</td>' in text
    assert "td[data-label]::before { content: attr(data-label)" in text


@pytest.mark.parametrize("name", ["nothing", "START", "start.md", "%2e%2e", "start%2f.."])
async def test_an_unknown_page_is_a_404_that_names_the_pages(client: httpx.AsyncClient, name: str) -> None:
    response = await client.get(f"/manual/{name}")
    assert (response.status_code, response.headers["content-type"]) == (404, "application/problem+json")
    if "2f" not in name:
        assert response.json()["detail"] == f"The manual has no such page. Its pages are {', '.join(PAGES)}."
