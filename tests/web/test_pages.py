"""The pages and static files over HTTP: their headers, and that nothing in them is inline."""

import gzip
import json
import re
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

import stepwell.web
from stepwell.api.responses.problems import BY_STATUS
from stepwell.contract.scopes import Permission
from stepwell.testing import MemoryDatabase
from stepwell.web.static_files import static_files
from support.documents.manual import pages
from support.service.live_service import running_service, token

WEB = Path(stepwell.web.__file__).parent
PATHS = (
    "/ui",
    "/ui/workflows/0198c0de-0000-7000-8000-000000000000",
    "/ui/new",
    "/ui/definitions",
    "/ui/definitions/photo-set",
    "/ui/providers",
    "/ui/uploads",
    "/ui/costs",
    "/docs",
)
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "connect-src 'self'; worker-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
_DOCS = ("/docs", "/manual/api", "/schema/openapi.json")

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    """A client as a browser of somebody who is signed in."""
    async with running_service(MemoryDatabase(), tmp_path_factory.mktemp("pages")) as service:
        headers = {"Authorization": f"Bearer {token('acme', every=False)}", "Accept": "text/html"}
        async with httpx.AsyncClient(transport=service.transport, base_url="http://t.local", headers=headers) as client:
            yield client


@pytest.mark.parametrize("path", PATHS)
async def test_a_page_allows_only_what_this_service_serves_and_nothing_inline(
    browser: httpx.AsyncClient, path: str
) -> None:
    response = await browser.get(path)
    assert (response.status_code, response.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert response.headers["content-security-policy"] == POLICY
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "same-origin"
    assert response.headers["cache-control"] == "private, no-store"
    assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=|javascript:", response.text) == []
    links = re.findall(r'\b(?:src|href)="([^"]*)"', response.text)
    assert [link for link in links if not link.startswith(("/ui", "/api/v1/", "#main", *_DOCS))] == []
    for link in links:
        if link.startswith("/ui/static/"):
            assert (await browser.get(link)).status_code == 200, link


async def test_a_page_tells_its_scripts_who_looks_at_it(browser: httpx.AsyncClient) -> None:
    text = (await browser.get("/ui/workflows/%22%3E%3Cscript%3E")).text
    scopes = "definitions:read definitions:run definitions:write workflows:approve workflows:read workflows:write"
    assert f'data-view="run" data-scopes="{scopes}"' in text
    assert 'data-subject="tester"' in text
    assert 'data-tenant="acme" data-every-tenant="false"' in text
    assert 'data-workflow-id="&#34;&gt;&lt;script&gt;"' in text
    assert "<script>" not in text


@pytest.mark.parametrize(
    "path", ["/ui/nothing", "/ui/workflows/a/b", "/ui/%3Cscript%3E", "/nothing", "/api/v1/nothing", "/manual/nothing"]
)
async def test_a_mistyped_url_is_a_page_that_says_so(browser: httpx.AsyncClient, path: str) -> None:
    for headers in ({}, {"Authorization": ""}):
        response = await browser.get(path, headers=headers)
        assert (response.status_code, response.headers["content-type"]) == (404, "text/html; charset=utf-8")
        assert response.headers["content-security-policy"] == POLICY
        assert "There is no such page." in response.text
        assert response.headers["vary"] == "Accept"
        assert "<script>" not in response.text
    assert (await browser.head(path)).status_code == 404
    problem = await browser.get(path, headers={"Accept": "application/json"})
    assert (problem.status_code, problem.headers["content-type"]) == (404, "application/problem+json")
    assert problem.headers["vary"] == "Accept"


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/ui/runs", "/ui"),
        ("/ui/workflows?status=FAILED", "/ui?status=FAILED"),
        ("/ui/runs/0198c0de-0000-7000-8000-000000000000", "/ui/workflows/0198c0de-0000-7000-8000-000000000000"),
        ("/ui/runs/a%20b?tab=events", "/ui/workflows/a%20b?tab=events"),
    ],
)
async def test_a_url_that_users_guess_leads_to_the_page(browser: httpx.AsyncClient, path: str, location: str) -> None:
    for method in ("GET", "HEAD"):
        response = await browser.request(method, path)
        assert (response.status_code, response.headers["location"]) == (307, location)


async def test_the_manual_quotes_the_policy() -> None:
    assert POLICY in " ".join(pages()["security"].split())


async def test_docs_explains_each_status_of_a_problem(browser: httpx.AsyncClient) -> None:
    text = (await browser.get("/docs", headers={"Authorization": ""})).text
    assert {f'id="problem-{status}"' for status in BY_STATUS} == set(re.findall(r'id="problem-\d+"', text))


async def test_head_of_a_page_has_its_headers_and_no_body(browser: httpx.AsyncClient) -> None:
    response = await browser.head("/ui")
    assert (response.status_code, response.content, response.headers["content-security-policy"]) == (200, b"", POLICY)


async def test_a_static_file_is_cached_for_good_under_its_digest_only(browser: httpx.AsyncClient) -> None:
    files = static_files()
    for digest, caching in ((files.digest, "public, max-age=31536000, immutable"), ("0" * 16, "no-store")):
        response = await browser.get(f"/ui/static/{digest}/lib/dom.js")
        assert (response.status_code, response.headers["cache-control"]) == (200, caching)
        assert response.headers["content-type"] == "text/javascript; charset=utf-8"
        assert response.content == files.files["lib/dom.js"].content


