"""Parts of files: what `Range` and `If-Range` select, and the response to each."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
import pytest_asyncio

from stepwell.testing import ManualClock, MemoryDatabase
from support.providers.scripted import ScriptedProvider, Succeed, scripted_step
from support.service.live_service import Service, running_service

pytestmark = pytest.mark.asyncio(loop_scope="module")
DATA = bytes(range(256)) * 10
ETAG = f'"{hashlib.sha256(DATA).hexdigest()}"'


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(clock: ManualClock, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    files = {"result.mp4": DATA, "empty.bin": b"", "notes.txt": b"x", "facts.json": b"{}"}
    pages = {"drawing.svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>", "page.html": b"<script>alert(1)</script>"}
    provider = ScriptedProvider(default=Succeed(files=files | pages))
    async with AsyncExitStack() as stack:
        folder = tmp_path_factory.mktemp("api")
        yield await stack.enter_async_context(running_service(MemoryDatabase(clock), folder, providers=[provider]))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def urls(api: Service) -> dict[str, str]:
    """The URLs of the files, by their names."""
    created = await api.create(scripted_step("a"))
    await api.until_ended(created["id"])
    (task,) = await api.tasks(created["id"])
    paths = [output["path"] for output in task["outputs"]]
    return {path.rpartition("/")[2]: f"/api/v1/artifacts/{path}" for path in paths}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("value", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-99", 10, 100),
        ("bytes=2500-", 2500, 2560),
        ("bytes=2559-9999999999999999999999999", 2559, 2560),
        ("bytes=-60", 2500, 2560),
        ("bytes=-99999", 0, 2560),
        ("Bytes= 1-2 ", 1, 3),
    ],
)
async def test_a_range_gets_its_bytes(
    client: httpx.AsyncClient, urls: dict[str, str], method: str, value: str, start: int, end: int
) -> None:
    response = await client.request(method, urls["result.mp4"], headers={"Range": value})
    assert response.status_code == 206
    assert response.content == (b"" if method == "HEAD" else DATA[start:end])
    assert response.headers["content-range"] == f"bytes {start}-{end - 1}/2560"
    assert response.headers["content-length"] == str(end - start)
    assert response.headers["content-type"] == "video/mp4"
    assert response.headers["etag"] == ETAG


@pytest.mark.parametrize("value", ["bytes=2560-", "bytes=9999-99999", "bytes=-0", f"bytes={'9' * 5000}-"])
async def test_a_range_behind_the_end_is_a_416(client: httpx.AsyncClient, urls: dict[str, str], value: str) -> None:
    response = await client.get(urls["result.mp4"], headers={"Range": value})
    assert (response.status_code, response.headers["content-range"]) == (416, "bytes */2560")
    assert response.json()["detail"] == "The file has 2,560 bytes, and the range begins behind its end."


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Range": "bytes=0-1,5-9"},
        {"Range": "bytes=5-2"},
        {"Range": "bytes=-"},
        {"Range": "bytes=a-b"},
        {"Range": "bytes=\u0661-"},
        {"Range": "items=0-1"},
        {"Range": "bytes=0-1", "If-Range": '"another"'},
        {"Range": "bytes=9999-", "If-Range": f"W/{ETAG}"},
        {"Range": "bytes=0-1", "If-Range": "Wed, 25 Nov 2026 07:28:00 GMT"},
    ],
)
async def test_any_other_range_gets_the_whole_file(
    client: httpx.AsyncClient, urls: dict[str, str], headers: dict[str, str]
) -> None:
    sent = {name.encode(): value.encode() for name, value in headers.items()}
    response = await client.get(urls["result.mp4"], headers=sent)
    assert (response.status_code, response.content) == (200, DATA)
    assert response.headers["accept-ranges"] == "bytes"
    assert "content-range" not in response.headers


async def test_a_range_of_the_current_version_is_sent(client: httpx.AsyncClient, urls: dict[str, str]) -> None:
    response = await client.get(urls["result.mp4"], headers={"Range": "bytes=0-1", "If-Range": ETAG})
    assert (response.status_code, response.content) == (206, DATA[:2])


@pytest.mark.parametrize("value", [ETAG, f"W/{ETAG}", f'"x", {ETAG}', "*"])
async def test_a_known_file_is_a_304_whatever_its_range(
    client: httpx.AsyncClient, urls: dict[str, str], value: str
) -> None:
    response = await client.get(urls["result.mp4"], headers={"If-None-Match": value, "Range": "bytes=9999-"})
    assert (response.status_code, response.content, response.headers["etag"]) == (304, b"", ETAG)


async def test_an_unknown_etag_gets_the_file(client: httpx.AsyncClient, urls: dict[str, str]) -> None:
    response = await client.get(urls["result.mp4"], headers={"If-None-Match": ETAG[:-2] + '"'})
    assert response.content == DATA


async def test_an_empty_file_is_sent_whole(client: httpx.AsyncClient, urls: dict[str, str]) -> None:
    for value in ("bytes=0-", "bytes=-5"):
        response = await client.get(urls["empty.bin"], headers={"Range": value})
        assert (response.status_code, response.content) == (200, b"")


@pytest.mark.parametrize(
    ("name", "query", "disposition"),
    [
        ("result.mp4", "", "inline"),
        ("result.mp4", "?download=0", "inline"),
        ("result.mp4", "?download=1", 'attachment; filename="result.mp4"'),
        ("empty.bin", "", 'attachment; filename="empty.bin"'),
        ("notes.txt", "", 'attachment; filename="notes.txt"'),
        ("drawing.svg", "", 'attachment; filename="drawing.svg"'),
        ("page.html", "", 'attachment; filename="page.html"'),
    ],
)
async def test_a_file_is_shown_or_downloaded(
    client: httpx.AsyncClient, urls: dict[str, str], name: str, query: str, disposition: str
) -> None:
    headers: Any = (await client.head(urls[name] + query)).headers
    assert headers["content-disposition"] == disposition
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"] == "sandbox; default-src 'none'"


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("result.mp4", "video/mp4"),
        ("empty.bin", "application/octet-stream"),
        ("notes.txt", "text/plain"),
        ("facts.json", "application/json"),
        ("drawing.svg", "image/svg+xml"),
        ("page.html", "application/octet-stream"),
    ],
)
async def test_a_file_has_the_type_of_its_name(
    client: httpx.AsyncClient, urls: dict[str, str], name: str, media_type: str
) -> None:
    assert (await client.head(urls[name])).headers["content-type"] == media_type