async def test_a_static_file_is_sent_compressed_to_those_who_accept_that(browser: httpx.AsyncClient) -> None:
    path = static_files().url("style.css")
    response = await browser.get(path, headers={"Accept-Encoding": "gzip"})
    assert response.headers["content-encoding"] == "gzip"
    assert response.content == (WEB / "static/style.css").read_bytes()
    response = await browser.get(path, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in response.headers


@pytest.mark.parametrize(
    "path", ["", "nothing.js", "vendor/update", "vendor/package.json", "../pages.py", "%2e%2e/pages.py"]
)
async def test_other_files_are_not_served(browser: httpx.AsyncClient, path: str) -> None:
    response = await browser.get(f"/ui/static/{static_files().digest}/{path}")
    assert response.status_code == 404


async def test_a_page_names_every_module_that_its_view_imports_at_once(browser: httpx.AsyncClient) -> None:
    async def named(path: str) -> set[str]:
        text = (await browser.get(path)).text
        found = re.findall(rf'<link rel="modulepreload" href="/ui/static/{static_files().digest}/([^"]*)">', text)
        assert len(found) == len(set(found))
        return set(found)

    runs = await named("/ui")
    assert {"app.js", "views/runs.js", "views/runs/rows.js", "lib/stream_hub.js", "vendor/lit-html.js"} <= runs
    assert runs.isdisjoint({"views/costs.js", "vendor/cytoscape.js"})
    assert {"views/new/editor.js", "vendor/codemirror.js", "vendor/cytoscape.js"} <= await named("/ui/new")
    graph = await named("/ui/workflows/1")
    assert {"views/run/graph.js", "vendor/cytoscape.js"} <= graph
    assert await named("/ui/workflows/1?tab=unknown") == graph
    timeline = await named("/ui/workflows/1?tab=timeline")
    assert "views/run/timeline_model.js" in timeline
    assert "vendor/cytoscape.js" not in timeline


async def test_a_page_names_the_responses_that_its_view_reads_first(browser: httpx.AsyncClient) -> None:
    async def named(path: str) -> list[str]:
        return re.findall(r'<link rel="preload" as="fetch" [^>]*href="([^"]*)"', (await browser.get(path)).text)

    assert await named("/ui/workflows/a%2Fb?tab=events") == []  # a path of another page
    assert await named("/ui/workflows/%22a?tab=events") == ["/api/v1/workflows/%22a?include_steps=false"]
    assert len(await named("/ui")) == 2
    assert await named("/ui?status=FAILED") == []


async def test_the_libraries_are_those_of_the_manifest() -> None:
    vendor = WEB / "vendor"
    manifest = {entry["file"]: entry for entry in json.loads((vendor / "manifest.json").read_text())}
    assert manifest.keys() == {path.name for path in vendor.iterdir() if path.suffix in (".js", ".css")}
    pinned = json.loads((vendor / "package-lock.json").read_text())["packages"]
    licences = (vendor / "licences.txt").read_text()
    for file, entry in manifest.items():
        assert sha256((vendor / file).read_bytes()).hexdigest() == entry["sha256"], "run: poe generate libraries"
        assert entry["packages"]
        for package in entry["packages"]:
            name, version = package["name"], package["version"]
            known = [each for path, each in pinned.items() if path.endswith(f"node_modules/{name}")]
            licences_of_it = {each.get("license") for each in known if each["version"] == version}
            assert package["licence"] in licences_of_it or licences_of_it == {None}, name
            assert re.search(rf"^{re.escape(package['name'])}$", licences, re.MULTILINE)


async def test_all_scripts_together_are_small() -> None:
    sizes = {path: len(gzip.compress(file.content)) for path, file in static_files().files.items()}
    viewer = sizes.pop("vendor/swagger-ui.js")  # /docs alone loads it
    assert sum(size for path, size in sizes.items() if path.endswith(".js")) <= 381_000
    assert viewer <= 500_000


async def test_scripts_are_served_without_their_comments_and_with_their_lines() -> None:
    for path, file in static_files().files.items():
        if path.endswith(".js") and not path.startswith("vendor/"):
            source = (WEB / "static" / path).read_bytes().splitlines()
            served = file.content.splitlines()
            assert all(line in {b"", as_written} for line, as_written in zip(served, source, strict=True)), path
            assert not any(line.lstrip().startswith((b"//", b"/**")) for line in served), path


@pytest.mark.parametrize("path", [path for path in PATHS if path.startswith("/ui")])
async def test_every_view_leads_people_who_may_only_decide_to_their_decisions(
    browser: httpx.AsyncClient, path: str
) -> None:
    deciding = {"Authorization": f"Bearer {token('acme', every=False, permissions=(Permission.APPROVE,))}"}
    response = await browser.get(path, headers=deciding)
    assert (response.status_code, response.headers["location"]) == (303, "/ui/decisions")
    page = await browser.get("/ui/decisions", headers=deciding)
    assert page.status_code == 200
    assert re.findall(r'<a href="(/ui[^"]*)"[^>]*>([^<]+)', page.text) == [("/ui/decisions", "Decisions ")]


async def test_people_who_may_not_decide_are_offered_no_decisions(browser: httpx.AsyncClient) -> None:
    reading = {"Authorization": f"Bearer {token('acme', every=False, permissions=(Permission.READ,))}"}
    text = (await browser.get("/ui", headers=reading)).text
    assert "/ui/costs" in text
    assert "/ui/decisions" not in text
    page = await browser.get("/ui/decisions", headers=reading)
    assert page.status_code == 200
    assert "/api/v1/decisions" not in page.text
